"""A launcher of a session's own, in a process beside it: what `Session.scale` starts, and what ends with the session."""

from __future__ import annotations

from pathlib import Path

from ..protocol.errors import EventmillError
from ..system.lifeline import Owner
from ..system.logs import last_lines
from ..system.private_folders import make_private
from ..system.scratch import Scratch
from .config import save
from .kept import Kept
from .pools.pool import Pool

_LOG_LINES = 15


class OwnLauncher:
    """One pool and its launcher; workers end with it.

    Args:
        name: of the pool.
        pool: its settings.
        connection: the session's connection file.

    Attributes:
        log: what it says.
    """

    def __init__(self, name: str, pool: Pool, connection: Path) -> None:
        self.name, self.pool = name, pool
        self._scratch = Scratch(shared_place() if pool.shares_files and not pool.runs_here else None)
        folder: Path = self._scratch.path
        self.log = folder / "log"
        pools = folder / "pools.json"
        save({name: pool}, pools)
        owner = Owner.this_process()
        arguments = [str(pools), str(connection), str(folder), str(owner), "ends", str(self.log)]
        self._kept = Kept("launcher", ["eventmill.launch", *arguments], owner.descriptors)

    def check(self) -> None:
        """Raise `EventmillError` with its last words if it has ended."""
        if self._kept.trouble:
            words = "\n".join(last_lines(self.log, _LOG_LINES))
            raise EventmillError(f"the launcher of pool {self.name} has ended; the last words in its log:\n{words}")

    def close(self) -> None:
        """End it, and its workers; closing twice is allowed."""
        self._kept.close()
        self._scratch.remove()


def shared_place() -> str:
    """A folder of this user that the nodes of a batch system see, as far as they see any."""
    place = Path.home() / ".cache" / "eventmill"
    make_private(place)
    return str(place)
