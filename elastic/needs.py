"""What one user needs: how much is to be done by when, with how many slots, workers and money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from .demand import Wish, Work

_ALIKE = 1.05
"""Deadlines are one if the later one is at most so much further off."""


@dataclass(frozen=True, slots=True)
class Need:
    """Of a user at some time.

    Args:
        wish: what she wishes.
        left: slot-seconds of all her queries.
        slots: that can work on them at the same time.
        steps: (seconds from now, slot-seconds that must be done by then), both rising; none without a deadline.
        overdue: seconds that have passed since the first deadline that was not met.
    """

    wish: Wish
    left: float
    slots: int
    steps: tuple[tuple[float, float], ...] = ()
    overdue: float = 0.0

    @property
    def horizon(self) -> float:
        """Seconds in which all is to be done; infinity without a deadline."""
        return self.steps[-1][0] if self.steps else inf

    @property
    def pressure(self) -> float:
        """Slots that must be at work from now on, so that all is done in time."""
        return max((work / max(seconds, 1.0) for seconds, work in self.steps), default=inf)


def need_of(wish: Wish, works: Sequence[Work], now: float) -> Need:
    """What the queries of a user need.

    What is late already is to be done as soon as may be, and has no deadline any more.

    Example:
        >>> works = [Work("q-1", "ada", 600.0, 10, asked=0.0), Work("q-2", "ada", 300.0, 10, asked=50.0)]
        >>> need_of(Wish("ada", finish_in=100.0), works, now=50.0).steps
        ((50.0, 600.0), (100.0, 900.0))
    """
    mine = sorted((wish.due(work) - now, work.left) for work in works if work.left > 0)
    slots = sum(work.parallel for work in works if work.left > 0)
    left = sum(work for _, work in mine)
    steps: list[tuple[float, float]] = []
    total = 0.0
    for seconds, work in mine:
        total += work
        if seconds == inf or seconds <= 0.0:
            continue
        if steps and seconds <= _ALIKE * steps[-1][0]:
            steps[-1] = (steps[-1][0], total)
        else:
            steps.append((seconds, total))
    overdue = max(0.0, -mine[0][0]) if mine else 0.0
    if mine and mine[-1][0] == inf:
        return Need(wish, left, slots)
    return Need(wish, left, slots, tuple(steps), overdue)


def fair_parts(wanted: Sequence[float], total: float) -> list[float]:
    """Divide what there is so that nobody gets more than is wanted, and who gets less gets no less than anybody else
    (max-min fairness).

    Example:
        >>> fair_parts([10.0, 30.0, 60.0], 60.0)
        [10.0, 25.0, 25.0]
    """
    parts = [0.0] * len(wanted)
    left = total
    for place, at in enumerate(sorted(range(len(wanted)), key=lambda at: wanted[at])):
        parts[at] = min(wanted[at], left / (len(wanted) - place))
        left -= parts[at]
    return parts
