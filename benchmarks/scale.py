"""One master, ten thousand workers, a million files: what the running system can take (`python -m benchmarks.scale --help`).

The master is the real one, in a process of its own; workers are sockets that speak the protocol and do no work
(`scale_peers.py`), thousands of them in a process. They share the machine's cores with it: on two cores half of what is
measured is theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import psutil
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import KeyFolder, load_connection, make_keys
from eventmill.protocol.file_blocks import encode_files
from eventmill.protocol.messages import File

from .scale_master import LONG
from .scale_peers import ENTRIES
from .scale_sessions import PATIENCE, Client

A_PROCESS = 5000
"""Peers of one process at most: each has two descriptors."""
APART = 20
"""Workers of those that are looked at in a process of their own."""


class Standing:
    """A master in a process of its own, with new keys."""

    def __init__(self, folder: Path, journal: bool = False) -> None:
        self.keys: KeyFolder = make_keys(folder / "keys", "tcp://localhost:1")
        self._journal = journal
        self._turns = folder / "turns"
        self._port = 0
        self.start()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "benchmarks.scale_master", str(self._turns), "master", "bench", "--keys",
            str(self.keys.path), "--port", str(self._port), "--host", "127.0.0.1", "--interface", "127.0.0.1",
        ]  # fmt: skip
        began = time.monotonic()
        log = (self.keys.path / "log").open("a")
        self._process = subprocess.Popen(
            command + [] * self._journal + ["--no-journal"] * (not self._journal), stdout=subprocess.PIPE, stderr=log
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.starting = time.monotonic() - began
        self.seen = psutil.Process(self._process.pid)
        self._port = int(load_connection(self.keys.client).address.rpartition(":")[2])

    @property
    def cpu(self) -> float:
        """Seconds of a core that it has taken."""
        times = self.seen.cpu_times()
        return float(times.user + times.system)

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.seen.memory_info().rss)

    @property
    def waited(self) -> float:
        """Seconds for which its loop could have gone on, and all cores were taken."""
        return int(Path(f"/proc/{self.seen.pid}/schedstat").read_text().split()[1]) / 1e9

    def longest_turn(self, since: float) -> str:
        """CPU of the longest turn of its loop since then, in ms."""
        turns = [line.split() for line in self._turns.read_text().splitlines()]
        return f"{1000 * max((float(cpu) for ended, cpu in turns if float(ended) > since), default=LONG):.1f}"

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    close = kill


class Workers:
    """Peers in some processes; with `apart`, so many in the last one, which has little else to do than to look at them."""

    def __init__(self, master: Standing, count: int, seconds: float = 0.0, apart: int = 0) -> None:
        self.count = count
        self._reports, self._processes = [], []
        crowd = count - apart
        share = -(-crowd // max(2, -(-crowd // A_PROCESS)))
        self.began = time.monotonic()
        for first in (*range(0, crowd, share), *[crowd] * (apart > 0)):
            report = master.keys.path / f"peers{first}-{time.monotonic()}.json"
            self._reports.append(report)
            command = [
                sys.executable, "-m", "benchmarks.scale_peers", str(master.keys.worker), str(first),
                str(apart if first == crowd else min(share, crowd - first)), str(seconds), str(report),
            ]  # fmt: skip
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE))

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(report.read_text()) for report in self._reports if report.exists()]

    def total(self, name: str) -> Any:
        return sum(told[name] for told in self.told())

    def all(self, name: str) -> list[float]:
        return sorted(value for told in self.told() for value in told[name])

    def wait_joined(self, share: float = 1.0) -> None:
        self.wait(lambda: self.total("joined") >= share * self.count, f"{self.count} workers to join")

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        _wait(reached, what, lambda: str([_short(told) for told in self.told()]))

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait(60)


class Flow:
    """Packets a second of some workers, over two seconds or more.

    Attributes:
        fastest: the most that was seen.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._since, self._before = time.monotonic(), workers.total("packets")
        self.fastest = 0.0

    def look(self) -> float:
        """Look at them now; returns `fastest`."""
        now, packets = time.monotonic(), self._workers.total("packets")
        if now >= self._since + 2.0:
            self.fastest = max(self.fastest, (packets - self._before) / (now - self._since))
            self._since, self._before = now, packets
        return self.fastest


