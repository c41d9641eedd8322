"""The master's port: its socket as it is set up, and what becomes of the connections to it."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator

import zmq

from ..protocol.connection import MasterKeys
from ..protocol.dial import HANDSHAKE_SECONDS, receive_event
from ..protocol.pieces import LARGEST_ON_WIRE
from ..system.descriptors import allow_descriptors
from .authenticator import DOMAIN
from .reception import Caller, Reception, room_of

log = logging.getLogger(__name__)

_NOW = int(zmq.NOBLOCK)
_QUIET_SECONDS = 60.0
"""Between two complaints about a lack of room."""


class Door:
    """The socket that all peers of a master call; poll `router` and `monitor`.

    Args:
        context: to make it in.
        keys: of the master.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: MasterKeys) -> None:
        self._reception = Reception()
        self._complained = -_QUIET_SECONDS
        self.room = room_of(allow_descriptors())
        router = self.router = context.socket(zmq.ROUTER)
        router.set(zmq.ROUTER_MANDATORY, 1)
        router.set(zmq.LINGER, 1000)
        router.set(zmq.SNDHWM, 0)
        router.set(zmq.RCVHWM, 0)
        router.set(zmq.BACKLOG, 4096)
        router.set(zmq.MAXMSGSIZE, LARGEST_ON_WIRE)
        router.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_SECONDS * 1000))
        router.set(zmq.CURVE_SERVER, 1)
        router.set(zmq.CURVE_PUBLICKEY, keys.public_key.encode())
        router.set(zmq.CURVE_SECRETKEY, keys.secret_key.encode())
        router.set(zmq.ZAP_DOMAIN, DOMAIN.encode())
        self.monitor = router.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    @property
    def connections(self) -> int:
        """How many there are."""
        return self._reception.count

    def take(self) -> list[zmq.Frame]:
        """What has come next: who it is from, and its frames. Raises `zmq.Again` when there is nothing.

        As `recv_multipart`, which asks the socket after each frame whether there are more, as the frame knows.
        """
        frames = [frame := self.router.recv(_NOW, copy=False)]
        while frame.more:
            frames.append(frame := self.router.recv(_NOW, copy=False))
        return frames

    def heard(self, descriptor: int, peer: bytes) -> None:
        """A peer has said something on this connection."""
        self._reception.heard(descriptor, peer)

    def take_events(self) -> Iterator[bytes]:
        """Take in who has called and who is gone: the peers that we last heard on a connection that has ended."""
        called = False
        while self.monitor.poll(0):
            event, descriptor = receive_event(self.monitor)
            if event == zmq.EVENT_DISCONNECTED:
                if (peer := self._reception.ended(descriptor)) is not None:
                    yield peer
            elif (address := _peer_of(descriptor)) is not None:
                called = True
                self._reception.accepted(descriptor, address, time.monotonic())
        if called:
            self._make_room()

    def _make_room(self) -> None:
        """End connections of strangers, where there are too many of them."""
        descriptors, now = allow_descriptors(), time.monotonic()
        chosen = self._reception.too_many(descriptors, now)
        for caller in chosen:
            _end(caller)
        if chosen and now - self._complained >= _QUIET_SECONDS:
            self._complained = now
            log.warning(
                "there are %d connections, the most of those that have not shown a key from %s: %d are ended. This process "
                "may have %d open files: more connections need more of them (ulimit -Hn, or LimitNOFILE= of a systemd unit)",
                self._reception.count, chosen[0].peer[0], len(chosen), descriptors,
            )  # fmt: skip

    def close(self) -> None:
        """Close it; what was sent is on its way for another second."""
        self.router.disable_monitor()
        self.monitor.close(0)
        self.router.close()


def _peer_of(descriptor: int) -> tuple[str, int] | None:
    """Who is at the other end of a connection that libzmq has; None if it is no more, and its descriptor perhaps something
    else's of this process, such as a socket without a port."""
    with contextlib.suppress(OSError), _borrowed(descriptor) as connection:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            host, port, *_ = connection.getpeername()
            return host, port
    return None


def _end(caller: Caller) -> None:
    """End a connection, so that libzmq closes it; unless its descriptor is another one's by now."""
    with contextlib.suppress(OSError), _borrowed(caller.descriptor) as connection:
        if connection.getpeername()[:2] == caller.peer:
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A descriptor that is libzmq's to close."""
    connection = socket.socket(fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()
