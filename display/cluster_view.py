"""What is going on in a cluster: what status pages, terminals and monitoring show of it, all of them the same numbers."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..protocol.messages import (
    ACTIVITIES,
    FINAL,
    MOST_GONE,
    MOST_PACKETS,
    Account,
    Cluster,
    PacketDone,
    PoolInfo,
    State,
    WishInfo,
    WorkerGone,
    WorkerState,
)
from ..protocol.usage import Usage
from .over_time import Means, Values
from .query_view import QueryHistory, QueryView

RECENT_SECONDS = 10.0
"""Rates are those of so many last seconds: a packet takes some, and is told of when it ends."""
NAMES = {letter: name for name, letter in ACTIVITIES.items()}
"""Activities by their letters."""
SPENT = ("opening", "compiling", "reading", "running")
"""What the time of packets is spent on."""
_PARTS = {"opening": "opening", "loading": "compiling", "compiling": "compiling", "reading": "reading"}
"""What a slot is at now, as the time of packets is told apart; all else is running."""
IN_HAND = frozenset({"loading", "opening", "reading", "compiling", "running"})
"""What a slot is at that has a packet in hand."""
AT_WORK = IN_HAND | {"committing"}


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that is there, or was.

    Attributes:
        name, host, site, pid: who it is, and where.
        joined: when it came, in seconds after the master began.
        left: when it went; None while it is there.
        lost: whether it went without a word; `how` says it.
        slots: what each of its slots is at (`protocol.messages.ACTIVITIES`), while it is there.
        since: when each slot began with the packet that it has in hand; None for one that has none.
        width: how many slots it has, or had.
        total: what its packets cost.
        leaves: when it will go, if that is known.
    """

    name: str
    host: str
    site: str
    pid: int
    joined: float
    width: int
    total: Usage
    slots: tuple[str, ...] = ()
    since: tuple[float | None, ...] = ()
    leaves: float | None = None
    left: float | None = None
    lost: bool = False
    how: str = ""

    @property
    def busy(self) -> int:
        """Slots that work."""
        return sum(slot in AT_WORK for slot in self.slots)


