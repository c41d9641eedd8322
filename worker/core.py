"""The agent's decisions, without any I/O: who works on what, what waits to be committed, and when.

The agent stands between the master and its slots. It never runs user code: it passes leases down, reports up, adds up the
partial results that slots hand over, and commits them with their ranges in one message. What a slot has handed over
survives the slot; what it has not is named in `SlotDown`, and the master leases it again.

Incarnations: when the master no longer knows this worker, every lease it held is dead. The agent then replaces all slots
(a fork from the warm nursery takes milliseconds) rather than telling old results from new ones, and says hello again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..merge import Partial, Total
from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.errors import MergeError, RemoteProtocolError
from ..protocol.messages import LeaseKey, Message, Part

log = logging.getLogger(__name__)

COMMIT_INTERVAL = 0.5
"""Seconds that the oldest uncommitted range waits at most, while there is more to come."""
FIRST_INTERVAL = 0.02
"""The first commit of a query comes this soon: somebody may be watching. The next ones wait twice as long each time."""
MAX_FAILED_STARTS = 3
"""A worker whose slots end this often before they are up gives up."""
COMMIT_BYTES = 64 * 2**20
"""A total of this size is committed at once."""


@dataclass(frozen=True, slots=True)
class ToMaster:
    """Send to the master."""

    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class ToSlot:
    """Send to a slot."""

    slot: int
    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a process for a slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a slot's process."""

    slot: int


@dataclass(frozen=True, slots=True)
class Leave:
    """End this worker: why, and whether that is an error."""

    reason: str
    error: bool


Effect = ToMaster | ToSlot | Fork | Kill | Leave


@dataclass(slots=True)
class SlotState:
    """One slot: its leases in the order in which it works on them, until they are handed over."""

    index: int
    up: bool = False
    leases: dict[tuple[str, int], messages.Lease] = field(default_factory=dict)
    finished: dict[tuple[str, int], int] = field(default_factory=dict)
    set_up: set[str] = field(default_factory=set)


@dataclass(slots=True)
class QueryState:
    """What the agent holds of a query: the code for its slots, and what is not committed yet."""

    setup: messages.Setup
    analysis: Frames
    total: Total = field(default_factory=Total)
    parts: dict[int, Part] = field(default_factory=dict)
    since: float = 0.0
    interval: float = FIRST_INTERVAL

    @property
    def due(self) -> float:
        """When what is not committed must be; infinity when there is nothing."""
        return self.since + self.interval if self.parts else float("inf")


