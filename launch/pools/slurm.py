"""Slurm: job arrays with a worker in each job, by its own commands `sbatch`, `squeue`, `scontrol` and `scancel`.

What squeue says is asked for in a format of our own. Its `--json` has other fields with each release, and in 22.05 it heeds
no `--jobs` and does not tell the jobs of an array apart; `--format` has been the same for as long as there have been arrays.

A job is never requeued. Slurm would start it again by itself when its node is lost, as a worker that nobody expects.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from ...protocol.errors import nearest
from ...system.logs import last_lines
from ...system.quantities import parse_seconds, parse_size
from .commands import CommandFailed, run
from .pool import JOB, Assignment, Job, Pool, PoolError
from .slurm_words import in_words, job_of, trouble_of

_LINES = 100
"""Of a job's log."""
_GONE = re.compile(r"Invalid job id|already completing or completed|Invalid job array")


class Slurm(Pool, frozen=True, kw_only=True, tag="slurm"):
    """A partition of a Slurm cluster. The commands of Slurm must be here, and jobs must see this machine's files.

    Args:
        partition: where jobs go; None: where Slurm puts them, or what SBATCH_PARTITION says.
        account: what pays for them; None: the user's own, or what SBATCH_ACCOUNT says.
        qos: quality of service.
        constraint: features that nodes must have, as "skylake&ssd".
        exclude: nodes to keep off.
        warning: seconds before the end of their walltime that workers are told to leave. Slurm may do that up to a minute
            earlier. They lose nothing, and what they need is a few seconds.
        array_size: jobs of an array at most: less than the cluster's MaxArraySize.
        options: more of what stands behind #SBATCH in scripts, as ["--reservation=cms", "--licenses=scratch"].

    Example:
        >>> pool = Slurm(partition="short", cores=4, memory="8G", walltime="2h")
        >>> pool.system
        'slurm'
    """

    system: ClassVar[str] = "slurm"
    tells_memory: ClassVar[bool] = True

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: list[str] = []
    warning: Annotated[int, Meta(ge=0, le=65535)] = 30
    array_size: Annotated[int, Meta(ge=1)] = 1000
    options: list[str] = []

    def start(self, count: int, assignment: Assignment) -> list[str]:
        jobs: list[str] = []
        script = self._script(assignment)
        try:
            while len(jobs) < count:
                jobs += self._submit(min(self.array_size, count - len(jobs)), script)
        except PoolError:
            if jobs:
                self.stop(jobs)
            raise
        return jobs

    def find(self, assignment: Assignment) -> list[str]:
        return self._ask(
            "squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), f"--name={assignment.name}", "-o", "%i"
        ).split()

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        arrays = sorted({_array(job) for job in jobs})
        command = ("squeue", "-h", "-r", "-t", "all", "-j", ",".join(arrays), "-o", "%i|%T|%N|%r")
        found = dict.fromkeys(jobs, ("GONE", "", "Slurm does not know it any more"))
        for line in self._known(*command):
            name, state, nodes, reason = line.split("|", 3)
            found[name] = state, nodes, reason
        failed = {_array(job) for job in jobs if found[job][0] == "FAILED"}
        codes = {job: code for array in failed for job, code in self._exit_codes(array)}
        return {job: job_of(*found[job], codes.get(job, "")) for job in jobs}

    def stop(self, jobs: Sequence[str]) -> None:
        tasks: dict[str, list[str]] = {}
        for job in jobs:
            tasks.setdefault(_array(job), []).append(job.partition("_")[2])
        names = [f"{array}_[{','.join(numbers)}]" for array, numbers in tasks.items()]
        if names:
            self._known("scancel", *names)

    def log(self, job: str, assignment: Assignment) -> str:
        return "\n".join(last_lines(assignment.folder / f"{job}.log", _LINES))

    def preview(self, count: int, assignment: Assignment) -> str:
        return f"{shlex.join(_sbatch(min(count, self.array_size)))} <<'EOF'\n{self._script(assignment)}EOF\n"

    # --- what is submitted ------------------------------------------------------------------------------------------------

    def _script(self, assignment: Assignment) -> str:
        lines = [f"#SBATCH {option}" for option in self._options(assignment)]
        lines.append(f"export {JOB}=${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}")
        return self.script(str(assignment.token), assignment, *lines)

    def _options(self, assignment: Assignment) -> Iterable[str]:
        output = str(assignment.folder).replace("%", "%%")
        settings: Mapping[str, str | int | None] = {
            "job-name": assignment.name,
            "output": f"{output}/%A_%a.log",
            "chdir": str(assignment.folder),
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": self.cores,
            "mem": None if self.memory is None else f"{math.ceil(parse_size(self.memory) / 2**20)}M",
            "time": None if self.walltime is None else math.ceil(parse_seconds(self.walltime) / 60),
            "signal": f"B:TERM@{self.warning}" if self.warning else None,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "exclude": ",".join(self.exclude) or None,
        }
        yield "--no-requeue"
        yield from (f"--{name}={shlex.quote(str(value))}" for name, value in settings.items() if value is not None)
        yield from (option.removeprefix("#SBATCH").strip() for option in self.options)

    def _submit(self, count: int, script: str) -> list[str]:
        try:
            said = self._ask(*_sbatch(count), stdin=script)
        except CommandFailed as failed:
            raise self._refusal(failed) from None
        number = re.search(r"^([0-9]+)(;.*)?$", said, re.MULTILINE)
        if number is None:
            raise PoolError(f"sbatch has told no number of a job: {said.strip()!r}")
        return [f"{number[1]}_{task}" for task in range(1, count + 1)]

    def _refusal(self, failed: CommandFailed) -> PoolError:
        """Why sbatch has taken no job, and what can be done about it."""
        said = in_words(failed.said)
        trouble = trouble_of(failed.said) if failed.said else failed.trouble
        words = f"Slurm takes no job: {said}" if said else str(failed)
        if "nvalid partition" in failed.said:
            partitions = sorted(set(self._ask("sinfo", "-h", "-o", "%R").split()))
            words = f"Slurm has no partition {self.partition!r}{nearest(self.partition or '', partitions, few=10)}"
        elif "Invalid job array specification" in failed.said:
            words += f"; an array of {self.array_size} is too large here: set array_size to less than MaxArraySize"
        elif "Memory specification" in failed.said or "node configuration" in failed.said:
            words += f"; no node has {self.cores} cores and {self.memory or 'its'} memory for a job"
        return PoolError(words, trouble)

    # --- what Slurm says --------------------------------------------------------------------------------------------------

    def _exit_codes(self, array: str) -> Iterable[tuple[str, str]]:
        """The codes with which jobs of an array have ended, as "127:0"."""
        for line in self._known("scontrol", "-o", "show", "job", array):
            facts = dict(word.partition("=")[::2] for word in line.split())
            yield f"{facts.get('ArrayJobId')}_{facts.get('ArrayTaskId')}", facts.get("ExitCode", "")

    def _known(self, *command: str) -> list[str]:
        """The lines that a command says of jobs; none, if Slurm does not know these jobs any more."""
        try:
            return self._ask(*command).splitlines()
        except CommandFailed as failed:
            lines = failed.said.splitlines()
            if failed.code is None or not lines or not all(_GONE.search(line) for line in lines):
                words = f"Slurm does not answer: {in_words(failed.said)}" if failed.said else str(failed)
                raise PoolError(words, "down") from None
            return []

    def _ask(self, *command: str, stdin: str = "") -> str:
        return run(*command, stdin=stdin, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        """Of Slurm's variables only what finds the cluster, and the user's choices where the pool makes none: a job in which
        this runs leaves its own to the jobs that it submits, and others count more than what stands in a script."""
        kept = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_CONF_SERVER"}
        kept |= {f"SBATCH_{name.upper()}" for name in ("account", "partition", "qos") if getattr(self, name) is None}
        ours = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SINFO_", "SCONTROL_")
        return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(ours)}


def _sbatch(count: int) -> list[str]:
    return ["sbatch", "--parsable", f"--array=1-{count}"]


def _array(job: str) -> str:
    return job.partition("_")[0]
