"""What tests of batch systems share: jobs that leave notes in the place of workers, and waiting for what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from eventmill.launch.pools.pool import Assignment, Job, Pool, PoolError
from processes import eventually

SECRET = "what-is-in-the-token"
_WORKER = """#!/bin/bash
trap 'echo told to leave >>{folder}/$EVENTMILL_JOB.told; exit 0' TERM
echo "$@" >{folder}/$EVENTMILL_JOB.arguments
env >{folder}/$EVENTMILL_JOB.environment
echo "working on $(hostname)"
while true; do sleep 0.1; done
"""
"""In the place of Python: it leaves notes, and goes on until it is told to leave."""


def assignment(base: Path) -> Assignment:
    """What jobs are to do, with a token, and a folder of the pool."""
    folder = base / "pool"
    folder.mkdir()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(SECRET)
    return Assignment(pool="farm", token=token, folder=folder, name=f"eventmill-{base.name}")


def stand_in(work: Assignment) -> str:
    """A stand-in for Python."""
    script = work.folder / "python"
    script.write_text(_WORKER.format(folder=work.folder))
    script.chmod(0o755)
    return str(script)


def until(pool: Pool, jobs: list[str], **facts: str) -> list[Job]:
    """What is said of jobs once all of them are as they are said to become."""
    eventually(
        lambda: all(getattr(job, name) == is_ for job in pool.listing(jobs).values() for name, is_ in facts.items()),
        f"{facts} of {jobs}",
    )
    return [pool.listing(jobs)[job] for job in jobs]


def reason_of(pool: Pool, job: str) -> Job:
    """What is said of a job, once a reason is."""
    eventually(lambda: pool.listing([job])[job].reason != "", f"a reason of {job}")
    return pool.listing([job])[job]


def refused(pool: Pool, work: Assignment, count: int = 1) -> tuple[str, str]:
    """What kind of trouble there is, and in which words, when jobs are not taken."""
    with pytest.raises(PoolError) as caught:
        pool.start(count, work)
    return caught.value.trouble, str(caught.value)
