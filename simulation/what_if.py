"""With these pools and this wish: what would be started when, and what would it cost?

A query, or one that has run, on pools as `pools.toml` has them, in virtual time: the autoscaler and the launcher are the
real ones, and nothing goes wrong. Workers take the time to start that their pool names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from rich.table import Table

from ..display.progress_line import duration
from ..display.wishes import money, wish_words
from ..elastic.autoscaler import Autoscaler
from ..elastic.bridge import wish_info
from ..elastic.decision import Decision, Forecast
from ..elastic.demand import Wish
from ..elastic.supply import Tariff
from ..launch.pools.pool import Pool
from ..protocol.errors import DatasetError, EventmillError
from ..protocol.messages import WishTerms
from ..protocol.usage import WorkerInfo
from .days import Day, Market, PricedPool, Submission, User
from .facility import Facility
from .facility_outcome import DayOutcome

LONGEST = 30 * 86400.0
"""Seconds after which it is given up."""
ROWS = 24
"""Of the table at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stand at a time: workers by pool that have joined, slot-seconds that are left, what was spent."""

    seconds: float
    workers: Mapping[str, int]
    left: float
    cost: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would become of a wish.

    Attributes:
        wish: it.
        forecast: what would be said at once.
        finish: seconds until the work is done; infinity if it never would be.
        gone: seconds until the last worker is gone.
        costs: by pool.
        machines: started by pool.
        course: how things stand, whenever workers come or go.
    """

    wish: Wish
    forecast: Forecast
    finish: float
    gone: float
    costs: Mapping[str, float]
    machines: Mapping[str, int]
    course: Sequence[Moment]

    @property
    def cost(self) -> float:
        """Of all pools."""
        return sum(self.costs.values())

    @property
    def late(self) -> float:
        """Seconds after it should be done."""
        return max(0.0, self.finish - min(self.wish.finish_in, self.wish.deadline))

    @property
    def words(self) -> str:
        """What would be said at once."""
        return wish_words(wish_info(self.forecast, WishTerms(), 1))

    def table(self) -> Table:
        """How things stand over time, for a terminal."""
        table = Table(box=None, pad_edge=False)
        pools = [pool for pool in self.costs if self.machines[pool]]
        for name in ("after", *pools, "work left", "cost"):
            table.add_column(name, justify="right")
        for moment in _some(self.course):
            workers = [f"{moment.workers.get(pool, 0):,}" for pool in pools]
            table.add_row(duration(moment.seconds), *workers, _slot_time(moment.left), money(moment.cost))
        return table

    def summary(self) -> list[str]:
        """What comes of it, in lines."""
        lines = [f"said at once: {self.words}"]
        if self.finish < inf:
            late = f", {duration(self.late)} too late" if self.late > 0 else ""
            lines.append(
                f"done after {duration(self.finish)}{late}; the last worker is gone after {duration(self.gone)}"
            )
        else:
            lines.append("never done")
        parts = [f"{pool} {money(cost)} ({self.machines[pool]:,} started)" for pool, cost in self.costs.items()]
        lines.append(f"cost {money(self.cost)}: {', '.join(parts)}")
        return lines

    def facts(self) -> dict[str, Any]:
        """All of it, for programs; None stands for never."""
        return {
            "finish": self.finish if self.finish < inf else None,
            "late": self.late if self.late < inf else None,
            "gone": self.gone,
            "cost": self.cost,
            "said": self.words,
            "pools": {pool: {"cost": cost, "started": self.machines[pool]} for pool, cost in self.costs.items()},
            "course": [
                {"seconds": it.seconds, "workers": dict(it.workers), "left": it.left, "cost": it.cost}
                for it in self.course
            ],
        }

    def draw(self, path: Path) -> None:
        """Draw workers by pool over time, and what is spent, into an image file.

        Raises:
            EventmillError: matplotlib is not installed.
        """
        draw_course(path, self.course, list(self.costs), "s")


