"""The lives of slots' processes: starting, up, ending, and what is lost with one that ends."""

from __future__ import annotations

import logging

import msgspec

from ...protocol import messages
from ...protocol.codec import Frames
from ...protocol.messages import LeaseKey
from ..slot_status import AtWork
from .commits import Commits
from .effects import Fork, Kill, Leave
from .outbox import Outbox
from .stages import after
from .states import SlotState, WorkerState

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""A worker whose slots end this often before they are up gives up."""


class SlotLives:
    """Starts, replaces and mourns the processes of slots.

    Args:
        state: of the worker.
        outbox: for what is to be done about processes, and what the master is told of it.
        commits: what an ended slot has handed over is committed.
    """

    def __init__(self, state: WorkerState, outbox: Outbox, commits: Commits) -> None:
        self._state = state
        self._outbox = outbox
        self._commits = commits
        self._failed_starts = 0

    def ready(self, slot: SlotState, message: messages.Ready, frames: Frames, now: float) -> None:
        """A process is up; when all are, the worker says hello."""
        state = self._state
        slot.stage = "up" if slot.stage == "up" else after(slot.stage, "ready")
        if slot.exchanged:
            slot.exchanged = False
        elif state.said_hello:
            self._outbox.tell(messages.SlotUp(slot.index))
        elif all(slot.stage == "up" for slot in state.slots):
            state.said_hello = True
            self._outbox.tell(state.hello)

    def retired(self, slot: SlotState, message: messages.Bye, frames: Frames, now: float) -> None:
        """The slot has handed over what it has done, as it was told to, and waits for its end. What it has left is not what
        takes it down.
        """
        self.replace(
            slot,
            "it has grown too large, has read with another keytab, or a query has left something in it",
            planned=True,
        )

    def replace(self, slot: SlotState, reason: str, chunk: AtWork | None = None, planned: bool = False) -> None:
        """End a slot's process, at work on `chunk`; `exited` starts another."""
        log.info("slot %d is replaced: %s", slot.index, reason)  # the master warns of it
        self._report_down(slot, reason, chunk, planned)
        self._begin_anew(slot, "replaced")
        self._outbox.add(Kill(slot.index))

    def exchange(self, slot: SlotState) -> None:
        """End a process that has nothing left to do, because the next owner must not meet it; what waits stays."""
        log.debug("slot %d gets a fresh process: what comes next is another owner's", slot.index)
        self._begin_anew(slot, "replaced")
        self._state.slots[slot.index].waiting, self._state.slots[slot.index].exchanged = slot.waiting, True
        self._outbox.add(Kill(slot.index))

    def exited(self, index: int, reason: str, chunk: AtWork | None) -> None:
        """A process has ended: report what is lost with it, and start another."""
        slot = self._state.slots[index]
        if slot.stage != "ending":
            self._report_down(slot, reason, chunk)
        self._failed_starts = self._failed_starts + 1 if slot.stage == "starting" else 0
        self._begin_anew(slot, "exited")
        if self._failed_starts < MAX_FAILED_STARTS:
            self._outbox.add(Fork(index))
        else:
            self._outbox.add(Leave(f"slots end before they are up, the last one {reason}", error=True))

    def all_ended(self, reason: str) -> None:
        """All processes were killed, and not by what they were at."""
        for slot in list(self._state.slots):
            if slot.stage != "ending":
                self._report_down(slot, reason, planned=True)
            self._begin_anew(slot, "forkserver gone")

    def start_afresh(self) -> None:
        """All leases are dead: replace all slots, and be another worker to the master."""
        state = self._state
        self._commits.forget()
        state.hello = msgspec.structs.replace(state.hello, incarnation=state.hello.incarnation + 1)
        state.queries.clear()
        for slot in list(state.slots):
            self._begin_anew(slot, "master forgot")
            self._outbox.add(Kill(slot.index))

    def _begin_anew(self, slot: SlotState, event: str) -> None:
        """Nothing that was known of a slot's process is true any more. What waits for the next one still does, unless the
        master has been told that the slot is down.
        """
        fresh = SlotState(slot.index, after(slot.stage, event))
        if slot.stage == "ending" and event != "master forgot":
            fresh.waiting, fresh.exchanged = slot.waiting, slot.exchanged
        self._state.slots[slot.index] = fresh

    def _report_down(self, slot: SlotState, reason: str, chunk: AtWork | None = None, planned: bool = False) -> None:
        """A slot's process is gone, or will be: commit what it has handed over, and report what it has not."""
        waiting = [work.key for work in slot.waiting]
        lost = [LeaseKey(query, lease) for query, lease in [*slot.leases, *waiting] if lease is not None]
        for number in {key.query: None for key in lost}:
            self._commits.commit(self._state.queries[number])
        if self._state.said_hello:
            suspects = () if planned else slot.suspects(chunk)
            self._outbox.tell(messages.SlotDown(slot.index, lost, reason, *suspects))
