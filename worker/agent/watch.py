"""What slots are at, for how long, and how much memory they take: which of them have to make room for a fresh process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ...protocol import messages
from ..allocation.memory import FAR_TOO_LARGE, RETIRE, WARN, halvings, shown
from ..slot_status import AtWork
from .effects import Order
from .outbox import Outbox
from .states import QueryState, SlotState

log = logging.getLogger(__name__)

PREPARING = 120.0
"""Seconds that a slot is given at least to open a file, to compile, or to merge the objects of a total."""
LONG = 1.0
"""Seconds of the same activity after which the master is told of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A slot is to be replaced: why, and whether that is nobody's fault."""

    reason: str
    planned: bool = False


class SlotWatch:
    """Looks at slots that are up.

    Args:
        outbox: for what the master is told of slots, and slots of their memory.
        memory: bytes that a slot may take.
    """

    def __init__(self, outbox: Outbox, memory: float) -> None:
        self._outbox = outbox
        self.memory = memory

    def look(
        self, slot: SlotState, query: QueryState | None, chunk: AtWork | None, taken: int, now: float
    ) -> Verdict | None:
        """What to do about a slot at work on a chunk of a query, which takes so many bytes; None: let it go on."""
        if chunk is not None and query is not None and (verdict := _overdue(query, chunk, now)):
            return verdict
        if chunk is not None:
            self._tell_activity(slot, chunk, now)
        verdict = self._too_large(slot, taken)
        if verdict is None:
            self._order(slot, taken)
        slot.taken = taken
        return verdict

    def _tell_activity(self, slot: SlotState, chunk: AtWork, now: float) -> None:
        """Tell the master what a slot has been doing for long, and once more when it does something else."""
        lease = slot.leases.get((chunk.query, chunk.lease))
        if lease is None or chunk.since == slot.told:
            return
        seconds = max(0.0, now - chunk.since)
        if seconds >= LONG or slot.told:
            slot.told = chunk.since if seconds >= LONG else 0.0
            self._outbox.tell(messages.Doing(chunk.query, chunk.lease, chunk.doing, seconds, lease.file.path))

    def _too_large(self, slot: SlotState, taken: int) -> Verdict | None:
        """Whether a slot has to go: one that was told to make room and does not, or is far too large, or does nothing."""
        told = slot.order is not None and slot.order.retire
        if slot.todo and (taken > FAR_TOO_LARGE * self.memory or (told and taken > self.memory)):
            return Verdict(
                f"ended because it needed {shown(taken)}, more than the {shown(self.memory)} a slot has (--memory)"
            )
        if taken >= RETIRE * self.memory and slot.worked and not (slot.todo or slot.leases):
            return Verdict(f"it takes {shown(taken)} of {shown(self.memory)}, and does nothing", planned=True)
        return None

    def _order(self, slot: SlotState, taken: int) -> None:
        """Have a slot that grows take smaller chunks, or make room for a fresh process."""
        soon = 2 * taken - slot.taken  # at the next look, if it goes on like this
        retire = taken >= RETIRE * self.memory or (taken >= WARN * self.memory and soon > self.memory)
        order = Order(slot.index, halvings(taken, self.memory), retire)
        if order != (slot.order or Order(slot.index, 0, False)):
            if taken >= WARN * self.memory and (slot.order is None or order.retire):
                log.warning("slot %d takes %s of %s", slot.index, shown(taken), shown(self.memory))
            slot.order = order
            self._outbox.add(order)


def _overdue(query: QueryState, chunk: AtWork, now: float) -> Verdict | None:
    """Whether a slot is at the same entries for longer than its query allows."""
    prepares = chunk.start == chunk.stop
    limit = max(query.setup.timeout, PREPARING) if prepares else query.setup.timeout
    if now - chunk.began <= limit:
        return None
    what = "preparing" if prepares else "at work on the same entries"
    return Verdict(f"ended after {limit:g} s {what}: an endless loop? (timeout= of process)")
