"""A line between peers and a master that is cut, stalls, or is half-open, as somebody wants it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
from eventmill.protocol.connection import Connection

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing breaks the connection instead of ending it."""
PIECE = 65536


@dataclass(eq=False, slots=True)
class Pair:
    """One connection through the proxy: the peer's end, and the one to the master. One of them may be left alone."""

    peer: socket.socket | None
    master: socket.socket | None
    stalled_until: float = 0.0
    waiting: dict[socket.socket, bytearray] = field(default_factory=dict)

    def ends(self) -> list[socket.socket]:
        return [end for end in (self.peer, self.master) if end is not None]

    def other(self, end: socket.socket) -> socket.socket | None:
        return self.master if end is self.peer else self.peer


class Proxy:
    """Listens at `port` until it is closed; what it does to its connections happens in its own thread.

    Args:
        target: the master's port, asked for each connection.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[Pair] = []
        self._lock = threading.Lock()
        self._told, self._teller = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def save(self, connection: Connection, file: Path) -> Path:
        """Write the connection file of a peer that goes through here."""
        file.touch(mode=0o600)
        file.write_bytes(
            msgspec.json.encode(msgspec.structs.replace(connection, address=f"tcp://127.0.0.1:{self.port}"))
        )
        return file

    def cut(self, random: Random | None = None) -> bool:
        """Break all connections; with `random`, maybe one of them only."""
        with self._lock:
            chosen = self._some(random)
            for pair in chosen:
                self._drop(pair, pair.ends())
        self._wake()
        return bool(chosen)

    def stall(self, random: Random, seconds: float) -> bool:
        """Nothing gets through a connection for so long, or through any."""
        with self._lock:
            chosen = self._some(random)
            for pair in chosen:
                pair.stalled_until = time.monotonic() + seconds
        self._wake()
        return bool(chosen)

    def half_open(self, random: Random) -> bool:
        """One end of a connection breaks, and the other hears nothing of it, nor of anything else."""
        with self._lock:
            pairs = [pair for pair in self._pairs if len(pair.ends()) == 2]
            for pair in random.sample(pairs, min(1, len(pairs))):
                self._drop(pair, [random.choice(pair.ends())])
        self._wake()
        return bool(pairs)

    def close(self) -> None:
        self._teller.close()
        self._thread.join()
        for pair in self._pairs:
            self._drop(pair, pair.ends())
        self._listener.close()
        self._told.close()

    def _some(self, random: Random | None) -> list[Pair]:
        pairs = [pair for pair in self._pairs if pair.ends()]
        return pairs if random is None or random.random() < 0.3 else random.sample(pairs, min(1, len(pairs)))

    def _wake(self) -> None:
        self._teller.send(b".")

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            with self._lock:
                self._pairs = [pair for pair in self._pairs if pair.ends()]
                ends = {end: pair for pair in self._pairs if now >= pair.stalled_until for end in pair.ends()}
                full = {pair.other(end) for end, pair in ends.items() if pair.waiting.get(end)}
                writing = [end for end, pair in ends.items() if pair.waiting.get(end)]
            reading = [end for end in ends if end not in full]
            with contextlib.suppress(OSError, ValueError):  # one of them was closed meanwhile
                ready, writable, _ = select.select([self._listener, self._told, *reading], writing, [], 0.05)
                if self._told in ready and not self._told.recv(1024):
                    return
                if self._listener in ready:
                    self._accept()
                with self._lock:
                    for end in writable:
                        self._flush(ends[end], end)
                    for end in ready:
                        if end in ends:
                            self._forward(ends[end], end)

    def _accept(self) -> None:
        peer = self._listener.accept()[0]
        try:
            master = socket.create_connection(("127.0.0.1", self._target()), timeout=1.0)
        except OSError:
            peer.close()
            return
        for end in (peer, master):
            end.setblocking(False)
        with self._lock:
            self._pairs.append(Pair(peer, master))

    def _forward(self, pair: Pair, end: socket.socket) -> None:
        if end not in pair.ends():
            return
        try:
            data = end.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        other = pair.other(end)
        if not data:
            self._drop(pair, pair.ends())
        elif other is not None:
            pair.waiting.setdefault(other, bytearray()).extend(data)
            self._flush(pair, other)

    def _flush(self, pair: Pair, end: socket.socket) -> None:
        data = pair.waiting.get(end)
        if not data or end not in pair.ends():
            return
        try:
            del data[: end.send(data)]
        except BlockingIOError:
            return
        except OSError:
            self._drop(pair, pair.ends())

    @staticmethod
    def _drop(pair: Pair, ends: list[socket.socket]) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
            if end is pair.peer:
                pair.peer = None
            else:
                pair.master = None
