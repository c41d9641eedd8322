"""A little world around the master core: sessions and workers that exchange messages with it in virtual time.

The workers here know nothing of reading or merging; they keep to the protocol, at random speeds, and die at random. The
partial result of a range is a Counter of its entries, so that a test can see which entries were merged, and how often.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from eventmill.master import effects
from eventmill.master.core import MasterCore
from eventmill.master.journal import Journal
from eventmill.master.recorder import Recorder, Retrieved, Tidied, Written
from eventmill.merge import Partial, decode, encode
from eventmill.protocol import messages as m
from eventmill.protocol.codec import Buffer
from property_tests import at_night

PYTHON = "3.11"
OFTEN = 50
"""So many messages are checked one by one, the next ones every second time, and so on. At night all are."""


@dataclass
class FakeWorker:
    """Holds leases and what it has processed and not committed."""

    identity: bytes
    slots: int
    queues: dict[int, list[m.Lease]] = field(default_factory=dict)
    waiting: list[tuple[m.Lease, int, int]] = field(default_factory=list)
    asked: list[m.Truncate] = field(default_factory=list)
    deaf: bool = False
    drained: bool = False

    def take(self, lease: m.Lease) -> None:
        self.queues.setdefault(lease.slot, []).append(lease)


class World:
    """A master core, its sessions and workers, and what was merged.

    Args:
        lengths: entries of each file of the dataset, hidden from the master until a worker opens the file.
        seed: of the random generator that decides what happens next.
    """

    def __init__(self, lengths: list[int], seed: int = 0) -> None:
        self.lengths = {f"file{index}": length for index, length in enumerate(lengths)}
        self.random = random.Random(seed)
        self.core = MasterCore("test", PYTHON)
        self.now = 0.0
        self.workers: dict[bytes, FakeWorker] = {}
        self.merged: dict[str, Counter[tuple[str, int]]] = {}
        self.merges: list[effects.Merge] = []
        self.inbox: dict[bytes, list[m.Message]] = {}
        self.layouts: list[tuple[bytes, str, list[bytes]]] = []
        """Layouts that came with leases: who got them, of which file."""
        self.ended: dict[str, m.Ended] = {}
        self.to_take: list[effects.Take] = []
        self.to_shrink: list[effects.Shrink] = []
        self.lost: dict[str, list[m.LostRange]] = {}
        self.snapshots: dict[str, int] = {}
        self.replaced: list[effects.Replace] = []
        self.commits = 0
        self.errors = 0
        """Errors of the master's that may be."""
        self.sent: list[m.Message] = []
        self.keys: dict[bytes, str] = {}
        """Of peers that come with others than the usual two, which are called as their roles."""
        self.unchecked = 0
        """Messages since the last check."""

    # --- peers ----------------------------------------------------------------------------------------------------

    def hello(self, identity: bytes, role: m.Role, slots: int = 0, **changes: object) -> None:
        hello = m.Hello(role, identity.decode(), version="test", python=PYTHON, slots=slots)
        if role == "worker":
            self.workers[identity] = FakeWorker(identity, slots)
        self.tell(identity, role, msgspec.structs.replace(hello, **changes))

    def submit(self, identity: bytes = b"session", files: int | None = None, **options: object) -> str:
        """Submit a query over the first `files` files; returns its number."""
        names = list(self.lengths)[:files]
        return self.submit_files([m.File(name) for name in names], identity, **options)

    def submit_files(self, files: list[m.File], identity: bytes = b"session", **options: object) -> str:
        """Submit a query over files as they are described here."""
        options = {"owner": identity.decode()} | options
        submit = m.Submit(1, "test", "kernel", "digest", **options)
        self.tell(identity, "session", submit, [b"analysis", msgspec.msgpack.encode(files)])
        accepted = [message for message in self.inbox[identity] if isinstance(message, m.Accepted)]
        self.merged[accepted[-1].query] = Counter()
        return accepted[-1].query

    def tell(self, identity: bytes, role: str, message: m.Message, frames: Sequence[Buffer] | None = None) -> None:
        self.sent.append(message)
        key = self.keys.get(identity, role)
        self.carry_out(self.core.receive(identity, key, message, frames or [], self.now))

    def kill(self, identity: bytes) -> None:
        """A worker dies; the master sees its connection end."""
        del self.workers[identity]
        self.carry_out(self.core.disconnected(identity, self.now))

    def pass_time(self, seconds: float) -> None:
        """The master listens for so long, in turns as those of its loop."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            self.carry_out(self.core.expire(self.now))

    def drain(self, identity: bytes, seconds: float = 0.0) -> None:
        """A worker says that it leaves."""
        self.workers[identity].drained = True
        self.tell(identity, "worker", m.Draining(seconds))

    # --- what workers do ------------------------------------------------------------------------------------------

    def work(self, worker: FakeWorker, slot: int) -> None:
        """Process the slot's next lease: open the file if need be, finish all of the lease or part of it."""
        lease = worker.queues[slot].pop(0)
        length = self.length(lease)
        stop = lease.stop
        if lease.opening:
            stop = min(length, lease.stop)
            if self.random.random() < 0.3:
                stop = self.random.randint(min(1, stop), stop)
            self.tell(worker.identity, "worker", m.Opened(lease.query, lease.lease, length, stop, [0, length]))
        if self.random.random() < 0.2 and stop > lease.start:
            stop = self.random.randint(lease.start + 1, stop)
        worker.waiting.append((lease, lease.start, stop))
        self.tell(
            worker.identity, "worker", m.Finished(lease.query, lease.lease, stop, 0.01 * (stop - lease.start), 0.0, 0)
        )

    def length(self, lease: m.Lease) -> int:
        """Entries of the file that a lease is of: of one with a list those that are listed, numbered from 0."""
        if lease.runs is not None and lease.opening:
            return len(entries_of(lease.runs))
        return self.lengths[lease.file.path]

    def commit(self, worker: FakeWorker) -> None:
        """Commit everything that waits, query by query."""
        together: dict[tuple[str, int], list[tuple[m.Lease, int, int]]] = {}
        for item in worker.waiting:
            lease = item[0]
            together.setdefault((lease.query, lease.lease if lease.apart else -1), []).append(item)
        worker.waiting = []
        for (query, _), mine in together.items():
            parts = [m.Part(lease.lease, start, stop) for lease, start, stop in mine]
            entries = Counter(
                (lease.file.path, entry) for lease, start, stop in mine for entry in real(lease, start, stop)
            )
            self.commits += 1
            self.tell(worker.identity, "worker", m.Commit(self.commits, query, parts), packed(entries))

    def answer(self, worker: FakeWorker) -> None:
        """Answer a truncation, as far as it still makes sense."""
        asked = worker.asked.pop(0)
        for queue in worker.queues.values():
            for position, lease in enumerate(queue):
                if (lease.query, lease.lease) == (asked.query, asked.lease):
                    stop = max(lease.start, min(lease.stop, asked.stop + self.random.randrange(3)))
                    if stop == lease.start:
                        del queue[position]
                    else:
                        queue[position] = msgspec.structs.replace(lease, stop=stop)
                    self.tell(worker.identity, "worker", m.Truncated(asked.query, asked.lease, stop))
                    return

    # --- the loop -------------------------------------------------------------------------------------------------

    def carry_out(self, todo: list[effects.Effect]) -> None:
        for effect in todo:
            match effect:
                case effects.Send(identity, message, frames):
                    self.inbox.setdefault(identity, []).append(message)
                    if isinstance(message, m.Lease) and identity in self.workers:
                        self.workers[identity].take(message)
                        self.layouts += [(identity, message.file.path, frames)] if frames else []
                    elif isinstance(message, m.Truncate) and identity in self.workers:
                        self.workers[identity].asked.append(message)
                    elif isinstance(message, m.Revoke) and identity in self.workers:
                        self.revoke(self.workers[identity], message)
                    elif isinstance(message, m.Release) and identity in self.workers:
                        self.release(self.workers[identity], message.query)
                    elif isinstance(message, m.Ended):
                        self.ended[message.query] = message
                        told = sum(info.processed for info in message.report)
                        assert told == message.account.processed, "the report has other entries than the account"
                        lost = frames[message.result_frames]
                        self.lost[message.query] = msgspec.msgpack.decode(lost, type=list[m.LostRange])
                    elif isinstance(message, m.Snapshot):
                        self.snapshots[message.query] = self.snapshots.get(message.query, 0) + 1
                case _:
                    self.merge(effect)
        assert self.core.errors <= self.errors
        self.unchecked += 1
        if at_night() or self.unchecked > len(self.sent) // OFTEN + len(self.workers) // OFTEN:
            self.check()

    def check(self) -> None:
        """Whether all that the master keeps in several places agrees. That takes the time of a hundred messages where there
        are many slots: after each message of a small world that begins, and then more and more seldom."""
        self.unchecked = 0
        self.core.check()

    def merge(self, task: effects.Effect) -> None:
        """Do what the merger is asked for."""
        match task:
            case effects.Merge(query, frames):
                self.merges.append(task)
                self.merged[query].update(unpacked(frames))  # `+=` would look at all that is merged, each time
            case effects.Replace():
                self.replaced.append(task)
            case effects.Take():
                self.to_take.append(task)
            case effects.Shrink():
                self.to_shrink.append(task)

    @staticmethod
    def revoke(worker: FakeWorker, dead: m.Revoke) -> None:
        """Drop a lease that is not begun; one that is processed is somewhere in a sum by now."""
        for queue in worker.queues.values():
            queue[:] = [lease for lease in queue if (lease.query, lease.lease) != (dead.query, dead.lease)]

    @staticmethod
    def release(worker: FakeWorker, query: str) -> None:
        for queue in worker.queues.values():
            queue[:] = [lease for lease in queue if lease.query != query]
        worker.waiting = [item for item in worker.waiting if item[0].query != query]
        worker.asked = [asked for asked in worker.asked if asked.query != query]

    def step(self) -> bool:
        """Let one random thing happen; false when nothing can."""
        things = []
        for worker in self.workers.values():
            if worker.deaf:
                continue
            if worker.asked:
                things.append((self.answer, worker))
            things += [(self.work, worker, slot) for slot, queue in worker.queues.items() if queue]
            if worker.waiting:
                things.append((self.commit, worker))
        if self.to_take:
            things.append((self.take,))
        things += self.chores()
        if not things:
            return False
        act, *arguments = self.random.choice(things)
        act(*arguments)
        self.now += self.random.expovariate(20.0)
        if self.now >= self.core.deadline():
            for worker in self.workers:
                self.tell(worker, "worker", m.Heartbeat())
            for session in list(self.core.sessions):
                self.tell(session, "session", m.Heartbeat())
            self.carry_out(self.core.expire(self.now))
        return True

    def chores(self) -> list[tuple[object, ...]]:
        """What else may happen, beside what workers do."""
        return []

    def take(self) -> None:
        task = self.to_take.pop(0)
        self.carry_out(self.core.taken(task.query, packed(self.merged[task.query]), task.final, self.now))

    def run(self) -> None:
        """Let things happen until nothing can."""
        while self.step():
            pass
        self.check()


