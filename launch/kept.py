"""A process beside another one, which is started again when it is killed, and ends with the one that started it."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from ..system.restarts import Restarts
from .local import signal_name

log = logging.getLogger(__name__)

_END_SECONDS = 5.0


class Kept:
    """A module that runs as a process of its own, until it is closed or ends by itself.

    Args:
        name: what it is called in the log.
        arguments: the module, and its arguments: no secrets, since everybody can read a command line.
        descriptors: of this process that it gets.
    """

    def __init__(self, name: str, arguments: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        self._name, self._arguments, self._descriptors = name, list(arguments), tuple(descriptors)
        self._restarts = Restarts()
        self._changes = threading.Lock()
        self._closed = False
        self.process = self._start()
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._keep, name=f"eventmill {name}", daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *self._arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=self._descriptors,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for who started it, which ends it then
        )

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, or was killed too often: it is not started again."""
        return not (self._closed or self._thread.is_alive())

    def close(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by this signal; closing twice is allowed."""
        with self._changes:
            if self._closed:
                return
            self._closed = True
        os.write(self._waker, b"\0")
        self._thread.join()
        self.process.send_signal(number)
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._woken)
        os.close(self._waker)

    def _keep(self) -> None:
        """Start it again when it is killed, until it is closed or that is of no use."""
        while True:
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
                if self._closed or not self._renewed(self.process.wait()):
                    return

    def _renewed(self, code: int) -> bool:
        if code >= 0:
            log.error("the %s process ended with code %d, and is not started again", self._name, code)
        elif not self._restarts.allowed(time.monotonic()):
            log.error("the %s process was killed too often, the last time by %s", self._name, signal_name(code))
        else:
            log.warning("the %s process was killed (%s): another one is started", self._name, signal_name(code))
            self.process = self._start()
            return True
        return False
