"""Who may commit a large result when: as many come at a time as keep the link and the merger busy.

A worker with a small result commits it when it likes. One with a large result says so (`Offer`), goes on adding to it, and
commits when it is told to (`Grant`). So the master's link and memory decide how often a thousand workers commit: each in
turn, in the order in which they offered, and what they have to commit does not grow while they wait, since it is added up.

Two come at a time, one of which is merged while the other arrives, and more where they are small. A worker behind a slow
link does not keep the others from coming: after a while it is not counted among the two. When there are many such, only
those get a turn that were quick the last time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from ..protocol import messages
from ..protocol.codec import Frames
from .calls import Handlers, SendMessage
from .effects import Merge
from .peers import Worker
from .query import Query

AT_ONCE = 2
"""Large results that come at a time."""
ROOM = 256 * 2**20
"""Bytes of results that come at a time and are not merged yet, if they are more than two."""
SLOW_SECONDS = 2.0
"""So long after its turn a result that has not come is on a slow link: others get their turn."""
MOST_SLOW, ROOM_FOR_SLOW = 8, 2**30
"""So many are on slow links at a time, or so many bytes if these are more."""

Key = tuple[bytes, str]


@dataclass(frozen=True, slots=True)
class Merged:
    """A large partial result of so many bytes is merged, or left out."""

    query: str
    size: int


class Intake:
    """The turns of workers with large results; a pure core.

    Args:
        workers: who is there, by identity.
        queries: the master's, by number.
        send: sends a message to a peer, `send(identity, message, now=now)`.

    Attributes:
        merging: bytes of large results that have come and are not merged yet.
    """

    def __init__(self, workers: Mapping[bytes, Worker], queries: Mapping[str, Query], send: SendMessage) -> None:
        self._workers = workers
        self._queries = queries
        self._send = send
        self._waiting: dict[Key, int] = {}
        self._coming: dict[Key, tuple[int, float]] = {}
        self._quick: dict[bytes, None] = {}
        self._to_merge = 0
        self.merging = 0

    def add_to(self, handlers: Handlers[Worker]) -> None:
        """Take in what workers offer."""
        handlers.add(messages.Offer, self._offered)

    def _offered(self, worker: Worker, message: messages.Offer, frames: Frames, now: float) -> None:
        self.offered(worker.identity, message.query, message.size)

    def offered(self, identity: bytes, query: str, size: int) -> None:
        """A worker has so many bytes to commit for a query; 0: it has nothing any more."""
        self._coming.pop((identity, query), None)
        if size:
            self._waiting.setdefault((identity, query), size)
        else:
            self._waiting.pop((identity, query), None)

    def came(self, identity: bytes, query: str, now: float) -> None:
        """A worker has committed for a query, in its turn or without one."""
        _, since = self._coming.pop((identity, query), (0, inf))
        if now < since + SLOW_SECONDS < inf:
            self._quick[identity] = None
        elif since < inf:
            self._quick.pop(identity, None)
        self._waiting.pop((identity, query), None)

    def noted(self, merge: Merge) -> Merge:
        """The same, whose result takes memory until it is merged if it is large."""
        if merge.is_large:
            self.to_merge(merge.size)
        return merge

    def to_merge(self, size: int) -> None:
        """A large result is to be merged."""
        self._to_merge += 1
        self.merging += size

    def merged(self, size: int) -> None:
        """It is merged, or left out."""
        self._to_merge -= 1
        self.merging -= size

    def is_waited_for(self, query: str) -> bool:
        """Whether something of this query is offered, or on its way."""
        return any(number == query for _, number in (*self._waiting, *self._coming))

    def give_turns(self, now: float) -> None:
        """Tell those whose turn it is."""
        if not self._waiting and not self._coming:
            return
        for held in (self._waiting, self._coming):
            for key in [key for key in held if not self._is_live(key)]:
                del held[key]
        for identity in [identity for identity in self._quick if identity not in self._workers]:
            del self._quick[identity]
        slow = [size for size, since in self._coming.values() if now >= since + SLOW_SECONDS]
        are_many = len(slow) >= MOST_SLOW and sum(slow) >= ROOM_FOR_SLOW
        for key, size in list(self._waiting.items()):
            if not self._has_room(size, now):
                return
            if are_many and key[0] not in self._quick:
                continue
            del self._waiting[key]
            self._coming[key] = size, now
            self._send(key[0], messages.Grant(key[1]), now=now)

    def deadline(self) -> float:
        """When `give_turns` is to be called at the latest."""
        if not self._waiting:
            return inf
        return min((since + SLOW_SECONDS for _, since in self._coming.values()), default=inf)

    def check(self) -> None:
        """Assert the invariants."""
        assert not self._waiting.keys() & self._coming.keys()
        assert (self.merging == 0) == (self._to_merge == 0) and self.merging >= 0

    def _is_live(self, key: Key) -> bool:
        identity, number = key
        query = self._queries.get(number)
        return identity in self._workers and query is not None and query.running

    def _has_room(self, size: int, now: float) -> bool:
        fresh = [it for it, since in self._coming.values() if now < since + SLOW_SECONDS]
        return len(fresh) + self._to_merge < AT_ONCE or sum(fresh) + self.merging + size <= ROOM
