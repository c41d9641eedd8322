"""How one user's need is covered by what there is and what can be asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

from .decision import Forecast, Hindrance
from .demand import Wish
from .market import Market, done_by
from .needs import Need
from .plan import Cover, Offer, cover, finish
from .release import LEAVING_SECONDS
from .supply import Supply

KEEPS, ADDS = 1.02, 1.10
"""What is there is enough if it does so many times what is left; if it is not, so much is covered where that is no dearer
than MARGIN: with it nothing is asked for again and again as estimates change, and a late start is no late end."""
MARGIN = 1.02
"""So many times as much as the least cost is paid for that."""
REACTION = 5.0
"""Seconds that pass until what is asked for is."""
EXCHANGE = 0.85
"""What is there is exchanged for something else that costs less than this part of it."""
WORTH = 1.0
"""A worker is worth its start if it works for so many times as long as that takes."""
LEAST_USE = 5.0
"""Seconds for which it must be of use at least."""
PAID_USE = 0.5
"""And for this part of what is paid for."""
_NO_LIMIT = 10**9


@dataclass(frozen=True, slots=True)
class Covered:
    """The workers that a need takes, by key of their offer.

    Args:
        workers: them.
        forecast: what comes of it.
        held: others that are to stay until those that replace them are there.
        is_bounded: the user cannot pay for more.
        is_over: more are there than the user may have.
        unit: what they cost, for a slot-second and an hour.
    """

    workers: Counter[str]
    forecast: Forecast
    held: Counter[str]
    is_bounded: bool = False
    is_over: bool = False
    unit: float = 0.0


class Covering:
    """Of one need.

    Args:
        need: it.
        market: what can be had, and was not taken for others.
        pools: where she may have workers.
        cap: slots that she may have, as her fair part.
        spent: for her so far.
    """

    def __init__(self, need: Need, market: Market, pools: frozenset[str], cap: float, spent: float) -> None:
        self._need, self._wish = need, need.wish
        self._spent = spent
        self._money = max(0.0, need.wish.max_cost - spent)
        self._there, self._new = market.there(pools), market.new(pools)
        self._slots = math.ceil(min(need.slots, cap, _NO_LIMIT))
        self._workers = _NO_LIMIT if need.wish.max_workers is None else need.wish.max_workers
        # All that is there counts, also what she does not take, and what is stuck in a pool that is in trouble.
        there = sum(offer.room for offer in self._there) + sum(market.stuck[pool] for pool in pools)
        self._more = max(0, self._workers - there)
        self._is_over = there > self._workers
        self._taken: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._offers = {offer.key: offer for offer in (*self._there, *self._new)}
        self._is_short = False

    def cover(self) -> Covered:
        """Cover it."""
        if self._need.left > 0:
            for seconds, work in self._need.steps:
                self._by_then(seconds, work)
            if self._need.steps == () or self._late > 0:
                self._as_is_worth()
            self._afford()
        cost = self._cost(self._finish)
        forecast = self._forecast(cost)
        return Covered(+self._taken, forecast, self._holdable, self._is_short, self._is_over, self._unit())

    # --- by a deadline ------------------------------------------------------------------------------------------------

    def _by_then(self, seconds: float, work: float) -> None:
        """See to it that so much is done in so many seconds."""
        short = work - done_by(self._chosen, seconds)
        if short <= 0.0:
            return
        keep = self._try(self._left(self._there), KEEPS * short, seconds)
        mixed = self._mixed(short, seconds)
        if keep.undone <= 0.0 and (mixed.undone > 0.0 or mixed.cost >= EXCHANGE * keep.cost):
            mixed = keep
        # What is at work stays until what replaces it is there.
        joined = [offer for offer in self._left(self._there) if offer.start <= 0.0]
        at_work = self._try(joined, KEEPS * short, seconds)
        held = Counter({offer.key: offer.room for offer in joined}) if at_work.undone > 0.0 else at_work.workers
        self._held += held - mixed.workers
        for key, count in sorted(mixed.workers.items(), key=lambda it: _price(self._offers[it[0]])):
            self._take(self._offers[key], count)

    def _mixed(self, short: float, seconds: float) -> Cover:
        """So much with what is there and what can be asked for: with a margin, if that costs hardly more."""
        offers = (*self._left(self._there), *self._askable)
        least = self._try(offers, short, max(0.0, seconds - REACTION))
        if least.undone > 0.0:
            return self._try(offers, short, seconds)
        ample = self._try(offers, ADDS * short, seconds)
        if ample.undone > 0.0 or self._runs(ample, short) > MARGIN * self._runs(least, short):
            return least
        return ample

    def _runs(self, covered: Cover, work: float) -> float:
        """What some workers cost if they run until so much is done."""
        chosen = [(self._offers[key], count) for key, count in covered.workers.items()]
        end = finish(work, lambda seconds: done_by(chosen, seconds))
        return sum(count * offer.cost(end) for offer, count in chosen)

    def _try(self, offers: Sequence[Offer], work: float, seconds: float) -> Cover:
        slots = self._slots - sum(offer.slots * count for offer, count in self._chosen)
        return cover(offers, work, seconds, max(0, slots), max(0, self._workers - self._taken.total()))

    @property
    def _holdable(self) -> Counter[str]:
        """Of those to be held as many as she may have beside what she takes."""
        free = max(0, self._workers - self._taken.total())
        return Counter(list((+self._held).elements())[:free])

    # --- without one --------------------------------------------------------------------------------------------------

    def _as_is_worth(self) -> None:
        """Take what is there, and ask for more while that will be of use for longer than it takes to come."""
        for offer in sorted(self._left(self._there), key=_rank):
            self._take(offer, self._most(offer))
        for offer in sorted(self._askable, key=_rank):
            self._take(offer, min(self._most(offer), self._worth(offer)))

    def _worth(self, offer: Offer) -> int:
        """How many workers of an offer are worth their start, besides those that were taken.

        With n of them everything is done when S t + n v (t - s) = W: S is the speed of what was taken, v that of one, s
        its start, W the work. The last one is worth it if t is at least the time after which one has paid.
        """
        speed = sum(it.speed * count for it, count in self._chosen)
        pays = _pays(offer)
        count = math.floor((self._need.left - speed * pays) / (offer.speed * (pays - offer.start)))
        return max(count, 0 if speed > 0.0 else 1)  # without anybody at work one is started for any work

    def _most(self, offer: Offer) -> int:
        """Of an offer so many can still be taken."""
        slots = self._slots - sum(it.slots * count for it, count in self._chosen)
        return max(0, min(offer.room, math.ceil(slots / offer.slots), self._workers - self._taken.total()))

    def _take(self, offer: Offer, count: int) -> None:
        if not offer.there:
            count = min(count, self._more)
            self._more -= max(0, count)
        if count > 0:
            self._taken[offer.key] += count

    # --- money --------------------------------------------------------------------------------------------------------

    def _afford(self) -> None:
        """Give up what cannot be paid for: what is dearest for what it does, and of that what is only asked for first.

        If the money is not enough to finish everything, as much is done as it pays for: each worker that is taken can be
        paid for as long as it takes to be worth it, or, of those that are there, until the next look.
        """
        if self._money == inf or self._cost(self._finish) <= self._money:
            return
        self._is_short = True
        money = self._money
        for offer, count in sorted(self._chosen, key=lambda it: (_price(it[0]), not it[0].there)):
            least = replace(offer, there=False).cost(LEAVING_SECONDS if offer.there else _pays(offer))
            paid = count if least <= 0.0 else min(count, math.floor(money / least + 1e-9))
            self._taken[offer.key] = paid
            money -= paid * least

    def _cost(self, seconds: float) -> float:
        """What is taken costs, if it runs for so long from now on."""
        if seconds == inf:
            return inf if any(offer.tariff.price > 0 for offer, _ in self._chosen) else 0.0
        return sum(count * replace(offer, there=False).cost(seconds) for offer, count in self._chosen)

    def _unit(self) -> float:
        speed = sum(offer.speed * count for offer, count in self._chosen)
        return sum(offer.tariff.price * count for offer, count in self._chosen) / speed if speed > 0 else 0.0

    # --- what comes of it ---------------------------------------------------------------------------------------------

    @property
    def _chosen(self) -> list[tuple[Offer, int]]:
        return [(self._offers[key], count) for key, count in self._taken.items() if count > 0]

    @property
    def _askable(self) -> list[Offer]:
        """Workers that she may still ask for."""
        return [replace(offer, room=min(offer.room, self._more)) for offer in self._left(self._new)]

    def _left(self, offers: Iterable[Offer]) -> list[Offer]:
        """What was not taken of offers."""
        return [replace(offer, room=offer.room - self._taken[offer.key]) for offer in offers]

    @property
    def _finish(self) -> float:
        return self._when(self._need.left)

    def _when(self, work: float) -> float:
        chosen = self._chosen
        return finish(work, lambda seconds: done_by(chosen, seconds))

    @property
    def _late(self) -> float:
        """Seconds after a deadline in which what was to be done by then is done."""
        late = max((self._when(work) - seconds for seconds, work in self._need.steps), default=0.0)
        return max(late, self._need.overdue + self._finish) if self._need.overdue > 0.0 else late

    def _forecast(self, cost: float) -> Forecast:
        late = max(0.0, self._late)
        finish = self._finish
        hindrance = self._what_hinders() if self._is_short or late > 0 or finish == inf else ""
        return Forecast(self._wish.owner, finish, late, self._taken.total(), self._spent, self._spent + cost, hindrance)

    def _what_hinders(self) -> Hindrance:
        """Why there are no more workers."""
        if self._is_short:
            return "max_cost"
        if self._workers <= self._taken.total():
            return "max_workers"
        slots = sum(offer.slots * count for offer, count in self._chosen)
        if self._slots < self._need.slots and slots >= self._slots - max(
            offer.slots for offer in self._offers.values()
        ):
            return "share"
        if slots >= self._slots:
            return "parallel"
        if any(offer.room > self._taken[offer.key] for offer in self._new):
            return "start"
        return "most"


def usable(wish: Wish, supply: Supply) -> bool:
    """Whether workers of a pool are for a user's queries, by what she wishes."""
    may = supply.serves is None or wish.owner in supply.serves
    return may and (not wish.pools or supply.pool in wish.pools)


def _price(offer: Offer) -> float:
    return offer.tariff.price / (offer.slots * offer.rate)


def _rank(offer: Offer) -> tuple[float, float, str]:
    return _price(offer), offer.start, offer.key


def _pays(offer: Offer) -> float:
    """The seconds after which a worker that is asked for now has been worth it."""
    free = offer.start + max(LEAST_USE, WORTH * offer.start)
    if offer.tariff.price <= 0.0:
        return free
    # The end of a period is the first moment at which so much of what is paid for may have been used.
    period = max(1.0, offer.tariff.period)
    paid = max(1, math.ceil(offer.start / ((1.0 - PAID_USE) * period) - 1e-9)) * period
    return max(free, offer.start + PAID_USE * paid)
