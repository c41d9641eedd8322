"""Simulated slots: processes that keep to the slot protocol (`worker.slot.process`), and read files that do not exist.

A slot looks at its messages between chunks only, as a real one does; what it says may be lost with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

import msgspec
from eventmill.merge import Partial, Total, compact
from eventmill.protocol import messages as m
from eventmill.protocol.codec import Frames
from eventmill.worker.agent.effects import Order
from eventmill.worker.slot.tasks import Task
from eventmill.worker.slot_status import COMPACTING, AtWork

from .clock import Clock
from .data import Plan, SimulatedFile, weight_in
from .tasks import Analysed, task_of

HAND_OVER = 0.25
"""Seconds that a finished packet waits at most to be handed over, as in a real slot."""


class Owner(Protocol):
    """The agent of a slot.

    Attributes:
        stored: the attachments of analyses, where its slots find them.
    """

    stored: dict[str, bytes]

    def heard(self, slot: Slot, message: m.Message, frames: Frames) -> None:
        """A slot has said something."""

    def gone(self, slot: Slot, reason: str) -> None:
        """A slot's process has ended."""


@dataclass(slots=True)
class Code:
    """A query in a slot: what has been accumulated and not handed over."""

    setup: m.Setup
    plan: Plan
    task: Task
    weight: int
    passes_over: bool = False
    total: Total = field(default_factory=Total)
    parts: list[m.Part] = field(default_factory=list)
    since: float = 0.0
    handed_over: bool = False
    told: bool = False


@dataclass(slots=True)
class Packet:
    """A lease at work."""

    lease: m.Lease
    file: SimulatedFile
    stop: int
    began: float
    position: int
    analysed: Analysed
    chunks: int = 0
    revoked: bool = False
    gaps: list[m.Gap] = field(default_factory=list)


