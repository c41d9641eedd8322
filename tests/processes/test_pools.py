"""Workers that pools start: real launchers, and workers as processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventmill as em
import psutil
import pytest
from eventmill.launch.pools.pool import PoolError
from pool_agent import agent
from processes import SECONDS, Running, Standing, call, environment, eventually, finds_again
from sums import SUM, Gate, total


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master without workers of its own."""
    made = Standing(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


def workers_of(folder: Path | str) -> list[psutil.Process]:
    """The processes whose token lies in a folder: workers, and what becomes one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in argument for argument in process.cmdline()) and "worker" in process.cmdline():
                found.append(process)
    return found


def launchers_of(pid: int) -> list[psutil.Process]:
    """The launchers that a process has started."""
    return [it for it in psutil.Process(pid).children() if "eventmill.launch" in it.cmdline()]


@pytest.mark.long("starts three workers one after the other")
def test_a_query_gets_workers_while_it_runs_and_gives_them_back(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    """What this is for: more hands for a query that has begun, and none left when they are let go. The result is exact."""
    gate = Gate(tmp_path / "gate")
    with fleet.connect() as session:
        query = session.process(numbers, gate.unhurried)
        pool = session.scale(1, em.Local())
        eventually(lambda: query.account.processed > 0, "the first worker begins")
        pool.scale(3)
        eventually(lambda: sum(info.busy for info in session.workers()) == 3, "all are at work on it")
        gate.open()
        assert query.result().value == SUM
        (launcher,) = launchers_of(os.getpid())
        folder = launcher.cmdline()[5]
        assert len(workers_of(folder)) == 3
        pool.scale(0)
        eventually(lambda: not workers_of(folder), "nothing is left")
        eventually(lambda: {it.stage for it in pool.launches()} == {"gone"}, "the pool says so")
    assert not launcher.is_running() and not Path(folder).exists()


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_a_query_that_waits_says_what_for(fleet: Standing, numbers: em.Dataset) -> None:
    """Nobody waits on silence: not while workers are on their way, nor when they cannot come."""
    with fleet.connect() as session:
        query = session.process(numbers, total)
        pool = session.scale(1, em.Local(setup=["echo there is no such image", "exit 3"]), name="broken")
        waits = lambda: session.cluster().queries[query.id].view.wait  # noqa: E731
        eventually(lambda: "3 workers in a row failed" in waits(), "the pool is paused")
        assert "1 requested in broken, 3 failed: its process ended with code 3" in waits()
        eventually(lambda: "there is no such image" in pool.info.trouble, "what the jobs have said is told")
        assert [launch.stage for launch in pool.launches()] == ["failed"] * 3
        query.stop()


@pytest.mark.long("launchers and workers notice an end in seconds; tests/processes/test_ends.py has the session's own")
def test_a_session_that_is_killed_leaves_nothing(fleet: Standing) -> None:
    """Its launcher sees that it is gone, and its workers go with that."""
    program = """
        import sys, eventmill as em
        session = em.connect(sys.argv[1])
        pool = session.scale(1, em.Local())
        while not any(launch.worker for launch in pool.launches()):
            pass
        print("joined", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), fleet.name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment(fleet.state)) as process:
        assert process.stdout is not None and process.stdout.readline() == b"joined\n"
        (launcher,) = launchers_of(process.pid)
        folder = launcher.cmdline()[5]
        assert workers_of(folder)
        process.kill()
    psutil.wait_procs([launcher], SECONDS)
    eventually(lambda: not workers_of(folder), "no worker is left")
    assert not launcher.is_running() and not Path(folder).exists()


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_a_launcher_that_is_killed_finds_its_workers_again(fleet: Standing, tmp_path: Path) -> None:
    """Nothing is started twice, and nothing is forgotten: the next one lets them go as if it had started them."""
    with fleet.connect() as session:
        with agent(fleet, tmp_path / "a", kept={"stays": True}) as first:
            eventually(lambda: [info.pool for info in session.pools()] == ["kept"], "the pool is there")
            session.scale(2, "kept")
            eventually(lambda: len(session.workers()) == 2, "both have joined")
            before = {process.pid for process in workers_of(tmp_path)}
            first.process.kill()
            first.process.wait()
        eventually(lambda: not session.pools(), "the launcher is gone")
        with agent(fleet, tmp_path / "a", kept={"stays": True}):
            eventually(lambda: [info.wanted for info in session.pools()] == [2], "the next one knows what is wanted")
            stages = lambda: [it.stage for info in session.pools() for it in info.launches]  # noqa: E731
            eventually(lambda: stages() == ["idle", "idle"], "and that they are there")
            assert {process.pid for process in workers_of(tmp_path)} == before
            session.scale(0, "kept")
            eventually(lambda: not workers_of(tmp_path), "it has let them go")


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_a_worker_that_is_killed_is_replaced(fleet: Standing, tmp_path: Path) -> None:
    """By the launcher, without anybody's doing; who ends the launcher with Ctrl-C ends its workers, too."""
    with fleet.connect() as session, agent(fleet, tmp_path / "a", here={}) as running:
        eventually(lambda: bool(session.pools()), "the pool is there")
        session.scale(1, "here")
        eventually(lambda: len(session.workers()) == 1, "it has joined")
        (first,) = workers_of(tmp_path)
        os.killpg(first.pid, signal.SIGKILL)
        eventually(lambda: [it.pid for it in session.workers()] not in ([], [first.pid]), "another one has joined")
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 0
        eventually(lambda: not workers_of(tmp_path), "its workers have ended")


