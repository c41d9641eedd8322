"""A session's line to its master: a thread that owns the socket, so that a busy notebook never stalls it.

A connection that breaks is made anew. The session is a new peer to the master then: it says hello, once a connection, and
until the master has taken it in (`Welcome`) everything else waits here. What was sent before and not answered fails, since
nobody knows whether it arrived. While the master is out of reach requests fail at once (`lost`); who waits for a result
waits on, since a master may be started again, until there is no hope (`given_up`).
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import zmq

from ..protocol import codec, messages
from ..protocol.codec import Buffer, Frames
from ..protocol.connection import Connection
from ..protocol.dial import Dial, hello_of
from ..protocol.errors import ConnectionFailed, EventmillError, LocalProtocolError
from ..protocol.messages import Message
from .connect import PATIENCE
from .outbox import Outbox
from .requests import BROKEN, Answer, Answered, OpenRequests, checked

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
ANSWERS = (
    messages.Accepted, messages.Lacking, messages.Refused, messages.Queries, messages.Workers, messages.Logs,
    messages.Cluster, messages.Done, messages.AccessList, messages.Pools, messages.Miniature, messages.PartIs,
    messages.Wished, messages.Datasets, messages.DatasetIs,
)  # fmt: skip
"""What answers a request."""
_TICK = 0.1
"""How often a session that waits for its first welcome looks whether there is somebody to give it."""
_CLOSE_SECONDS = 5.0


class Receiver(Protocol):
    """Who hears what the master says; all of it in the link's thread."""

    def _receive(self, message: Message, frames: list[Buffer]) -> None:
        """A message that is no answer to a request."""

    def _rejoined(self) -> None:
        """The connection broke and is there again: the master has to be told again what to send."""


