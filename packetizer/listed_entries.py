"""Which entries of a file are used, when not all are: an entry list, or what a run/lumi mask has left.

The listed entries are numbered from 0 in ascending order; these numbers are the file's *positions*. The ledger, packets
and leases count positions, so that a list of one entry in a thousand is shared out as evenly as a whole file. Only who
reads needs the entries themselves, as *runs*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Entries = NDArray[np.int64]

MOST_RUNS = 1_000_000
"""Runs of one file: they travel in one message."""


class EntryList:
    """Entry numbers as sorted runs `[start, stop)` that neither overlap nor touch.

    Args:
        runs: the runs, one after the other: `[3, 5, 9, 10]` lists the entries 3, 4 and 9.

    Raises:
        ValueError: the runs are not in ascending order, or one of them is empty.

    Example:
        >>> entry_list = EntryList([3, 5, 9, 10, 20, 30])
        >>> len(entry_list), entry_list.entry(2), entry_list.position(9)
        (13, 9, 2)
        >>> entry_list.runs(1, 5)
        [4, 5, 9, 10, 20, 22]
    """

    __slots__ = ("_before", "_starts", "_stops")

    def __init__(self, runs: Sequence[int] | Entries) -> None:
        bounds = np.asarray(runs, dtype=np.int64)
        starts, stops = bounds[::2], bounds[1::2]
        if len(starts) != len(stops) or (len(starts) and starts[0] < 0):
            raise ValueError("runs are pairs of entry numbers from 0 on")
        if (starts >= stops).any() or (stops[:-1] > starts[1:]).any():
            raise ValueError("runs of entries are ascending, disjoint, and not empty")
        apart = stops[:-1] < starts[1:]
        self._starts: Entries = starts[np.append(True, apart)[: len(starts)]]
        self._stops: Entries = stops[np.append(apart, True)[: len(stops)]]
        self._before: Entries = np.zeros(len(self._starts) + 1, dtype=np.int64)
        """Of each run, how many entries are listed before it; at last, how many in all."""
        np.cumsum(self._stops - self._starts, out=self._before[1:])

    @classmethod
    def from_entries(cls, entries: ArrayLike) -> EntryList:
        """The entry list of entry numbers in any order. Raises `ValueError` if one is negative, or there twice.

        Example:
            >>> EntryList.from_entries([9, 4, 3]).runs()
            [3, 5, 9, 10]
        """
        numbers = np.asarray(entries, dtype=np.int64)
        steps = np.diff(numbers)
        if (steps <= 0).any():
            numbers = np.sort(numbers)
            steps = np.diff(numbers)
            if (steps == 0).any():
                raise ValueError(f"entry {numbers[steps.argmin()]} is there twice")
        if len(numbers) and numbers[0] < 0:
            raise ValueError(f"entry {numbers[0]} is negative")
        return cls._of_ends(numbers, np.append(True, steps > 1), np.append(steps > 1, True))

    @classmethod
    def _of_ends(cls, numbers: Entries, is_first: NDArray[np.bool_], is_last: NDArray[np.bool_]) -> EntryList:
        runs = np.empty(2 * int(is_first[: len(numbers)].sum()), dtype=np.int64)
        runs[::2] = numbers[is_first[: len(numbers)]]
        runs[1::2] = numbers[is_last[: len(numbers)]] + 1
        return cls(runs)

    def __len__(self) -> int:
        """How many entries are listed."""
        return int(self._before[-1])

    @property
    def parts(self) -> int:
        """How many runs there are."""
        return len(self._starts)

    @property
    def end(self) -> int:
        """The entry after the last one listed; 0 when there is none."""
        return int(self._stops[-1]) if len(self._stops) else 0

    def runs(self, start: int = 0, stop: int | None = None) -> list[int]:
        """The runs that the positions `[start, stop)` stand for, one after the other as in `EntryList(runs)`.

        Raises:
            IndexError: there are no such positions.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{len(self)} entries are listed, not [{start}, {stop})")
        if start == stop:
            return []
        first, last = self._run(start), self._run(stop - 1)
        runs = np.empty(2 * (last + 1 - first), dtype=np.int64)
        runs[::2] = self._starts[first : last + 1]
        runs[1::2] = self._stops[first : last + 1]
        runs[0] += start - self._before[first]
        runs[-1] -= self._before[last + 1] - stop
        bounds: list[int] = runs.tolist()
        return bounds

    def entry(self, position: int) -> int:
        """The entry at a position. Raises `IndexError` when there is none."""
        if not 0 <= position < len(self):
            raise IndexError(f"{len(self)} entries are listed: there is no position {position}")
        run = self._run(position)
        return int(self._starts[run] + position - self._before[run])

    def position(self, entry: int) -> int:
        """How many of the listed entries come before this one, which need not be listed itself."""
        return int(self.positions(entry))

    def positions(self, entries: ArrayLike) -> Any:
        """As `position`, of many entries at once."""
        numbers = np.asarray(entries, dtype=np.int64)
        if not len(self._starts):
            return np.zeros_like(numbers)
        run = np.maximum(self._starts.searchsorted(numbers, "right") - 1, 0)
        inside = np.clip(numbers, self._starts[run], self._stops[run]) - self._starts[run]
        return self._before[run] + inside

    def entries(self, start: int = 0, stop: int | None = None) -> Entries:
        """The entries at the positions `[start, stop)`. Raises `IndexError` as `runs` does."""
        bounds = np.array(self.runs(start, stop), dtype=np.int64)
        starts, lengths = bounds[::2], bounds[1::2] - bounds[::2]
        before = np.cumsum(lengths) - lengths
        numbers: Entries = np.arange(lengths.sum(), dtype=np.int64) + np.repeat(starts - before, lengths)
        return numbers

    def __and__(self, other: EntryList) -> EntryList:
        """What both list."""
        first = other._stops.searchsorted(self._starts, "right")
        shared = np.maximum(other._starts.searchsorted(self._stops, "left") - first, 0)
        mine = np.repeat(np.arange(len(shared)), shared)
        before = np.cumsum(shared) - shared
        theirs = np.arange(len(mine)) - np.repeat(before, shared) + np.repeat(first, shared)
        runs = np.empty(2 * len(mine), dtype=np.int64)
        runs[::2] = np.maximum(self._starts[mine], other._starts[theirs])
        runs[1::2] = np.minimum(self._stops[mine], other._stops[theirs])
        return EntryList(runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EntryList) and self.runs() == other.runs()

    __hash__ = None  # type: ignore[assignment]  # nobody keeps listings in sets

    def __repr__(self) -> str:
        return f"<EntryList of {len(self)} entries in {self.parts} runs>"

    def _run(self, position: int) -> int:
        """The run that holds a position."""
        return int(self._before.searchsorted(position, "right")) - 1
