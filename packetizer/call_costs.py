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
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_SECONDS = 0.1
"""What the entries of a call should take at least: long enough that what is done between two calls does not count."""
SOON, LATE = 5.0, 30.0
"""Seconds that a call may take so that its fixed part is a tenth of it, or a fifth. It is never more than a half."""
REMEMBERED, FITTED_TO = 24, 6
"""Calls of each size that are remembered, and of these the last ones, which the law is fitted to; sizes are told apart by
factors of the root of 2."""
TOLD = 3
"""Calls of each size that are told to others: more are put together, the cheapest, the middle and the dearest third."""
MOST_TOGETHER = 16
"""So many calls are told as one at most: what was long ago gives way to what is seen now."""
UNTOLD = 8
"""Of a size, an eighth of its calls may be newer than what is told: putting them together takes a master 50 µs."""
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
"""So many times the entries of a first call has the second one at least, to tell what a call takes without any, and at
most."""
LONG, SMALLER = 3.0, 8
"""Seconds of a first call after which the second one is to be smaller, by this factor: entries may be dear."""
LOOKING, LEAP = tuple(2**power for power in range(4, 16)), 4
"""After so many calls, a size is tried that lies between others that differ by more than this factor."""
FITTED, MOST_UNFITTED = 8, 32
"""The law is fitted anew when there is an eighth more calls than before, or so many more: that takes half a millisecond."""
WORSE, MUCH_WORSE, ENOUGH = 0.1, 0.25, 3
"""A size at which an entry takes longer, by the first logarithm, than at a smaller one is not used again, when so many
calls show it and the smaller ones have had as many entries as one of them: caches and memory have their limits. (Of few
entries none may have been among those that are dear.) Nor is one at which it takes longer, by the second, than at a larger
one."""
BEYOND = 8
"""So many times as large as the largest ones seen, calls are imagined before sizes are given up that are worse by now."""
BETWEEN = 0.001
"""Seconds that a call takes beside what is seen of it: messages, and what is put back between calls."""

LARGEST_CHUNK = 500_000
"""Entries of a call at most."""
UNMEASURED = 100_000
"""Entries of a call at most while nobody knows how much memory they take: coffea's usual number."""

MOST_ENTRIES = 10**18

