# mypy: allow-untyped-defs
"""What merging costs: dense arrays, many histograms, leases meanwhile, and a session that looks at little.

    python -m benchmarks.merging                    two minutes; --help lists the parts

Each part runs in a process of its own. CPU seconds are beside those of the clock, which other work on the machine lengthens.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from eventmill.master.effects import Checkpoint, Merge, SaveSubmission, Take
from eventmill.master.journal import Journal
from eventmill.master.merger import Merger, Taken
from eventmill.merge import Total, encode
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import load_connection, make_keys
from eventmill.protocol.dial import hello_of
from eventmill.protocol.messages import File, Message, Part
from eventmill.protocol.pieces import cut

MEGABYTES = 200
HISTOGRAMS, BINS = 40_000, 50
ENTRIES = 100
LOOKED_AT = 10_000


def timed(work: Callable[[], Any], times: int = 1) -> tuple[float, float]:
    """Seconds, of the clock and of CPU, that it takes once."""
    began, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times, (time.process_time() - used) / times


def line(what: str, seconds: tuple[float, float], peer: str = "") -> None:
    """One line of a table."""
    print(f"| {what} | {seconds[0]:.3g} | {seconds[1]:.3g} | {peer} |", flush=True)


# --- dense arrays -------------------------------------------------------------------------------------------------------


def dense(partials: int = 64) -> None:
    """Merge so many partial results of 200 MB, as they come from the wire, with a snapshot after each eighth."""
    sources = [np.random.default_rng(seed).random(MEGABYTES * 125_000) for seed in range(2)]
    frames = [encode({"x": source}, 1).to_frames() for source in sources]
    total = sources[0].copy()
    by_numpy = timed(lambda: np.add(total, sources[1], out=total), partials)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    merged = Total()
    kept: list[Any] = []

    def merge() -> None:
        for number in range(partials):
            merged.add_frames(frames[number % 2])
            if number % 8 == 7:
                kept[:] = [merged.to_frames()]

    ours = timed(merge)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000 / MEGABYTES
    size = partials * MEGABYTES / 1000
    line(f"numpy.add, {partials} x {MEGABYTES} MB", (by_numpy[0] * partials, by_numpy[1] * partials))
    rate = f"{size / ours[0]:.1f} GB/s, {by_numpy[0] * partials / ours[0]:.2f} of numpy's"
    line(f"merged, {partials} x {MEGABYTES} MB, 8 snapshots", ours, f"{rate}; {grown:.1f} results of memory")


# --- many histograms ----------------------------------------------------------------------------------------------------


def histograms() -> None:
    """What a packet's histograms take from being filled to being in the master's total."""
    from hist import Hist

    rng = np.random.default_rng(1)
    values, weights = rng.random(10_000) * 100, rng.random(10_000)
    empty = [Hist.new.Reg(BINS, 0, 100, name=f"v{number}").Weight() for number in range(20)]

    def fill() -> dict[str, Any]:
        made = {f"{n % 1000}_{n // 1000}": empty[n % 20].copy() for n in range(HISTOGRAMS)}
        for h in made.values():
            h.fill(values, weight=weights)
        return made

    found: list[Any] = []
    line("filled, 10,000 weighted events each", timed(lambda: found.append(fill())))
    first = found[0]
    second = {name: h.copy() for name, h in first.items()}

    def plain() -> None:
        for name in second:
            second[name] += first[name]

    line("added by boost-histogram's `+=`", timed(plain))
    try:
        from coffea.processor import accumulate

        line("added by coffea's `accumulate`", timed(lambda: accumulate([first, second])))
    except ImportError:
        print("| coffea is not installed | | | |")
    partial: list[Any] = []
    line("encoded, in a slot", timed(lambda: partial.append(encode(first, 1))))
    slot = Total()
    slot.add(partial[0])
    line("added, in a slot", timed(lambda: slot.add(partial[0])))
    frames: list[Any] = []
    line("put into frames, in a slot", timed(lambda: frames.append(slot.partial().to_frames(thin=True))))
    sizes = [len(frame) for frame in frames[0]]
    agent = Total()
    line("first one, in an agent", timed(lambda: agent.add_frames(frames[0])))
    told = f"{len(sizes)} frames, {sum(sizes) / 1e6:.1f} MB"
    line("each further one, in agent and master", timed(lambda: agent.add_frames(frames[0]), 10), told)
    agent.clear()
    line("first one after a commit, in an agent", timed(lambda: agent.add_frames(frames[0])))


def sparse(filled: int = 100) -> None:
    """A packet that fills a few of a million bins, on its way to the master's total."""
    cells = np.zeros(10**6)
    cells[np.random.default_rng(1).choice(len(cells), filled, replace=False)] = 1.0
    partial = encode({"h": cells}, 1)
    dense, thin = partial.to_frames(), partial.to_frames(thin=True)
    total = Total()
    total.add_frames(dense)
    told = f"{sum(map(len, thin)):,} bytes in the place of {sum(map(len, dense)):,}"
    line(f"{filled} of a million bins put into frames", timed(lambda: partial.to_frames(thin=True), 20), told)
    line("added, in agent and master", timed(lambda: total.add_frames(thin), 100))
    line("added, if they were dense", timed(lambda: total.add_frames(dense), 100))


