"""Malformed, truncated, oversized, mutated and replayed messages: at the decoder, at the master core, at a real master.

What comes must be refused in words or do what it says; no exception may leave a loop, nothing may pile up, and a query that
runs beside must come out exactly.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import eventmill as em
import msgspec
import numpy as np
import zmq
from eventmill.cli.sample import write_sample
from eventmill.merge import Partial, encode
from eventmill.protocol import codec
from eventmill.protocol import messages as m
from eventmill.protocol.bundles import Bundle
from eventmill.protocol.connection import Connection, load_connection
from eventmill.protocol.dial import Dial
from eventmill.protocol.errors import RemoteProtocolError
from eventmill.protocol.usage import WorkerInfo
from hist import Hist

from .fleet import Fleet, eventually, fleet, resident
from .table import Report, listed
from .world import World

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MOST_GROWTH = 32 * 2**20
"""Bytes that a master may take more after all of it than after a tenth of it."""
SILENT_LINES = 300
IN_FLIGHT = 500
"""Messages sent before the answers are read."""
Frames = list[codec.Buffer]


def samples() -> list[Frames]:
    """A message of every kind, as a peer could mean it."""
    account = m.Account(
        total=100, processed=50, lost=[m.LostRange("f", "", 0, 5, "why", runs=[0, 5])], notes=["a note"]
    )
    failure = m.Failure("data", "DatasetError", "no answer", path="f", start=3, stop=4, transient=True)
    file = m.File("f.root", "Events", "data", 100, {"x": 1.5, "y": None}, replicas=("g.root",), listed=[0, 3, 7, 9])
    worker = WorkerInfo("w-1", "host", 1, 2, 1, 3, 4, 5.0)
    query = m.QueryInfo("q1-1", "name", "me", "running", account, 1.0)
    partial = encode({"h": Hist.new.Reg(10, 0, 1, name="x").Weight(), "n": 3, "a": np.arange(5)}, entries=9).to_frames()
    every: list[tuple[m.Message, Frames]] = [
        (m.Hello("worker", "w", python=PYTHON, host="h", pid=1), []),
        (m.Hello("session", "s", python=PYTHON), []),
        (m.Welcome("w-1", "1", 1.0, 5.0), []), (m.Heartbeat(), []), (m.Fault("why"), []), (m.Unknown(), []), (m.Bye(), []),
        (m.Submit(1, "name", "kernel", "digest", "me", ["x"], limit=5), [b"code", msgspec.msgpack.encode([file]), b"mask"]),
        (m.Stop("q1-1", True), []), (m.Remove("q1-1"), []), (m.Attach(1, "q1-1"), []), (m.Seen("q1-1"), []),
        (m.Leave("q1-1"), []),
        (m.Ask(1, "queries"), []), (m.Drain("w-9"), []), (m.Accepted(1, "q1-1"), []), (m.Refused(1, "why"), []),
        (m.Queries(1, [query]), []), (m.Workers(1, [worker]), []), (m.Progress("q1-1", account, 1, 2, 3, 4, 5.0), []),
        (m.Snapshot("q1-1", account, 1.0), list(partial)),
        (m.Ended("q1-1", "failed", account, 1.0, [worker], failure), [b""]),
        (m.Setup("q1-1", "kernel", "digest"), [b"code"]), (m.Lease(3, "q1-1", 0, file, 0, 10, 1.0, runs=[0, 10]), []),
        (m.Truncate("q1-1", 3, 5), []), (m.Revoke("q1-1", 3), []), (m.Release("q1-1"), []), (m.Committed(1, True), []),
        (m.Compact("q1-1", 0), list(partial)), (m.Opened("q1-1", 3, 100, 50, [0, 50, 100], "id", [0, 100]), []),
        (m.Reached("q1-1", 3, 5), []), (m.Truncated("q1-1", 3, 5), []), (m.Finished("q1-1", 3, 5, 1.0, 1.0, 9), []),
        (m.Commit(1, "q1-1", [m.Part(3, 0, 10, [m.Gap(2, 3, "bad")])]), list(partial)),
        (m.Failed("q1-1", 3, failure), [b"pickle"]), (m.Skipped("q1-1", failure), [b"pickle"]),
        (m.Compacted("q1-1", 0), list(partial)), (m.SlotDown(0, [m.LeaseKey("q1-1", 3)], "why", start=1, stop=2), []),
        (m.SlotUp(0), []), (m.Draining(5.0), []),
    ]  # fmt: skip
    encoded = [codec.encode(message, frames) for message, frames in every]
    together = Bundle()
    for frames in encoded[-20:]:
        assert together.add(frames)
    return [*encoded, together.taken()]


class Mutator:
    """Makes bad messages out of good ones."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._samples = samples()
        self.kinds: Counter[str] = Counter()

    def frames(self) -> Frames:
        """The next message."""
        random = self._random
        sample = random.choice(self._samples)
        name, make = random.choices(list(self._WAYS.items()), self._WEIGHTS)[0]
        self.kinds[name] += 1
        return make(self, sample)

    def structural(self, sample: Frames) -> Frames:
        """A field, somewhere, has another value: well-formed MessagePack that may be a message or not."""
        tree = msgspec.msgpack.decode(sample[0])
        for _ in range(self._random.choice((1, 1, 2, 5))):
            tree = self._changed(tree)
        return [msgspec.msgpack.encode(tree), *sample[1:]]

    def bytes_changed(self, sample: Frames) -> Frames:
        changed = [bytearray(frame) for frame in sample]
        for _ in range(self._random.choice((1, 1, 3, 10))):
            frame = self._random.choice(changed)
            if frame:
                frame[self._random.randrange(len(frame))] = self._random.randrange(256)
        return [bytes(frame) for frame in changed]

    def truncated(self, sample: Frames) -> Frames:
        cut = self._random.randrange(len(sample))
        frame = bytes(sample[cut])
        return [*sample[:cut], frame[: self._random.randrange(len(frame) + 1)]]

    def garbage(self, sample: Frames) -> Frames:
        lengths = self._random.choices((0, 1, 10, 100, 1000), k=self._random.randint(1, 4))
        return [self._random.randbytes(length) for length in lengths]

    def spliced(self, sample: Frames) -> Frames:
        """The head of one message with the frames of another."""
        other = self._random.choice(self._samples)
        return [sample[0], *other[1:], *(self._random.randbytes(20) for _ in range(self._random.randrange(3)))]

    def nested(self, sample: Frames) -> Frames:
        level = self._random.choice((b"\x91", b"\x81\xa1a"))
        return [level * self._random.choice((100, 5000, 50_000)) + bytes(sample[0])]

    def replayed(self, sample: Frames) -> Frames:
        """A message as it was meant, once more, by whoever it is that says it now."""
        return sample

    def too_large(self, sample: Frames) -> Frames:
        if self._random.random() < 0.5:
            return [b"\0" * (codec.MAX_HEADER + 1)]
        return [sample[0], *([b""] * codec.MAX_FRAMES)]

    _WAYS = {  # noqa: RUF012 - a table
        "a field changed": structural,
        "bytes changed": bytes_changed,
        "truncated": truncated,
        "garbage": garbage,
        "spliced": spliced,
        "nested": nested,
        "replayed": replayed,
        "too large": too_large,
    }
    _WEIGHTS = (300, 250, 100, 100, 100, 5, 100, 0.1)

    def _changed(self, tree: Any) -> Any:
        """The same tree with one value replaced, dropped or added."""
        random = self._random
        if isinstance(tree, dict) and tree and random.random() < 0.9:
            key = random.choice(list(tree))
            if random.random() < 0.1:
                return {name: value for name, value in tree.items() if name != key}
            return tree | {key: self._changed(tree[key])}
        if isinstance(tree, list) and tree and random.random() < 0.8:
            index = random.randrange(len(tree))
            return [*tree[:index], self._changed(tree[index]), *tree[index + 1 :]]
        if isinstance(tree, int) and random.random() < 0.6:
            return max(-(2**63), min(2**64 - 1, tree + random.choice((-1, 1, 2, 100, 10**6, 2**31, 2**62, -(2**62)))))
        return random.choice(
            (None, True, -1, 0, 1, 2**62, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf"), -1e300, "", "x", "q1-1",
             "\0", "x" * 2000, b"", b"x" * 50, [], [1, 2], {}, {"type": "Hello"}, [[]], "worker", "session")
        )  # fmt: skip


