"""Simulated machines: the workers of a simulation and their slots, in virtual time.

What an agent decides is decided by the real one's core (`worker.agent.core`); what the core wants to be done is done here,
in virtual time. Slots keep to the protocol as the real ones do (`worker.slot.packet_run`): they work in chunks and look at
their messages between them. A packet is not simulated chunk by chunk: its slot computes when it will be at the next entry
where something happens, a *milestone*, and anything that changes its speed meanwhile makes it compute that anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil, inf
from random import Random

from ..merge import Partial
from ..merge.nodes import Nothing
from ..packetizer.call_costs import CHUNK_SECONDS
from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.messages import Message, Part
from ..worker.agent.core import AgentCore
from ..worker.agent.effects import Effect, Fork, Kill, Leave, ToMaster, ToSlot
from .environment import Clock, Record, SimulatedFile
from .profiles import Group

PYTHON = "3.11"
"""What simulated peers say they run; nothing depends on it."""
REPORT_INTERVAL = 0.25
REPORTS = 8
RESTART_SECONDS = 0.3
"""What a worker needs to replace a slot."""
FILES_OPEN = 10
"""Files that a slot keeps open. This and the figures above are the real worker's; a test compares them."""


class Slot:
    """One slot: the lease it works on, where it is in it, and the leases that wait."""

    def __init__(self, worker: Worker, index: int) -> None:
        self.worker = worker
        self.index = index
        self.queue: deque[messages.Lease] = deque()
        self.lease: messages.Lease | None = None
        self.start = self.stop = 0
        self.open: dict[int, None] = {}
        self.factor = 1.0
        self.packets = 0
        self.ended = 0.0
        self._file: SimulatedFile | None = None
        self._letters: list[Message] = []
        self._rate = 0.0
        self._chunk = 1
        self._began: float | None = None
        self._interval = REPORT_INTERVAL
        self._anchor = self._anchor_time = 0.0
        self._milestone = 0
        self._packet = self._plan = self._throughput = 0
        self._timed = False
        self._stalled: Callable[[int], None] | None = None
        self._idle_since = worker.clock.now

    # --- what it is told ------------------------------------------------------------------------------------------

    def take(self, lease: messages.Lease) -> None:
        """A lease has come."""
        self.queue.append(lease)
        if self.lease is None:
            now = self.worker.clock.now
            self.worker.record.idle += now - self._idle_since
            self.worker.record.activity.append((now, 1))
            self._next()

    def tell(self, letter: Message) -> None:
        """A `Truncate`, `Revoke` or `Release` has come: the slot looks at it when its chunk is over."""
        self._letters.append(letter)
        if self.lease is None:
            self._read_letters()
        elif self._began is not None:
            self._aim()

    def slow_down(self, factor: float) -> None:
        """From now on work at `factor` times the normal speed; 0 stops the slot where it is."""
        if self._began is not None:
            self._move()
            old, new = self._rate * self.factor, self._rate * factor
            self.factor = factor
            self._throughput += 1
            self._demand(new - old)
            self._time()
            self._aim()
            return
        self.factor = factor
        if factor and self._stalled is not None:
            act, self._stalled = self._stalled, None
            act(self._packet)

    @property
    def working(self) -> bool:
        """Whether it has a lease, and time brings it on."""
        return self.lease is not None and self.factor > 0.0

    def end(self) -> None:
        """The slot's process is gone."""
        record, now = self.worker.record, self.worker.clock.now
        if self.lease is not None:
            self._leave()
            record.activity.append((now, -1))
        else:
            record.idle += now - self._idle_since
        self._packet += 1
        self._plan += 1
        self.queue.clear()
        self._letters.clear()

    # --- a packet -------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin with the next lease: get it, and its file if that is not open."""
        self.lease = lease = self.queue.popleft()
        worker = self.worker
        self._packet += 1
        self._file = file = worker.files[lease.file.path]
        self.start, self.stop = lease.start, lease.stop
        seconds = worker.group.exchange
        worker.record.exchange += seconds
        if file.index in self.open:
            del self.open[file.index]
        else:
            seconds += worker.group.opening
            worker.record.opening += worker.group.opening
            if len(self.open) >= FILES_OPEN:
                del self.open[next(iter(self.open))]
        self.open[file.index] = None
        worker.clock.at(worker.clock.now + seconds, self._compute, self._packet)

    def _compute(self, packet: int) -> None:
        """The file is open: say so if nobody knew it, and compute."""
        lease, file, worker = self.lease, self._file, self.worker
        if packet != self._packet or lease is None or file is None:
            return
        if self.factor == 0.0:
            self._stalled = self._compute
            return
        clock = worker.clock
        if lease.opening:
            self.stop = file.first_packet(lease.stop)
            worker.hear(self, messages.Opened(lease.query, lease.lease, file.entries, self.stop, file.clusters()))
        self._rate = worker.rate(file)
        self._chunk = max(1, int(self._rate * CHUNK_SECONDS))
        self._began = self._anchor_time = clock.now
        self._timed = False
        self._interval = max(REPORT_INTERVAL, lease.seconds / REPORTS)
        if file.server is not None:
            self._anchor_time = file.server.time()
            file.server.read(self._rate * self.factor * file.bytes_per_entry, 1)
        self._anchor = self._milestone = self.start
        self._time()
        self._aim()
        self._plan_report(0)

    def _time(self) -> None:
        """Watch the time that the packet may take, unless it cannot possibly take as long."""
        lease, file = self.lease, self._file
        if self._timed or lease is None or self._began is None or file is None:
            return
        rate = self._rate * self.factor
        if file.server is not None or not rate or self.stop - self._anchor > rate * lease.seconds:
            self._timed = True
            self.worker.clock.at(max(self.worker.clock.now, self._began + lease.seconds), self._overtime, self._packet)

    def _overtime(self, packet: int) -> None:
        """The time of the packet is over: stop after this chunk, and let others have the rest."""
        if packet == self._packet and self._began is not None:
            self.stop = min(self.stop, self._chunk_end())
            self._aim()

    def _plan_report(self, chunks: int) -> None:
        """After `chunks` chunks: say where the slot is at the end of the chunk in which the next report is due."""
        rate, file, clock = self._rate * self.factor, self._file, self.worker.clock
        if rate == 0.0 or file is None:
            clock.at(clock.now + self._interval, self._report, (self._packet, -1, 0))
            return
        next_ = chunks + max(1, ceil(self._interval * rate / self._chunk - 1e-9))
        entry = self.start + next_ * self._chunk
        if entry < self.stop:
            time = self._anchor_time + (entry - self._anchor) / rate
            (clock if file.server is None else file.server).at(
                time, self._report, (self._packet, self._throughput, next_)
            )

    def _report(self, what: tuple[int, int, int]) -> None:
        packet, throughput, chunks = what
        lease = self.lease
        if packet != self._packet or lease is None:
            return
        if throughput != self._throughput:  # it did not go as planned
            chunks = self._chunks()
        entry = self.start + chunks * self._chunk
        if self.factor and entry < self.stop:
            self.worker.hear(self, messages.Reached(lease.query, lease.lease, entry))
        self._plan_report(chunks)

    def _position(self) -> float:
        """Entries before this one are processed, as near as a float tells."""
        file = self._file
        time = self.worker.clock.now if file is None or file.server is None else file.server.time()
        return min(self._anchor + (time - self._anchor_time) * self._rate * self.factor, self.stop)

    def _move(self) -> None:
        self._anchor = self._position()
        self._anchor_time = self.worker.clock.now
        if self._file is not None and self._file.server is not None:
            self._anchor_time = self._file.server.time()

    def _chunks(self) -> int:
        """Chunks of this packet that are over."""
        # A position computed from times may be a hair's breadth before the boundary where the slot is.
        return int((self._position() - self.start) / self._chunk + 1e-6)

    def _chunk_end(self) -> int:
        """Where the chunk at hand ends."""
        return self.start + (self._chunks() + 1) * self._chunk

    def _aim(self) -> None:
        """Compute when the slot is at the next entry where something happens: its stop, or the end of a chunk."""
        self._plan += 1
        self._milestone = min(self.stop, self._chunk_end()) if self._letters else self.stop
        rate = self._rate * self.factor
        if rate == 0.0 or self._file is None:
            return
        server = self._file.server
        time = self._anchor_time + max(0.0, self._milestone - self._anchor) / rate
        if server is None:
            self.worker.clock.at(max(time, self.worker.clock.now), self._arrive, self._plan)
        else:
            server.at(time, self._arrive, self._plan)

    def _arrive(self, plan: int) -> None:
        """The slot is at its milestone."""
        if plan != self._plan or self.lease is None:
            return
        self._move()
        self._anchor = self._milestone
        if self._letters and self._milestone < self.stop:
            if self._read_letters():
                self._after()
                return
            if self._milestone < self.stop:
                self._aim()
                return
        self._finish()

    def _finish(self) -> None:
        lease, now, worker = self.lease, self.worker.clock.now, self.worker
        if lease is None or self._began is None:
            return
        seconds = now - self._began
        self.packets += 1
        self.ended = now
        worker.record.longest_packet = max(worker.record.longest_packet, seconds)
        start, stop = self.start, self.stop
        self._leave()
        if self._letters:
            self._read_letters()
        self._after()
        worker.finished(self, lease, start, stop, seconds)

    def _leave(self) -> None:
        """The packet is over, one way or another."""
        record = self.worker.record
        if self._began is not None:
            self._move()
            record.computing += self.worker.clock.now - self._began
            record.entries += int(self._anchor) - self.start
            self._demand(-self._rate * self.factor, -1)
        self._began, self._stalled, self.lease = None, None, None
        self._idle_since = self.worker.clock.now
        self._packet += 1
        self._plan += 1

    def _after(self) -> None:
        """Go on with the next lease, if there is one."""
        if self.queue:
            self._next()
        else:
            self.worker.record.activity.append((self.worker.clock.now, -1))

    def _demand(self, rate: float, readers: int = 0) -> None:
        if self._file is not None and self._file.server is not None:
            self._file.server.read(rate * self._file.bytes_per_entry, readers)

    # --- letters --------------------------------------------------------------------------------------------------

    def _read_letters(self) -> bool:
        """Look at what has come: between two chunks, or while there is nothing to do. Whether the lease at hand is dead."""
        letters, self._letters = self._letters, []
        at_work = self.lease is not None
        for letter in letters:
            if isinstance(letter, messages.Truncate):
                self._truncate(letter)
            else:
                self._drop(letter)
        return at_work and self.lease is None

    def _truncate(self, letter: messages.Truncate) -> None:
        lease = self.lease
        if lease is not None and lease.lease == letter.lease:
            self.stop = min(self.stop, max(letter.stop, self._milestone))
            self.worker.hear(self, messages.Truncated(letter.query, letter.lease, self.stop))
            return
        for index, waiting in enumerate(self.queue):
            if waiting.lease == letter.lease:
                stop = min(waiting.stop, max(letter.stop, waiting.start))
                del self.queue[index]
                if stop > waiting.start:
                    self.queue.insert(index, shortened(waiting, stop))
                self.worker.hear(self, messages.Truncated(letter.query, letter.lease, stop))
                return

    def _drop(self, letter: Message) -> None:
        """Drop a lease that is dead, or all of a query, and say so."""
        dead = [lease for lease in (self.lease, *self.queue) if lease is not None and _is_about(letter, lease)]
        self.queue = deque(lease for lease in self.queue if lease not in dead)
        if self.lease in dead:
            self._leave()
        self.worker.hear(self, letter)


