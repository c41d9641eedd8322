"""Workers inside of a real Dask cluster, which is started here."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
import msgspec
import psutil
import pytest
from dask_gateway_site import gateway_cluster
from eventmill.launch.pools import dask as module
from eventmill.launch.pools import dask_client
from eventmill.launch.pools.dask import Dask
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from processes import Standing, eventually
from relays import port_of, start_relay
from scaling import scales

from tests.world.fleet import free_port

TOKEN = "a-token-that-nobody-else-may-see"
THREADS = 3
WORKER = """#!/bin/bash
echo "$EVENTMILL_JOB runs as $$ with $*"
trap 'echo told to leave; kill $!; exit 0' TERM
sleep 600 &
wait
"""
"""In the place of an interpreter: a worker that leaves when it is told to, and not before."""


@dataclass
class Site:
    """A Dask cluster with two workers, of one and of two threads, which cannot import eventmill; and a pool of it."""

    cluster: Any
    folder: Path

    def pool(self, **settings: Any) -> Dask:
        settings = {"python": str(self.folder / "worker")} | settings
        return Dask(scheduler=self.cluster.scheduler_address, **settings)

    def assignment(self, call: str) -> Assignment:
        return Assignment("dask", self.folder / "token", self.folder, f"eventmill-dask-{call}")

    def logs(self) -> str:
        return str(self.cluster.get_logs())

    def folders(self) -> list[Path]:
        """Those of jobs."""
        return list(Path(self.folder).rglob("eventmill-*"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dask")
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    (folder / "worker").write_text(WORKER)
    (folder / "worker").chmod(0o755)
    (folder / "without.py").write_text("import sys\nsys.modules['eventmill'] = None\n")
    worker = {
        "cls": distributed.Nanny,
        "options": {"preload": str(folder / "without.py"), "local_directory": str(folder), "dashboard": False},
    }
    workers = {number: worker | {"options": worker["options"] | {"nthreads": number}} for number in (1, 2)}
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    }
    with distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster:
        yield Site(cluster, folder)
    assert not list(folder.rglob("eventmill-*"))


def states(pool: Dask, jobs: list[str]) -> list[str]:
    return [job.state for job in pool.listing(jobs).values()]


def pid_of(pool: Dask, job: str, site: Site) -> int:
    """Of a job that runs, which has said so."""
    eventually(lambda: "runs as" in pool.log(job, site.assignment("")), f"{job} says something")
    return int(pool.log(job, site.assignment("")).partition("runs as ")[2].split()[0])


def test_jobs_run_wait_and_end_as_they_are_told(site: Site) -> None:
    """From the start of more jobs than there are threads to the end of all, by what Dask itself says."""
    pool, call = site.pool(cores=1), site.assignment("1")
    jobs = pool.start(THREADS + 2, call)
    eventually(lambda: states(pool, jobs).count("started") == THREADS, "as many run as there are threads")
    waiting = [job for job, found in pool.listing(jobs).items() if found.state == "queued"]
    assert len(waiting) == 2 and "thread" in pool.listing(waiting)[waiting[0]].reason
    started = [job for job in jobs if job not in waiting]
    assert all(found.host for found in pool.listing(started).values())
    assert pool.find(call) == jobs and pool.find(site.assignment("")) == []

    pids = [pid_of(pool, job, site) for job in started]
    assert all(f"{job} runs as" in pool.log(job, call) for job in started)
    pool.stop([waiting[0], started[0], started[1]])
    eventually(lambda: pool.listing([waiting[1]])[waiting[1]].state == "started", "the other one has its turn")
    gone = [waiting[0], started[0], started[1]]
    eventually(lambda: states(pool, gone) == ["gone"] * 3, "they are gone")
    assert [psutil.pid_exists(pid) for pid in pids] == [False, False, True]
    assert pool.find(call) == sorted({*jobs} - {*gone})
    pool.stop(jobs)
    eventually(lambda: states(pool, jobs) == ["gone"] * len(jobs), "all are gone")
    assert pool.find(call) == [] and site.folders() == [] and not psutil.pid_exists(pids[2])


def test_a_token_is_in_a_file_of_its_worker_and_nowhere_else(site: Site) -> None:
    """Dask logs what tasks are given when they fail, and everybody can read command lines."""
    pool, call = site.pool(), site.assignment("2")
    failing = site.pool(python="/no/such/python").start(1, call)
    eventually(lambda: states(pool, failing) == ["failed"], "it fails")
    jobs = pool.start(1, site.assignment("3"))
    process = psutil.Process(pid_of(pool, jobs[0], site))
    token = Path(process.cwd()) / "token"
    assert token.read_text() == TOKEN and stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert TOKEN not in " ".join(process.cmdline()) and TOKEN not in str(process.environ())
    assert process.environ()["EVENTMILL_JOB"] == jobs[0]
    assert failing[0] in site.logs() and TOKEN not in site.logs()
    assert TOKEN not in pool.preview(1, call)
    pool.stop([*failing, *jobs])
    eventually(lambda: states(pool, jobs) == ["gone"], "it ends")
    assert states(pool, failing) == ["gone"]


def test_a_worker_ends_with_the_process_of_its_dask_worker(site: Site) -> None:
    """However that ends: nothing else in Dask would end it."""
    pool, call = site.pool(), site.assignment("4")
    jobs = pool.start(1, call)
    before = psutil.Process(pid_of(pool, jobs[0], site))
    before.parent().kill()  # type: ignore[union-attr]
    before.wait(30)
    eventually(lambda: states(pool, jobs) == ["started"], "Dask starts it anew in another one of its workers")
    pool.stop(jobs)
    eventually(lambda: states(pool, jobs) == ["gone"], "it ends")
    eventually(lambda: len(site.cluster.scheduler_info["workers"]) == 2, "Dask has started its worker again")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"python": "/no/such/python"}, "cannot run /no/such/python: No such file"),
        ({"python": None, "setup": ["alias", "exit 7"]}, "ended with code 7"),
        ({"cores": 2, "python": "python-without"}, "No module named eventmill there: install it where Dask's workers"),
        ({"cores": 9}, "cores = 9 does not fit into a Dask worker of"),
    ],
)
def test_a_job_that_fails_says_why(site: Site, settings: dict[str, Any], reason: str) -> None:
    """In a line, and in its log what it has said."""
    without = site.folder / "python-without"
    without.write_text(f'#!/bin/sh\nexec {module.sys.executable} -S "$@"\n')
    without.chmod(0o755)
    if settings.get("python") == without.name:
        settings |= {"python": str(without)}
    pool, call = site.pool(**settings), site.assignment(f"5{len(reason)}")
    jobs = pool.start(1, call)
    eventually(lambda: states(pool, jobs) == ["failed"], "it fails")
    assert reason in pool.listing(jobs)[jobs[0]].reason
    assert pool.log(jobs[0], call)
    pool.stop(jobs)
    assert pool.listing(jobs)[jobs[0]].state == "gone"


def test_a_job_of_two_cores_takes_a_dask_worker_of_two_threads_for_itself(site: Site) -> None:
    """Two of them in it would work with four slots on two cores, and a smaller one would fail."""
    pool = site.pool(cores=2)
    jobs = pool.start(2, site.assignment("6"))
    eventually(lambda: sorted(states(pool, jobs)) == ["queued", "started"], "one runs, and the other one waits")
    (running,) = (job for job in jobs if pool.listing([job])[job].state == "started")
    assert pid_of(pool, running, site)
    pool.stop([running])
    eventually(lambda: sorted(states(pool, jobs)) == ["gone", "started"], "the other one runs")
    pool.stop(jobs)
    eventually(lambda: states(pool, jobs) == ["gone"] * 2, "they end")


def test_a_query_gets_workers_while_it_runs_and_gives_them_back(site: Site, standing: Standing, tmp_path: Path) -> None:
    """Real workers, which reach the master through a relay, as they have to where nothing else is let out."""
    relay = start_relay(str(standing.state / "test" / "client.json"), 0, standing.state)
    pool = Dask(scheduler=site.cluster.scheduler_address, through=f"127.0.0.1:{port_of(relay)}")

    def there() -> set[str]:
        with pool._client() as client:
            busy = [key for keys in client.processing().values() for key in keys]
            return {*busy, *client.list_datasets(), *map(str, site.folders())}

    before = there()
    try:
        scales(standing, tmp_path, pool, THREADS, lambda: bool(there() - before))
        passed = psutil.Process(relay.pid).net_connections()
        assert not [it for it in passed if it.status == psutil.CONN_ESTABLISHED]
    finally:
        relay.close()


# --- what does not go -------------------------------------------------------------------------------------------------


def test_a_scheduler_that_does_not_answer_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(PoolError, match=f"no way to the Dask scheduler {address}") as caught:
        Dask(scheduler=address).start(1, site.assignment("9"))
    assert caught.value.trouble == "down"
    with pytest.raises(PoolError, match="which Dask cluster"):
        Dask().listing([])
    with pytest.raises(PoolError, match="no way to the Dask scheduler tls"):
        Dask(scheduler="tls://127.0.0.1:1").listing([])


def test_another_python_is_refused_before_anything_is_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PYTHON", "3.99")
    with pytest.raises(PoolError, match=r"Dask runs Python 3\.\d+ there, and this is Python 3\.99") as caught:
        site.pool().start(1, site.assignment("10"))
    assert caught.value.trouble == "refused"


def test_a_token_is_given_to_no_cluster_without_encryption_but_on_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless its user says that the network is trusted."""
    kept = ("tls://dask.site:8786", "tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1", "inproc://10.0.0.1/1/1")
    shown = ("tcp://10.0.0.1:8786", "tcp://dask.site:8786", "ws://dask.site")
    assert all(map(dask_client.sheltered, kept)) and not any(map(dask_client.sheltered, shown))
    monkeypatch.setattr(module, "sheltered", lambda _: False)
    with pytest.raises(PoolError, match="unencrypted"):
        site.pool().start(1, site.assignment("11"))
    jobs = site.pool(plain=True).start(1, site.assignment("12"))
    site.pool().stop(jobs)
    eventually(lambda: states(site.pool(), jobs) == ["gone"], "it ends")