# --- the decoder ----------------------------------------------------------------------------------------------------


def decoder(count: int, seed: int = 0) -> Report:
    """Decode so many bad messages, and the partial results in them; anything but a protocol error goes through."""
    mutator = Mutator(Random(seed))
    refused = accepted = partials = 0
    before = 0
    for index in range(count):
        if index == count // 10:
            before = resident(os.getpid())
        frames = mutator.frames()
        try:
            said = codec.decode_all(frames)
        except RemoteProtocolError:
            refused += 1
            continue
        accepted += 1
        assert all(isinstance(message, m.Any) for message, _ in said)
        with contextlib.suppress(RemoteProtocolError):
            for _, rest in said:
                if rest:
                    Partial.from_frames(rest)
                    partials += 1
    grown = resident(os.getpid()) - before
    report = Report(
        {
            "decoder: messages": f"{count:,}: {listed(mutator.kinds)}",
            "decoder: refused in words": f"{refused:,}; {accepted:,} were messages, {partials:,} partial results",
            "decoder: memory": f"{grown / 2**20:+.1f} MB after the first tenth",
        }
    )
    if grown > MOST_GROWTH:
        report.problems.append(f"the decoder has grown by {grown:,} bytes")
    return report


# --- the core -------------------------------------------------------------------------------------------------------