def what_if(
    pools: Mapping[str, Pool], work: float, wish: Wish, *, parallel: int | None = None, seed: int = 0
) -> WhatIf:
    """Say what would become of a wish.

    Args:
        pools: by name, as of `pools.toml`.
        work: slot-seconds.
        wish: with times from now on.
        parallel: slots that can work on it at the same time; None: as many as there are packets of a second.
        seed: of the little that is drawn at random.

    Raises:
        EventmillError: there is no pool by a name in the wish, or no work.

    Example:
        >>> from eventmill.launch.pools.local_processes import Local
        >>> found = what_if({"here": Local(most=4, price=0.1)}, work=3600.0, wish=Wish("you", finish_in=1800.0))
        >>> found.machines, found.late
        ({'here': 3}, 0.0)
    """
    if not 0.0 < work < 1e12:
        raise EventmillError(f"{work:g} slot-seconds are no work to simulate")
    for name in wish.pools:
        if name not in pools:
            raise EventmillError(f"there is no pool {name}; there are: {', '.join(pools)}")
    query = Submission(0.0, work, max(1, parallel if parallel is not None else int(work)))
    priced = [_priced(name, pool) for name, pool in pools.items()]
    samples: list[tuple[float, float]] = []
    said: list[Forecast] = []

    def watched(facility: Facility, decision: Decision) -> None:
        if said or facility.fluid.flows:
            samples.append((facility.clock.now, sum(flow.left for flow in facility.fluid.flows.values())))
        if not said and facility.fluid.flows:
            said.append(decision.forecasts[wish.owner])

    day = Day(priced, [User(wish, [query])], length=LONGEST)
    outcome = Facility(day, Autoscaler(), seed, watched=watched).run()
    ended = outcome.story.ended
    machines = {name: len(system.machines) for name, system in outcome.systems.items()}
    gone = max((it.ended for system in outcome.systems.values() for it in system.machines.values()), default=0.0)
    forecast = said[0] if said else Forecast(wish.owner, finish=inf)
    finish = ended[0].at if ended else inf
    return WhatIf(wish, forecast, finish, gone, outcome.costs, machines, course(outcome, work, samples))


def of_report(report: Sequence[WorkerInfo]) -> tuple[float, int]:
    """The slot-seconds that a finished query has taken, and how many slots could work on it: as many as it had packets.

    Raises:
        DatasetError: nobody has worked on it.
    """
    work = sum(usage.elapsed for info in report for usage in info.by_slot.values()) or sum(it.seconds for it in report)
    packets = sum(info.packets for info in report)
    if work <= 0.0 or not packets:
        raise DatasetError("the report is of no use for a simulation: no worker in it has processed anything")
    return work, packets


def course(outcome: DayOutcome, work: float, samples: Sequence[tuple[float, float]]) -> list[Moment]:
    """How things stood whenever workers came or went; `samples` are times and the work that was left then."""
    left = [(0.0, work), *samples]
    moments: list[Moment] = []
    workers = dict.fromkeys(outcome.systems, 0)
    changes = [(at, pool, change) for at, pool, change in outcome.story.workers]
    changes += [(ended.at, "", 0) for ended in outcome.story.ended]
    at_sample = 0
    for at, pool, change in [(0.0, "", 0), *sorted(changes)]:
        if pool:
            workers[pool] += change
        while at_sample + 1 < len(left) and left[at_sample + 1][0] <= at:
            at_sample += 1
        cost = sum(system.cost(at) for system in outcome.systems.values())
        moment = Moment(at, dict(workers), left[at_sample][1], cost)
        if moments and moments[-1].seconds == at:
            moments[-1] = moment
        else:
            moments.append(moment)
    return moments


def draw_course(path: Path, course: Sequence[Moment], pools: Sequence[str], unit: str) -> None:
    """Draw workers by pool over time, one above the other, and what is spent, into an image file.

    Raises:
        EventmillError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EventmillError("drawing needs matplotlib: pip install eventmill[plot]") from None
    scale = {"s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    times = [moment.seconds / scale for moment in course]
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.stackplot(
        times, *[[it.workers.get(pool, 0) for it in course] for pool in pools], labels=pools, step="post", alpha=0.8
    )
    axes.set(xlabel=f"time [{unit}]", ylabel="workers", ylim=(0, None), xlim=(times[0], times[-1] or 1.0))
    costs = axes.twinx()
    costs.plot(times, [moment.cost for moment in course], color="black", linewidth=1.2, label="cost")
    costs.set(ylabel="cost so far", ylim=(0, None))
    handles = [*axes.get_legend_handles_labels()[0], *costs.get_legend_handles_labels()[0]]
    axes.legend(handles, [*pools, "cost"], loc="upper left", fontsize="small")
    figure.savefig(path)


def _priced(name: str, pool: Pool) -> PricedPool:
    terms = pool.terms
    tariff = Tariff(terms.price, max(1.0, terms.billing))
    return PricedPool(
        name,
        terms.slots,
        tariff,
        pool.most,
        terms.least,
        terms.start,
        market=Market(inf) if terms.spot else None,
        idle=max(pool.idle, terms.billing if terms.price else 0.0),
    )


def _some(course: Sequence[Moment]) -> list[Moment]:
    """The first and last of them, and as many between as fit."""
    if len(course) <= ROWS:
        return list(course)
    step = (len(course) - 1) / (ROWS - 1)
    return [course[round(row * step)] for row in range(ROWS)]


def _slot_time(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} slot h" if seconds >= 3600 else f"{seconds:,.0f} slot s"
