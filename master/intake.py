"""Who may commit a large result when: as many come at a time as keep the link and the merger busy.

A worker with a small result commits it when it likes. One with a large result says so (`Offer`), goes on adding to it, and
commits when it is told to (`Grant`). So the master's link and memory decide how often a thousand workers commit: each in
turn, in the order in which they offered, and what they have to commit does not grow while they wait, since it is added up.

Two come at a time, one of which is merged while the other arrives, and more where they are small. A worker behind a slow
link does not keep the others from coming: after a while it is not counted among the two. When there are many such, only
those get a turn that were quick the last time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
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
        queries: the master's, by number.
        send: sends a message to a peer, `send(identity, message, now=now)`.

    Attributes:
        merging: bytes of large results that have come and are not merged yet.
    """

    def __init__(self, queries: Mapping[str, Query], send: SendMessage) -> None:
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
        """A worker has so many bytes to commit for a query; 0, or for one that is not running: it has nothing any more."""
        key = identity, query
        self._coming.pop(key, None)
        if size and query in self._queries and self._queries[query].running:
            self._waiting.setdefault(key, size)
        else:
            self._waiting.pop(key, None)

    def came(self, identity: bytes, query: str, now: float) -> None:
        """A worker has committed for a query, in its turn or without one."""
        _, since = self._coming.pop((identity, query), (0, inf))
        if now < since + SLOW_SECONDS < inf:
            self._quick[identity] = None
        elif since < inf:
            self._quick.pop(identity, None)
        self._waiting.pop((identity, query), None)

    def lost(self, identity: bytes, queries: Iterable[str]) -> None:
        """A worker is gone, with what it had of these queries."""
        self._quick.pop(identity, None)
        self._forget([(identity, query) for query in queries])

    def ended(self, query: str) -> None:
        """Nothing more is committed for a query."""
        self._forget([key for key in chain(self._waiting, self._coming) if key[1] == query])

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._waiting.pop(key, None)
            self._coming.pop(key, None)

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

    def give_turns(self, now: float) -> None:
        """Tell those whose turn it is."""
        while (key := self._next(now)) is not None:
            self._coming[key] = self._waiting.pop(key), now
            self._send(key[0], messages.Grant(key[1]), now=now)

    def _next(self, now: float) -> Key | None:
        """Whose turn it is; None if it is nobody's."""
        if not self._waiting:
            return None
        slow = [size for size, since in self._coming.values() if now >= since + SLOW_SECONDS]
        are_many = len(slow) >= MOST_SLOW and sum(slow) >= ROOM_FOR_SLOW
        for key, size in self._waiting.items():
            if not self._has_room(size, now):
                return None
            if not are_many or key[0] in self._quick:
                return key
        return None

    def deadline(self) -> float:
        """When `give_turns` is to be called at the latest."""
        if not self._waiting:
            return inf
        return min((since + SLOW_SECONDS for _, since in self._coming.values()), default=inf)

    def check(self, workers: Container[bytes]) -> None:
        """Assert the invariants: those that have a turn, or wait for one, are `workers` that are there, with something to
        commit for a query that is running."""
        for identity, query in chain(self._waiting, self._coming):
            assert identity in workers and self._queries[query].running
        assert not self._waiting.keys() & self._coming.keys()
        assert (self.merging == 0) == (self._to_merge == 0) and self.merging >= 0

    def _has_room(self, size: int, now: float) -> bool:
        fresh = [it for it, since in self._coming.values() if now < since + SLOW_SECONDS]
        return len(fresh) + self._to_merge < AT_ONCE or sum(fresh) + self.merging + size <= ROOM
