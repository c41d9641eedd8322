"""Agents and sessions of a simulated world: the real agent core, and a session that wants its results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import msgspec
import numpy as np
from eventmill.merge import Partial, decode
from eventmill.protocol import messages as m
from eventmill.protocol.codec import Frames
from eventmill.system.content_folder import digest_of
from eventmill.worker.agent import effects
from eventmill.worker.agent.core import AgentCore

from .clock import Clock, Dial, Listener, Stopped
from .data import Bag, Counts, Plan, of_friend
from .master import PYTHON
from .slots import Slot

LOOKS = 1.0
"""How often an agent looks at the slot status."""


class Agent:
    """A worker: the real agent core, whose effects happen in virtual time.

    Args:
        speed: entries a second of each of its slots.
        same: it keeps its identity whenever it calls again.
        plans: what there is to be read.
        left: called when its process has ended by itself.
    """

    role: m.Role = "worker"

    def __init__(
        self,
        name: str,
        slots: int,
        speed: float,
        same: bool,
        plans: Callable[[bytes], Plan],
        clock: Clock,
        random: Random,
        listener: Listener,
        left: Callable[[Agent], None],
    ) -> None:
        self.name = name
        self.alive = True
        self.core = AgentCore(m.Hello("worker", name, version="test", python=PYTHON, host=name, slots=slots))
        self.dial = Dial(clock, random, self, listener, same)
        self.slots: dict[int, Slot] = {}
        self.taken = 0
        self.stored: dict[str, bytes] = {}
        self._speed = speed
        self._plans = plans
        self._clock = clock
        self._random = random
        self._left = left
        self._ahead = random.uniform(0.0, 1000.0)
        self._stopped = Stopped(clock)
        self._due = inf
        clock.after(random.uniform(0.0, 0.3), self._start)
        clock.after(LOOKS, self._look)

    @property
    def now(self) -> float:
        """Its clock."""
        return self._clock.now + self._ahead

    # --- what happens to it -----------------------------------------------------------------------------------------

    def crash(self, notice: float | None) -> None:
        """The process is killed, and with it its slots; the master notices after a while, or not."""
        if self.alive:
            self.alive = False
            for slot in self.slots.values():
                slot.end("gone with its worker")
            self.dial.close(notice)

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        self._stopped.stop(seconds)

    def jump(self, seconds: float) -> None:
        """Its clock jumps ahead."""
        self._ahead += seconds
        self._carry_out([])

    def drain(self, seconds: float) -> None:
        """It is told to be gone in so many seconds."""
        if self.alive:
            self._carry_out(self.core.drain(seconds, self.now))

    # --- what it hears ----------------------------------------------------------------------------------------------

    def connected(self, again: bool) -> None:
        if not self._absent(self.connected, again) and again:
            self._carry_out(self.core.reconnected(self.now))

    def told(self, message: m.Message, frames: Frames) -> None:
        if not self._absent(self.told, message, frames):
            self._carry_out(self.core.from_master(message, frames, self.now))

    def heard(self, slot: Slot, message: m.Message, frames: Frames) -> None:
        """A slot has said something; the last words of one that has been replaced count for nothing."""
        if not self._absent(self.heard, slot, message, frames) and self.slots[slot.index] is slot:
            self._carry_out(self.core.from_slot(slot.index, message, frames, self.now))

    def gone(self, slot: Slot, reason: str) -> None:
        """A slot's process has ended."""
        if not self._absent(self.gone, slot, reason):
            chunk = None if slot.chunk is None else replace(slot.chunk, began=slot.chunk.began + self._ahead)
            self._carry_out(self.core.slot_exited(slot.index, reason, self.now, chunk))

    def _absent(self, act: Callable[..., None], *arguments: Any) -> bool:
        """Whether it is gone, or has been stopped: then it will do this later."""
        return not self.alive or self._stopped.postpones(act, *arguments)

    # --- what it does -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._absent(self._start):
            self._carry_out(self.core.start())

    def _look(self) -> None:
        """Look at what the slots are at, and what memory they take."""
        if self._absent(self._look):
            return
        for slot in list(self.slots.values()):
            chunk = None if slot.chunk is None else replace(slot.chunk, began=slot.chunk.began + self._ahead)
            self._carry_out(self.core.look(slot.index, chunk, self.taken, self.now))
        self._clock.after(LOOKS, self._look)

    def _carry_out(self, todo: Sequence[effects.Effect]) -> None:
        for effect in todo:
            match effect:
                case effects.ToMaster():
                    self.dial.send(effect.message, effect.frames)
                case effects.ToSlot():
                    slot = self.slots[effect.slot]
                    if slot.alive:
                        slot.tell(effect.message, effect.frames)
                case effects.Store():
                    assert digest_of(effect.content) == effect.digest
                    self.stored[effect.digest] = bytes(effect.content)
                case effects.Discard():
                    self.stored.pop(effect.digest, None)
                case effects.Fork():
                    self.slots[effect.slot] = Slot(
                        effect.slot, self._speed, self._plans, self._clock, self._random, self
                    )
                case effects.Kill():
                    self.slots[effect.slot].end("killed by signal 9 (SIGKILL)")
                case effects.Order():
                    self.slots[effect.slot].order(effect)
                case effects.Leave():
                    self._leave()
                    return
        due = self.core.deadline() - self._ahead + 0.001  # a poll takes whole milliseconds
        if due < self._due:
            self._due = due
            self._clock.at(due, self._expire, due)

    def _expire(self, due: float) -> None:
        if due != self._due or self._absent(self._expire, due):
            return
        self._due = inf
        self._carry_out(self.core.expire(self.now) if self.now >= self.core.deadline() else [])

    def _leave(self) -> None:
        if self.alive:
            self.dial.send(m.Bye())
            self.crash(0.05)
            self._left(self)


