"""Takes the picture of a simulated day in docs/elastic.md: that of benchmarks/facility_day.py, whose pools follow the work.

python docs/images/take_elastic_day.py        # some minutes
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from eventmill.elastic.autoscaler import Autoscaler  # noqa: E402
from eventmill.elastic.decision import Decision  # noqa: E402
from eventmill.elastic.supply import HOUR  # noqa: E402
from eventmill.simulation.facility import Facility  # noqa: E402
from eventmill.simulation.what_if import Moment, course  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from benchmarks.facility_day import POOLS, day  # noqa: E402

COLOURS = dict(zip([pool.name for pool in POOLS], ("#4c72b0", "#55a868", "#dd8452", "#8172b3"), strict=True))


def passed(seed: int = 0) -> list[Moment]:
    """How things stood over the day."""
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    left: list[tuple[float, float]] = []

    def watched(facility: Facility, _: Decision) -> None:
        left.append((facility.clock.now, sum(flow.left for flow in facility.fluid.flows.values())))

    outcome = Facility(day(seed), Autoscaler(), seed, soonest=5.0, every=15.0, watched=watched).run()
    return course(outcome, 0.0, left)


def draw(moments: list[Moment], path: Path) -> None:
    """Slots by pool, the work that is left, and what was spent."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    slots, work = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    hours = [moment.seconds / HOUR for moment in moments]
    shown = {pool.name: [moment.workers.get(pool.name, 0) * pool.slots for moment in moments] for pool in POOLS}
    slots.stackplot(
        hours, *shown.values(), labels=list(shown), colors=[COLOURS[name] for name in shown], step="post", linewidth=0
    )
    slots.set(ylabel="slots", ylim=(0, None), xlim=(0, 24), xticks=range(0, 25, 3))
    spent = slots.twinx()
    spent.plot(hours, [moment.cost for moment in moments], color="black", linewidth=1.3, label="cost")
    spent.set(ylabel="cost so far", ylim=(0, None))
    handles = [*slots.get_legend_handles_labels()[0], *spent.get_legend_handles_labels()[0]]
    slots.legend(handles, [*shown, "cost"], loc="upper left", frameon=False)
    work.fill_between(hours, [moment.left / HOUR for moment in moments], step="post", color="#999999", linewidth=0)
    work.set(ylabel="work left\n[slot hours]", xlabel="hour of the day", ylim=(0, None))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(passed(), HERE / "elastic-day.png")
