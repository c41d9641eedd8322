"""When a process has to end: what keeps loops from ending in the middle of a message, and from outliving their session."""

from __future__ import annotations

import os
import signal
import socket


class Lifeline:
    """A file descriptor that becomes readable when process `pid` has ended, for a poll loop.

    Args:
        pid: the process to end with; it must have been our parent when it gave us its number.

    Raises:
        ProcessLookupError: that process is gone already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        """To poll with the sockets of a loop: it becomes readable."""
        return self._descriptor

    def close(self) -> None:
        """Look no more."""
        os.close(self._descriptor)


class EndSignals:
    """A file descriptor that becomes readable when this process is told to end, by SIGTERM or Ctrl-C, for a poll loop.

    A loop that polls it ends between two messages. An exception, as Ctrl-C raises by default, could come between two
    frames of one, and what is said next would be taken for the rest of it. To be used in the main thread.
    """

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._told, self._teller = socket.socketpair()
        self._teller.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)
        self._handlers = [(number, signal.signal(number, lambda *_: None)) for number in self._NUMBERS]

    def fileno(self) -> int:
        """To poll with the sockets of a loop: it becomes readable."""
        return self._told.fileno()

    def take(self) -> signal.Signals:
        """Take in what has come, once the descriptor is readable: it becomes readable again when the next signal comes."""
        return signal.Signals(self._told.recv(4096)[0])

    def close(self) -> None:
        """Let the signals do what they did before."""
        for number, handler in self._handlers:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._told.close()
        self._teller.close()
