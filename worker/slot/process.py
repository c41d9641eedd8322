"""A slot: one process that reads, runs the user's code, and accumulates.

It works on its leases in the order in which they came, each in a `PacketRun`. Totals are handed to the agent every
`HAND_OVER` seconds, and whenever there is nothing else to do.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import zmq

from ...analysis import attachments
from ...merge import Partial, compact
from ...protocol import messages
from ...protocol.errors import LocalProtocolError
from ...protocol.messages import File, Message
from ...reading.reader_cache import ReaderCache
from ...system.hidden_memory import hide_memory
from ..agent.forkserver_client import attachments_beside, identity
from ..allocation.cores import usable_cores
from ..slot_status import COMPACTING, STATUS_BYTES, SlotStatus
from . import modules, unpacked_files
from .agent_link import AgentLink
from .failures import ERRORS, describe
from .guard import Guard, note_functions
from .handover import Handover, cannot_be_sent
from .meter import Meter
from .output import SlotOutput, show_warning
from .packet_run import PacketRun, Tools
from .packets import Compaction
from .places import cache_of, move_to
from .signals import be_a_slot
from .slot_files import SlotFiles
from .work_queue import WorkQueue

MOST_WAITING = 8
"""Messages that wait for the agent at most: a slot whose agent does not listen waits, it does not pile up results."""


def warm() -> None:
    """Import and compile what every slot needs; the forkserver does this once, before it forks."""
    import awkward  # noqa: F401
    import hist  # noqa: F401
    import uproot  # noqa: F401

    from ..kernels import compile as kernels

    kernels.warm()
    warnings.showwarning = show_warning
    note_functions()


def main(index: int, number: int, word: int, endpoint: str, cache: str, statuses: str) -> NoReturn:
    """Be slot `index`, in the `number`th process that its forkserver forks, talking to the agent at `endpoint`; the agent
    knows it by what is to be read from the descriptor `word`.
    """
    be_a_slot()
    output = SlotOutput()
    output.take_over()
    status = SlotStatus.of_slot(Path(statuses), index)
    status.on_leave = output.leave
    attachments.find_in(attachments_beside(Path(statuses)))
    socket = zmq.Context().socket(zmq.DEALER)
    with os.fdopen(word, "rb") as file:
        socket.set(zmq.IDENTITY, identity(index, number, file.read()))
    socket.set(zmq.SNDHWM, MOST_WAITING)
    socket.connect(endpoint)
    spare = usable_cores() > Path(statuses).stat().st_size // STATUS_BYTES
    SlotProcess(index, socket, Path(cache), status, spare).run(Path(statuses).parent)


class SlotProcess:
    """The loop of a slot. It never ends by itself: the forkserver ends it.

    Args:
        index: which slot of its worker it is.
        socket: to the agent.
        cache: folder for compiled kernels and modules, of the account.
        status: what the agent sees of it at any time, and has to tell it.
        spare: whether the worker has more cores than slots.
    """

    def __init__(
        self, index: int, socket: zmq.Socket[bytes], cache: Path, status: SlotStatus | None = None, spare: bool = False
    ) -> None:
        self.index = index
        self.link = AgentLink(socket)
        self.status = status or SlotStatus(bytearray(STATUS_BYTES))
        self.readers = ReaderCache()
        self.queue = WorkQueue(self.link, self.readers)
        self.files = SlotFiles(self.queue, self.readers, self.status, spare)
        self.log = logging.getLogger(__name__)
        self._guard = Guard()
        self.handover = Handover(self.queue, self.link, self._guard)
        self._tools = Tools(
            index, cache, self.link, self.status, self._guard, Meter(), self.queue, self.files, self.handover
        )
        self._turn_of = ""

    def run(self, folder: Path) -> NoReturn:
        """Say ready and hear for whom, then work on what comes, in the order in which it comes.

        Args:
            folder: the worker's private one, for temporary files.
        """
        self.link.send(messages.Ready())
        message, _ = self.link.next()
        self.belong(message, folder)
        while True:
            self.step()

    def belong(self, message: Message, folder: Path) -> None:
        """From now on the process is one owner's: it moves into this owner's folders."""
        if not isinstance(message, messages.Serve):
            raise LocalProtocolError(f"the agent said {type(message).__name__} before it said whose this slot is")
        self._tools = replace(self._tools, cache=cache_of(message.place, self._tools.cache))
        home = move_to(message.place, folder)
        unpacked_files.keep_in(home / "files")
        modules.keep_in(home / "modules")
        hide_memory(message.hidden)
        self._guard.settle()

    def step(self) -> None:
        """Wait for something to do, and do it."""
        match self.queue.next():
            case messages.Lease() as lease:
                self._take_turn(lease.query)
                self.work(lease)
                self.handover.all_due()
            case Compaction() as compaction:
                self._take_turn(compaction.query)
                self.compact(compaction)
            case None:
                self.handover.all_due()
        self.link.flush()
        if self.status.retires or not (self.queue.queries or self._tidied_up()):
            self.handover.retire()

    def work(self, lease: messages.Lease) -> None:
        """Work on one lease, and report."""
        PacketRun(self._tools, lease).run()

    def compact(self, compaction: Compaction) -> None:
        """Merge the pickled objects of a total."""
        self.status.begin(compaction.query, COMPACTING, 0, 0)
        self.status.turn_to("running")
        try:
            analysis, *frames = compaction.frames
            with self._guard:
                modules.own_modules(analysis, self._tools.cache / "modules").enter()
                merged = compact(Partial.from_frames(frames)).to_frames()
            self.link.send(messages.Compacted(compaction.query, self.index), merged)
        except ERRORS as error:
            failure, pickled = describe(cannot_be_sent(error), File(""), None, None)
            self.link.send(messages.Compacted(compaction.query, self.index, failure), pickled)
        self.status.end()

    def _take_turn(self, query: str) -> None:
        """From here on the slot is at work for this query: of what another one's code has left, it meets nothing."""
        if self._turn_of not in ("", query) and not self._tidied_up():
            self.handover.retire()
        self._turn_of = query

    def _tidied_up(self) -> bool:
        """Whether the process is as it was before the code of a query has run in it; false if it cannot be made so."""
        if self._turn_of:
            self._turn_of = ""
            if left := self._guard.tidy_up():
                self.log.info("slot %d makes room for a fresh process: a query has left %s in it", self.index, left)
                return False
        return True
