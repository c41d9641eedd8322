"""The files of a slot: which are open, which are being opened, and what is read ahead of them.

What comes next is the rest of the packet in hand, then the packets that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ...packetizer.listed_entries import EntryList
from ...protocol import messages
from ...reading.prefetched_range import Names, PrefetchedRange
from ...reading.reader_cache import Place, ReaderCache
from ...reading.selection import Selection
from ...reading.source import Source
from ...reading.storage.credentials import fits
from ...reading.view import OpenFile, drop, places
from ..slot_status import SlotStatus
from .chunks import LARGEST_CHUNK
from .packets import Packet
from .prefetch import MOST_OPENING, Openings, Plan, Prefetch, weight_of
from .query_state import Running
from .readahead_window import Stretch
from .work_queue import WorkQueue


class SlotFiles:
    """Opens files for packets, and has their bytes there when they are asked for.

    Args:
        queue: what the slot has to do.
        readers: the files that are open.
        status: tells how often chunks are to be halved, and is told what the slot waits for.
        spare: whether the worker has more cores than slots.

    Attributes:
        prefetch: reads the next chunk in a thread of its own.
    """

    def __init__(self, queue: WorkQueue, readers: ReaderCache, status: SlotStatus, spare: bool) -> None:
        self.prefetch = Prefetch(spare, status.turn_to)
        self._queue = queue
        self._readers = readers
        self._openings = Openings()
        self._status = status
        self._waiting: tuple[messages.Lease, Selection] | None = None

    # --- opening --------------------------------------------------------------------------------------------------

    def open(self, running: Running, lease: messages.Lease) -> OpenFile:
        """The file of a lease, opened if it is not, as the analysis sees it.

        Of a far file that is open its server is asked whether it still is the same; its bytes are asked for meanwhile.
        """
        self.prefetch.settle()
        if lease.opening and "://" in lease.file.path:
            self._queue.listen()  # the next leases came together with this one
            self.prefetch.ask(list(self._plans_of_waiting([lease, *self._next_leases()])), self._status.halvings)
        since, credential_set = running.began if lease.opening else 0.0, running.credential_set
        files = places(lease.file, credential_set)
        self._openings.keep({*files, *self._places_of_waiting()})
        self._openings.hand_over(self._readers, files)
        return running.views.get(self._readers, lease.file, since, lease.identity, credential_set)

    def drop(self, running: Running, lease: messages.Lease) -> None:
        """The file could not be read: have it opened anew, with its friends, when it is asked for again."""
        drop(self._readers, lease.file, running.credential_set)

    def forget_ahead(self, file: OpenFile) -> None:
        """Drop what is kept for next reads of files that no packet which waits is of."""
        waiting = {self._readers.peek(*place) for place in self._places_of_waiting()}
        through = [reader for reader in file.readers if reader not in waiting]
        if through:
            self.prefetch.settle()
        for reader in through:
            reader.forget_ahead()

    def _next_leases(self) -> Iterator[messages.Lease]:
        """Those of the packets that wait whose files are opened, and read, ahead: of short ones a slot has many."""
        return islice(self._queue.leases(), MOST_OPENING - 1)

    def _places_of_waiting(self) -> set[Place]:
        """The files of the packets that come next, and their friends."""
        queries = self._queue.queries
        return {
            place for lease in self._next_leases() for place in places(lease.file, queries[lease.query].credential_set)
        }

    # --- chunks ---------------------------------------------------------------------------------------------------

    def chunk_end(self, packet: Packet) -> int:
        """Where the next chunk of a packet ends: as it was read ahead, or as long as chunks should be."""
        ahead = self.prefetch.ordered(packet.key, packet.position)
        usual = packet.position + self._size(packet.running, packet.lease, packet.stop - packet.position)
        return min(ahead or usual, packet.stop)

    def first(self, packet: Packet, branches: tuple[str, ...]) -> PrefetchedRange:
        """No entries of a packet's columns, to compile for, while its first chunk is on its way."""
        plans = list(self._plans(packet, packet.position))
        self.prefetch.ask(plans, self._status.halvings)
        nothing = PrefetchedRange(packet.source, 0, 0, self.prefetch.alone)
        nothing.fetch(Names(branches))
        self.prefetch.order(plans, self._status.halvings)
        return nothing

    def take(self, packet: Packet) -> PrefetchedRange:
        """The chunk in hand, with what was read of it ahead. What comes next is read meanwhile."""
        start, stop, names = packet.position, packet.chunk_stop, packet.running.names(packet.source)
        if packet.source.is_far and self.prefetch.ordered(packet.key, start) is None:
            self.prefetch.settle()
            self.prefetch.ask(list(self._plans(packet, start)), self._status.halvings)
        fetched = self.prefetch.take(packet.key, packet.source, start, stop, names)
        self.prefetch.order(list(self._plans(packet, stop)), self._status.halvings)
        return fetched

    # --- what comes next ------------------------------------------------------------------------------------------

    def _plans(self, packet: Packet, start: int) -> Iterator[Plan]:
        """The packet in hand from `start` on, then the packets that wait.

        Of entries that are suspected of taking slots down, nothing is read before they are at work.
        """
        if packet.lease.chunk is not None:
            return
        if start < packet.stop:
            yield self._plan(packet.running, packet.source, packet.lease, start, packet.stop)
        yield from self._plans_of_waiting(self._next_leases())

    def _plans_of_waiting(self, leases: Iterable[messages.Lease]) -> Iterator[Plan]:
        for lease in leases:
            if lease.chunk is None:
                running = self._queue.queries[lease.query]
                source = self._source_of_waiting(running, lease)
                if source is not None and running.task is not None and lease.start < source.entries:
                    yield self._plan(running, source, lease, lease.start, min(lease.stop, source.entries))

    def _plan(self, running: Running, source: Source, lease: messages.Lease, start: int, stop: int) -> Plan:
        names, chunk = running.names(source), self._size(running, lease, stop - start)
        weight = weight_of(source, names) if source.is_far else 0.0
        return Plan(Stretch((lease.query, lease.lease), start, stop, chunk, weight), source, names)

    def _source_of_waiting(self, running: Running, lease: messages.Lease) -> OpenFile | Selection | None:
        """Where the entries of a packet that waits come from. Its file is opened meanwhile; None until that is done."""
        credential_set = running.credential_set
        if self.prefetch.opens(lease.file.path) and fits(credential_set):
            since = running.began if lease.opening else 0.0
            self._openings.begin(self._readers, places(lease.file, credential_set), since)
        file = running.views.peek(self._readers, lease.file, credential_set)
        if file is None or (lease.opening and running.mask is not None):
            return None
        if lease.runs is None:
            return file
        if self._waiting is None or self._waiting[0] is not lease or self._waiting[1].file is not file:
            self._waiting = lease, Selection(file, EntryList(lease.runs), lease.start)
        return self._waiting[1]

    def _size(self, running: Running, lease: messages.Lease, left: int) -> int:
        """Entries of the next chunk when `left` are left."""
        chunk = min(running.chunks.next(left), lease.chunk or LARGEST_CHUNK)
        return max(1, chunk >> self._status.halvings) if chunk else 0
