"""What queries have taught of their analyses, for the next queries of the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from ..packetizer.call_costs import UNMEASURED, Calls, Tried

MOST_ANALYSES = 1000

Key: TypeAlias = tuple[str, str]
"""The digests of an analysis and of a dataset."""


class Learnt:
    """How fast slots are with an analysis, and what its calls take, by its digest and the dataset's; of the last ones.

    Events of one dataset may take a hundred times as long as those of another. What is known of others counts only where
    nothing is known of the dataset itself.

    Example:
        >>> learnt = Learnt()
        >>> learnt.of("an analysis", "data")
        (0.0, ())
        >>> learnt.keep("an analysis", "data", 1000.0, Calls([(100, 0.1, 1)]))
        >>> learnt.keep("an analysis", "signal", 10.0, Calls([(100, 10.0, 1)]))
        >>> learnt.of("an analysis", "data")
        (1000.0, [(100, 0.1, 1)])
        >>> learnt.of("an analysis", "background")
        (10.0, [(100, 10.0, 1)])
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[float, Calls]] = OrderedDict()
        self._last: dict[str, Key] = {}

    def keep(self, analysis: str, dataset: str, rate: float, calls: Calls) -> None:
        """Slots do `rate` entries a second with an analysis, in these calls."""
        key = analysis, dataset
        self._known[key] = rate, calls
        self._known.move_to_end(key)
        self._last[analysis] = key
        if len(self._known) > MOST_ANALYSES:
            oldest, _ = self._known.popitem(last=False)
            if self._last[oldest[0]] == oldest:
                del self._last[oldest[0]]

    def of(self, analysis: str, dataset: str) -> tuple[float, Sequence[Tried]]:
        """Entries a second of a slot, 0 where nothing is known, and some calls of every size.

        Of another dataset's calls no large ones: as many of these events may not fit into memory.
        """
        key = analysis, dataset
        if key in self._known:
            rate, calls = self._known[key]
            return rate, calls.tell()
        if analysis not in self._last:
            return 0.0, ()
        rate, calls = self._known[self._last[analysis]]
        return rate, [call for call in calls.tell() if call[0] <= UNMEASURED]
