"""What the autoscaler learns from how machines fare between two looks at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from .estimates import Estimates
from .supply import Machine, Supply

_RESTED = 5.0
"""Seconds: one that has had nothing to do for longer, and is gone, has left by itself."""


class Experience:
    """Of all pools.

    Args:
        starts: start times that were learnt before, by pool.

    Attributes:
        estimates: by pool, of those that were looked at.
    """

    def __init__(self, starts: Mapping[str, Sequence[float]]) -> None:
        self._saved = dict(starts)
        self.estimates: dict[str, Estimates] = {}
        self._machines: dict[str, dict[str, Machine]] = {}
        self._looked: float | None = None

    @property
    def starts(self) -> dict[str, list[float]]:
        """Start times of pools, to be saved."""
        return {**self._saved, **{pool: list(learnt.times) for pool, learnt in self.estimates.items()}}  # type: ignore[dict-item]

    def look(self, supplies: Iterable[Supply], told: Collection[tuple[str, str]], now: float) -> None:
        """See what has become of machines; those that were `told` to go, by pool and job, did so."""
        seconds = 0.0 if self._looked is None else max(0.0, now - self._looked)
        for supply in supplies:
            learnt = self.estimates.get(supply.pool)
            if learnt is None:
                learnt = self.estimates[supply.pool] = Estimates(supply.start, self._saved.get(supply.pool, ()))
            before = self._machines.get(supply.pool, {})
            machines = {machine.job: machine for machine in supply.machines}
            for job, machine in machines.items():
                if (supply.pool, job) not in told:
                    _learn(learnt, before.get(job), machine, seconds)
            for job, machine in before.items():
                if job not in machines and (supply.pool, job) not in told and _was_needed(machine):
                    learnt.lost()
            learnt.worked(seconds * sum(machine.joined for machine in supply.machines))
            self._machines[supply.pool] = machines
        self._looked = now


def _learn(learnt: Estimates, before: Machine | None, machine: Machine, seconds: float) -> None:
    """From one machine, which was so many seconds ago as it was `before`."""
    if machine.joined and (before is None or before.coming):
        if before is not None or machine.up <= seconds:  # else it has joined before anybody looked
            learnt.came(machine.age - machine.up)
    elif machine.phase == "failed" and (before is None or before.phase != "failed"):
        learnt.failed()
    elif machine.phase == "leaving" and before is not None and _was_needed(before):
        learnt.lost()


def _was_needed(machine: Machine) -> bool:
    """It was with the master, and would have had work: it is a loss."""
    return machine.joined and machine.rests <= _RESTED
