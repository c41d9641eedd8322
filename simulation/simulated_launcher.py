"""A launcher in virtual time: its own core, message by message; what it writes down, and the systems that it asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import inf

from ..launch.core import LauncherCore
from ..launch.effects import (
    Answer,
    Call,
    Effect,
    Failed,
    ForgetJobs,
    SaveCall,
    Saved,
    SaveJobs,
    SaveWanted,
    Start,
    Stop,
    Tell,
)
from ..launch.reconciler import Terms
from ..protocol import messages
from ..protocol.messages import LaunchStage, Message, PoolTerms
from .days import PricedPool
from .environment import Clock
from .simulated_system import SimulatedMachine, SimulatedSystem


class SimulatedLauncher:
    """One launcher and its lives.

    Args:
        systems: of its pools.
        clock: the time.
        hear: is told what it says to the master.
        let_go: is told of machines that it tells to go, for the first time each.
        check: assert the core's invariants, and that nothing is asked for twice.
        trace: digest all messages.

    Attributes:
        core: of this life.
        due: when `expire` is to be called at the latest.
        lives: that it has had.
    """

    def __init__(
        self,
        systems: Mapping[str, SimulatedSystem],
        clock: Clock,
        hear: Callable[[Message], None],
        let_go: Callable[[SimulatedMachine], None],
        *,
        check: bool,
        trace: bool,
    ) -> None:
        self._systems, self._clock = systems, clock
        self._hear, self._let_go = hear, let_go
        self._check = check
        self._trace = hashlib.blake2b(digest_size=8) if trace else None
        self._saved: dict[str, Saved] = {}
        self.lives = 0
        self.due = 0.0

    @property
    def trace(self) -> str:
        """Of all messages so far."""
        return "" if self._trace is None else self._trace.hexdigest()

    def begin(self) -> None:
        """Start, for the first time or again, with what was written down."""
        self.lives += 1
        pools = [system.pool for system in self._systems.values()]
        terms = {pool.name: _terms(pool) for pool in pools}
        self.core = LauncherCore(terms, f"t{self.lives}", self._saved, self._clock.now)
        self._carry_out(self.core.welcomed(self._clock.now))
        for name in self._systems:
            self._carry_out(self.core.ready(name, self._clock.now))

    def die(self, with_record: bool) -> None:
        """It is killed: what systems have not answered it hears no more. What it has written down may be lost with it."""
        if with_record:
            self._saved.clear()
        for system in self._systems.values():
            system.forget_calls()

    def answer(self, answer: Answer | Failed) -> None:
        """A system answers."""
        now = self._clock.now
        self._carry_out(
            self.core.answered(answer, now) if isinstance(answer, Answer) else self.core.failed(answer, now)
        )

    def receive(self, message: Message) -> None:
        """The master says something."""
        self._digest(message)
        self._carry_out(self.core.receive(message, self._clock.now))

    def worker_is(self, pool: str, machine: SimulatedMachine, stage: LaunchStage) -> None:
        """The master tells of a worker."""
        worker = machine.job if machine.joined < inf else ""
        self.receive(messages.WorkerIs(pool, machine.job, stage, worker))

    def expire(self) -> None:
        """Do what is due."""
        self._carry_out(self.core.expire(self._clock.now))

    # --- what it does -----------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case SaveWanted() | SaveCall() | SaveJobs() | ForgetJobs():
                    self._saved[effect.pool] = _written(self._saved.get(effect.pool, Saved()), effect)
                case Tell():
                    self._say(effect.message)
                case _:
                    self._ask(effect)
        self.due = self.core.deadline(self._clock.now)
        if self._check:
            self.core.check()

    def _say(self, message: Message) -> None:
        self._digest(message)
        if isinstance(message, messages.Drain):
            system = self._systems[pool_of(message.worker)]
            self._tell_to_go(system, message.worker)
            system.leave(system.machines[message.worker])
        else:
            self._hear(message)

    def _ask(self, call: Call) -> None:
        system = self._systems[call.pool]
        if isinstance(call, Stop):
            for job in call.jobs:
                self._tell_to_go(system, job)
        elif isinstance(call, Start) and self._check:
            asked = system.serving + call.count
            assert asked <= min(self.core.pools[call.pool].wanted, system.pool.most), f"{call}: {asked} in all"
        system.ask(call)

    def _tell_to_go(self, system: SimulatedSystem, job: str) -> None:
        machine = system.machines.get(job)
        if machine is not None and machine.state not in ("leaving", "over") and machine.told == inf:
            machine.told = self._clock.now
            self._let_go(machine)

    def _digest(self, message: Message) -> None:
        if self._trace is not None:
            self._trace.update(f"{self._clock.now!r} {message!r}".encode())


def _terms(pool: PricedPool) -> Terms:
    """A pool, as its launcher knows it."""
    tariff = pool.tariff
    worker = PoolTerms(pool.slots, tariff.price, tariff.period, pool.least, pool.start, pool.market is not None)
    return Terms("simulated", pool.most, pool.owner, pool.idle, pool.has_tags, worker)


def _written(saved: Saved, saving: SaveWanted | SaveCall | SaveJobs | ForgetJobs) -> Saved:
    """The record of a pool with one thing more, as `launch.record` has it."""
    wanted, by_hand, calls, jobs = saved.wanted, saved.by_hand, dict(saved.calls), dict(saved.jobs)
    match saving:
        case SaveWanted():
            wanted, by_hand = saving.workers, saving.by_hand
        case SaveCall():
            calls[saving.call] = saving.count
        case SaveJobs():
            calls.pop(saving.call, None)
            jobs |= dict.fromkeys(saving.jobs, saving.call)
        case ForgetJobs():
            for job in saving.jobs:
                jobs.pop(job, None)
    return Saved(wanted, calls, jobs, by_hand)


def pool_of(job: str) -> str:
    """The pool of a simulated machine.

    Example:
        >>> pool_of("spot-a.17")
        'spot-a'
    """
    return job.rpartition(".")[0]
