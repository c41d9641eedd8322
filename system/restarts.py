"""How often what was killed is started again before that is taken to be of no use."""

from __future__ import annotations

from collections import deque

MOST = 5
"""Restarts within `SECONDS`: what ends more often ends of itself."""
SECONDS = 120.0


class Restarts:
    """Counts the restarts of one process.

    Args:
        most: that may be within `seconds`.

    Example:
        >>> restarts = Restarts(most=2, seconds=10.0)
        >>> [restarts.allowed(now) for now in (0.0, 1.0, 2.0, 20.0)]
        [True, True, False, True]
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self.most, self.seconds = most, seconds
        self._times: deque[float] = deque()

    def allowed(self, now: float) -> bool:
        """Whether to start it once more, now; that counts as done then."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        if len(self._times) >= self.most:
            return False
        self._times.append(now)
        return True