# --- totals in the journal ----------------------------------------------------------------------------------------------


def journal(datasets: int = 20) -> None:
    """Write a total of 200 MB of many datasets down, after one of them has grown and after all have; and take a small result
    of another query meanwhile."""
    packets = {
        f"d{number}": np.random.default_rng(number).random(MEGABYTES * 125_000 // datasets)
        for number in range(datasets)
    }
    total, entries = Total(), 0
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Journal(Path(folder, "journal.sqlite"))) as kept:
        kept.submitted("q1", messages.Submit(1, "bench", "kernel", "bench"), [b"", b""], 0.0)
        for what, names in (("first time", packets), ("one of 20 has grown", ["d3"]), ("all have grown", packets)):
            total.add_frames(encode({name: packets[name] for name in names}, 1).to_frames())
            kept.merged("q1", [(0, entries, entries + 1)])
            entries += 1
            before = _written()
            took = timed(lambda: kept.checkpoint("q1", total.to_frames(), messages.Account()))
            line(f"written to the journal, {what}", took, f"{(_written() - before) / 1e6:.0f} MB to files")
    context: zmq.Context[Any] = zmq.Context()
    with tempfile.TemporaryDirectory() as folder:
        merger = Merger(context, Journal(Path(folder, "journal.sqlite")))

        def until(kind: type[Any]) -> None:
            while not isinstance(merger.answers.popleft() if merger.wakeup.recv() == b"" else None, kind):
                pass

        for query, result in (("q1", packets), ("q2", 7)):
            merger.ask(SaveSubmission(query, messages.Submit(1, "bench", "kernel", "bench"), [b"", b""]))
            merger.ask(Merge(query, encode(result, 1).to_frames(), [(0, 0, 1)]))
            merger.ask(Take(query, final=False))
            until(Taken)
        merger.ask(Checkpoint("q1", messages.Account(), []))
        merger.ask(Take("q2", final=False))
        line("a small result of another query, meanwhile", timed(lambda: until(Taken)))
        merger.close()
    context.term()


def _written() -> int:
    """Bytes that this process has written."""
    return next(int(it.split()[1]) for it in Path("/proc/self/io").read_text().splitlines() if it.startswith("wchar"))


# --- leases while large results arrive ----------------------------------------------------------------------------------


class Peer:
    """A socket that says what a peer says, and does no work."""

    def __init__(self, role: Any, file: Path) -> None:
        connection = load_connection(file)
        self._context: zmq.Context[Any] = zmq.Context()
        self._joiner = codec.joiner()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.CURVE_SERVERKEY, connection.server_key.encode())
        self.socket.set(zmq.CURVE_PUBLICKEY, connection.public_key.encode())
        self.socket.set(zmq.CURVE_SECRETKEY, connection.secret_key.encode())
        self.socket.connect(connection.address)
        self._heard: deque[Message] = deque()
        self.say(hello_of(role, slots=1 if role == "worker" else 0))

    def say(self, message: Message, frames: codec.Frames = ()) -> None:
        for parcel in cut(codec.encode(message, frames)):
            self.socket.send_multipart(parcel, copy=not frames or len(frames[-1]) < 65536)

    def hear(self, timeout: float = 30.0) -> Message:
        while self._heard or self.socket.poll(int(timeout * 1000)):
            if self._heard:
                return self._heard.popleft()
            if (whole := self._joiner.add(self.socket.recv_multipart())) is not None:
                self._heard.extend(message for message, _ in codec.decode_all(whole))
        raise TimeoutError("nothing was heard")


