"""Pools that follow the work: the autoscaler is told how pools and queries stand, and launchers what it decides.

A pool follows the work from the first wish that is for it on, until somebody scales it by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ..elastic.autoscaler import Autoscaler
from ..elastic.bridge import supply_of, wish_info
from ..elastic.covering import usable
from ..elastic.decision import Forecast
from ..elastic.demand import Wish, Work
from ..elastic.supply import Supply
from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.errors import nearest
from ..protocol.messages import WishInfo
from .access import Access, Change, Identity
from .calls import Handlers, SendMessage
from .course import Course
from .effects import Effect, SaveAccess
from .peers import Peer
from .pools import Pools
from .queries import Queries
from .query import Query
from .wishes import Starts, Wished, records_of, saved_of, terms_of, wish_of

log = logging.getLogger(__name__)

NO_POOL = "no launcher of this master has a pool for you: `eventmill pool agent FILE` runs one with the pools of a file"
INTERVAL = 1.0
"""Seconds between two decisions at least; and so much for each machine, so that deciding takes a small part of the time."""
INTERVAL_A_MACHINE = 0.001
SOON = 0.1
"""Seconds between two decisions when queries came or ended in between."""
SAVE_SECONDS = 60.0
"""Between two times that what was learnt and spent is written down."""
UNKNOWN_SECONDS = 10.0
"""That a packet of a query is taken to cost of which nothing is known yet."""
SCOUTS = 16
"""Slots that are asked for until it is known what a query costs."""
LEAST_SECONDS = 0.01
"""Of work that a query has left while it is not over."""
SHORT_PACKET = 0.2
"""Seconds of work that are worth a slot of their own."""


@dataclass(slots=True)
class Waiting:
    """Who has wished something for pools that no launcher has yet, until when."""

    peer: Peer
    message: messages.MakeWish
    until: float


class Autoscaling:
    """Of one master.

    Args:
        queries: the master's queries.
        pools: those of all launchers.
        access: the users there are, and what those of an earlier master have wished.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self,
        queries: Queries,
        pools: Pools,
        access: Access,
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._queries = queries
        self._pools = pools
        self._access = access
        self._send = send
        self._do = do
        self._autoscaler = Autoscaler(saved_of(access.wishes, access.epoch))
        self._following: set[str] = set()
        self._waiting: list[Waiting] = []
        self._forecasts: dict[str, Forecast] = {}
        self._courses: dict[str, Course] = {}
        self._works: list[Work] = []
        self._next = self._decided = 0.0
        self._changes = 0
        self._next_save = 0.0
        pools.wishes = self.wishes

    def add_to(self, handlers: Handlers[Peer]) -> None:
        """What sessions wish comes here."""
        handlers.add(messages.MakeWish, self._wish)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest; infinity if nobody wishes anything."""
        return min((self._due, *(waiting.until for waiting in self._waiting)))

    def expire(self, now: float) -> None:
        """Decide anew, if it is time."""
        for waiting in self._waiting:
            self._try(waiting, now)
        if now >= self._due:
            self._decide(now)

    @property
    def _due(self) -> float:
        """When the next decision is; soon when a query came or ended."""
        if not (self._autoscaler.wishes or self._following):
            return inf
        return self._next if self._queries.changes.count == self._changes else self._decided + SOON

    # --- what users wish --------------------------------------------------------------------------------------------

    def _wish(self, peer: Peer, message: messages.MakeWish, frames: Frames, now: float) -> None:
        waiting = Waiting(peer, message, now + message.wait)
        self._waiting.append(waiting)
        self._try(waiting, now)

    def _try(self, waiting: Waiting, now: float) -> None:
        """Take up a wish, unless a launcher of a pool that it names may still come."""
        message, who = waiting.message, waiting.peer.who
        usable = {info.pool: info for info in self._pools.usable_by(who)}
        named = message.terms.pools if message.terms is not None else []
        missing = [pool for pool in named if pool not in usable]
        if missing and now < waiting.until:
            return
        self._waiting = [it for it in self._waiting if it is not waiting]
        request = message.request
        if missing or (message.terms is not None and not usable):
            reason = (
                f"no launcher of this master has a pool {missing[0]}{nearest(missing[0], usable)}"
                if missing
                else NO_POOL
            )
            self._send(waiting.peer.identity, messages.Refused(request, reason), now=now)
            return
        for pool in named:
            if usable[pool].by_hand:
                self._pools.command(messages.Scale(0, pool, usable[pool].wanted, follows=True), now)
        if message.terms is None:
            self._autoscaler.withdraw(who.user)
            self._courses.pop(who.user, None)
            self._do(SaveAccess([("wish", who.user, None)]))
        else:
            self._autoscaler.wish(wish_of(who.user, message.terms, now))
        self._next_save = now
        self._decide(now)
        self._send(waiting.peer.identity, messages.Wished(request, self._info(who.user, now)), now=now)

    def wishes(self, who: Identity, now: float) -> list[WishInfo]:
        """Those that are this one's business."""
        owners = self._autoscaler.wishes
        return [self._info(owner, now) for owner in owners if owner == who.user or who.is_masters or who.operator]

    def _info(self, owner: str, now: float) -> WishInfo:
        """A wish, and what will become of it."""
        wish = self._autoscaler.wishes.get(owner, Wish(owner))
        forecast = self._forecasts.get(owner, Forecast(owner))
        course = self._courses.get(owner, Course())
        queries = sum(query.submit.user == owner for query in self._queries.live.values())
        known = all(work.known for work in self._works if work.owner == owner)
        return wish_info(forecast, terms_of(wish, now), queries, known, course.seconds)

    # --- what is decided --------------------------------------------------------------------------------------------

    def _decide(self, now: float) -> None:
        """Have the autoscaler decide, and tell launchers what comes of it."""
        wishes = self._autoscaler.wishes
        supplies = self._supplies(now)
        following = {supply.pool for supply in supplies}
        for pool in self._following - following:  # nobody wishes anything of it any more
            if not self._pools.is_by_hand(pool):
                self._pools.command(messages.Scale(0, pool, 0, follows=True), now)
        self._following = following
        self._works = [work for query in self._queries.live.values() if (work := work_of(query)) is not None]
        decision = self._autoscaler.decide(supplies, self._works, now)
        self._forecasts = decision.forecasts
        for change in decision.changes:
            log.info("pool %s: %d workers wanted, %d go", change.pool, change.wanted, len(change.stops))
            if change.stops:
                self._pools.command(messages.StopLaunches(0, change.pool, list(change.stops)), now)
            else:
                self._pools.command(messages.Scale(0, change.pool, change.wanted, follows=True), now)
        machines = sum(len(supply.machines) for supply in supplies)
        for owner in wishes:
            mine = [query for query in self._queries.live.values() if query.submit.user == owner]
            self._courses.setdefault(owner, Course()).look(mine, machines, now)
        self._decided, self._changes = now, self._queries.changes.count
        self._next = now + INTERVAL + INTERVAL_A_MACHINE * machines
        if now >= self._next_save:
            self._save(now)

    def _supplies(self, now: float) -> list[Supply]:
        """The pools that follow somebody's wish."""
        wishes, found = self._autoscaler.wishes, []
        for info in self._pools.following(now):
            serves = frozenset(owner for owner in wishes if info.owner in self._access.served_by(owner))
            supply = supply_of(info, serves, self._pools.is_settled(info.pool))
            if any(usable(wish, supply) for wish in wishes.values()):
                found.append(supply)
        return found

    def _save(self, now: float) -> None:
        """Write down what the next master is to know."""
        self._next_save = now + SAVE_SECONDS
        records = records_of(self._autoscaler.saved, self._access.epoch)
        self._do(SaveAccess([_change(record) for record in records]))


def work_of(query: Query) -> Work | None:
    """What is left of a query, and how many slots could work on it; None if nothing is."""
    if not query.ready:
        return None
    packetizer, files = query.packetizer, query.ledger.files
    entries = max(0, files.total(query.ledger.leased) - files.processed - files.failed)
    unopened = len(query.ledger.unopened)
    rates = [throughput.rate for throughput in packetizer.throughputs.values() if throughput.rate > 0]
    rate = sum(rates) / len(rates) if rates else packetizer.rate
    if rate > 0 and (entries or not unopened):
        seconds = entries / rate
        parallel = max(unopened, int(seconds / SHORT_PACKET))
    else:
        packets = max(unopened, entries // packetizer.size.first)
        seconds, parallel = packets * UNKNOWN_SECONDS, min(packets, SCOUTS)
    parallel = max(1, min(parallel, entries) if entries else parallel)
    return Work(query.number, query.submit.user, max(seconds, LEAST_SECONDS), parallel, query.started, rate > 0)


def _change(record: Wished | Starts) -> Change:
    return ("wish", record.owner, record) if isinstance(record, Wished) else ("starts", record.pool, record)
