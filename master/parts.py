"""Parts of totals, for sessions that read some of a large result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..merge import entries_in
from ..protocol import messages
from ..protocol.codec import Buffer
from .calls import SendMessage
from .effects import Effect, Pick
from .query import Query


@dataclass(frozen=True, slots=True)
class Picked:
    """A `part` of a query's total, or all of it; no frames if none could be taken."""

    query: str
    peer: bytes
    request: int
    frames: Sequence[Buffer]
    part: bool


class Parts:
    """Has them taken and sends them.

    Args:
        queries: the master's, by number.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(self, queries: Mapping[str, Query], send: SendMessage, do: Callable[[Effect], None]) -> None:
        self._queries = queries
        self._send = send
        self._do = do

    def asked(self, query: Query | None, peer: bytes, message: messages.AskPart, now: float) -> None:
        """Have one taken, unless the query is over: who watches it gets the result. Without a query nothing is done."""
        if query is None:
            return
        if query.running:
            self._do(Pick(query.number, peer, message))
        else:
            self._refuse(peer, message.request, query.number, now)

    def made(self, made: Picked, now: float) -> None:
        """One has been taken."""
        query = self._queries.get(made.query)
        if query is None or query.over or not made.frames:
            self._refuse(made.peer, made.request, made.query, now)
            return
        account = msgspec.structs.replace(query.account(), processed=entries_in(made.frames))
        answer = messages.PartIs(made.request, account, query.seconds(now), made.part)
        self._send(made.peer, answer, made.frames, now=now)

    def _refuse(self, peer: bytes, request: int, number: str, now: float) -> None:
        reason = f"query {number} is over, or is ending: there are no more snapshots of it"
        self._send(peer, messages.Refused(request, reason), now=now)
