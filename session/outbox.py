"""What a session's threads have to say, on its way to the thread that owns the socket."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Container

from ..protocol.codec import Buffer


class Outbox:
    """Messages that wait to be sent, in order, with something that a poll sees when there are new ones.

    Any thread may put into it; one thread takes.

    Attributes:
        woken: readable when something was put in.

    Example:
        >>> outbox = Outbox()
        >>> outbox.put(None, [b"hello"])
        >>> outbox.end()
        >>> outbox.take({}), outbox.is_empty, outbox.take({}), outbox.is_empty
        ([b'hello'], False, None, True)
        >>> outbox.close()
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[int | None, list[Buffer]] | None] = queue.SimpleQueue()
        self._waker, self.woken = socket.socketpair()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return self._waiting.empty()

    def put(self, number: int | None, frames: list[Buffer]) -> None:
        """Add a message. One with the number of a request is only sent while somebody waits for the answer."""
        self._waiting.put((number, frames))
        self._wake()

    def end(self) -> None:
        """Nothing is sent after what was put in so far."""
        self._waiting.put(None)
        self._wake()

    def take(self, open_requests: Container[int]) -> list[Buffer] | None:
        """The next message, which there must be; no frames if nobody waits for its answer, None at the end."""
        item = self._waiting.get()
        if item is None:
            return None
        number, frames = item
        return frames if number is None or number in open_requests else []

    def clear_wake(self) -> None:
        """`woken` is not readable until something new is put in."""
        self.woken.recv(4096)

    def close(self) -> None:
        """Close the sockets."""
        self._waker.close()
        self.woken.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the thread that takes has ended meanwhile
            self._waker.send(b"\0")
