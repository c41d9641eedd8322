"""Sessions that are sockets, and one that asks a master for little, again and again.

It does so in a process of its own, in which nothing else keeps it from taking an answer when it comes.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import deque
from pathlib import Path
from typing import TypeVar

import zmq
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import load_connection
from eventmill.protocol.dial import hello_of
from eventmill.protocol.messages import Message
from eventmill.protocol.pieces import cut

PATIENCE = 180.0
PAUSE = 0.002
"""Seconds from an answer to the next question."""
M = TypeVar("M", bound=Message)


class Client:
    """A session, as bare as can be.

    Args:
        file: the connection file of sessions.
    """

    def __init__(self, file: Path) -> None:
        connection = load_connection(file)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._joiner = codec.joiner()
        self._heard: deque[Message] = deque()
        socket = self.socket = self.context.socket(zmq.DEALER)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.CURVE_SERVERKEY, connection.server_key.encode())
        socket.set(zmq.CURVE_PUBLICKEY, connection.public_key.encode())
        socket.set(zmq.CURVE_SECRETKEY, connection.secret_key.encode())
        socket.connect(connection.address)
        self.say(hello_of("session", "bench"))
        self.hear(messages.Welcome)

    def say(self, message: Message, frames: codec.Frames = ()) -> None:
        for parcel in cut(codec.encode(message, frames)):
            self.socket.send_multipart(parcel)

    def hear(self, kind: type[M], seconds: float = PATIENCE) -> M:
        """The next message of a kind; what comes before it is passed over."""
        deadline = time.monotonic() + seconds
        while self._heard or self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            if not self._heard:
                if (whole := self._joiner.add(self.socket.recv_multipart())) is not None:
                    self._heard.extend(message for message, _ in codec.decode_all(whole))
                continue
            message = self._heard.popleft()
            if isinstance(message, messages.Snapshot):
                self.say(messages.Seen(message.query))
            if isinstance(message, kind):
                return message
            if isinstance(message, messages.Refused | messages.Fault):
                raise SystemExit(f"the master refuses: {message.reason}")
        raise SystemExit(f"no {kind.__name__} within {seconds:g} s")

    def pass_over(self) -> None:
        """Forget what has come."""
        self._heard.clear()
        while self.socket.poll(0):
            self._joiner.add(self.socket.recv_multipart())

    def submit(self, files: bytes, owner: str = "bench") -> str:
        self.say(messages.Submit(1, "bench", "kernel", "bench", owner), [b"", files])
        return self.hear(messages.Accepted).query

    def close(self) -> None:
        self.socket.close()
        self.context.term()


def ask_for_ever(file: Path) -> None:
    """Ask until our input is closed; say then how long each answer took, in seconds."""
    client = Client(file)
    answers: list[float] = []
    while not select.select([0], [], [], PAUSE)[0]:
        began = time.monotonic()
        client.say(messages.AskDatasets(1))
        client.hear(messages.Datasets)
        answers.append(time.monotonic() - began)
        if len(answers) == 1:
            print(flush=True)
    client.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    ask_for_ever(Path(sys.argv[1]))
