"""SSH: workers on hosts that one can log in to, by the OpenSSH client, with the user's own configuration of it.

A worker does not hang on a connection: it goes on when the client that started it, the launcher or the network is gone, as
a job of a batch system does, and leaves by itself when the master is gone or has nothing for it. What is known of it is on
its host (`ssh_script`), and each verb is one connection to each host that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar, NoReturn

import msgspec
from msgspec import Meta

from . import ssh_script
from .commands import CommandFailed, run
from .pool import Assignment, Job, Pool, PoolError
from .ssh_jobs import answers, host_of, job_of, named, spread
from .ssh_words import trouble_of

CONNECT_SECONDS = 10
"""A host whose port does not answer by then is not there."""
CALL_SECONDS = 45.0
LOG_LINES = 50
AT_ONCE = 16
"""Connections."""
_ALONE = (
    "-T", "-a", "-x", "-oBatchMode=yes", f"-oConnectTimeout={CONNECT_SECONDS}", "-oServerAliveInterval=10",
    "-oServerAliveCountMax=2", "-oClearAllForwardings=yes", "-oRemoteCommand=none", "-oPermitLocalCommand=no",
    "-oLogLevel=ERROR",
)  # fmt: skip
"""Nobody is there to be asked for a password, a dead connection is noticed, and no other command than ours is run."""
_Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9_.:@%\[\]-]*\Z")]
_Folder = Annotated[str, Meta(pattern=r"^/[^\n]*\Z")]


class SSH(Pool, frozen=True, kw_only=True, tag="ssh"):
    """Hosts to which `ssh` logs in without a question: by a key in an agent, or a Kerberos ticket.

    Args:
        hosts: as ssh calls them, with how many workers each takes, of all pools of yours together.
        options: more for `ssh`, as ["-J", "gateway.site"] or ["-F", "/path/to/config"]. The user's ssh_config counts anyway.
        folder: on the hosts, for what jobs say and their tokens; None: ~/.cache/eventmill/ssh.

    Example:
        >>> pool = SSH(hosts={"node1": 2, "alice@node2": 1}, cores=8, python="/home/alice/venv/bin/python")
        >>> pool.most
        3
    """

    system: ClassVar[str] = "ssh"
    shares_files: ClassVar[bool] = False

    hosts: Annotated[dict[_Host, Annotated[int, Meta(ge=1, le=1000)]], Meta(min_length=1)]
    options: list[str] = []
    folder: _Folder | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "most", min(self.most, sum(self.hosts.values())))

    def start(self, count: int, assignment: Assignment) -> list[str]:
        """As many of them as the hosts that answer have room for, if that is at least one."""
        script, token = self.script("token", assignment), assignment.token.read_text()
        free, silent = self._room()
        jobs = named(assignment.name, spread(count, free))
        if not jobs:
            raise self._no_room(free, silent)
        python = None if self.container or self.setup or self.template else self.worker_command("", assignment)[0]
        scripts = {
            host: ssh_script.start_script(self.folder, of_host, token, script, python) for host, of_host in jobs.items()
        }
        _, failed = self._on(scripts)
        if failed:  # in the middle, perhaps; where that cannot be mended now, what runs leaves by itself
            self._on({host: ssh_script.stop_script(self.folder, jobs[host]) for host in failed})
        started = [job for host, of_host in jobs.items() if host not in failed for job in of_host]
        return started or _raise(failed)

    def find(self, assignment: Assignment) -> list[str]:
        name = assignment.name
        said, failed = self._on({host: ssh_script.list_script(self.folder, host, name) for host in self.hosts})
        if failed:
            _raise(failed)
        return [job for host in self.hosts for job, state in answers(said[host]) if state != "gone"]

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        """Of jobs on hosts that do not answer nothing is said."""
        said, failed = self._on(self._by_host(jobs, lambda of_host: ssh_script.state_script(self.folder, of_host)))
        if failed and not said:
            _raise(failed)
        return {job: job_of(job, state) for text in said.values() for job, state in answers(text)}

    def stop(self, jobs: Sequence[str]) -> None:
        """Jobs on hosts that do not answer are passed over while others do: they are still there when it is asked again."""
        said, failed = self._on(self._by_host(jobs, lambda of_host: ssh_script.stop_script(self.folder, of_host)))
        if failed and not said:
            _raise(failed)

    def log(self, job: str, assignment: Assignment) -> str:
        said = self._ask(host_of(job), ssh_script.log_script(self.folder, job, LOG_LINES))
        return said.partition(f"{ssh_script.MARK}\n")[2].strip("\n")

    def preview(self, count: int, assignment: Assignment) -> str:
        shown = []
        for host, jobs in named(assignment.name, spread(count, self.hosts)).items():
            script = self.script("token", assignment)
            shown.append(f"# {' '.join(self._command(host))}")
            shown.append(ssh_script.start_script(self.folder, jobs, "(the token)", script, None))
        return "\n".join(shown)

    def _room(self) -> tuple[dict[str, int], dict[str, PoolError]]:
        """How many more workers each host takes, and what is wrong with those that do not say it."""
        said, failed = self._on({host: ssh_script.list_script(self.folder, host) for host in self.hosts})
        alive = {host: sum(state in ("started", "ending") for _, state in answers(text)) for host, text in said.items()}
        return {host: max(0, self.hosts[host] - alive[host]) for host in said}, failed

    def _no_room(self, free: Mapping[str, int], silent: Mapping[str, PoolError]) -> PoolError:
        if not free:
            _raise(silent)
        words = [f"{host} has {self.hosts[host]} workers of yours" for host in free]
        return PoolError("; ".join([*words, *map(str, silent.values())]), "full")

    def _by_host(self, jobs: Sequence[str], script: Callable[[list[str]], str]) -> dict[str, str]:
        hosts: dict[str, list[str]] = {}
        for job in jobs:
            hosts.setdefault(host_of(job), []).append(job)
        return {host: script(of_host) for host, of_host in hosts.items()}

    def _on(self, scripts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, PoolError]]:
        """Run a script on each host, at the same time: what each said, and what went wrong where."""
        said: dict[str, str] = {}
        failed: dict[str, PoolError] = {}
        if scripts:
            with ThreadPoolExecutor(min(AT_ONCE, len(scripts))) as threads:
                calls = {host: threads.submit(self._ask, host, script) for host, script in scripts.items()}
            for host, call in calls.items():
                error = call.exception()
                if error is None:
                    said[host] = call.result()
                elif isinstance(error, PoolError):
                    failed[host] = error
                else:
                    raise error
        return said, failed

    def _ask(self, host: str, script: str) -> str:
        """Run a script on a host; what it said."""
        try:
            return run(*self._command(host), stdin=script, seconds=CALL_SECONDS)
        except CommandFailed as error:
            raise trouble_of(host, error, self.python or "") from None

    def _command(self, host: str) -> list[str]:
        return ["ssh", *_ALONE, *self.options, "--", host, "exec /bin/sh -s"]


def _raise(failed: Mapping[str, PoolError]) -> NoReturn:
    """What is wrong with all of these hosts."""
    errors = list(failed.values())
    raise PoolError("; ".join(map(str, errors)), errors[0].trouble)
