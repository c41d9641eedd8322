"""A master and a worker of a session's own, on this machine: what `connect()` without an address starts.

Both are processes of their own, so that a busy notebook never stalls them, and both end with the session, however it
ends: they hold a descriptor that becomes readable when the session's process is gone. One that is killed is started again:
the master goes on from its journal, at the same port and with the same keys, and what the worker had not committed is done
again.
"""

from __future__ import annotations

import logging
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..protocol.connection import Connection, load_connection, make_keys
from ..protocol.errors import ConnectionFailed
from ..system.lifeline import Owner
from ..system.logs import last_lines
from ..system.restarts import Restarts
from ..system.scratch import Scratch

log = logging.getLogger(__name__)

_LOG_LINES = 15
_END_SECONDS = 5.0
_UNKNOWN = -1000
"""In the place of a signal's number."""
_STARTED_AGAIN = "for want of memory? Another one is started, and queries go on"


class Embedded:
    """The two processes and their folder.

    Args:
        slots: slots of the worker; None for one a core that this process may use.
        host: name or address under which workers on other machines reach this one, "*" for its host name; None if none are
            to: then nobody else can call the master.

    Attributes:
        processes: the two that there are now, by their names "master" and "worker".
        log: what both say, and what the analyses print.
        is_private: the master listens on this machine only.
    """

    def __init__(self, slots: int | None = None, host: str | None = None) -> None:
        self._scratch = Scratch()
        self.folder: Path = self._scratch.path
        self._pid = os.getpid()
        # It is kept: a master that is started again listens at the same port, which nobody can take meanwhile.
        self.is_private = host is None
        name = {None: "127.0.0.1", "*": platform.node()}.get(host, host or "")
        self._listener = socket.create_server(("127.0.0.1" if self.is_private else "", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.keys = keys = make_keys(self.folder, f"tcp://{name}:{port}")
        self.connection: Connection = load_connection(keys.client)
        self.log = self.folder / "log"
        owner, descriptor = Owner.this_process(), self._listener.fileno()
        self._commands: dict[str, tuple[list[str], list[int]]] = {
            "worker": (
                ["eventmill.worker", str(keys.worker), str(slots or 0), str(owner), str(self.log)],
                [*owner.descriptors],
            ),
            "master": (
                ["eventmill.master", str(self.folder), str(port), str(descriptor), str(owner), name],
                [descriptor, *owner.descriptors],
            ),
        }
        self._restarts = {name: Restarts() for name in self._commands}
        self._trouble: tuple[str, str] = ("", "")
        self._changes = threading.RLock()  # garbage collection may close a session in any thread, at any moment
        self.closed = False
        self.processes = {name: self._start(*command) for name, command in self._commands.items()}
        self._woken, self._waker = os.pipe()
        self._keeper = threading.Thread(target=self._keep, name="eventmill keeper", daemon=True)
        self._keeper.start()

    def _start(self, arguments: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(descriptors),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # they add up: threads would only take time to start
                start_new_session=True,
            )

    def ended(self) -> str:
        """Which of the two has ended for good: "master", "worker", or neither (""), as far as a fork can know."""
        return self._trouble[0]

    def check(self) -> None:
        """Raise `ConnectionFailed` with the end of the log if the master or the worker has ended for good."""
        name, how = self._trouble
        if name:
            raise ConnectionFailed(
                f"the {name} process of this session has ended, and the session's queries with it: "
                f"eventmill.connect() makes a new session. The log is {self.log}; the process {how}"
            )

    def close(self) -> None:
        """End both processes and remove their folder; in a fork of the session's process they are not touched."""
        if os.getpid() != self._pid:
            return
        with self._changes:  # none is started from now on
            if self.closed:
                return
            self.closed = True
        os.write(self._waker, b"\0")
        self._listener.close()  # nobody tries to reach a master there any more
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._scratch.remove()
        if threading.current_thread() is not self._keeper:
            self._keeper.join()
        os.close(self._woken)
        os.close(self._waker)

    # --- the thread that looks after them ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Start again what is killed, until the session is closed or that is of no use."""
        descriptors = {os.pidfd_open(process.pid): name for name, process in self.processes.items()}
        try:
            while not self.closed and not self._trouble[0]:
                poll = select.poll()
                for descriptor in (*descriptors, self._woken):
                    poll.register(descriptor, select.POLLIN)
                for descriptor, _ in poll.poll():
                    name = descriptors.pop(descriptor, "")
                    if not name:
                        return  # the session is closed
                    os.close(descriptor)
                    if self._renew(name):
                        descriptors[os.pidfd_open(self.processes[name].pid)] = name
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _renew(self, name: str) -> bool:
        """Start another process in the place of one that has ended; false if there is to be no other."""
        with self._changes:
            if self.closed:
                return False
            code = _code_of(self.processes[name]) or 0
            self.processes[name].poll()  # takes note of its end
            killed = code < 0 or (code == 0 and name == "worker" and _code_of(self.processes["master"]) is None)
            restarts = self._restarts[name]
            if not killed:
                self._give_up(name, f"ended with code {code}")
            elif not restarts.allowed(time.monotonic()):
                times = f"{restarts.most + 1} times within {restarts.seconds:g} s"
                self._give_up(name, f"was killed {times}, the last time by {signal_name(code)}")
            else:
                process = self.processes[name] = self._start(*self._commands[name])
                if self.closed:  # by garbage collection, here and now
                    process.kill()  # type: ignore[unreachable]
                    return False
                log.warning(
                    "the %s process of this session was killed (%s): %s", name, signal_name(code), _STARTED_AGAIN
                )
                return True
        return False

    def _give_up(self, name: str, how: str) -> None:
        words = last_lines(self.log, _LOG_LINES)
        self._trouble = name, "\n".join([f"{how}; the last words in the log:", *words])


def _code_of(process: subprocess.Popen[bytes]) -> int | None:
    """How a process has ended, as `Popen.poll` tells it; None while it has not. Takes no lock: a Ctrl-C at the wrong moment
    leaves `Popen`'s taken, and whoever wants it then waits for ever."""
    if process.returncode is None:
        try:
            status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else has taken note of its end, as code that waits for any child does
            return _UNKNOWN
        if status is None:
            return None
        return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
    return process.returncode


def signal_name(code: int) -> str:
    """What ended a process, of the code that it ended with."""
    if code == _UNKNOWN:
        return "it is not known how"
    return signal.Signals(-code).name if code < 0 else "an order to end"
