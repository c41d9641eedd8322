"""Between a client and an XRootD server: what is asked is counted, and answers wait until a test lets them through.

So a test says what must happen before what, and no clock decides.
"""

from __future__ import annotations

import contextlib
import socket
import threading

HANDSHAKE, HEADER = 20, 24
"""Bytes that a client sends first, and of each of its requests before its own data, whose size is in the last four."""
LIMIT = 30.0
"""Seconds after which answers go through all the same: the test has failed, and is to end."""


class Between:
    """Stands between clients and the server at `port` of this machine.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        """Where clients connect."""
        self.requests = 0
        """That have been sent to the server, by all clients together."""
        self.held_too_long = False
        self._stages: list[int] = []
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, *together: int) -> None:
        """From now on, answers wait until as many requests have been sent as the first number says, then those that follow
        until as many more are there as the second one says, and so on; after the last one for ever. `hold()`: all."""
        with self._changed:
            stages = [self.requests]
            for count in together:
                stages.append(stages[-1] + count)
            self._stages = stages[1:] or [-1]
            self._changed.notify_all()

    def let_through(self) -> None:
        """Answers wait for nothing any more."""
        with self._changed:
            self._stages = []
            self._changed.notify_all()

    def close(self) -> None:
        """Cut all connections."""
        self.let_through()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._sockets += [client, server]
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Requests are counted when they are whole, before they go on: what a client has an answer to has been counted."""
        unread, skip = b"", HANDSHAKE
        with contextlib.suppress(OSError):
            while sent := client.recv(1 << 16):
                unread += sent
                while len(unread) >= skip + HEADER:
                    size = int.from_bytes(unread[skip + HEADER - 4 : skip + HEADER], "big")
                    if len(unread) < skip + HEADER + size:
                        break
                    unread, skip = unread[skip + HEADER + size :], 0
                    with self._changed:
                        self.requests += 1
                        self._changed.notify_all()
                server.sendall(sent)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(1 << 16):
                with self._changed:
                    if not self._changed.wait_for(lambda: not self._stages or self.requests in self._stages, LIMIT):
                        self.held_too_long = True
                client.sendall(said)
            client.shutdown(socket.SHUT_WR)


def between(port: int) -> contextlib.closing[Between]:
    """One that is closed in the end."""
    return contextlib.closing(Between(port))
