"""What slots say of their leases, on its way up to the master. Of what is not theirs any more, nothing is passed on."""

from __future__ import annotations

from typing import Literal

from ...protocol import messages
from ...protocol.codec import Frames
from ...protocol.errors import CountError, EventmillError
from ...protocol.messages import Message
from .commits import Commits
from .leaving import Leaving
from .outbox import HOLD, Outbox, failure_of
from .states import SlotState, WorkerState


class SlotReports:
    """Passes on what slots report, and adds up what they hand over.

    Args:
        state: of the worker.
        outbox: for what the master is told.
        commits: where results go.
        leaving: while the worker drains, they are committed at once.
    """

    def __init__(self, state: WorkerState, outbox: Outbox, commits: Commits, leaving: Leaving) -> None:
        self._state = state
        self._outbox = outbox
        self._commits = commits
        self._leaving = leaving

    def progress(
        self,
        slot: SlotState,
        message: messages.Opened | messages.Described | messages.Columns | messages.Reached,
        frames: Frames,
        now: float,
    ) -> None:
        """How far a lease is, or what its file is like."""
        if (message.query, message.lease) in slot.leases:
            of_all = isinstance(message, messages.Described) or (
                isinstance(message, messages.Opened) and message.stop == message.entries
            )
            self._tell(slot, message, frames, now, patient=of_all and slot.brief)

    def truncated(self, slot: SlotState, message: messages.Truncated, frames: Frames, now: float) -> None:
        """A lease ends earlier."""
        key = (message.query, message.lease)
        if key in slot.leases:
            if message.stop == slot.leases[key].start:
                slot.close(key)
                slot.through_with(key)
            self._outbox.tell(message)

    def finished(self, slot: SlotState, message: messages.Finished, frames: Frames, now: float) -> None:
        """A lease is processed; its result is still in the slot."""
        key = (message.query, message.lease)
        slot.through_with(key)
        slot.worked = True
        if key in slot.leases:
            slot.finished[key] = message.stop
            slot.brief = message.elapsed < HOLD
            self._tell(slot, message, (), now, patient=slot.brief and self._can_wait(slot))

    def _can_wait(self, slot: SlotState) -> bool:
        """Whether a slot has been through with less than half of what it had before it, and has something more to do."""
        return bool(slot.todo) and 2 * (self._outbox.held[slot.index] + 1) < slot.given

    def _tell(self, slot: SlotState, message: Message, frames: Frames, now: float, patient: bool) -> None:
        """Pass on what a slot reports. A `patient` report, of which nobody can make anything now, waits for others: of short
        packets a slot has many, and the master hears of half of them at once.
        """
        if patient:
            self._outbox.tell_later(slot.index, message, frames, now)
        else:
            self._outbox.tell(message, frames)

    def failed(self, slot: SlotState, message: messages.Failed, frames: Frames, now: float) -> None:
        """A lease has raised. Before that ends its query, what has been added up of it is committed."""
        key = (message.query, message.lease)
        slot.through_with(key)
        if key in slot.leases:
            slot.close(key)
            query = self._state.queries[message.query]
            if message.failure.kind == "analysis" and query.setup.on_error == "fail":
                self._commits.commit(query, now)
            self._outbox.tell(message, frames)

    def skipped(self, slot: SlotState, message: messages.Skipped, frames: Frames, now: float) -> None:
        """The first entry of a query that was passed over."""
        if message.query in slot.set_up:
            self._outbox.tell(message, frames)

    def compacted(self, slot: SlotState, message: messages.Compacted, frames: Frames, now: float) -> None:
        """The objects of a total are merged."""
        if (message.query, None) in slot.todo.keys() - slot.dropped:
            self._outbox.tell(message, frames)
        slot.through_with((message.query, None))

    def let_go(self, slot: SlotState, message: messages.Revoke | messages.Release, frames: Frames, now: float) -> None:
        """The slot has dropped what it was told to."""
        lease = message.lease if isinstance(message, messages.Revoke) else None
        for key in [key for key in slot.todo if key in slot.dropped]:
            if key[0] == message.query and lease in (None, key[1]):
                slot.through_with(key)

    def handed_over(self, slot: SlotState, message: messages.Commit, frames: Frames, now: float) -> None:
        """Add a slot's partial result to the query's total.

        What may be refused goes to the master alone: a part that another slot works on too, and one that was revoked
        since. The master refuses it as a whole then, and gives the other parts back.
        """
        query = self._state.queries.get(message.query)
        live = [lease for part in message.parts if (lease := slot.leases.get((message.query, part.lease))) is not None]
        if query is None or not live:
            return
        apart = len(live) < len(message.parts) or any(lease.apart for lease in live)
        try:
            if apart:
                self._commits.apart(message, frames, now)
            else:
                self._commits.add(query, message, frames, now)
        except (EventmillError, MemoryError) as error:
            for lease in live:
                slot.close((message.query, lease.lease))
            kind: Literal["analysis", "count"] = "count" if isinstance(error, CountError) else "analysis"
            if kind == "analysis":
                self._commits.commit(query, now)
            failure = failure_of(type(error).__name__, str(error), kind)
            self._outbox.fail(message.query, [lease.lease for lease in live], failure)
            return
        for part in message.parts:
            key = (message.query, part.lease)
            if apart or slot.finished.get(key) == part.stop:
                slot.close(key)
        busy = any(number == message.query for other in self._state.slots for number, _ in other.leases)
        if apart:
            return
        if self._leaving.draining:
            self._commits.commit(query, now)
        elif not busy or self._commits.is_large(query):
            self._commits.offer(query, now)
