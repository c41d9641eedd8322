"""A day of a facility with 50 users: what they wait for, and what it costs, with our autoscaler and by the rules of others.

    python -m benchmarks.facility_day              # some minutes; --help lists the options
    python -m benchmarks.facility_day --readme     # puts the table into benchmarks/README.md

The same days, clouds and markets, from the same seeds (`eventmill.simulation.facility`).
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from eventmill.elastic.autoscaler import Autoscaler
from eventmill.elastic.demand import Wish
from eventmill.elastic.supply import HOUR, Tariff
from eventmill.simulation.days import Day, Faults, Market, PricedPool, Submission, User
from eventmill.simulation.facility import Facility, Scaler
from eventmill.simulation.facility_outcome import DayOutcome

from .options import command_line
from .other_scalers import CloudScheduler1, CloudScheduler2, Elastiq
from .tables import put, rows

USERS = 50
IDLE = 2 * HOUR
"""Seconds after which workers leave by themselves: later than anybody's rules have them go."""
FINISH_IN = 600.0
"""Seconds in which each query is wished to be finished."""
POOLS = (
    PricedPool(
        "batch", 4, Tariff(0.04), most=16, start=90.0, spread=0.6, waits=0.7, idle=IDLE, faults=Faults(fails=0.01)
    ),
    PricedPool(
        "spot", 4, Tariff(0.06), most=40, start=70.0, spread=0.3, idle=IDLE, market=Market(2 * HOUR, 0.5, 120.0),
        faults=Faults(fails=0.01, silent=0.01),
    ),
    PricedPool(
        "cloud", 4, Tariff(0.20), most=60, start=75.0, spread=0.3, idle=IDLE, faults=Faults(fails=0.02, silent=0.02)
    ),
    PricedPool(
        "hourly", 8, Tariff(0.36, HOUR), most=20, start=150.0, spread=0.3, idle=IDLE,
        faults=Faults(silent=0.02, broken=0.02),
    ),
)  # fmt: skip
"""Four slots of the own batch system for a hundredth an hour each, half of the cloud's, and what is dearer."""


def activity(hour: float) -> float:
    """How much is submitted at an hour of the day: most before and after lunch, little at night.

    Example:
        >>> [round(activity(hour), 2) for hour in (3.0, 11.0, 15.5)]
        [0.02, 1.0, 1.0]
    """
    return 0.02 + math.exp(-((hour - 11.0) ** 2) / 4.5) + math.exp(-((hour - 15.5) ** 2) / 6.0)


def day(seed: int, users: int = USERS, finish_in: float = FINISH_IN) -> Day:
    """A day from midnight to midnight."""
    random = Random(f"facility {seed}")
    hours = [(hour + 0.5) / 4 for hour in range(96)]
    weights = [activity(hour) for hour in hours]
    people = []
    for number in range(users):
        queries = []
        for hour in random.choices(hours, weights, k=random.randint(2, 10)):
            work = min(2e5, random.lognormvariate(math.log(4000.0), 1.2))
            parallel = max(4, int(work / 10.0))
            guess = random.lognormvariate(0.0, 0.3)
            queries.append(Submission(HOUR * hour + random.uniform(-450.0, 450.0), work, parallel, guess))
        people.append(User(Wish(f"user{number:02}", finish_in=finish_in), sorted(queries, key=lambda query: query.at)))
    return Day(POOLS, people, length=24 * HOUR)


SCALERS: dict[str, Callable[[], Scaler]] = {
    "eventmill": Autoscaler,
    "Elastiq": Elastiq,
    "Elastiq, tuned": lambda: Elastiq(threshold=1, patience=15.0, idle=300.0),
    "Cloud Scheduler 1": CloudScheduler1,
    "Cloud Scheduler 2": CloudScheduler2,
}


@dataclass(frozen=True)
class Figures:
    """Of some days with one scaler: minutes that a query takes, on average and for nine of ten; the part of them that were
    late; cost a day; machines started, and hours of them."""

    mean: float
    p90: float
    late: float
    cost: float
    machines: float
    hours: float


def run(seed: int, scaler: Scaler, finish_in: float = FINISH_IN) -> DayOutcome:
    """One day."""
    return Facility(day(seed, finish_in=finish_in), scaler, seed, soonest=1.0, every=15.0).run()


def figures(outcomes: Sequence[DayOutcome]) -> Figures:
    """The means of some days."""
    count = len(outcomes)
    late = [sum(it.late > 1.0 for it in each.story.ended) / len(each.story.ended) for each in outcomes]
    machines = [[it for system in each.systems.values() for it in system.machines.values()] for each in outcomes]
    return Figures(
        mean=sum(each.mean for each in outcomes) / count / 60.0,
        p90=sum(each.quantile(0.9) for each in outcomes) / count / 60.0,
        late=sum(late) / count,
        cost=sum(each.cost for each in outcomes) / count,
        machines=sum(map(len, machines)) / count,
        hours=sum(machine.ran(1e9) for each in machines for machine in each) / HOUR / count,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the days, print, and put the table where the options say; 1 if somebody else is better in both."""
    parser = command_line("facility_day", __doc__)
    parser.add_argument("--seeds", type=int, default=5, help="days (default: 5)")
    parser.add_argument("--finish-in", type=float, default=FINISH_IN, help="seconds wished (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    found = {}
    for name, make in SCALERS.items():
        began = time.process_time()
        outcomes = [run(seed, make(), options.finish_in) for seed in range(options.seeds)]
        found[name] = figures(outcomes)
        undone = sum(len(each.story.undone) for each in outcomes)
        print(name, found[name], f"undone {undone}, {time.process_time() - began:.0f} s", flush=True)
    if options.readme:
        put("facility", table(found))
    ours = found.pop("eventmill")
    return 0 if all(ours.mean < it.mean and ours.p90 < it.p90 and ours.cost < it.cost for it in found.values()) else 1


def table(found: dict[str, Figures]) -> str:
    """Of all."""
    header = ["", "query, mean [min]", "90 % within [min]", "late", "cost a day", "machines", "machine hours"]
    lines = []
    for name, it in found.items():
        waits = [f"{it.mean:.2f}", f"{it.p90:.2f}", f"{it.late:.1%}"]
        lines.append([name, *waits, f"{it.cost:.1f}", f"{it.machines:.0f}", f"{it.hours:.0f}"])
    return rows(header, lines)


if __name__ == "__main__":
    sys.exit(main())
