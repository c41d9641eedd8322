"""A facility in virtual time: the launcher's own core with simulated systems, work that flows, and who scales the pools.

What decides is the real thing: `launch.core.LauncherCore` message by message, and an autoscaler (or the rules of another
one). What is simulated are the systems with their machines (`simulated_system`), the slots that work (`fluid`), and the
little that a master does between them. One seed gives one day, message by message, whoever scales the pools: the times
that machines take, and the hours at which markets take some back, depend on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop
from math import inf
from typing import Protocol

import msgspec

from ..elastic.bridge import supply_of
from ..elastic.decision import Change, Decision, Forecast
from ..elastic.demand import Wish, Work
from ..elastic.supply import Supply
from ..launch.effects import Answer, Failed
from ..protocol import messages
from ..protocol.messages import LaunchStage, Message, PoolInfo
from .days import Day, Submission, User
from .environment import Clock
from .facility_outcome import DayOutcome, Ended, Story
from .fluid import Flow, Fluid, Source
from .simulated_launcher import SimulatedLauncher, pool_of
from .simulated_system import Listeners, SimulatedMachine, SimulatedSystem

KNOWN = 0.02
"""Part of a query after which it is known what it costs."""
LONGEST = 6 * 3600.0
"""Seconds in which all machines are to be gone after the last wish was withdrawn."""


class Scaler(Protocol):
    """Who decides how many workers there are: the autoscaler, or the rules of another one."""

    def wish(self, wish: Wish) -> None:
        """From now on, in the place of an earlier one of this owner."""

    def withdraw(self, owner: str) -> None:
        """She wishes nothing any more."""

    def decide(self, supplies: Sequence[Supply], works: Sequence[Work], now: float) -> Decision:
        """What is to be changed now."""


class Facility:
    """One day.

    Args:
        day: what there is, and what happens.
        scaler: who decides.
        seed: of all that is drawn at random.
        soonest: seconds between two decisions at least.
        every: seconds between two decisions at most, while there is anything to decide.
        watched: is told of the facility after each decision.
        check: assert the launcher's invariants, and that nothing is asked for twice.
        trace: digest all messages to and from the launcher into `DayOutcome.trace`.

    Attributes:
        systems: by pool.
        story: what has happened.
        following: pools that follow somebody's wish.
    """

    def __init__(
        self,
        day: Day,
        scaler: Scaler,
        seed: int | str = 0,
        *,
        soonest: float = 1.0,
        every: float = 10.0,
        watched: Callable[[Facility, Decision], None] | None = None,
        check: bool = False,
        trace: bool = False,
    ) -> None:
        self.day, self.scaler = day, scaler
        self.clock = Clock()
        self.fluid = Fluid()
        self.story = Story()
        self.forecasts: dict[str, Forecast] = {}
        listeners = Listeners(self._answer, self._heard, self._has_joined, self._is_over)
        self.systems = {pool.name: SimulatedSystem(pool, self.clock, str(seed), listeners) for pool in day.pools}
        self._launcher = SimulatedLauncher(self.systems, self.clock, self._hear, self._let_go, check=check, trace=trace)
        self.infos: dict[str, PoolInfo] = {}
        self._told_at = 0.0
        self._unsettled: set[str] = set()
        self.following: set[str] = set()
        self._wishes: dict[str, Wish] = {}
        self._requests = self._queries = self._turn = 0
        self._soonest, self._every, self._watched = soonest, every, watched
        self._decided, self._next = -inf, inf
        self._working: dict[str, bool] = {}
        self._begin_launcher()

    # --- the day ----------------------------------------------------------------------------------------------------------

    def run(self) -> DayOutcome:
        """Let the day pass, and say how it went."""
        for user in self.day.users:
            self.clock.at(user.since, self._wish, user)
            for submission in user.queries:
                self.clock.at(submission.at, self._submit, (user, submission))
            if user.withdrawn is not None:
                self.clock.at(user.withdrawn, self._withdraw, user)
        for time in self.day.restarts:
            self.clock.at(time, self._restart, False)
        for time in self.day.losses:
            self.clock.at(time, self._restart, True)
        end = self.day.length
        self._pass(lambda: self.clock.now > end + self.day.patience or (self.clock.now > end and not self.fluid.flows))
        for user in self.day.users:
            self._withdraw(user)
        for query in list(self.fluid.flows):
            self.story.undone.append(query)
            self.fluid.drop(query, self.clock.now)
        over = self.clock.now + LONGEST
        self._pass(lambda: self.clock.now > over or not self._anything)
        return DayOutcome(self.story, self.systems, self.clock.now, self._launcher.trace)

    def _pass(self, enough: Callable[[], bool]) -> None:
        heap, clock = self.clock.heap, self.clock
        while not enough():
            due = self._launcher.due
            if due <= (heap[0][0] if heap else inf):
                if due == inf:
                    return
                clock.now = max(clock.now, due)
                self._launcher.expire()
            else:
                time, _, act, argument = heappop(heap)
                clock.now = max(clock.now, time)
                act(argument)

    @property
    def _anything(self) -> bool:
        """Whether any machine is there, or may come to be."""
        return not self._launcher.core.empty or any(system.there for system in self.systems.values())

    # --- users ------------------------------------------------------------------------------------------------------------

    def _wish(self, user: User) -> None:
        self._wishes[user.wish.owner] = user.wish
        self.scaler.wish(user.wish)
        self._decide_soon()

    def _withdraw(self, user: User) -> None:
        self._wishes.pop(user.wish.owner, None)
        self.scaler.withdraw(user.wish.owner)
        self.story.withdrawn.append((self.clock.now, user.wish.owner))
        self._decide_soon()

    def _submit(self, what: tuple[User, Submission]) -> None:
        user, submission = what
        self._queries += 1
        flow = Flow(
            f"q-{self._queries}",
            user.wish.owner,
            submission.work,
            submission.parallel,
            self.clock.now,
            submission.guess,
        )
        self.story.submitted.append((self.clock.now, flow.query))
        self.fluid.submit(flow, self.clock.now)
        self._after_work()
        self._decide_soon()

    def _after_work(self) -> None:
        """Tell the launcher who works and who is idle, and look forward to the end of the next query."""
        now = self.clock.now
        for name, source in self.fluid.sources.items():
            working = source.used > 0.0
            if working != self._working.get(name):
                self._working[name] = working
                system = self.systems[pool_of(name)]
                machine = system.machines[name]
                machine.rests_since = inf if working else now
                self._launcher.worker_is(system.pool.name, machine, "working" if working else "idle")
                if not working:
                    self.clock.at(now + system.pool.idle, self._unneeded, machine)
        self._turn += 1
        if self.fluid.next_end < inf:
            self.clock.at(max(now, self.fluid.next_end), self._query_over, self._turn)

    def _query_over(self, turn: int) -> None:
        if turn != self._turn:
            return
        now = self.clock.now
        for flow in self.fluid.over(now):
            user = next(user for user in self.day.users if user.wish.owner == flow.owner)
            due = user.wish.due(Work(flow.query, flow.owner, flow.work, flow.parallel, flow.asked))
            self.story.ended.append(Ended(flow.query, flow.owner, flow.work, flow.asked, now, due))
        self._after_work()
        self._decide_soon()

    # --- machines ---------------------------------------------------------------------------------------------------------

    def _heard(self, system: SimulatedSystem, machine: SimulatedMachine) -> None:
        if machine.state == "booting":
            self._launcher.worker_is(system.pool.name, machine, "environment")
        else:
            self._take_out(machine)
            self._launcher.worker_is(system.pool.name, machine, "draining")

    def _has_joined(self, system: SimulatedSystem, machine: SimulatedMachine) -> None:
        self.story.joined(self.clock.now, system.pool.name)
        pool = system.pool
        self.fluid.come(Source(machine.job, pool.slots, pool.speed, pool.owner), self.clock.now)
        self._after_work()
        self._decide_soon()

    def _is_over(self, system: SimulatedSystem, machine: SimulatedMachine, lost: bool) -> None:
        self.story.over(self.clock.now, system.pool.name, machine)
        self._take_out(machine)
        if machine.joined < inf:
            self._launcher.worker_is(system.pool.name, machine, "lost" if lost else "gone")
        self._decide_soon()

    def _take_out(self, machine: SimulatedMachine) -> None:
        if machine.job in self.fluid.sources:
            self.fluid.go(machine.job, self.clock.now)
            self._working.pop(machine.job, None)
            self._after_work()

    def _unneeded(self, machine: SimulatedMachine) -> None:
        """A worker leaves that had nothing to do for so long."""
        system = self.systems[pool_of(machine.job)]
        if machine.state == "up" and self.clock.now - machine.rests_since >= system.pool.idle - 1e-6:
            self.story.left_by_themselves += 1
            system.leave(machine)

    def _answer(self, answer: Answer | Failed) -> None:
        self._launcher.answer(answer)

    # --- the master -------------------------------------------------------------------------------------------------------

    def _restart(self, with_record: bool) -> None:
        """The launcher is killed, and started again: it is told who is there."""
        self._launcher.die(with_record)
        self._begin_launcher()

    def _begin_launcher(self) -> None:
        self._launcher.begin()
        for system in self.systems.values():
            for machine in system.there:
                if machine.state == "up":
                    stage: LaunchStage = "working" if self._working.get(machine.job) else "idle"
                    self._launcher.worker_is(system.pool.name, machine, stage)

    def _hear(self, message: Message) -> None:
        """The launcher says something."""
        match message:
            case messages.TellPools():
                self.infos = {info.pool: info for info in message.pools}
                self._told_at = self.clock.now
                self._unsettled.clear()
                self._decide_soon()
            case messages.Refused():
                self.story.refused.append((self.clock.now, message.reason))

    def _let_go(self, machine: SimulatedMachine) -> None:
        self.story.let_go.append((self.clock.now, machine))

    # --- decisions --------------------------------------------------------------------------------------------------------

    def _decide_soon(self) -> None:
        due = max(self.clock.now, self._decided + self._soonest)
        if due < self._next:
            self._next = due
            self.clock.at(due, self._decide, due)

    def _decide(self, due: float) -> None:
        if due != self._next:
            return
        now = self._decided = self.clock.now
        self.fluid.pass_to(now)
        supplies = self.supplies()
        following = {supply.pool for supply in supplies}
        for pool in self.following - following:  # nobody wishes anything of it any more
            self._change(Change(pool, 0))
        self.following = following
        decision = self.scaler.decide(supplies, self.works(), now)
        self.forecasts = decision.forecasts
        for change in decision.changes:
            self._change(change)
        if self._watched is not None:
            self._watched(self, decision)
        self._next = inf
        if self.fluid.flows or self._anything:
            self._next = now + self._every
            self.clock.at(self._next, self._decide, self._next)

    def supplies(self) -> list[Supply]:
        """The pools that follow somebody's wish, as a master sees them."""
        found = []
        for name, info in self.infos.items():
            pool = self.systems[name].pool
            serves = frozenset(owner for owner in self._wishes if pool.owner in ("", owner))
            if any(not wish.pools or name in wish.pools for owner, wish in self._wishes.items() if owner in serves):
                known = _older(info, self.clock.now - self._told_at)
                found.append(supply_of(known, serves, name not in self._unsettled, pool.speed))
        return found

    def works(self) -> list[Work]:
        """What is left to do, as far as a master knows it."""
        works = []
        for flow in self.fluid.flows.values():
            known = flow.guess == 1.0 or flow.left < (1.0 - KNOWN) * flow.work
            left = flow.left if known else flow.left * flow.guess
            works.append(Work(flow.query, flow.owner, left, flow.parallel, flow.asked, known))
        return works

    def _change(self, change: Change) -> None:
        """Tell the launcher what was decided."""
        self.story.wanted.append((self.clock.now, change.pool, change.wanted))
        self._unsettled.add(change.pool)
        self._requests += 1
        if change.stops:
            self._launcher.receive(messages.StopLaunches(self._requests, change.pool, list(change.stops)))
        else:
            self._launcher.receive(messages.Scale(self._requests, change.pool, change.wanted, follows=True))


def _older(info: PoolInfo, seconds: float) -> PoolInfo:
    """What a launcher has said so long ago, as it is now."""
    launches = [msgspec.structs.replace(launch, seconds=launch.seconds + seconds) for launch in info.launches]
    return msgspec.structs.replace(info, launches=launches)
