"""Days of a facility in which much goes wrong, and what must be true of each of them."""

from __future__ import annotations

from math import inf
from random import Random

from eventmill.elastic.autoscaler import Autoscaler
from eventmill.elastic.decision import Decision
from eventmill.elastic.demand import Wish
from eventmill.elastic.release import grace
from eventmill.elastic.supply import HOUR, Tariff
from eventmill.simulation.days import Day, Faults, Market, PricedPool, Submission, User
from eventmill.simulation.facility import Facility
from eventmill.simulation.facility_outcome import DayOutcome

LENGTH = 3 * HOUR
"""Of a day: long enough for all that can happen to happen."""


class Wrong(AssertionError):
    """Something that must be true of a day is not."""


def faults(random: Random) -> Faults:
    """What goes wrong in a pool."""
    if random.random() < 0.3:
        return Faults()
    return Faults(
        fails=random.choice([0.0, 0.05, 0.2]),
        unanswered=random.choice([0.0, 0.1]),
        lies=random.choice([0.0, 0.05]),
        lag=random.choice([0.0, 0.0, 5.0]),
        silent=random.choice([0.0, 0.0, 0.2]),
        broken=random.choice([0.0, 0.0, 0.2]),
    )


def pool(random: Random, name: str, has_tags: bool) -> PricedPool:
    """One, be it a batch system's, a cloud's or a spot market's."""
    price = random.choice([0.0, 0.02, 0.1, 0.4])
    market = Market(random.uniform(900.0, 7200.0), random.choice([0.3, 1.0]), random.choice([0.0, 120.0]))
    return PricedPool(
        name,
        slots=random.choice([1, 2, 4]),
        tariff=Tariff(price, random.choice([1.0, 60.0, 3600.0])),
        most=random.choice([2, 4, 8]),
        start=random.choice([5.0, 30.0, 90.0, 300.0]),
        spread=random.choice([0.0, 0.3, 0.8]),
        waits=random.choice([0.0, 0.7]),
        room=random.choice([3, 10**6]),
        quota=random.choice([3, 10**6, 10**6]),
        market=market if random.random() < 0.3 else None,
        has_tags=has_tags,
        faults=faults(random),
    )


def user(random: Random, name: str, alone: bool) -> User:
    """Her wish and her queries."""
    wish = Wish(
        name,
        finish_in=random.choice([inf, 600.0, 1800.0, 3600.0]),
        max_workers=random.choice([None, None, 3]),
        max_cost=random.choice([inf, inf, 0.5, 3.0]) if alone else inf,
    )
    queries = []
    for _ in range(random.choice([1, 2, 4])):
        parallel = random.choice([2, 16, 1000])
        work = random.choice([30.0, 600.0, 4000.0])
        queries.append(Submission(random.uniform(0.0, LENGTH), work, parallel, random.choice([1.0, 0.5, 2.0])))
    withdrawn = random.uniform(0.0, LENGTH) if random.random() < 0.1 and not alone else None
    return User(wish, queries, withdrawn=withdrawn)


def day(seed: int) -> Day:
    """One seed, one day; one of the pools has no faults, so that all can be done in the end."""
    random = Random(f"day {seed}")
    tags = random.random() < 0.5
    pools = [pool(random, f"p{index}", tags) for index in range(random.choice([1, 2, 3]))]
    pools.append(PricedPool("sound", most=4, start=60.0, spread=0.3, tariff=Tariff(0.2), has_tags=tags))
    many = random.choice([1, 1, 2, 5])
    users = [user(random, f"u{index}", many == 1) for index in range(many)]
    restarts = sorted(random.uniform(0.0, LENGTH) for _ in range(random.choice([0, 0, 1, 2])))
    losses = [random.uniform(0.0, LENGTH)] if tags and random.random() < 0.3 else []
    return Day(pools, users, LENGTH, restarts=restarts, losses=losses)


ON_ITS_WAY = 30.0
"""Seconds that a call may take which was made when what it asks for was wanted."""


