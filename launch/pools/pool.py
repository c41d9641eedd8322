"""What every pool can do: start some workers, list them, stop some, and show what one has said.

A pool is a place where workers can be started: this machine, a partition of a batch system, a cluster of somebody else's
making. It is settings and no more, as they stand in a `pools.toml`, and keeps nothing in mind: how many workers there
should be, and which of them, is decided elsewhere (`launch.core`), and each verb is one or two calls of the system's own
commands or client, which may block, or fail with a `PoolError`.

A *job* is what a system runs for one worker, and its id is the system's own word for it: "4711_3" in Slurm, "17.0" in
HTCondor. The job's environment has it as `EVENTMILL_JOB`, so that a worker that joins is known to be this job.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ...protocol.errors import EventmillError
from ...protocol.messages import PoolTerms
from ...system.quantities import parse_seconds, parse_size
from ...system.slot_memory import part_of_slot

JOB = "EVENTMILL_JOB"
"""The environment variable of a job with its id."""
NOTICE = "EVENTMILL_NOTICE"
"""The environment variable with a file in which stands, once a worker is told to end, why it is."""
IDLE = 300.0
"""Seconds without work after which a worker of a pool leaves by itself."""
_TEMPLATE = """#!/bin/bash
@before@
@setup@
exec @command@
"""
"""A job's script. `exec` makes the worker what the system knows as the job: signals are for it, and its end is the job's."""

Trouble = Literal["down", "refused", "full"]
JobState = Literal["queued", "held", "started", "ending", "failed", "reclaimed", "gone"]


class PoolError(EventmillError):
    """A pool cannot do what it was asked for.

    Attributes:
        trouble: "down" when the system does not answer, which may pass; "refused" when it does not take the job as it is,
            which will not; "full" when there is no room for more now, by a quota or limit, which is no fault of the job.
    """

    def __init__(self, words: str, trouble: Trouble = "down") -> None:
        super().__init__(words)
        self.trouble: Trouble = trouble


class Job(msgspec.Struct, frozen=True):
    """What a system says of a job: where it stands, why (in the system's own words), and on which host it runs.

    "ending" is one that was told to end and has not yet; "failed" one that ended by itself, and not well; "reclaimed" one
    that the system has ended for its own sake, as a spot machine, which is no failure; "gone" one that is over, or that the
    system does not know any more.
    """

    state: JobState
    reason: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a system: `what` was tried, whether it `works` (None: it was not tried), and more in words.
    Without one that is `needed` the pool is of no use."""

    what: str
    works: bool | None
    text: str = ""
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the workers of one call of `Pool.start` are to do.

    Args:
        pool: the name of the pool.
        token: file (mode 0600) that lets workers enrol with the master: all that they need to know of it. It is for the
            pool to bring it to where the worker runs; what is in it must stand in no argument, environment or log.
        folder: of the pool, on this machine and of this user alone: for scripts, and for what jobs say.
        name: what the system is to call the jobs of this very call, by which `Pool.find` finds them again. No other call has
            it. The workers are called as the pool.
        facility: whose pool it is, in a word that no other master has, and that stays when the launcher's record is lost.
    """

    pool: str
    token: Path
    folder: Path
    name: str = "eventmill"
    facility: str = ""


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="system"):
    """The settings that all pools have; a subclass a system has more of them, and the verbs.

    Args:
        cores: of a worker, which has as many slots.
        memory: of a worker, as "4G"; None: what the system gives.
        walltime: how long a worker may run, as "2h" or "1-12:00:00"; None: as long as the system lets it.
        most: workers at most.
        site: where they run, as displays call it.
        proxy_prefix: cache or proxy of the site through which root:// files are read, as "root://cache.site:1094//".
        through: address of a relay (`eventmill relay`) through which workers reach the master, as "login01.site:8786".
        python: the interpreter that runs workers; None: the one that runs this, at the same path. It must have eventmill.
        container: image in which workers run, by Apptainer: a .sif file, an unpacked image on CVMFS, or docker://...;
            `python` is then inside it ("python3").
        setup: lines of shell to run before, as "source /cvmfs/.../setup.sh" or "module load python".
        template: file with a site's own script for jobs; @before@ (lines of the system), @setup@ and @command@ in it are
            replaced. Its last line is to be "exec @command@", or signals do not reach the worker.
        idle: seconds without work after which a worker leaves.
        owner: whose queries the workers serve: a user's name, "@group", or "" for everybody's.
        price: what a worker costs an hour, in the facility's currency.
        billing: the periods in which that is to be paid, as "1h"; a worker is paid for to the end of the last one.
        least: workers that are kept while the pool follows the work, whatever there is to do.
        start_time: how long a worker takes to start, as "2 min", as far as is known before the first one has.
        spot: its machines may be taken back at any time.
    """

    system: ClassVar[str] = ""
    shares_files: ClassVar[bool] = True
    """Jobs see the files of this machine, at the same paths."""
    runs_here: ClassVar[bool] = False
    """Jobs run on this machine, and reach a master that listens on it only."""
    tells_memory: ClassVar[bool] = False
    """Jobs know how much memory they have, so that a worker finds it out, and leaves of it what it needs itself."""
    has_tags: ClassVar[bool] = False
    """Jobs carry the names of pool and facility, so that `left` finds them without any record."""

    cores: Annotated[int, Meta(ge=1, le=4096)] = 1
    memory: str | None = None
    walltime: str | None = None
    most: Annotated[int, Meta(ge=0)] = 1000
    site: str = ""
    proxy_prefix: str = ""
    through: str = ""
    python: str | None = None
    container: str | None = None
    setup: list[str] = []
    template: str | None = None
    idle: Annotated[float, Meta(gt=0)] = IDLE
    owner: str = ""
    price: Annotated[float, Meta(ge=0)] = 0.0
    billing: str = "1s"
    least: Annotated[int, Meta(ge=0)] = 0
    start_time: str = "1 min"
    spot: bool = False

    def __post_init__(self) -> None:
        for seconds in (self.billing, self.start_time):
            parse_seconds(seconds)
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) is more than most ({self.most})")
        if not math.isfinite(self.price):
            raise ValueError(f"a price of {self.price}")
        if self.memory is not None:
            parse_size(self.memory)
        if self.walltime is not None:
            parse_seconds(self.walltime)

    @property
    def terms(self) -> PoolTerms:
        """What a worker has and costs."""
        return PoolTerms(
            self.cores, self.price, parse_seconds(self.billing), self.least, parse_seconds(self.start_time), self.spot
        )

    def start(self, count: int, assignment: Assignment) -> list[str]:
        """Ask the system for so many jobs, a worker each; their ids. All of them, or none and a `PoolError`."""
        raise NotImplementedError

    def find(self, assignment: Assignment) -> list[str]:
        """The ids of the jobs that this very call of `start` has made, as far as the system still has them.

        It is asked when nobody knows what became of the call: the launcher was killed in the middle of it, or the system's
        answer did not come. Those that it leaves out would be started a second time.
        """
        raise NotImplementedError

    def left(self, assignment: Assignment) -> list[str]:
        """The ids of all jobs of this pool and facility that the system has, whoever has started them.

        It is asked once by a launcher, which takes over those that are in no record: nobody else would end them.
        """
        return []

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        """What the system says of these jobs. Those that it does not know any more are "gone"."""
        raise NotImplementedError

    def stop(self, jobs: Sequence[str]) -> None:
        """End these jobs, wherever they stand, as the system does it: with time to leave well where it gives any.
        Those that are over are passed over."""
        raise NotImplementedError

    def log(self, job: str, assignment: Assignment) -> str:
        """The last lines that a job has said, also if Python never started in it; "" when it has said nothing (yet)."""
        raise NotImplementedError

    def findings(self, assignment: Assignment) -> Iterator[Finding]:
        """What the system can and cannot, one thing after the other as it is tried; nothing stays of what that starts."""
        return iter(())

    def preview(self, count: int, assignment: Assignment) -> str:
        """The script, submit file or command that `start` would give to the system."""
        raise NotImplementedError

    def worker_command(self, token: str, assignment: Assignment) -> list[str]:
        """The command of a worker whose token is in the file `token`, where it runs."""
        python = self.python or (sys.executable if self.container is None else "python3")
        inside = [] if self.container is None else ["apptainer", "exec", self.container]
        command = [*inside, python, "-m", "eventmill", "worker", token]
        command += ["--pool", assignment.pool, "--name", assignment.pool, "--slots", str(self.cores)]
        # Who has started it lets it go sooner; this is for when nobody does. What is paid for is used.
        command += ["--idle", f"{max(self.idle, parse_seconds(self.billing) if self.price else 0.0):g}"]
        command += ["--walltime", self.walltime] if self.walltime else []
        command += ["--memory", self.memory_of_slot] if self.memory and not self.tells_memory else []
        command += ["--site", self.site] if self.site else []
        command += ["--proxy-prefix", self.proxy_prefix] if self.proxy_prefix else []
        command += ["--through", self.through] if self.through else []
        return command

    @property
    def memory_of_slot(self) -> str:
        """A slot's part of the memory of a worker, in the notation of `--memory`."""
        return str(part_of_slot(parse_size(self.memory or "0"), self.cores))

    def script(self, token: str, assignment: Assignment, *before: str) -> str:
        """A shell script that becomes a worker: lines of the system's `before`, then those of `setup`.

        Raises:
            PoolError: the site's template cannot be read, or has no place for the command.
        """
        return self.script_of(shlex.join(self.worker_command(token, assignment)), assignment, *before)

    def script_of(self, command: str, assignment: Assignment, *before: str) -> str:
        """The same with another command. Raises `PoolError` as `script` does."""
        try:
            text = _TEMPLATE if self.template is None else Path(self.template).read_text()
        except (OSError, ValueError) as error:
            raise PoolError(f"the template of pool {assignment.pool} cannot be read: {error}", "refused") from None
        if "@command@" not in text:
            raise PoolError(f"{self.template} is no template of a job: it has no line 'exec @command@'", "refused")
        text = text.replace("@before@", "\n".join(before)).replace("@setup@", "\n".join(self.setup))
        return text.replace("@command@", command)
