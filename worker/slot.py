"""A slot: one process that reads, runs the user's code, and accumulates.

It works on its leases in the order in which they came, in *bites* of about `BITE_SECONDS`, and looks at its messages
between bites. The result of a packet is accumulated apart and joins the slot's total when the packet is finished, so that
a packet that fails leaves no trace. Totals are handed to the agent every `HAND_OVER` seconds, and whenever there is
nothing else to do.

In a query that skips errors, a bite that raises is taken apart (`worker.isolation`). From the first one on, the result of
each bite is put aside when it is done, so that the next one can fail without it; the packet in hand, whose bites were not,
is begun again.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeGuard

import msgspec
import numpy as np
import zmq

from ..merge import Partial, Total, compact
from ..packetizer.listing import Listing
from ..packetizer.masks import Mask
from ..packetizer.supply import Supply
from ..protocol import codec, messages
from ..protocol.codec import Buffer
from ..protocol.errors import DatasetError, EventmillError, LocalProtocolError, MergeError
from ..protocol.messages import File, Gap, Message, Part
from .agreement import Agreement
from .bites import LARGEST_BITE, Bites
from .board import COMPACTING, ROW, Row
from .cradle import identity
from .failures import describe
from .isolation import MOST_FAULTS, Fault, Isolation, gaps
from .readers import FileLayout, Reader, ReaderCache
from .selection import Selection, listed
from .tasks import Source, Task, load, source_without_file
from .view import View, Views, drop

HAND_OVER = 0.25
"""Seconds that a finished packet waits at most to be handed over, while there is more to do."""
TELL = 0.25
"""How often, at most, a slot says where it is in a packet; in a long one it says so `TIMES_TOLD` times."""
TIMES_TOLD = 8
MOST_WAITING = 8
"""Messages that wait for the agent at most: a slot whose agent does not listen waits, it does not pile up results."""
ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What user code may raise, `sys.exit()` included; the slot goes on."""


def warm() -> None:
    """Import and compile what every slot needs; the nursery does this once, before it forks."""
    import awkward  # noqa: F401
    import hist  # noqa: F401
    import uproot  # noqa: F401

    from . import kernels

    kernels.warm()


def main(index: int, number: int, endpoint: str, cache: str, board: str) -> NoReturn:
    """Be slot `index`, in the `number`th process that its nursery forks, talking to the agent at `endpoint`."""
    row = Row.on_board(Path(board), index)
    row.introduce(os.getpid())
    socket = zmq.Context().socket(zmq.DEALER)
    socket.set(zmq.IDENTITY, identity(index, number))
    socket.set(zmq.SNDHWM, MOST_WAITING)
    socket.connect(endpoint)
    SlotProcess(index, socket, Path(cache), row).run()


@dataclass(frozen=True, slots=True)
class Compaction:
    """A query's total whose pickled objects are to be merged."""

    query: str
    frames: list[Buffer]


Todo = messages.Lease | Compaction
"""What a slot has to do."""


class Running:
    """A query in this slot: the user's code, and what has been accumulated for it and not handed over.

    Attributes:
        passes_over: it has passed over an error: results of bites are put aside one by one.
        told: the agent has been told of the first error passed over.
    """

    def __init__(self, setup: messages.Setup, blob: Buffer, supply: Buffer = b"") -> None:
        self.setup = setup
        self.blob = blob
        self.supply = supply
        self.task: Task | None = None
        self.source: Source | None = None
        self.began = time.monotonic()
        self.prepared = False
        self.bites = Bites()
        self.agreement = Agreement()
        self.total = Total()
        self.parts: list[Part] = []
        self.since = 0.0
        self.handed_over = False
        self.passes_over = False
        self.told = False

    @functools.cached_property
    def of_files(self) -> Supply:
        """What is to be known of the query's files: for queries over files."""
        return Supply.unpack(self.supply) if self.supply else Supply()

    @functools.cached_property
    def mask(self) -> Mask | None:
        """What of the query's files is used, if not all: for queries over files."""
        return Mask.unpack(self.of_files.mask) if self.of_files.mask else None

    @functools.cached_property
    def views(self) -> Views:
        """The query's files as the analysis sees them; a coffea processor reads them by itself."""
        return Views(self.of_files, plain=self.setup.kind == "processor")