def test_what_is_wrong_is_said_at_once(fleet: Standing, tmp_path: Path) -> None:
    """To who asks for it, and not an hour later."""
    with fleet.connect() as session:
        with pytest.raises(PoolError, match="no launcher of this master has a pool evening; there are: none"):
            session.scale(1, "evening")
        with pytest.raises(PoolError, match="2 workers at most"):
            session.scale(3, em.Local(most=2))
        with pytest.raises(PoolError, match="this master has no user nobody"):
            session.scale(1, em.Local(owner="nobody"))
        with pytest.raises(ValueError, match="whole number"):
            session.scale(-1, em.Local(most=2))


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_pools_on_the_command_line(fleet: Standing, tmp_path: Path) -> None:
    """Each verb does what its help says."""
    state, master = fleet.state, ("--master", fleet.name)
    with agent(fleet, tmp_path / "a", here={"most": 5}):
        with fleet.connect() as session:
            eventually(lambda: bool(session.pools()), "the pool is there")
        assert "1 worker wanted in here now" in call("pool", "start", "here", *master, state=state)[1]
        assert "2 workers wanted in here;" in call("pool", "scale", "here", "2", *master, state=state)[1]

        def told() -> list[dict[str, Any]]:
            lines = call("pool", "list", "here", "--json", *master, state=state)[1].splitlines()
            return [json.loads(line) for line in lines]

        def stages() -> list[str]:
            return sorted(it["stage"] for it in told()[1:])

        eventually(lambda: stages() == ["idle", "idle"], "both have joined")
        job = told()[1]["job"]
        said = call("status", fleet.name, state=state)[1]
        assert job in said and "workers of pools" in said
        assert job in call("pool", "list", *master, state=state)[1]
        assert f"no job {job}0" in call("pool", "stop", "here", f"{job}0", *master, state=state)[1]
        call("pool", "stop", "here", job, *master, state=state)
        assert told()[0]["workers_wanted"] == 1
        eventually(lambda: stages() == ["gone", "idle"], "one has left")
        call("pool", "stop", "here", *master, state=state)
        eventually(lambda: not workers_of(tmp_path), "all have left")
        code, said = call("pool", "start", "her", *master, state=state)
        assert code == 1 and "no launcher of this master has a pool her; it has here" in said


def test_a_pool_is_checked(fleet: Standing, tmp_path: Path) -> None:
    """Before an analysis waits for it: stage by stage, with what the job has said if it fails."""
    file = tmp_path / "pools.toml"
    file.write_text('[good]\nsystem = "local"\n[bad]\nsystem = "local"\nsetup = ["echo no such image", "exit 3"]\n')
    options = ("--pools", str(file), "--master", fleet.name)
    reach = ("--reach", "root://127.0.0.1:1//")
    good = Running("pool", "check", "good", *options, *reach, state=fleet.state)
    bad = Running("pool", "check", "bad", *options, state=fleet.state)
    assert (good.wait(), bad.wait()) == (0, 1), good.output + bad.output
    stages = ("asked for", "its Python has eventmill", "it works")
    assert [stage for stage in stages if stage in good.output] == list(stages)
    found = ("cores", "scratch space: ", "its clock agrees", "reaches the master's port in")
    assert all(words in good.output for words in found), good.output
    assert "does not reach root://127.0.0.1:1//: Connection refused" in good.output
    assert "it failed: its process ended with code 3" in bad.output and "no such image" in bad.output
    for running in (good, bad):
        running.close()
    code, said = call("pool", "check", "good", *options, "--dry-run", state=fleet.state)
    assert code == 0 and "-m eventmill worker" in said


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_a_master_has_pools_of_its_own(tmp_path: Path) -> None:
    """They are there when it is, and go when it ends for good; one that comes back finds its workers."""
    file = tmp_path / "pools.toml"
    file.write_text('[here]\nsystem = "local"\nstays = true\n')
    state = tmp_path / "state"
    standing = Standing(state, options=("--pools", str(file)))
    try:
        with standing.connect() as session:
            session.scale(1, "here")
            eventually(lambda: len(session.workers()) == 1, "it has joined")
            before = [it.pid for it in workers_of(state)]
            standing.master.process.terminate()
            assert standing.master.process.wait(SECONDS) == 0
            standing.start_master("--pools", str(file))
            finds_again(session)
            stages = lambda: [it.stage for info in session.pools() for it in info.launches]  # noqa: E731
            eventually(lambda: bool(session.workers()), "it has come back")
            eventually(lambda: stages() == ["idle"], "the new launcher knows it")
            assert [it.pid for it in workers_of(state)] == before
            session.shutdown()
        assert standing.master.process.wait(SECONDS) == 0
        eventually(lambda: not workers_of(state), "nothing is left")
    finally:
        standing.close()
    file.write_text('[here]\nsystem = "local"\nwalltim = "2h"\n')
    code, said = call("master", "other", "--port", "0", "--pools", str(file), state=state)
    assert code == 1 and "pool here: no setting 'walltim'; the nearest names are walltime" in said


