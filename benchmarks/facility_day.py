"""A day of a facility with 50 users: what they wait for, and what it costs, with our autoscaler and by the rules of others.

    python -m benchmarks.facility_day              # some minutes; --help lists the options
    python -m benchmarks.facility_day --readme     # puts the table into benchmarks/README.md

The same days, clouds and markets, from the same seeds (`eventmill.simulation.facility`).
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from random import Random

from eventmill.elastic.autoscaler import Autoscaler
from eventmill.elastic.demand import Wish
from eventmill.elastic.supply import HOUR, Tariff
from eventmill.simulation.days import Day, Faults, Market, PricedPool, Submission, User
from eventmill.simulation.facility import Facility, Scaler

from .options import command_line
from .other_scalers import CloudScheduler1, CloudScheduler2, Elastiq
from .tables import put, rows

USERS = 50
IDLE = 2 * HOUR
"""Seconds after which workers leave by themselves: later than anybody's rules have them go."""
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


def day(seed: int, users: int = USERS, finish_in: float = math.inf) -> Day:
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


SCALERS: dict[str, tuple[float, Callable[[], Scaler]]] = {
    "eventmill, as is worth it": (math.inf, Autoscaler),
    "eventmill, finish in 5 min": (300.0, Autoscaler),
    "eventmill, finish in 10 min": (600.0, Autoscaler),
    "Elastiq": (math.inf, Elastiq),
    "Elastiq, sooner up and down": (math.inf, lambda: Elastiq(threshold=1, patience=15.0, idle=300.0)),
    "Cloud Scheduler 1": (math.inf, CloudScheduler1),
    "Cloud Scheduler 2": (math.inf, CloudScheduler2),
}
"""The seconds in which queries are wished to be finished, and who decides."""
OURS = "eventmill, finish in 5 min"
OTHERS = ("Elastiq", "Cloud Scheduler 1", "Cloud Scheduler 2")
"""Whose rules, as they come, ours are to beat in both; Elastiq with other settings is there to be seen."""
SOONEST, EVERY = 5.0, 15.0
"""Seconds between two decisions; a master decides each second, and at once when a query comes."""
LATE = 600.0


@dataclass(frozen=True)
class Figures:
    """Of some days with one scaler: minutes that a query takes, on average and for nine of ten; the part of them that took
    longer than ten; cost a day; machines started, and hours of them."""

    mean: float
    p90: float
    late: float
    cost: float
    machines: float
    hours: float


def run(name: str, seed: int) -> Figures:
    """One day."""
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    finish_in, make = SCALERS[name]
    outcome = Facility(day(seed, finish_in=finish_in), make(), seed, soonest=SOONEST, every=EVERY).run()
    if outcome.story.undone or outcome.left:
        raise AssertionError(
            f"{name}, day {seed}: {len(outcome.story.undone)} queries undone, left: {outcome.left[:5]}"
        )
    took = [ended.took for ended in outcome.story.ended]
    machines = [machine for system in outcome.systems.values() for machine in system.machines.values()]
    hours = sum(machine.ran(outcome.seconds) for machine in machines) / HOUR
    late = sum(seconds > LATE for seconds in took) / len(took)
    return Figures(outcome.mean / 60.0, outcome.quantile(0.9) / 60.0, late, outcome.cost, len(machines), hours)


def means(days: Sequence[Figures]) -> Figures:
    """Of some days."""
    return Figures(*[sum(values) / len(days) for values in zip(*map(astuple, days), strict=True)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the days, print, and put the table where the options say; 1 if the rules of others are better in anything."""
    parser = command_line("facility_day", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="days (default: 3)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="days at the same time (default: one a core)")
    options = parser.parse_args(arguments)
    days = [(name, seed) for name in SCALERS for seed in range(options.seeds)]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        figures = pool.starmap(run, days, chunksize=1)
    found = {
        name: means([it for (whose, _), it in zip(days, figures, strict=True) if whose == name]) for name in SCALERS
    }
    print(table(found))
    if options.readme:
        put("facility", table(found))
    ours = found[OURS]
    return 0 if all(ours.mean < found[it].mean and ours.cost < found[it].cost for it in OTHERS) else 1


def table(found: dict[str, Figures]) -> str:
    """Of all."""
    header = ["", "a query, mean [min]", "nine of ten [min]", "over 10 min", "cost a day", "machines", "machine hours"]
    lines = []
    for name, it in found.items():
        waits = [f"{it.mean:.2f}", f"{it.p90:.2f}", f"{it.late:.1%}"]
        lines.append([name, *waits, f"{it.cost:.1f}", f"{it.machines:.0f}", f"{it.hours:.0f}"])
    return rows(header, lines)


if __name__ == "__main__":
    sys.exit(main())
