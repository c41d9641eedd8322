"""Histograms whose axes nobody has chosen: kept so finely, while the data come, that good bins can be chosen at the end.

A *sketch* keeps how often each value came, as long as few different ones do. When there are more than a limit, all are
rounded down to multiples of a decimal width, the least one with which they are no more than that: 0.01, 0.02, 0.1, 0.2, 1
and so on. Each of these widths is a multiple of those before it. So it does not matter in which order sketches are joined,
or how values were cut into them: the width depends on all values together, and what is counted in a bin is exact.

Bins are chosen at the end (`sketch_bins.py`) at multiples of the width. A value is in a bin if it is not less than its
lower edge and less than the upper one, as `numpy.histogram` has it; edges are the floats next to the decimal numbers.
Numpy only: masters merge sketches, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MOST_VALUES = 2**14
"""Different ones of an axis; of more than that a picture shows nothing."""
MOST_CELLS = 2**18
"""Of a sketch, if all of its axes have as many values as they may: 2 MiB."""
EXACT = -700
"""The level at which no value is rounded."""
COARSEST = 616
_EXACT_POWER = 22
"""Powers of ten up to this one are floats without rounding."""
_FARTHEST_POWER = 290
"""Beyond it widths are hardly floats any more."""
_WHOLE = 2.0**53


class SketchAxis(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An axis of a sketch.

    Attributes:
        label: of the axis to be.
        bins: their number, if that is given; or number, lower and upper end, and `values` are numbers of bins then, 0 being
            that of underflow.
        whole: whether all values are whole numbers of their type.
        level: to what values are rounded down (`width_of`).
        values: the different ones, ascending; with those that are infinite.
    """

    label: str
    bins: int | tuple[int, float, float] | None
    whole: bool
    level: int
    values: Values

    def __post_init__(self) -> None:
        if self.values.dtype != np.float64 or self.values.ndim != 1 or not np.all(np.diff(self.values) > 0):
            raise ValueError("the values of a sketch do not ascend")
        if np.isnan(self.values).any() or not EXACT <= self.level <= COARSEST:
            raise ValueError("the values of a sketch are no numbers")
        if isinstance(self.bins, tuple) and not set(self.values.tolist()) <= set(range(self.bins[0] + 2)):
            raise ValueError("a sketch has numbers of bins that its axis has not")

    @property
    def is_fixed(self) -> bool:
        """Whether its bins are given."""
        return isinstance(self.bins, tuple)

    def at(self, level: int) -> Values:
        """The values, rounded down to a level that is not below the axis' own."""
        return self.values if level == self.level else rounded_down(self.values, level)

    @property
    def kind(self) -> tuple[object, ...]:
        """As `Sketch.kind`."""
        return self.label, self.bins


class Sketch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False):
    """Values of expressions, counted.

    Attributes:
        cases: names of what is drawn over each other; none if there is but one.
        axes: one or two.
        counts: for each case, or for the only one, those of the values of the axes.

    Example:
        >>> sketch = sketched([[np.array([0.5, 2.0, 2.0])]], ["x"], [None])
        >>> sketch.axes[0].values.tolist(), sketch.counts.tolist()
        ([0.5, 2.0], [[1, 2]])
    """

    cases: tuple[str, ...]
    axes: tuple[SketchAxis, ...]
    counts: Counts

    def __post_init__(self) -> None:
        shape = (max(1, len(self.cases)), *(len(axis.values) for axis in self.axes))
        if not 1 <= len(self.axes) <= 2 or len(set(self.cases)) != len(self.cases):
            raise ValueError("a sketch has one axis or two, and each case once")
        if self.counts.shape != shape or self.counts.dtype != np.int64:
            raise ValueError("the counts of a sketch do not fit its axes")

    @property
    def kind(self) -> tuple[object, ...]:
        """What it has in common with those that it is joined with."""
        return self.cases, *(axis.kind for axis in self.axes)

    def joined(self, other: Sketch) -> Sketch:
        """Both together. They must be of the same cases and axes."""
        most = most_values(len(self.cases), len(self.axes))
        axes = tuple(_joined_axis(mine, its, most) for mine, its in zip(self.axes, other.axes, strict=True))
        counts = np.zeros((len(self.counts), *(len(axis.values) for axis in axes)), np.int64)
        for part in (self, other):
            moved, places = part.counts, [np.arange(len(self.counts))]
            for at, (axis, joint) in enumerate(zip(part.axes, axes, strict=True), start=1):
                found = np.searchsorted(joint.values, axis.at(joint.level))
                starts = np.flatnonzero(np.diff(found, prepend=-1))
                if len(found):
                    moved = np.add.reduceat(moved, starts, axis=at)
                places.append(found[starts])
            counts[np.ix_(*places)] += moved
        return Sketch(self.cases, axes, counts)


