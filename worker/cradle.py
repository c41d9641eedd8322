"""The agent's side of the nursery: starts it, speaks with it, ends it.

Imports next to nothing, so that the nursery can warm up while the agent itself still imports.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
"""A slot is one core; threads of libraries would also not survive the fork."""


class Cradle:
    """A nursery process, and the private folder in which its slots find the agent.

    Args:
        cache: folder for compiled kernels, shared by all slots and later workers of this user.

    Attributes:
        endpoint: where slots connect to; the agent binds it.
        link: the socket pair's end to the nursery (see `worker.nursery` for what is said).
    """

    def __init__(self, cache: Path | None = None) -> None:
        cache = cache or Path(platformdirs.user_cache_dir("eventmill")) / "kernels"
        self._folder = tempfile.TemporaryDirectory(prefix="eventmill-")
        self.endpoint = f"ipc://{self._folder.name}/slots"
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "eventmill.worker.nursery"]
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid()), self.endpoint, str(cache)],
            pass_fds=[theirs.fileno()],
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
        theirs.close()

    def fork(self, slot: int) -> None:
        """Ask for a slot process; the nursery answers on the link."""
        self.link.send(f"fork {slot}".encode())

    def close(self) -> None:
        """End the nursery and with it all slots."""
        self.link.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
