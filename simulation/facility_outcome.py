"""How a simulated day went: what was waited for, what it cost, what happened when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from .simulated_system import SimulatedMachine, SimulatedSystem


@dataclass(frozen=True, slots=True)
class Ended:
    """A query that has ended: when it was asked for, when it ended, when it should have."""

    query: str
    owner: str
    work: float
    asked: float
    at: float
    due: float

    @property
    def took(self) -> float:
        """Seconds from its submission to its end."""
        return self.at - self.asked

    @property
    def late(self) -> float:
        """Seconds after it was to be finished; 0 if it was in time."""
        return max(0.0, self.at - self.due)


@dataclass(slots=True)
class Story:
    """What has happened."""

    submitted: list[tuple[float, str]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    withdrawn: list[tuple[float, str]] = field(default_factory=list)
    wanted: list[tuple[float, str, int]] = field(default_factory=list)
    let_go: list[tuple[float, SimulatedMachine]] = field(default_factory=list)
    workers: list[tuple[float, str, int]] = field(default_factory=list)
    refused: list[tuple[float, str]] = field(default_factory=list)
    left_by_themselves: int = 0

    def joined(self, now: float, pool: str) -> None:
        """A worker has come."""
        self.workers.append((now, pool, 1))

    def over(self, now: float, pool: str, machine: SimulatedMachine) -> None:
        """A machine is over."""
        if machine.joined < inf:
            self.workers.append((now, pool, -1))


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """How a day went.

    Attributes:
        story: what happened.
        systems: of the pools, with all machines that there were.
        seconds: until the last machine was gone.
        trace: digest of all messages to and from the launcher.
    """

    story: Story
    systems: Mapping[str, SimulatedSystem]
    seconds: float
    trace: str

    @property
    def costs(self) -> dict[str, float]:
        """By pool."""
        return {name: system.cost(self.seconds) for name, system in self.systems.items()}

    @property
    def cost(self) -> float:
        """Of all machines that there were."""
        return sum(self.costs.values())

    @property
    def left(self) -> list[str]:
        """Machines that are still there."""
        return [machine.job for system in self.systems.values() for machine in system.there]

    @property
    def mean(self) -> float:
        """Seconds that a query took from its submission to its end, on average."""
        took = [ended.took for ended in self.story.ended]
        return sum(took) / len(took) if took else 0.0

    def quantile(self, part: float) -> float:
        """Seconds within which such a part of the queries had ended."""
        took = sorted(ended.took for ended in self.story.ended)
        return took[min(len(took) - 1, int(part * len(took)))] if took else 0.0
