"""How many workers there should be, and where: from the work that is left, what users wish, and what was learnt.

`decide` is told how pools and queries stand, and says what is to be changed; whoever carries it out tells launchers, and
calls it again when something has changed. It reads no clock and knows no pool but by what it is told.

One decision:

1. What has changed since the last one is learnt (`Experience`).
2. Each user's need is covered (`Covering`): with a deadline at the least cost, first with what is there; without one by as
   many workers as will be of use for longer than they take to start.
3. Who uses what pays for it (`Spending`).
4. What nobody needs goes, when it has rested for its *grace* and what is paid for has passed; so does what has not
   come in its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from .covering import ADDS, Covered, Covering, usable
from .decision import Change, Decision, Forecast
from .demand import Wish, Work
from .estimates import Estimates
from .experience import Experience
from .market import Market
from .needs import Need, fair_parts, need_of
from .release import grace, overdue
from .release import surplus as released
from .spending import Spending
from .supply import HOUR, Supply

DEAR = 1.1
"""A machine at work goes if others do the same for its price divided by this."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What an autoscaler leaves to the next one: wishes, start times of pools, what was spent. Times of wishes are by the
    clock of this one."""

    wishes: Sequence[Wish] = ()
    starts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)


class Autoscaler:
    """The state of one.

    Args:
        saved: what an earlier one has left.

    Attributes:
        wishes: by owner.

    Example:
        >>> from eventmill.elastic.supply import Tariff
        >>> autoscaler = Autoscaler()
        >>> autoscaler.wish(Wish("ada", finish_in=630.0))
        >>> batch = Supply("batch", most=10, start=30.0)
        >>> cloud = Supply("cloud", slots=4, start=60.0, tariff=Tariff(0.20))
        >>> decision = autoscaler.decide([batch, cloud], [Work("q-1", "ada", 7000.0, 100)], now=0.0)
        >>> [(change.pool, change.wanted) for change in decision.changes]
        [('batch', 10), ('cloud', 1)]
    """

    def __init__(self, saved: Saved | None = None) -> None:
        saved = saved or Saved()
        self.wishes = {wish.owner: wish for wish in saved.wishes}
        self._experience = Experience(saved.starts)
        self._spending = Spending(saved.spent)
        self._told: set[tuple[str, str]] = set()

    def wish(self, wish: Wish) -> None:
        """From now on this user wishes this, and what was spent for her counts anew."""
        self.wishes[wish.owner] = wish
        self._spending.spent.pop(wish.owner, None)

    def withdraw(self, owner: str) -> None:
        """She wishes nothing any more: what was there for her only goes."""
        self.wishes.pop(owner, None)

    @property
    def saved(self) -> Saved:
        """What the next one is to know."""
        return Saved(list(self.wishes.values()), self._experience.starts, dict(self._spending.spent))

    def estimates(self, pool: str) -> Estimates:
        """What was learnt of a pool that was in a decision."""
        return self._experience.estimates[pool]

    def decide(self, supplies: Sequence[Supply], works: Sequence[Work], now: float) -> Decision:
        """What is to be changed.

        Args:
            supplies: the pools that are to follow the work; of others it is not told.
            works: all queries that are not over, also of users without a wish.
            now: the time.
        """
        self._experience.look(supplies, self._told, now)
        market = Market.of(supplies, self._experience.estimates)
        needs = self._needs(works, now)
        forecasts: dict[str, Forecast] = {}
        users: dict[str, dict[str, float]] = {}
        surplus: dict[str, _Surplus] = {supply.pool: _Surplus() for supply in supplies}
        for need, cap in zip(needs, _fair(needs, supplies), strict=True):
            owner = need.wish.owner
            pools = frozenset(supply.pool for supply in supplies if usable(need.wish, supply))
            covered = Covering(need, market, pools, cap, self._spending.spent[owner]).cover()
            market.take(covered.workers)
            market.take(covered.held)
            for key, count in covered.workers.items():
                parts = users.setdefault(market.offers[key].pool, {})
                parts[owner] = parts.get(owner, 0.0) + count
            forecasts[owner] = covered.forecast
            broke = self._is_broke(need.wish, supplies)
            for pool in pools:
                surplus[pool].note(need, covered, broke)
        self._spending.charge(supplies, users)
        for work in works:  # of users without a wish, who may be served by any of them
            if work.owner not in self.wishes and work.left > 0:
                for note in surplus.values():
                    note.users += 1
        self._told &= {(supply.pool, machine.job) for supply in supplies for machine in supply.machines}
        changes = [self._change(supply, market, surplus[supply.pool]) for supply in supplies if supply.settled]
        return Decision([change for change in changes if change is not None], forecasts)

    def _needs(self, works: Sequence[Work], now: float) -> list[Need]:
        """What users need, the most urgent first."""
        by_owner: dict[str, list[Work]] = {owner: [] for owner in self.wishes}
        for work in works:
            if work.owner in by_owner:
                by_owner[work.owner].append(work)
        needs = [need_of(wish, by_owner[owner], now) for owner, wish in self.wishes.items()]
        return sorted(needs, key=lambda need: (need.horizon, need.left, need.wish.owner))

    def _is_broke(self, wish: Wish, supplies: Sequence[Supply]) -> bool:
        """Whether a user cannot pay what is there while it waits for more work, for its grace."""
        waiting = sum(
            len(supply.staying) * supply.tariff.price * grace(self._experience.estimates[supply.pool]) / HOUR
            for supply in supplies
            if usable(wish, supply)
        )
        return wish.max_cost - self._spending.spent[wish.owner] < waiting

    def _change(self, supply: Supply, market: Market, surplus: _Surplus) -> Change | None:
        """What is to be changed in a pool: some go, or more are asked for."""
        learnt = self._experience.estimates[supply.pool]
        lost = overdue(supply, learnt)
        for _ in lost:
            learnt.failed()
        going = lost or released(
            supply,
            market.untaken(supply.pool),
            learnt,
            is_dear=supply.tariff.price / (supply.slots * supply.rate) > DEAR * surplus.unit and surplus.is_due,
            is_over=surplus.is_over,
            is_forced=surplus.is_bounded or (surplus.broke and not surplus.users),
        )
        staying = len(supply.staying)
        if going:
            self._told |= {(supply.pool, machine.job) for machine in going}
            return Change(supply.pool, staying - len(going), tuple(machine.job for machine in going))
        # What does not come, since its pool is in trouble, is not asked for any longer: others may be by then.
        wanted = staying if supply.trouble else staying + supply.unseen + market.asked_for(supply.pool)
        wanted = min(max(wanted, supply.least), supply.most)
        return Change(supply.pool, wanted) if wanted != supply.wanted else None


@dataclass(slots=True)
class _Surplus:
    """What is to be known of a pool to say what of it goes: whether its users have deadlines, may have no more, and what
    they pay for a slot; whether one has no money to have machines wait for more work, and who has more than she may."""

    unit: float = 0.0
    is_due: bool = False
    users: int = 0
    broke: bool = False
    bounded: int = 0
    over: int = 0

    def note(self, need: Need, covered: Covered, broke: bool) -> None:
        """A user of it."""
        self.broke = self.broke or broke
        if need.left > 0:
            self.unit = max(self.unit, covered.unit)
            self.is_due = self.is_due or bool(need.steps)
            self.users += 1
            self.bounded += covered.is_bounded
            self.over += covered.is_over

    @property
    def is_bounded(self) -> bool:
        """None of its users can pay for any more than was taken."""
        return 0 < self.users == self.bounded

    @property
    def is_over(self) -> bool:
        """More of it are there than any of its users may have: a maximum was lowered, or others are gone."""
        return 0 < self.users == self.over


def _fair(needs: Sequence[Need], supplies: Sequence[Supply]) -> list[float]:
    """The slots that each may have at most: no bound while all can have what they need."""
    wanted = [min(need.slots, ADDS * need.pressure) if need.left > 0 else 0.0 for need in needs]
    total = sum(supply.slots * supply.most for supply in supplies)
    alone = sum(part > 0 for part in wanted) <= 1
    return [inf] * len(needs) if alone or sum(wanted) <= total else fair_parts(wanted, total)
