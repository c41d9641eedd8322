"""How much of a packet a slot takes at a time."""

from __future__ import annotations

BITE_SECONDS = 0.1
"""What a bite should take: short enough to answer messages soon, long enough that its overhead does not count."""
FIRST_BITE = 1_000
LARGEST_BITE = 500_000
GROWTH = 8.0


class Bites:
    """Sizes of bites, from how long the last one took.

    Example:
        >>> bites = Bites()
        >>> bites.next(left=10**6)
        1000
        >>> bites.learn(1000, seconds=0.01)
        >>> bites.next(left=10**6)
        8000
    """

    def __init__(self) -> None:
        self._size = float(FIRST_BITE)

    def next(self, left: int) -> int:
        """Entries of the next bite when `left` are left of the packet; no crumbs are left over."""
        size = max(1, int(self._size))
        return left if left < 1.5 * size else size

    def learn(self, entries: int, seconds: float) -> None:
        """The last bite of `entries` took `seconds`."""
        if entries:
            factor = min(GROWTH, max(1 / GROWTH, BITE_SECONDS / max(seconds, 1e-6)))
            self._size = min(LARGEST_BITE, max(1.0, entries * factor))
