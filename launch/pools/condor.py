"""HTCondor: workers as jobs of a schedd, a job each, through HTCondor's own bindings (`pip install "eventmill[condor]"`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from ...system.logs import last_lines
from ...system.quantities import parse_size
from .condor_client import call
from .condor_words import ATTRIBUTES, id_of, job_of, literal, quoted
from .pool import JOB, Assignment, Job, Pool, PoolError

LEAVE_SECONDS = 60
"""What a job that is removed or evicted has between SIGTERM and SIGKILL; a machine may give it less."""
STAYS_SECONDS = 600
"""How long a job that has failed is kept in the queue, so that it can be seen how: to search a schedd's history is slow."""
LOG_LINES = 50
_OURS = {
    "arguments", "environment", "error", "executable", "initialdir", "output", "queue", "requirements",
    "transfer_input_files",
}  # fmt: skip
_FRESH = "NumJobStarts == 0"
"""Of a job that was not evicted: HTCondor would start it again by itself, when another one is there in its place."""
_START = "EventmillStart"
"""The attribute of a job by which the jobs of one call are found again."""
_Line = Annotated[str, Meta(pattern=r"^[^\n]*\Z")]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class Condor(Pool, frozen=True, kw_only=True, tag="condor"):
    """A pool of HTCondor. A job is one worker; its id is that of HTCondor, as "17.0".

    HTCondor's configuration is that of this machine (CONDOR_CONFIG, /etc/condor), and so is how one is let in: a Kerberos
    ticket, a token. In the container of `container` (HTCondor's container universe) and without a shared file system the
    token, the script and `files` travel with the job; the token encrypted.

    Args:
        schedd: the name of the schedd that takes the jobs; "": that of this machine, or else the only one of the pool.
        collector: host and port of the pool's collector; "": that of HTCondor's configuration.
        requirements: what machines must be like, as 'HasAVX2 && Machine != "bad.site"'.
        attributes: more attributes of the jobs, for sites that ask for them, as {"VMType": "physics", "MaxRuntime": 7200}.
        disk: of a worker, as "2G"; None: what the site gives.
        shares_files: jobs see the files of this machine, at the same paths.
        spool: hand all files to the schedd when the job is submitted: for schedds on other machines.
        files: more that travels with the job, to its working directory: a tarball with an environment, say.
        commands: more lines of the submit file, and others in the place of ours, as {"accounting_group": "group_cms"}.

    Example:
        >>> pool = Condor(cores=4, memory="8G", requirements='OpSysAndVer == "AlmaLinux9"')
        >>> pool.requirements
        'OpSysAndVer == "AlmaLinux9"'
    """

    system: ClassVar[str] = "condor"
    tells_memory: ClassVar[bool] = True

    schedd: str = ""
    collector: str = ""
    requirements: _Line = ""
    attributes: dict[_Name, bool | int | float | _Line] = {}
    disk: str | None = None
    shares_files: bool = True  # type: ignore[misc]  # of this system it depends on the site
    spool: bool = False
    files: list[str] = []
    commands: dict[_Line, _Line] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.disk is not None:
            parse_size(self.disk)
        taken = _OURS & {name.casefold() for name in self.commands}
        if taken:
            raise ValueError(
                f"`commands` cannot have {', '.join(sorted(taken))}: eventmill needs these lines for itself"
            )

    def start(self, count: int, assignment: Assignment) -> list[str]:
        script = self._script_file(assignment)
        script.touch(mode=0o700)
        script.write_text(self.script(self._token(assignment), assignment))
        ids: list[str] = self._call("submit", lines=self.lines(assignment), count=count, spool=self.spool)
        return ids

    def find(self, assignment: Assignment) -> list[str]:
        constraint = f"{_START} == {quoted(assignment.name)}"
        ads = self._call("query", constraint=constraint, attributes=["ClusterId", "ProcId"])
        return [id_of(ad) for ad in sorted(ads, key=lambda ad: (ad["ClusterId"], ad["ProcId"]))]

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        if not jobs:
            return {}
        clusters = sorted({int(job.partition(".")[0]) for job in jobs})
        constraint = f"member(ClusterId, {{{', '.join(map(str, clusters))}}})"
        ads = self._call("query", constraint=constraint, attributes=ATTRIBUTES)
        known = {id_of(ad): job_of(ad) for ad in ads}
        return {job: known.get(job, Job("gone")) for job in jobs}

    def stop(self, jobs: Sequence[str]) -> None:
        if not jobs:
            return
        counts = self._call("remove", jobs=list(jobs), reason="eventmill needs it no more")
        if counts["PermissionDenied"] or counts["Error"]:
            what = "are not yours" if counts["PermissionDenied"] else "could not be removed"
            failed = counts["PermissionDenied"] + counts["Error"]
            raise PoolError(
                f"HTCondor did not remove {failed} of {len(jobs)} jobs ({jobs[0]}, ...): they {what}", "refused"
            )

    def log(self, job: str, assignment: Assignment) -> str:
        if self.spool:
            self._call("retrieve", job=job)
        return "\n".join(last_lines(assignment.folder / f"{job}.log", LOG_LINES))

    def preview(self, count: int, assignment: Assignment) -> str:
        lines = [f"{key} = {value}" for key, value in self.lines(assignment).items()]
        script = self.script(self._token(assignment), assignment)
        return "\n".join([*lines, f"queue {count}", "", f"# {self._script_file(assignment)}", script])

    def lines(self, assignment: Assignment) -> dict[str, str]:
        """The submit file, without its last line. Everybody can read it (`condor_q -long`): it has no secrets."""
        said = f"{assignment.folder}/$(Cluster).$(Process).log"
        lines = {
            "universe": "vanilla" if self.container is None else "container",
            "executable": str(self._script_file(assignment)),
            "environment": f'"{JOB}=$(Cluster).$(Process)"',
            "initialdir": str(assignment.folder),
            "output": said,
            "error": said,
            "request_cpus": str(self.cores),
            "batch_name": f"eventmill {assignment.pool}",
            f"My.{_START}": quoted(assignment.name),
            "kill_sig": "SIGTERM",
            "want_graceful_removal": "true",
            "job_max_vacate_time": str(LEAVE_SECONDS),
            "requirements": f"({self.requirements}) && {_FRESH}" if self.requirements else _FRESH,
            "periodic_remove": f"JobStatus == 1 && !({_FRESH})",
            "leave_in_queue": f"JobStatus == 4 && {self._stays} && time() - CompletionDate < {STAYS_SECONDS}",
        }
        lines |= self._ways_of_files(assignment)
        lines |= {"container_image": self.container} if self.container else {}
        lines |= {"request_memory": str(-(-parse_size(self.memory) // 2**20))} if self.memory else {}
        lines |= {"request_disk": str(-(-parse_size(self.disk) // 2**10))} if self.disk else {}
        lines |= {f"My.{name}": literal(value) for name, value in self.attributes.items()}
        replaced = {name.casefold() for name in self.commands}
        return {name: value for name, value in lines.items() if name.casefold() not in replaced} | self.commands

    def worker_command(self, token: str, assignment: Assignment) -> list[str]:
        # HTCondor itself starts what runs in a container.
        inside = (
            self
            if self.container is None
            else msgspec.structs.replace(self, container=None, python=self.python or "python3")
        )
        return super(Condor, inside).worker_command(token, assignment)

    @property
    def _travels(self) -> bool:
        return self.spool or self.container is not None or not self.shares_files

    @property
    def _stays(self) -> str:
        """Which jobs that have ended stay for a while: those that failed; with `spool` all, since their files are there."""
        return "true" if self.spool else "ExitCode =!= 0"

    def _ways_of_files(self, assignment: Assignment) -> dict[str, str]:
        if not self._travels:
            return {"should_transfer_files": "NO", "transfer_executable": "false"}
        ways = {
            "should_transfer_files": "YES",
            "when_to_transfer_output": "ON_EXIT",
            "transfer_input_files": ", ".join([str(assignment.token), *self.files]),
            "encrypt_input_files": assignment.token.name,
            "transfer_output_files": '""',
        }
        return ways if self.spool else ways | {"stream_output": "true", "stream_error": "true"}

    def _token(self, assignment: Assignment) -> str:
        return assignment.token.name if self._travels else str(assignment.token)

    @staticmethod
    def _script_file(assignment: Assignment) -> Path:
        return assignment.folder / f"{assignment.name}.sh"

    def _call(self, verb: str, **arguments: Any) -> Any:
        return call(verb, self.collector, self.schedd, **arguments)