def _is_about(letter: Message, lease: messages.Lease) -> bool:
    """Whether a `Revoke` or `Release` is about a lease."""
    if isinstance(letter, messages.Revoke):
        return (letter.query, letter.lease) == (lease.query, lease.lease)
    return isinstance(letter, messages.Release) and letter.query == lease.query


def shortened(lease: messages.Lease, stop: int) -> messages.Lease:
    """The same lease with another end."""
    return messages.Lease(
        lease.lease, lease.query, lease.slot, lease.file, lease.start, stop, lease.seconds, lease.opening, lease.apart
    )


class Worker:
    """An agent with its slots, on one machine.

    Args:
        identity: under which the master knows it.
        group: its kind.
        speed: entries a second of one slot, when nothing slows it down.
        files: the dataset, by path.
        send: takes each message for the master, with its frames and its size in bytes.

    Attributes:
        left: it has left in good order, with empty hands.
    """

    core: AgentCore
    """Of the machine as it was booted last."""

    def __init__(
        self,
        identity: bytes,
        group: Group,
        speed: float,
        files: dict[str, SimulatedFile],
        clock: Clock,
        record: Record,
        random: Random,
        send: Callable[[Worker, Message, Frames, float], None],
    ) -> None:
        self.identity = identity
        self.group = group
        self.speed = speed
        self.files = files
        self.clock = clock
        self.record = record
        self.random = random
        self.send = send
        self.result_bytes = 0.0
        self.walltime = inf
        self.alive = False
        self.boots = 0
        self.left = False
        self.link_free = 0.0
        self.slots: list[Slot] = []
        self.slots_before: list[Slot] = []
        self._frozen = False
        self._factor = 1.0
        self._waiting: list[Callable[[], None]] = []
        self._starting: list[Slot] = []
        self._due = inf

    # --- life -----------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """The machine is there, its slots are warm."""
        self.alive, self.left = True, False
        self.boots += 1
        name, slots = self.identity.decode(), self.group.slots
        hello = messages.Hello("worker", name, python=PYTHON, host=name, site=self.group.site, slots=slots)
        self.core = AgentCore(hello, self.group.grace)
        self.slots = [Slot(self, index) for index in range(slots)]
        self.record.capacity.append((self.clock.now, self._capacity))
        for slot in self.slots:
            self._ready((slot, self.boots))

    def die(self) -> None:
        """The machine is gone, with all that it has not committed."""
        if not self.alive:
            return
        self.record.capacity.append((self.clock.now, -self._capacity))
        self.alive = self._frozen = False
        self._factor, self._due = 1.0, inf
        self._waiting, self._starting = [], []
        slots, self.slots = self.slots, []
        for slot in slots:
            slot.end()
        self.slots_before += slots

    def slow_down(self, factor: float, frozen: bool = False) -> None:
        """Let all slots work at `factor` times the normal speed; a frozen machine does not even answer."""
        before = self._capacity
        self._factor = factor
        self.record.capacity.append((self.clock.now, self._capacity - before))
        for slot in list(self.slots):
            slot.slow_down(factor)
        thawed = self._frozen and not frozen
        self._frozen = frozen
        if thawed:
            waiting, self._waiting = self._waiting, []
            for act in waiting:
                act()
            self._expire(self.boots)
        if factor and not frozen:
            starting, self._starting = self._starting, []
            for slot in starting:
                self._ready((slot, self.boots))

    def drain(self, seconds: float) -> None:
        """It has to be gone in `seconds`, and is told so; a frozen machine hears it later."""
        end = self.clock.now + seconds
        self._when_it_answers(lambda: self._carry_out(self.core.drain(max(0.0, end - self.clock.now), self.clock.now)))

    @property
    def _capacity(self) -> float:
        return len(self.slots) * self.speed * self._factor

    def _ready(self, what: tuple[Slot, int]) -> None:
        """A slot's process is up, unless it hangs as all on this machine do."""
        slot, boots = what
        if boots != self.boots or not self._has(slot):
            return
        if self._frozen or not self._factor:
            self._starting.append(slot)
        else:
            self.hear(slot, messages.Ready())

    def _replace(self, index: int) -> None:
        """The process of a slot is gone: another one is to be forked in its place."""
        old = self.slots[index]
        old.end()
        self.slots_before.append(old)
        self.slots[index] = Slot(self, index)
        self.slots[index].factor = self._factor

    def _has(self, slot: Slot) -> bool:
        """Whether a slot is one of this worker's, and not one that was replaced."""
        return slot.index < len(self.slots) and self.slots[slot.index] is slot

    # --- messages -------------------------------------------------------------------------------------------------

    def receive(self, message: Message, frames: Frames) -> None:
        """The master has said something."""
        self._when_it_answers(lambda: self._carry_out(self.core.from_master(message, frames, self.clock.now)))

    def hear(self, slot: Slot, message: Message, frames: Frames = ()) -> None:
        """A slot has said something; the last words of one that was replaced are lost."""
        if self._has(slot):
            self._carry_out(self.core.from_slot(slot.index, message, frames, self.clock.now))

    def _when_it_answers(self, act: Callable[[], None]) -> None:
        """Do this now, or once the machine is not frozen any more."""
        if self._frozen:
            self._waiting.append(act)
        elif self.alive:
            act()

    def _carry_out(self, effects: list[Effect]) -> None:
        """Do what the core wants, as the agent's loop does."""
        for effect in effects:
            match effect:
                case ToMaster():
                    size = self.result_bytes if isinstance(effect.message, messages.Commit) else 0.0
                    self.send(self, effect.message, effect.frames, size)
                case ToSlot():
                    self._to_slot(self.slots[effect.slot], effect.message)
                case Fork():
                    slot = self.slots[effect.slot]
                    self.clock.at(self.clock.now + RESTART_SECONDS, self._ready, (slot, self.boots))
                case Kill():
                    self._replace(effect.slot)
                    self._carry_out(self.core.slot_exited(effect.slot, "killed by its worker", self.clock.now))
                case Leave():
                    self.left = self.core.is_done
                    self.send(self, messages.Bye(), (), 0.0)
                    self.die()
            if not self.alive:
                return
        due = self.core.deadline()
        if due < self._due:
            self._due = due
            self.clock.at(due, self._expire, self.boots)

    @staticmethod
    def _to_slot(slot: Slot, message: Message) -> None:
        if isinstance(message, messages.Lease):
            slot.take(message)
        elif isinstance(message, messages.Truncate | messages.Revoke | messages.Release):
            slot.tell(message)

    def _expire(self, boots: int) -> None:
        """Something is due; of a machine that is frozen, once it is not."""
        if boots == self.boots and self.alive:
            self._due = inf
            if not self._frozen:
                self._carry_out(self.core.expire(self.clock.now))

    # --- results --------------------------------------------------------------------------------------------------

    def rate(self, file: SimulatedFile) -> float:
        """Entries a second for one packet, when the file server gives what is asked for."""
        rate = self.speed
        if self.group.jitter:
            # The mean of the time per entry is that of the speed; the logarithm is normal.
            rate /= self.random.lognormvariate(-0.5 * self.group.jitter**2, self.group.jitter)
        if self.group.rate is not None and file.bytes_per_entry:
            rate = min(rate, self.group.rate / len(self.slots) / file.bytes_per_entry)
        return rate

    def finished(self, slot: Slot, lease: messages.Lease, start: int, stop: int, seconds: float) -> None:
        """A slot is through with a lease, and hands its result over."""
        self.record.packets += 1
        self.record.apart += lease.apart
        size = int(self.files[lease.file.path].bytes_per_entry * (stop - start))
        self.hear(slot, messages.Finished(lease.query, lease.lease, stop, seconds, seconds, size))
        result = Partial(Nothing(), stop - start).to_frames()
        self.hear(slot, messages.Commit(0, lease.query, [Part(lease.lease, start, stop)]), result)
