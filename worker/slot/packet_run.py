"""A lease at work in a slot, from its beginning to its report: this is the way that every entry goes.

The source is opened, and the master told of it; then chunk after chunk is taken from the source, analysed, and measured;
at the end the packet's result joins the query's. It is accumulated apart until then: a packet that fails leaves no trace.

In a query that skips errors, a chunk that raises is taken apart (`worker.slot.isolation`). From the first one on, the
result of each chunk is put aside when it is done, so that the next one can fail without it; the packet in hand, whose chunks
were not, is begun again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...analysis import once
from ...merge import Total
from ...protocol import messages
from ...protocol.counts import miscount
from ...protocol.errors import CountError, EventmillError
from ...protocol.foreign import forget_frames
from ...protocol.messages import Part
from ...reading.aux_files import keep_in
from ...reading.selection import Selection, listed
from ...reading.source import Source
from ...reading.storage.credentials import fits, turn_to
from ...reading.view import OpenFile
from ..slot_status import SlotStatus
from .agent_link import AgentLink
from .failures import ERRORS, describe
from .guard import Guard
from .handover import MOST_GROWN, Handover
from .isolation import MOST_FAULTS, Fault, Isolation, gaps
from .meter import Meter
from .packets import Packet, packet_end
from .seeding import place_of
from .slot_files import SlotFiles
from .tasks import Task, load
from .work_queue import WorkQueue

TELL = 0.25
"""How often, at most, a slot says where it is in a packet; in a long one it says so `TIMES_TOLD` times."""
TIMES_TOLD = 8


@dataclass(frozen=True, slots=True)
class Tools:
    """What all packets of a slot are worked on with, one after the other.

    Attributes:
        index: which slot it is.
        cache: folder for compiled kernels and the user's modules.
    """

    index: int
    cache: Path
    link: AgentLink
    status: SlotStatus
    guard: Guard
    meter: Meter
    queue: WorkQueue
    files: SlotFiles
    handover: Handover


class PacketRun:
    """A lease at work.

    Args:
        tools: the slot's.
        lease: of a query that the slot has been told of.

    Example:
        >>> PacketRun(tools, lease).run()                                                        # doctest: +SKIP
    """

    def __init__(self, tools: Tools, lease: messages.Lease) -> None:
        self.lease = lease
        self.running = tools.queue.queries[lease.query]
        self.packet = Packet(self.running, lease)
        self._tools = tools
        self._link = tools.link
        self._status = tools.status
        self._prefetch = tools.files.prefetch
        self._compiling = self._opening = self._late = 0.0

    def run(self) -> None:
        """Work on the lease to its end, its time limit, or an error, and report."""
        tools, lease = self._tools, self.lease
        if lease.apart:
            tools.handover.of(self.running)
        tools.queue.at_work = self.packet
        tools.meter.begin()
        self._status.begin(lease.query, lease.lease, lease.start, lease.start)
        self._status.turn_to("loading")
        try:
            if not fits(self.running.credential_set):
                tools.handover.retire()
            turn_to(self.running.credential_set)
            keep_in(tools.cache / "aux")
            began = time.monotonic()
            self._task = self._loaded()
            self._task.enter()
            self._compiling = time.monotonic() - began
            self._work()
        except ERRORS as error:
            self._fail(error)
        self._status.end()
        tools.queue.at_work = None
        if lease.apart:
            tools.handover.of(self.running)

    def _loaded(self) -> Task:
        """The query's task; unpickled, if this is its first packet here."""
        running, tools = self.running, self._tools
        if running.task is None:
            at = np.frombuffer(self._status.at, np.int64)
            with tools.guard:
                running.task = load(
                    running.setup, running.blob, tools.cache, self.lease.file.kind, at, tools.guard, running.rows
                )
        return running.task

    def _fail(self, error: BaseException) -> None:
        """Report an error that ends the packet, and forget what came of it."""
        task = self.running.task
        start, stop = self.packet.at_fault(None if task is None else task.entry)
        failure, pickled = describe(error, self.lease.file, start, stop)
        self._tools.handover.before(failure, self.running)
        self._link.send(messages.Failed(self.lease.query, self.lease.lease, failure), pickled)
        self._prefetch.drop()
        if failure.kind == "data":
            self._tools.files.drop(self.running, self.lease)
        if task is not None:
            task.discard()

    def _work(self) -> None:
        waited, began = self._prefetch.waited, time.monotonic()
        self._task.meet(self.lease.file)
        file = self._open()
        self._opening, self._late = time.monotonic() - began, self._prefetch.waited - waited
        self._task.turn_to(place_of(self.lease.file, file))
        if self.packet.revoked:
            return
        if not self.running.prepared:
            self._prepare()
            self.running.prepared = True
        began = time.monotonic()
        if self._analyse():
            self.packet.source.check_unchanged()
            once.check_unchanged()
            self._finish(time.monotonic() - began, self._prefetch.waited - waited)

    # --- opening --------------------------------------------------------------------------------------------------

    def _open(self) -> OpenFile | None:
        """Find where the entries come from: their file, or for cycles and items what stands for it."""
        lease, running, packet = self.lease, self.running, self.packet
        began = time.monotonic(), time.process_time()
        self._status.turn_to("opening")
        if lease.file.kind != "tree":
            packet.source = running.made(lease.file, self._tools.cache)
            running.chunks.hear(lease.calls)
            return None
        file = self._tools.files.open(running, lease)
        running.chunks.hear(lease.calls)
        self._prefetch.opened(file, began)
        news = file.news()
        self._task.look_at(file)
        packet.source = self._selected(file)
        self._tell(news)
        self._check_columns(file, self._task.branches or ())
        self._link.flush()
        return file

    def _tell(self, news: bytes) -> None:
        """Have the master hand on what is known of the file to the next slots that open it."""
        if news:
            self._link.add(messages.Described(self.lease.query, self.lease.lease, self.lease.file.path), [news])

    def _selected(self, file: OpenFile) -> Source:
        """What of a file the packet is about: all, or its listed entries. Who opens the file tells the master of it."""
        lease, packet, branches = self.lease, self.packet, self._task.branches
        mask = self.running.mask if lease.opening else None
        entry_list = listed(file, lease.runs, mask)
        if entry_list is not None:
            packet.selection = Selection(file, entry_list, lease.start, branches)
        if lease.opening:
            layout = (packet.selection or file).layout(branches)
            packet.stop = packet_end(layout, lease.stop)
            left = None if entry_list is None or mask is None else entry_list.runs()
            clusters = list(layout.clusters)
            known = layout.entries, packet.stop, clusters, layout.identity, left, layout.place
            self._link.add(messages.Opened(lease.query, lease.lease, *known))
        return packet.selection or file

    def _check_columns(self, file: OpenFile, branches: Iterable[str]) -> None:
        """Check that columns are what they are in other files, and tell the master what it has to know of them."""
        of = self.lease.file.tree if self._task.has_parts else ""
        types, filled = self.running.schema_check.check(file, branches, of)
        if types or filled:
            self._link.add(messages.Columns(self.lease.query, self.lease.lease, types, filled, self._tools.index))

    def _prepare(self) -> None:
        """Have the task compile what it has to, while its first data is on its way."""
        source: Source = self.packet.source
        if source.file is not None and self._task.branches is not None:
            self._status.turn_to("reading")
            source = self._tools.files.first(self.packet, self._task.branches)
        self._status.turn_to("compiling")
        began = time.monotonic()
        self._task.prepare(source, self.lease.file)
        if source.file is not None:
            self._check_columns(source.file, self._task.branches or ())
        self._compiling += time.monotonic() - began

    # --- chunks ---------------------------------------------------------------------------------------------------

    def _analyse(self) -> bool:
        """Analyse chunk after chunk, to the packet's end or until its time is over; false when it was taken back."""
        lease, packet, chunks = self.lease, self.packet, self.running.chunks
        started = told = time.monotonic()
        excused = 0.0
        interval = max(TELL, lease.seconds / TIMES_TOLD)
        while packet.position < packet.stop or packet.chunks == 0:
            self._link.flush()
            packet.begin(self._tools.files.chunk_end(packet))
            chunk_began = time.monotonic()
            if not self._analyse_chunk():
                continue
            self._check_touched()
            now = time.monotonic()
            excused += self._learn(now - chunk_began)
            self._tools.queue.listen()
            if packet.revoked or lease.query not in self._tools.queue.queries:
                self._task.discard()
                return False
            late = now - started - excused > lease.seconds and (chunks.settled or lease.chunk is not None)
            full = len(packet.gaps) >= MOST_FAULTS or self._task.held >= MOST_GROWN
            if late or full or self._status.retires:
                break
            if now - told > interval and packet.position < packet.stop:
                told = now
                self._link.send(messages.Reached(lease.query, lease.lease, packet.position))
        return True

    def _analyse_chunk(self) -> bool:
        """Analyse the chunk in hand, but for entries that raise and may be skipped; false when the packet begins again."""
        lease, packet, task = self.lease, self.packet, self._task
        try:
            self._status.begin(lease.query, lease.lease, packet.position, packet.chunk_stop)
            self._status.turn_to("reading")
            at_hand = self._at_hand()
            self._status.turn_to("running")
            with self._tools.guard:
                task.run(at_hand, lease.file, packet.position, packet.chunk_stop)
        except ERRORS as error:
            packet.source.check_unchanged()
            if not isinstance(error, EventmillError):
                self._check_touched()  # lists instead of numbers would be what is wrong
            if packet.chunk_stop == packet.position or not self.running.may_skip(lease, error):
                raise
            self.running.passes_over = True
            if packet.aside is None and not task.all_or_nothing:
                task.discard()
                packet.begin_again()
                return False
            self._pass_over(error)
        if packet.aside is not None:
            packet.aside.add(task.take())
        self._status.end()
        return True

    def _at_hand(self) -> Source:
        """What the task runs over: the chunk in hand, with what was read of it ahead. What comes next is read meanwhile."""
        packet = self.packet
        packet.fetched = None
        if packet.source.file is None:
            return packet.source
        if self._task.reads_by_itself:
            self._prefetch.drop()
            return packet.source
        packet.fetched = self._tools.files.take(packet)
        return packet.fetched

    def _check_touched(self) -> None:
        """Check the columns that a columnar function has asked for in the chunk in hand."""
        fetched = self.packet.fetched
        if fetched is not None and self._task.branches is None:
            self._check_columns(fetched.file, (*fetched.touched.columns, *fetched.touched.arrays))

    def _learn(self, seconds: float) -> float:
        """The chunk in hand is done. What it waited for the first byte is no reason to take fewer entries, nor for the
        packet to end early: returns those seconds.
        """
        running = self.running
        entries, fetched, most = self.packet.end(), self.packet.fetched, self.lease.chunk
        if fetched is None:
            running.chunks.learn(entries, seconds, self._task.size, most)
            return 0.0
        running.touched.learn(fetched.touched)
        self._prefetch.chunk_took(fetched, seconds)
        excused = min(fetched.idle, fetched.traffic.latency)
        size = fetched.size * entries // max(1, fetched.stop - fetched.start)
        running.chunks.learn(entries, seconds - excused, size, most)
        return excused

    # --- entries that raise ---------------------------------------------------------------------------------------

    def _pass_over(self, error: BaseException) -> None:
        """Find the entries of the chunk in hand that raise, and note them; leave the result of the others in the task."""
        self._prefetch.drop()
        lease, packet, task = self.lease, self.packet, self._task
        start, stop = packet.position, packet.chunk_stop
        aside = packet.aside = packet.aside or Total()
        if task.all_or_nothing:
            aside.add(task.take())
        run = task.parts(packet.source, lease.file, start, stop)

        def attempt(low: int, high: int) -> Fault | None:
            self._status.begin(lease.query, lease.lease, low, high)
            try:
                with self._tools.guard:
                    run(low, high)
            except ERRORS as error:
                if not self.running.may_skip(lease, error):
                    raise
                return self._told(Fault.of(error, low, high, task.index))
            return None

        isolation = Isolation(attempt, lambda: aside.add(task.take()), task.discard, task.all_or_nothing)
        faults, packet.chunk_stop = isolation.run(start, stop, self._told(Fault.of(error, start, stop, task.index)))
        packet.gaps += gaps(faults)

    def _told(self, fault: Fault) -> Fault:
        """Tell of the first one that is found; the frames of none of them are kept."""
        if fault.is_narrow and not self.running.told:
            self.running.told = True
            failure, pickled = describe(fault.error, self.lease.file, *self.packet.covering(fault.start, fault.stop))
            self._link.send(messages.Skipped(self.lease.query, failure), pickled)
        forget_frames(fault.error)
        return fault

    # --- the end --------------------------------------------------------------------------------------------------

    def _finish(self, seconds: float, waited: float) -> None:
        """Add the packet's result to the query's, and report; the result itself is handed over when it is due."""
        lease, packet, running, meter = self.lease, self.packet, self.running, self._tools.meter
        partial = self._task.take() if packet.aside is None else packet.aside.partial()
        part = Part(lease.lease, lease.start, packet.position, packet.gaps)
        if wrong := miscount(partial.entries, [(part.lease, part.start, part.stop)], part.skipped):
            raise CountError(f"query {lease.query}, {lease.file.path}: {wrong}")
        self._tools.handover.add(running, part, partial, time.monotonic() - seconds)
        elapsed, cpu = meter.times()
        file = packet.source.file
        requests, size, latency = meter.read([packet.source] if file is None else file.readers)
        if file is not None:
            self._tell(file.news())
        figures = seconds, cpu, size, elapsed, waited, requests, latency, running.chunks.untold(), packet.chunks
        before = self._opening, self._late, self._compiling
        self._link.add(messages.Finished(lease.query, lease.lease, packet.position, *figures, *before))
        if file is not None:
            self._tools.files.forget_ahead(file)
