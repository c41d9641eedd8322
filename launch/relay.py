"""A relay: one port on a machine that sees both sides, for workers whose own machine has no way to the master.

Compute nodes of many sites reach nothing outside, but they reach a login node, and this one reaches the master. A relay
there passes connections on as they are: it has no keys, and what goes through is encrypted from end to end. It does not even
see that: the kernel moves the bytes from socket to socket (splice), for a third of the CPU time that copying them takes.

What happens at one end happens at the other: an end that is closed (also in one direction only) is closed, one that breaks
is broken, and an end that takes nothing more holds the other one up. While the master is out of reach, connections are
broken as soon as that is known, so that peers know it as if they had called the master themselves, and come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..protocol.connection import parse_address
from ..protocol.errors import ConnectionFailed
from ..system.descriptors import allow_descriptors
from ..system.lifeline import EndSignals

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
"""How long the master may take to accept a connection."""
SILENCE_SECONDS = 60
"""After how long an end that does not answer, not even its kernel, is given up."""
_PIPE_BYTES = 1 << 20
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing breaks a connection instead of ending it."""
_DESCRIPTORS_OF_ONE, _DESCRIPTORS_BESIDE = 6, 32
"""Open files that a connection takes at most, with a pipe in each direction, and those of the process itself."""
_FULL_SECONDS = 1.0
"""How long to wait when this machine has no room for another connection."""


class Relay:
    """Passes connections on to a master.

    Args:
        master: says where the master is, as tcp://host:port; asked for each connection, since a master may move.
        interface: address of the network interface to listen at, "*" for all.
        port: the port, 0 for any free one.

    Attributes:
        port: where it listens.

    Raises:
        ConnectionFailed: it cannot listen there, or the master's address is no address.

    Example:
        >>> relay = Relay(lambda: "tcp://master.site:8786", "127.0.0.1", 0)
        >>> relay.port > 0
        True
        >>> relay.close()
    """

    def __init__(self, master: Callable[[], str], interface: str = "*", port: int = 0) -> None:
        self._master = master
        _host_and_port(master())
        self._most = most_connections()
        self._listener = _listen(interface, port)
        self.port: int = self._listener.getsockname()[1]
        self._pipes: list[_Pipe] = []
        self._trouble = ""

    def run(self) -> None:
        """Pass on until this process is told to end; for the main thread."""
        signals = EndSignals()
        try:
            with asyncio.Runner() as runner:
                runner.run(self._until_told(signals))
        finally:
            signals.close()
            self.close()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
        while self._pipes:
            self._pipes.pop().close()

    async def _until_told(self, signals: EndSignals) -> None:
        serving = asyncio.create_task(self.serve())
        told = asyncio.create_task(_readable(signals.fileno()))
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, told):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    async def serve(self) -> None:
        """Accept connections and pass them on, until cancelled; then all of them are broken."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(self._most)
        async with asyncio.TaskGroup() as connections:
            while True:
                await room.acquire()
                try:
                    peer, _ = await loop.sock_accept(self._listener)
                except OSError as error:
                    log.warning("a connection cannot be accepted: %s", error.strerror)
                    room.release()
                    await asyncio.sleep(_FULL_SECONDS)
                else:
                    connections.create_task(self._pass_on(peer)).add_done_callback(lambda _: room.release())

    async def _pass_on(self, peer: socket.socket) -> None:
        """One connection, from its beginning to its end."""
        with contextlib.closing(peer):
            ended = False
            try:
                if (master := await self._call_master()) is not None:
                    with contextlib.closing(master):
                        ended = await self._both_ways(peer, master)
            finally:
                if not ended:
                    _break(peer)

    async def _call_master(self) -> socket.socket | None:
        """A connection to the master, or None if there is none to be had; the first time, and the last, it is logged."""
        loop = asyncio.get_running_loop()
        try:
            address = self._master()
            host, port = _host_and_port(address)
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                master = await _first_that_answers(found)
        except (OSError, TimeoutError, ConnectionFailed) as error:
            words = str(error) or f"no answer within {CONNECT_SECONDS:g} s"
            if not self._trouble:
                log.warning("the master cannot be reached, who calls is sent away and comes again: %s", words)
            self._trouble = words
            return None
        if self._trouble:
            log.warning("the master can be reached again, at %s", address)
        self._trouble = ""
        return master

    async def _both_ways(self, peer: socket.socket, master: socket.socket) -> bool:
        """Pass on what comes from either until both have ended; False if the connection broke, and both are broken then."""
        ended = False
        try:
            _stay_awake(peer)
            _stay_awake(master)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._one_way(peer, master))
                ways.create_task(self._one_way(master, peer))
            ended = True
        except* OSError as errors:
            log.debug("a connection broke: %s", errors.exceptions[0])
        finally:
            if not ended:
                _break(master)
        return ended

    async def _one_way(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what comes from `source` until it ends, and then that it has."""
        while True:
            await _readable(source.fileno())
            async with self._pipe() as pipe:
                if (waiting := pipe.fill(source)) is None:
                    continue  # somebody else woke us
                if waiting == 0:
                    break
                while waiting:
                    waiting -= pipe.drain(sink, waiting)
                    if waiting:
                        await _writable(sink.fileno())
        sink.shutdown(socket.SHUT_WR)

    @contextlib.asynccontextmanager
    async def _pipe(self) -> AsyncIterator[_Pipe]:
        """A pipe for what is on its way. Only ways that are held up keep theirs, so there are few of them."""
        pipe = self._pipes.pop() if self._pipes else _Pipe()
        try:
            yield pipe
        except BaseException:
            pipe.close()  # with what is in it
            raise
        self._pipes.append(pipe)


