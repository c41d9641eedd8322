"""Grid Engine (SGE, and Son of, Univa, Altair): array jobs with a worker each, by `qsub`, `qstat`, `qacct` and `qdel`.

Grid Engine tells a job that its end is near by signals of its own, and to all of its processes: SIGUSR1 at its soft walltime
and before it is suspended, SIGUSR2 before it is killed. A shell around the worker makes one SIGTERM of them.
"""

from __future__ import annotations

import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from ...system.logs import last_lines
from ...system.quantities import parse_seconds, parse_size
from .commands import CommandFailed, run
from .gridengine_words import job_of_end, reasons, state_of, tasks_of, trouble_of
from .pool import JOB, Assignment, Job, Pool, PoolError

_LINES = 100
"""Of a job's log."""
_OVER = re.compile(r"does not exist|do not exist|^[0-9, ]*$|already in deletion|registered the job|has deleted")
"""Lines about jobs that are over, or about to be."""
_TELLS = """(trap "" USR1 USR2; exec "$@") & worker=$!
trap 'kill -TERM $worker' TERM USR1 USR2 XCPU
until wait $worker; code=$?; ! kill -0 $worker 2>/dev/null; do :; done
exit $code"""


class GridEngine(Pool, frozen=True, kw_only=True, tag="gridengine"):
    """A queue of a Grid Engine. Its commands must be here, and jobs must see this machine's files.

    Of the environment jobs get nothing: what they need goes into `setup`.

    Args:
        queue: where jobs go; None: where Grid Engine puts them.
        project: what pays for them; None: the user's own.
        parallel: the parallel environment for workers of several cores: one that gives them on one host.
        memory_resource: by which memory is asked for, a slot's part at a time, as sites call it. What limits the address
            space (h_vmem at many) must be generous: compiled code and mapped files count.
        warning: seconds before the end of their walltime that workers are told to leave.
        options: more of what stands behind #$ in scripts, as ["-l os=el9", "-ac cms"].

    Example:
        >>> pool = GridEngine(queue="long.q", cores=4, walltime="2h")
        >>> pool.system
        'gridengine'
    """

    system: ClassVar[str] = "gridengine"

    queue: str | None = None
    project: str | None = None
    parallel: str = "smp"
    memory_resource: str = "mem_free"
    warning: Annotated[int, Meta(ge=0, le=65535)] = 30
    options: list[str] = []

    def start(self, count: int, assignment: Assignment) -> list[str]:
        try:
            said = run(*_qsub(count), stdin=self._script(assignment))
        except CommandFailed as failed:
            words = _shortened(failed.said) or str(failed)
            trouble = trouble_of(failed.said) if failed.said else failed.trouble
            raise PoolError(f"Grid Engine takes no job: {words}", trouble) from None
        number = re.search(r"^([0-9]+)\.", said, re.MULTILINE)
        if number is None:
            raise PoolError(f"qsub has told no number of a job: {said.strip()!r}")
        return [f"{number[1]}.{task}" for task in range(1, count + 1)]

    def find(self, assignment: Assignment) -> list[str]:
        return [job for job, (name, _, _) in self._listed().items() if name == assignment.name]

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        listed = self._listed()
        there = {job: state_of(*listed[job][1:]) for job in jobs if job in listed}
        waiting = {job for job, said in there.items() if said.state in {"queued", "held"}}
        why = reasons(_known("qstat", "-j", ",".join(sorted(set(map(_array, waiting)))))) if waiting else {}
        ends = dict(self._ends({_array(job) for job in jobs if job not in there}))
        return {
            job: Job(there[job].state, why.get(job, why.get(_array(job), there[job].reason)), there[job].host)
            if job in there
            else ends.get(job, Job("gone", "Grid Engine does not know it any more"))
            for job in jobs
        }

    def stop(self, jobs: Sequence[str]) -> None:
        if jobs:
            _known("qdel", *jobs)

    def log(self, job: str, assignment: Assignment) -> str:
        return "\n".join(last_lines(assignment.folder / f"{job}.log", _LINES))

    def preview(self, count: int, assignment: Assignment) -> str:
        return f"{shlex.join(_qsub(count))} <<'EOF'\n{self._script(assignment)}EOF\n"

    def worker_command(self, token: str, assignment: Assignment) -> list[str]:
        return ["bash", "-c", _TELLS, "eventmill", *super().worker_command(token, assignment)]

    # --- what is submitted ------------------------------------------------------------------------------------------------

    def _script(self, assignment: Assignment) -> str:
        lines = [f"#$ {option}" for option in self._options(assignment)]
        lines.append(f"export {JOB}=${{JOB_ID}}.${{SGE_TASK_ID}}")
        return self.script(str(assignment.token), assignment, *lines)

    def _options(self, assignment: Assignment) -> Iterable[str]:
        folder = shlex.quote(str(assignment.folder))
        yield from (f"-N {assignment.name}", "-S /bin/bash", "-notify", "-r n", "-j y", f"-wd {folder}")
        yield f"-o {folder}/$JOB_ID.$TASK_ID.log"
        yield from [f"-pe {self.parallel} {self.cores}"] if self.cores > 1 else []
        yield from [f"-q {self.queue}"] if self.queue else []
        yield from [f"-P {self.project}"] if self.project else []
        if self.memory:
            yield f"-l {self.memory_resource}={math.ceil(parse_size(self.memory) / self.cores / 2**20)}M"
        if self.walltime:
            seconds = math.ceil(parse_seconds(self.walltime))
            yield f"-l h_rt={seconds},s_rt={max(1, seconds - self.warning)}"
        yield from (option.removeprefix("#$").strip() for option in self.options)

    # --- what Grid Engine says ------------------------------------------------------------------------------------------

    def _listed(self) -> Mapping[str, tuple[str, str, str]]:
        """The user's jobs that are not over: name, state and host of each."""
        try:
            tree = ElementTree.fromstring("\n".join(_known("qstat", "-xml")))  # noqa: S314  # of the user's own system
        except ElementTree.ParseError as error:
            raise PoolError(f"qstat has said what nobody understands: {error}") from None
        found = {}
        for one in tree.iter("job_list"):
            number = one.findtext("JB_job_number", "")
            said = one.findtext("JB_name", ""), one.findtext("state", ""), one.findtext("queue_name") or ""
            for task in tasks_of(one.findtext("tasks", "1")):
                found[f"{number}.{task}"] = said
        return found

    def _ends(self, arrays: set[str]) -> Iterator[tuple[str, Job]]:
        """How jobs of arrays have ended that are listed no more, as far as the accounting tells it."""
        for array in arrays:
            try:
                said = run("qacct", "-j", array)
            except PoolError:  # not every machine has the accounting file, and it is written late
                continue
            for record in said.split("=" * 62):
                facts = {name: value for name, _, value in (line.partition(" ") for line in record.splitlines())}
                if "taskid" in facts:
                    yield f"{array}.{facts['taskid'].strip()}", job_of_end(facts)


def _qsub(count: int) -> list[str]:
    return ["qsub", "-terse", "-t", f"1-{count}"]


def _array(job: str) -> str:
    return job.partition(".")[0]


def _known(*command: str) -> list[str]:
    """The lines that a command says; that jobs are over is no failure of it."""
    try:
        return run(*command).splitlines()
    except CommandFailed as failed:
        if failed.code is None or not all(_OVER.search(line) for line in failed.said.splitlines()):
            raise PoolError(f"Grid Engine does not answer: {_shortened(failed.said) or failed}", "down") from None
        return []


def _shortened(said: str) -> str:
    """What a command has said, in a line."""
    lines = (line.removeprefix("Unable to run job: ").removeprefix("error: ") for line in said.splitlines())
    return "; ".join(line.strip() for line in lines if line.strip() and line.strip() != "Exiting.")
