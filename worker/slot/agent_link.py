"""A slot's line to its agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import zmq

from ...protocol import codec
from ...protocol.bundles import Bundle
from ...protocol.codec import Buffer
from ...protocol.messages import Message


class AgentLink:
    """Messages to and from the agent.

    Args:
        socket: connected to the agent.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._bundle = Bundle()

    def add(self, message: Message, frames: codec.Frames = ()) -> None:
        """Have something said by `flush`, or ahead of what is sent next, and as one with it if it is small. Until then no
        code of the user's may run."""
        for together in self._bundle.put(codec.encode(message, frames)):
            self._socket.send_multipart(together, copy=False)

    def send(self, message: Message, frames: codec.Frames = ()) -> None:
        """Say something; waits while the agent does not listen.

        Raises:
            LocalProtocolError: the message is over the limits of the protocol.
        """
        self.add(message, frames)
        self.flush()

    def flush(self) -> None:
        """Say what was added."""
        if together := self._bundle.taken():
            self._socket.send_multipart(together, copy=False)

    def next(self) -> tuple[Message, list[Buffer]]:
        """The next message, which is waited for, with its frames."""
        return codec.decode(self._socket.recv_multipart())

    def heard(self, wait: bool) -> Iterator[tuple[Message, list[Buffer]]]:
        """All messages that are there, with their frames; with `wait`, at least one."""
        while True:
            try:
                frames = self._socket.recv_multipart(0 if wait else zmq.NOBLOCK)
            except zmq.Again:
                return
            wait = False
            yield codec.decode(frames)

    def wait_to_be_ended(self) -> NoReturn:
        """Hear what the agent says until it has this process ended, and answer nothing."""
        while True:
            self._socket.recv_multipart()
