"""What `eventmill master --pools` does for its pools: keeps the process that has them."""

from __future__ import annotations

import signal
from pathlib import Path

from ..launch.config import load
from ..launch.kept import Kept
from ..protocol.connection import KeyFolder
from ..system.lifeline import Owner

FOLDER = "pools"
"""In the master's key folder: the launcher's record, scripts and logs of jobs."""


class PoolLauncher:
    """The launcher of a standing master, from the master's side.

    Args:
        keys: the master's key folder.
        file: with the pools.

    Raises:
        EventmillError: something is wrong in the file.
    """

    def __init__(self, keys: KeyFolder, file: Path) -> None:
        self.pools = list(load(file))
        self._arguments = [str(file), str(keys.client), str(keys.path / FOLDER)]
        self._kept: Kept | None = None

    def start(self, owner: Owner) -> None:
        """Start its process, which ends with the process `owner`; the master listens by now."""
        self._kept = Kept("launcher", ["eventmill.launch", *self._arguments, str(owner), "stays"], owner.descriptors)

    def close(self, workers_stay: bool) -> None:
        """End it; the next one finds its workers, if they are to stay."""
        if self._kept is not None:
            self._kept.close(signal.SIGTERM if workers_stay else signal.SIGINT)