def work(file: Path, megabytes: float, seconds: float) -> list[float]:
    """Answer leases with results of this size for so long: the time from each commit to its answer and a next lease."""
    peer, commits, took = Peer("worker", file), 0, []
    frames = encode({"x": np.ones(int(megabytes * 125_000))} if megabytes else None, ENTRIES).to_frames()
    leases: list[messages.Lease] = []
    end = time.monotonic() + seconds
    spoken = time.monotonic()
    while time.monotonic() < end:
        while not leases:
            message = peer.hear()
            if isinstance(message, messages.Lease):
                leases.append(message)
        lease = leases.pop(0)
        if lease.opening:
            peer.say(messages.Opened(lease.query, lease.lease, ENTRIES, ENTRIES, []))
        peer.say(messages.Finished(lease.query, lease.lease, ENTRIES, 0.01, 0.01, 0, elapsed=0.01, made=1))
        commits += 1
        began = time.monotonic()
        peer.say(messages.Commit(commits, lease.query, [Part(lease.lease, lease.start, ENTRIES)]), frames)
        answered = False
        while not (answered and leases):
            message = peer.hear()
            answered = answered or isinstance(message, messages.Committed)
            if isinstance(message, messages.Lease):
                leases.append(message)
        took.append(time.monotonic() - began)
        if time.monotonic() > spoken + 0.5:
            peer.say(messages.Heartbeat())
            spoken = time.monotonic()
        time.sleep(0.002)
    return took


def leases(seconds: float = 8.0) -> None:
    """Small packets of one worker, alone, and while another's results of 200 MB come one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        keys = make_keys(Path(folder, "keys"), "tcp://localhost:1")
        command = [sys.executable, "-m", "eventmill", "master", "bench", "--keys", str(keys.path), "--port", "0"]
        command += ["--host", "127.0.0.1", "--interface", "127.0.0.1", "--no-journal"]
        master = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert master.stdout is not None
            master.stdout.readline()
            session = Peer("session", keys.client)
            files = msgspec.msgpack.encode([File(f"f{number}") for number in range(100_000)])
            session.say(messages.Submit(1, "bench", "kernel", "bench"), [b"", files])
            stop = threading.Event()
            listener = threading.Thread(target=_listen, args=(session, stop), daemon=True)
            listener.start()
            for large in (False, True):
                pool = multiprocessing.get_context("spawn").Pool(2)
                others = [pool.apply_async(work, (keys.worker, MEGABYTES, seconds + 3))] if large else []
                time.sleep(2.0 * large)
                took = pool.apply(work, (keys.worker, 0, seconds))
                came = sum(len(other.get()) for other in others)
                pool.terminate()
                p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
                how = f"while {came} x {MEGABYTES} MB came in {seconds + 3:.0f} s" if large else "alone"
                print(
                    f"| commit to answer and next lease, {how} | p50 {p50:.1f} ms | p99 {p99:.1f} ms | {len(took)} packets |"
                )
            stop.set()
            listener.join()
        finally:
            master.kill()
            master.wait()


def _listen(session: Peer, stop: threading.Event) -> None:
    while not stop.is_set():
        if session.socket.poll(200):
            session.socket.recv_multipart()
        session.say(messages.Heartbeat())


# --- a session that looks at little -------------------------------------------------------------------------------------


def looking(seconds: float = 8.0) -> None:
    """Bytes that come to a session while it looks at one of ten thousand histograms, beside those of the whole result."""
    import eventmill as em
    from hist import Hist

    def many(cycles: Any) -> dict[str, Any]:
        h = Hist.new.Reg(100, 0, 1).Weight()
        h.fill(np.random.default_rng(1).random(len(cycles)), weight=1.0)
        return {f"h{number}": h for number in range(LOOKED_AT)}

    with em.connect(slots=1) as session:
        received = _count_received(session)
        query = session.process(em.cycles(10**9, seed=1), many)
        end, snapshots, before = time.monotonic() + seconds, 0, 0
        for snapshot in query.stream():
            if snapshot.final:
                break
            assert snapshot["h7"].sum().value == snapshot.account.processed
            snapshots += 1
            before = received[0]
            if time.monotonic() > end:
                query.stop()
        whole = sum(map(len, query.result()._frames))
    print(
        f"| bytes while it ran, {snapshots} snapshots | {before / 1e6:.2f} MB | whole result {whole / 1e6:.2f} MB |",
        end="",
    )
    print(f" {before / max(1, snapshots) / whole:.2%} of it a snapshot |")


def _count_received(session: Any) -> list[int]:
    dial, received = session._watch.link._dial, [0]
    receive = dial.receive

    def counted() -> Any:
        for message, frames in receive():
            received[0] += sum(map(len, frames)) + len(codec.encode(message)[0])
            yield message, frames

    dial.receive = counted
    return received


PARTS = {
    "dense": dense, "histograms": histograms, "sparse": sparse, "journal": journal, "leases": leases, "looking": looking,
}  # fmt: skip


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := [name for name in parts if name not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    print(f"load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name in parts:
        print(f"\n{name}\n| what | seconds | CPU seconds | beside |\n| --- | --: | --: | --- |", flush=True)
        process = multiprocessing.get_context("spawn").Process(target=PARTS[name])
        process.start()
        process.join()


if __name__ == "__main__":
    main()
