"""A standing master and its workers: real processes, started by the command line, on real sockets."""

from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import processes
import psutil
import pytest
import uproot
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.cli.sample import write_sample
from eventmill.master.roster import SILENCE
from eventmill.protocol import messages
from eventmill.protocol.connection import load_connection
from eventmill.protocol.errors import ConnectionFailed, EventmillError, QueryFailed
from hist import Hist
from processes import SECONDS, Standing, eventually, hello, raw_peer
from scaling import CYCLES, counted
from sums import FILES, SUM, Gate, committed, total
from xrootd_server import XRootDServer

from tests.world.proxy import Proxy


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Standing]:
    """A master of a test's own, to be ended or starved; no worker yet."""
    made = Standing(tmp_path / "state")
    yield made
    made.close()


class Hirer(Standing):
    """A master with one worker of two slots, which reaches it through a proxy. Tests may end both."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.proxy = Proxy(lambda: self.port)
        self._file = self.proxy.save(self.worker_key, state / "behind.json")
        self._hired: processes.Running | None = None

    def hired(self) -> processes.Running:
        """The worker, or another one when it has ended: to start one takes three seconds of a core."""
        if self._hired is None or self._hired.process.poll() is not None:
            self._hired = self.worker(slots=2, target=str(self._file))
        return self._hired

    def close(self) -> None:
        super().close()
        self.proxy.close()


@pytest.fixture(scope="module")
def one_hirer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hirer]:
    made = Hirer(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


@pytest.fixture
def hirer(one_hirer: Hirer) -> Hirer:
    """The same for all tests of this file, and its master runs, whatever the last one has done to it."""
    if one_hirer.master.process.poll() is not None:
        one_hirer.start_master()
    return one_hirer


@pytest.fixture
def session(standing: Standing) -> Iterator[em.Session]:
    with standing.connect() as made:
        yield made


# --- the whole of it --------------------------------------------------------------------------------------------------


@em.kernel(mass=Hist.new.Reg(110, 2, 200).Double(), pairs=Hist.new.Int(0, 8).Double())
def dimuon(mass, pairs, Muon_pt, Muon_eta, Muon_phi, Muon_charge):
    """The mass of every pair of muons of opposite charge; with idle arithmetic: longer than a worker takes to start."""
    idle = 1.0
    for _ in range(12_000):
        idle = math.sin(idle)
    count = 0
    for i in range(len(Muon_pt)):
        for j in range(i + 1, len(Muon_pt)):
            if Muon_charge[i] != Muon_charge[j] and idle < 2.0:
                angles = math.cosh(np.float64(Muon_eta[i]) - Muon_eta[j]) - math.cos(
                    np.float64(Muon_phi[i]) - Muon_phi[j]
                )
                mass.fill(math.sqrt(2.0 * np.float64(Muon_pt[i]) * Muon_pt[j] * angles))
                count += 1
    pairs.fill(count)


def dimuon_in_one_process(files: list[Path]) -> dict[str, Hist]:
    """The same by uproot and awkward alone."""
    mass, pairs = Hist.new.Reg(110, 2, 200).Double(), Hist.new.Int(0, 8).Double()
    for file in files:
        with uproot.open(file) as opened:
            branches = opened["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"])
        muons = ak.zip({name[5:]: ak.values_astype(branches[name], np.float64) for name in branches.fields})
        first, second = ak.unzip(ak.combinations(muons, 2))
        opposite = first.charge != second.charge
        first, second = first[opposite], second[opposite]
        angles = np.cosh(first.eta - second.eta) - np.cos(first.phi - second.phi)
        mass.fill(ak.flatten(np.sqrt(2.0 * first.pt * second.pt * angles)))
        pairs.fill(ak.num(first))
    return {"mass": mass, "pairs": pairs}


@pytest.mark.long("workers are started and killed for half a minute")
def test_workers_that_join_and_die_in_the_middle_change_no_bin(
    standing: Standing, session: em.Session, xrootd_server: XRootDServer
) -> None:
    """The acceptance test: data over XRootD, one worker joins a running query, and is killed with work in hand."""
    files = []
    for run in (1, 2):
        files += write_sample(xrootd_server.folder / f"run{run}", events=60_000, files=3, seed=run)
    data = em.Dataset(xrootd_server.url + "/run*/events_*.root", tree="Events")
    query = session.process(data, dimuon)
    eventually(lambda: committed(query), "the first worker commits")
    (first,) = (info.pid for info in session.workers())
    with contextlib.closing(standing.worker()) as second:  # no other test is to find it, whatever becomes of this one

        def works() -> bool:
            return any(info.pid == second.pid and info.busy and info.packets for info in session.workers())

        eventually(works, "the second works", facts=lambda: query.account)
        assert query.state == "running" and query.account.processed < 120_000, "there is no middle: more events, please"
        assert any(info.pid == first and info.busy for info in session.workers())
        second.process.kill()
        second.wait()
    result = query.result(SECONDS)
    expected = dimuon_in_one_process(files)
    assert result["mass"] == expected["mass"] and result["pairs"] == expected["pairs"]
    account = result.account
    assert account.processed == account.total == 120_000 and account.failed == 0 and not account.estimated
    assert account.workers_lost == 1 and account.files_opened == 6
    shares = {info.pid: info.entries for info in query.report()}
    assert shares.keys() == {first, second.pid} and all(shares.values())


# --- the life of a worker ---------------------------------------------------------------------------------------------


def test_a_worker_that_says_hello_gets_packets_at_once(fleet: Standing, numbers: em.Dataset) -> None:
    """In the answer to its hello: what it is to run, and packets for each of its slots. They are the next one's when it
    leaves."""
    with fleet.connect() as session:
        query = session.process(numbers, total)
        for slots in (2, FILES):
            with raw_peer(fleet.worker_key) as worker:
                worker.say(hello(slots=slots))
                assert isinstance(worker.hear(), messages.Welcome)
                assert isinstance(worker.hear(), messages.Setup)
                told = [worker.hear() for _ in range(slots)]
                leases = [message for message in told if isinstance(message, messages.Lease)]
                assert [lease.slot for lease in leases] == list(range(slots))
                worker.say(messages.Bye())
        query.abort()
    assert len({lease.file.path for lease in leases}) == FILES, "also those that the first one had"


@pytest.mark.long("a master stands still for seconds; tests/master/test_listening.py has it in virtual time")
def test_a_master_that_was_stopped_throws_nobody_out(fleet: Standing) -> None:
    """For longer than its workers may be silent: they were not, it is the master that did not listen."""
    with fleet.connect() as session, raw_peer(fleet.worker_key) as worker:
        worker.say(hello())
        welcome = worker.hear()
        assert isinstance(welcome, messages.Welcome)
        fleet.master.process.send_signal(signal.SIGSTOP)
        try:
            over = time.monotonic() + SILENCE + welcome.heartbeat
            while time.monotonic() < over:
                worker.say(messages.Heartbeat())
                worker.wait(welcome.heartbeat)
        finally:
            fleet.master.process.send_signal(signal.SIGCONT)
        assert welcome.peer in [known.worker for known in session.workers()]
        worker.say(messages.Bye())


def test_a_worker_whose_connection_breaks_joins_again(hirer: Hirer, numbers: em.Dataset, gate: Gate) -> None:
    """What it had not committed is done again, by itself or others, and nothing is counted twice."""
    worker = hirer.hired()
    with hirer.connect() as session:
        query = session.process(numbers, gate.total)
        eventually(lambda: committed(query), "the worker commits")
        hirer.proxy.cut()
        worker.wait_for("starting afresh")
        gate.open()
        result = query.result(SECONDS)
        assert result.value == SUM and result.account.workers_lost == 1
        assert [info.pid for info in session.workers()] == [worker.pid]


# The signals that end a worker go one way from where they are caught: by default the batch system's.
@pytest.mark.long("workers join and leave for ten seconds; tests/worker/test_agent_leaving.py has each step")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_workers_that_have_to_leave_lose_nothing(
    standing: Standing, session: em.Session, gate: Gate, number: signal.Signals
) -> None:
    """In the middle of a query, for three reasons: what they have done counts, what they have not is handed on, and nothing
    is done twice. A batch system sends its signal to all processes of a job: forkserver and slots are not to care."""
    query = session.process(em.cycles(CYCLES), counted(gate.file))

    def works(pid: int) -> bool:
        return any(info.pid == pid and info.busy and info.packets for info in session.workers())

    def works_or_has_left(worker: processes.Running) -> bool:
        return works(worker.pid) or worker.process.poll() is not None

    eventually(lambda: len(session.workers()) == 1, "the one that stays has joined")
    staying = session.workers()[0].pid
    for walltime in (14, 28, 56):  # a busy machine may need a short one to start the worker
        limited = standing.worker(options=("--walltime", str(walltime), "--grace", "3"))
        eventually(lambda worker=limited: works_or_has_left(worker), "the first one works", walltime + SECONDS)
        if limited.process.poll() is None:
            break
    told, asked = standing.worker(), standing.worker()
    eventually(lambda: all(map(works, (staying, told.pid, asked.pid))), "they work")
    for process in reversed(told.family()):
        process.send_signal(number)
    name = next(info.worker for info in session.workers() if info.pid == asked.pid)
    code, said = processes.call("drain", name, "--master", standing.name, state=standing.state)
    assert code == 0 and f"told {name}" in said
    leaving = [limited, told, asked]
    for worker in leaving:
        assert worker.wait() == 0
        assert "it has drained" in worker.output and "Traceback" not in worker.output
    assert [info.pid for info in session.workers()] == [staying]
    gate.open()
    result = query.result(SECONDS)
    assert result.value == CYCLES
    account = result.account
    assert (account.redone, account.refused, account.workers_lost, account.failed) == (0, 0, 0, 0)
    shares = {info.pid: info.entries for info in query.report()}
    assert all(shares.get(pid) for pid in (staying, *(worker.pid for worker in leaving)))


def test_draining_a_worker_that_is_not_there_names_those_that_are(standing: Standing, session: em.Session) -> None:
    eventually(lambda: len(session.workers()) == 1, "the worker has joined")
    name = session.workers()[0].worker
    with pytest.raises(EventmillError, match=f"no worker nobody here; there are: {name}"):
        session.drain("nobody")
    code, said = processes.call("drain", "nobody", "--master", standing.name, state=standing.state)
    assert code == 1 and f"there are: {name}" in said and "Traceback" not in said


def test_a_walltime_that_is_none_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    code, said = processes.run("worker", "nowhere", "--walltime", "1h30", state=tmp_path)
    assert code == 2 and "'1h30' is no time" in said and "1h30m" in said
    code, said = processes.run("worker", "nowhere", "--walltime", "10s", state=tmp_path)
    assert code == 2 and "a walltime of 10 s leaves nothing" in said and "--grace" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGINT), pytest.param(signal.SIGINT, signal.SIGTERM, marks=pytest.mark.nightly)],
)
def test_a_worker_that_is_told_to_end_twice_leaves_at_once_and_in_good_order(
    hirer: Hirer, numbers: em.Dataset, tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    """Exit code 0, and neither forkserver nor slots are left, though one is busy in the user's code for an hour."""
    begun = str(tmp_path)

    def endless(events: ak.Array) -> int:
        import os
        import time

        open(f"{begun}/{os.getpid()}", "w").close()  # noqa: PTH123
        time.sleep(3600)
        return 0

    worker = hirer.hired()
    with hirer.connect() as session:
        query = session.process(numbers, endless)
        eventually(lambda: len(list(tmp_path.iterdir())) == 2, "both slots are in it")
        assert len(worker.family()) == 4, "agent, forkserver, two slots"
        worker.process.send_signal(first)
        worker.wait_for("another signal ends it at once")
        assert worker.end(second) == 0, worker.output
        assert "Traceback" not in worker.output
        eventually(lambda: not session.workers(), "the master hears of it")
        query.abort()


