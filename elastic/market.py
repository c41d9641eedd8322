"""What can be had at the moment, as offers: machines that are there or on their way, and those that can be asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .estimates import Estimates
from .plan import Offer
from .supply import Machine, Supply

UNSEEN = Machine("", "waiting")
"""A worker that was asked for, and of which nothing is known yet."""


@dataclass(slots=True)
class Market:
    """Offers by key, and what has been taken of them.

    Args:
        supplies: the pools.
        estimates: of each.

    Attributes:
        offers: all.
        left: how many workers of each can still be taken.
        taken: how many were.
        stuck: workers by pool that were asked for and do not come while their pool is in trouble.
    """

    offers: dict[str, Offer] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    stuck: Counter[str] = field(default_factory=Counter)
    _machines: dict[str, list[Machine]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, supplies: Iterable[Supply], estimates: Mapping[str, Estimates]) -> Market:
        """The offers of these pools."""
        market = cls()
        for supply in supplies:
            learnt = estimates[supply.pool]
            new = Offer(
                supply.pool, supply.slots, supply.rate, supply.tariff, learnt.start, learnt.chance, learnt.losses,
                supply.room, supply.spot,
            )  # fmt: skip
            market._add(new, None)
            for machine in (*supply.staying, *[UNSEEN] * supply.unseen):
                if supply.trouble and machine.phase == "waiting":
                    market.stuck[supply.pool] += 1  # what does not come is no help
                else:
                    market._add(_there(new, machine, learnt), machine)
        for key, offer in market.offers.items():
            market.left[key] = offer.room
        return market

    def _add(self, offer: Offer, machine: Machine | None) -> None:
        known = self.offers.get(offer.key)
        self.offers[offer.key] = offer if known is None else replace(known, room=known.room + 1)
        if machine is not None:
            self._machines[offer.key].append(machine)

    def there(self, pools: frozenset[str]) -> list[Offer]:
        """What is there or on its way in these pools, and was not taken."""
        return [self._rest(offer) for offer in self.offers.values() if offer.there and offer.pool in pools]

    def new(self, pools: frozenset[str]) -> list[Offer]:
        """What can be asked for in these pools."""
        return [self._rest(offer) for offer in self.offers.values() if not offer.there and offer.pool in pools]

    def take(self, workers: Mapping[str, int]) -> None:
        """Take so many workers, by key."""
        for key, count in workers.items():
            self.left[key] -= count
            self.taken[key] += count

    def asked_for(self, pool: str) -> int:
        """Workers to ask for in a pool that were taken."""
        return self.taken[pool]

    def untaken(self, pool: str) -> list[Machine]:
        """Machines of a pool that nobody has taken, those that cost least to give up first."""
        found: list[Machine] = []
        for key, machines in self._machines.items():
            if self.offers[key].pool == pool and self.left[key] > 0:
                found += sorted((machine for machine in machines if machine.job), key=_value)[: self.left[key]]
        return sorted(found, key=_value)

    def _rest(self, offer: Offer) -> Offer:
        return replace(offer, room=self.left[offer.key])


def done_by(offers: Sequence[tuple[Offer, int]], seconds: float) -> float:
    """Slot-seconds that so many workers of each offer do within so many seconds.

    Example:
        >>> done_by([(Offer("batch", slots=2, start=10.0), 3)], 15.0)
        30.0
    """
    return sum(count * offer.work(seconds) for offer, count in offers)


def _there(new: Offer, machine: Machine, learnt: Estimates) -> Offer:
    """A machine as an offer. Those that are alike are one: to within some seconds, and some per cent of a period."""
    start = learnt.remaining(machine) // _STEP * _STEP
    period = new.tariff.period
    ran = round(machine.ran % period / (period / _PARTS)) * (period / _PARTS) if period > _SHORT else 0.0
    return replace(new, start=start, chance=new.chance if machine.coming else 1.0, ran=ran, room=1, there=True)


def _value(machine: Machine) -> tuple[int, float]:
    """Of several machines, those of the lowest value are given up first: what has not started, what has not joined, what
    has rested for longest; of those at work the last one."""
    return _PHASES.index(machine.phase), -machine.rests or machine.ran


_PHASES = ("failed", "leaving", "waiting", "booting", "idle", "working")
_STEP = 2.0
"""Seconds to which starts are alike. Up to five seconds more were enough to ask for another machine."""
_PARTS = 20
_SHORT = 120.0
"""Billing periods up to this are no reason to keep a machine that is not needed."""
