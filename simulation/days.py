"""A day of a facility, as it is simulated: pools with their prices and faults, users with their wishes and queries.

Times are seconds, prices are for a worker and an hour in the facility's own currency, work is slot-seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..elastic.demand import Wish
from ..elastic.supply import FREE, Tariff
from ..launch.pools.pool import IDLE


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong in a pool: parts of one, but for `lag`.

    Args:
        fails: of the calls of its system, that are answered by an error.
        unanswered: of the calls for workers, that are done and whose answer never comes.
        lies: of the jobs in a listing, that are said to be gone; of the same job never twice in a row.
        lag: seconds for which a listing does not know of a new job.
        silent: of the machines, that start and of which nothing is ever heard.
        broken: of the machines, that end before they have joined.
    """

    fails: float = 0.0
    unanswered: float = 0.0
    lies: float = 0.0
    lag: float = 0.0
    silent: float = 0.0
    broken: float = 0.0


@dataclass(frozen=True, slots=True)
class Market:
    """Where spot machines come from, and go back to in groups.

    Args:
        every: seconds between two losses, on average; infinity: there are none.
        part: of the machines that are there, which are lost together.
        notice: seconds before, in which they are told; 0: they are not.
    """

    every: float
    part: float = 0.5
    notice: float = 0.0


@dataclass(frozen=True, slots=True)
class PricedPool:
    """A pool.

    Args:
        name: of it.
        slots: of a worker.
        tariff: what one costs.
        most: workers at most.
        least: workers that are kept whatever there is to do.
        start: seconds from asking for a worker to its joining: the median of a log-normal distribution.
        spread: of the logarithm of that.
        ramp: seconds from which to which the starts of `most` machines are spread evenly, in the place of `start`; the
            settings of the pool name `start`.
        waits: part of the start for which a job waits in the system's queue, which costs nothing.
        room: workers for which the system has room; jobs beyond it wait.
        quota: workers beyond which the system takes no more jobs, which the pool's settings do not know.
        speed: work that a slot does in a second, of an average slot's.
        market: of spot machines.
        idle: seconds without work after which a worker leaves.
        owner: whose queries the workers serve; "": everybody's.
        has_tags: machines are found without a record.
        faults: what goes wrong.
    """

    name: str
    slots: int = 1
    tariff: Tariff = FREE
    most: int = 100
    least: int = 0
    start: float = 60.0
    spread: float = 0.0
    ramp: tuple[float, float] | None = None
    waits: float = 0.0
    room: int = 10**6
    quota: int = 10**6
    speed: float = 1.0
    market: Market | None = None
    idle: float = IDLE
    owner: str = ""
    has_tags: bool = False
    faults: Faults = Faults()


@dataclass(frozen=True, slots=True)
class Submission:
    """A query.

    Args:
        at: when it comes.
        work: slot-seconds.
        parallel: slots that can work on it at the same time.
        guess: what its work is held for at first, as a part of what it is.
    """

    at: float
    work: float
    parallel: int = 10_000
    guess: float = 1.0


@dataclass(frozen=True, slots=True)
class User:
    """Who submits queries, and what she wishes `since` when, and until when (`withdrawn`)."""

    wish: Wish
    queries: Sequence[Submission] = ()
    since: float = 0.0
    withdrawn: float | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """What there is, and what happens.

    Args:
        pools: of one launcher.
        users: whose wishes and queries come.
        length: seconds, after which no query comes.
        patience: seconds after that for queries to end, before all wishes are withdrawn.
        restarts: when the launcher is killed and started again.
        losses: when it is, and its record is lost, too.
    """

    pools: Sequence[PricedPool]
    users: Sequence[User]
    length: float = 86400.0
    patience: float = 6 * 3600.0
    restarts: Sequence[float] = ()
    losses: Sequence[float] = ()