# --- the life of a session --------------------------------------------------------------------------------------------


def test_a_query_outlives_its_session_and_another_one_gets_the_result(
    standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import eventmill as em
        def total(events):
            import os, time
            while not os.path.exists({str(gate.file)!r}):
                time.sleep(0.01)
            return int(sum(events.number))
        query = em.connect({str(standing.state / standing.name)!r}).process(
            em.Dataset({[file.path for file in numbers.files]!r}, tree="tree"), total
        )
        print(query.id, flush=True)
        query.result(progress=False)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = process.stdout.readline().strip()
        process.kill()
    query = session.attach(number)
    assert query.state == "running"
    gate.open()
    assert query.result(SECONDS).value == SUM


def test_a_session_whose_connection_breaks_is_there_again(
    standing: Standing, numbers: em.Dataset, gate: Gate, tmp_path: Path
) -> None:
    """As after a train's tunnel: the running query is watched again, and the session can be used as before."""
    with contextlib.closing(Proxy(lambda: standing.port)) as proxy:
        file = proxy.save(standing.client, tmp_path / "behind.json")
        with em.connect(file) as session:
            query = session.process(numbers, gate.total)
            eventually(lambda: committed(query), "the worker commits")
            standing.wait_until_told_of(query)
            before = standing.master.output.count("session")
            proxy.cut()
            eventually(lambda: standing.master.output.count("session") >= before + 2, "it is lost, and joins again")
            gate.open()
            assert query.result(SECONDS).value == SUM
            assert session.process(numbers, total).result(SECONDS).value == SUM


def test_a_master_that_dies_is_told_to_those_who_wait(fleet: Standing, numbers: em.Dataset) -> None:
    """No session waits longer than its patience; and a request says at once that the connection is lost."""
    with fleet.connect(patience=1.0) as session:
        query = session.process(numbers, total)
        fleet.master.process.kill()
        with pytest.raises(QueryFailed, match=r"connection is lost: no master answers at tcp://127\.0\.0\.1"):
            query.result(SECONDS)
        with pytest.raises(QueryFailed, match="connection is lost"):
            next(query.stream())


# --- commands ---------------------------------------------------------------------------------------------------------


def test_status_and_stop(standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate) -> None:
    query = session.process(numbers, gate.total, name="my spectrum")
    eventually(lambda: committed(query), "the worker commits")
    code, said = processes.run("status", standing.name, state=standing.state)
    assert code == 0
    worker = session.workers()[0]
    assert worker.worker in said and str(worker.pid) in said
    assert query.id in said and "my spectrum" in said and "running" in said
    assert session.attach(query.id).name == "my spectrum"
    code, said = processes.call("stop", query.id, "--master", standing.name, state=standing.state)
    assert code == 0 and f"stopped query {query.id}" in said
    result = query.result(SECONDS)
    assert result.state == "stopped" and 0 < result.account.processed < 10_000
    assert "stopped" in processes.call("status", standing.name, state=standing.state)[1]
    code, said = processes.call("stop", query.id, "--master", standing.name, state=standing.state)
    assert code == 0 and f"query {query.id} was over already: stopped" in said


def test_stop_can_drop_what_is_merged(standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate) -> None:
    query = session.process(numbers, gate.total)
    code, said = processes.call("stop", query.id, "--abort", "--master", standing.name, state=standing.state)
    assert code == 0 and f"aborted query {query.id}" in said
    with pytest.raises(QueryFailed, match="aborted"):
        query.result(SECONDS)


def test_stop_of_what_is_not_there_says_so(standing: Standing) -> None:
    code, said = processes.call("stop", "nonsense", "--master", standing.name, state=standing.state)
    assert code == 1 and "no query nonsense" in said
    code, said = processes.call("stop", state=standing.state)
    assert code == 2 and "name a query" in said


def test_shutdown_ends_the_master_and_its_workers(hirer: Hirer, numbers: em.Dataset, gate: Gate) -> None:
    worker = hirer.hired()
    with hirer.connect() as session:
        query = session.process(numbers, gate.total)
        eventually(lambda: any(info.busy for info in session.workers()), "it works")
        family = [process for command in (hirer.master, worker) for process in command.family()]
        code, said = processes.call("stop", "--shutdown", "--master", hirer.name, state=hirer.state)
        assert code == 0 and "1 worker" in said
        assert [command.wait() for command in (hirer.master, worker)] == [0, 0]
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive
        with pytest.raises(QueryFailed, match="the master has ended"):
            query.result(SECONDS)
        with pytest.raises(em.errors.EventmillError):
            session.workers()
    with pytest.raises(ConnectionFailed, match="no master answers"):
        hirer.connect(timeout=0.5)


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGTERM, ["--no-journal"]), pytest.param(signal.SIGINT, [], marks=pytest.mark.nightly)],
)
def test_a_master_that_is_told_to_end_tells_everybody(
    tmp_path: Path, numbers: em.Dataset, number: signal.Signals, options: list[str]
) -> None:
    """Unless it has a journal, and was not told so by a person: see test_restart. (What a worker does then, it does in
    `test_shutdown_ends_the_master_and_its_workers`.)"""
    with contextlib.closing(Standing(tmp_path / "state", options=options)) as standing, standing.connect() as session:
        query = session.process(numbers, total)
        with raw_peer(standing.worker_key) as worker:
            worker.say(hello())
            while not isinstance(worker.hear(), messages.Lease):
                pass
            assert standing.master.end(number) == 0
            while not isinstance(worker.hear(), messages.Bye):
                pass
        assert "Traceback" not in standing.master.output
        with pytest.raises(QueryFailed, match="the master has ended"):
            query.result(SECONDS)