class SlotProcess:
    """The loop of a slot. It never ends by itself: the nursery ends it.

    Args:
        index: which slot of its worker it is.
        socket: to the agent.
        cache: folder for compiled kernels.
        row: what the agent sees of it at any time, and has to tell it.
    """

    def __init__(self, index: int, socket: zmq.Socket[bytes], cache: Path, row: Row | None = None) -> None:
        self.index = index
        self.socket = socket
        self.cache = cache
        self.row = row or Row(bytearray(ROW))
        self.readers = ReaderCache()
        self.queries: dict[str, Running] = {}
        self.todo: deque[Todo] = deque()
        self.packet: Packet | None = None
        self.log = logging.getLogger(__name__)
        self._commits = 0

    def run(self) -> NoReturn:
        """Say ready, then work on what comes, in the order in which it comes."""
        self._send(messages.Ready())
        while True:
            self._receive(wait=not self.todo)
            match self.todo.popleft() if self.todo else None:
                case messages.Lease() as lease:
                    self._process(lease)
                    self._hand_over_due()
                case Compaction() as compaction:
                    self._compact(compaction)
            if self.row.retires:
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
                    self.todo.append(message)
                case messages.Setup():
                    self.queries[message.query] = Running(message, *rest)
                case messages.Truncate():
                    self._truncate(message)
                case messages.Revoke():
                    self._revoke(message)
                case messages.Release():
                    self._release(message)
                case messages.Columns():
                    self.queries[message.query].agreement.correct(message.types)
                case messages.Compact():
                    self.todo.append(Compaction(message.query, rest))
                case _:
                    self.log.warning("the agent said %s, which is not for a slot", type(message).__name__)

    def _truncate(self, message: messages.Truncate) -> None:
        """Give up the end of a lease: at once for one that waits, from the next bite on for the one at work."""
        packet = self.packet
        if packet is not None and packet.is_of(message):
            packet.stop = min(packet.stop, max(packet.position, message.stop))
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
        """Drop all there is of a query; the packet at work is dropped after its bite."""
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

    def _compact(self, compaction: Compaction) -> None:
        """Merge the pickled objects of a total."""
        self.row.begin(compaction.query, COMPACTING, 0, 0)
        try:
            merged = compact(Partial.from_frames(compaction.frames)).to_frames()
            self._send(messages.Compacted(compaction.query, self.index), merged)
        except ERRORS as error:
            failure, pickled = describe(_told(error), File(""), None, None)
            self._send(messages.Compacted(compaction.query, self.index, failure), pickled)
        self.row.end()

    def _process(self, lease: messages.Lease) -> None:
        """Work on one lease to its end, its time limit, or an error, and report."""
        running = self.queries[lease.query]
        if lease.apart:
            self._hand_over(lease.query, running)
        packet = self.packet = Packet(lease, aside=Total() if running.passes_over else None)
        self.row.begin(lease.query, lease.lease, lease.start, lease.start)
        try:
            if running.task is None:
                at = np.frombuffer(self.row.at, np.int64)
                running.task = load(running.setup, running.blob, self.cache, lease.file.kind, at)
            self._work(running, running.task, packet)
        except ERRORS as error:
            start, stop = packet.at_fault(None if running.task is None else running.task.entry)
            failure, pickled = describe(error, lease.file, start, stop)
            self._send(messages.Failed(lease.query, lease.lease, failure), pickled)
            if failure.kind == "data":
                drop(self.readers, lease.file)
            if running.task is not None:
                running.task.discard()
        self.row.end()
        self.packet = None
        if lease.apart:
            self._hand_over(lease.query, running)

    def _work(self, running: Running, task: Task, packet: Packet) -> None:
        lease = packet.lease
        source = self._source(running, lease)
        bytes_before, cpu_before = source.bytes_read, time.process_time()
        file = source if isinstance(source, Reader | View) else None
        if file is not None:
            source = self._selected(running, task, file, packet)
            self._check_columns(running, file, lease, task.branches or ())
        if not running.prepared:
            task.prepare(source, lease.file)
            running.prepared = True
        began = told = time.monotonic()
        interval = max(TELL, lease.seconds / TIMES_TOLD)
        while packet.position < packet.stop or packet.bites == 0:
            bite = min(running.bites.next(packet.stop - packet.position), lease.bite or LARGEST_BITE)
            packet.begin(max(1, bite >> self.row.halvings) if bite else 0)
            self._read_ahead(task, source, packet)
            bite_began = time.monotonic()
            if not self._bite(running, task, source, packet):
                continue
            if file is not None and running.setup.kind == "columnar":
                self._check_columns(running, file, lease, file.touched)
            now = time.monotonic()
            running.bites.learn(packet.end(), now - bite_began)
            self._receive(wait=False)
            if packet.revoked or lease.query not in self.queries:
                task.discard()
                return
            if now - began > lease.seconds or len(packet.gaps) >= MOST_FAULTS or self.row.retires:
                break
            if now - told > interval and packet.position < packet.stop:
                told = now
                self._send(messages.Reached(lease.query, lease.lease, packet.position))
        if isinstance(source, Reader | View | Selection):
            source.check_unchanged()
        self._finish(running, task, packet, time.monotonic() - began, cpu_before, source.bytes_read - bytes_before)

    def _bite(self, running: Running, task: Task, source: Source, packet: Packet) -> bool:
        """Analyse the bite in hand, but for entries that raise and may be skipped; false when the packet begins again."""
        lease = packet.lease
        try:
            self.row.begin(lease.query, lease.lease, packet.position, packet.bite_stop)
            task.run(source, lease.file, packet.position, packet.bite_stop)
        except ERRORS as error:
            if isinstance(source, Reader | View | Selection):
                source.check_unchanged()
            if packet.bite_stop == packet.position or not _may_skip(running.setup, lease, error):
                raise
            running.passes_over = True
            if packet.aside is None and not task.all_or_nothing:
                task.discard()
                packet.begin_again()
                return False
            self._pass_over(running, task, source, packet, error)
        if packet.aside is not None:
            packet.aside.add(task.take())
        self.row.end()
        return True

    def _pass_over(self, running: Running, task: Task, source: Source, packet: Packet, error: BaseException) -> None:
        """Find the entries of the bite in hand that raise, and note them; leave the result of the others in the task."""
        lease, start, stop = packet.lease, packet.position, packet.bite_stop
        aside = packet.aside = packet.aside or Total()
        if task.all_or_nothing:
            aside.add(task.take())
        run = task.parts(source, lease.file, start, stop)

        def attempt(low: int, high: int) -> Fault | None:
            self.row.begin(lease.query, lease.lease, low, high)
            try:
                run(low, high)
            except ERRORS as error:
                if not _may_skip(running.setup, lease, error):
                    raise
                return self._fault(running, packet, Fault.of(error, low, high, task.index))
            return None

        isolation = Isolation(attempt, lambda: aside.add(task.take()), task.discard, task.all_or_nothing)
        first = self._fault(running, packet, Fault.of(error, start, stop, task.index))
        faults, packet.bite_stop = isolation.run(start, stop, first)
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
            return running.views.get(self.readers, file, running.began if lease.opening else 0.0, lease.identity)
        if running.source is None:
            running.source = source = source_without_file(file, running.supply)
            running.bites = Bites(source.first_bite)
        return running.source

    def _selected(
        self, running: Running, task: Task, reader: Reader | View, packet: Packet
    ) -> Reader | View | Selection:
        """What of a file the packet is about: all, or its listed entries. Who opens the file tells the master of it."""
        lease, mask = packet.lease, running.mask if packet.lease.opening else None
        listing = listed(reader, lease.runs, mask)
        if listing is not None:
            packet.selection = Selection(reader, listing, lease.start, task.branches)
        if lease.opening:
            layout = (packet.selection or reader).layout(task.branches)
            packet.stop = packet_end(layout, lease.stop)
            left = None if listing is None or mask is None else listing.runs()
            clusters = list(layout.clusters)
            self._send(
                messages.Opened(lease.query, lease.lease, layout.entries, packet.stop, clusters, layout.identity, left)
            )
        return packet.selection or reader

    def _check_columns(
        self, running: Running, file: Reader | View, lease: messages.Lease, branches: Iterable[str]
    ) -> None:
        """Check that columns are what they are in other files, and tell the master what it has to know of them."""
        types, filled = running.agreement.check(file, branches)
        if types or filled:
            self._send(messages.Columns(lease.query, lease.lease, types, filled, self.index))

    def _read_ahead(self, task: Task, source: Source, packet: Packet) -> None:
        """Ask for what comes after the bite at hand, in this packet or in the next one of the same file."""
        if task.branches is None:
            return
        start, bite, lease = packet.bite_stop, packet.bite_stop - packet.position, packet.lease
        if start < packet.stop:
            source.ahead(task.branches, start, min(start + bite, packet.stop))
        elif self.todo:
            following = self.todo[0]
            if isinstance(following, messages.Lease) and (following.query, following.file) == (lease.query, lease.file):
                if packet.selection is not None and following.runs is not None:
                    reader = packet.selection.reader
                    source = Selection(reader, Listing(following.runs), following.start, task.branches)
                source.ahead(task.branches, following.start, min(following.start + bite, following.stop))

    def _finish(
        self, running: Running, task: Task, packet: Packet, seconds: float, cpu_before: float, bytes_read: int
    ) -> None:
        """Add the packet's result to the slot's, and report; the result itself is handed over when it is due."""
        lease = packet.lease
        running.total.add(task.take() if packet.aside is None else packet.aside.partial())
        if not running.parts:
            running.since = time.monotonic()
        running.parts.append(Part(lease.lease, lease.start, packet.position, packet.gaps))
        cpu = time.process_time() - cpu_before
        self._send(messages.Finished(lease.query, lease.lease, packet.position, seconds, cpu, bytes_read))

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
            self._send(messages.Commit(self._commits, number, parts), total.partial().to_frames())
        except ERRORS as error:
            failure, pickled = describe(_told(error), File(""), None, None)
            for part in parts:
                self._send(messages.Failed(number, part.lease, failure), pickled)


