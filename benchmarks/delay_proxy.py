"""A wide-area link in front of a server: every byte comes later, and not more of them than so many a second.

    python benchmarks/delay_proxy.py 127.0.0.1:1094 --delay 0.1 --rate 125e6

prints the port at which the server is far away, and ends with its input or a signal. What it does not have of a real link:
loss, and a TCP window that opens slowly.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE = 256 << 10
"""Bytes that are taken at a time."""


@dataclass
class Direction:
    """One way of the link, which all connections share.

    Attributes:
        delay: seconds from one end to the other.
        rate: bytes a second; 0 for any number.
        free: when the way is free for the next bytes, by the clock of the event loop.
    """

    delay: float
    rate: float
    free: float = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When `size` bytes that are sent now will be at the other end."""
        self.free = max(self.free, now) + (size / self.rate if self.rate else 0.0)
        return self.free + self.delay


@dataclass
class Flow:
    """The bytes of one connection that are on one way, with the time of their arrival; None is its end."""

    direction: Direction
    most: int
    room: asyncio.Condition = field(default_factory=asyncio.Condition)
    size: int = 0
    pieces: deque[tuple[float, bytes | None]] = field(default_factory=deque)

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Let bytes in as they come, and no more than the link holds."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                piece = await reader.read(PIECE) or None
            except ConnectionError:
                piece = None
            async with self.room:
                await self.room.wait_for(lambda: self.size < self.most)
                self.pieces.append((self.direction.arrival(len(piece or b""), loop.time()), piece))
                self.size += len(piece or b"")
                self.room.notify_all()
            if piece is None:
                return

    async def give(self, writer: asyncio.StreamWriter) -> None:
        """Let them out when they arrive."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                async with self.room:
                    await self.room.wait_for(lambda: bool(self.pieces))
                    when, piece = self.pieces.popleft()
                await asyncio.sleep(when - loop.time())
                if piece is None:
                    break
                writer.write(piece)
                await writer.drain()
                async with self.room:
                    self.size -= len(piece)
                    self.room.notify_all()
        writer.close()


class Link:
    """The link to a server.

    Args:
        host, port: the server's.
        delay: seconds of a round trip.
        rate: bytes a second in each direction; 0 for any number.
    """

    def __init__(self, host: str, port: int, delay: float, rate: float) -> None:
        self._server = host, port
        self._delay = delay
        self._most = max(4 * PIECE, int(2 * delay * rate)) if rate else 64 << 20
        self._there, self._back = Direction(delay / 2, rate), Direction(delay / 2, rate)

    async def serve(self) -> asyncio.Server:
        """Listen at a free port of this machine."""
        return await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=PIECE)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._delay)  # the handshake of TCP
        try:
            from_server, to_server = await asyncio.open_connection(*self._server, limit=PIECE)
        except OSError:
            writer.close()
            return
        there, back = Flow(self._there, self._most), Flow(self._back, self._most)
        await asyncio.gather(there.take(reader), there.give(to_server), back.take(from_server), back.give(writer))


@contextlib.contextmanager
def far_away(port: int, delay: float, rate: float = 0.0) -> Iterator[int]:
    """The port at which the server at `port` of this machine is a round trip of `delay` seconds away."""
    command = [sys.executable, __file__, f"127.0.0.1:{port}", "--delay", str(delay), "--rate", str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


async def main(server: str, delay: float, rate: float) -> None:
    """Serve until the input ends."""
    host, _, port = server.rpartition(":")
    link = await Link(host, int(port), delay, rate).serve()
    print(link.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    link.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("server", help="HOST:PORT of the server")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of a round trip")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second in each direction; 0: any number")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.server, chosen.delay, chosen.rate))