class FirstAnswer:
    """The wait of a new session for its master's first answer: a welcome, or why there is none."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._problem = ""

    @property
    def came(self) -> bool:
        """Whether it is there."""
        return self._came.is_set()

    def take(self, problem: str) -> None:
        """It is there: a welcome if `problem` is empty."""
        self._problem = problem
        self._came.set()

    def wait(self, timeout: float, check: Callable[[], None], dial: Dial) -> None:
        """Wait for so many seconds at most. Raises what `check` raises, and `ConnectionFailed` when there is no welcome."""
        deadline = time.monotonic() + timeout
        while not self._came.wait(max(0.0, min(_TICK, deadline - time.monotonic()))):
            check()
            if time.monotonic() >= deadline:
                raise ConnectionFailed(dial.trouble())
        if self._problem:
            raise ConnectionFailed(self._problem)


class Link:
    """The line itself.

    Args:
        connection: the master to call.
        timeout: seconds until the master must have answered for the first time.
        receiver: who hears what comes. It is held weakly: this thread keeps no session alive that nobody refers to.
        check: called while the first welcome is awaited; raises when there will be none.
        file: where the connection is from; it tells where a master is that has moved.
        patience: seconds to wait for a master that is gone to be there again.

    Attributes:
        lost: why the master cannot be reached; empty while it can, as far as is known.
        given_up: it will not be there again, or has been away for too long.
        closed: nothing can be sent any more.

    Raises:
        ConnectionFailed: nobody answers, or the master refuses; the text says why.
    """

    def __init__(
        self,
        connection: Connection,
        timeout: float,
        receiver: Receiver,
        check: Callable[[], None],
        file: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._pid = os.getpid()
        self._patience = patience
        self._receiver = weakref.ref(receiver)
        self._requests = OpenRequests()
        self._outbox = Outbox()
        self._first_answer = FirstAnswer()
        self._heartbeat = 1.0
        self._silence = timeout
        self._hellos = 0
        self._greeted = 0
        self._joined = False
        self._away_since: float | None = None
        self.lost = ""
        self.given_up = False
        self.closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dial = Dial(self._context, connection, file)
        self._thread = threading.Thread(target=self._run, name="eventmill link", daemon=True)
        self._thread.start()
        try:
            self._first_answer.wait(timeout, check, self._dial)
        except BaseException:
            self.close()
            raise

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the line: the thread that speaks is not in it."""
        return os.getpid() != self._pid

    def check_not_forked(self) -> None:
        """Raise `EventmillError` in a fork, where nobody would send what is said."""
        if self.forked:
            raise EventmillError(
                f"this session belongs to process {self._pid}, and this is a fork of it (process {os.getpid()}): "
                "call eventmill.connect() in here for a session of its own"
            )

    @property
    def connection(self) -> Connection:
        """Where the master is, or was last, and the keys."""
        return self._dial.connection

    def send(self, message: Message, frames: Frames = ()) -> None:
        """Send a message from any thread.

        Raises:
            EventmillError: the session is closed.
            LocalProtocolError: the message is over the limits of the protocol.
        """
        self._put(None, message, frames)

    def request(
        self,
        make: Callable[[int], Message],
        expect: type[Answer],
        frames: Frames = (),
        on_answer: Callable[[Answer], None] | None = None,
    ) -> tuple[Answer, Sequence[Buffer]]:
        """Send a request and wait for its answer, and the frames that belong to it.

        Args:
            make: makes the message, given the number of the request.
            expect: the type of a good answer.
            frames: what belongs to the message.
            on_answer: called with a good answer in the link's thread, before anything that the master says after it.

        Raises:
            QueryFailed: the master refuses it; the text says why.
            ConnectionFailed: it does not answer, or is known to be out of reach; `Interrupted` when the connection broke.
            Lacks: it is a submission, whose attachments the master does not have.
        """
        inbox: queue.SimpleQueue[tuple[Message, Sequence[Buffer]]] = queue.SimpleQueue()

        def answered(message: Message, behind: Sequence[Buffer]) -> None:
            if on_answer is not None and isinstance(message, expect):
                on_answer(message)
            inbox.put((message, behind))

        number = self.ask(make, answered, frames)
        try:
            answer, behind = inbox.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise ConnectionFailed(self._dial.trouble()) from None
        finally:
            self._requests.withdraw(number)
        return checked(answer, expect), behind

    def ask(self, make: Callable[[int], Message], answered: Answered, frames: Frames = ()) -> int:
        """Send a request and return its number at once; `answered` is called with the answer, in the link's thread."""
        self.check_not_forked()
        if self.lost:
            raise ConnectionFailed(self.lost)
        number = self._requests.add(answered)
        try:
            self._put(number, make(number), frames)
        except BaseException:
            self._requests.withdraw(number)
            raise
        return number

    def _put(self, number: int | None, message: Message, frames: Frames) -> None:
        self.check_not_forked()
        own_thread = threading.current_thread() is self._thread
        if self.closed and not own_thread:
            raise EventmillError("this session is closed; connect() makes a new one")
        try:
            encoded = codec.encode(message, frames)
        except LocalProtocolError as error:
            raise LocalProtocolError(f"the master would refuse this: {error}") from None
        if not own_thread:
            self._outbox.put(number, encoded)
        elif self._joined:  # ahead of what waits: queries of before are attached to before new ones start
            self._dial.send(encoded)

    def close(self) -> None:
        """Say goodbye and end the thread; closing twice is allowed. In a fork nothing is closed."""
        if self.closed or self.forked:
            return
        self.closed = True
        self._outbox.put(None, codec.encode(messages.Bye()))
        self._outbox.end()
        if threading.current_thread() is not self._thread:
            # Not for ever: garbage collection may call this while it holds a lock that the thread waits for.
            self._thread.join(_CLOSE_SECONDS)

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self.closed = True
            self._give_up(f"the session's own thread failed, which is a bug of eventmill: {error!r}")
            raise
        finally:
            self._dial.close()
            self._outbox.close()
            self._context.term()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for item in (self._dial.socket, self._dial.monitor, self._outbox.woken):
            poller.register(item, zmq.POLLIN)
        spoken = time.monotonic()
        running = True
        while running:
            wait = spoken + self._heartbeat - time.monotonic()
            ready = dict(poller.poll(int(max(0.0, wait) * 1000) + 1))
            if self._dial.monitor in ready:
                self._take_events()
            if self._outbox.woken.fileno() in ready:
                self._outbox.clear_wake()
            if self._dial.socket in ready:
                self._receive()
            running = self._send_outgoing()
            now = time.monotonic()
            if now >= spoken + self._heartbeat:
                spoken = now
                if self._joined:
                    self._dial.send(codec.encode(messages.Heartbeat()))
            self._dial.look_again()
            if self._away_since is not None:
                self._miss(now - self._away_since)

    def _take_events(self) -> None:
        """Take in what has become of the connection, and say hello on a new one."""
        self._dial.take_events()
        self._receive()  # what a master has said before the connection ended: that it ends
        if self._dial.refused and not self._first_answer.came:
            self._first_answer.take(self._dial.refused)
        elif self._dial.refused:
            self._part()
            self._give_up(self._dial.refused)
        elif not self._dial.connected:
            self._part()
        elif self._greeted != self._dial.connections:
            self._greet()

    def _greet(self) -> None:
        """Say hello; nothing else is said before the answer."""
        self._part()
        self._greeted = self._dial.connections
        hello = hello_of("session", incarnation=self._hellos)
        self._hellos += 1
        self._dial.send(codec.encode(hello))

    def _part(self) -> None:
        """The master does not know us any more: what it has not answered, it never will."""
        if self._joined:
            self._joined = False
            self._away_since = time.monotonic()
            self._requests.answer_all(BROKEN)

    def _miss(self, seconds: float) -> None:
        """The master has been out of reach for so long."""
        if seconds > self._patience:
            self._away_since = None
            self._give_up(f"the connection is lost: {self._dial.trouble()}")
        elif seconds > self._silence and not self.lost:
            self._lose(f"the connection is lost: {self._dial.trouble()}")
            log.warning("%s; waiting for the master for %.0f s more", self.lost, self._patience - seconds)

    def _join(self, welcome: messages.Welcome) -> None:
        """The master has taken us in, for the first time or again."""
        self._heartbeat, self._silence = welcome.heartbeat, welcome.silence
        if self.lost:
            log.warning("the master at %s is there again", self.connection.address)
        self._joined, self._away_since, self.lost, self.given_up = True, None, "", False
        if not self._first_answer.came:
            self._first_answer.take("")
            return
        receiver = self._receiver()
        if receiver is not None:
            receiver._rejoined()

    def _send_outgoing(self) -> bool:
        """Send what waits, once the master has taken us in. False when it is time to end."""
        while (self._joined or self.closed) and not self._outbox.is_empty:
            frames = self._outbox.take(self._requests)
            if frames is None:
                return False
            if self._joined and frames:
                self._dial.send(frames)
        return True

    def _receive(self) -> None:
        for message, rest in self._dial.receive():
            self._deliver(message, rest)

    def _deliver(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case messages.Welcome():
                if message.incarnation == self._hellos - 1:  # else it answers an earlier hello
                    self._join(message)
            case messages.Unknown():
                if self._joined:  # else it is about what was said before our hello
                    self._greet()
            case messages.Heartbeat():
                pass
            case messages.Refused(request=0):  # what nobody waits for an answer to
                log.error("the master refuses what this session said: %s", message.reason)
            case _ if isinstance(message, ANSWERS):
                self._requests.answer(message.request, message, frames)
            case messages.Fault():
                self._take_fault(message)
            case messages.Bye():
                self._joined = False
                self._give_up(message.reason or "the master has ended")
            case _:
                receiver = self._receiver()
                if receiver is not None:
                    receiver._receive(message, frames)

    def _take_fault(self, fault: messages.Fault) -> None:
        """The master refuses our hello, or something that we said. It does not tell what: it may be any open request."""
        if not self._first_answer.came:
            self._first_answer.take(fault.reason)
        elif not self._joined:
            self._give_up(fault.reason)
        else:
            log.error("the master refuses what this session said: %s", fault.reason)
            self._requests.answer_all(fault)

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self._requests.answer_all(messages.Fault(reason))

    def _give_up(self, reason: str) -> None:
        self._lose(reason)
        self.given_up = True