class Packet:
    """A lease at work: how far it has come, and the bite in hand.

    Attributes:
        position: entries before it are done.
        stop: where it ends.
        bite_stop: where the bite in hand ends, which begins at `position`.
        aside: the result of the bites that are done, where each is put aside; None where all are in the task.
        gaps: entries that were skipped.
    """

    def __init__(self, lease: messages.Lease, aside: Total | None = None) -> None:
        self.lease = lease
        self.position = self.bite_stop = lease.start
        self.stop = lease.stop
        self.revoked = False
        self.bites = 0
        self.selection: Selection | None = None
        self.aside = aside
        self.gaps: list[Gap] = []
        self._biting = False

    def is_of(self, message: messages.Truncate | messages.Revoke) -> bool:
        """Whether a message is about this lease."""
        return is_of(self.lease, message)

    def begin(self, entries: int) -> None:
        """A bite of `entries` begins at `position`."""
        self._biting, self.bite_stop = True, self.position + entries

    def end(self) -> int:
        """The bite is done; how many entries it had."""
        entries = self.bite_stop - self.position
        self.position = self.bite_stop
        self.bites += 1
        self._biting = False
        return entries

    def begin_again(self) -> None:
        """What has been done is forgotten; from now on the results of bites are put aside."""
        self.position = self.bite_stop = self.lease.start
        self.bites, self._biting = 0, False
        self.aside = Total()

    def covering(self, start: int, stop: int) -> tuple[int, int]:
        """The entries of the file from the first to the last of a range, which may be of listed ones."""
        return (start, stop) if self.selection is None else self.selection.covering(start, stop)

    def at_fault(self, entry: int | None) -> tuple[int | None, int | None]:
        """The entries that an error came from: one entry where the task knows it, the bite, or nothing before the first."""
        if not self._biting:
            return None, None
        start, stop = self.covering(self.position, self.bite_stop)
        if entry is not None and start <= entry < stop:
            return entry, entry + 1
        return start, stop


def is_of(thing: Todo, message: messages.Truncate | messages.Revoke) -> TypeGuard[messages.Lease]:
    """Whether `thing` is the lease that a message is about."""
    return isinstance(thing, messages.Lease) and (message.query, message.lease) == (thing.query, thing.lease)


def _may_skip(setup: messages.Setup, lease: messages.Lease, error: BaseException) -> bool:
    """Whether an error in a bite is skipped here and now: not what concerns the analysis as a whole, as when it does not
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


def packet_end(layout: FileLayout, wish: int) -> int:
    """Where the first packet of a file ends: with the file, or on the last cluster boundary within the wish."""
    if layout.entries <= wish:
        return layout.entries
    index = bisect_right(layout.clusters, wish) - 1
    edge = layout.clusters[index] if index >= 0 else 0
    return edge if edge > 0 else wish
