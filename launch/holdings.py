"""The launches of one pool: which of them count, which go first, and for whom it is too late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from ..protocol.messages import LaunchInfo, WorkerIs
from .launches import Launch

LOST_SECONDS = 60.0
"""For which a worker that the master has lost may come back, while its job is said to run."""
BOOT_SECONDS, BOOT_FACTOR = 900.0, 3.0
"""For which nothing may be heard of a worker that has begun to start: so many seconds, or so many times its start time."""
EARLY = 1000
"""Words kept of workers whose jobs are not known yet."""
KEPT = 30
"""Launches that are over and still shown; as many again are remembered, since a worker may be heard of after its end."""


class Holdings:
    """All of them, by job.

    Args:
        boot: seconds for which nothing may be heard of a worker that has begun to start.

    Example:
        >>> holdings = Holdings()
        >>> holdings.add(Launch("17.0", "eventmill-condor-1", asked=0.0))
        >>> holdings.alive, holdings.get("18.0")
        (1, None)
    """

    def __init__(self, boot: float = BOOT_SECONDS) -> None:
        self.boot = boot
        self._launches: dict[str, Launch] = {}
        self._early: list[WorkerIs] = []

    def __iter__(self) -> Iterator[Launch]:
        return iter(self._launches.values())

    def get(self, job: str) -> Launch | None:
        """One of them."""
        return self._launches.get(job)

    def add(self, launch: Launch) -> None:
        """One more, unless it is known."""
        self._launches.setdefault(launch.job, launch)

    def take_over(self, jobs: Mapping[str, str], now: float) -> list[str]:
        """Those that an earlier launcher has left, with the call of each: which of them were not known."""
        unknown = [job for job in jobs if job not in self._launches]
        self._launches |= {job: Launch(job, jobs[job], now, left=True) for job in unknown}
        return unknown

    def hear_early(self, word: WorkerIs) -> None:
        """A worker was heard of whose job is not known yet."""
        self._early = [*self._early[1 - EARLY :], word]

    def heard_early(self) -> list[WorkerIs]:
        """What was heard so, once."""
        early, self._early = self._early, []
        return early

    @property
    def live(self) -> list[Launch]:
        """Those that are not over."""
        return [launch for launch in self if not launch.over]

    @property
    def alive(self) -> int:
        """How many are there, or on their way, and were not told to go."""
        return sum(launch.counts for launch in self)

    @property
    def coming(self) -> int:
        """How many of them have not joined yet."""
        return sum(launch.counts and (launch.waiting or launch.booting) for launch in self)

    @property
    def certain(self) -> bool:
        """Whether something is known of each: of those that an earlier launcher has left nothing is, at first."""
        return not any(launch.left and not launch.over for launch in self)

    def surplus(self, count: int) -> list[Launch]:
        """So many to let go: those that have not started, then those that have not joined, then idle ones, then the last."""
        return sorted((launch for launch in self if launch.counts), key=lambda launch: launch.value)[:count]

    def late(self, now: float, since: float) -> list[Launch]:
        """Those that were told to end and have not, and those that nothing was heard of for too long; the master says what
        it hears `since` then."""
        return [
            launch for launch in self if not launch.over and now >= min(launch.until, self._patience(launch, since))
        ]

    def due(self, since: float) -> float:
        """When the first of them is late; infinity if none will be."""
        return min(
            (min(launch.until, self._patience(launch, since)) for launch in self if not launch.over), default=inf
        )

    def infos(self, now: float) -> Iterable[LaunchInfo]:
        """As they are told to the master: all that are not over, and the last ones that are."""
        over = [launch for launch in self if launch.over][-KEPT:]
        return [launch.info(now) for launch in (*self.live, *over)]

    def forget(self) -> None:
        """Forget those that are over, but for the last ones."""
        over = [launch.job for launch in self if launch.over]
        if len(over) > 2 * KEPT:
            for job in over[: len(over) - KEPT]:
                del self._launches[job]

    def _patience(self, launch: Launch, since: float) -> float:
        """Until when a launch may be silent."""
        if launch.told:
            return inf
        if launch.stage == "lost":
            return max(launch.since, since) + LOST_SECONDS
        return max(launch.since, since) + self.boot if launch.booting else inf
