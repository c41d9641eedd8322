"""Real faults: a master, workers, their slots and a file server are killed and stopped, lines are cut, the disk is full.

What died is started again after a while, as systemd or a batch system would. Users meanwhile run one query after the other,
and compare every result with that of one process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import eventmill as em
from eventmill.cli.sample import write_sample
from eventmill.protocol.connection import load_connection
from eventmill.protocol.errors import ConnectionFailed, QueryFailed
from hist import Hist

from benchmarks.xrootd_server import XRootDServer, serving

from .analyses import in_one_process, slow_columnar, slow_kernel
from .fleet import Command, Fleet, family, fleet, free_port
from .jobs import Job, make_jobs
from .proxy import Proxy
from .skims import Skim, make_skims
from .table import Report, listed, middle_and_worst

EVENTS, FILES, COST = 200_000, 6, 50e-6
"""A query takes about 10 seconds of slots."""
WORKERS, USERS = 2, 2
PAUSE = 1.2
"""Seconds between two faults, on average."""
ADVANCE_SECONDS = 120.0
"""A query that does not get on for so long has been lost."""
MOST_SERVER_FAULTS = 2
"""Faults of the file server during one query: data that cannot be read six times in a row is lost by policy."""
SLOTS_PER_WORKER = 2
LONGEST = 8.0
"""Seconds for which anything is stopped or gone at most; a worker that is silent is given up after 5."""


@dataclass(slots=True)
class Struck:
    """A fault, and how long it took until some query advanced again."""

    kind: str
    at: float
    recovered: float | None = None


@dataclass(slots=True)
class Watch:
    """What users and faults have seen; shared by their threads."""

    problems: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    running: dict[str, em.Query] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    entries: int = 0
    redone: int = 0
    seconds: list[float] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)

    def advances(self) -> bool:
        """Whether a query has got on, or ended, since this was asked last."""
        now = {name: query.account.processed + _reached(query) for name, query in list(self.running.items())}
        before, self.reached = self.reached, now
        return any(now.get(name, before[name] + 1) > before[name] for name in before)


def _reached(query: em.Query) -> int:
    progress = query.progress
    return 0 if progress is None else progress.reached


class User(threading.Thread):
    """Runs one query after the other until it is enough.

    Args:
        file: the connection file to use.
        enough: whether to end, asked between two queries.
    """

    def __init__(self, name: str, file: Path, work: Work, watch: Watch, enough: Callable[[], bool]) -> None:
        super().__init__(name=name, daemon=True)
        self._file = file
        self._work = work
        self._watch = watch
        self._enough = enough
        self.start()

    def run(self) -> None:
        try:
            with self._connected() as session:
                number = 5 * int(self.name[-1])  # each user begins with another kind
                while not self._enough():
                    number += 1
                    self._query(session, f"{self.name}.{number}", number)
        except Exception as error:
            self._watch.problems.append(f"{self.name}: {error!r}\n{traceback.format_exc()}")

    def _connected(self) -> em.Session:
        """The master may be away just now."""
        deadline = time.monotonic() + 60.0
        while True:
            try:
                return em.connect(self._file)
            except ConnectionFailed:
                if time.monotonic() > deadline:
                    raise

    def _query(self, session: em.Session, name: str, number: int) -> None:
        began = time.monotonic()
        job = self._work.job(number, name)
        analysis = self._work.analysis(name, number) if job is None else job.analysis
        data, on_error = (self._work.data, "fail") if job is None else (job.data, job.on_error)

        def submit() -> em.Query:
            return session.process(data, analysis, name=name, on_error=on_error)

        query = self._submitted(session, name, submit)
        self._watch.running[name] = query
        try:
            result = self._result(query)
        finally:
            del self._watch.running[name]
        self._watch.seconds.append(time.monotonic() - began)
        self._watch.finished += 1
        self._watch.entries += result.account.processed
        if job is None and number % 2:
            self._watch.redone += self._work.worked_on(name) - result.account.processed
        self._watch.kinds[("columnar" if number % 2 else "kernel") if job is None else job.name] += 1
        self._watch.wrong += self._work.wrong(name, result) if job is None else job.wrong(name, result)

    @staticmethod
    def _result(query: em.Query) -> Any:
        """The result of a query that gets on, however slowly."""
        reached, since = -1, time.monotonic()
        while True:
            try:
                return query.result(timeout=5.0, progress=False)
            except TimeoutError:
                before, reached = reached, query.account.processed + _reached(query)
                if reached > before:
                    since = time.monotonic()
                elif time.monotonic() - since > ADVANCE_SECONDS:
                    raise

    def _submitted(self, session: em.Session, name: str, submit: Callable[[], em.Query]) -> em.Query:
        """Submit a query. When nobody knows whether that arrived, look."""
        deadline = time.monotonic() + 120.0
        while True:
            try:
                found = [info.query for info in session.queries() if info.name == name]
                if found:
                    return session.attach(found[-1])
                return submit()
            except (ConnectionFailed, QueryFailed):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@dataclass
class Work:
    """The data, the analyses, and what must come out."""

    folder: Path
    data: em.Dataset
    expected: Hist[Any]
    events: int
    cost: float
    jobs: Sequence[Job] = ()
    kernel_cost: float | None = None
    skims: Sequence[Job] = ()

    def job(self, number: int, name: str) -> Job | None:
        """What the query of this number is to do; None: the dimuon query, which every third one is."""
        if self.skims:
            job: Job | None = self.skims[number % len(self.skims)]
        else:
            job = self.jobs[(number - number // 3) % len(self.jobs)] if self.jobs and number % 3 else None
        return job.named(name) if isinstance(job, Skim) else job

    def analysis(self, name: str, number: int) -> Any:
        """Columnar functions and kernels in turn."""
        if number % 2:
            return slow_columnar(self.cost, self.folder / f"{name}.worked")
        return slow_kernel(self.cost if self.kernel_cost is None else self.kernel_cost)

    def worked_on(self, name: str) -> int:
        """Events that slots have worked on for a columnar query, however often."""
        return (self.folder / f"{name}.worked").stat().st_size

    def wrong(self, name: str, result: Any) -> list[str]:
        """What is wrong with a result."""
        account = result.account
        events = int(result["events"] if isinstance(result["events"], int) else result["events"][0])
        if (account.processed, account.failed, events) != (self.events, 0, self.events):
            return [f"{name}: {events} events in the result, {account}"]
        if result["histogram"] != self.expected:
            return [f"{name}: the histogram differs from that of one process"]
        return []


class Trouble:
    """Makes faults, and starts again what has died of them.

    Args:
        longest: seconds for which anything is stopped or gone at most.
    """

    def __init__(
        self, there: Fleet, proxy: Proxy, server: XRootDServer | None, watch: Watch, random: Random, longest: float
    ) -> None:
        self.there = there
        self.struck: list[Struck] = []
        self._proxy = proxy
        self._server = server
        self._watch = watch
        self._random = random
        self._longest = longest
        self._plans: list[tuple[float, Callable[[], object]]] = []
        self._files = [there.keys / "worker.json", there.folder / "worker.json"]
        self._started = 0
        self._master_runs = True
        self._server_faults: Counter[str] = Counter()
        self._kinds: list[str] = []
        for _ in range(WORKERS):
            self._start_worker()

    # --- the rounds -------------------------------------------------------------------------------------------------

    def run(self, faults: int, pause: float, going: Callable[[], bool]) -> None:
        """Strike so many times while queries run, and look after what died."""
        next_at = time.monotonic() + 2.0
        while going():
            now = time.monotonic()
            if self._watch.advances():
                for fault in self.struck:
                    fault.recovered = now - fault.at if fault.recovered is None else fault.recovered
            for plan in [plan for plan in self._plans if plan[0] <= now]:
                self._plans.remove(plan)
                plan[1]()
            self._look_after()
            if now >= next_at and self._watch.running and len(self.struck) < faults:
                self._strike(now)
                next_at = now + self._random.expovariate(1.0 / pause)
            time.sleep(0.02)
        for _, act in sorted(self._plans, key=lambda plan: plan[0]):
            act()

    def _strike(self, now: float) -> None:
        """The next fault; each kind comes as often as any other."""
        if not self._kinds:
            self._kinds = self._random.sample(list(FAULTS), len(FAULTS))
        kind = self._kinds.pop()
        if FAULTS[kind](self):
            self.struck.append(Struck(kind, now))

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        self._plans.append((time.monotonic() + seconds, act))

    def _look_after(self) -> None:
        """A worker that has ended is replaced after a while, as a batch system would. A master must not end by itself."""
        if self._master_runs and self.there.master is not None and not self.there.master.alive:
            said = self.there.master.said()[-1000:]
            if "the journal" not in said.splitlines()[-1]:  # with a full disk it does not start, and says so
                self._watch.problems.append(f"the master has ended: {said}")
            self._bring_back_master()
        for worker in [worker for worker in self.there.workers if not worker.alive]:
            self.there.workers.remove(worker)
            self._later(self._random.uniform(0.0, self._longest / 4), self._start_worker)

    def _start_worker(self) -> None:
        self._started += 1
        file = self._files[self._started % 2]
        self.there.start_worker(SLOTS_PER_WORKER, "--name", f"worker{self._started}", file=file)

    # --- faults -----------------------------------------------------------------------------------------------------

    def kill_master(self) -> bool:
        return self._end_master(signal.SIGKILL)

    def tell_master_to_end(self) -> bool:
        """As before a reboot."""
        return self._end_master(signal.SIGTERM)

    def move_master(self) -> bool:
        """It is killed, and started again at another address with the same keys."""
        self.there.port = free_port()
        return self._end_master(signal.SIGKILL)

    def _end_master(self, number: signal.Signals) -> bool:
        master = self.there.master
        if master is None or not master.alive:
            return False
        master.send(signal.SIGCONT)
        master.send(number)
        master.process.wait(30)
        self._bring_back_master()
        return True

    def _bring_back_master(self) -> None:
        self._master_runs = False
        self._later(self._random.uniform(0.0, self._longest / 3), self._start_master)

    def _start_master(self) -> None:
        self.there.start_master(wait=False)
        self._master_runs = True

    def stop_master(self) -> bool:
        return self.there.master is not None and self._freeze(self.there.master.process.pid)

    def fill_disk(self) -> bool:
        """No file of the master can grow any more, for a while."""
        master = self.there.master
        if master is None or not master.alive:
            return False
        pid = master.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)

        def free() -> None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
        self._later(self._random.uniform(0.5, self._longest / 2), free)
        return True

    def kill_worker(self) -> bool:
        worker = self._some_worker()
        if worker is not None:
            worker.kill()
        return worker is not None

    def stop_worker(self) -> bool:
        worker = self._some_worker()
        return worker is not None and self._freeze(worker.process.pid)

    def drain_worker(self) -> bool:
        worker = self._some_worker()
        if worker is not None:
            worker.send(signal.SIGTERM)
        return worker is not None

    def kill_forkserver(self) -> bool:
        return self._kill(self._inside(forkserver=True))

    def kill_slot(self) -> bool:
        return self._kill(self._inside(forkserver=False))

    def stop_slot(self) -> bool:
        slot = self._inside(forkserver=False)
        return slot is not None and self._freeze(slot)

    def kill_server(self) -> bool:
        server = self._afflicted_server()
        if server is not None:
            server.kill()
            self._later(self._random.uniform(0.2, self._longest / 4), partial(server.start, wait=False))
        return server is not None

    def stop_server(self) -> bool:
        server = self._afflicted_server()
        return server is not None and self._freeze(server.process.pid)

    def cut_line(self) -> bool:
        return self._proxy.cut(self._random)

    def stall_line(self) -> bool:
        return self._proxy.stall(self._random, self._some_seconds())

    def half_open_line(self) -> bool:
        return self._proxy.half_open(self._random)

    # --- whom -------------------------------------------------------------------------------------------------------

    def _afflicted_server(self) -> XRootDServer | None:
        """The file server, unless it has been ill-treated enough for the queries that run."""
        running = list(self._watch.running)
        if self._server is None or any(self._server_faults[name] >= MOST_SERVER_FAULTS for name in running):
            return None
        self._server_faults.update(running)
        return self._server

    def _some_worker(self) -> Command | None:
        workers = [worker for worker in self.there.workers if worker.alive]
        return self._random.choice(workers) if workers else None

    def _inside(self, forkserver: bool) -> int | None:
        """A forkserver, or a slot that has been forked from one."""
        worker = self._some_worker()
        inside = [] if worker is None else family(worker.process.pid)[1:]
        chosen = inside[:1] if forkserver else inside[1:]
        return self._random.choice(chosen) if chosen else None

    @staticmethod
    def _kill(pid: int | None) -> bool:
        with contextlib.suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def _freeze(self, pid: int) -> bool:
        """SIGSTOP, and SIGCONT after a while."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False

        def go_on() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        self._later(self._some_seconds(), go_on)
        return True

    def _some_seconds(self) -> float:
        return self._random.choice((0.05, 0.2, 0.4, 1.0)) * self._longest


