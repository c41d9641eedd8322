"""Workers as processes of this machine: the pool that needs nothing.

Each runs in a session of its own, so that Ctrl-C is not for it, and is told to leave (SIGTERM) by the kernel when its
launcher ends, however that ends, unless it is to stay. Its id is its process number and when it was started, by which no
later process is taken for it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ...system.logs import last_lines
from ...system.private_folders import make_private
from .pool import Assignment, Job, Pool, PoolError

_LINES = 40
_BOOT = Path(__file__).with_name("local_boot.py")
_ended: dict[str, int] = {}
"""Children of this process that have ended, and how."""
_children: set[str] = set()
_told: set[str] = set()
"""Those that were told to leave: told again, they are killed."""


class Local(Pool, frozen=True, kw_only=True, tag="local"):
    """Workers on this machine.

    Args:
        stays: workers stay when their launcher is killed, and the next one of its folder finds them.

    Example:
        >>> pool = Local(cores=2, most=4)
        >>> pool.system, pool.cores
        ('local', 2)
    """

    system: ClassVar[str] = "local"
    runs_here: ClassVar[bool] = True

    stays: bool = False

    def start(self, count: int, assignment: Assignment) -> list[str]:
        started: list[str] = []
        try:
            for _ in range(count):
                started.append(self._start(assignment))  # noqa: PERF401 - those so far are stopped after an error
        except OSError as error:
            self.stop(started)
            raise PoolError(f"no process can be started: {error.strerror or error}", "full") from None
        return started

    def find(self, assignment: Assignment) -> list[str]:
        begin = f"{assignment.name}-"
        logs = assignment.folder.glob(f"{begin}*.log")
        return [job for log in logs if _alive(job := log.stem.removeprefix(begin))]

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        _reap()
        return {job: _state(job) for job in jobs}

    def stop(self, jobs: Sequence[str]) -> None:
        _reap()
        for job in jobs:
            if _alive(job):
                with contextlib.suppress(ProcessLookupError):
                    if job in _told:
                        os.killpg(_pid(job), signal.SIGKILL)
                    else:
                        os.kill(_pid(job), signal.SIGTERM)
                _told.add(job)

    def log(self, job: str, assignment: Assignment) -> str:
        return "\n".join(last_lines(_log(assignment, job), _LINES))

    def preview(self, count: int, assignment: Assignment) -> str:
        return "\n".join([shlex.join(self._command(assignment))] * count)

    def _command(self, assignment: Assignment) -> list[str]:
        token = str(assignment.token)
        if self.setup or self.template is not None:
            return ["/bin/bash", "-c", self.script(token, assignment)]
        return self.worker_command(token, assignment)

    def _start(self, assignment: Assignment) -> str:
        make_private(assignment.folder)
        launcher = "0" if self.stays else str(os.getpid())
        begin = str(assignment.folder / f"{assignment.name}-")
        boot = [sys.executable, "-I", "-S", str(_BOOT), launcher, begin, *self._command(assignment)]
        pid = os.posix_spawn(boot[0], boot, os.environ, setsid=True)
        job = f"{pid}.{_started(pid)}"
        _children.add(job)
        return job


def _log(assignment: Assignment, job: str) -> Path:
    return assignment.folder / f"{assignment.name}-{job}.log"


def _pid(job: str) -> int:
    return int(job.partition(".")[0])


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" when there is none."""
    fields = _status(pid)
    return fields[19] if fields else ""


def _status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(job: str) -> bool:
    fields = _status(_pid(job))
    return bool(fields) and fields[0] != "Z" and job.endswith(f".{fields[19]}")


def _reap() -> None:
    """Take note of children that have ended."""
    for job in list(_children):
        try:
            pid, status = os.waitpid(_pid(job), os.WNOHANG)
        except ChildProcessError:  # whoever waits for any child has taken it
            _children.discard(job)
            continue
        if pid:
            _children.discard(job)
            _ended[job] = os.waitstatus_to_exitcode(status)


def _state(job: str) -> Job:
    if _alive(job):
        return Job("ending" if job in _told else "started", host=os.uname().nodename)
    code = _ended.get(job, 0)
    if code == 0 or job in _told:
        return Job("gone")
    how = f"ended with code {code}" if code > 0 else f"was killed by {signal.Signals(-code).name}"
    return Job("failed", f"its process {how}")