@pytest.mark.long(
    "a fleet of its own; tests/master/test_access.py and tests/master/test_pools.py have it without processes"
)
def test_users_have_pools_of_their_own(tmp_path: Path) -> None:
    """Their workers serve them only; others neither see nor scale them."""
    fleet = Standing(tmp_path / "state")
    try:
        for name in ("alice", "bob"):
            file = str(tmp_path / f"{name}.json")
            assert call("users", "add", name, "--master", fleet.name, "--file", file, state=fleet.state)[0] == 0
        with em.connect(tmp_path / "alice.json") as alice, em.connect(tmp_path / "bob.json") as bob:
            pool = alice.scale(1, em.Local())
            query = alice.process(em.cycles(1000, seed=1), lambda cycles: {"n": len(cycles)})
            assert query.result(SECONDS)["n"] == 1000
            assert [info.owner for info in alice.pools()] == ["alice"] and bob.pools() == []
            with pytest.raises(PoolError, match=f"the pool {pool.name} is not bob's"):
                bob.scale(2, pool.name)
            with pytest.raises(PoolError, match="bob may make tokens for workers of bob, not of alice"):
                bob.scale(1, em.Local(owner="alice"))
            waiting = bob.process(em.cycles(1000, seed=1), lambda cycles: {"n": len(cycles)})
            eventually(lambda: "worker" in repr(waiting), "nobody works for him")
            waiting.abort()
    finally:
        fleet.close()


@pytest.mark.long("a session with a master, a launcher and workers of its own, started by hand")
def test_a_master_of_a_sessions_own_may_be_reached_by_others(tmp_path: Path) -> None:
    """If it is told to: by default it listens on this machine only, and pools elsewhere are told so at once."""
    with em.connect(slots=1) as session:
        with pytest.raises(PoolError, match=r'start it with em.connect\(host="\*"\)'):
            session.scale(1, em.Slurm())
        pool = session.scale(1, em.Local())
        eventually(lambda: len(session.workers()) == 2, "one on this machine reaches it")
        eventually(lambda: "<pool local (local): 1 wanted, 1 idle>" in repr(pool), "its launcher has said so, too")
        assert "workers on their way" in session._repr_html_()
    with em.connect(slots=1, host="localhost") as session:
        assert session.address.startswith("tcp://localhost:")
        port = int(session.address.rpartition(":")[2])
        listening = {
            it.laddr.ip for it in psutil.net_connections("tcp") if it.status == "LISTEN" and it.laddr.port == port
        }
        assert listening == {"0.0.0.0"}
        session.scale(1, em.Local())
        eventually(lambda: len(session.workers()) == 2, "by the name that it was given")
    with pytest.raises(ValueError, match="host= is for a master of this session's own"):
        em.connect("somewhere", host="*")


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_workers_that_nobody_needs_leave_and_are_wanted_no_more(fleet: Standing) -> None:
    """They give their places back, and do not come back only to leave again; the next query scales anew."""
    with fleet.connect() as session:
        pool = session.scale(1, em.Local(idle=1))
        eventually(lambda: [it.stage for it in pool.launches()] == ["gone"], "it has left")
        assert pool.info.wanted == 0
        pool.scale(1)
        eventually(lambda: sorted(it.stage for it in pool.launches())[-1] == "idle", "and one comes again")
    assert "session is closed" in repr(pool)


@pytest.mark.long("real launchers at their pace; tests/launch has it in virtual time")
def test_a_sessions_launcher_that_is_killed_is_started_again(fleet: Standing) -> None:
    """For want of memory, say: what was wanted is wanted still, and what it had started is not forgotten."""
    with fleet.connect() as session:
        pool = session.scale(1, em.Local())
        eventually(lambda: len(session.workers()) == 1, "a worker has joined")
        first, (launcher,) = session.workers()[0].pid, launchers_of(os.getpid())
        folder = launcher.cmdline()[5]
        launcher.kill()
        eventually(lambda: [it.pid for it in session.workers()] not in ([], [first]), "another one has joined")
        assert pool.info.wanted == 1 and len(workers_of(folder)) == 1
    eventually(lambda: not workers_of(folder), "nothing is left")
