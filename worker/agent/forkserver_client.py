"""The agent's side of the forkserver: starts it, speaks with it, ends it.

Imports next to nothing, so that the forkserver can warm up while the agent itself still imports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from ...protocol.errors import EventmillError
from ...system.scratch import PREFIX, Scratch, remove_left
from ..slot import process_family

log = logging.getLogger(__name__)

LONGEST_PATH = 103
"""Bytes that the path of a Unix socket may have on every system; `zmq.IPC_PATH_MAX_LEN` here."""
END_SECONDS = 5.0
"""What the forkserver is given to end its slots; the kernel may hold one up that waits for a disk."""
_SOCKET = "slots"
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
"""A slot is one core; threads of libraries would also not survive the fork."""


class ForkserverClient:
    """A forkserver process, and the private folder in which its slots find the agent.

    Args:
        cache: folder for what slots compile and unpack, shared with later workers of this user.
        alone: this process has no other children, and never will: if the forkserver is killed, what it leaves is ended here.

    Attributes:
        endpoint: where slots connect to; the agent binds it.
        statuses: the file by which slots and agent share memory; the agent makes it (see `worker.slot_status`).
        link: the socket pair's end to the forkserver (see `worker.forkserver` for what is said).
        output: the end of a pipe to which it writes; whoever reads it closes it, and there is another for the next one.
    """

    def __init__(self, cache: Path | None = None, alone: bool = False) -> None:
        place = folder_for_socket()
        remove_left(Path(place))
        self._scratch = Scratch(place)
        folder = self._scratch.path
        cache = _usable(cache or Path(platformdirs.user_cache_dir("eventmill")), folder / "cache")
        self.endpoint = f"ipc://{folder}/{_SOCKET}"
        self.statuses = folder / "statuses"
        self._cache = cache
        self._forks = 0
        self._alone = alone
        if alone:
            process_family.take_orphans_in()
        self._start()

    def _start(self) -> None:
        self._warm = False
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, writes = os.pipe()
        command = [sys.executable, "-m", "eventmill.worker.forkserver"]
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid()), self.endpoint, str(self._cache), str(self.statuses)],
            stdout=writes,
            stderr=writes,
            pass_fds=[theirs.fileno()],
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
        theirs.close()
        os.close(writes)

    def start_again(self) -> None:
        """Start another forkserver in the place of one that was killed, with another `link`.

        Raises:
            EventmillError: it has ended by itself, and the next one would do the same.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that raised is still about to end: it was not killed
            self._process.wait(END_SECONDS)
        self._end()
        if self._process.returncode >= 0:
            raise EventmillError("the process that starts slots has ended: its error is in the lines above")
        self._start()

    def fork(self, slot: int, ends: Sequence[int] = ()) -> bytes:
        """Ask for a slot's process; the identity under which it will say that it is ready.

        Its standard output and error are the two `ends`, which are closed here.
        """
        self._forks += 1
        self._ask(f"fork {slot} {self._forks}", ends)
        for end in ends:
            os.close(end)
        return identity(slot, self._forks)

    def kill(self, slot: int) -> None:
        """End a slot's process, if there is one; the forkserver says so when it has ended."""
        self._ask(f"kill {slot}")

    def receive(self) -> list[str]:
        """The words of what the forkserver says; "ended" when it is gone."""
        try:
            words = self.link.recv(4096).decode().split()
        except ConnectionResetError:
            words = []
        self._warm = self._warm or words == ["warm"]
        return words or ["ended"]

    def _ask(self, request: str, descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `receive` tells
            socket.send_fds(self.link, [request.encode()], list(descriptors))

    def close(self) -> None:
        """End the forkserver, and with it all slots and what they have started."""
        self._end()
        self._scratch.remove()

    def _end(self) -> None:
        """A warm forkserver ends what it has started, and itself, once the link is closed. What one leaves that was
        killed, or does not, comes to us."""
        self.link.close()
        if self._warm:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._alone:
            process_family.end_children(END_SECONDS)


def _usable(cache: Path, instead: Path) -> Path:
    """The cache folder, or, as batch jobs often have no home that can be written, one that ends with this worker."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return cache
        reason = "it cannot be written"
    except OSError as error:
        reason = str(error)
    log.warning("the cache folder %s is of no use (%s): what is compiled is kept as long as this worker", cache, reason)
    return instead


def attachments_beside(statuses: Path) -> Path:
    """The folder in which the agent puts the attachments of analyses, where its slots find them."""
    return statuses.parent / "attachments"


def identity(slot: int, number: int) -> bytes:
    """How the `number`th process, which is slot `slot`, calls itself."""
    return f"{slot}:{number}".encode()


def folder_for_socket() -> str:
    """A folder for temporary files whose path is not too long for a socket: a batch job's often is.

    Raises:
        EventmillError: there is none.
    """
    candidates = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"]  # noqa: S108 - made private
    for folder in candidates:
        longest = len(os.fsencode(Path(folder) / f"{PREFIX}12345678" / _SOCKET))
        if folder and longest <= LONGEST_PATH and os.access(folder, os.W_OK):
            return folder
    raise EventmillError(
        f"no folder for a socket: {candidates[0]} is too long (set TMPDIR to a path of less than "
        f"{LONGEST_PATH - 25} characters), and neither XDG_RUNTIME_DIR nor /tmp can be written"
    )
