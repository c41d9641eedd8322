"""The five-site ramp with prices: whether a wish is met, and at what cost beside the least that there is.

    python -m benchmarks.priced_ramp               # a minute; --help lists the options
    python -m benchmarks.priced_ramp --readme      # puts the table into benchmarks/README.md

A hundred machines at five sites start over 0 to 3500 s, as in benchmarks/packetizer.py; those of a site at the same time, in
the middle of its ramp. They cost the more the sooner they start, by the second from when they are asked for. The least cost
is that of a mixed-integer linear programme: how many machines of each site, and how much work each does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from eventmill.elastic.autoscaler import Autoscaler
from eventmill.elastic.demand import Wish
from eventmill.elastic.supply import HOUR, Tariff
from eventmill.simulation.days import Day, PricedPool, Submission, User
from eventmill.simulation.facility import Facility
from eventmill.simulation.outcome import limit

from .options import command_line
from .packetizer import SITES, WORKS
from .tables import put, rows

MACHINES = 20
"""At each site."""
PRICES = dict(zip(SITES, (0.10, 0.08, 0.06, 0.04, 0.02), strict=True))
"""Of a machine and hour."""
PATIENCE = (1.05, 1.25, 1.5, 2.0, 4.0)
"""What is wished, as parts of the shortest time in which it can be done."""
REACTION = 10.0
"""Seconds that deciding and asking may take, before machines begin to start: wishes and least costs have them, too."""
DEARER = 1.05


@dataclass(frozen=True)
class Case:
    """A wish: slot-seconds within so many seconds; when they were done, what they cost, and what they cost at the least."""

    work: float
    wished: float
    took: float
    cost: float
    least: float

    @property
    def met(self) -> bool:
        """Whether it came true, and at not too high a cost."""
        return self.took <= self.wished + 1.0 and self.cost <= DEARER * self.least


STARTS = {site: sum(ramp) / 2 for site, ramp in SITES.items()}


def shortest(work: float) -> float:
    """Seconds in which so much can be done by all machines."""
    return limit(sorted((start, float(MACHINES)) for start in STARTS.values()), work)


def least(work: float, seconds: float) -> float:
    """The least cost of so much work in so many seconds: n machines of each site, and the work w that they do."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # here, or all processes that run tests import it

    sites = [(PRICES[site] / HOUR, start) for site, start in STARTS.items() if start < seconds]
    costs = [price * start for price, start in sites] + [price for price, _ in sites]
    done = [0.0] * len(sites) + [1.0] * len(sites)
    within = np.hstack([np.diag([start - seconds for _, start in sites]), np.eye(len(sites))])  # w <= n (T - start)
    answer = milp(
        costs,
        constraints=[LinearConstraint(done, lb=work), LinearConstraint(within, ub=0.0)],
        integrality=[1] * len(sites) + [0] * len(sites),
        bounds=Bounds(0.0, [MACHINES] * len(sites) + [inf] * len(sites)),
    )
    return float(answer.fun) if answer.success else inf


def run(work: float, seconds: float, seed: int = 0) -> Case:
    """What the autoscaler makes of a wish. When the query is over, so is the wish."""
    pools = [
        PricedPool(site, tariff=Tariff(PRICES[site]), most=MACHINES, start=start) for site, start in STARTS.items()
    ]
    user = User(Wish("ada", finish_in=seconds), [Submission(0.0, work, 100)])
    outcome = Facility(Day(pools, [user], length=0.0), Autoscaler(), seed, every=5.0).run()
    took = outcome.story.ended[0].took if outcome.story.ended else inf
    return Case(work, seconds, took, outcome.cost, least(work, seconds - REACTION))


def cases() -> Iterator[Case]:
    """All of them."""
    for work in WORKS:
        for patience in PATIENCE:
            yield run(work, patience * shortest(work) + REACTION)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and put the table where the options say; 1 if a wish was not met, or at too high a cost."""
    options = command_line("priced_ramp", __doc__).parse_args(arguments)
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    found = []
    for case in cases():
        found.append(case)
        print("" if case.met else "MISSED", case, f"{case.cost / case.least:.3f}", flush=True)
    if options.readme:
        put("priced ramp", table(found))
    return 0 if all(case.met for case in found) else 1


def table(found: Sequence[Case]) -> str:
    """A line for each work, a column for each time."""
    header = ["work [slot s]", *[f"{part:g} x the shortest time" for part in PATIENCE]]
    lines = []
    for work in WORKS:
        mine = [case for case in found if case.work == work]
        lines.append([f"{work:,}", *[f"{it.took:.0f} of {it.wished:.0f} s, {it.cost / it.least:.3f}" for it in mine]])
    return rows(header, lines)


if __name__ == "__main__":
    sys.exit(main())
