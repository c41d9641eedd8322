"""Which entries of a friend belong to those of a file, where these are not the ones of the same numbers: by the friend's
index (`TTree::BuildIndex`), by columns of whole numbers that both have, or by a column that has the entries' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import DatasetError, nearest
from .columns import Column, Flat, Jagged, offsets_of
from .tree_series import TreeReader, parts_of
from .ttree.tree_index import Numbers, TreeIndex

_SLICE = "fIndexSlice"
"""How ALICE calls columns with the first and the last row of another table."""


class Join(Protocol):
    """Finds the entries of a friend.

    Attributes:
        keys: the columns of the file that it reads.
        is_list: each entry of the file has any number of entries of the friend.
    """

    keys: tuple[str, ...]
    is_list: bool

    def entries(self, start: int, stop: int) -> tuple[Numbers | None, Numbers]:
        """The friend's entries of the file's entries `[start, stop)`, -1 where there is none; where they are lists, also
        where these begin, and the last one ends.

        Raises:
            DatasetError: the two do not fit together.
        """

    def absent(self, entry: int) -> str:
        """What to say of an entry of the file that has none in the friend."""


class ByTreeIndex:
    """By the index that a friend has in its file.

    Args:
        index: the index.
        friend: the friend.
        main: the file, which has the branches that the index is by.
        joined: what to call the friend in errors.

    Raises:
        DatasetError: the file does not have these branches, or the index is not one of the friend's entries.
    """

    is_list = False

    def __init__(self, index: TreeIndex, friend: TreeReader, main: TreeReader, joined: str) -> None:
        self._index, self._main, self._joined = index, main, joined
        if len(index.entries) != friend.entries:
            raise DatasetError(
                f"{joined} has an index of {len(index.entries)} entries and has {friend.entries}: build it anew "
                "(TTree::BuildIndex)"
            )
        if ((index.entries < 0) | (index.entries >= friend.entries)).any():
            raise DatasetError(f"{joined} has a damaged index: build it anew (TTree::BuildIndex)")
        columns = (index.major, index.minor)
        for column in columns:
            if column not in main.names and not _is_number(column):
                raise DatasetError(
                    f"{joined} is to be joined by its index of {index.major!r} and {index.minor!r}, and the file has "
                    f"no branch {column!r} in its tree {main.tree}: build the index by branches that both have"
                )
        self.keys = tuple(column for column in columns if column in main.names)

    def entries(self, start: int, stop: int) -> tuple[Numbers | None, Numbers]:
        """As `Join.entries`; of several entries with the same numbers, the one that ROOT takes."""
        return None, self._index.find(
            *(self._values(name, start, stop) for name in (self._index.major, self._index.minor))
        )

    def absent(self, entry: int) -> str:
        """As `Join.absent`."""
        major, minor = self._index.major, self._index.minor
        numbers = [int(self._values(name, entry, entry + 1)[0]) for name in (major, minor)]
        return (
            f"{self._joined} has no entry with {major} {numbers[0]} and {minor} {numbers[1]}, as entry {entry} of the file "
            "is; there would be the values of another entry in ROOT"
        )

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


Keys: TypeAlias = NDArray[np.integer[Any]]


class ByColumns:
    """By columns of whole numbers that the file and the friend have, as a run's and an event's number.

    All of the friend's columns are read once, when they are needed first, also where it is the friend of many files.

    Args:
        columns: of the file, with those of the friend.
        friend, main, joined: as for `ByTreeIndex`.

    Raises:
        DatasetError: one of them has not these columns.
    """

    is_list = False

    def __init__(self, columns: Mapping[str, str], friend: TreeReader, main: TreeReader, joined: str) -> None:
        self.keys, self._theirs = tuple(columns), tuple(columns.values())
        self._friend, self._main, self._joined = friend, main, joined
        for reader, names in ((main, self.keys), (friend, self._theirs)):
            for name in names:
                if name not in reader.names:
                    raise DatasetError(
                        f"{joined} is to be joined by {' and '.join(self.keys)}, and {reader.path} has no branch {name} in "
                        f"its tree {reader.tree}{nearest(name, reader.names)}"
                    )

    def entries(self, start: int, stop: int) -> tuple[Numbers | None, Numbers]:
        """As `Join.entries`.

        Raises:
            DatasetError: the friend has several entries with the numbers of one, or columns are no whole numbers.
        """
        tables = _TABLES.setdefault(self._friend, {})
        if self._theirs not in tables:
            tables[self._theirs] = KeyTable(self._values(self._friend, self._theirs, 0, self._friend.entries))
        found, seconds = tables[self._theirs].find(self._values(self._main, self.keys, start, stop))
        if (seconds >= 0).any():
            place = int((seconds >= 0).argmax())
            raise DatasetError(
                f"{self._joined} has several entries with {self._numbers(start + place)}, as entry {start + place} of the "
                f"file is, {found[place]} and {seconds[place]} among them: which is meant, nobody can know"
            )
        return None, found

    def absent(self, entry: int) -> str:
        """As `Join.absent`."""
        return f"{self._joined} has no entry with {self._numbers(entry)}, as entry {entry} of the file is"

    def _numbers(self, entry: int) -> str:
        values = self._values(self._main, self.keys, entry, entry + 1)
        return " and ".join(f"{name} {value[0]}" for name, value in zip(self.keys, values, strict=True))

    def _values(self, reader: TreeReader, names: Sequence[str], start: int, stop: int) -> list[Keys]:
        columns = reader.read(names, start, stop)
        return [_whole(columns[name], name, reader, self._joined) for name in names]


class ByNumber:
    """By a column that has the numbers of the friend's entries, from 0 on; -1 stands for none. Where the file has a table in
    many trees, as ALICE's `DF_*`, they are those of the friend's tree in the same folder.

    Args:
        column: of the file: a whole number for each entry, or a list of them; or two, the first and the last of a run of
            entries, where it is called so (`fIndexSlice...`).
        friend, main, joined: as for `ByTreeIndex`.

    Raises:
        DatasetError: the file has no such column, it is none of these, or folders have several of the friend's trees.
    """

    def __init__(self, column: str, friend: TreeReader, main: TreeReader, joined: str) -> None:
        self.keys: tuple[str, ...] = (column,)
        self._column, self._main, self._friend, self._joined = column, main, friend, joined
        if column not in main.names:
            raise DatasetError(
                f"{joined} is to be joined by {column}, and the file has no branch {column} in its tree {main.tree}"
                f"{nearest(column, main.names)}"
            )
        self._is_slice = column.startswith(_SLICE)
        self.is_list = self._is_slice or main.types([column])[column].startswith("var * ")
        theirs = parts_of(friend)
        is_one = len(theirs) == 1 and len(parts_of(main)) == 1
        folders = {"" if is_one else _folder(tree): (begin, end) for tree, begin, end in theirs}
        if len(folders) < len(theirs):
            raise DatasetError(
                f"{joined} has several trees in one folder, and {column} cannot tell which of them is meant"
            )
        self._bounds = np.array([begin for _, begin, _ in parts_of(main)])
        none = (0, -1)
        spans = [folders.get("" if is_one else _folder(tree), none) for tree, _, _ in parts_of(main)]
        self._begins, ends = np.array(spans).T
        self._sizes = ends - self._begins

    def entries(self, start: int, stop: int) -> tuple[Numbers | None, Numbers]:
        """As `Join.entries`."""
        column = self._main.read([self._column], start, stop)[self._column]
        part = np.searchsorted(self._bounds, np.arange(start, stop), side="right") - 1
        if self._is_slice:
            numbers, counts = self._runs(column, start)
            return offsets_of(counts), self._in_friend(numbers, np.repeat(part, counts), start, offsets_of(counts))
        if not isinstance(column, Jagged):
            return None, self._in_friend(_whole(column, self._column, self._main, self._joined), part, start)
        low, high = int(column.offsets[0]), int(column.offsets[-1])
        offsets = column.offsets - low
        inside = _whole(column.content.slice(low, high), self._column, self._main, self._joined)
        return offsets, self._in_friend(inside, np.repeat(part, np.diff(offsets)), start, offsets)

    def absent(self, entry: int) -> str:
        """As `Join.absent`."""
        return f"{self._joined} has nothing for entry {entry} of the file, whose {self._column} is -1"

    def _runs(self, column: Column, start: int) -> tuple[Numbers, Numbers]:
        """The numbers of all entries of each run, and how many each has: none where it begins or ends with -1."""
        values = column.values if isinstance(column, Flat) else np.zeros(0)
        if values.shape[1:] != (2,) or values.dtype.kind not in "iu":
            raise DatasetError(
                f"{self._joined} is to be joined by {self._column}, which is not the first and the last number of a run in "
                f"{self._main.tree} of {self._main.path}"
            )
        firsts, lasts = values.astype(np.int64).T
        counts = np.where((firsts < 0) | (lasts < 0), 0, lasts - firsts + 1)
        wrong = (counts < 0) | (firsts < -1) | (lasts < -1) | (counts > self._friend.entries)
        if wrong.any():
            place = int(wrong.argmax())
            raise DatasetError(
                f"{self._column} of entry {start + place} of {self._main.path} is [{firsts[place]}, {lasts[place]}], which "
                "is no run of numbers: the first one is not above the last one, or both are -1"
            )
        return np.arange(counts.sum()) + np.repeat(firsts - offsets_of(counts)[:-1], counts), counts

    def _in_friend(self, numbers: Keys, part: Numbers, start: int, offsets: Numbers | None = None) -> Numbers:
        """The friend's entries of these numbers, each in one of the file's trees."""
        numbers = numbers.astype(np.int64)
        wrong = (numbers < -1) | ((numbers >= 0) & (numbers >= self._sizes[part]))
        if wrong.any():
            place = int(wrong.argmax())
            entry = start + (place if offsets is None else int(np.searchsorted(offsets, place, side="right")) - 1)
            size, tree = int(self._sizes[part[place]]), parts_of(self._main)[int(part[place])][0]
            its = "no such tree in the same folder" if size < 0 else f"{size} entries there"
            raise DatasetError(
                f"{self._column} of entry {entry} of {self._main.path} is {numbers[place]}, in its tree {tree}, and "
                f"{self._joined} has {its}: the two do not belong together"
            )
        return np.where(numbers < 0, -1, numbers + self._begins[part])


class KeyTable:
    """Finds entries by several whole numbers each.

    Args:
        columns: the numbers, of all entries, as int64 or uint64; those that are looked for may be of the other one.

    Example:
        >>> table = KeyTable([np.array([1, 1, 2, 2]), np.array([5, 7, 5, 5])])
        >>> entries, others = table.find([np.array([1, 2, 2]), np.array([7, 7, 5])])
        >>> entries.tolist(), others.tolist()
        ([1, -1, 2], [-1, -1, 3])
    """

    def __init__(self, columns: Sequence[Keys]) -> None:
        keys = np.zeros(len(columns[0]), np.int64)
        self._steps: list[tuple[Keys, Numbers]] = []
        for column in columns:
            values = np.unique(column)
            keys = keys * len(values) + np.searchsorted(values, column)
            known = np.unique(keys)  # few enough to be multiplied again
            keys = np.searchsorted(known, keys)
            self._steps.append((values, known))
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def find(self, columns: Sequence[Keys]) -> tuple[Numbers, Numbers]:
        """The entries that have these numbers, -1 where there is none; and a second one where there are several."""
        missing = np.full(len(columns[0]), -1, np.int64)
        if not len(self._order):
            return missing, missing
        keys, is_there = np.zeros(len(columns[0]), np.int64), np.ones(len(columns[0]), bool)
        for column, (values, known) in zip(columns, self._steps, strict=True):
            column, fits = _of_type(column, values.dtype)
            at, is_value = _place(values, column)
            keys, is_known = _place(known, keys * len(values) + at)
            is_there &= fits & is_value & is_known
        first, last = (np.searchsorted(self._sorted, keys, side=side) for side in ("left", "right"))
        second = np.minimum(first + 1, len(self._order) - 1)
        return (
            np.where(is_there, self._order[first], missing),
            np.where(is_there & (last > first + 1), self._order[second], missing),
        )


_TABLES: WeakKeyDictionary[TreeReader, dict[tuple[str, ...], KeyTable]] = WeakKeyDictionary()
"""Of the friends that are open, by the columns that join them."""


def _place(known: Keys, numbers: Keys) -> tuple[Numbers, NDArray[np.bool_]]:
    """Where numbers are among known ones, and which of them are there."""
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return at, known[at] == numbers


def _of_type(numbers: Keys, dtype: np.dtype[Any]) -> tuple[Keys, NDArray[np.bool_]]:
    """Numbers in a type of as many bytes, and which of them it has: of -1 and 2**64 - 1, the other has only one."""
    same = numbers.astype(dtype)
    return same, (same < 0) == (numbers < 0)


def _whole(column: Column, name: str, reader: TreeReader, joined: str) -> Keys:
    if not isinstance(column, Flat) or column.values.ndim != 1 or column.values.dtype.kind not in "iu":
        raise DatasetError(
            f"{joined} is to be joined by {name}, which is not one whole number an entry in {reader.tree} of {reader.path}"
        )
    return column.values.astype(np.uint64 if column.values.dtype == np.uint64 else np.int64)


def _folder(tree: str) -> str:
    return tree.rpartition("/")[0]


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal()
