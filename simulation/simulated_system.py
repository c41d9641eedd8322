"""The system of a simulated pool: its queue, its machines, what it answers to calls of a launcher, and what goes wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, log
from random import Random
from typing import Literal

from ..launch.effects import Answer, Call, Failed, Find, FindLeft, List, ReadLog, Start, Stop
from ..launch.pools.pool import Job, JobState, Trouble
from .days import PricedPool
from .environment import Clock
from .profiles import spread

LATENCY = (0.2, 2.0)
"""Seconds that a call takes."""
UNANSWERED = 30.0
"""Seconds after which a call is given up whose answer does not come."""
BOOT_HEARD = 0.3
"""Part of the boot after which a machine is heard of for the first time."""
LEAVING = 2.0
"""Seconds that a worker takes to leave in good order."""
State = Literal["queued", "booting", "up", "leaving", "over"]
Fate = Literal["comes", "silent", "broken"]


@dataclass(slots=True)
class SimulatedMachine:
    """One: when it was asked for, has started, has joined, and ended."""

    job: str
    call: str
    asked: float
    fate: Fate
    takes: float
    state: State = "queued"
    failed: bool = False
    reclaimed: bool = False
    started: float = inf
    joined: float = inf
    ended: float = inf
    rests_since: float = inf
    told: float = inf
    lied: bool = False

    def ran(self, now: float) -> float:
        """Seconds that are to be paid by now."""
        return max(0.0, min(now, self.ended) - self.started) if self.started < inf else 0.0


@dataclass(slots=True)
class Listeners:
    """Who is told what happens: of an answer, of a machine that has come so far, of one that is over (and whether it was
    lost)."""

    answer: Callable[[Answer | Failed], None]
    heard: Callable[[SimulatedSystem, SimulatedMachine], None]
    joined: Callable[[SimulatedSystem, SimulatedMachine], None]
    over: Callable[[SimulatedSystem, SimulatedMachine, bool], None]


@dataclass(slots=True)
class SimulatedSystem:
    """One pool's. The draws of a machine depend on the seed and its number only."""

    pool: PricedPool
    clock: Clock
    seed: str
    listeners: Listeners
    machines: dict[str, SimulatedMachine] = field(default_factory=dict)
    _waiting: deque[SimulatedMachine] = field(default_factory=deque)
    _calls: deque[Call] = field(default_factory=deque)
    _random: Random = field(init=False)
    _losses: Random = field(init=False)
    _life: int = 0
    _busy: bool = False

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed}/{self.pool.name}")  # noqa: S311 - nothing secret is drawn
        self._losses = Random(f"{self.seed}/{self.pool.name}/market")  # noqa: S311 - as above
        if self.pool.market is not None and self.pool.market.every < inf:
            self._plan_loss(None)

    @property
    def there(self) -> list[SimulatedMachine]:
        """Those that are not over."""
        return [machine for machine in self.machines.values() if machine.state != "over"]

    @property
    def serving(self) -> int:
        """Those that work, or will, and were not told to go."""
        return sum(machine.told == inf and machine.state != "leaving" for machine in self.there)

    def cost(self, now: float) -> float:
        """Of all machines that there were, by now."""
        tariff = self.pool.tariff
        return sum(tariff.cost(machine.ran(now)) for machine in self.machines.values() if machine.started <= now)

    # --- calls ----------------------------------------------------------------------------------------------------------

    def ask(self, call: Call) -> None:
        """A launcher asks for something: calls are answered one after the other."""
        self._calls.append(call)
        if not self._busy:
            self._begin()

    def forget_calls(self) -> None:
        """The launcher is gone: what it has asked for last may be done, and nobody hears of it."""
        call = self._calls[0] if self._calls else None
        if isinstance(call, Start) and not self._is_made(call) and self._random.random() < 0.5:
            self._make(call)
        self._calls.clear()
        self._life += 1
        self._busy = False

    def _is_made(self, call: Start) -> bool:
        return any(machine.call == call.call for machine in self.machines.values())

    def _begin(self) -> None:
        self._busy = True
        faults, call = self.pool.faults, self._calls[0]
        draw, seconds = self._random.random(), self._random.uniform(*LATENCY)
        if isinstance(call, Start) and draw < faults.unanswered:
            self._make(call)
            self.clock.at(self.clock.now + UNANSWERED, self._fail, (self._life, "the answer did not come", "down"))
        elif draw < faults.unanswered + faults.fails:
            self.clock.at(self.clock.now + seconds, self._fail, (self._life, "500 Internal Server Error", "down"))
        else:
            self.clock.at(self.clock.now + seconds, self._do, self._life)

    def _do(self, life: int) -> None:
        if life != self._life:
            return
        call = self._calls[0]
        answer = Answer(call)
        match call:
            case Start():
                if len(self.there) + call.count > self.pool.quota:
                    self._fail((life, f"the quota of {self.pool.quota} is used up", "full"))
                    return
                answer = Answer(call, self._make(call))
            case Find():
                answer = Answer(call, [machine.job for machine in self.there if machine.call == call.call])
            case FindLeft():
                answer = Answer(call, [machine.job for machine in self.there])
            case List():
                answer = Answer(call, listing={job: self._said(job) for job in call.jobs})
            case Stop():
                for job in call.jobs:
                    self.end(job, lost=False)
            case ReadLog():
                answer = Answer(call, text="")
        self._answered(answer)

    def _fail(self, what: tuple[int, str, Trouble]) -> None:
        life, words, trouble = what
        if life == self._life:
            self._answered(Failed(self._calls[0], words, trouble))

    def _answered(self, answer: Answer | Failed) -> None:
        self._calls.popleft()
        self._busy = False
        self.listeners.answer(answer)
        if self._calls and not self._busy:
            self._begin()

    def _said(self, job: str) -> Job:
        """What the system says of a job, be it true or not."""
        machine = self.machines.get(job)
        if machine is None or self.clock.now - machine.asked < self.pool.faults.lag:
            return Job("gone")
        lies = not machine.lied and machine.state != "over" and self._random.random() < self.pool.faults.lies
        machine.lied = lies
        if lies:
            return Job("gone")
        words: dict[State, JobState] = {"queued": "queued", "booting": "started", "up": "started", "leaving": "ending"}
        ended: JobState = "reclaimed" if machine.reclaimed else "failed" if machine.failed else "gone"
        return Job(words.get(machine.state, ended))

    # --- machines -------------------------------------------------------------------------------------------------------

    def _make(self, call: Start) -> list[str]:
        made = [self._new(call.call) for _ in range(call.count)]
        for machine in made:
            self.clock.at(self.clock.now + self.pool.waits * machine.takes, self._ready, machine)
        return [machine.job for machine in made]

    def _new(self, call: str) -> SimulatedMachine:
        number = len(self.machines)
        random, faults = Random(f"{self.seed}/{self.pool.name}/{number}"), self.pool.faults  # noqa: S311 - as above
        draw = random.random()
        fate: Fate = "silent" if draw < faults.silent else "broken" if draw < faults.silent + faults.broken else "comes"
        if self.pool.ramp is not None:
            takes = spread([*self.pool.ramp], number % self.pool.most, self.pool.most)
        else:
            takes = random.lognormvariate(log(max(1e-3, self.pool.start)), self.pool.spread)
        machine = SimulatedMachine(f"{self.pool.name}.{number}", call, self.clock.now, fate, takes)
        self.machines[machine.job] = machine
        return machine

    def _ready(self, machine: SimulatedMachine) -> None:
        """It would start, if there is room."""
        if machine.state == "queued":
            self._waiting.append(machine)
            self._start_some()

    def _start_some(self) -> None:
        running = sum(machine.state in ("booting", "up", "leaving") for machine in self.machines.values())
        while self._waiting and running < self.pool.room:
            machine = self._waiting.popleft()
            if machine.state != "queued":
                continue
            running += 1
            machine.state, machine.started = "booting", self.clock.now
            boot = (1.0 - self.pool.waits) * machine.takes
            if machine.fate != "silent":
                self.clock.at(self.clock.now + BOOT_HEARD * boot, self._heard, machine)
                self.clock.at(self.clock.now + boot, self._booted, machine)

    def _heard(self, machine: SimulatedMachine) -> None:
        if machine.state == "booting":
            self.listeners.heard(self, machine)

    def _booted(self, machine: SimulatedMachine) -> None:
        if machine.state != "booting":
            return
        if machine.fate == "broken":
            machine.failed = True
            self.end(machine.job, lost=False)
        else:
            machine.state, machine.joined = "up", self.clock.now
            self.listeners.joined(self, machine)

    def leave(self, machine: SimulatedMachine) -> None:
        """Its worker leaves in good order."""
        if machine.state == "up":
            machine.state = "leaving"
            self.listeners.heard(self, machine)
            self.clock.at(self.clock.now + LEAVING, self._left, machine)

    def _left(self, machine: SimulatedMachine) -> None:
        self.end(machine.job, lost=False)

    def end(self, job: str, lost: bool) -> None:
        """A machine is over, since it was told to end, or left, or was `lost`."""
        machine = self.machines.get(job)
        if machine is None or machine.state == "over":
            return
        machine.state, machine.ended = "over", self.clock.now
        self.listeners.over(self, machine, lost)
        self._start_some()

    # --- markets --------------------------------------------------------------------------------------------------------

    def _plan_loss(self, _: object) -> None:
        market = self.pool.market
        assert market is not None
        self.clock.at(self.clock.now + self._losses.expovariate(1.0 / market.every), self._loss, None)

    def _loss(self, _: object) -> None:
        """A part of the machines is taken back."""
        market = self.pool.market
        assert market is not None
        running = [machine for machine in self.there if machine.state in ("booting", "up")]
        for machine in running:
            if self._losses.random() < market.part:
                if market.notice > 0.0:
                    self.leave(machine)
                self.clock.at(self.clock.now + market.notice, self._take_back, machine)
        self._plan_loss(None)

    def _take_back(self, machine: SimulatedMachine) -> None:
        machine.reclaimed = machine.state != "over"
        self.end(machine.job, lost=True)
