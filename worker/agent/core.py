"""The agent's decisions, without any I/O: who works on what, what waits to be committed, and when.

The agent stands between the master and its slots. It never runs user code: it passes leases down, reports up, adds up the
partial results that slots hand over, and commits them with their ranges in one message. What a slot has handed over
survives the slot; what it has not is named in `SlotDown`, and the master leases it again.

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
from typing import Any, Literal

import msgspec

from ...merge import Partial, Total, entries_in
from ...protocol import messages
from ...protocol.codec import Buffer, Frames
from ...protocol.counts import miscount
from ...protocol.errors import CountError, EventmillError, LocalProtocolError
from ...protocol.messages import LeaseKey, Message, Part
from ..allocation.memory import FAR_TOO_LARGE, RETIRE, WARN, halvings, shown
from ..slot_status import AtWork
from .effects import Effect, Fork, Kill, Leave, Order, ToMaster, ToSlot
from .states import PATIENCE, QueryState, SlotState

log = logging.getLogger(__name__)

COMMIT_INTERVAL = 0.5
"""Seconds that the oldest uncommitted range waits at most, while there is more to come."""
MAX_FAILED_STARTS = 3
"""A worker whose slots end this often before they are up gives up."""
COMMIT_BYTES = 64 * 2**20
"""A total of this size is committed at once."""
GRACE = 10.0
"""Seconds that a worker takes at most to leave in good order."""
MOST_UNANSWERED = 256 * 2**20
"""Bytes in commits without an answer from which on slots have to wait: the master is slow, and nothing piles up here."""
MOST_GAPS = 10_000
"""Skipped ranges that a commit waits with: they are in its message."""
PREPARING = 120.0
"""Seconds that a slot is given at least to open a file, to compile, or to merge the objects of a total."""
LONG = 1.0
"""Seconds of the same activity after which the master is told of it."""
LONGEST_REASON = 20_000


class AgentCore:
    """State of a worker.

    Args:
        hello: what to say to the master once all slots are up; its `incarnation` counts on from there.
        grace: seconds to leave in, when it has to; 0: leave at once, with nothing handed on.
        memory: bytes that a slot may take.

    Attributes:
        draining: it is on its way out.
    """

    def __init__(self, hello: messages.Hello, grace: float = GRACE, memory: float = float("inf")) -> None:
        self.hello = hello
        self.grace = grace
        self.memory = memory
        self.slots = [SlotState(index) for index in range(hello.slots)]
        self.queries: dict[str, QueryState] = {}
        self.welcome: messages.Welcome | None = None
        self.said_hello = False
        self.draining = False
        self._drains = self._end = float("inf")
        self._commits = 0
        self._unanswered: dict[int, int] = {}
        self._failed_starts = 0
        self._spoken = 0.0
        self._effects: list[Effect] = []
        self._from_master: dict[type[Message], Callable[[Any, Frames, float], None]] = {
            messages.Welcome: self._welcome,
            messages.Setup: self._setup,
            messages.Credentials: self._credentials,
            messages.Lease: self._lease,
            messages.Truncate: self._truncate,
            messages.Revoke: self._revoke,
            messages.Release: self._release,
            messages.Committed: self._committed,
            messages.Compact: self._compact,
            messages.Columns: self._columns,
            messages.Fault: self._fault,
            messages.Unknown: self._unknown,
            messages.Drain: self._drain,
            messages.Bye: self._bye,
        }
        self._from_slot: dict[type[Message], Callable[[SlotState, Any, Frames, float], None]] = {
            messages.Ready: self._ready,
            messages.Opened: self._report,
            messages.Described: self._report,
            messages.Columns: self._report,
            messages.Reached: self._report,
            messages.Truncated: self._truncated,
            messages.Finished: self._finished,
            messages.Failed: self._failed,
            messages.Commit: self._hand_over,
            messages.Skipped: self._skipped,
            messages.Bye: self._retired,
            messages.Compacted: self._compacted,
            messages.Revoke: self._let_go,
            messages.Release: self._let_go,
        }

    # --- what happens ---------------------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """The forkserver is warm: fork the slots."""
        return [Fork(slot.index) for slot in self.slots]

    def from_master(self, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from the master. Until it has welcomed us, what it says is for the peer that we were before."""
        if self.welcome is None and not isinstance(message, messages.Welcome | messages.Fault | messages.Bye):
            return []
        handler = self._from_master.get(type(message))
        if handler is not None:
            handler(message, frames, now)
        elif not isinstance(message, messages.Heartbeat):
            log.warning("the master said %s, which is not for a worker", type(message).__name__)
        return self._done(now)

    def reconnected(self, now: float) -> list[Effect]:
        """The connection broke and was made anew: to the master we are a new worker, with leases of nobody."""
        if self.said_hello:
            self._start_afresh("the connection was broken")
        return self._done(now)

    def from_slot(self, index: int, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from a slot. What one says that is about to be replaced counts for nothing."""
        slot = self.slots[index]
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
        if self.slots[index].stage != "ending":
            self._replace(self.slots[index], reason, chunk)
        return self._done(now)

    def look(self, index: int, chunk: AtWork | None, taken: int, now: float) -> list[Effect]:
        """What a slot is at, and the bytes of memory that it takes."""
        slot = self.slots[index]
        if slot.stage == "up" and not self._overdue(slot, chunk, now):
            self._look_at_activity(slot, chunk, now)
            self._look_at_memory(slot, chunk, taken)
        return self._done(now)

    @property
    def choked(self) -> bool:
        """Whether slots have to wait, because the master does not answer commits."""
        return sum(self._unanswered.values()) >= MOST_UNANSWERED

    def unsendable(self, message: Message, reason: str, now: float) -> list[Effect]:
        """A message is over the limits of the protocol: who waits for it is told so."""
        failure = self._failure("MergeError", f"the result cannot be sent: {reason}")
        match message:
            case messages.Commit():
                self._unanswered.pop(message.commit, None)
                self._fail(message.query, [part.lease for part in message.parts], failure)
            case messages.Compacted():
                self._tell(messages.Compacted(message.query, message.slot, failure))
            case messages.Failed():
                self._tell(message)  # the pickled exception is what was too large
            case _:
                raise LocalProtocolError(reason)
        return self._done(now)

    def slot_exited(self, index: int, reason: str, now: float, chunk: AtWork | None = None) -> list[Effect]:
        """A slot's process has ended, at work on `chunk`: report what is lost with it, and start another."""
        slot = self.slots[index]
        if slot.stage != "ending":
            self._report_down(slot, reason, chunk)
        self._failed_starts = self._failed_starts + 1 if slot.stage == "starting" else 0
        self.slots[index] = SlotState(index)
        if self._failed_starts < MAX_FAILED_STARTS:
            self._effects.append(Fork(index))
        else:
            self._effects.append(Leave(f"slots end before they are up, the last one {reason}", error=True))
        return self._done(now)

    def forkserver_ended(self, now: float) -> list[Effect]:
        """The process that forks slots was killed, and all slots with it; not by what they were at. `start` is to follow."""
        for slot in self.slots:
            if slot.stage != "ending":
                self._report_down(slot, "the process that starts slots was killed", planned=True)
            self.slots[slot.index] = SlotState(slot.index)
        return self._done(now)

    def drain(self, seconds: float, now: float) -> list[Effect]:
        """Be gone in `seconds`, and work on until `grace` is left; of several ends the earliest counts."""
        self._end_in(seconds, now)
        return self._done(now)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest; infinity before the first hello, unless the worker's end is known."""
        times = [query.due for query in self.queries.values()]
        times += [slot.due for slot in self.slots if not self.choked]
        times.append(self._end if self.draining else self._drains)
        if self.welcome is not None:
            times.append(self._spoken + self.welcome.heartbeat)
        return min(times)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due: the worker's end, commits, heartbeats, and the end of slots that do not drop what they are at."""
        if now >= self._drains:
            self._begin_to_drain()
        for number, query in self.queries.items():
            if now >= query.due:
                self._commit(number)
        for slot in list(self.slots):
            if now >= slot.due and not self.choked:
                self._replace(slot, f"it stayed {PATIENCE:g} s at work on what it was told to drop")
        if self.welcome is not None and now >= self._spoken + self.welcome.heartbeat and not self._effects:
            self._tell(messages.Heartbeat())
        return self._done(now)

    def check(self) -> None:
        """Assert the invariants."""
        for slot in self.slots:
            assert slot.finished.keys() <= slot.leases.keys()
            assert {number for number, _ in slot.leases} <= slot.set_up <= self.queries.keys()
            assert slot.dropped <= slot.todo.keys()
            assert slot.leases.keys() - slot.finished.keys() <= slot.todo.keys() - slot.dropped
            assert slot.stage == "up" or not (slot.leases or slot.todo or slot.set_up)
        assert not (self.draining and any(query.parts for query in self.queries.values()))

    # --- from the master ------------------------------------------------------------------------------------------

    def _welcome(self, message: messages.Welcome, frames: Frames, now: float) -> None:
        if message.incarnation != self.hello.incarnation or not self.said_hello:
            return
        self.welcome = message
        log.info("joined as %s with %d slots", message.peer, len(self.slots))
        if self._drains < float("inf"):
            self._tell(messages.Draining(max(0.0, self._drains - now)))

    def _setup(self, message: messages.Setup, frames: Frames, now: float) -> None:
        self.queries.setdefault(message.query, QueryState(message, frames))

    def _credentials(self, message: messages.Credentials, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is not None:
            query.credentials = frames
            self._effects += [
                ToSlot(slot.index, message, frames) for slot in self.slots if message.query in slot.set_up
            ]

    def _lease(self, message: messages.Lease, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is None or message.slot >= len(self.slots):
            reason = f"the worker was given entries for a query or slot that it does not have ({message.slot})"
            log.error("lease %d of %s: %s", message.lease, message.query, reason)
            self._fail(message.query, [message.lease], self._failure("QueryFailed", reason, kind="slot"))
            return
        if message.lease <= query.latest:
            log.warning("lease %d of %s came twice", message.lease, message.query)
            return
        query.latest = message.lease
        slot = self.slots[message.slot]
        if slot.stage != "up":
            # It went down while the lease was on its way; the master has to hear of this one too.
            self._tell(messages.SlotDown(slot.index, [LeaseKey(message.query, message.lease)], "restarting"))
            return
        if message.query not in slot.set_up:
            slot.set_up.add(message.query)
            self._effects.append(ToSlot(slot.index, query.setup, query.analysis))
            if query.credentials:
                self._effects.append(ToSlot(slot.index, messages.Credentials(message.query), query.credentials))
        slot.leases[message.query, message.lease] = message
        slot.todo[message.query, message.lease] = None
        self._effects.append(ToSlot(slot.index, message, frames))

    def _truncate(self, message: messages.Truncate, frames: Frames, now: float) -> None:
        """Tell the slot that holds a lease; when it has handed its result over already, there is nothing to tell."""
        for slot in self.slots:
            if (message.query, message.lease) in slot.leases:
                self._effects.append(ToSlot(slot.index, message))

    def _revoke(self, message: messages.Revoke, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        for slot in self.slots:
            if key in slot.leases:
                self._close(slot, key)
                slot.drop([todo for todo in slot.todo if todo == key], now)
                self._effects.append(ToSlot(slot.index, message))

    def _release(self, message: messages.Release, frames: Frames, now: float) -> None:
        self.queries.pop(message.query, None)
        for slot in self.slots:
            for key in [key for key in slot.leases if key[0] == message.query]:
                self._close(slot, key)
            dead = [key for key in slot.todo if key[0] == message.query and (key[1] is not None or not message.merging)]
            slot.drop(dead, now)
            if dead or message.query in slot.set_up:
                self._effects.append(ToSlot(slot.index, message))
            slot.set_up.discard(message.query)

    def _committed(self, message: messages.Committed, frames: Frames, now: float) -> None:
        choked = self.choked
        self._unanswered.pop(message.commit, None)
        if choked and not self.choked:
            for slot in self.slots:
                slot.heard = now  # it could not be heard before
        if not message.accepted:
            log.warning("commit %d was refused: %s", message.commit, message.reason)

    def _compact(self, message: messages.Compact, frames: Frames, now: float) -> None:
        if message.slot >= len(self.slots):
            failure = self._failure("QueryFailed", f"the worker has no slot {message.slot}", kind="slot")
            self._tell(messages.Compacted(message.query, message.slot, failure))
        elif self.slots[message.slot].stage != "up":
            self._tell(messages.SlotDown(message.slot, [], "restarting"))
        else:
            self.slots[message.slot].todo[message.query, None] = None
            self._effects.append(ToSlot(message.slot, message, frames))

    def _columns(self, message: messages.Columns, frames: Frames, now: float) -> None:
        if message.slot < len(self.slots) and message.query in self.slots[message.slot].set_up:
            self._effects.append(ToSlot(message.slot, message))

    def _fault(self, message: messages.Fault, frames: Frames, now: float) -> None:
        log.error("the master says: %s", message.reason)
        if message.fatal:
            self._effects.append(Leave(message.reason, error=True))

    def _unknown(self, message: messages.Unknown, frames: Frames, now: float) -> None:
        self._start_afresh("the master no longer knows this worker")

    def _start_afresh(self, reason: str) -> None:
        self.welcome, self.said_hello = None, False
        if self.draining:
            log.warning("%s, and it is leaving anyway", reason)
            return
        log.warning("%s: starting afresh", reason)
        self._unanswered.clear()
        self.hello = msgspec.structs.replace(self.hello, incarnation=self.hello.incarnation + 1)
        self.queries.clear()
        for index in range(len(self.slots)):
            self.slots[index] = SlotState(index, "ending")
            self._effects.append(Kill(index))

    def _drain(self, message: messages.Drain, frames: Frames, now: float) -> None:
        log.info("the master wants this worker to leave")
        self._end_in(self.grace, now)

    def _bye(self, message: messages.Bye, frames: Frames, now: float) -> None:
        self._effects.append(Leave("the master has ended", error=False))

    # --- from slots -----------------------------------------------------------------------------------------------

    def _ready(self, slot: SlotState, message: messages.Ready, frames: Frames, now: float) -> None:
        slot.stage = "up"
        if self.said_hello:
            self._tell(messages.SlotUp(slot.index))
        elif all(slot.stage == "up" for slot in self.slots):
            self.said_hello = True
            self._tell(self.hello)

    def _report(
        self,
        slot: SlotState,
        message: messages.Opened | messages.Described | messages.Columns | messages.Reached,
        frames: Frames,
        now: float,
    ) -> None:
        if (message.query, message.lease) in slot.leases:
            self._tell(message, frames)

    def _truncated(self, slot: SlotState, message: messages.Truncated, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        if key in slot.leases:
            if message.stop == slot.leases[key].start:
                self._close(slot, key)
                slot.through_with(key)
            self._tell(message)

    def _finished(self, slot: SlotState, message: messages.Finished, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        slot.through_with(key)
        slot.worked = True
        if key in slot.leases:
            slot.finished[key] = message.stop
            self._tell(message)

    def _failed(self, slot: SlotState, message: messages.Failed, frames: Frames, now: float) -> None:
        key = (message.query, message.lease)
        slot.through_with(key)
        if key in slot.leases:
            self._close(slot, key)
            self._tell(message, frames)

    def _skipped(self, slot: SlotState, message: messages.Skipped, frames: Frames, now: float) -> None:
        if message.query in slot.set_up:
            self._tell(message, frames)

    def _retired(self, slot: SlotState, message: messages.Bye, frames: Frames, now: float) -> None:
        """The slot has handed over what it has done, as it was told to, and waits for its end. What it has left is not what
        takes it down.
        """
        self._replace(
            slot,
            "it has grown too large, has read with another keytab, or a query has left something in it",
            planned=True,
        )

    def _compacted(self, slot: SlotState, message: messages.Compacted, frames: Frames, now: float) -> None:
        if (message.query, None) in slot.todo.keys() - slot.dropped:
            self._tell(message, frames)
        slot.through_with((message.query, None))

    def _let_go(self, slot: SlotState, message: messages.Revoke | messages.Release, frames: Frames, now: float) -> None:
        """The slot has dropped what it was told to."""
        lease = message.lease if isinstance(message, messages.Revoke) else None
        for key in [key for key in slot.todo if key in slot.dropped]:
            if key[0] == message.query and lease in (None, key[1]):
                slot.through_with(key)

    def _hand_over(self, slot: SlotState, message: messages.Commit, frames: Frames, now: float) -> None:
        """Add a slot's partial result to the query's total.

        What may be refused goes to the master alone: a part that another slot works on too, and one that was revoked
        since. The master refuses it as a whole then, and gives the other parts back.
        """
        query = self.queries.get(message.query)
        live = [lease for part in message.parts if (lease := slot.leases.get((message.query, part.lease))) is not None]
        if query is None or not live:
            return
        try:
            if len(live) < len(message.parts) or any(lease.apart for lease in live):
                self._check_count(message, entries_in(frames))
                self._commit_apart(slot, message, frames)
                return
            partial = Partial.from_frames(frames)
            self._check_count(message, partial.entries)
            query.total.add(partial)
        except (EventmillError, MemoryError) as error:
            for lease in live:
                self._close(slot, (message.query, lease.lease))
            kind: Literal["analysis", "count"] = "count" if isinstance(error, CountError) else "analysis"
            failure = self._failure(type(error).__name__, str(error), kind)
            self._fail(message.query, [lease.lease for lease in live], failure)
            return
        if not query.parts:
            query.since = now
        for part in message.parts:
            before = query.parts.get(part.lease)
            query.gaps += len(part.gaps)
            together = Part(part.lease, before.start, part.stop, [*before.gaps, *part.gaps]) if before else part
            query.parts[part.lease] = together
            key = (message.query, part.lease)
            if slot.finished.get(key) == part.stop:
                self._close(slot, key)
        busy = any(number == message.query for other in self.slots for number, _ in other.leases)
        if not busy or self.draining or query.total.nbytes >= COMMIT_BYTES or query.gaps >= MOST_GAPS:
            self._commit(message.query)

    @staticmethod
    def _check_count(message: messages.Commit, counted: int) -> None:
        """What a slot hands over is to count the entries of its packets; CountError if not."""
        parts = [(part.lease, part.start, part.stop) for part in message.parts]
        if wrong := miscount(counted, parts, sum(part.skipped for part in message.parts)):
            raise CountError(f"query {message.query}: {wrong}")

    def _commit_apart(self, slot: SlotState, message: messages.Commit, frames: Frames) -> None:
        """Commit what may be refused without adding it to the total."""
        self._tell_commit(message.query, message.parts, frames)
        for part in message.parts:
            self._close(slot, (message.query, part.lease))

    def _close(self, slot: SlotState, key: tuple[str, int]) -> None:
        """A lease is not this slot's any more: its result is in other hands, or it is dead."""
        slot.leases.pop(key, None)
        slot.finished.pop(key, None)

    # --- slots that go --------------------------------------------------------------------------------------------

    def _report_down(self, slot: SlotState, reason: str, chunk: AtWork | None = None, planned: bool = False) -> None:
        """A slot's process is gone, or will be: commit what it has handed over, and report what it has not."""
        lost = [LeaseKey(*key) for key in slot.leases]
        for number in {key.query: None for key in lost}:
            self._commit(number)
        if self.said_hello:
            suspects = () if planned else slot.suspects(chunk)
            self._tell(messages.SlotDown(slot.index, lost, reason, *suspects))

    def _replace(self, slot: SlotState, reason: str, chunk: AtWork | None = None, planned: bool = False) -> None:
        """End a slot's process; `slot_exited` starts another."""
        log.warning("slot %d is replaced: %s", slot.index, reason)
        self._report_down(slot, reason, chunk, planned)
        self.slots[slot.index] = SlotState(slot.index, "ending")
        self._effects.append(Kill(slot.index))

    def _overdue(self, slot: SlotState, chunk: AtWork | None, now: float) -> bool:
        """Replace a slot that is at the same entries for longer than its query allows."""
        query = self.queries.get(chunk.query) if chunk is not None else None
        if chunk is None or query is None:
            return False
        prepares = chunk.start == chunk.stop
        limit = max(query.setup.timeout, PREPARING) if prepares else query.setup.timeout
        if now - chunk.began <= limit:
            return False
        what = "preparing" if prepares else "at work on the same entries"
        self._replace(slot, f"ended after {limit:g} s {what}: an endless loop? (timeout= of process)", chunk)
        return True

    def _look_at_activity(self, slot: SlotState, chunk: AtWork | None, now: float) -> None:
        """Tell the master what a slot has been doing for long, and once more when it does something else."""
        lease = slot.leases.get((chunk.query, chunk.lease)) if chunk is not None else None
        if chunk is None or lease is None or chunk.since == slot.told:
            return
        seconds = max(0.0, now - chunk.since)
        if seconds >= LONG or slot.told:
            slot.told = chunk.since if seconds >= LONG else 0.0
            self._tell(messages.Doing(chunk.query, chunk.lease, chunk.doing, seconds, lease.file.path))

    def _look_at_memory(self, slot: SlotState, chunk: AtWork | None, taken: int) -> None:
        """Have a slot that grows take smaller chunks, or make room for a fresh process; end one that does not, or is far too
        large.
        """
        told = slot.order is not None and slot.order.retire
        if slot.todo and (taken > FAR_TOO_LARGE * self.memory or (told and taken > self.memory)):
            more = f"ended because it needed {shown(taken)}, more than the {shown(self.memory)} a slot has (--memory)"
            self._replace(slot, more, chunk)
        elif taken >= RETIRE * self.memory and slot.worked and not slot.todo:
            self._replace(slot, f"it takes {shown(taken)} of {shown(self.memory)}, and does nothing", planned=True)
        else:
            soon = 2 * taken - slot.taken  # at the next look, if it goes on like this
            retire = taken >= RETIRE * self.memory or (taken >= WARN * self.memory and soon > self.memory)
            order = Order(slot.index, halvings(taken, self.memory), retire)
            if order != (slot.order or Order(slot.index, 0, False)):
                if taken >= WARN * self.memory and (slot.order is None or order.retire):
                    log.warning("slot %d takes %s of %s", slot.index, shown(taken), shown(self.memory))
                slot.order = order
                self._effects.append(order)
        slot.taken = taken

    # --- leaving --------------------------------------------------------------------------------------------------

    def _end_in(self, seconds: float, now: float) -> None:
        """The worker has to be gone in `seconds`, unless it has to be earlier anyway."""
        if now + seconds >= self._end:
            return
        self._end = now + seconds
        if self.draining:
            return
        self._drains = now + max(0.0, seconds - self.grace)
        if self._drains == now:
            self._begin_to_drain()
        elif self.welcome is not None:
            self._tell(messages.Draining(self._drains - now))

    def _begin_to_drain(self) -> None:
        """Take nothing more, and commit all that there is."""
        self.draining, self._drains = True, float("inf")
        if self.welcome is not None:
            self._tell(messages.Draining(0.0))
        for number in self.queries:
            self._commit(number)

    def _reason_to_leave(self, now: float) -> str:
        """Why a draining worker can leave now; empty while it cannot."""
        if self.welcome is None:
            return "it has nothing to hand on"
        if now >= self._end:
            return "its time is over"
        working = any(slot.leases or slot.todo.keys() - slot.dropped for slot in self.slots)
        return "" if working or self._unanswered else "it has drained"

    # --- committing -----------------------------------------------------------------------------------------------

    def _commit(self, number: str) -> None:
        """Commit what has been added up for a query, ranges and result in one message."""
        query = self.queries[number]
        if not query.parts:
            return
        self._tell_commit(number, list(query.parts.values()), query.total.partial().to_frames())
        query.total, query.parts, query.gaps = Total(), {}, 0
        query.interval = min(COMMIT_INTERVAL, 2 * query.interval)

    def _tell_commit(self, query: str, parts: list[Part], frames: Frames | list[Buffer]) -> None:
        self._commits += 1
        self._unanswered[self._commits] = sum(len(frame) for frame in frames)
        self._tell(messages.Commit(self._commits, query, parts), frames)

    def _fail(self, query: str, leases: list[int], failure: messages.Failure) -> None:
        for lease in leases:
            self._tell(messages.Failed(query, lease, failure))

    @staticmethod
    def _failure(error: str, message: str, kind: Literal["analysis", "slot", "count"] = "analysis") -> messages.Failure:
        return messages.Failure(kind, error, message[:LONGEST_REASON])

    def _tell(self, message: Message, frames: Frames | list[Buffer] = ()) -> None:
        self._effects.append(ToMaster(message, frames))

    def _done(self, now: float) -> list[Effect]:
        if self.draining and (reason := self._reason_to_leave(now)):
            self._effects.append(Leave(reason, error=False))
        effects, self._effects = self._effects, []
        if any(isinstance(effect, ToMaster) for effect in effects):
            self._spoken = now
        return effects
