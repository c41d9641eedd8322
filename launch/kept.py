"""A process beside another one, which is started again when it is killed, and ends with the one that started it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..system.logs import last_lines
from ..system.restarts import Restarts

log = logging.getLogger(__name__)

_LOG_LINES = 15
_END_SECONDS = 5.0
_UNKNOWN = -1000
"""In the place of a signal's number."""


class Kept:
    """A module that runs as a process of its own, until it is closed or ends by itself.

    In a fork of the process that started it nothing is done to it.

    Args:
        name: what it is called in the log.
        arguments: the module, and its arguments: no secrets, since everybody can read a command line.
        descriptors: of this process that it gets.
        log: file for what it says; None for where this process says it.
        is_wanted: whether another one is started, too, when it has ended well, by somebody's order.

    Attributes:
        process: the one that there is now.
        restarts: how often there may be another one.
        trouble: how it has ended for good, and the last words in the log; "" while it has not, as far as a fork can know.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        descriptors: Sequence[int] = (),
        log: Path | None = None,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name, self._arguments, self._descriptors = name, list(arguments), tuple(descriptors)
        self._log, self._is_wanted = log, is_wanted
        self._pid = os.getpid()
        self.restarts = Restarts()
        self.trouble = ""
        self._changes = threading.RLock()  # garbage collection may close it in any thread, at any moment
        self._closed = False
        self.process = self._start()
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._keep, name=f"eventmill {name}", daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") if self._log else contextlib.nullcontext() as said:
            return subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=self._descriptors,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # they add up: threads would only take time to start
                start_new_session=True,  # Ctrl-C is for who started it, which ends it then
            )

    def close(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by this signal; closing twice is allowed."""
        if self.tell(number):
            self.wait()

    def tell(self, number: signal.Signals = signal.SIGTERM) -> bool:
        """Tell it to end, and start no other; whether it had not been told before."""
        if os.getpid() != self._pid:
            return False
        with self._changes:
            if self._closed:
                return False
            self._closed = True
        os.write(self._waker, b"\0")
        self.process.send_signal(number)
        return True

    def wait(self) -> None:
        """Wait for the end of one that was told to; it is killed if that takes long."""
        if threading.current_thread() is not self._thread:
            # Not for ever: garbage collection may call this while it holds a lock that the thread waits for.
            self._thread.join(_END_SECONDS)
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._woken)
        os.close(self._waker)

    # --- the thread that looks after it -----------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Start it again when it is killed, until it is closed or that is of no use."""
        while not self._closed:
            descriptor = os.pidfd_open(self.process.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.register(self._woken, select.POLLIN)
                if any(ready == self._woken for ready, _ in poll.poll()):
                    return
            finally:
                os.close(descriptor)
            with self._changes:
                if self._closed or not self._renewed():
                    return

    def _renewed(self) -> bool:
        """Start another process in the place of the one that has ended; false if there is to be no other."""
        code = code_of(self.process) or 0
        self.process.poll()  # takes note of its end
        if code > 0 or (code == 0 and not self._is_wanted()):
            self._give_up(f"ended with code {code}")
        elif not self.restarts.allowed(time.monotonic()):
            times = f"{self.restarts.most + 1} times within {self.restarts.seconds:g} s"
            self._give_up(f"was killed {times}, the last time by {_signal_name(code)}")
        else:
            process = self._start()
            if self._closed:  # by garbage collection, here and now
                process.kill()
                process.wait()
                return False
            self.process = process
            log.warning(
                "the %s process was killed (%s), for want of memory? Another one is started, and queries go on",
                self._name,
                _signal_name(code),
            )
            return True
        return False

    def _give_up(self, how: str) -> None:
        log.error("the %s process %s, and is not started again", self._name, how)
        words = last_lines(self._log, _LOG_LINES) if self._log else []
        self.trouble = "\n".join([f"{how}; the last words in the log:", *words])


def code_of(process: subprocess.Popen[bytes]) -> int | None:
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


def _signal_name(code: int) -> str:
    """What ended a process, of the code that it ended with."""
    if code == _UNKNOWN:
        return "it is not known how"
    return signal.Signals(-code).name if code < 0 else "an order to end"