def test_keys_are_made_once_shown_often_and_renewed_when_asked_for(tmp_path: Path) -> None:
    code, said = processes.call("keys", "mine", "--address", "tcp://host:1234", state=tmp_path)
    assert code == 0 and "made new keys" in said and "tcp://host:1234" in said
    before = load_connection(tmp_path / "mine" / "client.json")
    code, said = processes.call("keys", "mine", state=tmp_path)
    assert code == 0 and "made new keys" not in said
    assert str(tmp_path / "mine" / "client.json") in said and str(tmp_path / "mine" / "worker.json") in said
    assert load_connection(tmp_path / "mine" / "client.json") == before
    code, said = processes.call("keys", "mine", "--new", state=tmp_path)
    assert code == 0 and "made new keys" in said
    assert load_connection(tmp_path / "mine" / "client.json").secret_key != before.secret_key


def test_every_command_explains_itself(tmp_path: Path) -> None:
    code, said = processes.run("--help", state=tmp_path)
    assert code == 0
    commands = [line.split()[0] for line in said.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert {"demo", "drain", "keys", "master", "status", "stop", "worker"} <= set(commands)
    for command in commands:
        done = CliRunner().invoke(main, [command, "--help"])
        assert done.exit_code == 0 and done.output.startswith("Usage:") and "--help" in done.output
