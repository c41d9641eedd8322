"""When a process has to end: what keeps loops from ending in the middle of a message, and from outliving their session."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_held: list[int] = []
"""The two ends of a pipe of which nobody else has the second: it ends with this process, or when another program takes its
place (`exec`)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that others are to end with, as it stands on their command lines.

    Args:
        pid: its number.
        descriptor: one that they are given, which ends when the process ends or becomes another program, if there is one.

    Example:
        >>> str(Owner(4711, 5)), Owner.parse("4711:5"), Owner.parse("4711")
        ('4711:5', Owner(pid=4711, descriptor=5), Owner(pid=4711, descriptor=None))
    """

    pid: int
    descriptor: int | None = None

    @classmethod
    def this_process(cls) -> Owner:
        """Of processes that this one starts; they have to be passed the descriptor."""
        if not _held:
            _held.extend(os.pipe())
        return cls(os.getpid(), _held[0])

    @classmethod
    def parse(cls, text: str) -> Owner:
        """From a command line. Raises ValueError if it is none."""
        pid, _, descriptor = text.partition(":")
        return cls(int(pid), int(descriptor) if descriptor else None)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process has to be passed that is to end with it."""
        return () if self.descriptor is None else (self.descriptor,)

    def __str__(self) -> str:
        return ":".join(map(str, (self.pid, *self.descriptors)))


def _let_go_in_fork() -> None:
    """A fork of this process is no part of it, and goes on when it has ended."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go_in_fork)


class Lifeline:
    """A file descriptor that becomes readable when another process has ended, or is another program, for a poll loop.

    Who is stopped (SIGSTOP) when it ends is told to go on by the kernel, to see it.

    Args:
        owner: the process to end with; it must have been our parent when it told us.

    Raises:
        ProcessLookupError: that process is gone already.
    """

    def __init__(self, owner: Owner) -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)
        self._watched = [os.pidfd_open(owner.pid), *owner.descriptors]
        self._epoll = select.epoll()
        for descriptor in self._watched:
            self._epoll.register(descriptor, select.EPOLLIN)

    def fileno(self) -> int:
        """To poll with the sockets of a loop: it becomes readable."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Look no more."""
        self._epoll.close()
        for descriptor in self._watched:
            os.close(descriptor)


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