class _Pipe:
    """Where the kernel keeps bytes between two sockets."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(PermissionError):  # a user with many pipes gets small ones
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def fill(self, source: socket.socket) -> int | None:
        """Take in what has come; how many bytes, 0 at its end, None if nothing has."""
        try:
            return os.splice(source.fileno(), self._in, _PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return None

    def drain(self, sink: socket.socket, most: int) -> int:
        """Pass on as much as `sink` takes; how many bytes that was."""
        try:
            return os.splice(self._out, sink.fileno(), most, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


def most_connections() -> int:
    """How many connections this process may have, after it has let itself have as many open files as it may: the thousand
    that it has by default are few for a site. More of them wait at the port."""
    return max(1, (allow_descriptors() - _DESCRIPTORS_BESIDE) // _DESCRIPTORS_OF_ONE)


def _listen(interface: str, port: int) -> socket.socket:
    try:
        if interface == "*":
            listener = socket.create_server(("", port), backlog=socket.SOMAXCONN)
        else:
            family = socket.AF_INET6 if ":" in interface else socket.AF_INET
            listener = socket.create_server((interface, port), family=family, backlog=socket.SOMAXCONN)
    except OSError as error:
        raise ConnectionFailed(
            f"a relay cannot listen at port {port} of interface {interface}: {error.strerror}; "
            "choose another --port, or --port 0 for any free one"
        ) from None
    listener.setblocking(False)
    return listener


def _host_and_port(address: str) -> tuple[str, int]:
    """Of the address of a master. Raises `ConnectionFailed` if it is none."""
    try:
        parts = urlsplit(parse_address(address))
    except ValueError as error:
        raise ConnectionFailed(str(error)) from None
    return str(parts.hostname), int(parts.port or 0)


async def _first_that_answers(found: Sequence[tuple[int, int, int, str, tuple[Any, ...]]]) -> socket.socket:
    """A connection to the first of these addresses that accepts one. Raises `OSError` of the last if none does."""
    loop = asyncio.get_running_loop()
    for place, (family, kind, protocol, _, address) in enumerate(found):
        end = socket.socket(family, kind, protocol)
        end.setblocking(False)
        try:
            await loop.sock_connect(end, address)
        except BaseException as error:
            end.close()
            if not isinstance(error, OSError) or place == len(found) - 1:
                raise
        else:
            return end
    raise OSError("its host has no address")


def _stay_awake(end: socket.socket) -> None:
    """Send at once what is small, and notice when the other side has vanished without a word."""
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_SECONDS // 2)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE_SECONDS // 6)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)


def _break(end: socket.socket) -> None:
    """Closing it is to break it."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _done, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _done, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
