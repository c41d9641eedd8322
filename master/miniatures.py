"""Miniatures of totals, for displays that ask: as often as their cost allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..merge import entries_in
from ..protocol import messages
from ..protocol.codec import Buffer
from .calls import SendMessage
from .effects import Effect, Shrink
from .lifecycle import SNAPSHOT_COST, SNAPSHOT_SHARE
from .peers import Worker
from .query import Query

MINIATURE_COST = 0.7e-9
"""Seconds of a core, a byte of the total: to add its bins up, and to copy it when it is added to for the next time."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A miniature of a query's total, which has so many bytes itself; no frames if none could be made."""

    query: str
    peer: bytes
    request: int
    frames: Sequence[Buffer]
    whole: int


class Miniatures:
    """Has them made and sends them.

    Args:
        queries: the master's, by number.
        workers: who is there.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self,
        queries: Mapping[str, Query],
        workers: Mapping[bytes, Worker],
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._queries = queries
        self._workers = workers
        self._send = send
        self._do = do

    def asked(self, query: Query | None, peer: bytes, message: messages.AskMiniature, now: float) -> None:
        """Have one made, unless there is nothing new, or it is too soon. Of what is over, sessions have the result."""
        if query is None:
            return
        audience = query.audience
        if not query.running or query.ledger.processed <= message.after or now < audience.next_miniature:
            self._send(peer, messages.Miniature(message.request), now=now)
        else:
            self._do(Shrink(query.number, peer, message))

    def made(self, made: Shrunk, now: float) -> None:
        """One has been made. Of a query that was removed meanwhile, nobody waits for it."""
        query = self._queries.get(made.query)
        if query is None:
            return
        slots = max(1, sum(len(worker.slots) for worker in self._workers.values()))
        cost = MINIATURE_COST * made.whole + SNAPSHOT_COST * sum(map(len, made.frames))
        query.audience.next_miniature = now + cost / (SNAPSHOT_SHARE * slots)
        account = query.account()
        if made.frames:
            account = msgspec.structs.replace(account, processed=entries_in(made.frames))
        answer = messages.Miniature(made.request, account, query.seconds(now))
        self._send(made.peer, answer, made.frames, now=now)
