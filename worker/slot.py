"""A slot: one process that reads, runs the user's code, and accumulates.

It works on its leases in the order in which they came, in *bites* of about `BITE_SECONDS`, and looks at its messages
between bites. The result of a packet is accumulated apart and joins the slot's total when the packet is finished, so that
a packet that fails leaves no trace. Totals are handed to the agent every `HAND_OVER` seconds, and whenever there is
nothing else to do.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_right
from collections import deque
from pathlib import Path

import msgspec
import zmq

from ..merge import Partial, Total, compact
from ..protocol import codec, messages
from ..protocol.codec import Buffer
from ..protocol.messages import File, Message, Part
from .bites import Bites
from .failures import describe
from .readers import FileLayout, Reader, ReaderCache
from .tasks import Task, load

HAND_OVER = 0.25
"""Seconds that a finished packet waits at most to be handed over, while there is more to do."""
TELL = 0.25
"""How often a slot says where it is in a long packet."""


def warm() -> None:
    """Import and compile what every slot needs; the nursery does this once, before it forks."""
    import awkward  # noqa: F401
    import hist  # noqa: F401
    import uproot  # noqa: F401

    from . import kernels

    kernels.warm()


def main(index: int, endpoint: str, cache: str) -> None:
    """Run slot `index`, talking to the agent at `endpoint`, until the agent says bye."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 1000)
    socket.set(zmq.IDENTITY, f"{index}:{os.getpid()}".encode())
    socket.connect(endpoint)
    SlotProcess(index, socket, Path(cache)).run()
    socket.close()
    context.term()


class Running:
    """A query in this slot: the user's code, and what has been accumulated for it and not handed over."""

    def __init__(self, setup: messages.Setup, blob: Buffer) -> None:
        self.setup = setup
        self.blob = blob
        self.task: Task | None = None
        self.prepared = False
        self.bites = Bites()
        self.total = Total()
        self.parts: list[Part] = []
        self.since = 0.0
        self.handed_over = False


