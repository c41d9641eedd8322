"""An open Parquet file, with the methods of a `Reader`.

Its row groups are what clusters are in a tree of ROOT. It has no trees: all of it is one table.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from ...protocol.addresses import shown
from ...protocol.errors import DatasetError, nearest
from ..awkward_forms import type_text
from ..clustering import FileLayout, few_edges
from ..columns import Column
from ..lazy_events import LazyEvents
from ..lazy_property import lazy_property
from ..opening import source_of
from ..read_errors import read_errors
from ..storage.credentials import CredentialSet
from ..storage.local import LocalSource, Range
from ..storage.sources import ReadAhead, Traffic, check_unchanged, is_current, place_of_tree
from ..ttree.branches import Named
from ..ttree.tree_index import TreeIndex
from ..ttree.whole_baskets import Interpretation
from ..whole_file import WholeFile, check_entries
from .fields import Fields, Found
from .footers import Footer
from .layouts import for_kernels, layout_of_table, uniform
from .library import arrow
from .row_groups import RowGroups


class ParquetReader(WholeFile):
    """A Parquet file, open for reading.

    Args:
        path, timeout, credential_set: as `Reader`'s.
        tree: must be empty, since there are no trees.

    Attributes:
        path, identity, entries, names, touched: as `Reader`'s.
        footer: what the file says of itself.
        fields: its columns.

    Raises:
        DatasetError: there is no such file, it is no whole Parquet file, or pyarrow is not installed.

    Example:
        >>> reader = ParquetReader("skim.parquet")                                               # doctest: +SKIP
        >>> reader.read(["Muon_pt", "MET_pt"], 0, reader.entries)                                 # doctest: +SKIP
    """

    tree = ""
    order = ""
    """Parquet has no index, and cannot say that its rows are in no order."""

    def __init__(
        self, path: str, tree: str = "", timeout: float = 30.0, credential_set: CredentialSet | None = None
    ) -> None:
        self.path = shown(path)
        if tree:
            raise DatasetError(f"{self.path} has no tree {tree}: it is of Parquet, which has none; leave the tree out")
        self._arrow = arrow(self.path)
        self.opened = time.monotonic()
        with read_errors(self.path, "cannot be opened"):
            self.source = source_of(path, timeout, credential_set)
            try:
                self.footer = Footer(self.source, self._arrow)
            except BaseException:
                self.close()
                raise
        self.identity, self.entries = self.footer.identity, self.footer.entries
        self.fields = Fields(self.footer.schema, self._arrow)
        self.names: Mapping[str, Any] = Named(
            self.fields.columns, self.fields.find, lambda name: self.fields.find(name) is not None
        )
        self.touched: set[str] = set()
        self._groups = RowGroups(self.source, self.footer)
        self._forms: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}

    @property
    def uuid(self) -> str:
        """In the place of a UUID, which Parquet has not: the hash of the footer."""
        return self.identity.partition(":")[0]

    @property
    def tree_index(self) -> TreeIndex:
        """As `StoredTree.tree_index`: there is none."""
        raise DatasetError(f"{self.path} is of Parquet, and has no index of its entries")

    @property
    def tree_aliases(self) -> dict[str, str]:
        """As `StoredTree.tree_aliases`: none."""
        return {}

    @property
    def is_far(self) -> bool:
        """As `Reader.is_far`."""
        return not isinstance(self.source, LocalSource)

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        source = self.source
        return Traffic(source.requests, source.bytes_read, source.waited, source.latency)

    def news(self) -> bytes:
        """As `Reader.news`: nothing is told, since footers are short."""
        return b""

    def is_current(self, since: float) -> bool:
        """As `Reader.is_current`."""
        return is_current(self, since)

    def check_unchanged(self) -> None:
        """As `Reader.check_unchanged`."""
        check_unchanged(self.source, self.path)

    def close(self) -> None:
        """As `Reader.close`."""
        self.source.__exit__(None, None, None)

    # --- the packets' view --------------------------------------------------------------------------------------------

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """As `Reader.layout`: the row groups, whichever columns are read."""
        for name in branches or ():
            self._found(name)
        place = place_of_tree(self.identity, self.source, self.tree)
        return FileLayout(self.entries, few_edges(np.unique(self.footer.edges)), self.tree, self.identity, place)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Reader.stride`: entries in a row group."""
        return max(1, self.entries // max(1, len(self.footer.edges) - 1))

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`."""
        leaves = dict.fromkeys(leaf for name in branches for leaf in self._found(name).leaves)
        return sum(map(self.stored, leaves)) / max(1, self.entries)

    def stored(self, leaf: int) -> int:
        """Bytes of a leaf in the file, compressed."""
        if leaf not in self._sizes:
            with read_errors(self.path, "cannot be read"):
                self._sizes[leaf] = self.footer.stored([leaf])
        return self._sizes[leaf]

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `Reader.ranges_ahead`, for all columns."""
        wanted = {name: self._found(name) for name in branches}
        with read_errors(self.path, "cannot be read"):
            self._groups.ahead(wanted, ranges)

    def forget_ahead(self) -> None:
        """As `Reader.forget_ahead`."""
        self._groups.forget()
        if isinstance(self.source, ReadAhead):
            self.source.forget()

    # --- columns ------------------------------------------------------------------------------------------------------

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`."""
        forms = {name: self._form(name) for name in branches}
        return {name: "unknown" if form is None else type_text(form) for name, form in forms.items()}

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`."""
        return self.fields.has_member(name)

    @lazy_property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        forms = {name: self._form(name) for name in self.fields.columns}
        known = {name: form for name, form in forms.items() if form is not None}
        return LazyEvents(known, {}, path=self.path, has_member=self.has_member)

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`."""
        wanted = {name: self._found(name) for name in branches}
        for start, stop in ranges:
            check_entries(self.path, self.tree, self.entries, start, stop)
        if len(ranges) > 1:
            self.ranges_ahead(branches, ranges)
        for start, stop in ranges:
            layouts = self._layouts(wanted, start, stop)
            yield {
                name: for_kernels(layout, f"column {name} of {self.path}, of type {layout.form.type},")
                for name, layout in layouts.items()
            }
        self.touched.update(branches)

    def array(self, name: str, start: int, stop: int, kind: Interpretation | None = None) -> ak.Array:
        """As `Reader.array`."""
        if kind is not None:
            raise DatasetError(
                f"{self.path} cannot be read in its column {name}: interpretations are of the branches of TTrees, and it is "
                "of Parquet"
            )
        check_entries(self.path, self.tree, self.entries, start, stop)
        layouts = self._layouts({name: self._found(name)}, start, stop)
        self.touched.add(name)
        return ak.Array(layouts[name])

    def table(self, name: str, start: int, stop: int) -> Any:
        """One column as a table of Arrow. Raises what pyarrow raises, and `DatasetError` where there is no such column."""
        self.touched.add(name)
        return self._groups.table(self._found(name), start, stop)

    def form_as(self, name: str, kind: Interpretation) -> Any:
        """As `Reader.form_as`: only `array` tells what is wrong."""
        return None

    def _layouts(self, wanted: Mapping[str, Found], start: int, stop: int) -> dict[str, Any]:
        for name, found in wanted.items():
            if self._form(found.column) is None:
                raise DatasetError(
                    f"{self.path} cannot be read in its column {name}: awkward arrays hold nothing of its type, "
                    f"{self.footer.schema.field(found.column).type}; other columns can be read"
                )
        names = ", ".join(wanted) if len(wanted) < 4 else f"{next(iter(wanted))} and {len(wanted) - 1} others"
        with read_errors(self.path, f"cannot be read in its columns {names}"):
            return self._groups.read(wanted, start, stop)

    def _form(self, name: str) -> Any:
        """The awkward form of a column or of a member of one; None of what awkward does not hold."""
        if name not in self._forms:
            found = self._found(name)
            self._forms[name] = self._whole_form(name) if name == found.column else self._form_within(name, found)
        return self._forms[name]

    def _whole_form(self, column: str) -> Any:
        table = self.footer.schema.empty_table().select([column])
        try:
            layout = layout_of_table(table)
        except (NotImplementedError, ValueError):  # so does awkward say that it knows no such thing
            return None
        return uniform(layout).form

    def _form_within(self, name: str, found: Found) -> Any:
        if self._form(found.column) is None:
            return None
        with read_errors(self.path, f"cannot be read in its column {name}"):
            return uniform(self._groups.read({name: found}, 0, 0)[name]).form

    def _found(self, name: str) -> Found:
        found = self.fields.find(name)
        if found is None:
            raise DatasetError(f"{self.path} has no column {name}{nearest(name, self.names)}", missing_column=name)
        return found
