"""What there is to be had: pools as the autoscaler sees them, and their machines.

A *machine* is a worker of a pool from the moment at which it was asked for until it is gone. A price is in the
facility's own currency, for a worker and an hour; it is to be paid from when the machine has started, in whole billing
periods, of which there is one at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HOUR = 3600.0

Phase = Literal["waiting", "booting", "idle", "working", "leaving", "failed"]
"""Of a machine: it has not started ("waiting": nothing is paid for it), has started and not joined, has joined, is about to
go, or has ended before it had joined."""


_ENDING: frozenset[Phase] = frozenset({"leaving", "failed"})


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a worker costs: so much an hour, to be paid in periods of so many seconds.

    Example:
        >>> Tariff(price=0.40, period=3600.0).cost(5000.0)
        0.8
        >>> Tariff(price=0.40).cost(900.0)
        0.1
    """

    price: float = 0.0
    period: float = 1.0

    def cost(self, seconds: float) -> float:
        """Of a machine that runs for so long."""
        return self.price * self.paid(seconds) / HOUR

    def paid(self, seconds: float) -> float:
        """The seconds that are paid for when a machine has run for so long: whole periods, from the first second."""
        if self.period <= 1.0 or seconds <= 0.0:
            return max(0.0, seconds)
        return math.ceil(seconds / self.period - 1e-9) * self.period


FREE = Tariff()


@dataclass(frozen=True, slots=True)
class Machine:
    """One of a pool.

    Args:
        job: its id.
        phase: how far it is.
        age: seconds since it was asked for.
        ran: seconds since it has started, which are to be paid.
        rests: seconds for which it has had nothing to do; 0 unless it is idle.
        up: seconds since it has joined.
    """

    job: str
    phase: Phase
    age: float = 0.0
    ran: float = 0.0
    rests: float = 0.0
    up: float = 0.0

    @property
    def coming(self) -> bool:
        """It is on its way, and has not joined yet."""
        return self.phase in ("waiting", "booting")

    @property
    def joined(self) -> bool:
        """It is with the master."""
        return self.phase in ("idle", "working")


@dataclass(frozen=True, slots=True)
class Supply:
    """A pool, as it stands.

    Args:
        pool: its name.
        slots: of a worker.
        tariff: what one costs.
        least: workers that are kept whatever there is to do.
        most: workers at most.
        start: seconds from asking for a worker to its joining, before anything was learnt.
        spot: its machines may be taken back at any time.
        rate: work that a slot does in a second, of an average slot's.
        serves: whose queries its workers serve; None: everybody's.
        wanted: workers that its launcher has been told to have.
        settled: the launcher has heard all that was said to it; what it has not is not said anew.
        trouble: why no workers are started in it at the moment; empty when some can be.
        machines: all that are not over, and those that have failed lately.
    """

    pool: str
    slots: int = 1
    tariff: Tariff = FREE
    least: int = 0
    most: int = 1000
    start: float = 60.0
    spot: bool = False
    rate: float = 1.0
    serves: frozenset[str] | None = None
    wanted: int = 0
    settled: bool = True
    trouble: str = ""
    machines: Sequence[Machine] = ()

    @property
    def staying(self) -> list[Machine]:
        """Machines that are there or on their way, and are not about to go."""
        return [machine for machine in self.machines if machine.phase not in _ENDING]

    @property
    def unseen(self) -> int:
        """Workers that were asked for, and of which nothing is known yet."""
        return max(0, self.wanted - len(self.staying))

    @property
    def room(self) -> int:
        """Workers that can be asked for besides those that were."""
        return 0 if self.trouble else max(0, self.most - max(self.wanted, len(self.staying)))
