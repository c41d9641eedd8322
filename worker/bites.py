"""How much of a packet a slot takes at a time."""

from __future__ import annotations

BITE_SECONDS = 0.1
"""What a bite should take: short enough to answer messages soon, long enough that its overhead does not count."""
FIRST_BITE = 100
"""Small, since an event may take 50 ms: until a bite is over, nothing stops the slot but its end."""
LARGEST_BITE = 500_000
LARGEST_SIZE = 64 << 20
"""Bytes of the columns of one bite: three of them may be in memory, one at work, one read ahead, one on its way."""
WORTH, LONG = 4.0, 0.3
"""What every bite costs, whatever its size, should be outweighed so many times by what its entries take: by so many seconds
at most.
"""
GROWTH = 8.0
CAUTIOUS_GROWTH = 4.0
"""Of bites that take their time already."""
APART = 3.0
"""Bites whose sizes differ by less than this factor say nothing about what every bite costs: times scatter."""


class Bites:
    """Sizes of bites, from how long the last two took; `first` is that of the first one.

    An analysis may take its time whatever the size of a bite, as a processor with many histograms does. Smaller bites
    would not be shorter then, only more: what their entries take should be more than what each of them costs anyway. To
    know that, the second bite differs in size from the first one by much, whatever the first one took.

    Attributes:
        fixed: seconds that a bite takes without any entries; None while it is not known.

    Example:
        >>> bites = Bites()
        >>> bites.next(left=10**6)
        100
        >>> bites.learn(100, seconds=0.01)
        >>> bites.next(left=10**6)
        800
    """

    def __init__(self, first: int = FIRST_BITE) -> None:
        self._first = first
        self._size = float(first)
        self.fixed: float | None = None
        self._other: tuple[int, float] | None = None

    def next(self, left: int) -> int:
        """Entries of the next bite when `left` are left of the packet; no crumbs are left over."""
        size = max(1, int(self._size))
        return left if left < 1.5 * size else size

    def learn(self, entries: int, seconds: float, size: int = 0, most: int | None = None) -> None:
        """The last bite of `entries` took `seconds`, and its columns `size` bytes of memory.

        One that was smaller than it would have been, because it was to have `most` entries, is not what bites are like.
        """
        if not entries or (most is not None and most < self._size):
            return
        self._estimate_fixed(entries, seconds)
        fixed = min(self.fixed or 0.0, seconds)
        worth = max(BITE_SECONDS, fixed, min(WORTH * fixed, LONG))
        if entries * APART < self._size and seconds <= fixed + worth:
            return  # the end of a packet, which says nothing of whole bites
        factor = worth / max(seconds - fixed, 1e-6)
        if self.fixed is None:
            shrinks = factor < 1.0 and not self._smallest
            factor = min(factor, 1 / CAUTIOUS_GROWTH) if shrinks else max(factor, CAUTIOUS_GROWTH)
        growth = GROWTH if seconds < BITE_SECONDS else CAUTIOUS_GROWTH
        largest = min(LARGEST_BITE, entries * LARGEST_SIZE / max(size, 1))
        self._size = max(1.0, min(largest, entries * min(growth, max(1 / GROWTH, factor))))

    @property
    def _smallest(self) -> bool:
        """Whether only a larger bite can still tell what every bite costs: the rest of a packet may have one entry, and
        smaller than that there is none. Of items the first bite is one, and two may take twice a minute.
        """
        return self._first > 1 and self._other is not None and self._other[0] < APART

    def _estimate_fixed(self, entries: int, seconds: float) -> None:
        """What a bite takes without any entries, by this one and the last one of another size."""
        if self._other is not None:
            others, theirs = self._other
            if max(entries, others) < APART * min(entries, others):
                return
            slope = max(0.0, (seconds - theirs) / (entries - others))
            self.fixed = max(0.0, seconds - slope * entries)
        self._other = entries, seconds
