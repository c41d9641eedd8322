"""Trees of one file that are parts of one table, read as one tree: ALICE writes a table into many folders `DF_...`."""

from __future__ import annotations

import fnmatch
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

import awkward as ak

from ..dataset.paths import has_pattern, is_parquet
from ..protocol.addresses import shown
from ..protocol.errors import DatasetError, nearest
from .clustering import FileLayout, few_edges
from .columns import Column, joined
from .lazy_events import LazyEvents
from .opening import check_closed, opened, trees_in
from .parquet.reader import ParquetReader
from .read_errors import read_errors
from .reader import Reader
from .storage.credentials import CredentialSet
from .storage.local import Range
from .storage.sources import Traffic
from .ttree.tree_index import TreeIndex
from .ttree.whole_baskets import Interpretation
from .whole_file import WholeFile, check_entries


class TreeSeries(WholeFile):
    """The trees of a file whose names fit a pattern, one after the other, in its order, with the methods of a `Reader`.

    The branches are those of the first tree that has entries, or else of the first one; all that have entries must have
    them, of the same types.

    Args:
        path: as `Reader`'s.
        pattern: names of trees with their folders, with `*`, `?` or `[...]`; `*` stands for part of a folder's name,
            or of the tree's. A tree that is called just so is meant alone.
        timeout, credential_set: as `Reader`'s.

    Attributes:
        trees: their names.
        bounds: the entry at which each of them begins, and the number of all entries.

    Raises:
        DatasetError: as `Reader`, and when no tree is called so.

    Example:
        >>> series = TreeSeries("AO2D.root", "DF_*/O2track")                                  # doctest: +SKIP
        >>> series.read(["fPx"], 0, series.entries)                                            # doctest: +SKIP
    """

    def __init__(
        self, path: str, pattern: str, timeout: float = 30.0, credential_set: CredentialSet | None = None
    ) -> None:
        self.path = shown(path)
        self.tree = pattern
        self.touched: set[str] = set()
        with read_errors(self.path, "cannot be opened"):
            directory = opened(path, timeout, credential_set)
        try:
            known = trees_in(directory)
            self.trees = [pattern] if pattern in known else [name for name in known if fits(name, pattern)]
            if not self.trees:
                check_closed(directory, self.path)
                raise DatasetError(f"{self.path} has no tree whose name fits {pattern}{nearest(pattern, known)}")
            self._parts = [Reader(path, name, timeout, credential_set, directory=directory) for name in self.trees]
        except BaseException:
            directory.close()
            raise
        self.identity = self._parts[0].identity
        self.bounds = [0, *accumulate(part.entries for part in self._parts)]
        self.entries = self.bounds[-1]
        self._model = next((part for part in self._parts if part.entries), self._parts[0])
        self._types: dict[tuple[int, str], str] = {}

    def check_befriends(self, name: str, main: TreeSeries) -> None:
        """Raise `DatasetError` unless these trees, a friend of that name, have as many entries as `main`, one by one."""
        for which, (tree, begin, other) in enumerate(zip(main.trees, main.bounds, self.trees, strict=False)):
            sizes = main.bounds[which + 1] - begin, self.bounds[which + 1] - self.bounds[which]
            if sizes[0] != sizes[1]:
                raise DatasetError(
                    f"{other} in {self.path} has {sizes[1]} entries, and {tree} in {main.path}, whose friend {name} it is, "
                    f"has {sizes[0]}: friends have one entry for each of the file's"
                )

    @property
    def opened(self) -> float:
        """As `Reader.opened`."""
        return self._model.opened

    @property
    def names(self) -> Mapping[str, Any]:
        """As `Reader.names`."""
        return self._model.names

    @property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        return self._model.lazy

    @property
    def order(self) -> str:
        """As `StoredTree.order`; an index of one tree says nothing of the others."""
        return "reshuffled" if any(part.order == "reshuffled" for part in self._parts) else ""

    @property
    def tree_index(self) -> TreeIndex:
        """As `StoredTree.tree_index`: there is none."""
        raise DatasetError(f"{self.tree} in {self.path} are several trees, which have no index together")

    @property
    def tree_aliases(self) -> dict[str, str]:
        """As `StoredTree.tree_aliases`."""
        return self._model.tree_aliases

    @property
    def is_far(self) -> bool:
        """As `Reader.is_far`."""
        return self._model.is_far

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`; all trees are read through one connection."""
        return self._model.traffic

    def news(self) -> bytes:
        """As `Reader.news`: nothing is told."""
        return b""

    def is_current(self, since: float) -> bool:
        """As `Reader.is_current`."""
        return self._model.is_current(since)

    def check_unchanged(self) -> None:
        """As `Reader.check_unchanged`."""
        self._model.check_unchanged()

    def close(self) -> None:
        """As `Reader.close`."""
        self._model.close()

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`."""
        return self._model.has_member(name)

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`."""
        return self._model.types(branches)

    # --- the packets' view --------------------------------------------------------------------------------------------

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """As `Reader.layout`: reading is best cut where trees begin, and where they themselves are."""
        edges = {0}
        for part, begin in zip(self._parts, self.bounds, strict=False):
            if part.entries:
                edges |= {begin + edge for edge in part.layout(branches).clusters}
        place = self._parts[0].stored.place
        return FileLayout(self.entries, few_edges(sorted(edges)), self.tree, self.identity, place)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Reader.stride`."""
        return max(part.stride(branches) for part in self._parts if part.entries or part is self._model)

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`."""
        names = tuple(branches)
        return sum(part.weight(names) * part.entries for part in self._parts if part.entries) / max(1, self.entries)

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `Reader.ranges_ahead`."""
        for number, spans in _by_part(self._pieces(start, stop) for start, stop in ranges).items():
            self._parts[number].ranges_ahead(branches, spans)

    def forget_ahead(self) -> None:
        """As `Reader.forget_ahead`."""
        for part in self._parts:
            part.forget_ahead()

    # --- columns ------------------------------------------------------------------------------------------------------

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`."""
        pieces = [self._pieces(start, stop) for start, stop in ranges]
        by_part = _by_part(pieces)
        self._check_types(branches, by_part)
        readers = {number: self._parts[number].read_ranges(branches, spans) for number, spans in by_part.items()}
        for some in pieces:
            found = [next(readers[number]) for number, _ in some]
            if len(found) == 1:
                yield found[0]
            else:
                yield {name: joined([columns[name] for columns in found]) for name in branches}
        self.touched.update(branches)

    def form_as(self, name: str, kind: Interpretation) -> Any:
        """As `Reader.form_as`."""
        return self._model.form_as(name, kind)

    def array(self, name: str, start: int, stop: int, kind: Interpretation | None = None) -> ak.Array:
        """As `Reader.array`."""
        pieces = self._pieces(start, stop)
        if kind is None:
            self._check_types([name], _by_part([pieces]))
        arrays = [self._parts[number].array(name, *span, kind) for number, span in pieces]
        self.touched.add(name)
        return arrays[0] if len(arrays) == 1 else ak.concatenate(arrays)

    def _pieces(self, start: int, stop: int) -> list[Piece]:
        """In which trees entries are, and which they are there; at least one, of none where there are none."""
        check_entries(self.path, self.tree, self.entries, start, stop)
        first = min(bisect_right(self.bounds, start), len(self._parts)) - 1
        found = []
        for number in range(first, len(self._parts)):
            begin, end = self.bounds[number : number + 2]
            if begin >= stop:
                break
            if (low := max(start, begin)) < (high := min(stop, end)):
                found.append((number, (low - begin, high - begin)))
        return found or [(self._parts.index(self._model), (0, 0))]

    def _check_types(self, branches: Iterable[str], numbers: Collection[int]) -> None:
        """Raise `DatasetError` unless branches have the same types in these trees as in the one that stands for all."""
        for name in branches:
            usual = self._type(self._parts.index(self._model), name)
            for number in numbers:
                if (its := self._type(number, name)) != usual:
                    raise DatasetError(
                        f"branch {name} of {self.path} is of type {its} in its tree {self.trees[number]}, and of type "
                        f"{usual} in {self._model.tree}: they are no parts of one table"
                    )

    def _type(self, number: int, name: str) -> str:
        """The type of a branch in one of the trees, found out once."""
        if (number, name) not in self._types:
            self._types[number, name] = self._parts[number].types([name])[name]
        return self._types[number, name]


Piece: TypeAlias = tuple[int, Range]
"""The number of a tree, and entries of it."""


def _by_part(pieces: Iterable[Iterable[Piece]]) -> dict[int, list[Range]]:
    """What is read of each tree, in order."""
    found: dict[int, list[Range]] = {}
    for number, span in chain.from_iterable(pieces):
        found.setdefault(number, []).append(span)
    return found


def fits(name: str, pattern: str) -> bool:
    """Whether the name of a tree fits a pattern, folder by folder.

    Example:
        >>> fits("DF_1/O2track", "DF_*/O2track"), fits("DF_1/more/O2track", "DF_*/O2track")
        (True, False)
    """
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


TreeReader: TypeAlias = Reader | TreeSeries | ParquetReader
"""A tree of a file that is open, or several that are one, or a file of Parquet."""


def parts_of(reader: TreeReader) -> list[tuple[str, int, int]]:
    """The trees that are read as one, each with the entries at which it begins and ends."""
    if isinstance(reader, TreeSeries):
        return list(zip(reader.trees, reader.bounds, reader.bounds[1:], strict=False))
    return [(reader.tree, 0, reader.entries)]


def open_tree(
    path: str, tree: str, timeout: float = 30.0, credential_set: CredentialSet | None = None, layout: bytes = b""
) -> TreeReader:
    """Open a file. Arguments and errors are those of `Reader`, `TreeSeries` and `ParquetReader`."""
    if is_parquet(path):
        return ParquetReader(path, tree, timeout, credential_set)
    if has_pattern(tree):
        return TreeSeries(path, tree, timeout, credential_set)
    return Reader(path, tree, timeout, credential_set, layout)
