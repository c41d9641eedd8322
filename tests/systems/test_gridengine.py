"""Workers as jobs of a real Grid Engine: what is asked of it, what it says, what goes wrong, and how that shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import pytest
from eventmill.launch.pools.gridengine import GridEngine
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from gridengine_cluster import GridEngineCluster, running_gridengine
from noting_jobs import SECRET, assignment, reason_of, refused, stand_in, until
from patient_query import busy, patient, workers_below
from processes import Standing, eventually
from sums import SUM


@pytest.fixture(scope="module")
def cluster() -> Iterator[GridEngineCluster]:
    """A Grid Engine of one host. Tests leave it as they find it, but for jobs, which are ended after each."""
    with running_gridengine() as made:
        yield made


@pytest.fixture(autouse=True)
def emptied(cluster: GridEngineCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Grid Engine's commands are found, and no job is left after a test."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield
    cluster.ask("qdel", "-u", "*")
    eventually(lambda: cluster.ask("qstat").strip() == "", "no jobs")


@pytest.fixture
def work(tmp_path: Path) -> Assignment:
    return assignment(tmp_path)


@pytest.fixture
def python(work: Assignment) -> str:
    return stand_in(work)


def test_an_array_of_eight_runs_and_is_cancelled_with_time_to_leave(work: Assignment, python: str) -> None:
    """One call of qsub, a worker a job; each knows its own name. Grid Engine's own signal would kill Python."""
    pool = GridEngine(python=python, walltime="1h")
    jobs = pool.start(8, work)
    assert len(set(jobs)) == 8 and len({job.partition(".")[0] for job in jobs}) == 1
    until(pool, jobs, state="started", host="localhost")
    assert sorted(pool.find(work)) == sorted(jobs)
    notes = [work.folder / f"{job}.arguments" for job in jobs]
    eventually(lambda: all(note.exists() and note.read_text() for note in notes), "they work")
    assert notes[0].read_text().split()[:4] == ["-m", "eventmill", "worker", str(work.token)]
    eventually(lambda: pool.log(jobs[0], work).startswith("working on "), "its log")
    pool.stop(jobs[:3])
    until(pool, jobs[:3], state="gone")
    assert all((work.folder / f"{job}.told").read_text() == "told to leave\n" for job in jobs[:3])
    assert {job.state for job in pool.listing(jobs[3:]).values()} == {"started"}
    pool.stop(jobs)  # also those that are gone
    until(pool, jobs, state="gone")
    pool.stop(jobs)
    assert pool.find(work) == []


def test_the_end_of_the_walltime_is_told_before_it_comes(work: Assignment, python: str) -> None:
    """By a signal that Grid Engine has for it."""
    pool = GridEngine(python=python, walltime="1h", warning=3598)
    (job,) = pool.start(1, work)
    (end,) = until(pool, [job], state="gone")
    assert (work.folder / f"{job}.told").exists() and end.reason == ""


def test_a_suspended_worker_leaves(cluster: GridEngineCluster, work: Assignment, python: str) -> None:
    """Other jobs get its place for nobody knows how long; it would keep what it has in hand."""
    pool = GridEngine(python=python)
    (job,) = pool.start(1, work)
    until(pool, [job], state="started")
    eventually((work.folder / f"{job}.environment").exists, "it works")
    cluster.ask("qmod", "-sj", job)
    until(pool, [job], state="gone")
    assert (work.folder / f"{job}.told").exists()


def test_what_is_secret_stands_in_no_script_and_no_log(
    cluster: GridEngineCluster, work: Assignment, python: str
) -> None:
    """The token is in its file and nowhere else."""
    pool = GridEngine(python=python)
    (job,) = pool.start(1, work)
    eventually((work.folder / f"{job}.environment").exists, "it works")
    files = [path.read_text() for path in work.folder.iterdir() if path != work.token]
    spooled = [
        path.read_bytes().decode(errors="replace") for path in cluster.folder.glob("spool/**/*") if path.is_file()
    ]
    assert SECRET not in "".join([pool.preview(1, work), *files, *spooled])
    assert str(work.token) in pool.preview(1, work)


