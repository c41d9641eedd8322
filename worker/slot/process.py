"""A slot: one process that reads, runs the user's code, and accumulates.

It works on its leases in the order in which they came, in *chunks* whose sizes `worker.slot.chunks` finds, and
looks at its messages between chunks. The result of a packet is accumulated apart and joins the slot's total when it is
finished: a packet that fails leaves no trace. Totals are handed to the agent every `HAND_OVER` seconds, and whenever there
is nothing else to do.

In a query that skips errors, a chunk that raises is taken apart (`worker.slot.isolation`). From the first one on, the
result of each chunk is put aside when it is done, so that the next one can fail without it; the packet in hand, whose chunks
were not, is begun again.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import zmq

from ...merge import Partial, Total, compact
from ...packetizer.listed_entries import EntryList
from ...protocol import codec, messages
from ...protocol.counts import miscount
from ...protocol.errors import CountError, DatasetError, EventmillError, LocalProtocolError, MergeError
from ...protocol.messages import File, Message, Part
from ...reading.prefetched_range import Names, PrefetchedRange
from ...reading.reader import Place, ReaderCache
from ...reading.selection import Selection, listed
from ...reading.source import Source
from ...reading.storage.credentials import fits
from ...reading.view import OpenFile, drop, places
from ..agent.forkserver_client import identity
from ..allocation.cores import usable_cores
from ..slot_status import COMPACTING, STATUS_BYTES, SlotStatus
from .chunks import LARGEST_CHUNK, ChunkSizes
from .failures import describe
from .guard import Guard, be_a_slot, note_functions
from .isolation import MOST_FAULTS, Fault, Isolation, gaps
from .meter import Meter
from .modules import own_modules
from .packets import Compaction, Packet, Todo, is_of, packet_end
from .prefetch import Openings, Plan, Prefetch, weight_of
from .query_state import Running
from .readahead_window import Stretch
from .seeding import place_of
from .tasks import Task, load, source_without_file

HAND_OVER = 0.25
"""Seconds since its beginning after which a finished packet is handed over, while there is more to do."""
TELL = 0.25
"""How often, at most, a slot says where it is in a packet; in a long one it says so `TIMES_TOLD` times."""
TIMES_TOLD = 8
MOST_WAITING = 8
"""Messages that wait for the agent at most: a slot whose agent does not listen waits, it does not pile up results."""
ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What user code may raise, `sys.exit()` included; the slot goes on."""


def warm() -> None:
    """Import and compile what every slot needs; the forkserver does this once, before it forks."""
    import awkward  # noqa: F401
    import hist  # noqa: F401
    import uproot  # noqa: F401

    from ..kernels import compile as kernels

    kernels.warm()
    note_functions()


def main(index: int, number: int, endpoint: str, cache: str, statuses: str) -> NoReturn:
    """Be slot `index`, in the `number`th process that its forkserver forks, talking to the agent at `endpoint`."""
    be_a_slot()
    status = SlotStatus.of_slot(Path(statuses), index)
    status.introduce(os.getpid())
    socket = zmq.Context().socket(zmq.DEALER)
    socket.set(zmq.IDENTITY, identity(index, number))
    socket.set(zmq.SNDHWM, MOST_WAITING)
    socket.connect(endpoint)
    spare = usable_cores() > Path(statuses).stat().st_size // STATUS_BYTES
    SlotProcess(index, socket, Path(cache), status, spare).run()


