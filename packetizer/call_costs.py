"""What a call of an analysis takes, learnt from all calls of a query, and how many entries a call had best have.

A call takes `fixed + each * entries` seconds, more or less: times scatter, first calls are slow, now and then one takes ten
times as long, and some analyses follow no such law. So the law is fitted to all calls that are remembered (the last ones of
every size), by the sum of absolute differences of logarithms: no single call moves it. Of all the laws that the calls do
not rule out, the one with the largest fixed part decides: chunks that are too large cost a moment's deafness, chunks that
are too small cost hours.
"""

from __future__ import annotations

import math
import numbers
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SECONDS = 0.1
"""What the entries of a call should take at least: long enough that what is done between two calls does not count."""
SOON, LATE = 5.0, 30.0
"""Seconds that a call may take so that its fixed part is a tenth of it, or a fifth. It is never more than a half."""
REMEMBERED = 6
"""Calls of each size that are remembered; sizes are told apart by factors of the root of 2."""
TOLD = 3
"""Calls of each size that are told to others: of more, the quartiles."""
MOST_TOLD = 200
APART = 3.0
"""Calls whose sizes differ by less than this factor do not tell the fixed part from the rest."""
SCATTER, BELIEVED = 0.25, 4
"""How much logarithms of times differ before anything is known of it, and how many calls that belief is worth."""
DOUBT = 2.0
"""Laws are believed to be possible when the calls are so many times their scatter farther from them than from the best."""
GROWTH, BOLD = 64, 10.0
"""A call has at most so many times the entries of the largest one so far, and takes, by the law that is worst of all the
possible ones, at most so many seconds, or half of that number of times what the largest one took."""
FIRST_GROWTH, QUICK_GROWTH = 4, 16
"""So many times the entries of a first call has the second one, to tell what a call takes without any; or so many times
when the first one took next to nothing."""
LONG, SMALLER = 3.0, 8
"""Seconds of a first call after which the second one is to be smaller, by this factor: entries may be dear."""
LOOKING, LEAP = tuple(2**power for power in range(4, 16)), 4
"""After so many calls, a size is tried that lies between others that differ by more than this factor."""
FITTED, MOST_UNFITTED = 8, 32
"""The law is fitted anew when there is an eighth more calls than before, or so many more: that takes half a millisecond."""
WORSE, ENOUGH = 0.25, 3
"""A size at which an entry takes longer (by this logarithm) than at a smaller one is not used again, when so many calls of
each show it: caches and memory have their limits."""

LARGEST_CHUNK = 500_000
"""Entries of a call at most."""
UNMEASURED = 100_000
"""Entries of a call at most while nobody knows how much memory they take: coffea's usual number."""

MOST_ENTRIES = 10**18

Call = tuple[int, float]
"""Entries, and seconds."""

_RATIOS: NDArray[np.float64] = np.concatenate([[0.0], 2.0 ** np.arange(0.0, 27.0), [np.inf]])
"""The fixed part of laws, in entries that take as long. With the last one, entries take nothing."""


@dataclass(frozen=True, slots=True)
class Law:
    """What a call takes: `fixed` seconds, and `each` for an entry.

    Example:
        >>> Law(fixed=0.5, each=0.001).seconds(1000)
        1.5
    """

    fixed: float
    each: float

    def seconds(self, entries: float) -> float:
        """Seconds of a call of so many entries."""
        return self.fixed + self.each * entries

    def entries(self, seconds: float) -> float:
        """Entries of a call of so many seconds; infinite where they take nothing."""
        return (seconds - self.fixed) / self.each if self.each > 0.0 else math.inf

    @property
    def good_seconds(self) -> float:
        """What a call should take, for its fixed part not to count.

        Example:
            >>> [Law(fixed, 0.0).good_seconds for fixed in (0.0, 0.06, 0.5, 2.0, 20.0)]
            [0.1, 0.6, 5.0, 10.0, 40.0]
        """
        fixed = self.fixed
        return max(fixed + CHUNK_SECONDS, 2 * fixed, min(10 * fixed, SOON), min(5 * fixed, LATE))

    @property
    def good_entries(self) -> float:
        """Entries of such a call; infinite where they take nothing."""
        return self.entries(self.good_seconds)


