"""When credentials are renewed. Pure: times are seconds of one clock that goes on evenly, and luck is an argument."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between a first attempt that fails and the next one, and between later ones at most."""
LEAST_PAUSE = 0.5
PART = 1 / 3
"""What lasts less than three times `before` is renewed when this part of its time is left."""
SPREAD = 0.1
"""Sessions that began together do not ask together: each asks earlier by up to this part of `before`."""
TRIES = 4
"""In the time until the end, or since it, so many attempts fit, if that takes no more than one every `LEAST_PAUSE`."""


class RenewalPlan:
    """When to try next, of one set of credentials.

    Args:
        before: seconds before their end at which they are to be renewed.

    Attributes:
        due: when to try next; None before there are any.
        failures: attempts that failed, since one did not.

    Example:
        >>> plan = RenewalPlan(before=600.0)
        >>> plan.obtained(left=3600.0, now=0.0, luck=0.0)
        >>> plan.due
        3000.0
        >>> plan.failed(now=3000.0, luck=0.0)
        >>> plan.due
        3002.0
    """

    def __init__(self, before: float) -> None:
        self._before = before
        self._ends: float | None = None
        self.due: float | None = None
        self.failures = 0

    def obtained(self, left: float | None, now: float, luck: float) -> None:
        """There are some, good for so many seconds; `luck` is between 0 and 1. Of what does not say its end (None) there are
        others after each `before`."""
        self.failures = 0
        if left is None:
            self._ends, self.due = None, now + self._before * (1 - SPREAD * luck)
            return
        self._ends = now + left
        margin = min(self._before, max(0.0, left) * PART)
        self.due = max(now, self._ends - margin * (1 + SPREAD * luck))

    def failed(self, now: float, luck: float) -> None:
        """An attempt has failed: the next one comes after a pause, longer each time, and before the end if that is ahead.

        Around the end pauses are short: that is when a query waits.
        """
        self.failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures - 1, 10))
        if self._ends is not None:
            pause = min(pause, max(LEAST_PAUSE, abs(self._ends - now) / TRIES))
        self.due = now + pause * (1 - luck / 4)

    def left(self, now: float) -> float | None:
        """Seconds until they end; below 0: they have."""
        return None if self._ends is None else self._ends - now
