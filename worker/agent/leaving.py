"""A worker whose end is known: when it takes nothing more, and when it goes.

working --`grace` before its end--> draining --all committed, and that answered--> gone
"""

from __future__ import annotations

GRACE = 10.0
"""Seconds that a worker takes at most to leave in good order."""


class Leaving:
    """The end of a worker.

    Args:
        grace: seconds to leave in, when it has to; 0: leave at once, with nothing handed on.

    Attributes:
        draining: it is on its way out.
        why: it has to leave, in words.

    Example:
        >>> leaving = Leaving(grace=10.0)
        >>> leaving.end_in(3600.0, now=0.0), leaving.due, leaving.left(now=600.0)
        (True, 3590.0, 2990.0)
        >>> leaving.end_in(7200.0, now=0.0)
        False
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.draining = False
        self.why = ""
        self._drains = self._end = float("inf")

    def end_in(self, seconds: float, now: float, why: str = "") -> bool:
        """The worker has to be gone in `seconds`: whether that changes anything; of several ends the earliest counts."""
        if now + seconds >= self._end:
            return False
        self._end, self.why = now + seconds, why
        if not self.draining:
            self._drains = now + max(0.0, seconds - self.grace)
        return not self.draining

    def begin(self) -> None:
        """From now on it drains."""
        self.draining, self._drains = True, float("inf")

    def begins(self, now: float) -> bool:
        """Whether it is to begin to drain."""
        return now >= self._drains

    def is_over(self, now: float) -> bool:
        """Whether its time is over."""
        return now >= self._end

    @property
    def is_known(self) -> bool:
        """Whether it will begin to drain."""
        return self._drains < float("inf")

    def left(self, now: float) -> float:
        """Seconds until it begins to drain."""
        return max(0.0, self._drains - now)

    @property
    def due(self) -> float:
        """When something is to be done about it; infinity while no end is known."""
        return self._end if self.draining else self._drains