class JournaledWorld(World):
    """A world whose master has a journal, and can crash between any two things that its merger does.

    Args:
        lengths: as in `World`.
        folder: where the journal lies.
        seed: as in `World`.
    """

    def __init__(self, lengths: list[int], folder: Path, seed: int = 0) -> None:
        super().__init__(lengths, seed)
        self.path = folder / "journal.sqlite"
        self.tasks: deque[effects.Effect] = deque()
        self.totals: dict[str, Counter[tuple[str, int]]] = {}
        self.mine: dict[str, bytes] = {}
        self.masters = 0
        self._start_master()

    def close(self) -> None:
        self.recorder.close()

    def crash(self) -> None:
        """The master dies, and another one is started; its peers find it, and those who wait for a query ask for it."""
        self.recorder.close()
        self._start_master()
        for worker in self.workers.values():
            worker.queues.clear()
            worker.waiting.clear()
            worker.asked.clear()
            self.tell(worker.identity, "worker", m.Hello("worker", "again", python=PYTHON, slots=worker.slots))
        for session in dict.fromkeys(self.mine.values()):
            self.hello(session, "session")
        for query, session in self.mine.items():
            if query not in self.ended:
                self.tell(session, "session", m.Attach(2, query))

    def _start_master(self) -> None:
        self.tasks.clear()
        self.totals.clear()
        self.masters += 1
        journal = Journal(self.path)
        self.recorder = Recorder(journal)
        self.core = MasterCore("test", PYTHON, tag=f"{self.masters}-", journaled=True)
        self.carry_out(self.core.restore(journal.load(), self.now, time.time()))

    def submit_files(self, files: list[m.File], identity: bytes = b"session", **options: object) -> str:
        """Submit a query; its number comes when the master has written it down."""
        known = set(self.core.queries)
        with contextlib.suppress(IndexError):  # not accepted yet
            super().submit_files(files, identity, **options)
        (number,) = self.core.queries.keys() - known
        while not any(isinstance(it, m.Accepted) and it.query == number for it in self.inbox[identity]):
            self.do_task()
        self.mine[number] = identity
        self.merged[number] = Counter()
        return number

    def merge(self, task: effects.Effect) -> None:
        self.tasks.append(task)

    def chores(self) -> list[tuple[object, ...]]:
        return [(self.do_task,)] if self.tasks else []

    def do_all(self) -> None:
        """The merger does all that it has to do."""
        while self.tasks:
            self.do_task()

    def do_task(self) -> None:
        """The merger does its next task."""
        task, core, now = self.tasks.popleft(), self.core, self.now
        match task:
            case effects.Merge(query, frames, parts):
                self.totals.setdefault(query, Counter()).update(unpacked(frames))
                if not task.unwritten:
                    self.recorder.merged(query, parts)
                return
            case effects.Take(query, final):
                self.merged[query] = self.totals.get(query, Counter()).copy()
                self.carry_out(core.taken(query, packed(self.merged[query]), final, now))
                return
            case effects.Checkpoint(query):
                answer: object = self.recorder.checkpoint(task, packed(self.totals.get(query, Counter())))
            case effects.Drop(query):
                self.totals.pop(query, None)
                return
            case _:
                answer = self.recorder.do(task)
        match answer:
            case Written(query, _, note, ended):  # what a disk needs differs from run to run
                self.carry_out(core.written(query, 0.0, note, now, ended))
            case Retrieved(query, peer, end, read, problem):
                self.carry_out(core.retrieved(query, peer, end, read, problem, now))
            case Tidied(removed, written):
                self.carry_out(core.tidied(removed, written, now))


def packed(entries: Counter[tuple[str, int]]) -> list[bytes]:
    """The partial result of entries: by file, which there are and how often. (A Counter takes long to encode.)"""
    files: dict[str, list[tuple[int, int]]] = {}
    for (path, entry), times in entries.items():
        files.setdefault(path, []).append((entry, times))
    arrays = {path: np.array(counted) for path, counted in files.items()}
    return [bytes(frame) for frame in encode(arrays, entries.total()).to_frames()]


def unpacked(frames: list[bytes]) -> Counter[tuple[str, int]]:
    """The entries of a partial result."""
    files = decode(Partial.from_frames(frames))
    return Counter({(path, entry): times for path, counted in files.items() for entry, times in counted.tolist()})


def entries_of(runs: list[int]) -> list[int]:
    """The entries that runs name."""
    return [entry for start, stop in zip(runs[::2], runs[1::2], strict=True) for entry in range(start, stop)]


def real(lease: m.Lease, start: int, stop: int) -> list[int]:
    """The entries that a part of a lease stands for."""
    if lease.runs is None:
        return list(range(start, stop))
    return entries_of(lease.runs)[start - lease.start : stop - lease.start]