class Pulse:
    """Asks a master for little, again and again, from a process of its own (`scale_sessions.py`): the longest wait for an
    answer is how long its loop stood still.

    Attributes:
        all: seconds from each question to its answer, sorted.
    """

    def __init__(self, master: Standing) -> None:
        command = [sys.executable, "-m", "benchmarks.scale_sessions", str(master.keys.client)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has its first answer
        self.all: list[float] = []

    def __enter__(self) -> Pulse:
        return self

    def __exit__(self, *_: object) -> None:
        self.all = sorted(json.loads(self._process.communicate()[0]))

    def told(self) -> str:
        """The p99 and the longest, in ms."""
        return f"{1000 * percentile(self.all, 0.99):.1f}, {1000 * self.all[-1]:.1f}"


@contextmanager
def standing(journal: bool = False) -> Iterator[Standing]:
    with tempfile.TemporaryDirectory() as folder:
        master = Standing(Path(folder), journal)
        try:
            yield master
        finally:
            master.close()


def files(count: int) -> bytes:
    """As many files of a dataset, as they travel."""
    listed = [
        File(
            f"/store/mc/RunIISummer20UL18NanoAODv9/sample_{i // 1000}/nanoaod_{i}.root",
            "Events",
            entries=ENTRIES,
            place=i,
        )
        for i in range(count)
    ]
    return encode_files(listed)


def _half_and_most(seconds: Iterable[float]) -> str:
    """The median and p99, in ms."""
    values = sorted(seconds)
    return ", ".join(f"{1000 * percentile(values, part):.1f}" for part in (0.5, 0.99))


def _say_turns(master: Standing, began: float, waited: float) -> None:
    """What is the master's in times by the clock since it `began`, when its loop had waited so long; and what is for want of
    a core."""
    say("... CPU of the loop's longest turn [ms]", master.longest_turn(began), "10")
    part = (master.waited - waited) / (time.monotonic() - began)
    say("... the loop waited for a core [% of the time]", f"{100 * part:.0f}")


def percentile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))] if values else float("nan")


def say(what: str, value: str, target: str = "") -> None:
    print(f"| {what} | {value} | {target} |", flush=True)


def _wait(reached: Callable[[], bool], what: str, so_far: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE} s for {what}: {so_far()}")
        time.sleep(0.25)


def _short(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if not isinstance(value, list)}


# --- what is measured -------------------------------------------------------------------------------------------------


def connections(count: int) -> None:
    """All connect at once; then they are idle; then the master is killed under them."""
    with standing() as master:
        before = master.memory
        workers = Workers(master, count)
        try:
            workers.wait_joined()
            seconds = max(told["last_join"] for told in workers.told()) - workers.began
            say(f"{count:,} workers connect at once: all registered [s]", f"{seconds:.1f}", "30")
            say("... CPU of the master [s]", f"{master.cpu:.1f}")
            time.sleep(2.0)
            say("... hellos that were answered, `Unknown`", f"{workers.total('welcomes'):,}, {workers.total('unknown')}",
                f"{count:,}, 0")  # fmt: skip
            cpu, began = master.cpu, time.monotonic()
            time.sleep(8.0)
            load = (master.cpu - cpu) / (time.monotonic() - began)
            say("... idle: CPU of the master [% of a core]", f"{100 * load:.1f}", "10")
            say("... idle: memory [kB a worker]", f"{(master.memory - before) / count / 1000:.1f}", "20")
            say("... `Unknown` after 10 s", str(workers.total("unknown")), "0")
        finally:
            workers.close()


def stopped(count: int) -> None:
    """The master's process is stopped for longer than workers may be silent."""
    with standing() as master:
        workers = Workers(master, count)
        try:
            workers.wait_joined()
            master.signal(signal.SIGSTOP)
            time.sleep(8.0)
            master.signal(signal.SIGCONT)
            time.sleep(5.0)
            say(f"master stopped for 8 s: of {count:,} workers thrown out", f"{workers.total('unknown'):,}", "0")
        finally:
            workers.close()


