"""Whose a slot's process is: it works for the queries of one owner, and then it ends.

What the master gives to a slot while its process is another owner's waits here, in the order in which it came. Once the
process has done and handed over all that it has, it is exchanged for a fresh one, a fork of the forkserver, in which no code
of a user's has run. To the master the slot is up all the time.

The master gives a slot leases of another owner only when it has none left (`master.owners`), so that hardly anything ever
waits. But it is here, whatever the master says, that no two owners meet in a process.
"""

from __future__ import annotations

import msgspec

from ...protocol import messages
from .outbox import Outbox
from .places import Places
from .slot_lives import SlotLives
from .states import SlotState, Work, WorkerState


class Turns:
    """Gives slots what the master has for them, when it is their owner's turn.

    Args:
        state: of the worker.
        outbox: for what slots, and the master, are told.
        lives: exchanges processes.
        places: the folders of owners.
    """

    def __init__(self, state: WorkerState, outbox: Outbox, lives: SlotLives, places: Places) -> None:
        self._places = places
        self._state = state
        self._outbox = outbox
        self._lives = lives

    def give(self, slot: SlotState, work: Work) -> None:
        """Work for a slot that is up, to the master at least."""
        slot.waiting.append(work)
        self._go_on(slot)

    def go_on(self) -> None:
        """Give slots what has waited for its turn."""
        for slot in list(self._state.slots):
            self._go_on(slot)

    def _go_on(self, slot: SlotState) -> None:
        while slot.waiting and slot.stage == "up":
            if slot.owner not in (None, slot.waiting[0].owner):
                if slot.is_through:
                    self._lives.exchange(slot)
                return
            self._hand_down(slot, slot.waiting.popleft())

    def _hand_down(self, slot: SlotState, work: Work) -> None:
        outbox, message = self._outbox, work.message
        if slot.owner is None:
            slot.owner = work.owner
            place, hidden = self._places.of(work.owner), self._places.hides(work.owner)
            outbox.to_slot(slot.index, messages.Serve(*work.owner, place, hidden))
        slot.met.add(message.query)
        if isinstance(message, messages.Lease):
            query = self._state.queries[message.query]
            if message.query not in slot.set_up:
                slot.set_up.add(message.query)
                outbox.to_slot(slot.index, query.setup, query.analysis)
                if query.credentials:
                    outbox.to_slot(slot.index, messages.Credentials(message.query), query.credentials)
            slot.leases[message.query, message.lease] = message
        slot.todo[work.key] = None
        slot.given = len(slot.todo)
        outbox.to_slot(slot.index, message, work.frames)

    def truncate(self, slot: SlotState, message: messages.Truncate) -> None:
        """Shorten a lease that waits, as a slot does."""
        for position, work in enumerate(slot.waiting):
            lease = work.message
            if isinstance(lease, messages.Lease) and work.key == (message.query, message.lease):
                stop = max(lease.start, min(lease.stop, message.stop))
                if stop > lease.start:
                    shorter = msgspec.structs.replace(lease, stop=stop)
                    slot.waiting[position] = Work(work.owner, shorter, work.frames)
                else:
                    del slot.waiting[position]
                self._outbox.tell(messages.Truncated(message.query, message.lease, stop))
                return

    def revoke(self, slot: SlotState, message: messages.Revoke) -> None:
        """Forget a lease that waits."""
        for work in [work for work in slot.waiting if work.key == (message.query, message.lease)]:
            slot.waiting.remove(work)

    def release(self, slot: SlotState, message: messages.Release) -> None:
        """Forget what waits of a query that is over."""
        for work in [work for work in slot.waiting if work.message.query == message.query]:
            if work.key[1] is not None or not message.merging:
                slot.waiting.remove(work)
