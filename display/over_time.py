"""How much of what there was at which time: means between edges, of thousands of spans at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values: TypeAlias = NDArray[np.float64]


class Means:
    """The means in steps of equal length, from a first moment to a last one.

    Args:
        since, until: the moments, in seconds.
        steps: how many.

    Example:
        >>> means = Means(0.0, 4.0, 2)
        >>> means.moments
        [1.0, 3.0]
        >>> means.of(["a", "b", "a"], [0.0, 1.0, 2.0], [4.0, 2.0, 9.0], [1.0, 2.0, 3.0])
        {'a': [1.0, 4.0], 'b': [1.0, 0.0]}
    """

    def __init__(self, since: float, until: float, steps: int) -> None:
        self._edges = np.linspace(since, max(since, until), steps + 1)

    @property
    def moments(self) -> list[float]:
        """The middle of each step."""
        found: list[float] = ((self._edges[:-1] + self._edges[1:]) / 2).tolist()
        return found

    def of(
        self, kinds: Sequence[str], begins: ArrayLike, ends: ArrayLike, heights: ArrayLike
    ) -> dict[str, list[float]]:
        """Of spans, each of a kind, from a moment to another: of each kind, the mean of the sum of their heights."""
        numbers: dict[str, int] = {}
        rows = np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds], np.intp)
        found = self.of_rows(rows, len(numbers), begins, ends, heights).tolist()
        return {kind: found[row] for kind, row in numbers.items()}

    def of_rows(
        self, rows: NDArray[np.intp], count: int, begins: ArrayLike, ends: ArrayLike, heights: ArrayLike
    ) -> Values:
        """The same of so many kinds, by their numbers: a row of means for each."""
        edges = self._edges
        width = edges[1] - edges[0]
        if not width or not len(rows):
            return np.zeros((count, len(edges) - 1))
        # Seconds since the first edge, cut to what is looked at: what is over would only add rounding to what is not.
        low = np.clip(np.asarray(begins, np.float64), edges[0], edges[-1]) - edges[0]
        high = np.clip(np.asarray(ends, np.float64), edges[0], edges[-1]) - edges[0]
        tall = np.asarray(heights, np.float64)
        areas = self._areas(rows, count, low, tall) - self._areas(rows, count, high, tall)
        found: Values = np.maximum(np.diff(areas, axis=1) / width, 0.0)
        return found

    def _areas(self, rows: NDArray[np.intp], kinds: int, begins: Values, heights: Values) -> Values:
        """Of each kind, up to each edge, the area of what begins and never ends."""
        edges = self._edges - self._edges[0]
        places = rows * len(edges) + np.searchsorted(edges, begins)
        shape = (kinds, len(edges))
        begun = np.bincount(places, heights, kinds * len(edges)).reshape(shape).cumsum(axis=1)
        before = np.bincount(places, heights * begins, kinds * len(edges)).reshape(shape).cumsum(axis=1)
        found: Values = begun * edges - before
        return found