def core(count: int, seed: int = 0) -> Report:
    """Let workers lie: what they say to the master in a simulated world is changed in so many messages, on live leases too.

    Their queries need not end well then. But no exception leaves the core, and its invariants hold.
    """
    random = Random(seed)
    mutator = Mutator(random)
    lies = worlds = 0
    problems: list[str] = []
    while lies < count and len(problems) < 10:
        worlds += 1
        try:
            lies += _lie(World(seed + worlds), random, mutator)
        except Exception as error:
            problems.append(f"a world of lies, seed {seed + worlds}: {error!r}")
    return Report({"core: lies of workers": f"{lies:,} in {worlds:,} simulated worlds"}, problems)


def _lie(world: World, random: Random, mutator: Mutator) -> int:
    for session in world.sessions:
        session.trusts = False
    lies = 0
    while lies < 200 and world.clock.now < 300.0:
        world.clock.step()
        if random.random() > 0.2 or not world.agents:
            continue
        dial = random.choice(world.agents).dial
        if dial.line is not None and dial.said:
            lies += 1
            lie = mutator.structural(random.choice(dial.said[-8:]))
            world.clock.after(random.uniform(0.0, 0.01), dial.line.twist, lie)
            world.check()
    return lies


def everything(count: int, seed: int = 0) -> Report:
    """All of it: one half of the messages at the decoder, a tenth as lies, the rest at a real master."""
    parts = [decoder(count // 2, seed), core(count // 10, seed), master(count - count // 2 - count // 10, seed)]
    figures = {name: value for part in parts for name, value in part.figures.items()}
    return Report(figures, [problem for part in parts for problem in part.problems])


# --- a real master --------------------------------------------------------------------------------------------------


def met(events: Any) -> dict[str, Any]:
    """The analysis of the query that runs beside."""
    return {"met": Hist.new.Reg(50, 0, 200).Double().fill(events.MET_pt), "events": len(events)}


@dataclass
class Beside:
    """A session that runs one query after the other, and compares."""

    client: Path
    data: em.Dataset
    queries: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        if not self._ready.wait(60.0):
            raise TimeoutError(f"the first query does not end: {self.problems}")

    def close(self) -> None:
        """After the query at hand."""
        self._enough.set()
        self._thread.join(60.0)
        if self._thread.is_alive():
            self.problems.append("the last query beside does not end")

    def _run(self) -> None:
        try:
            with em.connect(self.client) as session:
                first: Any = session.process(self.data, met).result(timeout=60.0)
                self._ready.set()
                while not self._enough.is_set():
                    result: Any = session.process(self.data, met).result(timeout=60.0)
                    self.queries += 1
                    if result["met"] != first["met"] or result["events"] != first["events"]:
                        self.problems.append(f"query {self.queries} beside has another result")
        except Exception as error:
            self.problems.append(f"the query beside: {error!r}")


class Nuisance:
    """A peer with a valid key that says what it likes; it reads the answers, and calls anew now and then."""

    def __init__(self, connection: Connection, random: Random) -> None:
        self._connection = connection
        self._random = random
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._mutator = Mutator(random)
        self._rounds = 0
        self._open()

    @property
    def kinds(self) -> Counter[str]:
        return self._mutator.kinds

    def say(self, count: int) -> None:
        """So many messages, then the answers to them."""
        for _ in range(count):
            frames = self._mutator.frames()
            while _would_work(frames, self._random):
                frames = self._mutator.frames()
            self._dial.send(frames)
        self._rounds += 1
        mark = f"mark {self._rounds}."
        self._dial.send(codec.encode(m.Hello(self._connection.role, "nuisance", python=mark)))  # is refused, and why
        self._listen(mark)
        if self._random.random() < 0.05:
            self._dial.close()
            self._open()

    def close(self) -> None:
        """Without a word."""
        self._dial.close()
        self._context.term()

    def _open(self) -> None:
        self._dial = Dial(self._context, self._connection)
        self._dial.socket.set(zmq.LINGER, 0)
        role = self._connection.role
        if self._random.random() < 0.8:
            self._dial.send(codec.encode(m.Hello(role, "nuisance", python=PYTHON)))

    def _listen(self, mark: str) -> None:
        """Until the master has answered all of it, or has broken the line."""
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline:
            if not self._dial.socket.poll(200):
                self._dial.take_events()
                if not self._dial.connected:
                    return
                continue
            frames = self._dial.socket.recv_multipart(copy=False)
            said = codec.decode_all([frame.buffer for frame in frames])
            if any(isinstance(message, m.Fault) and mark in message.reason for message, _ in said):
                return
        raise TimeoutError("the master does not answer a nuisance")


def _would_work(frames: Frames, random: Random) -> bool:
    """Whether a message would rightly end the master, or take the place of real work: that is what keys are for. A few
    submissions may go through: they are queries over files that do not exist.
    """
    try:
        said = codec.decode_all(frames)
    except RemoteProtocolError:
        return False
    if any(isinstance(message, m.Submit) for message, _ in said):
        return random.random() < 0.9
    return any(isinstance(it, m.Shutdown) or (isinstance(it, m.Hello) and it.slots > 0) for it, _ in said)


@contextlib.contextmanager
def silent_lines(port: int, count: int, random: Random) -> Iterator[None]:
    """Connections that say nothing, or no ZMTP, or stop in the middle of it, and stay."""
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01CURVE" + b"\0" * 15 + b"\0" * 32
    words = (b"", b"GET / HTTP/1.1\r\n\r\n", random.randbytes(200), greeting[:20], greeting + b"\x04\xff")
    lines = []
    try:
        for _ in range(count):
            line = socket.create_connection(("127.0.0.1", port))
            lines.append(line)
            with contextlib.suppress(OSError):
                line.sendall(random.choice(words))
        yield
    finally:
        for line in lines:
            line.close()


def master(count: int, seed: int = 0, lines: int = SILENT_LINES) -> Report:
    """Send so many bad messages to a real master, beside queries that real slots work on."""
    with tempfile.TemporaryDirectory(prefix="eventmill-fuzz-") as folder, fleet(Path(folder)) as there:
        return _fuzz_master(there, count, Random(seed), lines)


def _fuzz_master(there: Fleet, count: int, random: Random, lines: int) -> Report:
    process = there.start_master().process
    there.start_worker(1)
    paths = write_sample(there.folder / "sample", events=20_000, files=2)
    beside = Beside(there.client, em.Dataset([str(path) for path in paths], tree="Events"))
    nuisances = [Nuisance(load_connection(there.keys / name), random) for name in ("client.json", "worker.json") * 2]
    before, sent, began = 0, 0, time.monotonic()
    with silent_lines(there.port, lines, random):
        while sent < count:
            random.choice(nuisances).say(IN_FLIGHT)
            sent += IN_FLIGHT
            if not before and sent >= count // 10:
                before = resident(process.pid)
        seconds = time.monotonic() - began
        beside.close()
    after = resident(process.pid)
    for nuisance in nuisances:
        nuisance.close()
    kinds = sum((nuisance.kinds for nuisance in nuisances), Counter[str]())
    problems = [*beside.problems, *there.complaints()[:10]]
    if after - before > MOST_GROWTH:
        problems.append(f"the master has grown from {before / 2**20:.1f} MB to {after / 2**20:.1f} MB")
    if process.poll() is not None:
        problems.append(f"the master has ended: {process.returncode}")
    else:
        _still_listens(there)
    return Report(
        {
            "master: messages": f"{sent:,} in {seconds:.0f} s: {listed(kinds)}",
            "master: other lines": f"{lines} that say nothing, no ZMTP, or stop in the middle of it",
            "master: memory": f"{before / 2**20:.1f} MB after the first tenth, {after / 2**20:.1f} MB at the end",
            "master: queries beside": f"{beside.queries}, all with the same result in every bin",
        },
        problems,
    )


def _still_listens(there: Fleet) -> None:
    """New peers are let in."""
    with em.connect(there.client) as session:
        eventually(lambda: len(session.workers()) >= 1, "the worker is there", 30.0)
