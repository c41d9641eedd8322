"""Whether our way of reading a tree and uproot's give the same: of every branch the same arrays, or both refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Column, Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.record_branches import AsRecords

TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
FOR_NO_KERNEL = "cannot be used in a kernel", "uproot does not know a type in it"
"""What `Reader.read` says of a type that it does not take; a columnar function may."""

FEW_ALIKE, FEW_ENTRIES = 4, 40
"""Of what only uproot decodes: so many branches of a type, and entries, when not everything is to be compared."""

Range = tuple[int, int]


def as_layout(column: Column) -> Any:
    """A column as an awkward layout."""
    if isinstance(column, Flat):
        assert column.values.dtype.isnative
        return ak.contents.NumpyArray(column.values)
    offsets = ak.index.Index64(column.offsets)
    if isinstance(column, Jagged):
        return ak.contents.ListOffsetArray(offsets, as_layout(column.content))
    characters = ak.contents.NumpyArray(column.characters, parameters={"__array__": "char"})
    return ak.contents.ListOffsetArray(offsets, characters, parameters={"__array__": "string"})


def agree(column: Column, expected: ak.Array, rounded: bool = False) -> bool:
    """Same structure, numeric type and values; fixed sizes may be lists. `rounded`: as in `same`."""
    if len(column) != len(expected):
        return False
    if rounded:
        return nearly(ak.Array(as_layout(column)), expected)
    ours, theirs = numbers(as_layout(column)), numbers(expected.layout)
    if ours is not None and theirs is not None:
        return same_numbers(ours, theirs)
    got = ak.Array(as_layout(column))
    if '"set"' in str(expected.layout.form) or '"bitset"' in str(expected.layout.form):  # lists that call themselves so
        return bool(got.tolist() == expected.tolist())
    return bool(ak.array_equal(ak.from_regular(got, axis=None), ak.from_regular(expected, axis=None), equal_nan=True))


def nearly(array: ak.Array, expected: ak.Array) -> bool:
    """Same structure, and values up to how they are rounded."""
    array, expected = ak.from_regular(ak.materialize(array), axis=None), ak.from_regular(expected, axis=None)
    return bool(ak.almost_equal(array, expected, rtol=1e-6, atol=1e-6, check_parameters=False))


def same(array: ak.Array, expected: ak.Array, rounded: bool = False) -> bool:
    """Same structure, types and values; of `rounded` numbers (Double32_t, Float16_t), which we compute as ROOT does and
    uproot with other roundings, nearly the same values.
    """
    array = ak.materialize(array)
    if rounded:
        return nearly(array, expected)
    ours, theirs = numbers(array.layout), numbers(expected.layout)
    if ours is not None and theirs is not None and type(array.layout) is type(expected.layout):
        return same_numbers(ours, theirs)
    if "union" in str(expected.type):  # array_equal does not go into unions
        return bool(array.tolist() == expected.tolist())
    return bool(ak.array_equal(array, expected, equal_nan=True))


def numbers(layout: Any) -> list[Any] | None:
    """The offsets from 0, if any, and the values of an array of numbers or of lists of numbers; None for others."""
    if layout.is_numpy:
        return [np.asarray(layout.data)] if layout.parameter("__array__") is None else None
    if not isinstance(layout, ak.contents.ListOffsetArray) or layout.parameter("__array__") is not None:
        return None
    if not layout.content.is_numpy or layout.content.parameter("__array__") is not None:
        return None
    offsets = np.asarray(layout.offsets.data)
    low, high = (offsets[0], offsets[-1]) if len(offsets) else (0, 0)
    return [offsets - low, np.asarray(layout.content.data)[low:high]]


def same_numbers(ours: list[Any], theirs: list[Any]) -> bool:
    """Same number of levels, shapes, types up to byte order, and values, NaN included."""
    if len(ours) != len(theirs) or ours[-1].dtype.newbyteorder("=") != theirs[-1].dtype.newbyteorder("="):
        return False
    return all(np.array_equal(a, b, equal_nan=b.dtype.kind == "f") for a, b in zip(ours, theirs, strict=True))


def _has_records(branch: Any) -> bool:
    """Whether eventmill decodes a branch, or one of its subbranches, by the file's description of its classes."""
    if branch.branches:
        return any(map(_has_records, branch.branches))
    try:
        return isinstance(branch.interpretation, AsRecords)
    except Exception:  # uproot's way to say that there is none
        return False


