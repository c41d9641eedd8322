"""What the agent knows: of its slots, of its queries, and of what it is to the master."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...merge import Total
from ...protocol import messages
from ...protocol.codec import Frames
from ...protocol.messages import LeaseKey, Part
from ..slot_status import COMPACTING, AtWork
from .effects import Order
from .stages import SlotStage

FIRST_INTERVAL = 0.02
"""The first commit of a query comes this soon: somebody may be watching. The next ones wait twice as long each time."""
PATIENCE = 1.0
"""Seconds that a slot may be silent at work that it was told to drop, before it is replaced."""

Key = tuple[str, int | None]
"""What a slot has to do: a lease of a query, or the compaction of a query's total (None)."""

Owner = tuple[str, str]
"""Whose a query is, as `Setup` says: the user and the owner."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the master has given to a slot."""

    owner: Owner
    message: messages.Lease | messages.Compact
    frames: Frames

    @property
    def key(self) -> Key:
        """What it is called among the things that a slot has to do."""
        return self.message.query, self.message.lease if isinstance(self.message, messages.Lease) else None


@dataclass(slots=True)
class SlotState:
    """One slot.

    Attributes:
        leases: its live leases, until they are handed over.
        finished: those among them that it is through with, and where they stop.
        set_up: the queries whose code it has.
        todo: what its process has before it, in the order in which it works, what is dead included.
        given: how many things that were when the last lease came.
        dropped: what of it the process was told to drop.
        heard: when the process last said something, or was last told to drop something.
        worked: the process has finished a packet.
        brief: its last packet took a moment only.
        taken: bytes of memory that it took when it was looked at last.
        order: what the process was told last, for the sake of its memory.
        told: since when it does what the master was told of because it takes long; 0.0 when it was not.
        owner: whose queries its process works for; None: nobody's yet.
        met: all queries that its process has been given something of.
        waiting: what it cannot be given before its process is another owner's, in the order in which it came.
        exchanged: its process is being exchanged for that; to the master it is up.
    """

    index: int
    stage: SlotStage = "starting"
    leases: dict[tuple[str, int], messages.Lease] = field(default_factory=dict)
    finished: dict[tuple[str, int], int] = field(default_factory=dict)
    set_up: set[str] = field(default_factory=set)
    todo: dict[Key, None] = field(default_factory=dict)
    given: int = 0
    dropped: set[Key] = field(default_factory=set)
    heard: float = 0.0
    worked: bool = False
    brief: bool = False
    taken: int = 0
    order: Order | None = None
    told: float = 0.0
    owner: Owner | None = None
    met: set[str] = field(default_factory=set)
    waiting: deque[Work] = field(default_factory=deque)
    exchanged: bool = False

    @property
    def is_through(self) -> bool:
        """Whether its process has done and handed over all that it was given, but for what is dead."""
        return not self.leases and not self.todo.keys() - self.dropped

    @property
    def due(self) -> float:
        """When the process is to be replaced, because it does not drop what it is at; infinity when it is at no such."""
        return self.heard + PATIENCE if next(iter(self.todo), None) in self.dropped else float("inf")

    def suspects(self, chunk: AtWork | None) -> tuple[LeaseKey | None, str, int | None, int | None]:
        """What may have taken the process down: the lease at work, or the query whose total it was compacting, and the
        chunk at work, where that is known.

        With nothing left to do it was handing over what it had finished. What is dead is nobody's matter any more.
        """
        key = next(iter(self.todo), None) or next(iter(self.finished), None)
        if chunk is not None:
            key = chunk.query, None if chunk.lease == COMPACTING else chunk.lease
        if key is None or key in self.dropped or (chunk is not None and key not in self.todo):
            return None, "", None, None
        query, lease = key
        if lease is None:
            return None, query, None, None
        if chunk is None or chunk.start == chunk.stop:
            return LeaseKey(query, lease), "", None, None
        return LeaseKey(query, lease), "", chunk.start, chunk.stop

    def through_with(self, key: Key) -> None:
        """The process has nothing more to do with this."""
        self.todo.pop(key, None)
        self.dropped.discard(key)

    def close(self, key: tuple[str, int]) -> None:
        """A lease is not this slot's any more: its result is in other hands, or it is dead."""
        self.leases.pop(key, None)
        self.finished.pop(key, None)

    def drop(self, keys: list[Key], now: float) -> None:
        """The process is told to drop these of its `todo`."""
        if keys:
            self.dropped.update(keys)
            self.heard = now


@dataclass(slots=True)
class QueryState:
    """What the agent holds of a query: the code for its slots, and what is not committed yet.

    Attributes:
        credentials: what its slots show to file servers, if it has brought anything.
        size: bytes of the total; `largest`, of the largest result that a slot has handed over.
        offered: bytes of it when it was offered, while it waits for its turn to be committed.
        pause: seconds that commits have to be apart, for what they take.
        latest: the last lease that came; the master numbers them upwards, so that one which came twice is told.
    """

    setup: messages.Setup
    analysis: Frames
    credentials: Frames = field(default=(), repr=False)
    latest: int = -1
    total: Total = field(default_factory=Total)
    parts: dict[int, Part] = field(default_factory=dict)
    gaps: int = 0
    since: float = 0.0
    interval: float = FIRST_INTERVAL
    size: int = 0
    largest: int = 0
    offered: int | None = None
    pause: float = 0.0

    @property
    def number(self) -> str:
        """The query's."""
        return self.setup.query

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return self.setup.user, self.setup.owner

    @property
    def due(self) -> float:
        """When what is not committed must be; infinity when there is nothing, or it waits for its turn."""
        return self.since + max(self.interval, self.pause) if self.parts and self.offered is None else float("inf")


@dataclass(slots=True)
class WorkerState:
    """What all parts of the agent know.

    Attributes:
        hello: what was said to the master last, or will be.
        slots: by their numbers.
        queries: by theirs, until they are released.
        welcome: the master's answer to the latest hello.
        said_hello: it was said since the worker last started afresh.
        missed: the queries of which it was given something before it had heard of them.
    """

    hello: messages.Hello
    slots: list[SlotState]
    queries: dict[str, QueryState] = field(default_factory=dict)
    welcome: messages.Welcome | None = None
    said_hello: bool = False
    missed: set[str] = field(default_factory=set)

    def has_missed(self, query: str) -> bool:
        """Whether what the master said of a query seems to be lost with a connection: that it broke may be heard of after
        what comes by the next one. True once for each query: a master that never says it is wrong."""
        missed = query not in self.queries and query not in self.missed
        if missed:
            self.missed.add(query)
        return missed

    def check(self) -> None:
        """Assert the invariants."""
        for slot in self.slots:
            assert slot.finished.keys() <= slot.leases.keys()
            assert {number for number, _ in slot.leases} <= slot.set_up <= self.queries.keys()
            assert slot.dropped <= slot.todo.keys()
            assert slot.leases.keys() - slot.finished.keys() <= slot.todo.keys() - slot.dropped
            assert slot.stage == "up" or not (slot.leases or slot.todo or slot.set_up or slot.owner is not None)
            assert slot.stage == "up" or slot.exchanged or not slot.waiting
            assert not (slot.stage == "up" and slot.exchanged)
            assert {self.queries[number].owner for number in slot.set_up} <= {slot.owner}, "code of two owners"