def test_what_would_be_submitted_can_be_looked_at(cluster: GridEngineCluster, work: Assignment) -> None:
    """A dry run shows what a shell can run; the site's options are in it."""
    pool = GridEngine(queue="main.q", cores=2, memory="1G", options=["#$ -h"], setup=["module load python"])
    shown = pool.preview(2, work)
    assert "#$ -l mem_free=512M\n" in shown and "\nmodule load python\nexec bash -c " in shown
    job = cluster.ask("bash", "-c", shown).partition(".")[0]
    told = cluster.ask("qstat", "-j", job)
    assert "smp range: 2" in told and "main.q" in told
    assert pool.listing([f"{job}.1", f"{job}.2"])[f"{job}.2"].state == "held"


def test_a_job_without_python_fails_and_leaves_its_log(work: Assignment) -> None:
    """It never gets as far as eventmill: only the batch system can tell why."""
    pool = GridEngine(python="/nowhere/python")
    (job,) = pool.start(1, work)
    eventually(lambda: pool.listing([job])[job].state == "failed", "it fails")
    assert pool.listing([job])[job] == Job("failed", "ended with code 127", "localhost")
    assert "/nowhere/python: No such file or directory" in pool.log(job, work)


def test_why_jobs_wait_is_told_in_words(work: Assignment, python: str, tmp_path: Path) -> None:
    """Nobody waits on silence; what will never start by itself is "held"."""
    (closed,) = GridEngine(python=python, queue="closed.q").start(1, work)
    (error,) = GridEngine(python=python, options=["-o /nowhere/log"]).start(1, work)
    pool = GridEngine()
    assert pool.listing([closed])[closed].state == "queued"
    assert "closed.q" in reason_of(pool, closed).reason
    until(pool, [error], state="held")
    assert pool.listing([error])[error].reason.startswith('can\'t open output file "/nowhere/log"')


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"queue": "nosuch.q"}, 'requests unknown queue "nosuch.q"'),
        ({"project": "nosuch"}, 'the requested project "nosuch" does not exist'),
        ({"cores": 2, "parallel": "mpi"}, 'the requested parallel environment "mpi" does not exist'),
        ({"memory": "1G", "memory_resource": "m_mem"}, 'unknown resource "m_mem"'),
    ],
)
def test_what_grid_engine_does_not_take_is_said_in_words(
    settings: dict[str, object], words: str, work: Assignment
) -> None:
    """In its own words, without what is around them."""
    trouble, said = refused(GridEngine(**settings), work)
    assert trouble == "refused"
    assert said.startswith("Grid Engine takes no job: ") and words in said and "Exiting" not in said


def test_a_master_that_is_down_is_no_news_of_jobs(cluster: GridEngineCluster, work: Assignment, python: str) -> None:
    """Jobs are not gone because nobody answers; they are there again when it is back."""
    pool = GridEngine(python=python, options=["-h"])
    (job,) = pool.start(1, work)
    cluster.stop_master()
    try:
        for verb in (lambda: pool.start(1, work), lambda: pool.listing([job]), lambda: pool.stop([job])):
            with pytest.raises(PoolError) as caught:
                verb()
            assert caught.value.trouble == "down"
    finally:
        cluster.start_master()
    until(pool, [job], state="held")


def test_without_its_commands_it_says_where_to_run_instead(
    work: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a laptop, say."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        trouble, words = refused(GridEngine(), work)
    assert trouble == "refused" and words.startswith("there is no command qsub on ")


def test_workers_come_while_a_query_runs_and_are_given_back(
    standing: Standing, numbers: em.Dataset, work: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real ones: Grid Engine's signal before the end becomes one that they understand, and nothing is done twice."""
    gate, home = tmp_path / "gate", tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with standing.connect() as session:
        query = session.process(numbers, patient(gate))
        eventually(lambda: busy(session) == 1, "the worker that is there has begun")
        pool = session.scale(2, em.GridEngine(cores=4))
        eventually(lambda: busy(session) == 9, "all are at work on it")
        GridEngine().stop([launch.job for launch in pool.launches()][:1])
        eventually(lambda: busy(session) == 5, "the one that was deleted has left")
        pool.scale(0)
        eventually(lambda: {launch.stage for launch in pool.launches()} == {"gone"}, "the pool says so")
        gate.touch()
        result = query.result()
        assert result.value == SUM and result.account.redone == 0
    eventually(lambda: workers_below(home) == [], "no process is left")
    assert [path for path in home.rglob("*") if path.is_file()] == []
