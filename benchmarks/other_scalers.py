"""The rules of others for how many machines there should be, with the figures that they come with.

What waits for a slot is a *job*: a query comes as jobs of JOB seconds, as many as can work on it at the most. Their work is
then shared as ours is, without the tail of the last job, and machines serve all users: both make it easier for them than it
is where they come from. They know nothing of prices: clouds are in the order of their price, the cheapest first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from eventmill.elastic.decision import Change, Decision
from eventmill.elastic.demand import Wish, Work
from eventmill.elastic.supply import Machine, Supply

JOB = 300.0
"""Seconds of a job."""


def waiting_jobs(supplies: Sequence[Supply], works: Sequence[Work]) -> int:
    """Jobs without a slot."""
    jobs = sum(min(work.parallel, math.ceil(work.left / JOB)) for work in works)
    slots = sum(
        supply.slots for supply in supplies for machine in supply.machines if machine.phase in ("idle", "working")
    )
    return max(0, jobs - slots)


def coming(supply: Supply) -> int:
    """Machines that were asked for and have not joined."""
    return supply.unseen + sum(machine.phase in ("waiting", "booting") for machine in supply.machines)


def by_price(supplies: Sequence[Supply]) -> list[Supply]:
    """The cheapest first."""
    return sorted(supplies, key=lambda supply: (supply.tariff.price / supply.slots, supply.pool))


class Rules:
    """What the rules of others share: starts and stops of a decision, as changes."""

    def wish(self, wish: Wish) -> None:
        """They know none."""

    def withdraw(self, owner: str) -> None:
        """As above."""

    def decide(self, supplies: Sequence[Supply], works: Sequence[Work], now: float) -> Decision:
        """What is to be changed now."""
        settled = [supply for supply in supplies if supply.settled]
        if len(settled) < len(supplies):
            return Decision()  # they look at what there is when all is told
        starts, stops = self.rules(by_price(supplies), works, now)
        changes = []
        for supply in supplies:
            going = tuple(stops.get(supply.pool, ()))
            wanted = min(supply.most, len(supply.staying) + supply.unseen - len(going) + starts[supply.pool])
            if going or wanted != supply.wanted:
                changes.append(Change(supply.pool, wanted, going))
        return Decision(changes)

    def rules(
        self, supplies: Sequence[Supply], works: Sequence[Work], now: float
    ) -> tuple[Counter[str], dict[str, list[str]]]:
        """How many to start in which pools, and which machines to stop."""
        raise NotImplementedError


@dataclass
class Elastiq(Rules):
    """github.com/dberzano/elastiq, pylib/elastiq/__init__.py and etc/elastiq.conf: looks at the queue every 15 s. If ten
    jobs wait or more for longer than 100 s, beyond four for each machine that should be coming, a machine is started for
    each four of them. A machine counts as coming for 600 s, and is ended if it has not joined by then. Every 45 s those that
    have been idle for longer than an hour are ended, in any order.
    """

    queue_every: float = 15.0
    machines_every: float = 45.0
    threshold: int = 10
    patience: float = 100.0
    jobs_each: int = 4
    idle: float = 3600.0
    deploy: float = 600.0
    _above: float = -1.0
    _queue: float = 0.0
    _machines: float = 0.0
    _alleged: list[float] = field(default_factory=list)
    _random: Random = field(default_factory=lambda: Random(1))

    def rules(
        self, supplies: Sequence[Supply], works: Sequence[Work], now: float
    ) -> tuple[Counter[str], dict[str, list[str]]]:
        starts: Counter[str] = Counter()
        stops: dict[str, list[str]] = {}
        self._alleged = [until for until in self._alleged if until > now]
        if now >= self._queue:
            self._queue = now + self.queue_every
            starts = self._start(supplies, waiting_jobs(supplies, works) - self.jobs_each * len(self._alleged), now)
        if now >= self._machines:
            self._machines = now + self.machines_every
            for supply in supplies:
                stops[supply.pool] = [machine.job for machine in supply.machines if self._ends(machine)]
                self._random.shuffle(stops[supply.pool])
        return starts, stops

    def _start(self, supplies: Sequence[Supply], jobs: int, now: float) -> Counter[str]:
        starts: Counter[str] = Counter()
        if jobs < self.threshold:
            self._above = -1.0
        elif self._above < 0:
            self._above = now
        elif now - self._above > self.patience:
            self._above = -1.0
            wanted = math.ceil(jobs / self.jobs_each)
            for supply in supplies:
                starts[supply.pool] = min(wanted, supply.room)
                wanted -= starts[supply.pool]
            self._alleged += [now + self.deploy] * starts.total()
        return starts

    def _ends(self, machine: Machine) -> bool:
        if machine.phase == "idle":
            return machine.rests > self.idle
        return machine.phase in ("waiting", "booting") and machine.age > self.deploy


@dataclass
class CloudScheduler1(Rules):
    """github.com/hep-gc/cloud-scheduler, `scheduler_fair_share` and `remove_idle_machines`: every 5 s one machine is started
    for each user who has a job without one, on the cloud that is least full; as many of her jobs count as served as it has
    cores. Machines that nobody's jobs want are ended when they are idle (`keep_alive` 0); those that do not register within
    15 minutes, too.
    """

    every: float = 5.0
    keep_alive: float = 0.0
    register: float = 900.0
    _next: float = 0.0

    def rules(
        self, supplies: Sequence[Supply], works: Sequence[Work], now: float
    ) -> tuple[Counter[str], dict[str, list[str]]]:
        starts: Counter[str] = Counter()
        if now < self._next:
            return starts, {}
        self._next = now + self.every
        waiting = waiting_jobs(supplies, works) - sum(supply.slots * coming(supply) for supply in supplies)
        for _ in {work.owner for work in works}:
            free = [supply for supply in supplies if supply.room > starts[supply.pool]]
            if waiting > 0 and free:
                best = min(free, key=lambda it: (it.wanted + starts[it.pool]) / it.most)
                starts[best.pool] += 1
                waiting -= best.slots
        needed = waiting_jobs(supplies, works) > 0
        stops = {supply.pool: [it.job for it in supply.machines if self._ends(it, needed)] for supply in supplies}
        return starts, stops

    def _ends(self, machine: Machine, needed: bool) -> bool:
        if machine.phase == "idle":
            return not needed and machine.rests > self.keep_alive
        return machine.phase == "booting" and machine.ran > self.register


@dataclass
class CloudScheduler2(Rules):
    """github.com/hep-gc/cloudscheduler, `csmain`: every 10 s, if the jobs that wait want more cores than idle and starting
    machines have, up to five machines are started a cloud; not while five are starting there, nor while ten machines, or a
    tenth of those that run, are idle. Machines are ended when they have been idle for `keep_alive` (0), or have not joined
    after two hours.
    """

    every: float = 10.0
    batch: int = 5
    starting: int = 5
    idle: int = 10
    keep_alive: float = 0.0
    come_alive: float = 7200.0
    _next: float = 0.0

    def rules(
        self, supplies: Sequence[Supply], works: Sequence[Work], now: float
    ) -> tuple[Counter[str], dict[str, list[str]]]:
        starts: Counter[str] = Counter()
        if now < self._next:
            return starts, {}
        self._next = now + self.every
        machines = [machine for supply in supplies for machine in supply.machines]
        idle = sum(machine.phase == "idle" for machine in machines)
        running = sum(machine.phase == "working" for machine in machines)
        short = waiting_jobs(supplies, works) - sum(supply.slots * coming(supply) for supply in supplies)
        for supply in supplies:
            free = min(self.batch, supply.room, self.starting - coming(supply))
            if short > 0 and free > 0 and idle < max(self.idle, running // 10):
                starts[supply.pool] = min(free, math.ceil(short / supply.slots))
                short -= supply.slots * starts[supply.pool]
        return starts, {supply.pool: [it.job for it in supply.machines if self._ends(it)] for supply in supplies}

    def _ends(self, machine: Machine) -> bool:
        if machine.phase == "idle":
            return machine.rests > self.keep_alive
        return machine.phase == "booting" and machine.ran > self.come_alive
