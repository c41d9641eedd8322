"""A session's line to its master: a thread that owns the socket, so that a busy notebook never stalls it."""

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
Receiver = Callable[[Message, list[Buffer]], None]
ANSWER_SECONDS = 30.0


class Link:
    """The line itself.

    Args:
        connection: the master to call.
        receiver: called in the link's thread with every message that is no answer to a request.
        patience: seconds until the master must have answered.

    Raises:
        ConnectionFailed: nobody answers, or the master refuses; the text says why.
    """

    def __init__(self, connection: Connection, receiver: Receiver, patience: float) -> None:
        self.connection = connection
        self._receiver = receiver
        self._requests = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[Message]] = {}
        self._outgoing: queue.SimpleQueue[list[Buffer] | None] = queue.SimpleQueue()
        self._waker, self._woken = socket.socketpair()
        self._welcome = threading.Event()
        self._problem = ""
        self._heartbeat = 1.0
        self.closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dial = Dial(self._context, connection)
        self._thread = threading.Thread(target=self._run, name="eventmill link", daemon=True)
        hello = messages.Hello(
            role="session",
            name=platform.node(),
            version=__version__,
            python=".".join(platform.python_version_tuple()[:2]),
            host=platform.node(),
            pid=os.getpid(),
        )
        self._outgoing.put(codec.encode(hello))
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
        number = next(self._requests)
        inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answers[number] = inbox
        try:
            self.send(make(number), frames)
            answer = inbox.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise ConnectionFailed(f"the master at {self.connection.address} does not answer") from None
        finally:
            del self._answers[number]
        if isinstance(answer, messages.Refused):
            raise QueryFailed(answer.reason)
        if isinstance(answer, messages.Fault):
            raise ConnectionFailed(answer.reason)
        if not isinstance(answer, expect):
            raise RemoteProtocolError(f"the master answered {type(answer).__name__}, not {expect.__name__}")
        return answer

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
                self._dial.take_events()
                if self._dial.refused and not self._welcome.is_set():
                    self._problem = self._dial.refused
                    self._welcome.set()
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
        self._dial.close()
        self._waker.close()
        self._woken.close()
        self._context.term()

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
                self._heartbeat = message.heartbeat
                self._welcome.set()
            case messages.Heartbeat():
                pass
            case messages.Accepted() | messages.Refused() | messages.Queries() | messages.Workers():
                inbox = self._answers.get(message.request)
                if inbox is not None:
                    inbox.put(message)
            case messages.Fault() if not self._welcome.is_set():
                self._problem = message.reason
                self._welcome.set()
            case messages.Fault():
                log.error("the master says: %s", message.reason)
                for inbox in list(self._answers.values()):
                    inbox.put(message)
            case _:
                self._receiver(message, frames)
