"""A session's line to its master, with a master that ends at the worst moment."""

from __future__ import annotations

import queue
import threading

import pytest
import zmq
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import Connection
from eventmill.session.link import Link
from processes import SECONDS, eventually


class Nobody:
    """Hears what comes and does nothing about it."""

    def _receive(self, message: messages.Message, frames: object) -> None: ...

    def _rejoined(self) -> None: ...

    def _lost(self, reason: str) -> None: ...


class Master:
    """Says what it is told to, to one session."""

    def __init__(self) -> None:
        server, client = zmq.curve_keypair(), zmq.curve_keypair()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = server
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.connection = Connection(
            f"tcp://127.0.0.1:{port}", "session", server[0].decode(), client[0].decode(), client[1].decode()
        )
        self._session = b""

    def hear(self) -> messages.Message:
        while True:
            assert self._socket.poll(SECONDS * 1000)
            self._session, *frames = self._socket.recv_multipart()
            message, _ = codec.decode(frames)
            if not isinstance(message, messages.Heartbeat):
                return message

    def say(self, message: messages.Message) -> None:
        self._socket.send_multipart([self._session, *codec.encode(message)])

    def end(self) -> None:
        self._socket.close(linger=1000)
        self._context.term()


def test_an_answer_counts_that_came_before_the_connection_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thing that a master says before it ends: that it does."""
    master, receiver, answers = Master(), Nobody(), queue.SimpleQueue[messages.Message]()
    reached, held = threading.Event(), threading.Event()

    def welcome() -> None:
        assert isinstance(master.hear(), messages.Hello)
        master.say(messages.Welcome("session-1", "1", 1.0, 5.0, 0))

    def hold() -> None:
        reached.set()
        held.wait(SECONDS)

    joins = threading.Thread(target=welcome)
    joins.start()
    link = Link(master.connection, SECONDS, receiver, lambda: None)
    joins.join()
    try:
        link.ask(messages.Shutdown, lambda message, *_: answers.put(message))
        asked = master.hear()
        assert isinstance(asked, messages.Shutdown)
        monkeypatch.setattr(link._dial, "look_again", hold)  # the end of a turn: what comes meanwhile is there at once
        assert reached.wait(SECONDS)
        master.say(messages.Done(asked.request))
        master.end()
        eventually(lambda: bool(link._dial.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN), "the answer is there")
        eventually(lambda: bool(link._dial.monitor.poll(0)), "the end of the connection is there")
        held.set()
        assert isinstance(answers.get(timeout=SECONDS), messages.Done)
    finally:
        held.set()
        link.close()