class Slot:
    """One slot process.

    Args:
        index: which slot of its agent it is.
        speed: entries a second.
        plans: what is to be found in the files, by the code of a query.
    """

    def __init__(
        self, index: int, speed: float, plans: Callable[[bytes], Plan], clock: Clock, random: Random, owner: Owner
    ) -> None:
        self.index = index
        self.speed = speed
        self.alive = True
        self.chunk: AtWork | None = None
        self._plans = plans
        self._clock = clock
        self._random = random
        self._owner = owner
        self._inbox: deque[tuple[m.Message, Frames]] = deque()
        self._todo: deque[m.Lease | tuple[str, Frames]] = deque()
        self._codes: dict[str, Code] = {}
        self._packet: Packet | None = None
        self._busy = True
        self._serves: tuple[str, str] | None = None
        self._frozen_until = 0.0
        self._halvings = 0
        self._retires = False
        self._on_its_way = 0
        self._lost_after: int | None = None
        clock.after(random.uniform(0.01, 0.1), self._be_ready)

    # --- what its agent does ----------------------------------------------------------------------------------------

    def tell(self, message: m.Message, frames: Frames) -> None:
        """The agent says something."""
        self._inbox.append((message, frames))
        if not self._busy:
            self._busy = True
            self._clock.after(0.0002, self._go_on)

    def order(self, order: Order) -> None:
        """The agent writes on the slot status."""
        self._halvings, self._retires = order.halvings, order.retire

    def end(self, reason: str, loses: int = 0) -> None:
        """The process ends, with the last messages that it has said, as many as `loses`."""
        if self.alive:
            self.alive = False
            self._lost_after = self._on_its_way - loses
            self._clock.after(self._random.uniform(0.001, 0.05), self._owner.gone, self, reason)

    def freeze(self, seconds: float) -> None:
        """The process is stopped for so long."""
        self._frozen_until = max(self._frozen_until, self._clock.now + seconds)

    # --- saying -----------------------------------------------------------------------------------------------------

    def _say(self, message: m.Message, frames: Frames = ()) -> None:
        self._on_its_way += 1
        self._clock.after(0.0003, self._arrive, self._on_its_way, message, frames)

    def _arrive(self, number: int, message: m.Message, frames: Frames) -> None:
        if self._lost_after is None or number <= self._lost_after:
            self._owner.heard(self, message, frames)

    # --- listening --------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        while self._inbox:
            message, frames = self._inbox.popleft()
            match message:
                case m.Lease():
                    self._todo.append(message)
                case m.Serve():
                    assert self._serves is None, "a process has one owner"
                    self._serves = message.user, message.owner
                case m.Setup():
                    assert (message.user, message.owner) == self._serves
                    plan = self._plans(bytes(frames[0]))
                    # Of a query that is over, told of once more, they may be gone: what comes of it counts for nothing.
                    found = [self._owner.stored.get(digest, bytes(8)) for digest in plan.submit.attachments]
                    self._codes[message.query] = Code(message, plan, task_of(plan), sum(map(weight_in, found)))
                case m.Truncate():
                    self._truncate(message)
                case m.Revoke():
                    if self._packet is not None and _same(self._packet.lease, message):
                        self._packet.revoked = True
                    self._todo = deque(it for it in self._todo if not _same(it, message))
                    self._say(message)
                case m.Release():
                    self._codes.pop(message.query, None)
                    self._todo = deque(
                        it
                        for it in self._todo
                        if _query(it) != message.query or (message.merging and isinstance(it, tuple))
                    )
                    self._say(message)
                case m.Compact():
                    self._todo.append((message.query, frames[1:]))
                case _:
                    raise AssertionError(f"an agent said {message} to a slot")

    def _truncate(self, message: m.Truncate) -> None:
        packet = self._packet
        if packet is not None and _same(packet.lease, message):
            packet.stop = min(packet.stop, max(packet.position, message.stop))
            self._say(m.Truncated(message.query, message.lease, packet.stop))
            return
        for position, lease in enumerate(self._todo):
            if isinstance(lease, m.Lease) and _same(lease, message):
                stop = max(lease.start, min(lease.stop, message.stop))
                if stop > lease.start:
                    self._todo[position] = msgspec.structs.replace(lease, stop=stop)
                else:
                    del self._todo[position]
                self._say(m.Truncated(message.query, message.lease, stop))
                return

    # --- working ----------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Go on after so much work, unless the process has ended; when it is frozen, later."""
        self._clock.after(seconds, self._resume, act)

    def _resume(self, act: Callable[[], None]) -> None:
        if not self.alive:
            return
        if self._clock.now < self._frozen_until:
            self._clock.at(self._frozen_until, self._resume, act)
        else:
            act()

    def _be_ready(self) -> None:
        if self.alive:
            self._say(m.Ready())
            self._resume(self._go_on)

    def _go_on(self) -> None:
        """Nothing is at work: take in what there is, and begin with the next."""
        if not self.alive:
            return
        if self._clock.now < self._frozen_until:
            self._clock.at(self._frozen_until, self._resume, self._go_on)
            return
        self._busy = True
        self._receive()
        if self._retires and (self._todo or self._codes):
            for number, code in self._codes.items():
                self._hand_over(number, code)
            self._say(m.Bye())  # and waits for its end
            return
        if not self._todo:
            self._busy = False
            return
        todo = self._todo.popleft()
        if isinstance(todo, tuple):
            self.chunk = AtWork(todo[0], COMPACTING, 0, 0, self._clock.now)
            self._later(0.02, lambda: self._compact(*todo))
            return
        code = self._codes[todo.query]
        if todo.apart:
            self._hand_over(todo.query, code)
        file = code.plan.by_path[todo.file.path]
        analysed = Analysed(code.plan, code.task, todo, code.weight, Total() if code.passes_over else None)
        self._packet = Packet(todo, file, todo.stop, self._clock.now, todo.start, analysed)
        self.chunk = AtWork(todo.query, todo.lease, todo.start, todo.start, self._clock.now)
        self._later(self._random.uniform(0.001, 0.05), self._open)

    def _compact(self, query: str, frames: Frames) -> None:
        self.chunk = None
        self._say(m.Compacted(query, self.index), compact(Partial.from_frames(frames)).to_frames())
        self._go_on()

    def _open(self) -> None:
        packet = self._at_work()
        file, lease = packet.file, packet.lease
        code = self._codes.get(lease.query)
        if file.broken or file.hiccups:
            file.hiccups = max(0, file.hiccups - 1)
            self._fail("data", "no such file" if file.broken else "no answer", transient=not file.broken)
            return
        runs = file.masked if lease.opening and lease.runs is None else lease.runs
        entries = file.length if runs is None else len(file.used)
        if not lease.opening and lease.stop > entries:
            self._fail("data", "the file has no such entries")  # somebody has lied
            return
        if lease.opening:
            clusters = file.clusters if runs is None else [0, entries]
            fits = [edge for edge in clusters if 0 < edge <= lease.stop]
            packet.stop = entries if entries <= lease.stop else max(fits, default=lease.stop)
            if packet.stop > 0 and self._random.random() < 0.3:
                packet.stop = self._random.randint(1, packet.stop)
            masked = file.masked if code is not None else None
            self._say(m.Opened(lease.query, lease.lease, entries, packet.stop, clusters, "identity", masked))
        packet.began = self._clock.now
        self._analyse_chunk()

    def _analyse_chunk(self) -> None:
        packet = self._at_work()
        lease = packet.lease
        most = max(1, int(self.speed * self._random.uniform(0.05, 0.3)))
        entries = min(packet.stop - packet.position, most, lease.chunk or most)
        stop = packet.position + (max(1, entries >> self._halvings) if entries else 0)
        self.chunk = AtWork(lease.query, lease.lease, packet.position, stop, self._clock.now)
        self._later(entries / self.speed * self._random.uniform(0.8, 1.2), lambda: self._bitten(stop))

    def _bitten(self, stop: int) -> None:
        packet = self._at_work()
        lease, file = packet.lease, packet.file
        code = self._codes[lease.query]  # it looks at its messages between chunks only
        entries = code.plan.numbers(lease, packet.position, stop) - file.first
        for position, entry in enumerate(entries.tolist(), packet.position):
            if entry in file.deadly:
                if self._random.random() < 0.5:  # a kernel tells the entry
                    self.chunk = AtWork(lease.query, lease.lease, position, position + 1, self._clock.now)
                self.end("killed by signal 11 (SIGSEGV)")
                return
            if entry in file.bad and not code.plan.skips:
                break
        try:
            gaps = packet.analysed.chunk(packet.position, stop)
        except ValueError:
            first = next(entry for entry in entries.tolist() if entry in file.bad)
            self._fail("analysis", "a bad entry", first, first + 1)
            return
        if gaps is None:
            packet.position, packet.chunks, code.passes_over = lease.start, 0, True
            self._analyse_chunk()
            return
        code.passes_over = code.passes_over or bool(gaps)
        if gaps and not code.told:
            code.told = True
            first = int(entries[gaps[0].start - packet.position])
            what = m.Failure("analysis", "ValueError", "a bad entry", path=file.path, start=first, stop=first + 1)
            self._say(m.Skipped(lease.query, what), [b"an exception"])
        packet.gaps += gaps
        packet.position = stop
        packet.chunks += 1
        self.chunk = None
        self._receive()
        if packet.revoked or lease.query not in self._codes:
            packet.analysed.discard()
            self._end_packet()
            return
        late = self._clock.now - packet.began > lease.seconds
        if packet.position >= packet.stop or late or self._retires:
            self._finish(packet, code)
            return
        if self._random.random() < 0.3:
            self._say(m.Reached(lease.query, lease.lease, packet.position))
        self._analyse_chunk()

    def _finish(self, packet: Packet, code: Code) -> None:
        lease = packet.lease
        code.total.add(packet.analysed.partial())
        if not code.parts:
            code.since = self._clock.now
        code.parts.append(m.Part(lease.lease, lease.start, packet.position, packet.gaps))
        seconds = self._clock.now - packet.began
        self._say(m.Finished(lease.query, lease.lease, packet.position, seconds, 0.0, 0, elapsed=seconds))
        self._end_packet()

    def _fail(
        self,
        kind: Literal["analysis", "data"],
        text: str,
        start: int | None = None,
        stop: int | None = None,
        transient: bool = False,
    ) -> None:
        packet = self._at_work()
        lease = packet.lease
        packet.analysed.discard()
        if lease.query in self._codes:
            failure = m.Failure(
                kind, "DatasetError" if kind == "data" else "ValueError", text, path=lease.file.path, start=start,
                stop=stop, transient=transient,
            )  # fmt: skip
            self._say(m.Failed(lease.query, lease.lease, failure), [b"an exception"])
        self._end_packet()

    def _end_packet(self) -> None:
        """A packet is over: hand over what is due, and go on."""
        packet = self._at_work()
        self._packet = self.chunk = None
        code = self._codes.get(packet.lease.query)
        if packet.lease.apart and code is not None:
            self._hand_over(packet.lease.query, code)
        self._receive()
        waiting = {_query(it) for it in self._todo}
        for number, code in self._codes.items():
            if number not in waiting or not code.handed_over or self._clock.now - code.since >= HAND_OVER:
                self._hand_over(number, code)
        self._later(0.0, self._go_on)

    def _hand_over(self, number: str, code: Code) -> None:
        if code.parts:
            self._say(m.Commit(0, number, code.parts), code.total.partial().to_frames())
            code.parts, code.total, code.handed_over = [], Total(), True

    def _at_work(self) -> Packet:
        assert self._packet is not None
        return self._packet


def _same(thing: m.Lease | tuple[str, Sequence[object]], message: m.Truncate | m.Revoke) -> bool:
    return isinstance(thing, m.Lease) and (thing.query, thing.lease) == (message.query, message.lease)


def _query(thing: m.Lease | tuple[str, Sequence[object]]) -> str:
    return thing.query if isinstance(thing, m.Lease) else thing[0]
