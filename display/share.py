"""How often something may be done that is to take no more than a share of the time."""

from __future__ import annotations


class Share:
    """Keeps what is done again and again to a share of the time, however long it takes.

    It is pure: the caller has the clock.

    Args:
        most: of the time, such as 0.02.

    Example:
        >>> share = Share(0.1)
        >>> share.allows(5.0)
        True
        >>> share.took(5.0, 0.3)
        >>> share.allows(7.9), share.allows(8.0)
        (False, True)
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._next = float("-inf")

    def allows(self, now: float) -> bool:
        """Whether it may be done now, in seconds of some clock."""
        return now >= self._next

    def took(self, now: float, seconds: float) -> None:
        """It was done, and took so many seconds up to now."""
        self._next = now + seconds / self._most

    def forget(self) -> None:
        """Allow it at once: somebody waits for it."""
        self._next = float("-inf")