class Watched:
    """A facility with an autoscaler, whose day is looked at as it passes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.day = day(seed)
        self.autoscaler = Autoscaler()
        self.graces: list[tuple[float, dict[str, float]]] = []
        self.taken_back: list[tuple[float, str]] = []
        """When it was decided that what was asked for in a pool, and was not there, is not wanted any longer."""
        self._wanted: dict[str, int] = {}
        self.facility = Facility(
            self.day, self.autoscaler, seed, soonest=5.0, every=30.0, watched=self.look, check=True
        )

    def run(self) -> DayOutcome:
        """Let it pass, and look at what came of it."""
        try:
            outcome = self.facility.run()
            self.nothing_is_left(outcome)
            self.all_is_done(outcome)
            self.nothing_flaps(outcome)
            self.no_cost_is_exceeded(outcome)
        except (AssertionError, LookupError, ValueError, ArithmeticError) as error:
            raise Wrong(
                f"seed {self.seed} at {self.facility.clock.now:.0f} s: {type(error).__name__}: {error}"
            ) from error
        return outcome

    def look(self, facility: Facility, decision: Decision) -> None:
        """No more workers than may be."""
        now = facility.clock.now
        self.graces.append((now, {name: grace(self.autoscaler.estimates(name)) for name in facility.following}))
        for change in decision.changes:
            if not change.stops and change.wanted < self._wanted.get(change.pool, 0):
                self.taken_back.append((now, change.pool))
            self._wanted[change.pool] = change.wanted
        serving = 0
        for system in facility.systems.values():
            assert system.serving <= system.pool.most, f"{system.serving} workers in {system.pool.name}"
            serving += system.serving
        mosts = [user.wish.max_workers for user in self.day.users]
        if None not in mosts:
            assert serving <= sum(most or 0 for most in mosts), f"{serving} workers, and wished are at most {mosts}"

    def nothing_is_left(self, outcome: DayOutcome) -> None:
        assert not outcome.left, f"left: {outcome.left[:5]}"
        assert not outcome.story.refused, outcome.story.refused

    def all_is_done(self, outcome: DayOutcome) -> None:
        gave_up = any(user.withdrawn is not None or user.wish.max_cost < inf for user in self.day.users)
        assert gave_up or not outcome.story.undone, f"not done: {outcome.story.undone}"

    def nothing_flaps(self, outcome: DayOutcome) -> None:
        """Nothing is let go sooner than a grace time after it came, or was asked for, but for want of money or of a wish;
        and a launcher that has lost its record does not know what is wanted. What its pool in trouble has not given is
        wanted no longer; a call that was on its way then may have given it after all."""
        bounded = any(user.wish.max_cost < inf for user in self.day.users)
        withdrawn = [at for at, _ in outcome.story.withdrawn] + [at - 60.0 for at in self.day.losses]
        for at, machine in outcome.story.let_go:
            since = machine.joined if machine.joined + 2.0 <= at else machine.asked  # it was not known to be there
            pool = machine.job.rpartition(".")[0]
            least = min(
                [graces[pool] for when, graces in self.graces if when <= at and pool in graces][-2:], default=0.0
            )
            late = any(name == pool and when <= machine.asked <= when + ON_ITS_WAY for when, name in self.taken_back)
            if (
                not late
                and at - since < least - 5.0
                and not bounded
                and not any(since - 120.0 <= it <= at for it in withdrawn)
            ):
                raise AssertionError(
                    f"{machine.job} ({machine.state}) let go at {at:.0f} s, {at - since:.0f} s after {since:.0f} s; "
                    f"grace {least:.0f} s"
                )

    def no_cost_is_exceeded(self, outcome: DayOutcome) -> None:
        """But for what the running billing periods cost."""
        limit = sum(user.wish.max_cost for user in self.day.users)
        running = sum(pool.most * pool.tariff.price * max(pool.tariff.period, 120.0) / HOUR for pool in self.day.pools)
        assert outcome.cost <= limit + running, f"{outcome.cost:.2f} spent of {limit:.2f}"