def packets(count: int, rate: float, query_files: int, seconds: float = 8.0) -> None:
    """Tiny packets, as fast as can be or at a rate."""
    with standing() as master:
        pace = count / rate if rate else 0.0
        workers = Workers(master, count, pace, APART)
        client = Client(master.keys.client)
        try:
            workers.wait_joined()
            client.submit(files(query_files))
            wanted = 0.9 * count
            workers.wait(lambda: len(workers.all("first_packets")) >= wanted, "first packets")
            time.sleep(2.0)  # they have all begun at once
            before, cpu, began = workers.total("packets"), master.cpu, time.monotonic()
            earlier, wait = [len(told["answers"]) for told in workers.told()], master.waited
            time.sleep(seconds)
            done, took = workers.total("packets") - before, time.monotonic() - began
            load = (master.cpu - cpu) / max(1, done)
            answers = [told["answers"][first:] for told, first in zip(workers.told(), earlier, strict=True)]
            asked = f"at {rate:,.0f}/s" if rate else "as fast as can be"
            say(f"{count:,} workers, packets {asked}: packets a second", f"{done / took:,.0f}", "10,000")
            say("... CPU of the master a packet [µs]", f"{1e6 * load:.0f}")
            say("... commit to answer: median, p99 [ms]", _half_and_most(chain(*answers)), "p99 20 at 3,000/s")
            say(f"... of {APART} workers in a process of their own", _half_and_most(answers[-1]))
            _say_turns(master, began, wait)
            say("... `Unknown`", str(workers.total("unknown")), "0")
        finally:
            client.close()
            workers.close()


def large(count: int, size: int, senders: int, seconds: float = 8.0) -> None:
    """Tiny packets while some workers send large partial results as fast as they can."""
    with standing() as master:
        reports = [master.keys.path / f"large{number}" for number in range(senders)]
        client = Client(master.keys.client)
        if senders:
            client.submit(encode_files([File(f"{it}.root", "Events", entries=10_000) for it in range(senders)]))
        command = [sys.executable, "-m", "benchmarks.scale_large", str(master.keys.worker), str(size)]
        processes = [subprocess.Popen([*command, str(report)]) for report in reports]
        try:
            _wait(lambda: all(report.exists() for report in reports), "large results")
            _tiny_packets(master, client, count, reports, size, seconds)
        finally:
            client.close()
            for process in processes:
                process.kill()
                process.wait()


def _tiny_packets(
    master: Standing, client: Client, count: int, reports: Sequence[Path], size: int, seconds: float
) -> None:
    workers = Workers(master, count, 0.05)
    try:
        workers.wait_joined()
        client.submit(files(100_000), "another")
        workers.wait(lambda: workers.total("packets") > 10 * count, "packets")
        known = [len(told["answers"]) for told in workers.told()]
        cpu, came, tiny, began = master.cpu, _came(reports), workers.total("packets"), time.monotonic()
        wait = master.waited
        with Pulse(master) as pulse:
            time.sleep(seconds)
        took = time.monotonic() - began
        told = zip(workers.told(), known, strict=True)
        answers = [value for it, first in told for value in it["answers"][first:]]
        large = size / 1e6 * (_came(reports) - came) / took
        say(f"{(workers.total('packets') - tiny) / took:,.0f} tiny packets/s beside {large:,.0f} MB/s of partial results of "
            f"{size / 1e6:.0f} MB: commit to answer, median, p99 [ms]", _half_and_most(answers), "p99 20")  # fmt: skip
        say("... a session's question to answer: p99, longest [ms]", pulse.told())
        _say_turns(master, began, wait)
        say("... CPU of the master [% of a core], memory [MB]",
            f"{100 * (master.cpu - cpu) / took:.0f}, {master.memory / 1e6:,.0f}")  # fmt: skip
    finally:
        workers.close()


