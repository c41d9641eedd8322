"""The files of a query, of which there may be millions.

They stay as they came, in blocks of MessagePack, and become objects when somebody asks for one. What is asked of all of them
again and again is taken out once, into columns: a few bytes a file.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from typing import overload

from ..packetizer.homes import Homes
from ..packetizer.lengths import Lengths
from ..packetizer.listed_entries import EntryList
from ..protocol.codec import Buffer
from ..protocol.file_blocks import FileColumns, columns_of, split
from ..protocol.messages import File
from .listings import Listings

_KEPT = 16
"""Blocks whose columns are kept as objects, those used last."""


class FileTable(Sequence[File]):
    """Files, by their number.

    Args:
        frame: as they travel (`protocol.file_blocks`). None of them is there before `take`.

    Attributes:
        known: the entries of each, as far as they are known beforehand.
        homes: the servers of each.
        listings: the entries that are used, of files of which not all are.
        counted: files that nobody has to open: cycles and items, and those of which nothing is listed.
        trees: how many files are none of cycles or items.
        datasets: their names.

    Raises:
        ValueError: the frame has no files; so does `msgspec.MsgspecError` say, here and in `take`.

    Example:
        >>> from eventmill.protocol.file_blocks import encode_files
        >>> table = FileTable(encode_files([File(f"{number}.root", entries=number) for number in range(2500)]))
        >>> while table.take():
        ...     pass
        >>> len(table), table[1234].path, table.known[1234]
        (2500, '1234.root', 1234)
    """

    def __init__(self, frame: Buffer = b"\x90") -> None:
        self._waiting = split(frame)
        self._waiting.reverse()
        self._blocks: list[Buffer] = []
        self._starts = array("q")
        self._columns: OrderedDict[int, FileColumns] = OrderedDict()
        self._digest = hashlib.blake2b(digest_size=16)
        self._count = self.trees = 0
        self.known, self.homes, self.listings = Lengths(), Homes(), Listings()
        self.counted: list[int] = []
        self.datasets: dict[str, int] = {}
        self._datasets = array("i")

    @classmethod
    def of(cls, frame: Buffer) -> FileTable:
        """All of them. Raises as the class does."""
        table = cls(frame)
        while table.take():
            pass
        return table

    @property
    def blocks_left(self) -> int:
        """How many blocks are still to be taken."""
        return len(self._waiting)

    def take(self) -> bool:
        """Take in one more block; false if there was none."""
        if not self._waiting:
            return False
        block = self._waiting.pop()
        columns = columns_of(block)
        self._digest.update(block)
        self._keep(len(self._blocks), columns)
        self._blocks.append(block)
        self._starts.append(self._count)
        self._take_lengths(columns)
        self._take_kinds(columns)
        self.homes.extend(columns.path, columns.each(columns.replicas))
        known = self.datasets
        groups = array("i", [known.setdefault(name, len(known)) for name in columns.dataset])
        self._datasets += groups if len(groups) == len(columns) else groups * len(columns)
        self._count += len(columns)
        return True

    def _take_lengths(self, columns: FileColumns) -> None:
        if columns.listed == [None] and len(columns.entries) == 1:
            self.known.repeat(columns.entries[0], len(columns))
            return
        entries = list(columns.each(columns.entries))
        for index, runs in enumerate(columns.each(columns.listed)):
            if runs is not None:
                listed = self.listings[self._count + index] = EntryList(runs)
                entries[index] = len(listed)
        self.known.extend(entries)

    def _take_kinds(self, columns: FileColumns) -> None:
        if columns.listed == [None] and columns.kind == ["tree"]:
            self.trees += len(columns)
            return
        kinds = columns.each(columns.kind)
        self.trees += kinds.count("tree")
        for number, kind in enumerate(kinds, self._count):
            if kind != "tree" or (number in self.listings and not self.listings[number]):
                self.counted.append(number)

    @property
    def digest(self) -> str:
        """Of all files that were taken in."""
        return self._digest.hexdigest()

    @property
    def groups(self) -> Sequence[int]:
        """For each file which of `datasets` it is of."""
        return self._datasets

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> File: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[File]: ...
    def __getitem__(self, number: int | slice) -> File | Sequence[File]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(self._count))]
        if not -self._count <= number < self._count:
            raise IndexError(number)
        number %= self._count
        block = bisect_right(self._starts, number) - 1
        columns = self._columns.get(block)
        if columns is None:
            columns = columns_of(self._blocks[block])
            self._keep(block, columns)
        else:
            self._columns.move_to_end(block)
        return columns.file(number - self._starts[block])

    def _keep(self, block: int, columns: FileColumns) -> None:
        self._columns[block] = columns
        if len(self._columns) > _KEPT:
            self._columns.popitem(last=False)
