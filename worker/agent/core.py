"""The agent's decisions, without any I/O: who works on what, what waits to be committed, and when.

The agent stands between the master and its slots. It never runs user code: it passes leases down, reports up, adds up the
partial results that slots hand over, and commits them with their ranges in one message. What a slot has handed over
survives the slot; what it has not is named in `SlotDown`, and the master leases it again.

A slot's process works for one owner's queries: what comes for another waits until it is exchanged (`turns`).

Incarnations: when the master no longer knows this worker, every lease it held is dead. The agent then replaces all slots
(a fork from the warm forkserver takes milliseconds) rather than telling old results from new ones, and says hello again.

A slot, as the agent sees it:  starting --Ready--> up --exits, or is killed--> starting
It is killed (`ending`, until its process is gone) when it stays at work that it was told to drop: user code in an endless
loop looks at no messages. What is at work is the first of its `todo`, which shrinks only by what the slot itself says.

What a slot is at, and how much memory it takes, the loop tells from time to time (`look`): one that stays at the same
entries for too long, or takes more than its share, is replaced; and so is one that is about to, once it has handed over
what it has done.

A worker whose end is known:  working --`grace` before its end--> draining --all committed, and that answered--> gone
It says `Draining` once it is welcome, and the master leases nothing that would not end in time. While it drains it gets
nothing more, what its slots have is truncated, and what they hand over is committed at once. At its end it goes, whatever
is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Any

import msgspec

from ...protocol import messages
from ...protocol.codec import Frames
from ...protocol.errors import LocalProtocolError
from ...protocol.messages import Message
from ..slot_status import AtWork
from .commits import Commits
from .effects import Effect, Fork, Leave, ToMaster
from .leaving import GRACE, Leaving
from .master_orders import MasterOrders
from .outbox import Outbox, failure_of
from .places import Places
from .presence import Presence
from .slot_lives import SlotLives
from .slot_reports import SlotReports
from .stages import WorkerStage, leads_to
from .states import PATIENCE, SlotState, WorkerState
from .turns import Turns
from .watch import SlotWatch

log = logging.getLogger(__name__)


class AgentCore:
    """A worker: what comes in goes to the part that it is for, what this part wants to be done comes out.

    Args:
        hello: what to say to the master once all slots are up; its `incarnation` counts on from there.
        grace: seconds to leave in, when it has to; 0: leave at once, with nothing handed on.
        memory: bytes that a slot may take.
        idle: seconds without anything to do after which it leaves.
        places: the folders of owners.

    Example:
        >>> core = AgentCore(messages.Hello("worker", "node1", slots=1))
        >>> core.start()
        [Fork(slot=0)]
        >>> [effect.message.name for effect in core.from_slot(0, messages.Ready(), [], now=0.0)]
        ['node1']
    """

    def __init__(
        self,
        hello: messages.Hello,
        grace: float = GRACE,
        memory: float = inf,
        idle: float = inf,
        places: Places = Places(),  # noqa: B008 - it does not change
    ) -> None:
        self.state = state = WorkerState(hello, [SlotState(index) for index in range(hello.slots)])
        self.leaving = Leaving(grace)
        self._outbox = outbox = Outbox()
        self._commits = commits = Commits(outbox, state.queries)
        self.watch = SlotWatch(outbox, memory)
        self._lives = lives = SlotLives(state, outbox, commits)
        self._presence = Presence()
        self._idle, self._asked = idle, inf
        self._checked: WorkerStage = "starting"
        self._turns = turns = Turns(state, outbox, lives, places)
        orders, reports = MasterOrders(state, outbox, commits, turns), SlotReports(state, outbox, commits, self.leaving)
        self._from_master: dict[type[Message], Callable[[Any, Frames, float], None]] = {
            messages.Welcome: self._welcome,
            messages.Setup: orders.setup,
            messages.Credentials: orders.credentials,
            messages.Attachment: orders.attachment,
            messages.Detach: orders.detach,
            messages.Lease: orders.lease,
            messages.Truncate: orders.truncate,
            messages.Revoke: orders.revoke,
            messages.Release: orders.release,
            messages.Committed: orders.committed,
            messages.Grant: orders.grant,
            messages.Compact: orders.compact,
            messages.Columns: orders.columns,
            messages.Fault: self._fault,
            messages.Unknown: self._unknown,
            messages.Drain: self._drain,
            messages.Bye: self._bye,
        }
        self._from_slot: dict[type[Message], Callable[[SlotState, Any, Frames, float], None]] = {
            messages.Ready: lives.ready,
            messages.Opened: reports.progress,
            messages.Described: reports.progress,
            messages.Columns: reports.progress,
            messages.Reached: reports.progress,
            messages.Truncated: reports.truncated,
            messages.Finished: reports.finished,
            messages.Failed: reports.failed,
            messages.Commit: reports.handed_over,
            messages.Skipped: reports.skipped,
            messages.Bye: lives.retired,
            messages.Compacted: reports.compacted,
            messages.Revoke: reports.let_go,
            messages.Release: reports.let_go,
        }

    # --- what happens ---------------------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """The forkserver is warm: fork the slots."""
        return [Fork(slot.index) for slot in self.state.slots]

    def from_master(self, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from the master. Until it has welcomed us, what it says is for the peer that we were before."""
        if self.state.welcome is None and not isinstance(message, messages.Welcome | messages.Fault | messages.Bye):
            return []
        handler = self._from_master.get(type(message))
        if isinstance(message, messages.Lease):
            self._asked = now
        if isinstance(message, messages.Lease) and self.state.has_missed(message.query):
            self._start_afresh("the master gave it entries of a query of which it has heard nothing")
        elif handler is not None:
            handler(message, frames, now)
        elif not isinstance(message, messages.Heartbeat):
            log.warning("the master said %s, which is not for a worker", type(message).__name__)
        return self._done(now)

    def reconnected(self, now: float) -> list[Effect]:
        """The connection broke and was made anew: to the master we are a new worker, with leases of nobody."""
        if self.state.said_hello:
            self._start_afresh("the connection was broken")
        return self._done(now)

    def from_slot(self, index: int, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from a slot. What one says that is about to be replaced counts for nothing."""
        slot = self.state.slots[index]
        if slot.stage == "ending":
            return []
        handler = self._from_slot.get(type(message))
        if handler is None:
            return self.slot_misbehaved(index, f"a slot may not say {type(message).__name__}", now)
        slot.heard = now
        handler(slot, message, frames, now)
        return self._done(now)

    def slot_misbehaved(self, index: int, reason: str, now: float, chunk: AtWork | None = None) -> list[Effect]:
        """A slot said what cannot be understood: its memory may be damaged, and nothing it says can be relied on."""
        slot = self.state.slots[index]
        if slot.stage != "ending":
            self._lives.replace(slot, reason, chunk)
        return self._done(now)

    def look(self, index: int, chunk: AtWork | None, taken: int, now: float) -> list[Effect]:
        """What a slot is at, and the bytes of memory that it takes."""
        slot = self.state.slots[index]
        if slot.stage == "up":
            query = self.state.queries.get(chunk.query) if chunk is not None else None
            verdict = self.watch.look(slot, query, chunk, taken, now)
            if verdict is not None:
                self._lives.replace(slot, verdict.reason, None if verdict.planned else chunk, verdict.planned)
        return self._done(now)

    def slot_exited(self, index: int, reason: str, now: float, chunk: AtWork | None = None) -> list[Effect]:
        """A slot's process has ended, at work on `chunk`: report what is lost with it, and start another."""
        self._lives.exited(index, reason, chunk)
        return self._done(now)

    def forkserver_ended(self, now: float) -> list[Effect]:
        """The process that forks slots was killed, and all slots with it; not by what they were at. `start` is to follow."""
        self._lives.all_ended("the process that starts slots was killed")
        return self._done(now)

    def unsendable(self, message: Message, reason: str, now: float) -> list[Effect]:
        """A message is over the limits of the protocol: who waits for it is told so."""
        failure = failure_of("MergeError", f"the result cannot be sent: {reason}")
        match message:
            case messages.Commit():
                self._commits.answered(message.commit, now)
                self._outbox.fail(message.query, [part.lease for part in message.parts], failure)
            case messages.Compacted():
                self._outbox.tell(messages.Compacted(message.query, message.slot, failure))
            case messages.Failed():
                self._outbox.tell(message)  # the pickled exception is what was too large
            case _:
                raise LocalProtocolError(reason)
        return self._done(now)

    def drain(self, seconds: float, now: float, why: str = "") -> list[Effect]:
        """Be gone in `seconds`, and work on until `grace` is left; of several ends the earliest counts."""
        self._end_in(seconds, now, why)
        return self._done(now)

    @property
    def is_done(self) -> bool:
        """Whether all that it was given is in the master's hands."""
        working = any(slot.waiting or not slot.is_through for slot in self.state.slots)
        return not working and self._commits.all_answered

    @property
    def stage(self) -> WorkerStage:
        """Where the worker is, of the table `stages.WORKER`."""
        if self.leaving.draining:
            return "draining"
        return "working" if self.state.welcome is not None else "joining" if self.state.said_hello else "starting"

    @property
    def choked(self) -> bool:
        """Whether slots have to wait, because the master does not answer commits."""
        return self._commits.choked

    def deadline(self) -> float:
        """When `expire` is to be called at the latest; infinity before the first hello, unless the worker's end is known."""
        state = self.state
        times = [query.due for query in state.queries.values()]
        times += [slot.due for slot in self._told_to_drop()]
        times += [self._outbox.due, self.leaving.due, inf if self.leaving.draining else self._asked + self._idle]
        if state.welcome is not None:
            times.append(self._presence.due(state.welcome, self.is_done))
        return min(times)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due: the worker's end, commits, heartbeats, and the end of slots that do not drop what they are at."""
        state = self.state
        if now >= self._asked + self._idle and not self.leaving.draining:
            self._leave_if_idle(now)
        if now >= self._outbox.due:
            self._outbox.let_go()
        if self.leaving.begins(now):
            self._begin_to_drain()
        for query in state.queries.values():
            if now >= query.due:
                self._commits.offer(query, now)
        for slot in self._told_to_drop():
            if now >= slot.due:
                self._lives.replace(slot, f"it stayed {PATIENCE:g} s at work on what it was told to drop")
        welcome, idle = state.welcome, self.is_done
        if welcome is not None and now >= self._presence.due(welcome, idle) and not self._outbox:
            self._outbox.tell(self._presence.heartbeat(welcome, idle))
        return self._done(now)

    def _told_to_drop(self) -> list[SlotState]:
        """Slots that have something before them that they are to drop; none while they cannot be heard."""
        return [] if self.choked else [slot for slot in self.state.slots if slot.dropped]

    def check(self) -> None:
        """Assert the invariants."""
        self.state.check()
        assert leads_to(self._checked, self.stage), (self._checked, self.stage)
        self._checked = self.stage
        assert not (self.leaving.draining and any(query.parts for query in self.state.queries.values()))

    # --- the worker itself ----------------------------------------------------------------------------------------

    def _welcome(self, message: messages.Welcome, frames: Frames, now: float) -> None:
        state = self.state
        if message.incarnation != state.hello.incarnation or not state.said_hello:
            return
        state.welcome, self._asked = message, now
        log.info("joined as %s with %d slots", message.peer, len(state.slots))
        if self.leaving.is_known:
            self._outbox.tell(messages.Draining(self.leaving.left(now)))

    def _fault(self, message: messages.Fault, frames: Frames, now: float) -> None:
        log.error("the master says: %s", message.reason)
        if message.fatal:
            self._outbox.add(Leave(message.reason, error=True))

    def _unknown(self, message: messages.Unknown, frames: Frames, now: float) -> None:
        self._start_afresh("the master no longer knows this worker")

    def _start_afresh(self, reason: str) -> None:
        if self.state.welcome is not None:
            self.state.hello = msgspec.structs.replace(self.state.hello, was=self.state.welcome.peer)
        self.state.welcome, self.state.said_hello, self._asked = None, False, inf
        if self.leaving.draining:
            log.warning("%s, and it is leaving anyway", reason)
            return
        log.warning("%s: starting afresh", reason)
        self._outbox.forget()
        self._lives.start_afresh()

    def _drain(self, message: messages.Drain, frames: Frames, now: float) -> None:
        log.info("the master wants this worker to leave")
        self._end_in(self.leaving.grace, now, "it was told to")

    def _bye(self, message: messages.Bye, frames: Frames, now: float) -> None:
        self._outbox.add(Leave("the master has ended", error=False))

    # --- leaving --------------------------------------------------------------------------------------------------

    def _leave_if_idle(self, now: float) -> None:
        """Nothing was asked of the worker for a while: leave, unless it is still at work on what was asked before."""
        if self.is_done:
            log.info("nothing was asked of this worker for %g s: it leaves", self._idle)
            self._end_in(self.leaving.grace, now, f"nothing was asked of it for {self._idle:g} s")
        self._asked = now

    def _end_in(self, seconds: float, now: float, why: str) -> None:
        """The worker has to be gone in `seconds`, unless it has to be earlier anyway."""
        if not self.leaving.end_in(seconds, now, why):
            return
        if self.leaving.begins(now):
            self._begin_to_drain()
        elif self.state.welcome is not None:
            self._outbox.tell(messages.Draining(self.leaving.left(now)))

    def _begin_to_drain(self) -> None:
        """Take nothing more, and commit all that there is."""
        self.leaving.begin()
        if self.state.welcome is not None:
            self._outbox.tell(messages.Draining(0.0))
        for query in self.state.queries.values():
            self._commits.commit(query)

    def _reason_to_leave(self, now: float) -> str:
        """Why a draining worker can leave now; empty while it cannot."""
        if self.state.welcome is None:
            return "it has nothing to hand on"
        if self.leaving.is_over(now):
            return "its time is over"
        return "it has drained" if self.is_done else ""

    def _done(self, now: float) -> list[Effect]:
        self._turns.go_on()
        if self.leaving.draining and (reason := self._reason_to_leave(now)):
            self._outbox.add(Leave(reason, error=False))
        effects = self._outbox.taken()
        told = [effect.message for effect in effects if isinstance(effect, ToMaster)]
        self._presence.said(told, self.state.welcome, now)
        return effects
