"""From what a launcher tells of a pool to what the autoscaler sees of it."""

from __future__ import annotations

from ..elastic.supply import Machine, Phase, Supply
from ..protocol.messages import LaunchInfo, PoolInfo
from .days import PricedPool

_PHASES: dict[str, Phase] = {
    "requested": "waiting", "queued": "waiting", "held": "waiting",
    "started": "booting", "environment": "booting", "connected": "booting", "enrolled": "booting", "warm": "booting",
    "idle": "idle", "working": "working", "lost": "working", "draining": "leaving", "stopping": "leaving",
    "failed": "failed",
}  # fmt: skip


def supply(pool: PricedPool, info: PoolInfo, since: float, settled: bool) -> Supply:
    """A pool as it stands, `since` seconds after its launcher has told of it."""
    return Supply(
        pool.name,
        slots=pool.slots,
        tariff=pool.tariff,
        least=pool.least,
        most=pool.most,
        start=pool.start,
        spot=pool.market is not None,
        rate=pool.speed,
        serves=frozenset([pool.owner]) if pool.owner else None,
        wanted=info.wanted,
        settled=settled,
        trouble=info.trouble,
        machines=[_machine(launch, since) for launch in info.launches if launch.stage in _PHASES],
    )


def _machine(launch: LaunchInfo, since: float) -> Machine:
    seconds = launch.seconds + since
    spent = {**launch.stages, launch.stage: launch.stages.get(launch.stage, 0.0) + seconds}
    before = sum(spent.get(stage, 0.0) for stage, phase in _PHASES.items() if phase == "waiting")
    boot = sum(spent.get(stage, 0.0) for stage, phase in _PHASES.items() if phase == "booting")
    age = sum(spent.values())
    return Machine(
        launch.job,
        _PHASES[launch.stage],
        age=age,
        ran=age - before,
        rests=seconds if launch.stage == "idle" else 0.0,
        up=age - before - boot,
    )