class SlotProcess:
    """The loop of a slot. It never ends by itself: the forkserver ends it.

    Args:
        index: which slot of its worker it is.
        socket: to the agent.
        cache: folder for compiled kernels.
        status: what the agent sees of it at any time, and has to tell it.
        spare: whether the worker has more cores than slots.
    """

    def __init__(
        self, index: int, socket: zmq.Socket[bytes], cache: Path, status: SlotStatus | None = None, spare: bool = False
    ) -> None:
        self.index = index
        self.socket = socket
        self.cache = cache
        self.status = status or SlotStatus(bytearray(STATUS_BYTES))
        self.readers = ReaderCache()
        self.openings = Openings()
        self.prefetch = Prefetch(spare, self.status.turn_to)
        self.meter = Meter()
        self.queries: dict[str, Running] = {}
        self.todo: deque[Todo] = deque()
        self.packet: Packet | None = None
        self.log = logging.getLogger(__name__)
        self._guard = Guard()
        self._turn_of = self._owner = ""
        self._commits = 0
        self._waiting: tuple[messages.Lease, Selection] | None = None

    def run(self) -> NoReturn:
        """Say ready, then work on what comes, in the order in which it comes."""
        self._send(messages.Ready())
        while True:
            self._receive(wait=not self.todo)
            match self.todo.popleft() if self.todo else None:
                case messages.Lease() as lease:
                    self._take_turn(lease.query)
                    self._process(lease)
                    self._hand_over_due()
                case Compaction() as compaction:
                    self._take_turn(compaction.query)
                    self._compact(compaction)
                case None:
                    self._hand_over_due()  # what was still to do has been taken back
            if self.status.retires or not (self.queries or self._tidied_up()):
                self._retire()

    # --- messages -------------------------------------------------------------------------------------------------

    def _send(self, message: Message, frames: codec.Frames = ()) -> None:
        self.socket.send_multipart(codec.encode(message, frames), copy=False)

    def _receive(self, wait: bool) -> None:
        """Take in all messages that are there; with `wait`, at least one."""
        while True:
            try:
                frames = self.socket.recv_multipart(0 if wait else zmq.NOBLOCK)
            except zmq.Again:
                return
            wait = False
            message, rest = codec.decode(frames)
            match message:
                case messages.Lease():
                    for layout in rest:
                        self.readers.offer(message.file.path, message.file.tree, bytes(layout))
                    self.todo.append(message)
                case messages.Setup():
                    self.queries[message.query] = Running(message, *rest)
                case messages.Credentials():
                    if message.query in self.queries:
                        (self.queries[message.query].credentials,) = rest
                case messages.Truncate():
                    self._truncate(message)
                case messages.Revoke():
                    self._revoke(message)
                case messages.Release():
                    self._release(message)
                case messages.Columns():
                    self.queries[message.query].schema_check.correct(message.types)
                case messages.Compact():
                    self.todo.append(Compaction(message.query, rest))
                case _:
                    self.log.warning("the agent said %s, which is not for a slot", type(message).__name__)

    def _truncate(self, message: messages.Truncate) -> None:
        """Give up the end of a lease: at once for one that waits, from the next chunk on for the one at work."""
        packet = self.packet
        if packet is not None and packet.is_of(message):
            packet.stop = min(packet.stop, max(packet.position, message.stop))
            packet.revoked = packet.revoked or packet.stop == packet.lease.start  # it was still to open its file
            self._send(messages.Truncated(message.query, message.lease, packet.stop))
            return
        for position, lease in enumerate(self.todo):
            if is_of(lease, message):
                stop = max(lease.start, min(lease.stop, message.stop))
                if stop > lease.start:
                    self.todo[position] = msgspec.structs.replace(lease, stop=stop)
                else:
                    del self.todo[position]
                self._send(messages.Truncated(message.query, message.lease, stop))
                return

    def _revoke(self, message: messages.Revoke) -> None:
        """Drop a lease whose entries another slot has committed."""
        if self.packet is not None and self.packet.is_of(message):
            self.packet.revoked = True
        self.todo = deque(thing for thing in self.todo if not is_of(thing, message))
        self._send(message)

    def _release(self, message: messages.Release) -> None:
        """Drop all there is of a query; the packet at work is dropped after its chunk."""
        self.queries.pop(message.query, None)
        self.todo = deque(
            thing
            for thing in self.todo
            if thing.query != message.query or (message.merging and isinstance(thing, Compaction))
        )
        self._send(message)

    def _retire(self) -> NoReturn:
        """Hand over everything, and wait to be ended: a fresh process takes this one's place."""
        for number, running in self.queries.items():
            self._hand_over(number, running)
        self._send(messages.Bye())
        while True:
            self.socket.recv_multipart()

    # --- work -----------------------------------------------------------------------------------------------------

    def _take_turn(self, query: str) -> None:
        """From here on the slot is at work for this query: of what another one's code has left, it meets nothing.

        Not all that code can do to a process can be found out: when a user's queries are over, the process ends with them
        that another one would get. While two users' queries take turns, a process for each turn would take their time.
        """
        owners = {running.setup.owner for running in self.queries.values()}
        owner = self.queries[query].setup.owner if query in self.queries else self._owner
        if self._owner not in ("", owner, *owners):
            self.log.info("slot %d makes room for a fresh process: the next query is another user's", self.index)
            self._retire()
        if self._turn_of not in ("", query) and not self._tidied_up():
            self._retire()
        self._owner = owner
        self._turn_of = query

    def _tidied_up(self) -> bool:
        """Whether the process is as it was before the code of a query has run in it; false if it cannot be made so."""
        if self._turn_of:
            self._turn_of = ""
            if left := self._guard.tidy_up():
                self.log.info("slot %d makes room for a fresh process: a query has left %s in it", self.index, left)
                return False
        return True

    def _compact(self, compaction: Compaction) -> None:
        """Merge the pickled objects of a total."""
        self.status.begin(compaction.query, COMPACTING, 0, 0)
        self.status.turn_to("running")
        try:
            analysis, *frames = compaction.frames
            with self._guard:
                own_modules(analysis, self.cache / "modules").enter()
                merged = compact(Partial.from_frames(frames)).to_frames()
            self._send(messages.Compacted(compaction.query, self.index), merged)
        except ERRORS as error:
            failure, pickled = describe(_told(error), File(""), None, None)
            self._send(messages.Compacted(compaction.query, self.index, failure), pickled)
        self.status.end()

    def _process(self, lease: messages.Lease) -> None:
        """Work on one lease to its end, its time limit, or an error, and report."""
        running = self.queries[lease.query]
        if lease.apart:
            self._hand_over(lease.query, running)
        packet = self.packet = Packet(lease, aside=Total() if running.passes_over else None)
        self.meter.begin()
        self.status.begin(lease.query, lease.lease, lease.start, lease.start)
        self.status.turn_to("loading")
        try:
            if lease.file.kind == "tree" and not fits(running.credential_set):
                self._retire()
            if running.task is None:
                at = np.frombuffer(self.status.at, np.int64)
                with self._guard:
                    running.task = load(running.setup, running.blob, self.cache, lease.file.kind, at, self._guard)
            running.task.enter()
            self._work(running, running.task, packet)
        except ERRORS as error:
            start, stop = packet.at_fault(None if running.task is None else running.task.entry)
            failure, pickled = describe(error, lease.file, start, stop)
            self._send(messages.Failed(lease.query, lease.lease, failure), pickled)
            self.prefetch.drop()
            if failure.kind == "data":
                drop(self.readers, lease.file, running.credential_set)
            if running.task is not None:
                running.task.discard()
        self.status.end()
        self.packet = None
        if lease.apart:
            self._hand_over(lease.query, running)

    def _work(self, running: Running, task: Task, packet: Packet) -> None:
        lease = packet.lease
        waited = self.prefetch.waited
        began = time.monotonic(), time.process_time()
        self.status.turn_to("opening")
        source = self._source(running, lease)
        running.chunks.hear(lease.calls)
        file = source.file
        if file is not None:
            self.prefetch.opened(file, began)
            news = file.news()
            source = self._selected(running, task, file, packet)
            if news:
                self._send(messages.Described(lease.query, lease.lease, lease.file.path), [news])
            self._check_columns(running, file, lease, task.branches or ())
        task.turn_to(place_of(lease.file, file))
        if packet.revoked:
            return
        if not running.prepared:
            self._prepare(running, task, source, packet)
            running.prepared = True
        started, excused = time.monotonic(), 0.0
        told = started
        interval = max(TELL, lease.seconds / TIMES_TOLD)
        while packet.position < packet.stop or packet.chunks == 0:
            ahead = self.prefetch.ordered(packet.key, packet.position)
            usual = packet.position + self._size(running, lease, packet.stop - packet.position)
            packet.begin(min(ahead or usual, packet.stop))
            chunk_began = time.monotonic()
            if not self._analyse_chunk(running, task, source, packet):
                continue
            self._check_touched(running, task, source, packet)
            now = time.monotonic()
            excused += self._learn(running, packet, now - chunk_began)
            self._receive(wait=False)
            if packet.revoked or lease.query not in self.queries:
                task.discard()
                return
            late = now - started - excused > lease.seconds and (running.chunks.settled or lease.chunk is not None)
            if late or len(packet.gaps) >= MOST_FAULTS or self.status.retires:
                break
            if now - told > interval and packet.position < packet.stop:
                told = now
                self._send(messages.Reached(lease.query, lease.lease, packet.position))
        source.check_unchanged()
        self._finish(running, task, packet, source, time.monotonic() - started, self.prefetch.waited - waited)

    def _analyse_chunk(self, running: Running, task: Task, source: Source, packet: Packet) -> bool:
        """Analyse the chunk in hand, but for entries that raise and may be skipped; false when the packet begins again."""
        lease = packet.lease
        try:
            self.status.begin(lease.query, lease.lease, packet.position, packet.chunk_stop)
            self.status.turn_to("reading")
            at_hand = self._at_hand(running, task, source, packet)
            self.status.turn_to("running")
            with self._guard:
                task.run(at_hand, lease.file, packet.position, packet.chunk_stop)
        except ERRORS as error:
            source.check_unchanged()
            if not isinstance(error, EventmillError):
                self._check_touched(running, task, source, packet)  # lists instead of numbers would be what is wrong
            if packet.chunk_stop == packet.position or not _may_skip(running.setup, lease, error):
                raise
            running.passes_over = True
            if packet.aside is None and not task.all_or_nothing:
                task.discard()
                packet.begin_again()
                return False
            self._pass_over(running, task, source, packet, error)
        if packet.aside is not None:
            packet.aside.add(task.take())
        self.status.end()
        return True

    def _pass_over(self, running: Running, task: Task, source: Source, packet: Packet, error: BaseException) -> None:
        """Find the entries of the chunk in hand that raise, and note them; leave the result of the others in the task."""
        self.prefetch.drop()
        lease, start, stop = packet.lease, packet.position, packet.chunk_stop
        aside = packet.aside = packet.aside or Total()
        if task.all_or_nothing:
            aside.add(task.take())
        run = task.parts(source, lease.file, start, stop)

        def attempt(low: int, high: int) -> Fault | None:
            self.status.begin(lease.query, lease.lease, low, high)
            try:
                with self._guard:
                    run(low, high)
            except ERRORS as error:
                if not _may_skip(running.setup, lease, error):
                    raise
                return self._fault(running, packet, Fault.of(error, low, high, task.index))
            return None

        isolation = Isolation(attempt, lambda: aside.add(task.take()), task.discard, task.all_or_nothing)
        first = self._fault(running, packet, Fault.of(error, start, stop, task.index))
        faults, packet.chunk_stop = isolation.run(start, stop, first)
        packet.gaps += gaps(faults)

    def _fault(self, running: Running, packet: Packet, fault: Fault) -> Fault:
        """Tell of the first one that is found; the frames of none of them are kept."""
        if fault.is_narrow and not running.told:
            running.told = True
            lease = packet.lease
            failure, pickled = describe(fault.error, lease.file, *packet.covering(fault.start, fault.stop))
            self._send(messages.Skipped(lease.query, failure), pickled)
        fault.error.__traceback__ = fault.error.__context__ = fault.error.__cause__ = None
        return fault

    def _source(self, running: Running, lease: messages.Lease) -> Source:
        """Where the entries of a file come from: the file itself, or for cycles and items what stands for it."""
        file = lease.file
        if file.kind == "tree":
            return self._file(running, lease)
        if running.source is None:
            running.source = source = source_without_file(file, running.shared_inputs)
            running.chunks = ChunkSizes(source.first_chunk, running.setup.chunk)
        return running.source

    def _file(self, running: Running, lease: messages.Lease) -> OpenFile:
        """The file of a lease, opened if it is not, as the analysis sees it.

        Of a far file that is open its server is asked whether it still is the same; its bytes are asked for meanwhile.
        """
        self.prefetch.settle()
        if lease.opening and "://" in lease.file.path:
            self._receive(wait=False)  # the next leases came together with this one
            self.prefetch.ask(list(self._plans_of_waiting([lease, *self.todo])), self.status.halvings)
        since, credential_set = running.began if lease.opening else 0.0, running.credential_set
        files = places(lease.file, credential_set)
        self.openings.keep({*files, *self._places_of_waiting()})
        self.openings.hand_over(self.readers, files)
        return running.views.get(self.readers, lease.file, since, lease.identity, credential_set)

    def _selected(self, running: Running, task: Task, reader: OpenFile, packet: Packet) -> OpenFile | Selection:
        """What of a file the packet is about: all, or its listed entries. Who opens the file tells the master of it."""
        lease, mask = packet.lease, running.mask if packet.lease.opening else None
        entry_list = listed(reader, lease.runs, mask)
        if entry_list is not None:
            packet.selection = Selection(reader, entry_list, lease.start, task.branches)
        if lease.opening:
            layout = (packet.selection or reader).layout(task.branches)
            packet.stop = packet_end(layout, lease.stop)
            left = None if entry_list is None or mask is None else entry_list.runs()
            clusters = list(layout.clusters)
            self._send(
                messages.Opened(lease.query, lease.lease, layout.entries, packet.stop, clusters, layout.identity, left)
            )
        return packet.selection or reader

    def _check_columns(self, running: Running, file: OpenFile, lease: messages.Lease, branches: Iterable[str]) -> None:
        """Check that columns are what they are in other files, and tell the master what it has to know of them."""
        types, filled = running.schema_check.check(file, branches)
        if types or filled:
            self._send(messages.Columns(lease.query, lease.lease, types, filled, self.index))

    def _check_touched(self, running: Running, task: Task, source: Source, packet: Packet) -> None:
        """Check the columns that a columnar function has asked for in the chunk in hand."""
        if packet.fetched is not None and task.branches is None:
            touched = packet.fetched.touched
            self._check_columns(running, packet.fetched.file, packet.lease, (*touched.columns, *touched.arrays))

    def _prepare(self, running: Running, task: Task, source: Source, packet: Packet) -> None:
        """Have the task compile what it has to, while its first data is on its way."""
        if source.file is None or task.branches is None:
            self.status.turn_to("compiling")
            task.prepare(source, packet.lease.file)
            return
        self.status.turn_to("reading")
        plans = list(self._plans(running, task, source, packet, packet.position))
        self.prefetch.ask(plans, self.status.halvings)
        types = PrefetchedRange(source, 0, 0, self.prefetch.alone)
        types.fetch(Names(tuple(task.branches)))
        self.prefetch.order(plans, self.status.halvings)
        self.status.turn_to("compiling")
        task.prepare(types, packet.lease.file)

    def _at_hand(self, running: Running, task: Task, source: Source, packet: Packet) -> Source:
        """What the task runs over: the chunk in hand, with what was read of it ahead. What comes next is read meanwhile."""
        packet.fetched = None
        if source.file is None:
            return source
        if task.reads_by_itself:
            self.prefetch.drop()
            return source
        start, stop, names = packet.position, packet.chunk_stop, self._names(running, task, source)
        if source.is_far and self.prefetch.ordered(packet.key, start) is None:
            self.prefetch.settle()
            self.prefetch.ask(list(self._plans(running, task, source, packet, start)), self.status.halvings)
        packet.fetched = self.prefetch.take(packet.key, source, start, stop, names)
        self.prefetch.order(list(self._plans(running, task, source, packet, stop)), self.status.halvings)
        return packet.fetched

    def _learn(self, running: Running, packet: Packet, seconds: float) -> float:
        """The chunk in hand is done. What it waited for the first byte is no reason to take fewer entries, nor for the
        packet to end early: returns those seconds.
        """
        entries, fetched, most = packet.end(), packet.fetched, packet.lease.chunk
        if fetched is None:
            size = 0 if running.task is None else running.task.size
            running.chunks.learn(entries, seconds, size, most)
            return 0.0
        running.touched.learn(fetched.touched)
        self.prefetch.chunk_took(fetched, seconds)
        excused = min(fetched.idle, fetched.traffic.latency)
        size = fetched.size * entries // max(1, fetched.stop - fetched.start)
        running.chunks.learn(entries, seconds - excused, size, most)
        return excused

    def _plans(self, running: Running, task: Task, source: Source, packet: Packet, start: int) -> Iterator[Plan]:
        """What comes next: the packet in hand from `start` on, then the packets that wait.

        Of entries that are suspected of taking slots down, nothing is read before they are at work.
        """
        if packet.lease.chunk is not None:
            return
        if start < packet.stop:
            yield self._plan(running, task, source, packet.lease, start, packet.stop)
        yield from self._plans_of_waiting(self.todo)

    def _plans_of_waiting(self, todo: Iterable[Todo]) -> Iterator[Plan]:
        for lease in todo:
            if isinstance(lease, messages.Lease) and lease.file.kind == "tree" and lease.chunk is None:
                other = self.queries[lease.query]
                waiting = self._source_of_waiting(other, lease)
                if waiting is not None and other.task is not None and lease.start < waiting.entries:
                    yield self._plan(other, other.task, waiting, lease, lease.start, min(lease.stop, waiting.entries))

    def _plan(self, running: Running, task: Task, source: Source, lease: messages.Lease, start: int, stop: int) -> Plan:
        names, chunk = self._names(running, task, source), self._size(running, lease, stop - start)
        weight = weight_of(source, names) if source.is_far else 0.0
        return Plan(Stretch((lease.query, lease.lease), start, stop, chunk, weight), source, names)

    def _source_of_waiting(self, running: Running, lease: messages.Lease) -> OpenFile | Selection | None:
        """Where the entries of a packet that waits come from. Its file is opened meanwhile; None until that is done."""
        credential_set = running.credential_set
        if self.prefetch.opens(lease.file.path) and fits(credential_set):
            since = running.began if lease.opening else 0.0
            self.openings.begin(self.readers, places(lease.file, credential_set), since)
        file = running.views.peek(self.readers, lease.file, credential_set)
        if file is None or (lease.opening and running.mask is not None):
            return None
        if lease.runs is None:
            return file
        if self._waiting is None or self._waiting[0] is not lease or self._waiting[1].file is not file:
            self._waiting = lease, Selection(file, EntryList(lease.runs), lease.start)
        return self._waiting[1]

    @staticmethod
    def _names(running: Running, task: Task, source: Source) -> Names:
        """The columns that a chunk reads, as far as they are known."""
        if task.branches is not None:
            return Names(tuple(task.branches))
        if task.reads_by_itself or source.file is None:
            return Names()
        return running.touched.names.among(source.file.names)

    def _size(self, running: Running, lease: messages.Lease, left: int) -> int:
        """Entries of the next chunk when `left` are left."""
        chunk = min(running.chunks.next(left), lease.chunk or LARGEST_CHUNK)
        return max(1, chunk >> self.status.halvings) if chunk else 0

    def _finish(
        self, running: Running, task: Task, packet: Packet, source: Source, seconds: float, waited: float
    ) -> None:
        """Add the packet's result to the slot's, and report; the result itself is handed over when it is due."""
        lease = packet.lease
        partial = task.take() if packet.aside is None else packet.aside.partial()
        part = Part(lease.lease, lease.start, packet.position, packet.gaps)
        if wrong := miscount(partial.entries, [(part.lease, part.start, part.stop)], part.skipped):
            raise CountError(f"query {lease.query}, {lease.file.path}: {wrong}")
        running.total.add(partial)
        if not running.parts:
            running.since = time.monotonic() - seconds
        running.parts.append(part)
        elapsed, cpu = self.meter.times()
        file = source.file
        requests, size, latency = self.meter.read([source] if file is None else file.readers)
        figures = seconds, cpu, size, elapsed, waited, requests, latency, running.chunks.untold(), packet.chunks
        self._send(messages.Finished(lease.query, lease.lease, packet.position, *figures))
        if file is not None:
            self._forget_ahead(file)

    def _forget_ahead(self, file: OpenFile) -> None:
        """Drop what is kept for next reads of files that no packet which waits is of."""
        waiting = {self.readers.peek(*place) for place in self._places_of_waiting()}
        through = [reader for reader in file.readers if reader not in waiting]
        if through:
            self.prefetch.settle()
        for reader in through:
            reader.forget_ahead()

    def _places_of_waiting(self) -> set[Place]:
        """The files of all packets that wait, and their friends."""
        return {
            place
            for lease in self.todo
            if isinstance(lease, messages.Lease) and lease.file.kind == "tree"
            for place in places(lease.file, self.queries[lease.query].credential_set)
        }

    def _hand_over_due(self) -> None:
        """Hand over the first packet, what has waited long enough, and everything when there is no lease at hand."""
        self._receive(wait=False)
        now = time.monotonic()
        waiting = {thing.query for thing in self.todo}
        for number, running in self.queries.items():
            due = not running.handed_over or now - running.since >= HAND_OVER
            if due or number not in waiting or sum(len(part.gaps) for part in running.parts) >= MOST_FAULTS:
                self._hand_over(number, running)

    def _hand_over(self, number: str, running: Running) -> None:
        """Hand over what has been accumulated for a query; if it cannot travel, all packets that are in it fail."""
        if not running.parts:
            return
        parts, total = running.parts, running.total
        running.parts, running.total, running.handed_over = [], Total(), True
        self._commits += 1
        try:
            if running.task is not None:
                running.task.enter()
            with self._guard:
                frames = total.partial().to_frames()
            self._send(messages.Commit(self._commits, number, parts), frames)
        except ERRORS as error:
            failure, pickled = describe(_told(error), File(""), None, None)
            for part in parts:
                self._send(messages.Failed(number, part.lease, failure), pickled)


def _may_skip(setup: messages.Setup, lease: messages.Lease, error: BaseException) -> bool:
    """Whether an error in a chunk is skipped here and now: not what concerns the analysis as a whole, as when it does not
    compile, and not data that others are still to try to read.
    """
    if setup.on_error != "skip":
        return False
    if isinstance(error, DatasetError):
        return lease.last_try or not (error.transient or lease.other_replicas)
    return not isinstance(error, EventmillError)


def _told(error: BaseException) -> BaseException:
    """What the user is told of an error in sending a result: over the limits of the protocol is her result, not us."""
    return MergeError(f"the result cannot be sent: {error}") if isinstance(error, LocalProtocolError) else error
