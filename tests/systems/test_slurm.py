"""Workers as jobs of a real Slurm: what is asked of it, what it says, what goes wrong, and how that shows."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from eventmill.launch.pools import commands
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from eventmill.launch.pools.slurm import Slurm
from noting_jobs import SECRET, assignment, reason_of, refused, stand_in, until
from processes import eventually
from slurm_cluster import NODES, SlurmCluster, running_slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A Slurm of four nodes. Tests leave it as they find it, but for jobs, which are ended after each."""
    with running_slurm() as made:
        yield made


@pytest.fixture(autouse=True)
def emptied(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slurm's commands find the cluster, and no job is left after a test."""
    found(cluster, monkeypatch)
    yield
    cluster.ask("scancel", "--me")
    eventually(lambda: cluster.jobs() == [], "no jobs")


@pytest.fixture
def work(tmp_path: Path) -> Assignment:
    return assignment(tmp_path)


@pytest.fixture
def python(work: Assignment) -> str:
    return stand_in(work)


def found(cluster: SlurmCluster, patch: pytest.MonkeyPatch) -> None:
    """Slurm's commands find this cluster."""
    for name, value in cluster.environment.items():
        patch.setenv(name, value)


# --- the verbs ------------------------------------------------------------------------------------------------------------


def test_an_array_of_eight_runs_on_all_nodes_and_is_cancelled(
    cluster: SlurmCluster, work: Assignment, python: str
) -> None:
    """One call of sbatch, a worker a job; each knows its own name; stopped with time to leave."""
    pool = Slurm(python=python, cores=2, memory="300M", walltime="1h", partition="main")
    jobs = pool.start(8, work)
    assert len(set(jobs)) == 8 and len({job.partition("_")[0] for job in jobs}) == 1
    until(pool, jobs, state="started")
    assert {job.host for job in pool.listing(jobs).values()} == set(NODES)
    assert sorted(pool.find(work)) == sorted(jobs)
    notes = [work.folder / f"{job}.arguments" for job in jobs]
    eventually(lambda: all(note.exists() and note.read_text() for note in notes), "they work")
    for note in notes:
        words = note.read_text().split()
        assert words[:4] == ["-m", "eventmill", "worker", str(work.token)]
        assert words[words.index("--slots") + 1] == "2" and words[words.index("--walltime") + 1] == "1h"
    assert "SLURM_MEM_PER_NODE=300" in (work.folder / f"{jobs[0]}.environment").read_text().splitlines()
    eventually(lambda: pool.log(jobs[0], work).startswith("working on "), "its log")

    pool.stop(jobs[:3])
    until(pool, jobs[:3], state="gone", reason="cancelled")
    assert all((work.folder / f"{job}.told").exists() for job in jobs[:3])
    assert {job.state for job in pool.listing(jobs[3:]).values()} == {"started"}
    pool.stop(jobs)  # also those that are gone
    until(pool, jobs, state="gone")
    pool.stop(jobs)
    assert cluster.jobs() == []


def test_many_jobs_are_more_than_one_array(work: Assignment, python: str) -> None:
    """Slurm takes so many jobs an array only."""
    pool = Slurm(python=python, array_size=3, options=["--hold"])
    jobs = pool.start(7, work)
    assert len(set(jobs)) == 7 and len({job.partition("_")[0] for job in jobs}) == 3
    assert sorted(pool.find(work)) == sorted(jobs)
    pool.stop(jobs)
    assert {job.state for job in pool.listing(jobs).values()} == {"gone"}


def test_what_is_secret_stands_in_no_script_and_no_log(cluster: SlurmCluster, work: Assignment, python: str) -> None:
    """The token is in its file and nowhere else."""
    pool = Slurm(python=python)
    (job,) = pool.start(1, work)
    until(pool, [job], state="started")
    eventually(lambda: (work.folder / f"{job}.environment").exists(), "it works")
    said = cluster.ask("scontrol", "show", "job", job) + cluster.ask("scontrol", "write", "batch_script", job, "-")
    files = [path.read_text() for path in work.folder.iterdir() if path != work.token]
    assert SECRET not in "".join([said, pool.preview(1, work), *files])
    assert str(work.token) in said


def test_what_would_be_submitted_can_be_looked_at_and_taken_elsewhere(
    cluster: SlurmCluster, work: Assignment, tmp_path: Path
) -> None:
    """A dry run shows what a shell can run; a site's template and options are in it."""
    template = tmp_path / "template"
    template.write_text("#!/bin/bash\n@before@\n# of the site\n@setup@\nexec @command@\n")
    pool = Slurm(
        template=str(template), setup=["module load python"], options=["#SBATCH --hold", "--comment='a b'"],
        cores=4, walltime="90s", partition="short", exclude=["w1", "w2"], constraint=None, container="/cvmfs/image",
    )  # fmt: skip
    shown = pool.preview(2, work)
    assert "\n# of the site\nmodule load python\nexec apptainer exec /cvmfs/image python3 -m eventmill worker" in shown
    done = cluster.ask("bash", "-c", shown).strip()
    told = cluster.ask("scontrol", "-o", "show", "job", done)
    wanted = ["Partition=short", "TimeLimit=00:02:00", "CPUs/Task=4", "ExcNodeList=w[1-2]", "Comment=a b", "Requeue=0"]
    assert [word for word in [*wanted, "Reason=JobHeldUser"] if word not in told] == []
    template.write_text("#!/bin/bash\necho nothing\n")
    assert "it has no line 'exec @command@'" in refused(pool, work)[1]
    template.unlink()
    assert refused(pool, work) == (
        "refused",
        f"the template of pool farm cannot be read: [Errno 2] No such file or directory: '{template}'",
    )


def test_a_job_that_submits_leaves_its_own_settings_to_no_other(
    cluster: SlurmCluster, work: Assignment, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook may run in a job itself: Slurm's variables there beat what stands in scripts."""
    for name, value in {
        "SLURM_MEM_PER_NODE": "77", "SBATCH_REQUEUE": "1", "SBATCH_PARTITION": "short", "SQUEUE_PARTITION": "closed",
        "SQUEUE_STATES": "FAILED", "SLURM_JOB_END_TIME": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    jobs = [job for partition in ("main", None) for job in Slurm(python=python, partition=partition).start(1, work)]
    until(Slurm(), jobs, state="started")
    told = [cluster.ask("scontrol", "-o", "show", "job", job) for job in jobs]
    assert ["Partition=main" in told[0], "Partition=short" in told[1]] == [True, True]
    assert all("Requeue=0" in one for one in told)
    note = work.folder / f"{jobs[0]}.environment"
    eventually(note.exists, "it works")
    assert not {"SLURM_MEM_PER_NODE=77", "SLURM_JOB_END_TIME=1"} & set(note.read_text().splitlines())


# --- jobs that come to no good end ----------------------------------------------------------------------------------------


def test_a_job_without_python_fails_and_leaves_its_log(work: Assignment) -> None:
    """It never gets as far as eventmill: only the batch system can tell why."""
    pool = Slurm(python="/nowhere/python")
    (job,) = pool.start(1, work)
    (end,) = until(pool, [job], state="failed")
    assert end.reason == "ended with code 127" and end.host in NODES
    assert "/nowhere/python: No such file or directory" in pool.log(job, work)


def test_a_job_that_its_node_cannot_start_says_what_may_be_wrong(work: Assignment, python: str) -> None:
    """No script of ours has run, and there is no log: the pool's folder is not there on the node."""
    pool = Slurm(python=python, options=["--hold"])
    (job,) = pool.start(1, work)
    shutil.rmtree(work.folder)
    commands.run("scontrol", "release", job)
    (end,) = until(pool, [job], state="failed")
    assert "its node could not start it: can it write into the pool's folder" in end.reason
    assert pool.log(job, work) == ""


def test_a_killed_job_says_by_what(work: Assignment, python: str) -> None:
    """As the kernel does it when memory is short."""
    pool = Slurm(python=python, setup=["kill -9 $$"])
    (job,) = pool.start(1, work)
    (end,) = until(pool, [job], state="failed")
    assert end.reason == "killed by signal 9"


def test_a_preempted_job_is_told_to_leave_and_has_not_failed(
    cluster: SlurmCluster, work: Assignment, python: str
) -> None:
    """Jobs with a higher priority get its place, and it does not come back."""
    pool = Slurm(python=python, partition="spare", cores=4)
    (job,) = pool.start(1, work)
    until(pool, [job], state="started")
    eventually((work.folder / f"{job}.environment").exists, "it works")
    cluster.ask(
        "sbatch", "--partition=main", "--nodelist=w4", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 100"
    )
    (end,) = until(pool, [job], state="gone")
    assert end.reason == "preempted: other jobs have got its place"
    assert (work.folder / f"{job}.told").exists()


# --- why jobs wait, and why they are not taken ----------------------------------------------------------------------------


def test_why_jobs_wait_is_told_in_words(cluster: SlurmCluster, work: Assignment, python: str) -> None:
    """Nobody waits on silence; what will never start is "held"."""
    closed, held, long, large = (
        Slurm(python=python, **options).start(1, dataclasses.replace(work, name=f"eventmill-{number}"))[0]
        for number, options in enumerate(
            [{"partition": "closed"}, {"options": ["--hold"]}, {"partition": "short", "walltime": "2h"}, {"cores": 40}]
        )
    )
    full = Slurm(python=python, cores=4, exclude=["w3", "w4"]).start(4, work)
    eventually(lambda: sum(job.state == "started" for job in Slurm().listing(full).values()) == 2, "two run")
    assert reason_of(Slurm(), closed) == Job("queued", "PartitionDown: the partition takes jobs, but starts none now")
    assert reason_of(Slurm(), held).state == "held"
    assert reason_of(Slurm(), held).reason == "JobHeldUser: held by its user: `scontrol release` lets it go on"
    assert reason_of(Slurm(), long).state == reason_of(Slurm(), large).state == "held"
    assert reason_of(Slurm(), long).reason.startswith("PartitionTimeLimit: the walltime is longer than")
    waiting = [job for job, said in Slurm().listing(full).items() if said.state == "queued"]
    assert {reason_of(Slurm(), job).reason for job in waiting} <= {
        "Priority: jobs with a higher priority come first",
        "Resources: it is next, and waits for free cores or memory",
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partition": "shrt"}, "Slurm has no partition 'shrt'; it has closed, main, short, spare"),
        ({"constraint": "skylake"}, "Slurm takes no job: Invalid feature specification"),
        ({"exclude": ["w77"]}, "Slurm takes no job: Invalid node name specified"),
        ({"cores": 2, "memory": "900G"}, "no node has 2 cores and 900G memory for a job"),
        ({"array_size": 400}, "set array_size to less than MaxArraySize"),
        ({"options": ["--no-such-option"]}, "unrecognized option"),
    ],
)
def test_what_slurm_does_not_take_is_said_in_words(
    settings: dict[str, object], words: str, cluster: SlurmCluster, work: Assignment
) -> None:
    """What is wrong, and what there is in its place."""
    trouble, said = refused(Slurm(**settings), work, count=150 if "array_size" in settings else 1)
    assert words in said and "sbatch: error" not in said
    assert trouble == "refused"
    assert cluster.jobs() == []


def test_a_full_cluster_takes_all_or_nothing(
    cluster: SlurmCluster, work: Assignment, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch waits for two minutes then: the launcher does not. Of the first array nothing is left."""
    monkeypatch.setattr(commands, "SECONDS", 3.0)
    pool = Slurm(python=python, array_size=100, options=["--hold"])  # the cluster takes 200 jobs
    trouble, words = refused(pool, work, count=300)
    assert trouble == "full"
    assert "Slurm temporarily unable to accept job" in words
    left = pool.listing(pool.find(work)).values()
    assert {job.state for job in left} == {"gone"}
    assert cluster.jobs() == []


def test_a_controller_that_is_down_is_no_news_of_jobs(cluster: SlurmCluster, work: Assignment, python: str) -> None:
    """Jobs are not gone because nobody answers; they go on, and are there again when it is back."""
    pool = Slurm(python=python)
    jobs = pool.start(2, work)
    until(pool, jobs, state="started")
    cluster.stop_controller()
    try:
        with ThreadPoolExecutor() as threads:  # each tries for some seconds
            asked = [
                threads.submit(pool.start, 1, work),
                *(threads.submit(ask, jobs) for ask in (pool.listing, pool.stop)),
            ]
            troubles = [answer.exception() for answer in asked]
        for trouble in troubles:
            assert isinstance(trouble, PoolError) and trouble.trouble == "down"
            assert "Unable to contact slurm controller" in str(trouble)
    finally:
        cluster.start_controller()
    assert {job.state for job in until(pool, jobs, state="started")} == {"started"}


def test_without_slurms_commands_it_says_where_to_run_instead(
    work: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a laptop, say."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        trouble, words = refused(Slurm(), work)
    assert trouble == "refused"
    assert words.startswith("there is no command sbatch on ") and "run this where jobs can be submitted" in words


@pytest.mark.parametrize("settings", [{"memory": "much"}, {"walltime": "2 fortnights"}, {"partitions": "main"}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, str]) -> None:
    """When they are read, not when jobs are to start."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"system": "slurm", **settings}, Slurm)


# --- what takes Slurm half a minute to see: begun with the first test, in a cluster of its own -----------------------------


class Aside:
    """A cluster with a lost node, and with a job whose walltime is about to end."""

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        self.cluster = cluster
        self.work = assignment(folder)
        python = stand_in(self.work)
        self.ends = Slurm(python=python, cores=2, warning=600, options=["--time=5"]).start(1, self.work)[0]
        self.jobs = Slurm(python=python, cores=2).start(7, self.work)
        until(Slurm(), [self.ends, *self.jobs], state="started")
        hosts = {job: said.host for job, said in Slurm().listing([self.ends, *self.jobs]).items()}
        self.node = next(host for host in hosts.values() if host != hosts[self.ends])
        self.lost = [job for job, host in hosts.items() if host == self.node]
        cluster.lose_node(self.node)


@pytest.fixture(scope="module", autouse=True)
def aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aside]:
    with running_slurm() as cluster:
        with pytest.MonkeyPatch.context() as patch:
            found(cluster, patch)
            made = Aside(cluster, tmp_path_factory.mktemp("aside"))
        yield made


def test_a_lost_node_takes_its_jobs_and_no_others_take_their_place(
    aside: Aside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm would start them again by itself, as workers that nobody expects."""
    found(aside.cluster, monkeypatch)
    assert set(until(Slurm(), aside.lost, state="failed")) == {Job("failed", "its node is lost", aside.node)}
    others = [job for job in aside.jobs if job not in aside.lost]
    assert len(aside.lost) == 2 and {job.state for job in Slurm().listing(others).values()} == {"started"}
    assert not set(aside.lost) & {line.split()[0] for line in aside.cluster.jobs()}


def test_the_end_of_the_walltime_is_told_before_it_comes(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to a worker that knows nothing of it."""
    found(aside.cluster, monkeypatch)
    (end,) = until(Slurm(), [aside.ends], state="gone")
    assert (aside.work.folder / f"{aside.ends}.told").exists()
    assert end.reason == ""  # it has left by itself
