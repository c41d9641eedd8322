"""Workers in a real Slurm, from `session.scale` to the last process: they come while a query runs, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import pytest
from eventmill.launch.pools.pool import PoolError
from patient_query import busy, patient, workers_below
from processes import Standing, eventually
from slurm_cluster import SlurmCluster, running_slurm
from sums import SUM


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A Slurm of four nodes."""
    with running_slurm() as made:
        yield made


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with one worker of one slot, which is there all the time."""
    made = Standing(tmp_path_factory.mktemp("state"))
    made.worker()
    yield made
    made.close()


@pytest.fixture
def session(
    fleet: Standing, cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[em.Session]:
    """A session where Slurm's commands are, in a home of its own: pools have a folder there. It leaves nothing."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with fleet.connect() as made:
        yield made
    eventually(lambda: cluster.jobs() == [], "no job is left")
    eventually(lambda: workers_below(home) == [], "no process is left")
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("workers", [3, pytest.param(8, marks=pytest.mark.nightly)])
def test_workers_come_while_a_query_runs_and_are_given_back(
    session: em.Session, numbers: em.Dataset, cluster: SlurmCluster, tmp_path: Path, workers: int
) -> None:
    """What this is for. They hand over what they have begun when they are let go: nothing is done twice."""
    gate = tmp_path / "gate"
    query = session.process(numbers, patient(gate))
    eventually(lambda: busy(session) == 1, "the worker that is there has begun")
    pool = session.scale(0, em.Slurm(memory="400M", partition="main"))
    pool.scale(workers)
    eventually(lambda: busy(session) == workers + 1, "all are at work on it")
    eventually(lambda: {launch.stage for launch in pool.launches()} == {"working"}, "the pool says so")
    assert query.state == "running"
    pool.scale(0)
    eventually(lambda: cluster.jobs() == [], "the slots are given back")
    eventually(lambda: {launch.stage for launch in pool.launches()} == {"gone"}, "the pool says so")
    assert len(session.workers()) == 1
    gate.touch()
    result = query.result()
    assert result.value == SUM and result.account.redone == 0


def test_a_lost_node_costs_a_query_nothing_but_time(
    session: em.Session, numbers: em.Dataset, cluster: SlurmCluster, tmp_path: Path
) -> None:
    """What its worker had is done again by others, the loss is told with Slurm's reason, and another worker comes."""
    gate = tmp_path / "gate"
    query = session.process(numbers, patient(gate))
    pool = session.scale(2, em.Slurm(memory="400M", cores=1, options=["--exclusive"]))
    eventually(lambda: busy(session) == 3, "both are at work on it")
    lost = pool.launches()[0]
    told = cluster.ask("squeue", "-h", "-r", "-o", "%i %N").splitlines()
    (node,) = (line.split()[1] for line in told if line.split()[0] == lost.job)
    cluster.lose_node(node)
    try:
        states = lambda: {launch.job: launch.stage for launch in pool.launches()}  # noqa: E731
        eventually(lambda: states()[lost.job] in {"gone", "failed", "lost"}, "it is seen")
        eventually(lambda: sorted(states().values())[-2:] == ["working", "working"], "another one is at work")
        gate.touch()
        assert query.result().value == SUM
    finally:
        cluster.start_node(node)


def test_a_preempted_worker_hands_over_what_it_has(
    session: em.Session, numbers: em.Dataset, cluster: SlurmCluster, tmp_path: Path
) -> None:
    """Slurm tells it to leave for a job with a higher priority: nothing that it has begun is done again."""
    gate = tmp_path / "gate"
    query = session.process(numbers, patient(gate))
    pool = session.scale(1, em.Slurm(memory="1G", partition="spare", cores=4))
    eventually(lambda: busy(session) == 5, "all its slots are at work on it")
    first = pool.launches()[0].job
    cluster.ask("sbatch", "-p", "main", "-w", "w4", "-c", "4", "-o", "/dev/null", "--wrap=sleep 600")
    states = lambda: {launch.job: launch for launch in pool.launches()}  # noqa: E731
    eventually(lambda: states()[first].stage == "gone", "it has left")
    pool.scale(0)
    cluster.ask("scancel", "--me")
    gate.touch()
    result = query.result()
    assert result.value == SUM and result.account.redone == 0


def test_a_worker_whose_walltime_ends_hands_over_and_another_comes(
    session: em.Session, numbers: em.Dataset, tmp_path: Path
) -> None:
    """It is told in time, nothing that it has begun is done again, and to end so is no failure. (Slurm looks at walltimes
    every half a minute.)"""
    gate = tmp_path / "gate"
    query = session.process(numbers, patient(gate))
    pool = session.scale(1, em.Slurm(memory="400M", walltime="1m", warning=600))
    eventually(lambda: busy(session) == 2, "it is at work")
    first = pool.launches()[0].job
    states = lambda: {launch.job: launch.stage for launch in pool.launches()}  # noqa: E731
    eventually(lambda: states()[first] == "gone", "it has left")
    eventually(lambda: "working" in states().values(), "another one is at work")
    pool.scale(0)
    gate.touch()
    result = query.result()
    assert result.value == SUM and result.account.redone == 0


def test_what_goes_wrong_is_told_to_who_asks_and_to_who_waits(
    session: em.Session, numbers: em.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once what Slurm does not take; with the words of the job's log what fails before Python has started."""
    with pytest.raises(PoolError, match="Slurm has no partition 'shrt'; it has closed, main, short, spare"):
        session.scale(1, em.Slurm(partition="shrt"))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(PoolError, match="there is no command sbatch on"):
            session.scale(1, em.Slurm(), name="elsewhere")
    pool = session.scale(1, em.Slurm(python="/nowhere/python", memory="400M"), name="broken")
    eventually(lambda: "/nowhere/python: No such file or directory" in pool.info.trouble, "the log is told")
    assert "ended with code 127" in pool.info.trouble
    waiting = session.scale(1, em.Slurm(partition="closed"), name="patience")
    told = lambda: {(launch.stage, launch.reason) for launch in waiting.launches()}  # noqa: E731
    reason = "PartitionDown: the partition takes jobs, but starts none now"
    eventually(lambda: told() == {("queued", reason)}, "why it waits")
    for handle in (pool, waiting):
        handle.scale(0)
