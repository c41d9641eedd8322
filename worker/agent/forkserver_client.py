"""The agent's side of the forkserver: starts it, speaks with it, ends it.

Imports next to nothing, so that the forkserver can warm up while the agent itself still imports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from ...protocol.errors import EventmillError
from ...system.hidden_memory import hide_memory
from ...system.private_folders import make_private, not_ours_alone
from ...system.scratch import PREFIX, Scratch, remove_left
from ..allocation.memory import taken
from ..slot import process_family

log = logging.getLogger(__name__)

LONGEST_PATH = 103
"""Bytes that the path of a Unix socket may have on every system; `zmq.IPC_PATH_MAX_LEN` here."""
END_SECONDS = 5.0
"""What the forkserver is given to end its slots; the kernel may hold one up that waits for a disk."""
PING_SECONDS, SILENCE_SECONDS = 2.0, 3.0
"""How often a forkserver is asked for a sign of life, and after how long without one it is told to go on."""
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
        processes: of slots that are there, their number and the descriptor of the file that tells their memory (None: the
            kernel has no such file).
    """

    def __init__(self, cache: Path | None = None, alone: bool = False) -> None:
        hide_memory()  # of this process: it holds what all owners have sent
        place = folder_for_socket()
        remove_left(Path(place))
        self._scratch = Scratch(place)
        folder = self._scratch.path
        cache = _usable(cache or Path(platformdirs.user_cache_dir("eventmill")), folder / "cache")
        self.endpoint = f"ipc://{folder}/{_SOCKET}"
        self.statuses = folder / "statuses"
        self._cache = cache
        self._forks = 0
        self.processes: dict[int, tuple[int, int | None]] = {}
        self._alone = alone
        if alone:
            process_family.take_orphans_in()
        self._start()

    def _start(self) -> None:
        self._warm, self._answered, self._asked = False, True, 0.0
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, writes = os.pipe()
        # -P: it may be started once more when user code has run, which may have left what looks like a module.
        command = [sys.executable, "-P", "-m", "eventmill.worker.forkserver"]
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid()), self.endpoint, str(self._cache), str(self.statuses)],
            stdin=subprocess.DEVNULL,  # user code is not to wait for, or to hear, who sits at the worker's terminal
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

        Its standard output and error are the two `ends`, which are closed here. No other process can give itself out as it:
        a word is in its identity that goes by a pipe, not through the forkserver's memory, which all slots have a copy of.
        """
        self._forks += 1
        word = secrets.token_bytes(16)
        reads, writes = os.pipe()
        os.write(writes, word)
        os.close(writes)
        self._ask(f"fork {slot} {self._forks}", [*ends, reads])
        for end in (*ends, reads):
            os.close(end)
        return identity(slot, self._forks, word)

    def kill(self, slot: int) -> None:
        """End a slot's process, if there is one; the forkserver says so when it has ended."""
        self._ask(f"kill {slot}")

    def see_to_it(self, now: float) -> None:
        """To be called now and then: see whether the forkserver answers. Nobody but it hears that a slot has ended, so one
        that somebody has stopped (SIGSTOP) is to go on.

        Args:
            now: the time, in seconds.
        """
        if self._warm and now - self._asked >= (PING_SECONDS if self._answered else SILENCE_SECONDS):
            if not self._answered:
                log.warning("the process that starts slots does not answer: if it was stopped, it goes on now")
                self._process.send_signal(signal.SIGCONT)
            self._answered, self._asked = False, now
            self._ask("ping")

    def receive(self) -> list[str]:
        """The words of what the forkserver says; "ended" when it is gone."""
        try:
            said, descriptors, _, _ = socket.recv_fds(self.link, 4096, 1)
            words = said.decode().split()
        except ConnectionResetError:
            words, descriptors = [], []
        match words:
            case ["warm"]:
                self._warm = True
            case ["pong"]:
                self._answered = True
            case ["forked", slot, pid]:
                self._forget(int(slot))
                self.processes[int(slot)] = int(pid), descriptors[0] if descriptors else None
            case ["exited", slot, _]:
                self._forget(int(slot))
        return words or ["ended"]

    def taken(self, slot: int, limit: float) -> int:
        """The bytes of memory that a slot takes, of so many that it may; 0 while it has no process."""
        pid, file = self.processes.get(slot, (0, None))
        return taken(pid, limit, file)

    def _forget(self, slot: int) -> None:
        """A slot's process is gone."""
        _, file = self.processes.pop(slot, (0, None))
        if file is not None:
            os.close(file)

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
        for slot in list(self.processes):
            self._forget(slot)
        self._process.send_signal(signal.SIGCONT)  # who is stopped sees nothing of it
        if self._warm:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._alone:
            process_family.end_children(END_SECONDS)


def _usable(cache: Path, instead: Path) -> Path:
    """The cache folder, or, as batch jobs often have no home that can be written, one that ends with this worker. What is
    in it is run: so one that others may write to is not used either."""
    try:
        make_private(cache)
        reason = not_ours_alone(cache.stat()) or ("" if os.access(cache, os.W_OK) else "it cannot be written")
        if not reason:
            return cache
    except OSError as error:
        reason = str(error)
    log.warning("the cache folder %s is of no use (%s): what is compiled is kept as long as this worker", cache, reason)
    return instead


def attachments_beside(statuses: Path) -> Path:
    """The folder in which the agent puts the attachments of analyses, where its slots find them."""
    return statuses.parent / "attachments"


def identity(slot: int, number: int, word: bytes) -> bytes:
    """How the `number`th process, which is slot `slot`, calls itself; only it and the agent know its word."""
    return f"{slot}:{number}:{word.hex()}".encode()


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
