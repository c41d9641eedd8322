"""Workers as processes of this machine: found, ended, and reported as what became of them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from eventmill.launch.pools.local_processes import Local
from eventmill.launch.pools.pool import JOB, Assignment
from processes import eventually


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return Assignment("here", tmp_path / "token", tmp_path, "eventmill-here-1")


@contextlib.contextmanager
def started(pool: Local, assignment: Assignment, count: int = 1) -> Iterator[list[str]]:
    """So many jobs, which are ended however they feel."""
    jobs = pool.start(count, assignment)
    try:
        yield jobs
    finally:
        pool.stop(jobs)
        pool.stop(jobs)
        eventually(lambda: {it.state for it in pool.listing(jobs).values()} <= {"gone", "failed"}, "all have ended")


def script(*lines: str) -> Local:
    """A pool whose workers do this instead."""
    return Local(setup=[*lines, "exit 0"])


def test_a_job_knows_its_id_and_its_session_is_its_own(assignment: Assignment) -> None:
    """By its id its pool knows the worker that joins, and Ctrl-C in a terminal is not for it."""
    with started(script(f"echo job ${JOB}; exec sleep 60"), assignment, 2) as jobs:
        eventually(lambda: all(Local().log(job, assignment) == f"job {job}" for job in jobs), "each has said so")
        assert all(os.getsid(int(job.partition(".")[0])) == int(job.partition(".")[0]) for job in jobs)
        assert sorted(Local().find(assignment)) == sorted(jobs)
        assert {it.state for it in Local().listing(jobs).values()} == {"started"}


@pytest.mark.parametrize(
    ("line", "state", "reason"),
    [
        ("true", "gone", ""),
        ("exit 3", "failed", "ended with code 3"),
        ("kill -9 $$", "failed", "was killed by SIGKILL"),
    ],
)
def test_an_end_is_told_as_what_it_was(assignment: Assignment, line: str, state: str, reason: str) -> None:
    """One that ended well is gone; of another the reason is known."""
    (job,) = script(line).start(1, assignment)
    eventually(lambda: Local().listing([job])[job].state == state, "it is told")
    assert reason in Local().listing([job])[job].reason
    assert Local().find(assignment) == []


def test_a_command_that_is_not_there_is_named_in_the_log(assignment: Assignment) -> None:
    """It is the first mistake that anybody makes with `python`."""
    (job,) = Local(python="/no/such/python").start(1, assignment)
    eventually(lambda: Local().listing([job])[job].state == "failed", "it fails")
    assert "/no/such/python cannot be run: No such file" in Local().log(job, assignment)


def test_who_does_not_listen_is_killed_when_it_is_told_again(assignment: Assignment) -> None:
    """Whatever a worker is doing: nothing is left."""
    with started(script("trap '' TERM; echo deaf; while true; do sleep 0.1; done"), assignment) as (job,):
        eventually(lambda: Local().log(job, assignment) == "deaf", "it hears nothing")
        Local().stop([job])
        assert Local().listing([job])[job].state == "ending"
        Local().stop([job])
        eventually(lambda: Local().listing([job])[job].state == "gone", "it is gone")


def test_a_number_that_another_process_has_by_now_is_not_touched(assignment: Assignment) -> None:
    """Process numbers come again; what was started at another time is somebody else."""
    stranger = f"{os.getpid()}.1"
    assert Local().listing([stranger])[stranger].state == "gone"
    Local().stop([stranger])
    assert psutil.Process().is_running()


def test_workers_go_with_their_launcher(assignment: Assignment) -> None:
    """However that ends: the kernel tells them."""
    program = (
        "import sys; from pathlib import Path; from eventmill.launch.pools.pool import Assignment\n"
        "from eventmill.launch.pools.local_processes import Local\n"
        f"a = Assignment('here', Path('t'), Path({str(assignment.folder)!r}), 'eventmill-here-1')\n"
        "print(Local(setup=['exec sleep 60']).start(1, a)[0], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with psutil.Popen(command, stdin=-1, stdout=-1, text=True) as launcher:
        job = launcher.stdout.readline().strip()
        assert Local().listing([job])[job].state == "started"
        launcher.kill()
    eventually(lambda: Local().listing([job])[job].state == "gone", "it has gone, too")
