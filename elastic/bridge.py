"""Pools as launchers tell of them, as the autoscaler sees them; and what it expects, as users are told."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import get_args

from ..protocol.messages import LaunchInfo, LaunchStage, PoolInfo, WishInfo, WishTerms
from ..protocol.values import LONGEST
from .decision import Forecast
from .supply import Machine, Phase, Supply, Tariff

_PHASES: dict[LaunchStage, Phase | None] = {
    **dict.fromkeys(("requested", "queued", "held"), "waiting"),
    **dict.fromkeys(("started", "environment", "connected", "enrolled", "warm"), "booting"),
    "idle": "idle",
    "working": "working",
    **dict.fromkeys(("draining", "stopping", "lost"), "leaving"),
    "failed": "failed",
    "gone": None,
}
_WAITING = ("requested", "queued", "held")
_UP = ("idle", "working")


def supply_of(info: PoolInfo, serves: frozenset[str] | None = None, settled: bool = True, rate: float = 1.0) -> Supply:
    """A pool.

    Args:
        info: what its launcher says of it now.
        serves: whose queries its workers serve; None: everybody's.
        settled: its launcher has heard all that was said to it.
        rate: work that a slot does in a second, of an average slot's.

    Example:
        >>> launches = [LaunchInfo("17", "warm", 3.0, stages={"queued": 20.0, "started": 2.0})]
        >>> supply = supply_of(PoolInfo("night", "slurm", 2, 10, launches))
        >>> supply.machines[0].phase, supply.machines[0].age, supply.machines[0].ran, supply.unseen
        ('booting', 25.0, 5.0, 1)
    """
    terms = info.terms
    machines = [machine for launch in info.launches if (machine := _machine(launch)) is not None]
    return Supply(
        info.pool,
        terms.slots,
        Tariff(terms.price, max(1.0, terms.billing)),
        terms.least,
        info.most,
        max(1.0, terms.start),
        terms.spot,
        rate,
        serves,
        info.wanted,
        settled,
        info.trouble,
        machines,
    )


def wish_info(
    forecast: Forecast, terms: WishTerms, queries: int, known: bool = True, course: Mapping[str, float] | None = None
) -> WishInfo:
    """What will become of a wish. What never is done, or never paid, has no time and no cost.

    Example:
        >>> from math import inf
        >>> wish_info(Forecast("ada", finish=inf), WishTerms(), 1).finish is None
        True
    """
    return WishInfo(
        forecast.owner,
        terms,
        queries,
        forecast.finish if isfinite(forecast.finish) else None,
        forecast.late if isfinite(forecast.late) else LONGEST,
        forecast.workers,
        forecast.spent,
        forecast.cost if isfinite(forecast.cost) else None,
        forecast.hindrance,
        known,
        dict(course or {}),
    )


def _machine(launch: LaunchInfo) -> Machine | None:
    """A launch that is not over."""
    phase = _PHASES[launch.stage]
    if phase is None:
        return None
    stages = dict(launch.stages)
    stages[launch.stage] = stages.get(launch.stage, 0.0) + launch.seconds
    return Machine(
        launch.job,
        phase,
        age=sum(stages.values()),
        ran=sum(seconds for stage, seconds in stages.items() if stage not in _WAITING),
        rests=launch.seconds if phase == "idle" else 0.0,
        up=sum(seconds for stage, seconds in stages.items() if stage in _UP),
    )


assert set(_PHASES) == set(get_args(LaunchStage))