def _came(reports: Sequence[Path]) -> int:
    """Large results that were answered."""
    while True:
        try:
            return sum(json.loads(report.read_text())[0] for report in reports)
        except ValueError:
            continue  # it is being written


def killed(count: int, query_files: int) -> None:
    """A master with a journal is killed and started again."""
    with standing(journal=True) as master:
        workers = Workers(master, count, 1.0)
        client = Client(master.keys.client)
        try:
            workers.wait_joined()
            client.submit(files(query_files))
            workers.wait(lambda: workers.total("packets") > count, "packets")
            client.close()
            flow = Flow(workers)
            time.sleep(5.0)
            rate, joined = flow.look(), workers.total("welcomes")
            master.kill()
            began = time.monotonic()
            master.start()
            flow = Flow(workers)
            workers.wait(lambda: flow.look() >= 0.9 * rate, "as many packets a second as before")
            say(f"master killed with {count:,} workers and {rate:,.0f} packets/s: 90 % of that again [s]",
                f"{time.monotonic() - began:.1f}", "15")  # fmt: skip
            workers.wait(lambda: workers.total("welcomes") >= joined + count, "workers to come again")
            again, cpu = time.monotonic() - began, master.cpu
            before = workers.total("packets")
            workers.wait(lambda: workers.total("packets") > before + count, "packets again")
            say(
                "... all there again, each with a packet done [s]", f"{again:.1f}, {time.monotonic() - began:.1f}", "15"
            )
            say("... CPU of the master until all are there [ms a worker]", f"{1000 * cpu / count:.2f}")
        finally:
            workers.close()


def submission(count: int) -> None:
    """A large dataset is submitted by a bare socket."""
    with standing() as master:
        packed = files(count)
        workers = Workers(master, 4, 5.0)
        client = Client(master.keys.client)
        try:
            workers.wait_joined()
            memory, cpu = master.memory, master.cpu
            with Pulse(master) as pulse:
                began, wait = time.monotonic(), master.waited
                client.say(messages.Submit(1, "bench", "kernel", "bench"), [b"", packed])
                client.hear(messages.Accepted)
                accepted = time.monotonic() - began
                workers.wait(lambda: any(told["first_lease"] for told in workers.told()), "a lease")
                first = min(told["first_lease"] for told in workers.told() if told["first_lease"]) - began
                time.sleep(2.0)
            say(f"submit {count:,} files ({len(packed) / 1e6:.0f} MB): accepted, first lease [s]",
                f"{accepted:.2f}, {first:.2f}", "1")  # fmt: skip
            say("... a question to its answer meanwhile: p99, longest [ms]", pulse.told(), "10")
            _say_turns(master, began, wait)
            say("... CPU of the master [s]", f"{master.cpu - cpu:.1f}")
            say("... memory of the master [bytes a file]", f"{(master.memory - memory) / count:.0f}", "500")
            say("... workers thrown out", str(workers.total("unknown")), "0")
        finally:
            client.close()
            workers.close()