@dataclass(slots=True)
class Comparison:
    """What came out for a file.

    Attributes:
        equal: branches that both read, with the same result.
        refused: branches that neither reads, or that are known to be readable by nobody.
        alone: branches of records that only eventmill decodes.
        omitted: branches that were not looked at, because others of their type in the same tree were.
        problems: the rest, in words.
    """

    equal: int = 0
    refused: int = 0
    alone: int = 0
    omitted: int = 0
    problems: list[str] = field(default_factory=list)


def compare_file(path: Path, everything: bool, known: Container[tuple[str, str]] = ()) -> Comparison:
    """Compare every tree of a file.

    Args:
        path: the file.
        everything: also of all branches of a type that only uproot decodes, and all their entries, which takes long;
            otherwise `FEW_ALIKE` of each type in a tree, and `FEW_ENTRIES`. Those that eventmill decodes are always
            compared as a whole.
        known: name of the file and branch, for what is not to be tried at all.
    """
    found = Comparison()
    try:
        with uproot.open(path, handler=uproot.MemmapSource, object_cache=None, array_cache=None) as file:
            kinds = file.classnames(recursive=True, cycle=False)
            for name in (name for name, kind in kinds.items() if kind in TREES):
                _TreeComparison(file[name], _readers(str(path), name), found, everything, known).run()
    except DatasetError as error:
        found.problems.append(f"{path.name}: uproot opens it, and we say: {error}")
    return found


def _readers(path: str, tree: str) -> list[Reader]:
    """A reader; of an RNTuple another one, which was told what the first one has found and looks at no metadata."""
    reader = Reader(path, tree)
    if not reader.stored.is_rntuple:
        return [reader]
    told = Reader(path, tree, layout=reader.news())
    assert (told.traffic.requests, told.bytes_read) == (0, 0) and told.layout() == reader.layout()
    return [reader, told]


def middle(n: int) -> Range:
    """Neither the first nor the last of n entries."""
    return n // 3, n - n // 4


