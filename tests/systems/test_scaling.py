"""A query gets workers from real systems while it runs, and gives them back: nothing is left, and the result is exact."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import psutil
import pytest
from condor_pool import CondorPool, condor_pool
from eventmill.launch.pools.pool import Pool
from eventmill.session.pools import PoolHandle
from processes import Standing, eventually
from ssh_server import SSHServer, ssh_server
from sums import SUM, Gate

__all__ = ["condor_pool", "ssh_server"]

WORKERS = 8


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with one worker."""
    made = Standing(tmp_path_factory.mktemp("state"))
    made.worker()
    yield made
    made.close()


def test_workers_from_htcondor(fleet: Standing, numbers: em.Dataset, gate: Gate, condor_pool: CondorPool) -> None:
    """As jobs of a user's, in a pool that shares this machine's files."""
    scaled(fleet, numbers, gate, em.Condor(memory="500M", disk="10M"))
    assert condor_pool.queue("ClusterId") == []


def test_workers_that_take_their_files_with_them(
    fleet: Standing, numbers: em.Dataset, gate: Gate, condor_pool: CondorPool
) -> None:
    """Token and script travel with the job: the worker joins by what is in its own folder."""
    pool = em.Condor(memory="500M", disk="10M", cores=1, shares_files=False)
    scaled(fleet, numbers, gate, pool, workers=1)
    assert condor_pool.queue("ClusterId") == []


def test_workers_by_ssh(fleet: Standing, numbers: em.Dataset, gate: Gate, ssh_server: SSHServer) -> None:
    """On two hosts."""
    scaled(fleet, numbers, gate, em.SSH(hosts={"node1": 4, "node2": 4}, options=ssh_server.options))
    assert ssh_server.jobs() == []


def test_a_worker_that_htcondor_evicts_is_replaced(
    fleet: Standing, numbers: em.Dataset, gate: Gate, condor_pool: CondorPool
) -> None:
    """By one other, not by two: HTCondor would start the job again by itself. What it had done is not lost."""
    with fleet.connect() as session:
        query = session.process(numbers, gate.unhurried)
        handle = session.scale(1, em.Condor(memory="500M", disk="10M"))
        eventually(lambda: busy(session) == 2 and joined(handle) == 1, "it is at work")
        (first,) = handle.launches()
        condor_pool.vacate(first.job)
        stages = lambda: {launch.job: launch.stage for launch in handle.launches()}  # noqa: E731
        eventually(lambda: stages().get(first.job) == "gone", "it has left, and is not started again")
        eventually(lambda: busy(session) == 2 and "working" in stages().values(), "another one is at work")
        assert len(stages()) == 2
        gate.open()
        assert query.result().value == SUM
    eventually(lambda: condor_pool.queue("ClusterId") == [], "the session's end is that of its workers")


def scaled(fleet: Standing, numbers: em.Dataset, gate: Gate, pool: Pool, workers: int = WORKERS) -> None:
    """From none to eight, all at work on a query that had begun without them, and to none again."""
    before = launchers()
    with fleet.connect() as session:
        query = session.process(numbers, gate.unhurried)
        eventually(lambda: busy(session) == 1, "the query has begun")
        handle = session.scale(workers, pool)
        (folder,) = {Path(process.cmdline()[5]) for process in launchers() - before}
        try:
            eventually(lambda: busy(session) == workers + 1, "all are at work on it")
            eventually(lambda: joined(handle) == workers, "their launcher knows it")
            jobs = {launch.job for launch in handle.launches()}
            assert len({process.environ()["EVENTMILL_JOB"] for process in processes_of(jobs)}) == workers
        finally:
            gate.open()
        assert query.result().value == SUM
        handle.scale(0)
        eventually(lambda: {launch.stage for launch in handle.launches()} == {"gone"}, "the system has none any more")
        eventually(lambda: not processes_of(jobs), "no process of them is left")
    assert not folder.exists()
    assert launchers() <= before


def busy(session: em.Session) -> int:
    """Slots at work."""
    return sum(worker.busy for worker in session.workers())


def joined(handle: PoolHandle) -> int:
    """Workers of a pool that have."""
    return sum(bool(launch.worker) for launch in handle.launches())


def launchers() -> set[psutil.Process]:
    """Those that this process has started."""
    return {process for process in psutil.Process(os.getpid()).children() if "eventmill.launch" in process.cmdline()}


def processes_of(jobs: set[str]) -> list[psutil.Process]:
    """The processes of these jobs, whoever has started them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("EVENTMILL_JOB") in jobs:
                found.append(process)
    return found