def most_values(cases: int, axes: int) -> int:
    """How many different values an axis of a sketch may have; infinities are not counted."""
    return min(MOST_VALUES, int((MOST_CELLS / max(1, cases)) ** (1 / axes)))


def sketched(
    samples: Sequence[Sequence[npt.NDArray[Any]]],
    labels: Sequence[str],
    bins: Sequence[int | tuple[int, float, float] | None],
    cases: Sequence[str] = (),
) -> Sketch:
    """The sketch of some values.

    Args:
        samples: for each case the values for each axis, numbers or truth values, as many for one axis as for the other.
            What is not a number (nan) is counted as above all bins, as boost-histogram does.
        labels: of the axes.
        bins: of each axis, as `SketchAxis.bins`.
        cases: as `Sketch.cases`.
    """
    most = most_values(len(cases), len(labels))
    columns = [[_floats(case[at], chosen) for case in samples] for at, chosen in enumerate(bins)]
    axes = []
    for at, (label, chosen) in enumerate(zip(labels, bins, strict=True)):
        level = EXACT if isinstance(chosen, tuple) else _least_level(np.concatenate(columns[at]), most)
        columns[at] = [rounded_down(column, level) for column in columns[at]]
        values = np.unique(np.concatenate(columns[at]))
        if not isinstance(chosen, tuple):
            level = _level(values, most, level)
        whole = all(case[at].dtype.kind in "iub" for case in samples)
        axes.append(SketchAxis(label, chosen, whole, level, _distinct(rounded_down(values, level))))
    counts = [_counted(case, axes) for case in zip(*columns, strict=True)]
    return Sketch(tuple(cases), tuple(axes), np.array(counts, np.int64))


def _counted(columns: Sequence[Values], axes: Sequence[SketchAxis]) -> Counts:
    """How often the values of some axes come together."""
    shape = tuple(len(axis.values) for axis in axes)
    if len(axes) == 1:  # sorting is faster than looking for the places of all
        values, counts = np.unique(columns[0], return_counts=True)
        places = np.searchsorted(axes[0].values, rounded_down(values, axes[0].level))
        return np.bincount(places, counts, shape[0]).astype(np.int64)  # exact: there are not 2^53 of them
    found = [
        np.searchsorted(axis.values, rounded_down(column, axis.level))
        for column, axis in zip(columns, axes, strict=True)
    ]
    joint = np.ravel_multi_index(found, shape) if all(shape) else np.empty(0, np.intp)
    return np.bincount(joint, minlength=math.prod(shape)).reshape(shape)


def _least_level(values: Values, most: int) -> int:
    """A level that is not above that of all these values, from a look at some of them: what is rounded is counted faster."""
    return _level(np.unique(values[: 4 * most]), most, EXACT) if len(values) > 16 * most else EXACT


def _floats(values: npt.NDArray[Any], bins: int | tuple[int, float, float] | None) -> Values:
    """Values as they are sketched: in 64 bits, or the numbers of their bins where these are given."""
    floats = np.asarray(values, np.float64) + 0.0  # there is one zero
    floats = np.where(np.isnan(floats), np.inf, floats)
    if not isinstance(bins, tuple):
        return floats
    from boost_histogram.axis import Regular

    axis: Any = Regular(*bins)
    return np.asarray(axis.index(floats), np.float64) + 1


def _joined_axis(mine: SketchAxis, other: SketchAxis, most: int) -> SketchAxis:
    level = max(mine.level, other.level)
    values = np.union1d(mine.at(level), other.at(level))
    if not mine.is_fixed and (needed := _level(values, most, level)) != level:
        level, values = needed, _distinct(rounded_down(values, needed))
    return replace(mine, whole=mine.whole and other.whole, level=level, values=values)


