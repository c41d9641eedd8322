"""A friend that is joined by its index (`TTree::BuildIndex`), as if it had an entry for each of the file's, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from ..protocol.errors import DatasetError
from .columns import Column, Flat, joined
from .lazy_events import LazyEvents
from .picks import picked
from .storage.local import Range
from .storage.sources import Traffic
from .tree_series import TreeReader
from .ttree.tree_index import Numbers, TreeIndex

_KEPT = 4
"""Ranges whose entries in the friend are kept: each column of a chunk asks for them."""


class IndexedFriend:
    """The columns of a friend, by the entries of the file whose friend it is.

    Args:
        name: the friend's.
        reader: the friend.
        index: its index.
        main: the file, which has the branches that the index is by.

    Raises:
        DatasetError: the file does not have these branches, or the index is not one of the friend's entries.
    """

    def __init__(self, name: str, reader: TreeReader, index: TreeIndex, main: TreeReader) -> None:
        self.reader, self.path, self.tree = reader, reader.path, reader.tree
        self.names: Mapping[str, Any] = reader.names
        self._index = index
        self._main = main
        self._places: dict[Range, Numbers] = {}
        self._joined = f"{reader.tree} in {reader.path}, the friend {name} of {main.path},"
        if len(index.entries) != reader.entries:
            raise DatasetError(
                f"{self._joined} has an index of {len(index.entries)} entries and has {reader.entries}: build it anew "
                "(TTree::BuildIndex)"
            )
        if ((index.entries < 0) | (index.entries >= reader.entries)).any():
            raise DatasetError(f"{self._joined} has a damaged index: build it anew (TTree::BuildIndex)")
        for column in (index.major, index.minor):
            if column not in main.names and not _is_number(column):
                raise DatasetError(
                    f"{self._joined} is to be joined by its index of {index.major!r} and {index.minor!r}, and the file has "
                    f"no branch {column!r} in its tree {main.tree}: build the index by branches that both have"
                )

    @property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        return self.reader.lazy

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        return self.reader.traffic

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`."""
        return self.reader.types(branches)

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`."""
        return self.reader.has_member(name)

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`."""
        return self.reader.weight(branches)

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """Nothing: where in the friend the entries are, is known only when those of the file are read."""

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`, for entries of the file."""
        for start, stop in ranges:
            entries, order = np.unique(self._entries(start, stop), return_inverse=True)
            pick = picked(entries, self.reader.stride(branches))
            parts = [
                {name: column.take(inside) for name, column in columns.items()}
                for columns, inside in zip(self.reader.read_ranges(branches, pick.ranges), pick.inside, strict=True)
            ]
            yield {name: joined([part[name] for part in parts]).take(order) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for entries of the file."""
        entries, order = np.unique(self._entries(start, stop), return_inverse=True)
        pick = picked(entries, self.reader.stride([name]))
        parts = [self.reader.array(name, *span)[inside] for span, inside in zip(pick.ranges, pick.inside, strict=True)]
        return ak.to_packed((parts[0] if len(parts) == 1 else ak.concatenate(parts))[order])

    def _entries(self, start: int, stop: int) -> Numbers:
        """The friend's entries of the file's entries `[start, stop)`.

        Raises:
            DatasetError: it has none for one of them.
        """
        if (start, stop) not in self._places:
            while len(self._places) >= _KEPT:
                del self._places[next(iter(self._places))]
            majors, minors = (self._values(name, start, stop) for name in (self._index.major, self._index.minor))
            found = self._index.find(majors, minors)
            if (found < 0).any():
                missing = int((found < 0).argmax())
                raise DatasetError(
                    f"{self._joined} has no entry with {self._index.major} {majors[missing]} and {self._index.minor} "
                    f"{minors[missing]}, as entry {start + missing} of the file is; there would be the values of another "
                    "entry in ROOT. Write a friend that has all, or use those entries only that it has (entries=)"
                )
            self._places[start, stop] = found
        return self._places[start, stop]

    def _values(self, name: str, start: int, stop: int) -> Numbers:
        """What the file's entries have for one of the two numbers of the index."""
        if name not in self._main.names:
            return np.full(stop - start, int(name), np.int64)
        column = self._main.read([name], start, stop)[name]
        if not isinstance(column, Flat) or column.values.ndim != 1:
            raise DatasetError(
                f"{self._joined} is to be joined by its index of {name}, which is not one number for each event there"
            )
        return column.values.astype(np.int64)


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal()
