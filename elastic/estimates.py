"""What was learnt of a pool: how long its workers take to start, how many of them come, how many are lost.

Start times are the last ones that were seen, so that a pool that has become slow is known to be so; before the first one
there is the pool's own word. Chances are those of a Beta distribution, with a prior that is worth a few trials: one
failure is no proof that nothing works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .supply import HOUR, Machine

KEPT = 50
"""Start times remembered."""
_PRIOR_COME, _PRIOR_FAILED = 4.0, 0.0
_FADING = 0.98
"""Of what was counted, what is left when the next trial is over: half of it is of the last 35."""
_SLOWEST = 0.9
PATIENCE_FACTOR, LEAST_PATIENCE = 3.0, 120.0
"""A machine that has started is given up after so many times the slow start times, and not before so many seconds."""


class Estimates:
    """Of one pool.

    Args:
        start: seconds that a worker takes to start, before anything was learnt.
        times: that were learnt before.

    Example:
        >>> pool = Estimates(start=60.0)
        >>> pool.start
        60.0
        >>> for seconds in (90.0, 100.0, 110.0):
        ...     pool.came(seconds)
        >>> pool.start, pool.slow_start
        (100.0, 110.0)
        >>> pool.remaining(Machine("i-1", "booting", age=70.0))
        30.0
    """

    def __init__(self, start: float, times: Sequence[float] = ()) -> None:
        self._prior = start
        self.times: deque[float] = deque(times, KEPT)
        self._come, self._failed = _PRIOR_COME, _PRIOR_FAILED
        self._lost = 0.0
        self._hours = 1.0

    def came(self, seconds: float) -> None:
        """A worker has joined so long after it was asked for."""
        self.times.append(seconds)
        self._come, self._failed = _FADING * self._come + 1.0, _FADING * self._failed

    def failed(self) -> None:
        """One has ended before it had joined, or was given up."""
        self._come, self._failed = _FADING * self._come, _FADING * self._failed + 1.0

    def lost(self) -> None:
        """One that had joined was lost, or taken back."""
        self._lost += 1.0

    def worked(self, seconds: float) -> None:
        """So many seconds of workers have passed, in which those were lost that were."""
        self._hours += seconds / HOUR

    @property
    def start(self) -> float:
        """Seconds that a worker takes to start: the median."""
        return self._quantile(0.5)

    @property
    def slow_start(self) -> float:
        """Seconds after which nine of ten have started."""
        return self._quantile(_SLOWEST)

    @property
    def chance(self) -> float:
        """That a worker that is asked for will join."""
        return self._come / (self._come + self._failed)

    @property
    def losses(self) -> float:
        """Of a worker, an hour."""
        return self._lost / self._hours

    @property
    def patience(self) -> float:
        """Seconds for which a machine may boot, before it is given up."""
        return max(LEAST_PATIENCE, PATIENCE_FACTOR * max(self._prior, self.slow_start))

    def remaining(self, machine: Machine) -> float:
        """Seconds until a machine has joined.

        One that is overdue has waited for something: as much again of what it has waited beyond its time may be to come
        (half of its age, if that is less), as with the queue of a batch system.
        """
        if not machine.coming:
            return 0.0
        left = self.start - machine.age
        return left if left > 0 else min(-left, machine.age / 2)

    def _quantile(self, part: float) -> float:
        if not self.times:
            return self._prior
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