class Session:
    """Submits queries, watches them, and asks for them again whenever the master has forgotten it.

    Attributes:
        trusts: nobody lies: what comes must be right.

    Args:
        plans: its queries; each begins at its own time.
        may_lose: whether the master may have lost a query that it had accepted: without a journal, or with one that could
            not be written.
    """

    role: m.Role = "session"

    def __init__(
        self,
        name: str,
        plans: list[Plan],
        clock: Clock,
        random: Random,
        listener: Listener,
        may_lose: Callable[[], bool],
    ) -> None:
        self.name = name
        self.plans = plans
        self.snapshots = 0
        self.trusts = True
        self.dial = Dial(clock, random, self, listener, same=False)
        self._clock = clock
        self._random = random
        self._may_lose = may_lose
        self._hellos = 0
        self._joined = False
        self._requests: dict[int, Plan] = {}
        self._numbers = itertools.count(1)
        for plan in plans:
            clock.at(plan.begins, self._begin, plan)
            if plan.stops is not None:
                clock.at(plan.begins + plan.stops[0], self._stop, plan)
        clock.after(1.0, self._beat)

    def again(self) -> None:
        """Forget the results that have come, and ask for them again."""
        for plan in self.plans:
            plan.ended = None
        self._attach()

    def _beat(self) -> None:
        if self._joined:
            self.dial.send(m.Heartbeat())
        self._clock.after(1.0, self._beat)

    def connected(self, again: bool) -> None:
        self._greet()

    def _greet(self) -> None:
        self._joined = False
        self._requests.clear()
        self.dial.send(m.Hello("session", self.name, version="test", python=PYTHON, incarnation=self._hellos))
        self._hellos += 1

    def _begin(self, plan: Plan, carried: Sequence[str] = ()) -> None:
        """Submit a query, with those of its attachments that the master has asked for."""
        if self._joined and plan.number is None:
            submit = msgspec.structs.replace(plan.submit, request=next(self._numbers), carried=list(carried))
            self._request(plan, submit, [*plan.submission(), *(plan.attachments[digest] for digest in carried)])

    def _stop(self, plan: Plan) -> None:
        if plan.number is None or not self._joined:
            self._clock.after(1.0, self._stop, plan)
        elif plan.stops is not None:
            self.dial.send(m.Stop(plan.number, plan.stops[1]))

    def _request(self, plan: Plan, message: Any, frames: Frames = ()) -> None:
        self._requests[message.request] = plan
        self.dial.send(message, frames)

    def _attach(self) -> None:
        """Go on with what there was. Of what was submitted and not accepted nobody knows whether it arrived: once more."""
        if not self._joined:
            return
        for plan in self.plans:
            if plan.number is not None and plan.ended is None:
                self._request(plan, m.Attach(next(self._numbers), plan.number))
            elif self._clock.now >= plan.begins:
                self._begin(plan)

    def told(self, message: m.Message, frames: Frames) -> None:
        match message:
            case m.Welcome():
                if message.incarnation == self._hellos - 1:
                    self._joined = True
                    self._attach()
            case m.Unknown():
                if self._joined:
                    self._greet()
            case m.Accepted():
                plan = self._requests.pop(message.request, None)
                if plan is not None:
                    plan.number, plan.unsaved = message.query, bool(message.unsaved)
            case m.Lacking():
                plan = self._requests.pop(message.request, None)
                if plan is not None:
                    self._begin(plan, message.digests)
            case m.Refused():
                plan = self._requests.pop(message.request, None)
                if plan is not None:
                    assert self._may_lose(), f"{plan.name}: {message.reason}"
                    plan.number = None
                    self._begin(plan)
            case m.Snapshot():
                self._see(message, frames)
            case m.Ended():
                for plan in self.plans:
                    if plan.number == message.query:
                        plan.ended, plan.frames = message, list(frames)
            case m.Progress() | m.Heartbeat() | m.Fault():
                pass
            case _:
                raise AssertionError(f"the master said {message} to a session")

    def _see(self, message: m.Snapshot, frames: Frames) -> None:
        for plan in self.plans:
            if plan.number == message.query and self.trusts:
                counts = counted(plan, frames)
                assert counts.max(initial=0) <= 1, f"{plan.name}: an entry counts twice in a snapshot"
                assert counts.sum() <= message.account.processed, f"{plan.name}: {message.account} {counts.sum()}"
        self.snapshots += 1
        self.dial.send(m.Seen(message.query))


def counted(plan: Plan, frames: Frames) -> Counts:
    """How often each entry is in a partial result."""
    value: Any = decode(Partial.from_frames(frames))
    if value is None:
        return plan.used().astype("int64") * 0
    counts: Counts = value["counts"]
    assert not counts[plan.size :].any(), f"{plan.name}: entries that there are not"
    numbers = np.arange(len(counts))
    more = (counts * (plan.weight + (of_friend(numbers) if plan.has_friends else 0))).sum()
    assert np.sum(value["more"]) == more, f"{plan.name}: {value['more']} of friends and tables, where {more} must be"
    if plan.objects:
        assert isinstance(value["bag"], Bag) and value["bag"].entries == counts.sum()
    return counts[: plan.size]