class _TreeComparison:
    """One tree, open with uproot and with readers of ours."""

    def __init__(
        self, tree: Any, readers: list[Reader], found: Comparison, everything: bool, known: Container[tuple[str, str]]
    ) -> None:
        self.theirs = tree
        self.ours = reader = readers[0]
        self.readers = readers
        self.found = found
        self.everything = everything
        self.known = known
        self.alike: Counter[str] = Counter()
        self.few = reader.entries if everything else min(reader.entries, FEW_ENTRIES)
        self.part = middle(self.few)
        self.events = [each.events(*self.part) for each in readers]
        self.rounded = not reader.stored.is_rntuple and any(
            kind in str(branch.interpretation) for branch in tree.itervalues() for kind in ("Double32", "Float16")
        )

    def run(self) -> None:
        reader = self.ours
        for number, (name, branch) in enumerate(self._their_branches()):
            if name not in reader.names:
                self._problem(name, "uproot has it, and we do not")
            elif (Path(reader.path).name, name) in self.known:
                self.found.refused += 1
            elif self._is_worth_it(name, branch):
                try:
                    self._compare(name, branch, thorough=not reader.columns.is_plain(name) or number % 8 == 0)
                except AssertionError as difference:
                    self._problem(name, str(difference))
                except Exception as error:  # the test wants to hear of every one of them
                    self._problem(name, f"{type(error).__name__}: {error}")
            else:
                self.found.omitted += 1
        for each in self.readers:
            each.close()

    def _their_branches(self) -> list[tuple[str, Any]]:
        """Each once that has a name of its own. One of the same name as another is called by its path; of two with one path
        the first counts, as in ROOT."""
        if not isinstance(self.theirs, uproot.TTree):
            return [(field.name, field) for field in self.theirs.fields]
        names: dict[str, Any] = {}
        paths = set()
        for path, branch in self.theirs.iteritems(full_paths=True):
            if path not in paths:
                names.setdefault(path if branch.name in names else branch.name, branch)
            paths.add(path)
        return list(names.items())

    def _is_worth_it(self, name: str, branch: Any) -> bool:
        if self.everything or (self.ours.columns.is_plain(name) and not self.ours.stored.is_rntuple):
            return True
        is_group = not self.ours.stored.is_rntuple and branch.branches
        kind = "group" if is_group else str(getattr(branch, "interpretation", None) or branch.typename)
        self.alike[kind] += 1
        return self.alike[kind] <= FEW_ALIKE

    def _compare(self, name: str, branch: Any, thorough: bool) -> None:
        stop = self.ours.entries if self.ours.columns.is_plain(name) else self.few
        try:
            expected = branch.array(entry_start=0, entry_stop=stop, library="ak")
        except Exception as error:  # uproot's parsers raise nearly anything
            self._must_refuse(name, stop, error)
            return
        if len(expected) != stop:  # a branch that is shorter than its tree
            self._must_refuse(name, stop, ValueError(f"{len(expected)} entries of {stop}"))
            return
        ranges = self._ranges(name, branch, stop, thorough)
        for reader, events in zip(self.readers, self.events, strict=True):
            is_taken = self._compare_columns(reader, name, ranges, expected)
            if thorough:  # a column of numbers is an array as well
                for a, b in {(0, stop), self.part} if not is_taken else {self.part}:
                    assert same(reader.array(name, a, b), expected[a:b], self.rounded), f"array [{a}, {b})"
                if not getattr(branch, "branches", ()):
                    assert name in events.fields, "not among the events' columns"
                    assert same(events[name], expected[slice(*self.part)], self.rounded), "as a column of events"
        self.found.equal += 1

    def _compare_columns(self, reader: Reader, name: str, ranges: list[Range], expected: ak.Array) -> bool:
        """Whether kernels may have it."""
        for start, stop in ranges:
            try:
                column = reader.read([name], start, stop)[name]
            except DatasetError as error:
                if not any(words in str(error) for words in FOR_NO_KERNEL) or numbers(expected.layout) is not None:
                    raise
                return False
            assert agree(column, expected[start:stop], self.rounded), f"columns of [{start}, {stop})"
        return True

    def _ranges(self, name: str, branch: Any, n: int, thorough: bool) -> list[Range]:
        """The middle, and all; of what eventmill decodes also across the first boundaries of baskets or clusters, and, to be
        thorough, a single entry and none. They are not in order."""
        if not self.ours.columns.is_plain(name):
            return [self.part, (0, n)]
        if isinstance(self.theirs, uproot.TTree):
            edges = list(branch.entry_offsets)
        else:
            edges = [cluster.num_first_entry for cluster in self.theirs.ntuple.cluster_summaries]
        across = [(edge - 1, edge + 1) for edge in edges if 0 < edge < n][:2]
        short = [(n // 2, min(n // 2 + 1, n)), (n // 2, n // 2)] if thorough else []
        return [middle(n), *reversed(across), (0, n), *short]

    def _must_refuse(self, name: str, n: int, reason: Exception) -> None:
        branch = self.ours.names[name]
        if not self.ours.stored.is_rntuple and _has_records(branch):  # ROOT's answers to these are in test_unsplit
            self.found.alone += 1
            return
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("array", lambda: self.ours.array(name, 0, n)),
            ("read", lambda: self.ours.read([name], 0, n)),
        ]
        for what, call in calls:
            try:
                call()
            except DatasetError:
                continue
            raise AssertionError(f"uproot refuses it ({type(reason).__name__}: {str(reason)[:100]}), {what} does not")
        self.found.refused += 1

    def _problem(self, name: str, text: str) -> None:
        self.found.problems.append(f"{self.ours.path}, {self.ours.tree}, {name}: {text}")
