"""What the master says of queries and leases, on its way down to the slots."""

from __future__ import annotations

import logging

from ...protocol import messages
from ...protocol.codec import Frames
from ...protocol.messages import LeaseKey
from .commits import Commits
from .effects import Discard, Store
from .outbox import Outbox, failure_of
from .states import QueryState, Work, WorkerState
from .turns import Turns

log = logging.getLogger(__name__)


class MasterOrders:
    """Passes down what the master wants, and notes it.

    Args:
        state: of the worker.
        outbox: for what slots are told.
        commits: which the master answers.
        turns: by which slots get their work.
    """

    def __init__(self, state: WorkerState, outbox: Outbox, commits: Commits, turns: Turns) -> None:
        self._state = state
        self._outbox = outbox
        self._commits = commits
        self._turns = turns

    def setup(self, message: messages.Setup, frames: Frames, now: float) -> None:
        """A query, whose code its slots get with their first lease of it."""
        self._state.queries.setdefault(message.query, QueryState(message, frames))

    def credentials(self, message: messages.Credentials, frames: Frames, now: float) -> None:
        """What a query's slots show to file servers from now on."""
        query = self._state.queries.get(message.query)
        if query is not None:
            query.credentials = frames
            for slot in self._state.slots:
                if message.query in slot.set_up:
                    self._outbox.to_slot(slot.index, message, frames)

    def attachment(self, message: messages.Attachment, frames: Frames, now: float) -> None:
        """A large array of an analysis, for slots to find."""
        self._outbox.add(Store(message.digest, frames[0] if frames else b""))

    def detach(self, message: messages.Detach, frames: Frames, now: float) -> None:
        """No query has this one any more."""
        self._outbox.add(Discard(message.digest))

    def lease(self, message: messages.Lease, frames: Frames, now: float) -> None:
        """Work for a slot."""
        state, outbox = self._state, self._outbox
        query = state.queries.get(message.query)
        if query is None or message.slot >= len(state.slots):
            reason = f"the worker was given entries for a query or slot that it does not have ({message.slot})"
            log.error("lease %d of %s: %s", message.lease, message.query, reason)
            outbox.fail(message.query, [message.lease], failure_of("QueryFailed", reason, kind="slot"))
            return
        if message.lease <= query.latest:
            log.warning("lease %d of %s came twice", message.lease, message.query)
            return
        query.latest = message.lease
        slot = state.slots[message.slot]
        if slot.stage != "up" and not slot.exchanged:
            # It went down while the lease was on its way; the master has to hear of this one too.
            outbox.tell(messages.SlotDown(slot.index, [LeaseKey(message.query, message.lease)], "restarting"))
            return
        self._turns.give(slot, Work(query.owner, message, frames))

    def truncate(self, message: messages.Truncate, frames: Frames, now: float) -> None:
        """Tell the slot that holds a lease; when it has handed its result over already, there is nothing to tell."""
        for slot in self._state.slots:
            if (message.query, message.lease) in slot.leases:
                self._outbox.to_slot(slot.index, message)
            self._turns.truncate(slot, message)

    def revoke(self, message: messages.Revoke, frames: Frames, now: float) -> None:
        """Another slot has committed these entries."""
        key = (message.query, message.lease)
        for slot in self._state.slots:
            if key in slot.leases:
                slot.close(key)
                slot.drop([todo for todo in slot.todo if todo == key], now)
                self._outbox.to_slot(slot.index, message)
            self._turns.revoke(slot, message)

    def release(self, message: messages.Release, frames: Frames, now: float) -> None:
        """A query is over."""
        self._state.queries.pop(message.query, None)
        for slot in self._state.slots:
            for key in [key for key in slot.leases if key[0] == message.query]:
                slot.close(key)
            dead = [key for key in slot.todo if key[0] == message.query and (key[1] is not None or not message.merging)]
            slot.drop(dead, now)
            if dead or message.query in slot.set_up:
                self._outbox.to_slot(slot.index, message)
            slot.set_up.discard(message.query)
            self._turns.release(slot, message)

    def committed(self, message: messages.Committed, frames: Frames, now: float) -> None:
        """A commit is accepted, or refused."""
        choked = self._commits.choked
        self._commits.answered(message.commit, now)
        if choked and not self._commits.choked:
            for slot in self._state.slots:
                slot.heard = now  # it could not be heard before
        if not message.accepted:
            log.warning("commit %d was refused: %s", message.commit, message.reason)

    def grant(self, message: messages.Grant, frames: Frames, now: float) -> None:
        """It is this worker's turn to commit a large result."""
        self._commits.granted(message.query, now)

    def compact(self, message: messages.Compact, frames: Frames, now: float) -> None:
        """A total whose objects a slot is to merge."""
        slots = self._state.slots
        if message.slot >= len(slots):
            failure = failure_of("QueryFailed", f"the worker has no slot {message.slot}", kind="slot")
            self._outbox.tell(messages.Compacted(message.query, message.slot, failure))
        elif slots[message.slot].stage != "up" and not slots[message.slot].exchanged:
            self._outbox.tell(messages.SlotDown(message.slot, [], "restarting"))
        else:
            self._turns.give(slots[message.slot], Work((message.user, message.owner), message, frames))

    def columns(self, message: messages.Columns, frames: Frames, now: float) -> None:
        """The types of columns that another slot has met first."""
        slots = self._state.slots
        if message.slot < len(slots) and message.query in slots[message.slot].set_up:
            self._outbox.to_slot(message.slot, message)