Call = tuple[int, float]
"""Entries, and seconds."""
Tried = tuple[int, float, int]
"""Entries and seconds of a call, on the average of so many calls."""

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

    def __init__(self, known: Iterable[Tried] = (), one_by_one: bool = False) -> None:
        self.count = 0
        self._one_by_one = one_by_one
        self._sizes: dict[int, deque[Tried]] = {}
        self._thirds: dict[int, list[Tried]] = {}
        self._untold: dict[int, int] = {}
        self._telling: list[Tried] = []
        self._is_told = True
        self._told: Sequence[Tried] = ()
        self._largest, self._largest_told = 0, 0
        self._fit: tuple[Law, Law, Law] | None = None
        self._wish, self._most = 1.0, math.inf
        self._new, self._due = 0, 1
        for entries, seconds, number in known:
            self.add(entries, seconds, number)

    def add(self, entries: int, seconds: float, number: int = 1) -> None:
        """A call of so many entries took `seconds`, or this `number` of calls did on the average."""
        if entries > 0:
            size = _size(entries)
            self._sizes.setdefault(size, deque(maxlen=REMEMBERED)).append((entries, max(seconds, 1e-6), number))
            self._untold[size] = untold = self._untold.get(size, 0) + 1
            self._is_told = self._is_told and untold <= len(self._sizes[size]) // UNTOLD
            self._largest = max(self._largest, entries)
            self.count += 1
            self._new += 1

    def hear(self, calls: Sequence[Tried]) -> None:
        """Others tell of their calls: all of them, in the place of what they told before."""
        if calls and calls != self._told:
            self._told = calls
            self._largest_told = max(entries for entries, *_ in calls)
            self._new = self._due

    def tell(self) -> list[Tried]:
        """What is to be told to others, so that they know as much: of each size the thirds.

        It goes with every lease: of sizes that have had few new calls, what was told before is told again.
        """
        if not self._is_told:
            told = []
            for size in sorted(self._sizes):
                calls = self._sizes[size]
                if self._untold[size] > len(calls) // UNTOLD:
                    self._thirds[size] = _thirds(calls)
                    self._untold[size] = 0
                told += self._thirds[size]
            self._telling, self._is_told = told[:MOST_TOLD], True
        return self._telling

    @property
    def known(self) -> bool:
        """Whether there was any call."""
        return bool(self._sizes or self._told)

    @property
    def law(self) -> Law | None:
        """What a call takes; None while calls do not differ enough in size to tell."""
        laws = self._laws
        return None if laws is None else laws[1]

    @property
    def largest(self) -> int:
        """Entries of the largest call, 0 when there was none."""
        return max(self._largest, self._largest_told)

    @property
    def wish(self) -> float:
        """Entries that a good call has, whether or not one may be as large yet; infinite when nothing speaks against it."""
        return float(GROWTH * self.largest) if self._laws is None else self._wish

    @property
    def most(self) -> float:
        """Entries from which on one was seen to cost more; infinite where none was."""
        return self._most if self._laws is not None else math.inf

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
        if size >= self._most and any(0 <= self.count - looking < ENOUGH for looking in LOOKING):
            return max(1.0, size / 2)  # where a size is too large, a smaller one may be better still
        return self._between(size) if self.count in LOOKING else size

    def _between(self, size: float) -> float:
        """A size between a good one and the next smaller one that was tried, if these are far apart: sizes grow by leaps,
        and what they leap over may be better.
        """
        tried = max((entries for entries, _ in self._all() if entries < size / 2), default=0)
        return math.sqrt(tried * size) if tried and LEAP * tried < size else size

    def _second_size(self, largest: int) -> float:
        """Only one size is known: the next one differs from it by much, to tell what a call takes without entries, and takes
        `BOLD` seconds if all that the first one took is due to its entries.
        """
        times = sorted(seconds for entries, seconds in self._all() if entries * APART > largest)
        seconds = times[(len(times) - 1) // 2]
        if seconds > LONG and largest >= 2 * SMALLER:
            return float(largest // SMALLER)
        return float(largest * min(QUICK_GROWTH, max(FIRST_GROWTH, BOLD / seconds)))

    def _all(self) -> list[Call]:
        """The calls that the law is fitted to."""
        own = [call[:2] for calls in self._sizes.values() for call in islice(reversed(calls), FITTED_TO)]
        return own + [call[:2] for call in self._told]

    def _tried(self) -> list[Iterable[Tried]]:
        """The calls of each size, own or others', of which there are more."""
        found: dict[int, Iterable[Tried]] = dict(self._sizes)
        told: dict[int, list[Tried]] = {}
        for call in self._told:
            told.setdefault(_size(call[0]), []).append(call)
        for size, calls in told.items():
            if _number(calls) >= _number(found.get(size, ())):
                found[size] = calls
        return [found[size] for size in sorted(found)]

    @property
    def _laws(self) -> tuple[Law, Law, Law] | None:
        """Of the laws that are possible the one with the smallest fixed part, the best one, and the one with the largest."""
        if self._new >= self._due:
            calls = self._all()
            sizes = [entries for entries, _ in calls]
            if self._one_by_one:
                self._fit = _laws(calls, _RATIOS[:1]) if calls else None
            else:
                self._fit = _laws(calls, _RATIOS) if sizes and max(sizes) >= APART * min(sizes) else None
            found = [_Size.of(calls) for calls in self._tried()]
            least, self._most = _range(found) if len(sizes) > 1 else (1.0, math.inf)
            if self._fit is not None:
                wish = _as_seen(max(least, min(self._fit[2].good_entries, self._most)), found)
                self._wish = _farther(wish, found, self._fit[1]) if self._most == math.inf else wish
            self._new, self._due = 0, min(1 + self.count // FITTED, MOST_UNFITTED)
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
class _Size:
    """Calls of one size, and what an entry costs in them.

    Attributes:
        entries: of the cheapest call.
        all_entries, count: of all calls, and how many these are.
        seconds: what a call takes.
        cost, mean: median of the logarithms of seconds an entry, and the logarithm of the mean. Where few entries are dear,
            few small calls are: their median knows nothing of it, the mean does.
        scatter: how far the logarithms are from the median.
    """

    entries: int
    all_entries: int
    count: int
    seconds: float
    cost: float
    mean: float
    scatter: float

    @classmethod
    def of(cls, calls: Iterable[Tried]) -> _Size:
        some = sorted(
            [(math.log((seconds + BETWEEN) / entries), entries, number) for entries, seconds, number in calls]
        )
        count, before, middle = sum([number for *_, number in some]), 0, some[0]
        for middle in some:
            before += middle[2]
            if 2 * before > count:
                break
        cost = middle[0]
        all_entries, all_seconds, apart = 0, 0.0, 0.0
        for it, entries, number in some:
            all_entries += entries * number
            all_seconds += math.exp(it) * entries * number
            apart += abs(it - cost) * number
        mean, scatter = math.log(all_seconds / all_entries), SCATTER * BELIEVED + apart
        entries = some[0][1]
        return cls(entries, all_entries, count, entries * math.exp(cost), cost, mean, scatter / (BELIEVED + count))

    def is_worse(self, other: _Size, cost: float, worse: float = WORSE) -> bool:
        """Whether an entry costs more, by this logarithm, than in calls of another size, where it costs so much."""
        apart = math.hypot(self.scatter * self.count**-0.5, other.scatter * other.count**-0.5)
        return self.cost - cost > max(worse, DOUBT * apart)


def _range(found: Sequence[_Size]) -> tuple[float, float]:
    """Between which sizes an entry costs least, by what was seen, whatever the law: at a size within them, calls are as
    cheap as at any other, and calls that are smaller or larger are not. The lower end is beyond the largest call when
    these are cheaper than all others.
    """
    beyond, most = _beyond(found)
    if beyond:
        return beyond, most
    best = min((size for size in found if size.entries <= most), key=lambda size: size.cost)
    smaller = [size for size in found if size.entries < best.entries and size.is_worse(best, best.cost, MUCH_WORSE)]
    if not smaller or best.seconds > SOON:
        return 1.0, most
    good = [size for size in found if size.entries > smaller[-1].entries]
    least = good[0].entries
    if best is found[-1]:  # larger ones may be better still
        least = max(least, min(2 * least, int(best.entries * SOON / best.seconds)))
    return float(least), most


def _as_seen(size: float, found: Sequence[_Size]) -> float:
    """A size, or one that has been seen to be better than the next smaller and the next larger one that were tried: calls
    need not follow any law.
    """
    below = [it for it in found if it.entries <= size]
    above = [it for it in found if it.entries >= size]
    seen = [it for it in found if it.count >= ENOUGH and it.seconds < SOON]
    if not (below and above and seen):
        return size
    best = min(seen, key=lambda it: it.mean)
    worse = all(it.is_worse(best, best.cost, MUCH_WORSE) for it in (below[-1], above[0]))
    return float(best.entries) if worse else size


def _farther(size: float, found: Sequence[_Size], law: Law) -> float:
    """A size, or a larger one that nothing speaks against: when it has been used for long, and nobody knows better."""
    used = sum(it.count for it in found if size < 2 * it.entries < 4 * size)
    if used < REMEMBERED or found[-1].entries >= LEAP * size:
        return size
    return max(size, min(2.0 * found[-1].entries, law.entries(SOON)))


def _beyond(found: Sequence[_Size]) -> tuple[float, float]:
    """A size beyond those at which an entry costs more than in smaller ones, where it may be expected to cost less than in
    any, or 0; and the size from which on it costs more, infinite where nothing shows it.

    The latter is the cheapest one of those of which enough was seen to be compared with a larger one, that is worse.
    """
    for size in sorted(found, key=lambda size: size.mean):
        larger = [it for it in found if it.entries > size.entries]
        worse = [it for it in larger if it.is_worse(size, size.mean)]
        if all(size.mean <= it.mean for it in larger) and any(
            it.count >= ENOUGH and size.all_entries >= it.entries for it in worse
        ):
            last = worse[-1]
            if last.seconds < SOON and _is_cheaper_beyond(size, worse):
                return min(2.0, SOON / last.seconds) * last.entries, math.inf
            return 0.0, float(size.entries)
    return 0.0, math.inf


def _is_cheaper_beyond(size: _Size, worse: Sequence[_Size]) -> bool:
    """Whether an entry would cost less than in calls of this size if calls went on to grow as the larger, worse ones do:
    where those that do more than others take longer by a constant, the largest are the best.
    """
    first, last = worse[0], worse[-1]
    if first is last:
        return False
    each = max(0.0, (last.seconds - first.seconds) / (last.entries - first.entries))
    entries = BEYOND * last.entries
    return math.log((last.seconds + each * (entries - last.entries)) / entries) < size.mean - WORSE


def _size(entries: int) -> int:
    """The size that so many entries are of."""
    return round(2 * math.log2(entries))


def _number(calls: Iterable[Tried]) -> int:
    return sum([call[2] for call in calls])


def _thirds(calls: Iterable[Tried]) -> list[Tried]:
    """Three calls that stand for all: they are as many, and take as long on the whole."""
    some = sorted(calls, key=lambda call: call[1] / call[0])
    if len(some) <= TOLD:
        return some
    edges = [len(some) * third // TOLD for third in range(TOLD + 1)]
    return [_together(some[low:high]) for low, high in pairwise(edges)]


def _together(calls: Sequence[Tried]) -> Tried:
    """One call that stands for some of a size."""
    number, entries, seconds = 0, 0, 0.0
    for each, took, some in calls:
        number += some
        entries += each * some
        seconds += took * some
    return round(entries / number), seconds / number, min(number, MOST_TOGETHER)
