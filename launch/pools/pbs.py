"""PBS (OpenPBS, PBS Professional): a job a worker, by `qsub`, `qstat`, `qselect` and `qdel`.

There are no job arrays here: PBS takes none that may not be run again, and would start the job of a lost node a second time,
as a worker that nobody expects.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from ...system.logs import last_lines
from ...system.quantities import parse_seconds, parse_size
from .commands import CommandFailed, run
from .pbs_words import job_of, trouble_of
from .pool import JOB, Assignment, Job, Pool, PoolError

_LINES = 100
"""Of a job's log."""
_OVER = re.compile(r"Unknown Job Id|has finished", re.IGNORECASE)
"""What its commands say of jobs that are over."""


class PBS(Pool, frozen=True, kw_only=True, tag="pbs"):
    """A queue of a PBS cluster. The commands of PBS must be here, and jobs must see this machine's files.

    Of the environment jobs get nothing: what they need goes into `setup`.

    Args:
        queue: where jobs go; None: where PBS puts them.
        account: what pays for them (`-A`); None: the user's own.
        select: more of what a worker's chunk of a node must have, as "arch=milan:scratch=true".
        options: more of what stands behind #PBS in scripts, as ["-l filesystems=eagle"].

    Example:
        >>> pool = PBS(queue="workq", cores=4, memory="8G", walltime="2h")
        >>> pool.system
        'pbs'
    """

    system: ClassVar[str] = "pbs"

    queue: str | None = None
    account: str | None = None
    select: str = ""
    options: list[str] = []

    def start(self, count: int, assignment: Assignment) -> list[str]:
        jobs: list[str] = []
        script = self._script(assignment)
        try:
            while len(jobs) < count:
                jobs.append(self._submit(script))
        except PoolError:
            self.stop(jobs)
            raise
        return jobs

    def find(self, assignment: Assignment) -> list[str]:
        return [job.strip() for job in _known("qselect", "-x", "-N", assignment.name)]

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        known = dict(_records(_known("qstat", "-x", "-f", *jobs))) if jobs else {}
        return {job: job_of(known.get(job)) for job in jobs}

    def stop(self, jobs: Sequence[str]) -> None:
        if jobs:
            _known("qdel", *jobs)

    def log(self, job: str, assignment: Assignment) -> str:
        return "\n".join(last_lines(assignment.folder / f"{job}.log", _LINES))

    def preview(self, count: int, assignment: Assignment) -> str:
        return f"# {count} times\nqsub <<'EOF'\n{self._script(assignment)}EOF\n"

    # --- what is submitted ------------------------------------------------------------------------------------------------

    def _submit(self, script: str) -> str:
        try:
            said = run("qsub", stdin=script)
        except CommandFailed as failed:
            words = _shortened(failed.said) or str(failed)
            trouble = trouble_of(failed.said) if failed.said else failed.trouble
            raise PoolError(f"PBS takes no job: {words}", trouble) from None
        found = re.findall(r"^[0-9]+\.\S+$", said, re.MULTILINE)
        if not found:
            raise PoolError(f"qsub has told no number of a job: {said.strip()!r}")
        return str(found[-1])

    def _script(self, assignment: Assignment) -> str:
        lines = [f"#PBS {option}" for option in self._options(assignment)]
        folder = shlex.quote(str(assignment.folder))
        # PBS itself brings what a job has said when it is over, and by means that many a site has not.
        lines += [f"export {JOB}=$PBS_JOBID", f'exec >{folder}/"$PBS_JOBID".log 2>&1', f"cd {folder}"]
        return self.script(str(assignment.token), assignment, *lines)

    def _options(self, assignment: Assignment) -> Iterable[str]:
        chunk = [f"select=1:ncpus={self.cores}"]
        chunk += [f"mem={math.ceil(parse_size(self.memory) / 2**20)}mb"] if self.memory else []
        chunk += [self.select] if self.select else []
        yield from (f"-N {assignment.name}", "-S /bin/bash", "-r n", "-o /dev/null", "-e /dev/null")
        yield f"-l {':'.join(chunk)}"
        yield from [f"-l walltime={math.ceil(parse_seconds(self.walltime))}"] if self.walltime else []
        yield from [f"-q {self.queue}"] if self.queue else []
        yield from [f"-A {self.account}"] if self.account else []
        yield from (option.removeprefix("#PBS").strip() for option in self.options)


def _records(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The jobs that `qstat -f` tells of: the id and what is said of each. Long values go on after a tab."""
    name, last = "", ""
    facts: dict[str, str] = {}
    for line in lines:
        if line.startswith("Job Id: "):
            if name:
                yield name, facts
            name, facts = line.removeprefix("Job Id: ").strip(), {}
        elif line.startswith("\t"):
            facts[last] = facts.get(last, "") + line[1:]
        elif " = " in line:
            last, _, value = line.strip().partition(" = ")
            facts[last] = value
    if name:
        yield name, facts


def _known(*command: str) -> list[str]:
    """The lines that a command says; that jobs are over is no failure of it."""
    try:
        return run(*command).splitlines()
    except CommandFailed as failed:
        if failed.code is None or not all(_OVER.search(line) for line in failed.said.splitlines()):
            raise PoolError(f"PBS does not answer: {_shortened(failed.said) or failed}", "down") from None
        return failed.output.splitlines()


def _shortened(said: str) -> str:
    """What a command has said, in a line."""
    lines = (re.sub(r"^q\w+: ", "", line).strip() for line in said.splitlines())
    return "; ".join(line for line in lines if line)