def session_memory(count: int) -> None:
    """What a session needs to describe and to send as many files, in a process of its own."""
    code = (
        "import eventmill as em, os, time, resource\n"
        "from eventmill.session.session import _encode_files\n"
        "import psutil; me = psutil.Process()\n"
        "name = '/store/mc/RunIISummer20UL18NanoAODv9/sample_{}/nanoaod_{}.root'\n"
        f"names = [name.format(i // 1000, i) for i in range({count})]\n"
        "before = me.memory_info().rss; began = time.monotonic()\n"
        "data = em.Dataset(names, tree='Events')\n"
        "made = time.monotonic(); held = me.memory_info().rss\n"
        "packed = _encode_files(data.files)\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        f"print(made - began, time.monotonic() - made, (held - before) / {count}, (peak - before) / {count})\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    made, packed, held, peak = map(float, output.split())
    say(f"session with {count:,} files: Dataset made, files encoded [s]", f"{made:.1f}, {packed:.1f}")
    say("... memory, at its peak [bytes a file]", f"{held:.0f}, {peak:.0f}", "300")


def small_queries(times: int = 30) -> None:
    """A query of one event, again and again, in a session of its own."""
    import eventmill as em

    session = em.connect()
    try:
        data = em.cycles(1)

        def count(event: Any) -> float:  # noqa: ARG001 - an analysis is given one
            return 1.0

        session.process(data, count).result()
        took = []
        for _ in range(times):
            began = time.monotonic()
            session.process(data, count).result()
            took.append(time.monotonic() - began)
        took.sort()
        say("a small query, warm session: median, p90 [ms]",
            f"{1000 * statistics.median(took):.1f}, {1000 * percentile(took, 0.9):.1f}", "20")  # fmt: skip
    finally:
        session.close()


def shares(sessions: int = 8, workers_each: int = 8) -> None:
    """Sessions of as many owners submit a query at once."""
    with standing() as master:
        workers = Workers(master, sessions * workers_each, 0.05)
        clients = [Client(master.keys.client) for _ in range(sessions)]
        try:
            workers.wait_joined()
            packed = files(20_000)
            for client in clients:
                client.submit(packed, f"owner of {id(client)}")
            time.sleep(3.0)
            slots = []
            for client in clients:
                client.pass_over()
                slots.append(client.hear(messages.Progress).slots)
            say(f"{sessions} sessions at once on {sessions * workers_each} slots: least, most slots of one",
                f"{min(slots)}, {max(slots)}", f"{workers_each}, {workers_each}")  # fmt: skip
        finally:
            for client in clients:
                client.close()
            workers.close()


def long_life(queries: int) -> None:
    """A master starts with a journal of many queries that are over."""
    with tempfile.TemporaryDirectory() as folder:
        master = Standing(Path(folder), journal=True)
        client = Client(master.keys.client)
        packed = msgspec.msgpack.encode([File("f.root", "Events", entries=ENTRIES)])
        began = time.monotonic()
        window, sent, ended = 200, 0, 0
        while ended < queries:
            while sent < queries and sent - ended < window:
                token = f"{sent:08d}"
                client.say(messages.Submit(1, "bench", "kernel", "bench", token=token), [b"", packed])
                sent += 1
            for message, _ in codec.decode_all(client.socket.recv_multipart()):
                if isinstance(message, messages.Accepted):
                    client.say(messages.Stop(message.query, keep=False))
                ended += isinstance(message, messages.Ended)
        took = time.monotonic() - began
        say(f"{queries:,} queries submitted and aborted by one socket [ms each]", f"{1000 * took / queries:.2f}")
        say("... CPU of the master [ms each]", f"{1000 * master.cpu / queries:.2f}", "0.5")
        say("... memory [kB each]", f"{master.memory / queries / 1000:.1f}")
        client.close()
        master.kill()
        size = master.keys.journal.stat().st_size
        master.start()
        say(f"start of a master with {queries:,} queries behind it [s]", f"{master.starting:.2f}", "2")
        say("... journal [bytes a query], memory [kB a query]",
            f"{size / queries:.0f}, {master.memory / queries / 1000:.1f}")  # fmt: skip
        master.close()


PARTS = {
    "connections": lambda options: connections(options.workers),
    "stopped": lambda options: stopped(min(options.workers, 1000)),
    "packets": lambda options: [
        packets(1000, 0.0, 200_000), packets(1000, 3000.0, 100_000),
        *([packets(options.workers, 3000.0, 100_000)] if options.workers > 1000 else []),
    ],
    "large": lambda _: [large(50, 200_000_000, senders) for senders in (0, 2)],
    "killed": lambda options: killed(options.workers, 200_000),
    "submission": lambda options: submission(options.files),
    "session": lambda options: session_memory(options.files),
    "small": lambda _: small_queries(),
    "shares": lambda _: shares(),
    "life": lambda options: long_life(options.queries),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (all)")
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100_000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = ", ".join(f"{it:.2f}" for it in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}, {hard:,} descriptors, eventmill's protocol {messages.PROTOCOL}\n")
    print("| figure | measured | target |\n| --- | --: | --: |")
    for part in options.parts or PARTS:
        PARTS[part](options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