FAULTS: dict[str, Callable[[Trouble], bool]] = {
    "master killed": Trouble.kill_master,
    "master told to end": Trouble.tell_master_to_end,
    "master killed and moved": Trouble.move_master,
    "master stopped": Trouble.stop_master,
    "disk full": Trouble.fill_disk,
    "worker killed": Trouble.kill_worker,
    "worker stopped": Trouble.stop_worker,
    "worker told to leave": Trouble.drain_worker,
    "forkserver killed": Trouble.kill_forkserver,
    "slot killed": Trouble.kill_slot,
    "slot stopped": Trouble.stop_slot,
    "XRootD server killed": Trouble.kill_server,
    "XRootD server stopped": Trouble.stop_server,
    "connection cut": Trouble.cut_line,
    "connection stalled": Trouble.stall_line,
    "connection half-open": Trouble.half_open_line,
}


def run(
    faults: int,
    queries: int,
    seed: int = 0,
    *,
    events: int = EVENTS,
    cost: float = COST,
    kernel_cost: float | None = None,
    pause: float = PAUSE,
    longest: float = LONGEST,
    skims: bool = False,
) -> Report:
    """So many faults during at least so many queries.

    Args:
        seed: of the faults, and when they come; what they meet is another matter.
        events: in the sample.
        cost: seconds of a slot an event.
        kernel_cost: those of kernels, if others: they burn a core, where columnar functions sleep.
        pause: seconds between two faults, on average.
        longest: seconds for which anything is stopped or gone at most.
        skims: all queries write files.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eventmill-chaos-")))
        server = stack.enter_context(serving()) if shutil.which("xrootd") else None
        there = stack.enter_context(fleet(folder))
        there.start_master()
        proxy = Proxy(lambda: there.port)
        stack.callback(proxy.close)
        for name in ("client.json", "worker.json"):
            proxy.save(load_connection(there.keys / name), folder / name)
        work = make_work(folder, server, events, cost, cost if kernel_cost is None else kernel_cost)
        work.kernel_cost = kernel_cost
        if skims:
            work.skims = [job for job in work.jobs if isinstance(job, Skim)]
        watch, random = Watch(), Random(seed)
        trouble = Trouble(there, proxy, server, watch, random, longest)
        began = time.monotonic()

        def enough() -> bool:
            return bool(watch.problems or watch.wrong) or (watch.finished >= queries and len(trouble.struck) >= faults)

        files = (there.client, folder / "client.json")
        crowd = [User(f"user{index}", files[index % 2], work, watch, enough) for index in range(USERS)]
        trouble.run(faults, pause, lambda: any(user.is_alive() for user in crowd))
        return _report(trouble, watch, time.monotonic() - began, seed)


def make_work(folder: Path, server: XRootDServer | None, events: int, cost: float, kernel_cost: float) -> Work:
    """Half of the files are read through the file server."""
    paths = write_sample(folder / "sample", events=events, files=FILES)
    places = [str(path) for path in paths]
    if server is not None:
        for index in range(0, FILES, 2):
            places[index] = server.take_in(paths[index])
    jobs = [*make_jobs(places, paths, cost, events / EVENTS), *make_skims(places, paths, cost, kernel_cost, folder)]
    return Work(folder, em.Dataset(places, tree="Events"), in_one_process(paths), events, cost, jobs)


def _report(trouble: Trouble, watch: Watch, seconds: float, seed: int) -> Report:
    kinds = Counter(fault.kind for fault in trouble.struck)
    exact = watch.finished - len(watch.wrong)
    figures = {
        "faults": f"{len(trouble.struck)} in {seconds:.0f} s: {listed(kinds)}",
        "queries": f"{watch.finished}; the value of one process, bin for bin: {exact}",
        "of these": listed(watch.kinds),
        "events processed": f"{watch.entries:,}; worked on once more in the columnar half of the queries: {watch.redone:,}",
        "seconds a query": middle_and_worst(watch.seconds),
    }
    for kind in FAULTS:
        times = [fault.recovered for fault in trouble.struck if fault.kind == kind and fault.recovered is not None]
        if times:
            figures[f"{kind}: until a query gets on [s]"] = middle_and_worst(times)
    problems = [*watch.wrong, *watch.problems, *trouble.there.complaints()[:10]]
    if problems:
        problems.append(f"again, more or less: python -m tests.world.chaos --first {seed}")
    return Report(figures, problems)
