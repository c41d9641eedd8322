"""The row groups of an open file: which bytes hold which columns, and what was decoded last.

A row group is decoded as a whole, however few of its entries are asked for. So those of the last read are kept, for a next
one that begins within them: a chunk that is smaller than a row group does not decode it again.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from ..storage.local import Range
from ..storage.sources import ReadAhead
from .fields import Found
from .footers import Footer
from .layouts import layout_of_table, member_of, uniform


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of a column: whole row groups, or from an entry within the first one on."""

    begin: int
    layout: Any


class RowGroups:
    """Reads columns of one open file.

    Args:
        source: the file's uproot source.
        footer: what it says of itself.

    Example:
        >>> groups = RowGroups(source, footer)                                                    # doctest: +SKIP
        >>> groups.read({"MET_pt": fields.find("MET_pt")}, 0, 1000)["MET_pt"]                     # doctest: +SKIP
    """

    def __init__(self, source: Any, footer: Footer) -> None:
        self._source = source
        self._footer = footer
        self._held: dict[str, _Held] = {}

    def forget(self) -> None:
        """Drop what is kept for a next read."""
        self._held.clear()

    def ahead(self, wanted: Mapping[str, Found], ranges: Sequence[Range]) -> None:
        """Ask a remote file for what `read` of some ranges of entries will need, and return at once."""
        if isinstance(self._source, ReadAhead):
            spans = []
            for name, found in wanted.items():
                begin, end = self._kept(name)
                parts = [(max(start, end) if begin <= start else start, stop) for start, stop in ranges]
                groups = {group for start, stop in parts if start < stop for group in self._groups(start, stop)}
                spans += self._footer.spans(sorted(groups), found.leaves)
            self._source.ahead(dict.fromkeys(spans))

    def read(self, wanted: Mapping[str, Found], start: int, stop: int) -> dict[str, Any]:
        """The layouts of columns, of the entries `[start, stop)`; all that is missing is fetched together.

        Raises:
            ValueError, OSError: a page is damaged, or not what the footer says.
        """
        if start == stop:
            return dict(self._decoded(range(0), wanted))
        missing: dict[range, dict[str, Found]] = {}
        for name, found in wanted.items():
            begin, end = self._kept(name)
            if not begin <= start < end:
                self._held.pop(name, None)
                end = start
            if end < stop:
                missing.setdefault(self._groups(end, stop), {})[name] = found
        self._fetch(missing)
        for groups, columns in missing.items():
            for name, layout in self._decoded(groups, columns):
                self._keep(name, int(self._footer.edges[groups.start]), layout, start)
        self._footer.bytes.have({})
        return {name: self._held[name].layout[start - self._held[name].begin :][: stop - start] for name in wanted}

    def table(self, found: Found, start: int, stop: int) -> Any:
        """A column of some entries as a table of Arrow; nothing is kept."""
        groups = self._groups(start, stop) if start < stop else range(0)
        self._fetch({groups: {found.column: found}})
        table = self._read(groups, found.leaves)
        self._footer.bytes.have({})
        return table.slice(start - int(self._footer.edges[groups.start]), stop - start) if groups else table

    def _kept(self, name: str) -> Range:
        """The entries that are kept of a column."""
        held = self._held.get(name)
        return (0, 0) if held is None else (held.begin, held.begin + len(held.layout))

    def _keep(self, name: str, first: int, layout: Any, start: int) -> None:
        """Keep what was decoded, from the entry `first` on, behind what there is from `start` on."""
        held = self._held.get(name)
        if held is None:
            self._held[name] = _Held(first, layout)
        else:
            self._held[name] = _Held(start, _joined(held.layout[start - held.begin :], layout))

    def _groups(self, start: int, stop: int) -> range:
        """The row groups that hold entries."""
        edges = self._footer.edges
        return range(int(edges.searchsorted(start, "right")) - 1, int(edges.searchsorted(stop, "left")))

    def _fetch(self, missing: Mapping[range, Mapping[str, Found]]) -> None:
        spans: dict[Range, None] = {}
        for groups, columns in missing.items():
            leaves = dict.fromkeys(leaf for found in columns.values() for leaf in found.leaves)
            spans |= dict.fromkeys(self._footer.spans(groups, leaves))
        wanted = list(spans)
        chunks = self._source.chunks(wanted, queue.SimpleQueue()) if wanted else []
        self._footer.bytes.have(dict(zip(wanted, chunks, strict=True)))

    def _decoded(self, groups: range, columns: Mapping[str, Found]) -> Iterator[tuple[str, Any]]:
        """What is in row groups of some columns; where there are none, layouts of no entries."""
        by_column: dict[str, dict[str, Found]] = {}
        for name, found in columns.items():
            by_column.setdefault(found.column, {})[name] = found
        table = self._read(groups, dict.fromkeys(leaf for found in columns.values() for leaf in found.leaves))
        for column, its in by_column.items():
            layout = uniform(layout_of_table(table.select([column])))
            for name, found in its.items():
                yield name, _of(layout, found)

    def _read(self, groups: range, leaves: Iterable[int]) -> Any:
        """Some leaves of row groups, as a table of Arrow. ValueError if pyarrow finds fewer rows in their pages than there
        are (it loses some whose lists go over several pages): all behind these would be those of other entries."""
        paths = list(map(self._footer.path, leaves))
        table = self._footer.file.read_row_groups(list(groups), columns=paths, use_threads=False)
        edges = self._footer.edges
        rows = int(edges[groups.stop] - edges[groups.start])
        if len(table) != rows:
            raise ValueError(f"pyarrow finds {len(table)} rows of {paths[0]} where its footer says {rows}")
        return table


def _of(layout: Any, found: Found) -> Any:
    """What a name stands for, of the layout of its column."""
    if not found.sizes:
        return member_of(layout, found.path)
    inner = member_of(layout, found.path)
    counts = ak.num(ak.Array(inner), axis=found.sizes)
    return uniform(ak.values_astype(counts, np.int64).layout)


def _joined(first: Any, second: Any) -> Any:
    """The entries of one layout, and behind them those of another one of the same form."""
    return uniform(ak.concatenate([ak.Array(first), ak.Array(second)], mergebool=False).layout)
