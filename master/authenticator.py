"""Who may come in: the ZAP handler of the master's port (ZeroMQ RFC 27).

Every connection must come with a CURVE key that the master knows (`master.access`); this key becomes the `User-Id` of each
of its messages, which the socket attaches itself and a peer cannot choose.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq
import zmq.utils.z85

log = logging.getLogger(__name__)

DOMAIN = "eventmill"
_ENDPOINT = "inproc://zeromq.zap.01"


class Authenticator:
    """Answers libzmq's questions about new connections; its `socket` is to be polled.

    Args:
        context: the context of the sockets it guards; one authenticator a context.
        knows: whether a public key (Z85 text) may come in.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], knows: Callable[[str], bool]) -> None:
        self.knows = knows
        self.socket = context.socket(zmq.REP)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answer all questions that are there."""
        while self.socket.poll(0):
            self._answer(*self.socket.recv_multipart())

    def _answer(
        self, version: bytes, request: bytes, _domain: bytes, address: bytes, _identity: bytes, mechanism: bytes,
        *credentials: bytes,
    ) -> None:  # fmt: skip
        """Answer one question."""
        key = ""
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1:
            key = zmq.utils.z85.encode(credentials[0]).decode()
        known = bool(key) and self.knows(key)
        if not known:
            log.warning("refused a connection from %s: unknown key", address.decode(errors="replace"))
        status, text = (b"200", b"OK") if known else (b"400", b"unknown key")
        self.socket.send_multipart([b"1.0", request, status, text, key.encode(), b""])

    def close(self) -> None:
        """Close its socket: from now on nobody is let in."""
        self.socket.close()
