"""How many workers of which pools do so much work by then at the least cost.

A worker of pool p that is asked for now, and runs for T seconds, does

    y(p, T) = slots * rate * chance * (T - start)

slot-seconds of work, and costs its tariff for T. Its cost for a slot-second falls with T, within a billing period: the
start is paid once. So as few workers as will do are to run for as long as they may: until everything must be finished, or
until the last whole period before that. Options (a pool and its T) are taken in the order of their cost for a
slot-second, which is the optimum of the linear programme (a fractional knapsack: Dantzig 1957). A bounded search, with
that optimum as its bound, finds which whole workers are best, the last of which runs only for as long as it is needed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from .supply import FREE, HOUR, Tariff

_TINY = 1e-6
_TOLERANCE = 0.003
"""What a better answer must save at the least, as a part of the cost, so that it is looked for."""
_STEPS = 400
"""Of the search for it."""
_FEWER = 6
"""Of the cheapest workers so many fewer than fit are tried."""
_KEEPING = 0.9
"""What a worker that is there costs for this purpose, of its price: it is not exchanged for one that is hardly cheaper."""
LIKE = 1.1
"""Spot markets whose workers cost at most so many times as much as the cheapest one's share what is to be done: they are
not all taken back at once."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Workers of a pool that can be asked for now; or such as are there, or on their way.

    Args:
        pool: its name.
        slots: of a worker.
        rate: work that a slot does in a second, of an average slot's.
        tariff: what a worker costs.
        start: seconds until it has joined.
        chance: that it will.
        losses: of a worker, an hour; a lost one is replaced, which takes as long as it took to start.
        room: workers that can be asked for.
        spot: they may be taken back.
        ran: seconds that they have run, and that are paid, with the rest of their billing period.
        there: they are there, or on their way, and would not have to be asked for.
    """

    pool: str
    slots: int = 1
    rate: float = 1.0
    tariff: Tariff = FREE
    start: float = 60.0
    chance: float = 1.0
    losses: float = 0.0
    room: int = 1000
    spot: bool = False
    ran: float = 0.0
    there: bool = False

    @property
    def key(self) -> str:
        """No other offer has it."""
        return f"{self.pool}+{self.start:.0f}+{self.ran:.0f}" if self.there else self.pool

    def cost(self, seconds: float) -> float:
        """Of a worker that runs for so long from now on."""
        cost = self.tariff.cost(self.ran + seconds) - self.tariff.cost(self.ran)
        return cost * _KEEPING if self.there else cost

    @property
    def speed(self) -> float:
        """Work that a worker is expected to do in a second, once it should have started."""
        return self.slots * self.rate * self.chance * max(0.1, 1.0 - self.losses * self.start / HOUR)

    def work(self, seconds: float) -> float:
        """Slot-seconds that a worker does that is asked for now and runs for so long."""
        return self.speed * max(0.0, seconds - self.start)

    def seconds(self, work: float) -> float:
        """For how long a worker is to run that does so much."""
        return self.start + work / self.speed


@dataclass(frozen=True, slots=True)
class Cover:
    """Workers to take, by `Offer.key` (of those to ask for, the pool); what they cost, and the slot-seconds left undone."""

    workers: Counter[str]
    cost: float = 0.0
    undone: float = 0.0


@dataclass(frozen=True, slots=True)
class _Option:
    """A worker of an offer that runs for so long; or `longer`: what it costs and brings to have one that was taken to the
    end of a period run on until everything must be finished."""

    offer: Offer
    work: float
    cost: float
    longer: bool = False

    @property
    def unit(self) -> float:
        return self.cost / self.work

    @property
    def key(self) -> str:
        """What it takes its workers from."""
        return f"{self.offer.key} longer" if self.longer else self.offer.key


def cover(offers: Sequence[Offer], work: float, horizon: float, slots: int = 10**9, workers: int = 10**9) -> Cover:
    """The cheapest workers that do so much within so many seconds; if none do, those that do most of it.

    Args:
        offers: what can be had.
        work: slot-seconds to be done.
        horizon: seconds from now until they must be.
        slots: that can be used at most.
        workers: that can be had at most.

    Example:
        >>> cheap = Offer("batch", room=10, tariff=Tariff(0.01), start=30.0)
        >>> dear = Offer("cloud", slots=4, tariff=Tariff(0.20), start=60.0)
        >>> cover([cheap, dear], work=3000.0, horizon=630.0).workers
        Counter({'batch': 5})
        >>> cover([cheap, dear], work=8000.0, horizon=630.0).workers
        Counter({'batch': 10, 'cloud': 1})
        >>> cover([cheap], work=8000.0, horizon=630.0).undone
        2000.0
    """
    options = _in_order(option for offer in offers for option in _options(offer, horizon))
    to_the_end = sorted(
        (option for offer in offers if (option := _until(offer, horizon)).work > _TINY),
        key=lambda option: (-option.work, option.unit, option.key),
    )
    room = {offer.key: offer.room for offer in offers}
    start = _State(work, slots, workers, room)
    for order in (options, to_the_end):
        search = _Search(order, horizon)
        search.look(0, start)
        if search.best is not None:
            return Cover(_spread(search.best.workers, options, room), search.best.cost)
    return _all_there_is(to_the_end if workers < 10**9 else _in_order(to_the_end), start)


def _in_order(options: Iterable[_Option]) -> list[_Option]:
    return sorted(options, key=lambda option: (option.unit, option.offer.start, option.key))


def _options(offer: Offer, horizon: float) -> list[_Option]:
    """How long a worker may run: until the last whole period before the end, and from there to the end; or to the end, if
    that does more for its cost."""
    full = _until(offer, horizon)
    if full.work <= _TINY:
        return []
    period = offer.tariff.period
    whole = math.floor((offer.ran + horizon) / period + 1e-9) * period - offer.ran if period > 1.0 else horizon
    if not offer.start < whole < horizon - _TINY:
        return [full]
    short = _until(offer, whole)
    if full.unit <= short.unit:
        return [full]
    return [short, _Option(offer, full.work - short.work, full.cost - short.cost, longer=True)]


def _until(offer: Offer, seconds: float) -> _Option:
    return _Option(offer, offer.work(seconds), offer.cost(seconds))


@dataclass(frozen=True, slots=True)
class _State:
    """What is left to be done, with how many slots and workers, in which room; and what was taken for the rest."""

    work: float
    slots: int
    left: int
    room: Mapping[str, int]
    workers: Counter[str] = field(default_factory=Counter)
    cost: float = 0.0

    def most(self, option: _Option) -> int:
        """Workers of an option that can be taken."""
        room = self.room.get(option.key, 0)
        return room if option.longer else min(room, math.ceil(self.slots / option.offer.slots), self.left)

    def take(self, option: _Option, count: int) -> _State:
        """The state after so many more."""
        work, cost = max(0.0, self.work - count * option.work), self.cost + count * option.cost
        room = {**self.room, option.key: self.room.get(option.key, 0) - count}
        if option.longer:
            return _State(work, self.slots, self.left, room, self.workers, cost)
        key = option.offer.key
        longer = f"{key} longer"
        room[longer] = room.get(longer, 0) + count
        slots = max(0, self.slots - count * option.offer.slots)
        return _State(work, slots, self.left - count, room, self.workers + Counter({key: count}), cost)


class _Search:
    """Depth first, with what fractions of workers would cost as the bound: the first dive is the greedy answer, and what
    follows looks for a better end of it."""

    def __init__(self, options: Sequence[_Option], horizon: float) -> None:
        self._options = options
        self._horizon = horizon
        self._left = _STEPS
        self.best: _State | None = None

    def look(self, at: int, state: _State) -> None:
        """Try what can be made of a state with the options from this one on."""
        self._left -= 1
        if state.work <= _TINY:
            self._offer(state)
            return
        for option in self._options:
            if not option.longer:
                self._offer_last(option.offer, state)
        if at == len(self._options):
            return
        option = self._options[at]
        most = min(state.most(option), math.ceil(state.work / option.work - _TINY))
        for count in range(most, max(-1, most - _FEWER), -1):
            following = state.take(option, count) if count else state
            if self._left > 0 and self._bound(following) < self._worth:
                self.look(at + 1, following)

    @property
    def _worth(self) -> float:
        """What an answer must cost less than, so that it is worth looking for."""
        return inf if self.best is None else self.best.cost * (1.0 - _TOLERANCE)

    def _offer(self, state: _State) -> None:
        if self.best is None or state.cost < self.best.cost:
            self.best = state

    def _offer_last(self, offer: Offer, state: _State) -> None:
        """One worker does all that is left, and runs no longer than that takes."""
        if state.room[offer.key] > 0 and state.slots > 0 and state.left > 0:
            seconds = offer.seconds(state.work)
            if seconds <= self._horizon + _TINY:
                option = _Option(offer, state.work, offer.cost(seconds))
                self._offer(state.take(option, 1))

    def _bound(self, state: _State) -> float:
        """What it costs at the least: with parts of workers."""
        cost, work = state.cost, state.work
        for option in self._options:
            if work <= _TINY:
                break
            room = state.most(option)
            if option.longer:  # also of those that can still be taken
                room += state.room[option.offer.key]
            done = min(work, room * option.work)
            cost += done * option.unit
            work -= done
        return cost if work <= _TINY else inf


def _all_there_is(options: Sequence[_Option], state: _State) -> Cover:
    """Nothing does it whole: whatever there is does a part of it."""
    for option in options:
        count = min(state.most(option), math.ceil(state.work / option.work - _TINY))
        state = state.take(option, count) if count > 0 else state
    return Cover(+state.workers, state.cost, state.work)


def _spread(workers: Counter[str], options: Sequence[_Option], room: Mapping[str, int]) -> Counter[str]:
    """The same with workers of spot markets divided among those that are as good."""
    markets = {
        option.offer.key: option
        for option in reversed(options)
        if option.offer.spot and not (option.offer.there or option.longer)
    }
    for key, count in list(workers.items()):
        mine = markets.get(key)
        if mine is None or count < 2:
            continue
        like = [
            other
            for other, option in markets.items()
            if option.unit <= LIKE * mine.unit and option.work >= mine.work / LIKE and workers[other] < count
        ]
        for other in like:
            moved = min(count // (len(like) + 1), room[other] - workers[other])
            workers[other] += moved
            workers[key] -= moved
    return +workers


def finish(work: float, done_by: Callable[[float], float]) -> float:
    """Seconds until so much is done, where `done_by(seconds)` says how much can be by then; infinity if it never will be.

    Example:
        >>> round(finish(100.0, lambda seconds: 10.0 * max(0.0, seconds - 5.0)), 3)
        15.0
    """
    if work <= 0.0:
        return 0.0
    high = 1.0
    while done_by(high) < work:
        high *= 2.0
        if high > 1e9:
            return inf
    low = 0.0
    while high - low > 1e-6 * high + 1e-6:
        middle = (low + high) / 2.0
        low, high = (middle, high) if done_by(middle) < work else (low, middle)
    return high