class AgentCore:
    """State of a worker.

    Args:
        hello: what to say to the master once all slots are up.
    """

    def __init__(self, hello: messages.Hello) -> None:
        self.hello = hello
        self.slots = [SlotState(index) for index in range(hello.slots)]
        self.queries: dict[str, QueryState] = {}
        self.welcome: messages.Welcome | None = None
        self.said_hello = False
        self._commits = 0
        self._failed_starts = 0
        self._spoken = 0.0
        self._effects: list[Effect] = []
        self._from_master: dict[type[Message], Callable[[Any, Frames, float], None]] = {
            messages.Welcome: self._welcome,
            messages.Setup: self._setup,
            messages.Lease: self._lease,
            messages.Truncate: self._pass_on,
            messages.Revoke: self._pass_on,
            messages.Release: self._release,
            messages.Committed: self._committed,
            messages.Compact: self._compact,
            messages.Fault: self._fault,
            messages.Unknown: self._unknown,
            messages.Bye: self._bye,
        }
        self._from_slot: dict[type[Message], Callable[[SlotState, Any, Frames, float], None]] = {
            messages.Ready: self._ready,
            messages.Opened: self._report,
            messages.Reached: self._report,
            messages.Truncated: self._truncated,
            messages.Finished: self._finished,
            messages.Failed: self._failed,
            messages.Commit: self._hand_over,
            messages.Compacted: self._compacted,
        }

    # --- what happens ---------------------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """The nursery is warm: fork the slots."""
        return [Fork(slot.index) for slot in self.slots]

    def from_master(self, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from the master."""
        handler = self._from_master.get(type(message))
        if handler is not None:
            handler(message, frames, now)
        elif not isinstance(message, messages.Heartbeat):
            log.warning("the master said %s, which is not for a worker", type(message).__name__)
        return self._done(now)

    def from_slot(self, index: int, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from a slot."""
        handler = self._from_slot.get(type(message))
        if handler is None:
            raise RemoteProtocolError(f"a slot may not say {type(message).__name__}")
        handler(self.slots[index], message, frames, now)
        return self._done(now)

    def slot_exited(self, index: int, reason: str, now: float) -> list[Effect]:
        """A slot's process has ended: report what is lost with it, and start another."""
        slot = self.slots[index]
        lost = [LeaseKey(*key) for key in slot.leases]
        for number in {key.query: None for key in lost}:
            self._commit(number)
        running = any(key not in slot.finished for key in slot.leases)
        lost.sort(key=lambda key: (key.query, key.lease) in slot.finished)
        if self.said_hello:
            self._tell(messages.SlotDown(index, lost, reason, running))
        self._failed_starts = 0 if slot.up else self._failed_starts + 1
        self.slots[index] = SlotState(index)
        if self._failed_starts < MAX_FAILED_STARTS:
            self._effects.append(Fork(index))
        else:
            self._effects.append(Leave(f"slots end before they are up, the last one {reason}", error=True))
        return self._done(now)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest; infinity before the first hello."""
        times = [query.due for query in self.queries.values()]
        if self.welcome is not None:
            times.append(self._spoken + self.welcome.heartbeat)
        return min(times, default=float("inf"))

    def expire(self, now: float) -> list[Effect]:
        """Do what is due: commits and heartbeats."""
        for number, query in self.queries.items():
            if now >= query.due:
                self._commit(number)
        if self.welcome is not None and now >= self._spoken + self.welcome.heartbeat and not self._effects:
            self._tell(messages.Heartbeat())
        return self._done(now)

    def check(self) -> None:
        """Assert the invariants."""
        for slot in self.slots:
            assert slot.finished.keys() <= slot.leases.keys()
            assert {number for number, _ in slot.leases} <= slot.set_up <= self.queries.keys()

    # --- from the master ------------------------------------------------------------------------------------------

    def _welcome(self, message: messages.Welcome, frames: Frames, now: float) -> None:
        self.welcome = message
        log.info("joined as %s with %d slots", message.peer, len(self.slots))

    def _setup(self, message: messages.Setup, frames: Frames, now: float) -> None:
        self.queries[message.query] = QueryState(message, frames)

    def _lease(self, message: messages.Lease, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is None or message.slot >= len(self.slots):
            log.warning("lease %d of %s fits no query or slot here", message.lease, message.query)
            return
        slot = self.slots[message.slot]
        if not slot.up:
            # It went down while the lease was on its way; the master has to hear of this one too.
            self._tell(messages.SlotDown(slot.index, [LeaseKey(message.query, message.lease)], "restarting", False))
            return
        if message.query not in slot.set_up:
            slot.set_up.add(message.query)
            self._effects.append(ToSlot(slot.index, query.setup, query.analysis))
        slot.leases[message.query, message.lease] = message
        self._effects.append(ToSlot(slot.index, message))

    def _pass_on(self, message: messages.Truncate | messages.Revoke, frames: Frames, now: float) -> None:
        """Tell the slot that holds a lease; when it has handed its result over already, there is nothing to tell."""
        key = (message.query, message.lease)
        for slot in self.slots:
            if key in slot.leases:
                self._effects.append(ToSlot(slot.index, message))
                if isinstance(message, messages.Revoke):
                    self._close(slot, key)

    def _release(self, message: messages.Release, frames: Frames, now: float) -> None:
        self.queries.pop(message.query, None)
        for slot in self.slots:
            if message.query in slot.set_up:
                slot.set_up.discard(message.query)
                for key in [key for key in slot.leases if key[0] == message.query]:
                    del slot.leases[key]
                    slot.finished.pop(key, None)
                self._effects.append(ToSlot(slot.index, message))

    def _committed(self, message: messages.Committed, frames: Frames, now: float) -> None:
        if not message.accepted:
            log.warning("commit %d was refused: %s", message.commit, message.reason)

    def _compact(self, message: messages.Compact, frames: Frames, now: float) -> None:
        if message.slot < len(self.slots) and self.slots[message.slot].up:
            self._effects.append(ToSlot(message.slot, message, frames))

    def _fault(self, message: messages.Fault, frames: Frames, now: float) -> None:
        log.error("the master says: %s", message.reason)
        if message.fatal:
            self._effects.append(Leave(message.reason, error=True))

    def _unknown(self, message: messages.Unknown, frames: Frames, now: float) -> None:
        if not self.said_hello:
            return
        log.warning("the master no longer knows this worker: starting afresh")
        self.welcome, self.said_hello = None, False
        self.queries.clear()
        for slot in self.slots:
            self.slots[slot.index] = SlotState(slot.index, up=slot.up)
            self._effects.append(Kill(slot.index))

    def _bye(self, message: messages.Bye, frames: Frames, now: float) -> None:
        self._effects.append(Leave("the master has ended", error=False))

    # --- from slots -----------------------------------------------------------------------------------------------

    def _ready(self, slot: SlotState, message: messages.Ready, frames: Frames, now: float) -> None:
        slot.up = True
        if self.said_hello:
            self._tell(messages.SlotUp(slot.index))
        elif all(slot.up for slot in self.slots):
            self.said_hello = True
            self._tell(self.hello)

    def _report(self, slot: SlotState, message: messages.Opened | messages.Reached, frames: Frames, now: float) -> None:
        if (message.query, message.lease) in slot.leases:
            self._tell(message)

    def _truncated(self, slot: SlotState, message: messages.Truncated, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        if key in slot.leases:
            if message.stop == slot.leases[key].start:
                self._close(slot, key)
            self._tell(message)

    def _finished(self, slot: SlotState, message: messages.Finished, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        if key in slot.leases:
            slot.finished[key] = message.stop
            self._tell(message)

    def _failed(self, slot: SlotState, message: messages.Failed, frames: Frames, now: float) -> None:
        if (message.query, message.lease) in slot.leases:
            self._close(slot, (message.query, message.lease))
            self._tell(message, frames)

    def _compacted(self, slot: SlotState, message: messages.Compacted, frames: Frames, now: float) -> None:
        self._tell(message, frames)

    def _hand_over(self, slot: SlotState, message: messages.Commit, frames: Frames, now: float) -> None:
        """Add a slot's partial result to the query's total; all its parts are of live leases, because a slot whose
        leases died was replaced or released."""
        query = self.queries.get(message.query)
        if query is None or not all((message.query, part.lease) in slot.leases for part in message.parts):
            return
        if any(slot.leases[message.query, part.lease].apart for part in message.parts):
            self._commit_apart(slot, message, frames)
            return
        try:
            query.total.add(Partial.from_frames(frames))
        except MergeError as error:
            failure = messages.Failure("analysis", "MergeError", str(error))
            for part in message.parts:
                self._close(slot, (message.query, part.lease))
                self._tell(messages.Failed(message.query, part.lease, failure))
            return
        if not query.parts:
            query.since = now
        for part in message.parts:
            before = query.parts.get(part.lease)
            query.parts[part.lease] = part if before is None else Part(part.lease, before.start, part.stop)
            key = (message.query, part.lease)
            if slot.finished.get(key) == part.stop:
                self._close(slot, key)
        busy = any(number == message.query for other in self.slots for number, _ in other.leases)
        if not busy or query.total.nbytes >= COMMIT_BYTES:
            self._commit(message.query)

    def _commit_apart(self, slot: SlotState, message: messages.Commit, frames: Frames) -> None:
        """A lease that another slot works on too may be refused: its result is kept out of the total."""
        self._commits += 1
        self._tell(messages.Commit(self._commits, message.query, message.parts), frames)
        for part in message.parts:
            self._close(slot, (message.query, part.lease))

    def _close(self, slot: SlotState, key: tuple[str, int]) -> None:
        del slot.leases[key]
        slot.finished.pop(key, None)

    # --- committing -----------------------------------------------------------------------------------------------

    def _commit(self, number: str) -> None:
        """Commit what has been added up for a query, ranges and result in one message."""
        query = self.queries[number]
        if not query.parts:
            return
        self._commits += 1
        partial = query.total.partial()
        self._tell(messages.Commit(self._commits, number, list(query.parts.values())), partial.to_frames())
        query.total, query.parts = Total(), {}
        query.interval = min(COMMIT_INTERVAL, 2 * query.interval)

    def _tell(self, message: Message, frames: Frames | list[Buffer] = ()) -> None:
        self._effects.append(ToMaster(message, frames))

    def _done(self, now: float) -> list[Effect]:
        effects, self._effects = self._effects, []
        if any(isinstance(effect, ToMaster) for effect in effects):
            self._spoken = now
        return effects