class Calls:
    """The calls of a query that are remembered, and what follows from them.

    Args:
        known: calls of an earlier query of the same analysis.
        one_by_one: what is called for every entry by itself, as items are, has no fixed part.

    Example:
        >>> calls = Calls()
        >>> for entries in (100, 400, 6400, 6400):
        ...     calls.add(entries, 0.5 + 1e-4 * entries)
        >>> calls.law.fixed > 0.4, calls.size > 20_000
        (True, True)
    """

    def __init__(self, known: Iterable[Call] = (), one_by_one: bool = False) -> None:
        self.count = 0
        self._one_by_one = one_by_one
        self._sizes: dict[int, deque[Call]] = {}
        self._quartiles: dict[int, list[Call]] = {}
        self._told: Sequence[Call] = ()
        self._fit: tuple[Law, Law, Law] | None = None
        self._least, self._most = 1.0, math.inf
        self._new = 0
        for entries, seconds in known:
            self.add(entries, seconds)

    def add(self, entries: int, seconds: float) -> None:
        """A call of so many entries took `seconds`."""
        if entries > 0:
            size = _size(entries)
            self._sizes.setdefault(size, deque(maxlen=REMEMBERED)).append((entries, max(seconds, 1e-6)))
            self._quartiles.pop(size, None)
            self.count += 1
            self._new += 1

    def hear(self, calls: Sequence[Call]) -> None:
        """Others tell of their calls: all of them, in the place of what they told before."""
        if calls and calls != self._told:
            self._told = calls
            self._new = self.count + 1

    def tell(self) -> list[Call]:
        """What is to be told to others, so that they know as much: of each size a few quartiles.

        It goes with every lease: of sizes that have had no new calls, what was told before is told again.
        """
        told = []
        for size in sorted(self._sizes):
            if size not in self._quartiles:
                self._quartiles[size] = _quartiles(self._sizes[size])
            told += self._quartiles[size]
        return told[:MOST_TOLD]

    @property
    def known(self) -> bool:
        """Whether there was any call."""
        return bool(self._sizes or self._told)

    @property
    def law(self) -> Law | None:
        """What a call takes; None while calls do not differ enough in size to tell."""
        return self._laws[1] if self._laws is not None else None

    @property
    def largest(self) -> int:
        """Entries of the largest call, 0 when there was none."""
        own = max((entries for calls in self._sizes.values() for entries, _ in calls), default=0)
        return max(own, max((entries for entries, _ in self._told), default=0))

    @property
    def wish(self) -> float:
        """Entries that a good call has, whether or not one may be as large yet; infinite when nothing speaks against it."""
        if self._laws is None:
            return float(GROWTH * self.largest)
        return max(self._least, min(self._laws[2].good_entries, self._most))

    @property
    def size(self) -> float:
        """Entries that the next call should have; 0 when nothing is known."""
        if not self.known:
            return 0.0
        laws, largest = self._laws, self.largest
        if laws is None:
            return self._second_size(largest)
        worst, best, _ = laws
        expected = best.seconds(largest)
        safe = best.entries(2 * max(best.good_seconds, expected))
        bold = worst.entries(max(BOLD, BOLD / 2 * expected, 2 * best.good_seconds))
        size = max(1.0, min(self.wish, safe, max(bold, FIRST_GROWTH), GROWTH * largest))
        return self._between(size) if self.count in LOOKING else size

    def _between(self, size: float) -> float:
        """A size between a good one and the next smaller one that was tried, if these are far apart: sizes grow by leaps,
        and what they leap over may be better.
        """
        tried = max((entries for entries, _ in self._all() if entries < size / 2), default=0)
        return math.sqrt(tried * size) if tried and LEAP * tried < size else size

    def _second_size(self, largest: int) -> float:
        """Only one size is known: the next one differs from it by much, to tell what a call takes without entries."""
        times = sorted(seconds for entries, seconds in self._all() if entries * APART > largest)
        seconds = times[(len(times) - 1) // 2]
        if seconds > LONG and largest >= 2 * SMALLER:
            return float(largest // SMALLER)
        return float(largest * (QUICK_GROWTH if seconds < CHUNK_SECONDS else FIRST_GROWTH))

    def _all(self) -> list[Call]:
        return [call for calls in self._sizes.values() for call in calls] + list(self._told)

    @property
    def _laws(self) -> tuple[Law, Law, Law] | None:
        """Of the laws that are possible the one with the smallest fixed part, the best one, and the one with the largest."""
        if self._new and self._new >= min(self.count // FITTED, MOST_UNFITTED):
            calls = self._all()
            sizes = [entries for entries, _ in calls]
            if self._one_by_one:
                self._fit = _laws(calls, _RATIOS[:1]) if calls else None
            else:
                self._fit = _laws(calls, _RATIOS) if sizes and max(sizes) >= APART * min(sizes) else None
            self._least, self._most = _range(calls) if len(sizes) > 1 else (1.0, math.inf)
            self._new = 0
        return self._fit


def bounded(size: float, bounds: tuple[int, int] | None) -> int:
    """The size of a chunk that somebody wishes to be, within what the user wants.

    Example:
        >>> bounded(1e9, None), bounded(0.5, None), bounded(0.5, (100, 1000))
        (500000, 1, 100)
    """
    least, most = bounds or (1, LARGEST_CHUNK)
    return int(max(least, min(size, most)))


def chunk_of(chunk: Any, error: type[Exception]) -> tuple[int, int]:
    """The least and the most entries of a call, as a user has given them.

    Raises `error` where they are neither a number from 1 on, nor two of which the first is not the larger one.

    Example:
        >>> chunk_of(1000, ValueError), chunk_of((100, 5000), ValueError)
        ((1000, 1000), (100, 5000))
    """
    bounds = (chunk, chunk) if not isinstance(chunk, tuple | list) else tuple(chunk)
    whole = len(bounds) == 2 and all(isinstance(it, numbers.Integral) and not isinstance(it, bool) for it in bounds)
    if not whole or not 1 <= bounds[0] <= bounds[1] <= MOST_ENTRIES:
        raise error(
            f"chunk={chunk!r}: it must be the number of entries of a call, from 1 on, or (least, most), as in"
            " chunk=50_000 or chunk=(10_000, 100_000)"
        )
    return int(bounds[0]), int(bounds[1])


def _laws(calls: Sequence[Call], ratios: NDArray[np.float64]) -> tuple[Law, Law, Law]:
    """Fit laws to calls; see `Calls._laws`."""
    entries, seconds = np.asarray(calls, np.float64).T
    shapes = np.log(np.where(np.isinf(ratios)[:, None], 1.0, ratios[:, None] + entries))
    differences = np.log(seconds) - shapes
    middle = (len(calls) - 1) // 2  # of two the faster one: what is slow has many reasons
    levels = np.partition(differences, middle, axis=1)[:, middle]
    losses = np.abs(differences - levels[:, None]).sum(axis=1)
    best = int(np.argmin(losses))
    scatter = (SCATTER * BELIEVED + losses[best]) / (BELIEVED + len(calls))
    possible = np.flatnonzero(losses <= losses[best] + DOUBT * scatter)
    worst, likely, last = (_law(ratios[it], levels[it]) for it in (possible[0], best, possible[-1]))
    return worst, likely, last


def _law(ratio: float, level: float) -> Law:
    each = float(np.exp(level))
    return Law(each, 0.0) if np.isinf(ratio) else Law(float(ratio) * each, each)


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls of one size: entries of the cheapest, the median of the logarithms of seconds an entry, and how many calls."""

    entries: int
    cost: float
    count: int

    @property
    def seconds(self) -> float:
        return self.entries * math.exp(self.cost)


def _range(calls: Sequence[Call]) -> tuple[float, float]:
    """Between which sizes an entry costs least, by what was seen, whatever the law: at a size within them, calls are as
    cheap as at any other, and calls that are smaller or larger are not. The lower end is beyond the largest call when
    these are cheaper than all others.
    """
    sizes: dict[int, list[Call]] = {}
    for entries, seconds in calls:
        sizes.setdefault(_size(entries), []).append((entries, math.log(seconds / entries)))
    found, apart = [], SCATTER * BELIEVED
    for _, some in sorted(sizes.items()):
        some.sort(key=lambda call: call[1])
        median = some[len(some) // 2][1]
        apart += sum(abs(cost - median) for _, cost in some)
        found.append(_Calls(some[0][0], median, len(some)))
    scatter = apart / (BELIEVED + len(calls))

    def is_worse(one: _Calls, other: _Calls) -> bool:
        return one.cost - other.cost > max(WORSE, DOUBT * scatter * math.hypot(one.count**-0.5, other.count**-0.5))

    best = found[0]
    for one in found:
        best = one if one.cost < best.cost else best
    larger = [one for one in found if one.entries > best.entries and one.count >= ENOUGH]
    most = best.entries if any(is_worse(one, best) for one in larger) else math.inf
    smaller = [one for one in found if one.entries < best.entries and is_worse(one, best)]
    if not smaller or best.seconds > SOON:
        return 1.0, float(most)
    good = [one for one in found if one.entries > smaller[-1].entries]
    least = good[0].entries
    return float(2 * least if good[0] is found[-1] and best.seconds <= SOON / 2 else least), float(most)


def _size(entries: int) -> int:
    """The size that so many entries are of."""
    return round(2 * math.log2(entries))


def _quartiles(calls: Iterable[Call]) -> list[Call]:
    """Three calls that stand for all."""
    some = sorted(calls, key=lambda call: call[1] / call[0])
    return some if len(some) <= TOLD else [some[len(some) * quarter // 4] for quarter in (1, 2, 3)]