@dataclass(frozen=True, slots=True)
class ServerView:
    """A file server: all that was read from it, and what of late.

    Attributes:
        total: of all packets that were read from it.
        rate: bytes a second.
        latency: seconds from a request to its answer; None where none was made of late.
        waiting: part of their time, 0 to 1, for which slots that read from it had nothing to compute.
    """

    name: str
    total: Usage
    rate: float = 0.0
    latency: float | None = None
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query of the cluster; `view` is the same as in its own session, and `began` is in seconds after the master began.

    One that began before this master did so at a time below 0.
    """

    number: str
    owner: str
    began: float
    view: QueryView


@dataclass(frozen=True)
class ClusterView:
    """What is going on in a cluster. All times are in seconds after the master began.

    Attributes:
        now: of this view.
        workers: that are there, by name, in the order in which they came.
        gone: those that went, the last 2,000 of them, the oldest first.
        queries: by number, the oldest first.
        servers: by name.
        packets: that ended, the last 20,000, the oldest first.
        rate, bytes_rate: entries and bytes a second, of late, by the packets that ended.
        past: what packets of all those cost that went, also of those that `gone` has no more.
        pools: what launchers have told of their pools.
        wishes: what these follow.
    """

    now: float = 0.0
    workers: Mapping[str, WorkerView] = field(default_factory=dict)
    gone: tuple[WorkerView, ...] = ()
    queries: Mapping[str, QueryRow] = field(default_factory=dict)
    servers: Mapping[str, ServerView] = field(default_factory=dict)
    packets: tuple[PacketDone, ...] = ()
    rate: float = 0.0
    bytes_rate: float = 0.0
    past: Usage = field(default_factory=Usage)
    pools: tuple[PoolInfo, ...] = ()
    wishes: tuple[WishInfo, ...] = ()

    @property
    def total(self) -> Usage:
        """What all packets cost, of all workers."""
        return sum((worker.total for worker in self.workers.values()), start=self.past)

    @property
    def slots(self) -> int:
        """How many there are."""
        return sum(worker.width for worker in self.workers.values())

    @property
    def activities(self) -> dict[str, int]:
        """How many slots are at what, in the order of `ACTIVITIES`."""
        counts = Counter(slot for worker in self.workers.values() for slot in worker.slots)
        return {activity: counts[activity] for activity in ACTIVITIES}

    @property
    def busy(self) -> int:
        """Slots that work."""
        return sum(worker.busy for worker in self.workers.values())

    def slots_over_time(
        self, by: Callable[[WorkerView], str] = lambda worker: worker.site, since: float = 0.0, steps: int = 120
    ) -> tuple[list[float], dict[str, list[float]]]:
        """How many slots there were: moments from `since` until now, and the mean number around each, of each kind.

        It is exact for workers that are there, and for the last 2,000 that went.

        Args:
            by: tells a worker's kind.
            since: the first moment, in seconds after the master began.
            steps: how many moments.
        """
        means, workers = Means(since, self.now, steps), [*self.gone, *self.workers.values()]
        ends = [_end(worker, self.now) for worker in workers]
        kinds, widths = [by(worker) for worker in workers], [worker.width for worker in workers]
        return means.moments, means.of(kinds, [worker.joined for worker in workers], ends, widths)

    def activity_over_time(self, since: float = 0.0, steps: int = 120) -> tuple[list[float], dict[str, list[float]]]:
        """What slots did, by their packets: moments, and the mean number of slots around each at what.

        Of a packet that ended, each of its seconds counts for what it was spent on in parts as all of it was. "running" is
        what is left when it neither opened a file, nor compiled, nor waited for data. All of a packet that is in hand counts
        for what its slot is at now. What was before the oldest packet that is kept is not in it.

        Args:
            since: the first moment, in seconds after the master began.
            steps: how many moments.
        """
        means = Means(since, self.now, steps)
        found = _spent([it for it in self.packets if it.ended > since and it.usage.elapsed], means)
        now = [
            (SPENT.index(_PARTS.get(activity, "running")), begun)
            for worker in self.workers.values()
            for activity, begun in zip(worker.slots, worker.since, strict=True)
            if begun is not None
        ]
        if now:
            rows, begins = zip(*now, strict=True)
            found += means.of_rows(np.array(rows), len(SPENT), begins, np.full(len(now), self.now), np.ones(len(now)))
        return means.moments, dict(zip(SPENT, found.tolist(), strict=True))


class ClusterHistory:
    """What was heard of a cluster: a bounded past, and where it stands.

    It is pure: all times are the master's, which its messages have.

    Args:
        starts_workers: whether workers start by themselves, so that nobody is told to start some.

    Example:
        >>> history = ClusterHistory()
        >>> worker = WorkerState("w-1", "node7", "site", 12, 1.0, "ri", [9.0, 0.0], Usage(packets=1, entries=100))
        >>> done = PacketDone("w-1", 0, "q1", "server", 9.0, Usage(packets=1, entries=100, elapsed=2.0, waited=0.5))
        >>> history.heard(Cluster(1, "1", True, False, 10.0, [worker], [], [done], [], [], [], {}))
        >>> view = history.view
        >>> view.slots, view.busy, view.workers["w-1"].slots, view.rate
        (2, 1, ('running', 'idle'), 10.0)
    """

    def __init__(self, starts_workers: bool = False) -> None:
        self._starts_workers = starts_workers
        self._begin()

    def _begin(self) -> None:
        self._workers: dict[str, WorkerView] = {}
        self._gone: deque[WorkerView] = deque(maxlen=MOST_GONE)
        self._past_total = Usage()
        self._packets: deque[PacketDone] = deque(maxlen=MOST_PACKETS)
        self._queries: dict[str, QueryRow] = {}
        self._past: dict[str, QueryHistory] = {}
        self._view = ClusterView()

    @property
    def view(self) -> ClusterView:
        """Where it stands; another object whenever anything was heard."""
        return self._view

    def heard(self, told: Cluster) -> None:
        """Take in what the master says, in the order in which it says it."""
        if told.anew:
            self._begin()
        for worker in told.workers:
            self._workers[worker.worker] = _here(worker)
        for gone in told.gone:
            was = self._workers.get(gone.worker)
            if was is not None and was.joined > gone.joined:
                was = None  # it has come back since, under its name
            elif was is not None:
                del self._workers[gone.worker]
            self._gone.append(_left(gone, was))
            self._past_total += gone.total
        self._packets.extend(told.packets)
        self._take_queries(told)
        recent = self._recent(told.now)
        span = min(RECENT_SECONDS, told.now) or 1.0
        self._view = ClusterView(
            told.now,
            dict(self._workers),
            tuple(self._gone),
            dict(self._queries),
            _servers(told.servers, recent, span),
            tuple(self._packets),
            sum(packet.usage.entries for packet in recent) / span,
            sum(packet.usage.bytes_read for packet in recent) / span,
            self._past_total,
            tuple(told.pools),
            tuple(told.wishes),
        )

    def _recent(self, now: float) -> list[PacketDone]:
        found = []
        for packet in reversed(self._packets):
            if packet.ended < now - RECENT_SECONDS:
                break
            found.append(packet)
        return found

    def _take_queries(self, told: Cluster) -> None:
        progress = {it.query: it for it in told.progress}
        for info in told.queries:
            past = self._past.setdefault(info.query, QueryHistory(info.name, self._starts_workers))
            if info.query in progress:
                past.heard(progress[info.query])
            if info.state in FINAL:
                past.ended(_Ended(info.account, info.seconds, info.state))
            view = dataclasses.replace(past.view(), state=info.state)
            self._queries[info.query] = QueryRow(info.query, info.owner, told.now - info.ago, view)
        for number in told.forgotten:
            self._queries.pop(number, None)
            self._past.pop(number, None)


@dataclass(frozen=True, slots=True)
class _Ended:
    account: Account
    seconds: float
    state: State


def parts(usage: Usage) -> dict[str, float]:
    """What the seconds of packets went into; they add up to `elapsed`.

    Example:
        >>> parts(Usage(elapsed=10.0, opening=2.0, late=1.0, waited=4.0, compiling=1.5))
        {'opening': 2.0, 'compiling': 1.5, 'reading': 3.0, 'running': 3.5}
    """
    told = _parted(usage.elapsed, usage.opening, usage.compiling, usage.waited - usage.late)
    return dict(zip(SPENT, map(float, told), strict=True))


def _parted(left: Any, *asked: Any) -> list[Any]:
    """Seconds of one packet, or of many, parted: each part gets what is left of them, and the last one the rest."""
    found = []
    for part in asked:
        found.append(np.minimum(left, np.maximum(0.0, part)))
        left = left - found[-1]
    return [*found, left]


def _spent(packets: Sequence[PacketDone], means: Means) -> Values:
    """What packets were spent on (`SPENT`), in each step: as `parts`, of thousands of them."""
    told = [
        (packet.ended, usage.elapsed, usage.opening, usage.compiling, usage.waited - usage.late)
        for packet, usage in ((packet, packet.usage) for packet in packets)
    ]
    ended, elapsed, *asked = np.array(told, np.float64).reshape(-1, 5).T
    rows = np.repeat(np.arange(len(SPENT)), len(told))
    heights = np.concatenate(_parted(elapsed, *asked)) / np.tile(elapsed, len(SPENT))
    begins, ends = np.tile(ended - elapsed, len(SPENT)), np.tile(ended, len(SPENT))
    return means.of_rows(rows, len(SPENT), begins, ends, heights)


def _here(told: WorkerState) -> WorkerView:
    slots = tuple(NAMES.get(letter, "idle") for letter in told.slots)
    since = tuple(begun if slot in IN_HAND else None for slot, begun in zip(slots, told.since, strict=True))
    return WorkerView(
        told.worker, told.host, told.site, told.pid, told.joined, len(slots), told.total, slots, since, told.leaves
    )


def _left(gone: WorkerGone, was: WorkerView | None) -> WorkerView:
    return WorkerView(
        gone.worker, gone.host, gone.site, was.pid if was is not None else 0, gone.joined, gone.slots, gone.total,
        left=gone.left, lost=gone.lost, how=gone.how,
    )  # fmt: skip


def _servers(totals: Mapping[str, Usage], recent: Iterable[PacketDone], span: float) -> dict[str, ServerView]:
    late: dict[str, Usage] = {}
    for packet in recent:
        late[packet.server] = late.get(packet.server, Usage()) + packet.usage
    found = {}
    for name, total in sorted(totals.items()):
        usage = late.get(name, Usage())
        found[name] = ServerView(
            name,
            total,
            usage.bytes_read / span,
            usage.latency if usage.requests else None,
            usage.waited / usage.elapsed if usage.elapsed else 0.0,
        )
    return found


def _end(worker: WorkerView, now: float) -> float:
    return now if worker.left is None else worker.left
