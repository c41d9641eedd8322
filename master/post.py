"""What goes out at the master's port: small messages at the end of a turn of the loop, large ones a parcel at a time.

What is said to the same peer in one turn goes out together (`protocol.bundles`). A snapshot of a large result would keep the
loop from everything else until all of it is handed to the socket. So the rest of it waits here, each turn of the loop sends
some of it, and what is said to the same peer meanwhile waits behind it. So does what is said to thousands of peers at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

import zmq

from ..protocol.bundles import Bundle
from ..protocol.codec import Buffer
from ..protocol.pieces import PIECE, cut

Parcels = Iterator[Sequence[Buffer]]
_MORE = int(zmq.SNDMORE)  # as a number: to be joined with others, a flag takes as long as a send


class Post:
    """Sends messages to peers.

    Args:
        router: the socket.
    """

    def __init__(self, router: zmq.Socket[bytes]) -> None:
        self._router = router
        self._waiting: dict[bytes, deque[Parcels]] = {}
        self._bundles: dict[bytes, Bundle] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to go on with."""
        return bool(self._bundles or self._waiting)

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """Have a small message sent by the next `go_on`; send a large one, or the beginning of it. False: the peer cannot be
        reached any more."""
        behind = self._waiting.get(peer)
        if behind is not None:
            behind.append(cut(frames))
            return True
        bundle = self._bundles.get(peer)
        if bundle is None:
            bundle = self._bundles[peer] = Bundle()
        if bundle.add(frames):
            return True  # as nearly all are
        before = self._bundles.pop(peer).taken()
        if before and not self._hand_over(peer, before):
            return False
        if bundle.add(frames):
            self._bundles[peer] = bundle
            return True
        parcels = cut(frames)
        if not self._hand_over(peer, next(parcels)):
            return False
        if (second := next(parcels, None)) is not None:
            self._waiting[peer] = deque([chain([second], parcels)])
        return True

    def go_on(self, ends: float) -> list[bytes]:
        """Send what is small, to one peer at least, and more of what is large, a parcel to each peer in turn, until that
        time (`time.monotonic`). Returns who cannot be reached any more."""
        gone = []
        for peer in list(self._bundles):
            if not self._hand_over(peer, self._bundles.pop(peer).taken()):
                gone.append(peer)
            if time.monotonic() >= ends:
                break
        while self._waiting and time.monotonic() < ends:
            peer, messages = next(iter(self._waiting.items()))
            del self._waiting[peer]
            parcel = next(messages[0], None)
            if parcel is None:
                messages.popleft()
            elif not self._hand_over(peer, parcel):
                gone.append(peer)
                continue
            if messages:
                self._waiting[peer] = messages  # behind the others
        return gone

    def _hand_over(self, peer: bytes, parcel: Sequence[Buffer]) -> bool:
        copy = sum(map(len, parcel)) < PIECE
        *before, last = peer, *parcel
        try:
            for frame in before:
                self._router.send(frame, _MORE, copy)
            self._router.send(last, 0, copy)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True
