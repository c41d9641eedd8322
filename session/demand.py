"""When the master is to send the next snapshot of a query: large ones for who looks at them, and else seldom."""

from __future__ import annotations

LARGE = 2**20
"""Bytes of a result from which on it is dear to send, and displays ask for miniatures."""
UNSEEN_SECONDS = 10.0
"""After so long the next large one is sent for though nobody has looked at this one: who does is to see no very old one."""


class Demand:
    """What becomes of the snapshots that come. It is pure: the caller has the clock, and sends `Seen` where it says so.

    Example:
        >>> demand = Demand()
        >>> demand.came(100, now=0.0), demand.came(2 * LARGE, now=1.0)
        (True, False)
        >>> demand.passed(now=2.0), demand.looked(), demand.looked()
        (False, True, False)
    """

    def __init__(self) -> None:
        self._unseen_since: float | None = None

    def came(self, size: int, now: float) -> bool:
        """A snapshot of so many bytes came; whether it is seen at once."""
        if size > LARGE:
            self._unseen_since = now
        return size <= LARGE

    def looked(self) -> bool:
        """Somebody looks at it; whether it is seen by that."""
        unseen, self._unseen_since = self._unseen_since, None
        return unseen is not None

    def passed(self, now: float) -> bool:
        """It is so late now; whether it counts as seen."""
        return self._unseen_since is not None and now - self._unseen_since > UNSEEN_SECONDS and self.looked()
