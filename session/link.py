"""A session's line to its master: a thread that owns the socket, so that a busy notebook never stalls it.

A connection that breaks is made anew, and the session says hello again. It is a new peer to the master then, which has to
be told again what to send (`rejoined`). Whoever waits meanwhile hears so when it takes long (`lost`).
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import zmq

from ..protocol import codec, messages
from ..protocol.codec import Buffer, Frames
from ..protocol.connection import Connection
from ..protocol.dial import Dial
from ..protocol.errors import ConnectionFailed, EventmillError, QueryFailed, RemoteProtocolError
from ..protocol.messages import Message
from ..protocol.version import __version__

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Message)
ANSWER_SECONDS = 30.0


class Link:
    """The line itself.

    Args:
        connection: the master to call.
        patience: seconds until the master must have answered.
        receive: called in the link's thread with every message that is no answer to a request.
        rejoined: called in the link's thread when the master has taken us in again.
        lost: called in the link's thread, with the reason, when the master cannot be reached (any more, or for now).

    Raises:
        ConnectionFailed: nobody answers, or the master refuses; the text says why.
    """

    def __init__(
        self,
        connection: Connection,
        patience: float,
        receive: Callable[[Message, list[Buffer]], None],
        rejoined: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self._on_message, self._on_rejoined, self._on_lost = receive, rejoined, lost
        self._requests = itertools.count(1)
        self._answers: dict[int, Callable[[Message], None]] = {}
        self._outgoing: queue.SimpleQueue[list[Buffer] | None] = queue.SimpleQueue()
        self._waker, self._woken = socket.socketpair()
        self._welcome = threading.Event()
        self._problem = ""
        self._heartbeat = 1.0
        self._silence = patience
        self._broken_since: float | None = None
        self.closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dial = Dial(self._context, connection)
        self._thread = threading.Thread(target=self._run, name="eventmill link", daemon=True)
        self._hello = messages.Hello(
            role="session",
            name=platform.node(),
            version=__version__,
            python=".".join(platform.python_version_tuple()[:2]),
            host=platform.node(),
            pid=os.getpid(),
        )
        self._outgoing.put(codec.encode(self._hello))
        self._thread.start()
        try:
            answered = self._welcome.wait(patience)
        except BaseException:
            self.close()
            raise
        if self._problem or not answered:
            problem = self._problem or self._dial.trouble()
            self.close()
            raise ConnectionFailed(problem)

    def send(self, message: Message, frames: Frames = ()) -> None:
        """Send a message from any thread."""
        if self.closed:
            raise EventmillError("this session is closed; connect() makes a new one")
        self._outgoing.put(codec.encode(message, frames))
        self._waker.send(b"\0")

    def request(self, make: Callable[[int], Message], expect: type[Answer], frames: Frames = ()) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            QueryFailed: the master refuses it; the text says why.
            ConnectionFailed: it does not answer.
        """
        inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        number = self.ask(make, inbox.put, frames)
        try:
            answer = inbox.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise ConnectionFailed(self._dial.trouble()) from None
        finally:
            self._answers.pop(number, None)
        if isinstance(answer, messages.Refused):
            raise QueryFailed(answer.reason)
        if isinstance(answer, messages.Fault):
            raise ConnectionFailed(answer.reason)
        if not isinstance(answer, expect):
            raise RemoteProtocolError(f"the master answered {type(answer).__name__}, not {expect.__name__}")
        return answer

    def ask(self, make: Callable[[int], Message], answered: Callable[[Message], None], frames: Frames = ()) -> int:
        """Send a request and return its number at once; `answered` is called with the answer, in the link's thread."""
        number = next(self._requests)
        message = make(number)
        self._answers[number] = answered
        try:
            self.send(message, frames)
        except BaseException:
            del self._answers[number]
            raise
        return number

    def close(self) -> None:
        """Say goodbye and end the thread; closing twice is allowed."""
        if self.closed:
            return
        self._outgoing.put(codec.encode(messages.Bye()))
        self.closed = True
        self._outgoing.put(None)
        self._waker.send(b"\0")
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        for item in (self._dial.socket, self._dial.monitor, self._woken):
            poller.register(item, zmq.POLLIN)
        spoken = time.monotonic()
        running = True
        while running:
            wait = spoken + self._heartbeat - time.monotonic()
            ready = dict(poller.poll(int(max(0.0, wait) * 1000) + 1))
            if self._dial.monitor in ready:
                self._take_events()
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            running = self._send_outgoing()
            if self._dial.socket in ready:
                self._receive()
            now = time.monotonic()
            if now >= spoken + self._heartbeat:
                spoken = now
                if self._welcome.is_set():
                    self._dial.socket.send_multipart(codec.encode(messages.Heartbeat()))
            if self._broken_since is not None and now > self._broken_since + self._silence:
                self._broken_since = None
                self._lose(f"the connection is lost: {self._dial.trouble()}")
        self._dial.close()
        self._waker.close()
        self._woken.close()
        self._context.term()

    def _take_events(self) -> None:
        """Take in what has become of the connection."""
        was_connected = self._dial.connected
        self._dial.take_events()
        if not self._welcome.is_set():
            if self._dial.refused:
                self._problem = self._dial.refused
                self._welcome.set()
        elif self._dial.refused:
            self._lose(self._dial.refused)
        elif self._dial.connected:
            self._broken_since = None
        elif was_connected:
            self._broken_since = time.monotonic()

    def _send_outgoing(self) -> bool:
        while not self._outgoing.empty():
            frames = self._outgoing.get()
            if frames is None:
                return False
            self._dial.socket.send_multipart(frames, copy=False)
        return True

    def _receive(self) -> None:
        while True:
            try:
                frames = self._dial.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                message, rest = codec.decode([frame.buffer for frame in frames])
            except RemoteProtocolError as error:
                log.warning("the master sent nonsense: %s", error)
                continue
            self._deliver(message, rest)

    def _deliver(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case messages.Welcome():
                self._heartbeat, self._silence = message.heartbeat, message.silence
                if self._welcome.is_set():
                    self._on_rejoined()
                self._welcome.set()
            case messages.Unknown():
                self._outgoing.put(codec.encode(self._hello))
                self._waker.send(b"\0")
            case messages.Heartbeat():
                pass
            case messages.Accepted() | messages.Refused() | messages.Queries() | messages.Workers():
                answered = self._answers.pop(message.request, None)
                if answered is not None:
                    answered(message)
            case messages.Fault() if not self._welcome.is_set():
                self._problem = message.reason
                self._welcome.set()
            case messages.Fault():
                log.error("the master says: %s", message.reason)
                self._answer_all(message)
                if message.fatal:
                    self._lose(message.reason)
            case messages.Bye():
                self._lose("the master has ended")
            case _:
                self._on_message(message, frames)

    def _lose(self, reason: str) -> None:
        self._answer_all(messages.Fault(reason))
        self._on_lost(reason)

    def _answer_all(self, message: messages.Fault) -> None:
        """No request of before will have another answer."""
        for number in list(self._answers):
            answered = self._answers.pop(number, None)
            if answered is not None:
                answered(message)
