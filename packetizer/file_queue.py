"""Files in the order in which they had best be opened, of which there may be millions."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence


class FileQueue:
    """An ordered set of files, at a byte each: those that were there first in ascending order, then those that came.

    The first ones are found at once, however many were before them.

    Args:
        files: those that are in it, in ascending order.

    Example:
        >>> queue = FileQueue(range(4))
        >>> queue.discard(0), queue.discard(2), queue.put_first(2), queue.add(0)
        (None, None, None, None)
        >>> list(queue), 2 in queue, len(queue)
        ([2, 1, 3, 0], True, 4)
    """

    __slots__ = ("_begin", "_count", "_files", "_first", "_last", "_there")

    def __init__(self, files: Sequence[int] = ()) -> None:
        self._files = files
        self._there = bytearray(b"\1") * len(files)
        self._count = len(files)
        self._begin = 0
        self._first: OrderedDict[int, None] = OrderedDict()  # the last one put there comes first
        self._last: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return self._count + len(self._first) + len(self._last)

    def __bool__(self) -> bool:
        return bool(self._count or self._first or self._last)

    def __contains__(self, file: object) -> bool:
        return file in self._first or file in self._last or (isinstance(file, int) and self._at(file) is not None)

    def __iter__(self) -> Iterator[int]:
        yield from reversed(self._first)
        at = self._begin = self._next(self._begin)
        while at < len(self._there):
            yield self._files[at]
            at = self._next(at + 1)
        yield from self._last

    def add(self, file: int) -> None:
        """Put a file behind all others, if it is not there."""
        if file not in self:
            self._last[file] = None

    def put_first(self, file: int) -> None:
        """Put a file before all others."""
        self.discard(file)
        self._first[file] = None

    def discard(self, file: int) -> None:
        """Take a file out, if it is there."""
        at = self._at(file)
        if at is not None:
            self._there[at] = 0
            self._count -= 1
        self._first.pop(file, None)
        self._last.pop(file, None)

    def discard_all(self, files: Sequence[int]) -> None:
        """Take out files that are there, all of them at once where there are no others."""
        if len(files) == len(self):
            self.clear()
        else:
            for file in files:
                self.discard(file)

    def remove(self, file: int) -> None:
        """Take a file out. Raises `KeyError` if it is not there."""
        if file not in self:
            raise KeyError(file)
        self.discard(file)

    def clear(self) -> None:
        """Take all out."""
        self.__init__()  # type: ignore[misc]

    def _next(self, at: int) -> int:
        """Where the next one is that is there, from a place on."""
        found = self._there.find(1, at)
        return len(self._there) if found < 0 else found

    def _at(self, file: int) -> int | None:
        """Where a file is of those that were there first; None if it is there no more."""
        at = file if isinstance(self._files, range) else bisect_left(self._files, file)
        known = 0 <= at < len(self._files) and self._files[at] == file
        return at if known and self._there[at] else None