def _level(values: Values, most: int, least: int) -> int:
    """The least level at which ascending values, which are at level `least`, are `most` different ones at most."""
    finite = values[np.isfinite(values)]

    def fits(level: int) -> bool:
        numbers, near = _numbers(finite, level)
        apart = (np.diff(numbers) != 0) | (np.diff(near)) | (~near[1:] & (np.diff(finite) > 0))
        return 1 + int(np.count_nonzero(apart)) <= most

    if len(finite) <= most:
        return least
    # From where most of the values are, in ever larger steps: extreme levels take long, and some values may be anywhere.
    quarter, middle = finite[len(finite) // 4], finite[3 * len(finite) // 4]
    high = max(least + 1, _level_of_width(float(middle / most - quarter / most)))
    low, step = high - 1, 1
    while not fits(high):
        low, high, step = high, min(COARSEST, high + step), 2 * step
    while low > least and fits(low):
        high, low, step = low, max(least, low - step), 2 * step
    while high - low > 1:
        between = (low + high) // 2
        low, high = (low, between) if fits(between) else (between, high)
    return high


def _level_of_width(width: float) -> int:
    """A level of about this width."""
    return max(EXACT, 2 * math.floor(math.log10(width)) + 1) if width > 0 else EXACT


def _distinct(ascending: Values) -> Values:
    return np.asarray(ascending[np.diff(ascending, prepend=np.nan) != 0])


# --- decimal numbers ----------------------------------------------------------------------------------------------------


def width_of(level: int) -> tuple[int, int]:
    """The width of a level, as a whole number of times a power of ten: 1, 2, 10, 20, 100 and so on.

    Example:
        >>> width_of(0), width_of(1), width_of(2), width_of(-3)
        ((1, 0), (2, 0), (1, 1), (2, -2))
    """
    power, second = divmod(level, 2)
    return 1 + second, power


def decimal(number: int, power: int) -> float:
    """The float that is next to a whole number of times a power of ten; infinity if it is beyond all of them.

    Example:
        >>> decimal(3, -1), decimal(25, 1)
        (0.3, 250.0)
    """
    try:
        return float(number * 10**power) if power >= 0 else number / 10**-power
    except OverflowError:
        return math.copysign(math.inf, number)


def rounded_down(values: Values, level: int) -> Values:
    """For each value the largest multiple of the width of a level, as a float, that is not above it.

    Where floats are farther apart than multiples of the width, each of them is next to one: it stays what it is.

    Example:
        >>> rounded_down(np.array([0.3, 0.29999, -7.0, np.inf]), -2).tolist()
        [0.3, 0.2, -7.0, inf]
    """
    if level <= EXACT or not len(values):
        return values
    numbers, near = _numbers(values, level)
    return np.where(near, _multiples(numbers, level), values)


def _numbers(values: Values, level: int) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Which multiples of a width values are rounded down to, and for which of them this can be said (0 for the others)."""
    count, power = width_of(level)
    width = decimal(count, power)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # What is divided or multiplied with is exact up to 10^22, and either is rounded once.
        quotients = values / width if power >= 0 or power < -_EXACT_POWER else values * 10.0**-power / count
    near = np.abs(quotients) < _WHOLE
    quotients = np.where(near, quotients, 0.0)
    numbers = np.floor(quotients)
    if abs(power) > _EXACT_POWER:
        at_edges = np.abs(quotients - np.rint(quotients)) <= 1e-15 * np.abs(quotients)
        odd = near & at_edges if abs(power) < _FARTHEST_POWER else np.isfinite(values)
        for at in np.flatnonzero(odd).tolist():
            number = number_below(float(values[at]), count, power)
            near[at] = abs(number) < _WHOLE
            numbers[at] = number if near[at] else 0.0
        return numbers, near
    while (high := near & (_multiples(numbers, level) > values)).any():
        numbers -= high
    while (low := near & (_multiples(numbers + 1, level) <= values)).any():
        numbers += low
    return numbers, near


def _multiples(numbers: Values, level: int) -> Values:
    """Multiples of the width of a level, as the floats next to them."""
    count, power = width_of(level)
    if abs(power) > _EXACT_POWER:
        distinct, places = np.unique(numbers, return_inverse=True)
        return np.array([decimal(int(number) * count, power) for number in distinct.tolist()], np.float64)[places]
    scale = 10.0 ** abs(power)
    return np.asarray(numbers * count / scale if power < 0 else numbers * (count * scale), np.float64)


def number_below(value: float, count: int, power: int) -> int:
    """The largest number whose multiple of a width, `count * 10**power`, is not above a value, as floats are compared."""
    above, below = value.as_integer_ratio()
    above, below = (above, below * 10**power) if power >= 0 else (above * 10**-power, below)
    number = above // (below * count)
    return number + (decimal((number + 1) * count, power) <= value)