class SlotProcess:
    """The loop of a slot."""

    def __init__(self, index: int, socket: zmq.Socket[bytes], cache: Path) -> None:
        self.index = index
        self.socket = socket
        self.cache = cache
        self.readers = ReaderCache()
        self.queries: dict[str, Running] = {}
        self.leases: deque[messages.Lease] = deque()
        self.packet: Packet | None = None
        self.log = logging.getLogger(__name__)
        self.over = False
        self._commits = 0

    def run(self) -> None:
        """Say ready, then work until the agent says bye."""
        self._send(messages.Ready(self.index, os.getpid()))
        while not self.over:
            self._receive(wait=not self.leases)
            if self.leases:
                lease = self.leases.popleft()
                self._process(lease)
                self._hand_over_due()

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
                    self.leases.append(message)
                case messages.Setup():
                    self.queries[message.query] = Running(message, rest[0])
                case messages.Truncate():
                    self._truncate(message)
                case messages.Revoke():
                    self._revoke(message)
                case messages.Release():
                    self.queries.pop(message.query, None)
                    self.leases = deque(lease for lease in self.leases if lease.query != message.query)
                case messages.Compact():
                    self._compact(message, rest)
                case messages.Bye():
                    self.over = True
                case _:
                    self.log.warning("the agent said %s, which is not for a slot", type(message).__name__)

    def _truncate(self, message: messages.Truncate) -> None:
        """Give up the end of a lease: at once for one that waits, from the next bite on for the one at work."""
        packet = self.packet
        if packet is not None and packet.is_of(message):
            packet.stop = min(packet.stop, max(packet.position, message.stop))
            self._send(messages.Truncated(message.query, message.lease, packet.stop))
            return
        for position, lease in enumerate(self.leases):
            if (lease.query, lease.lease) == (message.query, message.lease):
                stop = max(lease.start, min(lease.stop, message.stop))
                if stop > lease.start:
                    self.leases[position] = msgspec.structs.replace(lease, stop=stop)
                else:
                    del self.leases[position]
                self._send(messages.Truncated(message.query, message.lease, stop))
                return

    def _revoke(self, message: messages.Revoke) -> None:
        """Drop a lease whose entries another slot has committed."""
        if self.packet is not None and self.packet.is_of(message):
            self.packet.revoked = True
        key = (message.query, message.lease)
        self.leases = deque(lease for lease in self.leases if (lease.query, lease.lease) != key)

    def _compact(self, message: messages.Compact, frames: list[Buffer]) -> None:
        """Merge the pickled objects of a total."""
        try:
            merged = compact(Partial.from_frames(frames)).to_frames()
        except Exception as error:
            failure, pickled = describe(error, File(""), None, None)
            self._send(messages.Compacted(message.query, self.index, failure), pickled)
        else:
            self._send(messages.Compacted(message.query, self.index), merged)

    # --- work -----------------------------------------------------------------------------------------------------

    def _process(self, lease: messages.Lease) -> None:
        """Work on one lease to its end, its time limit, or an error, and report."""
        running = self.queries[lease.query]
        if lease.apart:
            self._hand_over(lease.query, running)
        packet = self.packet = Packet(lease)
        try:
            if running.task is None:
                running.task = load(running.setup, running.blob, self.cache)
            self._work(running, running.task, packet)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            start, stop = packet.at_fault(None if running.task is None else running.task.entry)
            failure, pickled = describe(error, lease.file, start, stop)
            self._send(messages.Failed(lease.query, lease.lease, failure), pickled)
            if failure.kind == "data":
                self.readers.drop(lease.file.path, lease.file.tree)
            if running.task is not None:
                running.task.discard()
        self.packet = None
        if lease.apart:
            self._hand_over(lease.query, running)

    def _work(self, running: Running, task: Task, packet: Packet) -> None:
        lease = packet.lease
        reader = self.readers.get(lease.file.path, lease.file.tree)
        bytes_before, cpu_before = reader.bytes_read, time.process_time()
        if lease.opening:
            layout = reader.layout(task.branches)
            packet.stop = packet_end(layout, lease.stop)
            clusters = list(layout.clusters)
            self._send(
                messages.Opened(lease.query, lease.lease, layout.entries, packet.stop, clusters, layout.identity)
            )
        if not running.prepared:
            task.prepare(reader, lease.file)
            running.prepared = True
        began = told = time.monotonic()
        while packet.position < packet.stop or packet.bites == 0:
            bite = running.bites.next(packet.stop - packet.position)
            packet.begin(bite)
            self._read_ahead(task, reader, packet, bite)
            bite_began = time.monotonic()
            task.run(reader, lease.file, packet.position, packet.position + bite)
            now = time.monotonic()
            running.bites.learn(bite, now - bite_began)
            packet.end()
            self._receive(wait=False)
            if packet.revoked or lease.query not in self.queries:
                task.discard()
                return
            if now - began > lease.seconds:
                break
            if now - told > TELL and packet.position < packet.stop:
                told = now
                self._send(messages.Reached(lease.query, lease.lease, packet.position))
        self._finish(running, task, packet, time.monotonic() - began, cpu_before, reader.bytes_read - bytes_before)

    def _read_ahead(self, task: Task, reader: Reader, packet: Packet, bite: int) -> None:
        """Ask for what comes after the bite at hand, in this packet or in the next one of the same file."""
        if task.branches is None:
            return
        start, lease = packet.position + bite, packet.lease
        if start < packet.stop:
            reader.ahead(task.branches, start, min(start + bite, packet.stop))
        elif self.leases:
            following = self.leases[0]
            if (following.query, following.file) == (lease.query, lease.file):
                reader.ahead(task.branches, following.start, min(following.start + bite, following.stop))

    def _finish(
        self, running: Running, task: Task, packet: Packet, seconds: float, cpu_before: float, bytes_read: int
    ) -> None:
        """Add the packet's result to the slot's, and report; the result itself is handed over when it is due."""
        lease = packet.lease
        running.total.add(task.take())
        if not running.parts:
            running.since = time.monotonic()
        running.parts.append(Part(lease.lease, lease.start, packet.position))
        cpu = time.process_time() - cpu_before
        self._send(messages.Finished(lease.query, lease.lease, packet.position, seconds, cpu, bytes_read))

    def _hand_over_due(self) -> None:
        """Hand over the first packet, what has waited long enough, and everything when there is no lease at hand."""
        self._receive(wait=False)
        now = time.monotonic()
        waiting = {lease.query for lease in self.leases}
        for number, running in self.queries.items():
            if number not in waiting or not running.handed_over or now - running.since >= HAND_OVER:
                self._hand_over(number, running)

    def _hand_over(self, number: str, running: Running) -> None:
        """Hand over what has been accumulated for a query."""
        if running.parts:
            self._commits += 1
            message = messages.Commit(self._commits, number, running.parts)
            self._send(message, running.total.partial().to_frames())
            running.parts, running.total = [], Total()
            running.handed_over = True


class Packet:
    """A lease at work: how far it has come, and the bite in hand."""

    def __init__(self, lease: messages.Lease) -> None:
        self.lease = lease
        self.position = lease.start
        self.stop = lease.stop
        self.revoked = False
        self.bites = 0
        self._bite: int | None = None

    def is_of(self, message: messages.Truncate | messages.Revoke) -> bool:
        """Whether a message is about this lease."""
        return (message.query, message.lease) == (self.lease.query, self.lease.lease)

    def begin(self, entries: int) -> None:
        """A bite of `entries` begins at `position`."""
        self._bite = entries

    def end(self) -> None:
        """The bite is done."""
        self.position += self._bite or 0
        self.bites += 1
        self._bite = None

    def at_fault(self, entry: int | None) -> tuple[int | None, int | None]:
        """The entries that an error came from: one entry where the task knows it, the bite, or nothing before the first."""
        if self._bite is None:
            return None, None
        if entry is not None and self.position <= entry < self.position + self._bite:
            return entry, entry + 1
        return self.position, self.position + self._bite


def packet_end(layout: FileLayout, wish: int) -> int:
    """Where the first packet of a file ends: with the file, or on the last cluster boundary within the wish."""
    if layout.entries <= wish:
        return layout.entries
    index = bisect_right(layout.clusters, wish) - 1
    edge = layout.clusters[index] if index >= 0 else 0
    return edge if edge > 0 else wish
