"""The bins of a sketch, chosen from what is in it, and the histogram that it is then. For slots and sessions only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .sketches import EXACT, Counts, Sketch, SketchAxis, Values, decimal, number_below, width_of

if TYPE_CHECKING:
    from hist import Hist

CASES = "expression"
"""The name of the axis of what is drawn over each other."""
_MOST_BINS = 40
"""Of an axis that nobody has chosen: what a terminal shows at once."""
_BULK = (0.005, 0.995)
_ROUND = ((1, 0), (2, 0), (25, -1), (5, 0))
"""Widths of bins, as whole numbers of times a power of ten."""
_NEARLY_ALL, _MUCH_WIDER = 0.97, 4


@dataclass(frozen=True)
class Bins:
    """Bins of one width. Their edges are the floats next to `(start + i * step) * 10**power`.

    Example:
        >>> Bins(2, -5, 10, -1).edges.tolist()
        [-0.5, 0.5, 1.5]
    """

    number: int
    start: int
    step: int
    power: int

    @property
    def edges(self) -> Values:
        """All of them, ascending; where the floats end, there may be fewer."""
        ends = range(self.start, self.start + self.number * self.step + 1, self.step)
        return np.unique([decimal(end, self.power) for end in ends])

    @property
    def are_between_whole_numbers(self) -> bool:
        """Whether the edges are, where no whole number is."""
        return self.power < 0 and self.start % 10**-self.power != 0 and self.step % 10**-self.power == 0

    def fit(self, level: int) -> bool:
        """Whether all edges are multiples of the width of a level, so that what is in which bin is known."""
        count, power = width_of(level)
        shift = self.power - power
        return level <= EXACT or all(
            end * 10 ** max(0, shift) % (count * 10 ** max(0, -shift)) == 0 for end in (self.start, self.step)
        )


class SteadyBins:
    """Remembers the bins that a histogram was shown with, so that its axes do not jump while it is filled.

    They are kept as long as nearly all values are in them, and they are not much wider than those that would be chosen now.
    """

    def __init__(self) -> None:
        self._bins: tuple[Bins | None, ...] = ()

    def drawn(self, sketch: Sketch) -> Hist[Any]:
        """The histogram of a sketch that has grown since the last time."""
        chosen = tuple(
            self._kept(at, axis, counts)
            for at, (axis, counts) in enumerate(zip(sketch.axes, _counts(sketch), strict=True))
        )
        self._bins = chosen
        return drawn(sketch, chosen)

    def _kept(self, at: int, axis: SketchAxis, counts: Counts) -> Bins | None:
        fresh = choose_bins(axis, counts)
        kept = self._bins[at] if at < len(self._bins) else None
        if kept is None or fresh is None or not kept.fit(axis.level):
            return fresh
        edges, finite = kept.edges, np.isfinite(axis.values)
        inside = finite & (axis.values >= edges[0]) & (axis.values < edges[-1])
        much_wider = decimal(kept.step, kept.power) > _MUCH_WIDER * decimal(fresh.step, fresh.power)
        return fresh if much_wider or counts[inside].sum() < _NEARLY_ALL * counts[finite].sum() else kept


def drawn(sketch: Sketch, bins: Sequence[Bins | None] | None = None) -> Hist[Any]:
    """The histogram of a sketch, by default with bins that are chosen from all that is in it."""
    from hist import Hist
    from hist.axis import Regular, StrCategory
    from hist.storage import Double, Weight

    if bins is None:
        bins = [choose_bins(axis, counts) for axis, counts in zip(sketch.axes, _counts(sketch), strict=True)]
    axes: list[Any] = []
    places = [np.arange(len(sketch.counts))]
    for axis, chosen in zip(sketch.axes, bins, strict=True):
        if chosen is None:
            assert isinstance(axis.bins, tuple)
            axes.append(Regular(*axis.bins, label=axis.label))
            places.append(axis.values.astype(np.intp))
        else:
            edges = chosen.edges
            axes.append(_axis_of(edges, axis.label, axis.whole and chosen.are_between_whole_numbers))
            places.append(np.searchsorted(edges, axis.values, side="right"))
    each = [sketch.counts] if sketch.sums is None else list(sketch.sums)
    filled = np.zeros((len(each), len(sketch.counts), *(axis.extent for axis in axes)))
    for cells, some in zip(filled, each, strict=True):
        np.add.at(cells, np.ix_(*places), some)
    cases = [StrCategory(sketch.cases, name=CASES, overflow=False)] if sketch.cases else []
    filled = filled if cases else filled[:, 0]
    histogram: Hist[Any] = Hist(*cases, *axes, storage=Double() if sketch.sums is None else Weight())
    view: Any = histogram.view(flow=True)
    if sketch.sums is None:
        view[...] = filled[0]
    else:
        view["value"], view["variance"] = filled
    return histogram


def _axis_of(edges: Values, label: str, roughly: bool) -> Any:
    """The axis with these edges: a regular one if it has just these, or roughly these, and its bins begin there."""
    from hist.axis import Regular, Variable

    if math.isfinite(float(edges[-1]) - float(edges[0])):
        regular: Any = Regular(len(edges) - 1, edges[0], edges[-1], label=label)
        places = np.arange(len(edges))
        if roughly or (np.array_equal(regular.edges, edges) and np.array_equal(regular.index(edges), places)):
            return regular
    return Variable(edges, label=label)


def choose_bins(axis: SketchAxis, counts: Counts) -> Bins | None:
    """Bins for the values of an axis, each of which came so often; None if they are given.

    Unit bins for a few whole numbers, else the range of all but half a percent on either side, in bins of a round width.
    Edges are multiples of the width to which values are rounded down.

    Example:
        >>> axis = SketchAxis("nMuon", None, True, EXACT, np.array([0.0, 1.0, 4.0]))
        >>> choose_bins(axis, np.array([1, 2, 1])).edges.tolist()
        [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    """
    if isinstance(axis.bins, tuple):
        return None
    bulk = _bulk(axis.values, counts)
    if bulk is None:
        return Bins(axis.bins or 1, 0, 1, 0)
    finite = axis.values[np.isfinite(axis.values)]
    least, most = int(finite[0]), int(finite[-1])
    if axis.whole and axis.bins is None and axis.level <= EXACT and most - least < _MOST_BINS:
        return Bins(most - least + 1, 10 * least - 5, 10, -1)
    return _round_bins(bulk, axis) if axis.bins is None else _so_many_bins(bulk, axis, axis.bins)


def _round_bins(bulk: tuple[float, float], axis: SketchAxis) -> Bins:
    """Bins of a round width, at multiples of it, that cover a range; each of as many whole numbers as the others."""
    least = _least_width(bulk, _MOST_BINS - 1)
    power = math.floor(math.log10(least)) - 1
    while True:
        for step, shift in _ROUND:
            bins = _covering(bulk, step, power + shift)
            if decimal(step, power + shift) >= least * (1 - 1e-9) and _suits(bins, axis):
                return bins
        power += 1


def _so_many_bins(bulk: tuple[float, float], axis: SketchAxis, number: int) -> Bins:
    """So many bins, of a width of two digits."""
    least = _least_width(bulk, number)
    power = math.floor(math.log10(least)) - 1
    while True:
        for step in range(10, 100):
            bins = _covering(bulk, step, power)
            if decimal(step, power) >= least * (1 - 1e-9) and bins.number <= number and _suits(bins, axis):
                return Bins(number, bins.start, bins.step, bins.power)
        power += 1


def _suits(bins: Bins, axis: SketchAxis) -> bool:
    is_whole = bins.power >= 0 or bins.step % 10**-bins.power == 0
    return bins.fit(axis.level) and (is_whole or not axis.whole)


def _least_width(bulk: tuple[float, float], bins: int) -> float:
    """Of so many bins that cover a range, 1 if that is a single value; edges are to be different floats."""
    low, high = bulk
    width = high / bins - low / bins if low < high else 1.0
    return max(width, 2 * math.ulp(max(abs(low), abs(high))))


def _covering(bulk: tuple[float, float], step: int, power: int) -> Bins:
    first, last = (number_below(end, step, power) for end in bulk)
    return Bins(last + 1 - first, first * step, step, power)


def _bulk(values: Values, counts: Counts) -> tuple[float, float] | None:
    """Where all finite values are but half a percent on either side; None if there are none."""
    finite = np.isfinite(values) & (counts > 0)
    if not finite.any():
        return None
    reached = np.cumsum(counts[finite])
    low, high = (values[finite][np.searchsorted(reached, part * reached[-1])] for part in _BULK)
    return float(low), float(high)


def _counts(sketch: Sketch) -> list[Counts]:
    """How often each value of each axis came."""
    every = range(sketch.counts.ndim)
    return [sketch.counts.sum(axis=tuple(at for at in every if at != axis + 1)) for axis in range(len(sketch.axes))]
