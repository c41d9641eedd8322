"""Time and memory that the master core takes by itself: no sockets, no merging, no workers."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeVar

import msgspec
from eventmill.master.core import MasterCore
from eventmill.master.effects import Effect, Send
from eventmill.merge import encode
from eventmill.packetizer.ledger import Ledger
from eventmill.protocol import messages
from eventmill.protocol.codec import Frames
from eventmill.protocol.messages import Message, Part

T = TypeVar("T")
PYTHON = "3.11"
PACKET_SECONDS = 2.0
SLOTS_A_WORKER = 32
SPEED = 10_000
ENTRIES = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Seconds of the core for a message; and the share of a core for what is due from time to time."""

    message: float
    housekeeping: float


class Fleet:
    """Workers that answer a core at once, one packet after the other, at the speed of the time that is told to it."""

    def __init__(self, slots: int, files: int, servers: int = 10) -> None:
        self.core = MasterCore("bench", PYTHON, journaled=True)
        self.now = 0.0
        self.leases: deque[tuple[bytes, messages.Lease]] = deque()
        self.messages = 0
        self.seconds = 0.0
        self.tell(b"session", "session", messages.Hello("session", "bench", python=PYTHON))
        for index in range(-(-slots // SLOTS_A_WORKER)):
            here = min(SLOTS_A_WORKER, slots - index * SLOTS_A_WORKER)
            hello = messages.Hello("worker", f"w{index}", python=PYTHON, host=f"w{index}.site", slots=here)
            self.tell(f"w{index}".encode(), "worker", hello)
        listed = [messages.File(f"root://eos{index % servers}.site//{index}.root") for index in range(files)]
        self.submission = [b"", msgspec.msgpack.encode(listed)]

    def submit(self) -> None:
        self.tell(b"session", "session", messages.Submit(1, "bench", "kernel", "bench"), self.submission)

    def have_behind(self, queries: int) -> None:
        """So many queries are over."""
        for _ in range(queries):
            submission = [b"", msgspec.msgpack.encode([messages.File("file")])]
            self.tell(b"session", "session", messages.Submit(1, "bench", "kernel", "bench"), submission)
            self.tell(b"session", "session", messages.Stop(next(reversed(self.core.queries)), keep=False))
        self.leases.clear()

    def tell(self, identity: bytes, role: str, message: Message, frames: Frames | None = None) -> None:
        begin = time.perf_counter()
        effects = self.core.receive(identity, role, message, frames or [], self.now)
        self.seconds += time.perf_counter() - begin
        self.messages += 1
        self.take(effects)

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, messages.Lease):
                self.leases.append((effect.peer, effect.message))

    def packet(self) -> None:
        """The slot with the oldest lease opens its file if need be, says where it is, finishes, and commits."""
        identity, lease = self.leases.popleft()
        query, number, stop = lease.query, lease.lease, lease.stop
        if lease.opening:
            stop = min(stop, ENTRIES)
            clusters = list(range(0, ENTRIES + 1, 10_000))
            self.tell(identity, "worker", messages.Opened(query, number, ENTRIES, stop, clusters))
        self.tell(identity, "worker", messages.Reached(query, number, lease.start + (stop - lease.start) // 2))
        seconds = (stop - lease.start) / SPEED
        calls = [(max(1, (stop - lease.start) // parts), seconds / parts) for parts in (1, 2, 4, 8, 16)]
        self.tell(identity, "worker", messages.Finished(query, number, stop, seconds, seconds, 0, calls=calls))
        frames = encode(None, stop - lease.start).to_frames()
        self.tell(identity, "worker", messages.Commit(number, query, [Part(number, lease.start, stop)]), frames)


def cost_of_decisions(slots: int, files: int, packets: int = 20_000, servers: int = 10, over: int = 0) -> Cost:
    """What one message costs the core, on average over `packets` packets, with this many slots at work, and so many
    queries that are over."""
    fleet = Fleet(slots, files, servers)
    fleet.have_behind(over)
    fleet.submit()
    for _ in range(2 * slots):
        fleet.packet()
    fleet.messages, fleet.seconds = 0, 0.0
    housekeeping, begin = 0.0, fleet.now
    for _ in range(packets):
        fleet.packet()
        fleet.now += PACKET_SECONDS / slots
        if fleet.now >= fleet.core.deadline():
            for peer in [*fleet.core.workers.values(), *fleet.core.sessions.values()]:
                peer.heard = inf  # heartbeats are not what is measured
            since = time.perf_counter()
            fleet.take(fleet.core.expire(fleet.now))
            housekeeping += time.perf_counter() - since
    return Cost(fleet.seconds / fleet.messages, housekeeping / (fleet.now - begin))


def start_of_query(files: int) -> float:
    """Seconds from a submission's arrival at the core to the first lease, in a fresh process."""
    return _in_child(_submit, files)


def _submit(files: int) -> float:
    fleet = Fleet(slots=8, files=files)
    begin = time.perf_counter()
    fleet.submit()
    assert fleet.leases
    return time.perf_counter() - begin


def ledger_memory(files: int, packets: int) -> int:
    """Bytes that a process grows by when its ledger holds `packets` live leases in `files` files."""
    return _in_child(_grow_ledger, files, packets)


def _grow_ledger(files: int, packets: int) -> int:
    a_file = packets // files
    before = _resident()
    ledger = Ledger([None] * files)
    for file in range(files):
        first = ledger.lease_opening(file, 100, "slot")
        ledger.opened(first.number, 100 * a_file, 100, tuple(range(0, 100 * a_file + 1, 100)))
        for start in range(100, 100 * a_file, 100):
            ledger.lease(file, start, start + 100, "slot")
    gc.collect()
    assert len(ledger.leases) == packets
    return _resident() - before


def _in_child(measure: Callable[..., T], *arguments: int) -> T:
    """Measure in a fresh process, whose memory nobody has used before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
