"""Sorted, disjoint, half-open entry ranges: the arithmetic under the ledger."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of entry numbers, kept as sorted ranges `[start, stop)` that neither overlap nor touch.

    Adding what is there already, or removing what is not, is a bug of the caller and raises `ValueError`: the ledger
    counts every entry once because no operation here can lose or repeat one silently.

    Example:
        >>> todo = Ranges([(0, 10)])
        >>> todo.remove(3, 5)
        >>> todo.add(3, 4)
        >>> list(todo), todo.entries
        ([(0, 4), (5, 10)], 9)
    """

    __slots__ = ("_starts", "_stops", "entries")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.entries = 0
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def first(self) -> tuple[int, int]:
        """The range with the lowest start. Raises `IndexError` when there is none."""
        return self._starts[0], self._stops[0]

    def add(self, start: int, stop: int) -> None:
        """Add `[start, stop)`, of which nothing may be there; an empty range adds nothing."""
        if stop <= start:
            if stop < start:
                raise ValueError(f"range [{start}, {stop}) runs backwards")
            return
        index = bisect_left(self._starts, start)
        if (index > 0 and self._stops[index - 1] > start) or (index < len(self._starts) and self._starts[index] < stop):
            raise ValueError(f"[{start}, {stop}) overlaps what is there already")
        joins_left = index > 0 and self._stops[index - 1] == start
        joins_right = index < len(self._starts) and self._starts[index] == stop
        if joins_left and joins_right:
            self._stops[index - 1] = self._stops.pop(index)
            del self._starts[index]
        elif joins_left:
            self._stops[index - 1] = stop
        elif joins_right:
            self._starts[index] = start
        else:
            self._starts.insert(index, start)
            self._stops.insert(index, stop)
        self.entries += stop - start

    def remove(self, start: int, stop: int) -> None:
        """Remove `[start, stop)`, all of which must be there."""
        if stop <= start:
            if stop < start:
                raise ValueError(f"range [{start}, {stop}) runs backwards")
            return
        index = bisect_right(self._starts, start) - 1
        if index < 0 or self._stops[index] < stop:
            raise ValueError(f"[{start}, {stop}) is not all there")
        old_start, old_stop = self._starts[index], self._stops[index]
        if old_start == start and old_stop == stop:
            del self._starts[index], self._stops[index]
        elif old_start == start:
            self._starts[index] = stop
        elif old_stop == stop:
            self._stops[index] = start
        else:
            self._stops[index] = start
            self._starts.insert(index + 1, stop)
            self._stops.insert(index + 1, old_stop)
        self.entries -= stop - start
