"""A master and a worker of a session's own, on this machine: what `connect()` without an address starts.

Both are processes of their own, so that a busy notebook never stalls them, and both end with the session, however it
ends: they hold a descriptor that becomes readable when the session's process is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..protocol.connection import Connection, load_connection, make_keys
from ..protocol.errors import ConnectionFailed
from ..protocol.scratch import Scratch

_LOG_LINES = 15


class Embedded:
    """The two processes and their folder.

    Args:
        slots: slots of the worker; None for one a core that this process may use.
    """

    def __init__(self, slots: int | None = None) -> None:
        self._scratch = Scratch()
        self.folder: Path = self._scratch.path
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = listener.getsockname()[1]
        keys = make_keys(self.folder, f"tcp://127.0.0.1:{port}")
        self.connection: Connection = load_connection(keys.client)
        self.log = self.folder / "log"
        owner = str(os.getpid())
        descriptor = listener.fileno()
        master = [str(self.folder), str(port), str(descriptor), owner]
        self.processes = {
            "worker": self._start("eventmill.worker", [str(keys.worker), str(slots or 0), owner]),
            "master": self._start("eventmill.master", master, [descriptor]),
        }
        listener.close()
        self.closed = False
        self._pid = os.getpid()

    def _start(self, module: str, arguments: Sequence[str], descriptors: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(descriptors),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # they add up: threads would only take time to start
                start_new_session=True,
            )

    def ended(self) -> str:
        """Which of the two has ended by itself: "master", "worker", or neither (""), as far as a fork can know."""
        if os.getpid() != self._pid:
            return ""
        return next((name for name, process in self.processes.items() if _has_ended(process)), "")

    def check(self) -> None:
        """Raise `ConnectionFailed` with the end of the log if the master or the worker has ended."""
        if name := self.ended():
            code = self.processes[name].wait()
            if code < 0:
                how = signal.Signals(-code).name
            else:
                text = self.log.read_text(errors="replace") if self.log.exists() else ""
                how = "\n".join([f"code {code}; its last words:", *text.splitlines()[-_LOG_LINES:]])
            raise ConnectionFailed(
                f"the {name} process of this session has ended, and the session's queries with it: "
                f"eventmill.connect() makes a new session. The log is {self.log}; the process ended with {how}"
            )

    def close(self) -> None:
        """End both processes and remove their folder; in a fork of the session's process they are not touched."""
        if os.getpid() != self._pid:
            return
        self.closed = True
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._scratch.remove()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """As `Popen.poll`, without its lock: a Ctrl-C at the wrong moment leaves that taken, and `wait` waits for ever."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else has taken note of its end
        return True
