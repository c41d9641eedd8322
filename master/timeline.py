"""What the slots of a query did when, in a bounded number of steps."""

from __future__ import annotations

import math

from ..protocol.usage import Course, Usage
from ..protocol.values import LONGEST

STEPS = 120
"""Steps at most: more than a picture shows."""
SHORTEST = 0.125
"""Seconds of a step at first; when there would be too many of them, two become one."""


class Timeline:
    """What was in hand when. Packets are told of when they end, and belong to all the time that they took.

    Example:
        >>> timeline = Timeline()
        >>> timeline.add(Usage(entries=30, elapsed=0.375, waited=0.125), ended=0.5)
        >>> timeline.course().busy, timeline.course().entries
        ([0.0, 0.125, 0.125, 0.125], [0.0, 10.0, 10.0, 10.0])
    """

    def __init__(self) -> None:
        self._step = SHORTEST
        self._busy: list[float] = []
        self._waited: list[float] = []
        self._entries: list[float] = []

    def add(self, usage: Usage, ended: float) -> None:
        """A packet ended so many seconds after the query had begun."""
        began = max(0.0, ended - usage.elapsed)
        while ended > STEPS * self._step:
            self._step *= 2
            self._busy, self._waited, self._entries = map(_halved, (self._busy, self._waited, self._entries))
        step, length = self._step, ended - began
        first = min(STEPS - 1, int(began / step))
        last = max(first, min(STEPS, math.ceil(ended / step)) - 1)
        if last >= len(self._busy):
            for values in (self._busy, self._waited, self._entries):
                values += [0.0] * (last + 1 - len(values))
        waited = min(usage.waited, length)
        for at in {first, last}:
            inside = max(0.0, min(ended, (at + 1) * step) - max(began, at * step))
            part = inside / length if length else 1.0
            self._busy[at] += inside
            self._waited[at] += part * waited
            self._entries[at] += part * usage.entries
        part = step / length if length else 0.0
        waited, entries = part * waited, part * usage.entries
        for at in range(first + 1, last):  # the whole of each: a packet of ten seconds has eighty
            self._busy[at] += step
            self._waited[at] += waited
            self._entries[at] += entries

    def course(self, merging: float = 0.0, since: float = 0.0) -> Course:
        """All of it since then, and the seconds that merging took at the end."""
        step = self._step if self._busy else 0.0
        busy, waited = ([min(LONGEST, value) for value in values] for values in (self._busy, self._waited))
        return Course(step, busy, waited, list(self._entries), merging, since)


def _halved(values: list[float]) -> list[float]:
    """Two steps as one, each."""
    return [sum(values[at : at + 2]) for at in range(0, len(values), 2)]
