"""The columns of a tree in a file: their types, and their values by range of entries.

Plain branches go through `baskets`, or `pages` in an RNTuple; everything else (vectors of vectors, objects) through
uproot, whose awkward arrays are taken apart into columns here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import awkward as ak
import numpy as np

from ..protocol.errors import DatasetError, nearest
from .awkward_forms import branch_form, field_forms, plain_form, type_text
from .columns import Column, Flat, column_of
from .lazy_events import LazyEvents, layout_of
from .lazy_property import lazy_property
from .read_errors import read_errors
from .rntuple.clusters import Clusters, read
from .rntuple.ntuples import Ntuple
from .rntuple.pages import Pages
from .storage.local import Range
from .storage.sources import ReadAhead
from .stored_tree import StoredTree
from .ttree.basket_layout import Branch
from .ttree.baskets import Baskets, IrregularError
from .ttree.branches import Written, counts_of_clones, original, written_type
from .ttree.record_members import Member
from .ttree.whole_baskets import Interpretation, WholeBaskets
from .whole_file import check_entries

_SHOWN = 5
"""Branches within one that are named."""


class StoredColumns:
    """The columns of a stored tree.

    Args:
        stored: the tree.

    Attributes:
        names: of all branches (fields, in an RNTuple), with uproot's object of each.
        baskets: what reads the plain ones, without uproot's interpretations.

    Example:
        >>> columns = StoredColumns(StoredTree("run1.root", "Events"))                            # doctest: +SKIP
        >>> columns.types(["Muon_pt"])                                                            # doctest: +SKIP
        {'Muon_pt': 'var * float32'}
    """

    def __init__(self, stored: StoredTree) -> None:
        self.stored, self.path, self.entries = stored, stored.path, stored.entries
        described = stored.described
        with read_errors(self.path, "cannot be opened"):
            self.names = stored.names
            if isinstance(described, Ntuple):
                self.baskets: Baskets | Pages = Pages(stored.source, described)
            else:
                self.baskets = Baskets(stored.source, self.names, None if described is None else described.branches)

    # --- names --------------------------------------------------------------------------------------------------------

    def known(self, name: str) -> str:
        """The name, if there is such a branch; else `DatasetError`."""
        if name not in self.names:
            raise DatasetError(
                f"{self.path} has no branch {name} in its tree {self.stored.name}{nearest(name, self.names)}",
                missing_column=name,
            )
        return name

    def is_plain(self, name: str) -> bool:
        """Whether a branch goes the short way. Raises `DatasetError` as `read` does."""
        with read_errors(self.path, f"cannot be read in its branch {name}"):
            return self.baskets.branch(name) is not None

    def plain(self, name: str) -> Branch | None:
        """What is known of the baskets of a plain branch; None for others, and in an RNTuple. Raises `DatasetError`."""
        with read_errors(self.path, f"cannot be read in its branch {name}"):
            return self.baskets.branch(name) if isinstance(self.baskets, Baskets) else None

    # --- types --------------------------------------------------------------------------------------------------------

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """The types of branches' values in an event, as awkward writes them: `float32`, `var * float32`."""
        with read_errors(self.path, "cannot be read"):
            forms = self._forms([self.known(name) for name in branches])
        return {name: "unknown" if form is None else type_text(form) for name, form in forms.items()}

    @lazy_property
    def lazy(self) -> LazyEvents:
        """Makes arrays of events whose columns are read when they are touched."""
        with read_errors(self.path, "cannot be read"):
            forms, counters = self._described()
            return LazyEvents(forms, counters, path=self.path, has_member=self.has_member, original=self._original)

    def _original(self, name: str) -> str:
        return original(self.names, name)

    def _described(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The forms of all branches, and which have the lengths of the lists of which. uproot is asked only of what neither
        the tree nor a file of its kind has said.
        """
        odd = self.stored.odd_forms()
        names = [name for name in self.names if name not in odd.numbers]
        plain = {name: self.baskets.branch(name) for name in names}
        counters = {name: branch.counter for name, branch in plain.items() if branch is not None and branch.counter}
        forms = self._forms(names)
        if not odd.numbers and not self.stored.is_described_wholly:
            clones = counts_of_clones(self.stored.tbranches).items()
            counters |= {
                name: of
                for name, of in clones
                if forms.get(name) is not None and (count := self.plain(of)) is not None and count.is_count
            }
            self.stored.learn({name: (form, counters.get(name, "")) for name, form in forms.items()})
        forms |= odd.forms()
        return {name: form for name in self.names if (form := forms[name]) is not None}, counters | odd.counters

    def has_member(self, name: str) -> bool:
        """Whether this is a member of records, or the lengths of lists of them (see `rntuple.members`)."""
        described = self.stored.described
        return isinstance(described, Ntuple) and described.schema.has_member(name)

    def forms(self) -> dict[str, Any]:
        """The awkward forms of all branches that have data of their own and that awkward arrays can hold, by name."""
        return {name: form for name, form in self._forms(list(self.names)).items() if form is not None}

    def _forms(self, names: Sequence[str]) -> dict[str, Any]:
        """The forms of some branches; None for those that have none."""
        if not isinstance(self.stored.described, Ntuple):
            return {name: self._form(name) for name in names}
        [plain] = self.baskets.read([name for name in names if self.is_plain(name)], [(0, 0)])
        forms = {name: layout_of(column).form for name, column in plain.items()}
        own = [name for name in names if name not in forms and not self.has_member(name)]
        forms |= {name: self.stored.described.schema.form(name) for name in own}
        forms |= {name: read(self.names[name], 0, 0).layout.form for name in names if name not in forms}
        unknown = {name: self.names[name] for name in names if forms[name] is None}
        forms |= field_forms(self.stored.tree, unknown) if unknown else {}
        return {name: forms[name] for name in names}

    def _member(self, name: str) -> Member | None:
        """The member of records in a TTree that is called so."""
        return self.names.member(name) if isinstance(self.names, Written) else None

    def _form(self, name: str) -> Any:
        if (member := self._member(name)) is not None:
            return member.form(self._form(member.branch))
        plain = self.plain(name)
        if plain is not None:
            return plain_form(plain.native, plain.shape, plain.is_list, plain.header, plain.depth)
        branch = None if self.stored.is_group(name) else self.names[name]
        return None if branch is None or branch.branches else branch_form(branch)

    # --- values -------------------------------------------------------------------------------------------------------

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `ahead`, for `read_ranges`."""
        with read_errors(self.path, "cannot be read"):
            self.baskets.ahead([name for name in branches if self.is_plain(self.known(name))], ranges)

    def forget_ahead(self) -> None:
        """Drop what was asked for ahead, and what is kept for a next read: nobody is going to read there."""
        self.baskets.forget()
        for baskets in (self._whole_baskets, *self._interpreted.values()):
            baskets.forget()
        if isinstance(self.stored.source, ReadAhead):
            self.stored.source.forget()

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `read`, for each of some ranges of entries, ascending. What is far is fetched for all of them together."""
        for start, stop in ranges:
            check_entries(self.path, self.stored.name, self.entries, start, stop)
        plain = self._read_plain([self.known(name) for name in branches], ranges)
        for start, stop in ranges:
            with read_errors(self.path, "cannot be read"):
                columns = next(plain)
            for name in branches:
                if name not in columns:
                    array = self.array(name, start, stop)
                    with read_errors(self.path, f"cannot be read in its branch {name}"):
                        columns[name] = column_of(
                            array.layout, f"branch {name} of {self.path}, of type {array.type.content},"
                        )
            yield columns

    def _read_plain(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Of each range, the columns of those among the branches that are plain."""
        done = 0
        while done < len(ranges):
            try:
                for columns in self.baskets.read([name for name in names if self.is_plain(name)], ranges[done:]):
                    yield columns
                    done += 1
            except IrregularError as irregular:
                self.baskets.leave(str(irregular))

    def form_as(self, name: str, kind: Interpretation) -> Any:
        """The awkward form of a branch that is read by an interpretation; None if only `array` can tell what is wrong."""
        branch = self.names[self.known(name)]
        with suppress(Exception):  # of the user's own code
            form = branch_form(branch, kind.of(branch))
            if form is not None:
                form.length_zero_array()
                return form
        with suppress(DatasetError):
            return ak.to_packed(self.array(name, 0, min(1, self.entries), kind)).layout.form
        return None

    def array(self, name: str, start: int, stop: int, kind: Interpretation | None = None) -> ak.Array:
        """One branch as uproot reads it, whatever its type, or by an interpretation. Raises as `read` does."""
        if kind is None and (member := self._member(name)) is not None:
            return member.of(self.array(member.branch, start, stop))
        if kind is None and self.plain(self.known(name)) is not None:
            [columns] = self.read_ranges([name], [(start, stop)])
            return ak.Array(layout_of(columns[name]))
        branch = self.names[self.known(name)]
        with read_errors(self.path, f"cannot be read in its branch {name}", lambda: written_type(branch)):
            if kind is not None:
                array = self._read_as(kind, name, branch, start, stop)
            elif isinstance(self.baskets, Pages):
                array = self._clusters.array(name, branch, start, stop)
            else:
                array = self._by_uproot(name, branch, start, stop)
                self._check_counts(name, branch, array, start)
        if len(array) != stop - start:
            raise DatasetError(f"branch {name} of {self.path} has fewer entries than its tree {self.stored.name}")
        return array

    def _by_uproot(self, name: str, branch: Any, start: int, stop: int) -> ak.Array:
        try:
            return self._whole_baskets.array(name, branch, start, stop)
        except KeyError as error:
            if not branch.branches:
                raise
            inner = ", ".join(it.name for it in branch.branches[:_SHOWN]) + (
                ", ..." if branch.branches[_SHOWN:] else ""
            )
            raise ValueError(
                f"it has nothing but the branches in it, and uproot cannot put {error} among these together with others: "
                f"take them by themselves ({inner})"
            ) from error

    def _read_as(self, kind: Interpretation, name: str, branch: Any, start: int, stop: int) -> ak.Array:
        if isinstance(self.baskets, Pages):
            raise ValueError("it is in an RNTuple, and interpretations are of the branches of TTrees")
        baskets = self._interpreted.setdefault(kind, WholeBaskets(kind))
        return baskets.array(name, branch, start, stop)

    @lazy_property
    def _interpreted(self) -> MutableMapping[Interpretation, WholeBaskets]:
        """What is kept of branches that queries read in ways of their own, as long as these are in use."""
        return WeakKeyDictionary()

    @lazy_property
    def _clusters(self) -> Clusters:
        return Clusters(self.baskets.edges if isinstance(self.baskets, Pages) else np.zeros(1, dtype=np.int64))

    @lazy_property
    def _whole_baskets(self) -> WholeBaskets:
        return WholeBaskets()

    def _check_counts(self, name: str, branch: Any, array: ak.Array, start: int) -> None:
        """Compare lists as uproot has read them with their counter."""
        count = branch.count_branch
        layout = array.layout
        if count is None or not layout.is_list or layout.is_regular or layout.parameter("__array__") is not None:
            return
        counter = self.plain(count.name)
        if counter is None or not counter.is_count or self.names[count.name] is not count:
            return
        [columns] = self.baskets.read([count.name], [(start, start + len(array))])
        counts, lengths = columns[count.name], ak.to_numpy(ak.num(array))
        if isinstance(counts, Flat) and (wrong := counts.values != lengths).any():
            entry = int(wrong.argmax())
            raise ValueError(
                f"its list of entry {start + entry} has {lengths[entry]} elements, and its counter {count.name} says "
                f"{counts.values[entry]}: one of the two is damaged"
            )