def test_a_cluster_with_tls_is_reached_by_its_files(site: Site, tmp_path: Path) -> None:
    """And by those of a client that has some; keys that a client has in memory only are no use to another process."""
    security = distributed.Security.temporary()
    keys = {"ca_file": security.tls_ca_file, "cert": security.tls_client_cert, "key": security.tls_client_key}
    for name, pem in keys.items():
        (tmp_path / name).write_text(pem)
    files = {f"tls_{name}": str(tmp_path / name) for name in keys}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tls://", security=security,
        dashboard_address="127.0.0.1:0", local_directory=str(tmp_path),
    ) as cluster:  # fmt: skip
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        pool = Dask(scheduler=address, python=str(site.folder / "worker"), **files)
        jobs = pool.start(1, site.assignment("13"))
        eventually(lambda: states(pool, jobs) == ["started"], "it runs")
        with (
            distributed.Client(cluster, set_as_default=False) as client,
            pytest.raises(PoolError, match="in this process only"),
        ):
            Dask.of(client)
        with pool._client() as client:
            assert Dask.of(client, cores=4) == Dask(scheduler=address, cores=4, **files)
        pool.stop(jobs)
        eventually(lambda: pool.listing(jobs) == {jobs[0]: Job("gone", "Dask does not know it any more")}, "it ends")


def test_a_cluster_of_a_gateway_is_reached_through_it(site: Site, tmp_path: Path) -> None:
    """From another process than the one that has got it: its keys come from the gateway. Fermilab's EAF has one."""
    with gateway_cluster(tmp_path) as pool:
        assert pool.scheduler.startswith("gateway://") and pool.gateway.startswith("http://")
        pool = msgspec.structs.replace(pool, python=str(site.folder / "worker"))
        jobs = pool.start(1, site.assignment("14"))
        eventually(lambda: states(pool, jobs) == ["started"], "it runs")
        process = psutil.Process(pid_of(pool, jobs[0], site))
        assert pool.find(site.assignment("14")) == jobs
        pool.stop(jobs)
        eventually(lambda: states(pool, jobs) == ["gone"], "it ends")
        assert not process.is_running()
        jobs = pool.start(1, site.assignment("15"))
        process = psutil.Process(pid_of(pool, jobs[0], site))
    process.wait(30)
    with pytest.raises(PoolError, match="no way to the Dask scheduler gateway://"):
        pool.listing(jobs)
