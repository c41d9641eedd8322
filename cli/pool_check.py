"""`eventmill pool check`: one worker of a pool, and what becomes of it, stage by stage."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from ..launch.core import LauncherCore
from ..launch.launches import Launch
from ..launch.own import shared_place
from ..launch.pools.pool import Assignment, Pool
from ..launch.probe import PREFIX
from ..launch.reconciler import UNREACHED
from ..launch.serve import Ending, Launcher
from ..protocol.connection import load_connection
from ..system.scratch import Scratch
from .pool_findings import found_in, in_words

_WHAT = {
    "requested": "asked for",
    "queued": "in the queue",
    "held": "held",
    "started": "its job has started",
    "environment": "its Python has eventmill",
    "connected": "it reaches the master's port",
    "enrolled": "the master has let it in",
    "warm": "its slots are ready",
    "idle": "it works",
    "working": "it works",
    "stopping": "it ends",
    "failed": "it failed",
    "gone": "it has ended",
}
READ_SECONDS = 10.0
"""To wait for the log of a job that runs."""


class Check:
    """Follows the one worker of a launcher, and says what is new.

    Args:
        name: of the pool.
        master: its address.
        wait: seconds to wait for the worker.
        launcher: that has the pool.

    Attributes:
        works: it has joined.
    """

    def __init__(self, name: str, master: str, wait: float, launcher: Launcher) -> None:
        self._name = name
        self._master = master
        self._wait = wait
        self._launcher = launcher
        self._began, self._asked = time.monotonic(), time.time()
        self._said: tuple[str, str] = ("", "")
        self._told: set[str] = set()
        self._reads_until: float | None = None
        self._over = False
        self.works = False

    def look(self, core: LauncherCore) -> None:
        """See how far it is; once nothing more is to come, the launcher ends."""
        if self._over:
            return
        pool, now = core.pools[self._name], time.monotonic()
        launch = next(iter(pool.holdings), None)
        if launch is not None and self._reads_until is not None:
            self._read(launch, now)
        elif launch is not None:
            self._follow(launch, now)
        if launch is None and pool.hindrance != UNREACHED and (trouble := pool.trouble(now)):
            self._say("no worker", trouble)
            self._end()
        if now - self._began > self._wait and not self._over:
            self._say("given up", f"it is no further after {self._wait:.0f} s")
            self._end()

    def _follow(self, launch: Launch, now: float) -> None:
        if (launch.stage, launch.reason) == self._said or (launch.stage == "failed" and not launch.explained):
            return  # nothing new, or its log is on its way
        self._said = (launch.stage, launch.reason)
        for stage in launch.stages:  # some have passed since the last look
            if stage not in self._told:
                self._told.add(stage)
                self._say(_WHAT.get(stage, stage), "")
        self._told.add(launch.stage)
        where = f"on {launch.host}" if launch.host and launch.stage == "started" else ""
        self._say(_WHAT.get(launch.stage, launch.stage), " ".join(filter(None, (where, launch.reason))))
        if launch.joined:
            self.works = True
            self._reads_until = now + READ_SECONDS
            self._launcher.read_log(self._name, launch)
        elif launch.over or launch.stage == "stopping":
            self._end()

    def _read(self, launch: Launch, now: float) -> None:
        """Say what the job has found, once its log is there; some systems have it only when a job is over."""
        found = found_in(launch.reason) if launch.explained else None
        if found is not None:
            for line in in_words(found, self._master, self._asked, time.time()):
                click.echo(f"             {line}")
        elif not launch.explained and self._reads_until is not None and now < self._reads_until:
            return
        self._end()

    def _end(self) -> None:
        self._over = True
        self._launcher.end(with_workers=True)

    def _say(self, what: str, more: str) -> None:
        lines = [line for line in more.splitlines() if not line.startswith(PREFIX)] or [""]
        click.echo(f"{time.monotonic() - self._began:7.1f} s  {what}{f': {lines[0]}' if lines[0] else ''}")
        for line in lines[1:]:
            click.echo(f"             {line}")


def run(name: str, pool: Pool, connection: Path, wait: float, servers: Sequence[str]) -> bool:
    """Check a pool, and which of some file servers its workers reach; whether a worker of it works."""
    master = load_connection(connection)
    click.echo(f"pool {name} ({pool.system}): one worker for the master at {master.address}")
    scratch = Scratch(shared_place() if pool.shares_files and not pool.runs_here else None)
    try:
        if not _endpoint(name, pool, scratch.path, master.facility):
            click.echo("it does not work")
            return False
        check: Check
        launcher = Launcher(
            master,
            {name: probing(name, pool, master.address, servers)},
            scratch.path,
            Ending(with_owner=True),
            connection,
            lambda core: check.look(core),
            adopts=False,  # they are the pool's own launcher's, which may run
        )
        check = Check(name, master.address, wait, launcher)
        launcher.want(name, 1)
        launcher.run()
    finally:
        scratch.remove()
    click.echo("it works" if check.works else "it does not work")
    return check.works


def _endpoint(name: str, pool: Pool, folder: Path, facility: str) -> bool:
    """Say what the pool's system can and cannot; whether there is all that workers need."""
    call = f"eventmill-{name}-check-{os.urandom(4).hex()}"
    works = True
    for finding in pool.findings(Assignment(name, folder / "token", folder, call, f"{facility}-check")):
        said = {True: "pass", False: "no", None: "untried"}[finding.works]
        click.echo(f"  {said:8}{finding.what}{f': {finding.text}' if finding.text else ''}")
        works = works and not (finding.needed and finding.works is False)
    return works


def probing(name: str, pool: Pool, master: str, servers: Sequence[str]) -> Pool:
    """The pool, with one worker whose job says first what it finds where it runs."""
    command = pool.worker_command("token", Assignment(name, Path("token"), Path()))
    python = command[: command.index("-m")]
    probe = shlex.join([*python, "-m", "eventmill.launch.probe", master, *servers])
    return msgspec.structs.replace(pool, most=1, setup=[*pool.setup, f"{probe} || true"])
