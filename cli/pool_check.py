"""`eventmill pool check`: one worker of a pool, and what becomes of it, stage by stage."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from ..launch.core import LauncherCore
from ..launch.launches import Launch
from ..launch.own import shared_place
from ..launch.pools.pool import Pool
from ..launch.serve import Ending, Launcher
from ..protocol.connection import load_connection
from ..system.scratch import Scratch

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
_ENDS = ("idle", "working", "failed", "gone", "stopping")


class Check:
    """Follows the one worker of a launcher, and says what is new.

    Args:
        name: of the pool.
        wait: seconds to wait for it.

    Attributes:
        works: it has joined.
        over: nothing more is to come.
    """

    def __init__(self, name: str, wait: float) -> None:
        self._name = name
        self._began = time.monotonic()
        self._wait = wait
        self._said: tuple[str, str] = ("", "")
        self.works = False
        self.over = False

    def __call__(self, core: LauncherCore) -> None:
        """See how far it is."""
        if self.over:
            return
        pool, now = core.pools[self._name], time.monotonic()
        launches = list(pool.holdings)
        if launches:
            self._follow(launches[-1])
        trouble = pool.trouble(now)
        if trouble and not self.over and not pool.hindrance and (not launches or launches[-1].over):
            self._say("no worker", trouble)
            self.over = True
        if not self.over and now - self._began > self._wait:
            self._say("given up", f"it is no further after {self._wait:.0f} s")
            self.over = True

    def _follow(self, launch: Launch) -> None:
        if (launch.stage, launch.reason) == self._said:
            return
        failed_silently = launch.stage == "failed" and not launch.explained
        self._said = (launch.stage, launch.reason)
        if failed_silently:
            return  # its log is on its way
        where = f"on {launch.host}" if launch.host and launch.stage == "started" else ""
        self._say(_WHAT.get(launch.stage, launch.stage), " ".join(filter(None, (where, launch.reason))))
        self.works = launch.stage in ("idle", "working")
        self.over = launch.stage in _ENDS

    def _say(self, what: str, more: str) -> None:
        lines = more.splitlines() or [""]
        click.echo(f"{time.monotonic() - self._began:7.1f} s  {what}{f': {lines[0]}' if lines[0] else ''}")
        for line in lines[1:]:
            click.echo(f"             {line}")


def run(name: str, pool: Pool, connection: Path, wait: float) -> bool:
    """Check a pool; whether a worker of it works."""
    click.echo(f"pool {name} ({pool.system}): one worker for the master at {load_connection(connection).address}")
    one = msgspec.structs.replace(pool, most=1)
    scratch = Scratch(shared_place() if pool.shares_files and not pool.runs_here else None)
    try:
        following = Check(name, wait)
        launcher: Launcher

        def watched(core: LauncherCore) -> None:
            following(core)
            if following.over:
                launcher.end(with_workers=True)

        launcher = Launcher(
            load_connection(connection), {name: one}, scratch.path, Ending(with_owner=True), connection, watched
        )
        launcher.want(name, 1)
        launcher.run()
    finally:
        scratch.remove()
    click.echo("it works" if following.works else "it does not work")
    return following.works
