"""Calling a master: the encrypted socket of a session or worker, and what goes wrong while it connects, in words."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import zmq

from . import codec
from .bundles import Bundle
from .connection import Connection, load_connection
from .errors import ConnectionFailed, RemoteProtocolError
from .messages import Hello, Message, Role
from .pieces import LARGEST_ON_WIRE, cut
from .version import __version__

log = logging.getLogger(__name__)

PING_SECONDS, PONG_SECONDS = 5.0, 10.0
"""How often a quiet connection is tried, and after how long without an answer it is given up and made anew.

Without it, a computer that slept or a firewall that forgot would leave a peer on a dead connection for a quarter of an hour.
The master's socket answers by itself, however busy the master is.
"""
HANDSHAKE_SECONDS = 60.0
"""After how long a connection whose ends have not shown their keys is ended, at either end. When ten thousand come at once,
the last one is let in after 20 s on two cores that do nothing else; if those that wait would begin again, nobody were."""
LOOK_SECONDS = 1.0
"""How often a connection file is read again while the master is out of reach."""
COMPLAINT_SECONDS = 5.0
"""Seconds without the master after which a worker says so."""

_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


def hello_of(role: Role, name: str = "", **more: Any) -> Hello:
    """What a peer in this process says first.

    Args:
        role: of the peer.
        name: what the master is to call it; this host's by default.
        more: other fields of `Hello`.

    Example:
        >>> hello_of("worker", "node1", slots=2).slots
        2
    """
    host = platform.node()
    python = ".".join(platform.python_version_tuple()[:2])
    return Hello(role, name or host, version=__version__, python=python, host=host, pid=os.getpid(), **more)


def receive_event(monitor: zmq.Socket[bytes]) -> tuple[int, int]:
    """Which event a socket's monitor tells of next, and its value, such as a descriptor.

    As zmq.utils.monitor has it, which would import asyncio for this, in every process.
    """
    event, value = struct.unpack("=hi", monitor.recv_multipart()[0])
    return event, value


class Dial:
    """A DEALER socket to a master; poll both `socket` and `monitor`, and receive from `socket`.

    Args:
        context: the context to make sockets in.
        connection: address and keys.
        file: where they are from. A master that was moved writes its new address into it; it is read again while there is no
            connection, and what it says then is used.
        through: address of a relay or tunnel to call in the place of the master's.

    Attributes:
        refused: set, in words, once it is certain that trying on is of no use: the master does not know our key, or what
            listens there is no master.
        connected: the encrypted connection stands.
        connections: how often it has been made; on each of them we are a new peer to the master.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        connection: Connection,
        file: Path | None = None,
        through: str = "",
    ) -> None:
        self._file, self._through = file, through
        self.connection = self._called(connection)
        self._next_look = 0.0
        self.refused = ""
        self.connected = False
        self.connections = 0
        self._met: Literal["nobody", "somebody", "a stranger"] = "nobody"
        self._shaking_hands = False
        self._joiner, self._bundle = codec.joiner(), Bundle()
        dealer = self.socket = context.socket(zmq.DEALER)
        dealer.set(zmq.LINGER, 1000)
        dealer.set(zmq.SNDHWM, 0)
        dealer.set(zmq.RCVHWM, 0)
        dealer.set(zmq.MAXMSGSIZE, LARGEST_ON_WIRE)
        dealer.set(zmq.RECONNECT_IVL, 50)
        dealer.set(zmq.RECONNECT_IVL_MAX, 2000)
        dealer.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_SECONDS * 1000))
        dealer.set(zmq.HEARTBEAT_IVL, int(PING_SECONDS * 1000))
        dealer.set(zmq.HEARTBEAT_TIMEOUT, int(PONG_SECONDS * 1000))
        self.monitor = dealer.get_monitor_socket(_EVENTS)
        self._call()

    def _call(self) -> None:
        self.socket.set(zmq.CURVE_SERVERKEY, self.connection.server_key.encode())
        self.socket.set(zmq.CURVE_PUBLICKEY, self.connection.public_key.encode())
        self.socket.set(zmq.CURVE_SECRETKEY, self.connection.secret_key.encode())
        self.socket.connect(self.connection.address)

    def _called(self, connection: Connection) -> Connection:
        """With the address that is called."""
        return msgspec.structs.replace(connection, address=self._through) if self._through else connection

    def look_again(self) -> None:
        """To be called at least every second: while there is no connection, see whether the master is elsewhere by now."""
        now = time.monotonic()
        if self._file is None or self.connected or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        try:
            found = self._called(load_connection(self._file))
        except ConnectionFailed as error:
            log.debug("%s", error)  # it may be there again in a moment
            return
        if found == self.connection:
            return
        log.warning("the connection file %s has changed: calling the master at %s", self._file, found.address)
        with contextlib.suppress(zmq.ZMQError):  # libzmq may have given that address up by itself
            self.socket.disconnect(self.connection.address)
        self.connection, self.refused, self._met, self._shaking_hands = found, "", "nobody", False
        self._call()

    def take_events(self) -> None:
        """Take in what the socket's monitor has to say."""
        while self.monitor.poll(0):
            event, _ = receive_event(self.monitor)
            # libzmq never tries again after a protocol error. One before the handshake shows as the lack of an event.
            nonsense = event == zmq.EVENT_DISCONNECTED and self._shaking_hands
            self._shaking_hands = event == zmq.EVENT_CONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connected, self._met = True, "nobody"
                self.connections += 1
            elif event == zmq.EVENT_CONNECTED:
                if self._met != "a stranger":  # who is called again and again stays that
                    self._met = "somebody"
            elif event == zmq.EVENT_CLOSED:
                self._met = "nobody"
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.refused = (
                    f"the master at {self.connection.address} does not know this key: get its current "
                    "connection file (a master that was set up again has new keys)"
                )
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL or nonsense:
                self.refused = f"what listens at {self.connection.address} is no eventmill master: is the port right?"
            elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._met = "a stranger"
            elif event == zmq.EVENT_DISCONNECTED:
                self.connected = False
        if self.refused:
            self.look_again()

    def trouble(self) -> str:
        """Why there is no connection yet, as far as it can be known."""
        if self.refused:
            return self.refused
        address = self.connection.address
        if self.connected:
            return f"the master at {address} accepted the connection but does not answer"
        if self._met == "a stranger":
            return (
                f"something listens at {address}, but it is not the master of this connection file: "
                "it has another key, or is no eventmill master, or has no room for another connection, or a "
                "tunnel on the way has nothing at its other end"
            )
        if self._met == "somebody":
            return (
                f"something listens at {address}, but it does not speak as an eventmill master does: is the port right?"
            )
        host = urlsplit(address).hostname or ""
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return f"this machine knows no host {host!r}: start the master with a --host that is known everywhere"
        return f"no master answers at {address}: is it running, and does a firewall let its port through?"

    def send(self, frames: codec.Frames) -> None:
        """Queue a message, behind those that were added. It waits for the next connection if there is none; once `refused`,
        it is dropped."""
        self.flush()
        self._queue(frames)

    def add(self, frames: codec.Frames) -> None:
        """Have a message go out by the next `flush`, together with others if it is small."""
        for together in self._bundle.put(frames):
            self._queue(together)

    def flush(self) -> None:
        """Queue the messages that were added."""
        if together := self._bundle.taken():
            self._queue(together)

    def _queue(self, frames: codec.Frames) -> None:
        try:
            for parcel in cut(frames):
                self.socket.send_multipart(parcel, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            # The queue has no limit: this is how libzmq says that it has given up the address, and `refused` tells why.
            log.debug("not sent: there is no way to %s any more", self.connection.address)

    def receive(self) -> Iterator[tuple[Message, list[codec.Buffer]]]:
        """The messages that have come, with their frames; what is no message is logged and passed over."""
        while True:
            try:
                came = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                whole = self._joiner.add([frame.buffer for frame in came])
                if whole is None:
                    continue
                said = codec.decode_all(whole)
            except RemoteProtocolError as error:
                log.warning("the master sent nonsense: %s", error)
            else:
                yield from said

    def close(self) -> None:
        """Close the sockets; what is queued is sent first, where there is a connection."""
        self.flush()
        if not self.connected:
            self.socket.set(zmq.LINGER, 0)
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close()
