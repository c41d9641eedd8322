"""Workers in HTCondor: a real pool, whose jobs are stand-ins for workers, as far as HTCondor is concerned."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from condor_pool import SLOTS, CondorPool, condor_pool
from eventmill.launch.pools.condor import Condor
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from processes import eventually

__all__ = ["condor_pool"]

SECRET = "nobody-else-may-see-this"
Settings = Callable[..., Condor]
STAND_IN = f"""#!{sys.executable}
import os, signal, stat, sys
def leave(*_):
    print("left well", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
token = sys.argv[4]
mode, known = oct(os.stat(token).st_mode & 0o777), open(token).read() == "{SECRET}"
print("job", os.environ["EVENTMILL_JOB"], "token", mode, known, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    """With the name of the test's folder, which no other test has."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(SECRET)
    return Assignment("physics", token, tmp_path, tmp_path.name)


@pytest.fixture
def settings(condor_pool: CondorPool, tmp_path: Path) -> Iterator[Settings]:
    """Makes pools whose workers are stand-ins. No job is left when a test is over."""
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    yield lambda **changes: Condor(**{"memory": "100M", "disk": "1M", "python": str(stand_in)} | changes)
    condor_pool.clear()


def wait_until(pool: Condor, jobs: list[str], condition: Callable[[Job], bool]) -> dict[str, Job]:
    """Until it holds of each of these jobs; what they are then."""
    listing: dict[str, Job] = {}

    def holds() -> bool:
        listing.update(pool.listing(jobs))
        return all(map(condition, listing.values()))

    eventually(holds, "what HTCondor was asked for")
    return listing


def is_(state: str) -> Callable[[Job], bool]:
    return lambda job: job.state == state


def test_eight_workers_start_are_listed_with_their_hosts_and_leave_well(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    """The whole way. A job that is removed has the time that a worker needs to hand on what it has."""
    pool = settings()
    jobs = pool.start(8, assignment)
    assert len(set(jobs)) == 8
    assert pool.find(assignment) == jobs
    listing = wait_until(pool, jobs, is_("started"))
    assert {job.host for job in listing.values()} == {condor_pool.host}
    eventually(lambda: all("token" in pool.log(job, assignment) for job in jobs), "all of them have said something")
    assert pool.log(jobs[3], assignment) == f"job {jobs[3]} token 0o600 True"
    pool.stop([*jobs, "999.0"])
    assert {job.state for job in wait_until(pool, jobs, is_("gone")).values()} == {"gone"}
    assert pool.log(jobs[3], assignment).endswith("left well")
    assert pool.find(assignment) == []
    pool.stop(jobs)


def test_some_are_stopped_and_the_others_stay(settings: Settings, assignment: Assignment) -> None:
    pool = settings()
    jobs = pool.start(3, assignment)
    wait_until(pool, jobs, is_("started"))
    pool.stop(jobs[1:2])
    wait_until(pool, jobs[1:2], is_("gone"))
    assert [job.state for job in pool.listing(jobs).values()] == ["started", "gone", "started"]


def test_nothing_secret_can_be_read_in_the_queue(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    """Everybody may read arguments and environment of a job there, and the script in the folder."""
    pool = settings(shares_files=False)
    pool.start(1, assignment)
    (ad,) = condor_pool.queue()
    assert SECRET not in str(ad) and "EVENTMILL_JOB" in str(ad)
    assert SECRET not in pool.preview(1, assignment)
    assert ad["EncryptInputFiles"] == "token"


@pytest.mark.parametrize("way", [{"shares_files": False}, {"spool": True}], ids=["sent", "spooled"])
def test_files_travel_where_there_is_no_shared_file_system(
    way: dict[str, bool], settings: Settings, assignment: Assignment, tmp_path: Path
) -> None:
    """The job has the token, for itself alone, and what else was to travel; what it says comes back."""
    (tmp_path / "more").write_text("brought along")
    setup = ['echo "$(cat more) to $PWD"', "ls -1 -A"]
    pool = settings(files=[str(tmp_path / "more")], setup=setup, **way)
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], is_("started"))
    if "spool" not in way:
        eventually(lambda: "token" in pool.log(job, assignment), "it says something while it runs")
    pool.stop([job])
    wait_until(pool, [job], is_("gone"))
    if "spool" not in way:
        said = pool.log(job, assignment)
        assert "brought along to" in said and "execute/dir_" in said
        assert f"job {job} token 0o600 True" in said and "left well" in said


def test_what_a_spooled_job_has_said_is_fetched_from_the_schedd(settings: Settings, assignment: Assignment) -> None:
    """A worker that fails before Python starts leaves its log with a schedd on another machine."""
    pool = settings(spool=True, setup=["echo no such environment; exit 3"])
    (job,) = pool.start(1, assignment)
    assert wait_until(pool, [job], is_("failed"))[job].reason == "ended with code 3"
    assert pool.log(job, assignment) == "no such environment"
    pool.stop([job])
    wait_until(pool, [job], is_("gone"))


def test_a_job_without_a_python_fails_and_says_so(settings: Settings, assignment: Assignment) -> None:
    """It is over before anybody looks, and is still seen to have failed, and how."""
    pool = settings(python="/no/such/python")
    (job,) = pool.start(1, assignment)
    failed = wait_until(pool, [job], is_("failed"))[job]
    assert failed.reason == "ended with code 127" and failed.host
    assert "/no/such/python: No such file or directory" in pool.log(job, assignment)


def test_a_job_that_is_killed_says_so(settings: Settings, assignment: Assignment) -> None:
    pool = settings(setup=["kill -9 $$"])
    (job,) = pool.start(1, assignment)
    assert wait_until(pool, [job], is_("failed"))[job].reason == "killed by signal 9"


def test_a_job_that_ends_well_is_gone(settings: Settings, assignment: Assignment) -> None:
    pool = settings(setup=["exit 0"])
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], is_("gone"))


def test_a_held_job_says_why(settings: Settings, assignment: Assignment) -> None:
    """It stays held until somebody who knows what to do about it does it, or it is stopped."""
    pool = settings(commands={"hold": "True"})
    (job,) = pool.start(1, assignment)
    assert wait_until(pool, [job], is_("held"))[job].reason == "submitted on hold at user's request"
    pool.stop([job])
    wait_until(pool, [job], is_("gone"))


def test_a_missing_executable_holds_the_job(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    pool = settings(requirements='VMType == "later"')
    (job,) = pool.start(1, assignment)
    (assignment.folder / f"{assignment.name}.sh").unlink()
    condor_pool.edit(job, "Requirements", "True")
    reason = wait_until(pool, [job], is_("held"))[job].reason
    assert "Failed to execute" in reason and "No such file or directory" in reason


def test_a_requirement_that_nothing_meets_is_told(settings: Settings, assignment: Assignment) -> None:
    """It waits for ever, and that it was looked at in vain is all that HTCondor says of it."""
    pool = settings(requirements='VMType == "chemistry"')
    (job,) = pool.start(1, assignment)
    (found,) = wait_until(pool, [job], lambda job: bool(job.reason)).values()
    assert found == Job("queued", f"no match found: condor_q -better-analyze {job} says more")


def test_attributes_are_matched(settings: Settings, assignment: Assignment, condor_pool: CondorPool) -> None:
    """Machines ask for attributes of jobs, as virtual machines of a kind do, and jobs for those of machines."""
    pool = settings(
        requirements='TARGET.VMType == "physics"', attributes={"VMType": "physics", "MaxRuntime": 7200, "N": True}
    )
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], is_("started"))
    (ad,) = condor_pool.queue("VMType", "MaxRuntime", "N")
    assert (ad["VMType"], ad["MaxRuntime"], ad["N"]) == ("physics", 7200, True)
    other = settings(attributes={"VMType": 'of "another" kind'})
    (unwanted,) = other.start(1, Assignment("physics", assignment.token, assignment.folder, f"{assignment.name}-2"))
    (found,) = wait_until(other, [unwanted], lambda it: bool(it.reason)).values()
    assert found.state == "queued" and "no match found" in found.reason
    assert {ad["VMType"] for ad in condor_pool.queue("VMType")} == {"physics", 'of "another" kind'}


def test_a_job_that_is_evicted_says_so_and_is_removed(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    """HTCondor would start it again by itself, when another worker is there in its place."""
    pool = settings(commands={"periodic_remove": "Over =?= True"})
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], is_("started"))
    eventually(lambda: "token" in pool.log(job, assignment), "it runs")
    condor_pool.vacate(job)
    assert wait_until(pool, [job], is_("ending"))[job].reason.startswith("evicted")
    assert "left well" in pool.log(job, assignment)
    pool.stop([job])
    wait_until(pool, [job], is_("gone"))


def test_htcondor_removes_what_it_has_evicted(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    """Also when nobody tells it to any more, since the launcher is gone."""
    pool = settings()
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], is_("started"))
    eventually(lambda: "token" in pool.log(job, assignment), "it runs")
    condor_pool.vacate(job)
    wait_until(pool, [job], is_("gone"))
    assert pool.log(job, assignment).count("token") == 1


def test_more_jobs_than_one_may_have_are_refused_as_too_many(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool
) -> None:
    """All or none: none of them is left in the queue."""
    with pytest.raises(PoolError, match="takes no more jobs") as caught:
        settings().start(1000, assignment)
    assert caught.value.trouble == "full"
    assert condor_pool.queue() == []


def test_requirements_that_are_none_are_refused(settings: Settings, assignment: Assignment) -> None:
    with pytest.raises(PoolError, match="Parse error in expression") as caught:
        settings(requirements="this is (no").start(1, assignment)
    assert caught.value.trouble == "refused"


def test_an_image_that_is_not_there_holds_the_job(settings: Settings, assignment: Assignment) -> None:
    pool = settings(container="/no/such.sif")
    (job,) = pool.start(1, assignment)
    assert "/no/such.sif" in wait_until(pool, [job], is_("held"))[job].reason


def test_a_schedd_that_is_not_there_is_named_with_those_that_are(settings: Settings) -> None:
    with pytest.raises(PoolError, match=r"no schedd 'bigbird'.*physics@condor\.test") as caught:
        settings(schedd="bigbird").listing(["1.0"])
    assert caught.value.trouble == "down"


def test_the_schedd_can_be_named(settings: Settings, condor_pool: CondorPool) -> None:
    pool = settings(schedd="physics@condor.test", collector=condor_pool.collector)
    assert pool.listing(["999999.0"]) == {"999999.0": Job("gone")}


def test_a_collector_that_is_down_is_told(settings: Settings, assignment: Assignment) -> None:
    for verb in (lambda pool: pool.listing(["1.0"]), lambda pool: pool.start(1, assignment)):
        with pytest.raises(PoolError, match=r"127\.0\.0\.1:1.*Connection refused") as caught:
            verb(settings(collector="127.0.0.1:1"))
        assert caught.value.trouble == "down"


def test_who_is_not_let_in_is_told_what_to_do(
    settings: Settings, condor_pool: CondorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTCondor's bindings say the same of that and of a collector that is down."""
    stranger = tmp_path / "stranger"
    stranger.write_text(condor_pool.config.read_text().replace("/tokens", "/no-tokens"))
    monkeypatch.setenv("CONDOR_CONFIG", str(stranger))
    with pytest.raises(PoolError, match=r"does not let you in.*IDTOKENS.*kinit") as caught:
        settings().listing(["1.0"])
    assert caught.value.trouble == "down"


def test_a_ticket_that_has_expired_is_told(
    settings: Settings, assignment: Assignment, condor_pool: CondorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a site wants Kerberos tickets with jobs, its own program makes something of yours, or says nothing."""
    config = tmp_path / "config"
    config.write_text(f"{condor_pool.config.read_text()}SEC_CREDENTIAL_PRODUCER = {shutil.which('false')}\n")
    monkeypatch.setenv("CONDOR_CONFIG", str(config))
    with pytest.raises(PoolError, match=r"your credentials cannot be passed on.*kinit") as caught:
        settings().start(1, assignment)
    assert caught.value.trouble == "down"
    assert condor_pool.queue() == []


def test_a_whole_pool_is_filled_in_one_call(settings: Settings, assignment: Assignment) -> None:
    """More than there is room for: the others wait."""
    pool = settings()
    jobs = pool.start(SLOTS + 2, assignment)
    states = [""]

    def full() -> bool:
        states[:] = sorted(job.state for job in pool.listing(jobs).values())
        return states == ["queued"] * 2 + ["started"] * SLOTS

    eventually(full, "all slots are taken")
