"""Dask: workers inside of a Dask cluster that is there already, as tasks that run for as long as a worker does.

For facilities that give a Dask cluster and nothing else. A job is a task, kept by Dask as a published dataset of the same
name, so that it outlives who has submitted it; all that is known of it is asked of Dask. A task that runs starts a worker as
a child process (`dask_tasks`), and takes one thread of its Dask worker.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import structs

from . import dask_tasks
from .dask_client import CONNECT_SECONDS, KEYS, connected, sheltered
from .pool import Assignment, Job, Pool, PoolError

if TYPE_CHECKING:
    from distributed import Client

_PYTHON = ".".join(map(str, sys.version_info[:2]))
_LINES = 100
"""Of a job's log."""
_WAITS = {
    "no-worker": "Dask has no worker that may run it",
    "queued": "all threads of Dask's workers are busy",
    "processing": "waits for a thread of its Dask worker",
}
"""What Dask's state of a task that has not begun means."""


class Dask(Pool, frozen=True, kw_only=True, tag="dask"):
    """A Dask cluster. Needs `pip install "eventmill[dask]"`, and eventmill where its workers run.

    A job takes one thread of a Dask worker, and `cores` of them count as taken: leave it at 1, or let it be what each Dask
    worker has. `python` is the Dask worker's own interpreter unless it is set.

    Args:
        scheduler: address of the scheduler, as "tls://host:8786", or its file of `dask scheduler --scheduler-file`; "" is
            what Dask's configuration says ("scheduler-address").
        tls_ca_file: certificates to trust, as a PEM file; "" is what Dask's configuration says, as for the next two.
        tls_cert: certificate to show.
        tls_key: its key.
        gateway: of Dask Gateway, as "https://dask.site/services/dask-gateway"; "" is what its configuration says. The
            `scheduler` is then that of the cluster, as `client.scheduler.address` has it: "gateway://host:port/cluster".
        resources: those that a job takes of what Dask's workers were given with `--resources`.
        plain: hand tokens over also where Dask does not encrypt: on a network where nobody else listens.

    Example:
        >>> pool = Dask(scheduler="tls://dask.site:8786", tls_ca_file="ca.pem", tls_cert="me.pem", tls_key="me.pem")
        >>> pool.system
        'dask'
    """

    system: ClassVar[str] = "dask"
    shares_files: ClassVar[bool] = False

    scheduler: str = ""
    tls_ca_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    gateway: str = ""
    resources: dict[str, float] = {}
    plain: bool = False

    @classmethod
    def of(cls, client: Client, **settings: Any) -> Dask:
        """The pool of the cluster that a client of Dask is connected to.

        Raises:
            PoolError: its keys are in memory only.
        """
        address = client.scheduler.address
        if address.startswith("gateway://"):
            return cls(scheduler=address, gateway=client.cluster.gateway.address, **settings)
        security = client.security
        keys = {name: key for name, of in KEYS.items() if (key := getattr(security, f"tls_{of}"))}
        if any("\n" in key for key in keys.values()):
            raise PoolError(
                "the keys of this Dask cluster are in this process only: give it files (tls_ca_file, tls_cert, tls_key)",
                "refused",
            )
        return cls(scheduler=address, **keys, **settings)

    def start(self, count: int, assignment: Assignment) -> list[str]:
        token = assignment.token.read_text()
        jobs = [f"{assignment.name}-{number}" for number in range(count)]
        with self._client() as client:
            known = client.scheduler_info()
            self._check(client, [known["address"], *known["workers"]])
            large = [address for address, found in known["workers"].items() if found["nthreads"] >= self.cores]
            submitted = {
                job: client.submit(
                    self._task(job, token, assignment), key=job, pure=False, resources=self.resources or None,
                    workers=large or None, allow_other_workers=bool(large),
                )
                for job in jobs
            }  # fmt: skip
            client.publish_dataset(**submitted)
        return jobs

    def find(self, assignment: Assignment) -> list[str]:
        with self._client() as client:
            known = {*map(str, client.list_datasets()), *self._running(client)}
        return sorted(job for job in known if job.rpartition("-")[0] == assignment.name)

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        with self._client() as client:
            states = self._states(client, jobs)
            running = self._running(client)
            failed = {job: self._failure(client, job) for job in jobs if states[job] == "erred"}
            self._forget(client, [job for job in jobs if states[job] == "memory"])
        return {job: running.get(job) or _job(states[job], failed.get(job, "")) for job in jobs}

    def stop(self, jobs: Sequence[str]) -> None:
        with self._client() as client:
            self._forget(client, jobs)
            client.run(dask_tasks.end_of_jobs(jobs), on_error="ignore")

    def log(self, job: str, assignment: Assignment) -> str:
        with self._client() as client:
            said = "".join(client.run(dask_tasks.log_of_job(job), on_error="ignore").values())
            if not said and self._states(client, [job])[job] == "erred":
                said = self._failure(client, job)
        return "\n".join(said.splitlines()[-_LINES:])

    def preview(self, count: int, assignment: Assignment) -> str:
        where = self.scheduler or "the scheduler of Dask's configuration"
        script = self.script_of(shlex.join(self._command(assignment)), assignment)
        return f"# {count} tasks at {where}, each of which runs:\n{script}"

    # --- what goes to Dask, and comes from it -----------------------------------------------------------------------------

    def _command(self, assignment: Assignment) -> list[str]:
        """The command of a worker, in a folder that has its token; "python" is that of the Dask worker."""
        here = self if self.python or self.container else structs.replace(self, python="python")
        return here.worker_command("token", assignment)

    def _task(self, job: str, token: str, assignment: Assignment) -> Callable[[], None]:
        """What Dask is given to do."""
        script = self.script_of("@command@", assignment) if self.setup or self.template is not None else ""
        return dask_tasks.worker_task(
            job, token, self._command(assignment), script, self.cores,
            own_python=self.python is None and self.container is None, own_memory=self.memory is None,
        )  # fmt: skip

    def _check(self, client: Client, addresses: Sequence[str]) -> None:
        """Refuse what would fail in each job, or show the token to others."""
        seen = [address for address in addresses if not sheltered(address)]
        if seen and not self.plain:
            raise PoolError(
                f"the token would go to {seen[0]} unencrypted, and whoever listens could enrol workers of theirs: have "
                "Dask use TLS, or say plain = true where the network is trusted as this machine is",
                "refused",
            )
        versions = client.get_versions()
        pythons = {
            ".".join(found["host"]["python"].split(".")[:2])
            for found in (versions["scheduler"], *versions["workers"].values())
        }
        if other := sorted(pythons - {_PYTHON}):
            raise PoolError(f"Dask runs Python {other[0]} there, and this is Python {_PYTHON}: use the same", "refused")

    @staticmethod
    def _states(client: Client, jobs: Sequence[str]) -> dict[str, str | None]:
        """What Dask's scheduler says of tasks; None of those that it does not know."""
        states: dict[str, str | None] = client.sync(client.scheduler.get_task_status, keys=list(jobs))
        return states

    @staticmethod
    def _running(client: Client) -> dict[str, Job]:
        """The jobs whose workers run."""
        found = client.run(dask_tasks.jobs_of_worker(), on_error="ignore")
        return {job: Job(state, host=host) for jobs in found.values() for job, (state, host) in jobs.items()}

    @staticmethod
    def _failure(client: Client, job: str) -> str:
        """What Dask has of a job that has failed: how it did, and what its worker has said."""
        try:
            return str(client.get_dataset(job).exception(timeout=CONNECT_SECONDS))
        except KeyError:  # it was stopped meanwhile
            return ""

    @staticmethod
    def _forget(client: Client, jobs: Sequence[str]) -> None:
        """Have Dask keep these no longer: what has not begun does not begin."""
        if jobs:
            for job in {*map(str, client.list_datasets())} & {*jobs}:
                client.unpublish_dataset(job)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        """A connection to the scheduler. Raises `PoolError` when there is none, or it breaks."""
        keys = {of: getattr(self, name) for name, of in KEYS.items() if getattr(self, name)}
        with connected(self.scheduler, self.gateway, keys) as client:
            yield client


def _job(state: str | None, failure: str) -> Job:
    """A job that does not run, by Dask's state of its task, and why it has failed."""
    if state is None or state == "memory":
        return Job("gone", "Dask does not know it any more" if state is None else "")
    if state == "erred":
        return Job("failed", _in_short(failure))
    return Job("queued", _WAITS.get(state, ""))


def _in_short(failure: str) -> str:
    """The line that tells why a worker has failed: the last that it has said; and what to do, where that is known."""
    lines = [line for line in failure.splitlines() if line.strip()]
    words = ": ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else "Dask does not say why"
    if "No module named eventmill" in failure:
        words += " there: install it where Dask's workers run, or set python to an interpreter that has it"
    return words
