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
Places = npt.NDArray[np.intp]

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
_SOME = 1000
_REACH = 2**18
"""Multiples on either side of the middle that have a place in a table; what is farther away is searched."""


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
        sums: where values have weights, the sums of these and of their squares, each shaped as `counts`. They depend on the
            order of joining as all sums of floats do, in their last digits; bins are chosen by counts, and do not.

    Example:
        >>> sketch = sketched([[np.array([0.5, 2.0, 2.0])]], ["x"], [None])
        >>> sketch.axes[0].values.tolist(), sketch.counts.tolist()
        ([0.5, 2.0], [[1, 2]])
    """

    cases: tuple[str, ...]
    axes: tuple[SketchAxis, ...]
    counts: Counts
    sums: Values | None = None

    def __post_init__(self) -> None:
        shape = (max(1, len(self.cases)), *(len(axis.values) for axis in self.axes))
        if not 1 <= len(self.axes) <= 2 or len(set(self.cases)) != len(self.cases):
            raise ValueError("a sketch has one axis or two, and each case once")
        if self.counts.shape != shape or self.counts.dtype != np.int64:
            raise ValueError("the counts of a sketch do not fit its axes")
        if self.sums is not None and (self.sums.shape != (2, *shape) or self.sums.dtype != np.float64):
            raise ValueError("the sums of a sketch do not fit its axes")

    @property
    def kind(self) -> tuple[object, ...]:
        """What it has in common with those that it is joined with."""
        return self.cases, self.sums is not None, *(axis.kind for axis in self.axes)

    def joined(self, other: Sketch) -> Sketch:
        """Both together. They must be of the same cases and axes."""
        most = most_values(len(self.cases), len(self.axes))
        axes = tuple(_joined_axis(mine, its, most) for mine, its in zip(self.axes, other.axes, strict=True))
        shape = (len(self.counts), *(len(axis.values) for axis in axes))
        counts = np.zeros(shape, np.int64)
        sums = None if self.sums is None else np.zeros((2, *shape))
        for part in (self, other):
            moved = [part.counts] if part.sums is None else [part.counts, *part.sums]
            places = [np.arange(len(self.counts))]
            for at, (axis, joint) in enumerate(zip(part.axes, axes, strict=True), start=1):
                found = np.searchsorted(joint.values, axis.at(joint.level))
                starts = np.flatnonzero(np.diff(found, prepend=-1))
                if len(found):
                    moved = [np.add.reduceat(cells, starts, axis=at) for cells in moved]
                places.append(found[starts])
            for joint_cells, cells in zip([counts] if sums is None else [counts, *sums], moved, strict=True):
                joint_cells[np.ix_(*places)] += cells
        return Sketch(self.cases, axes, counts, sums)


def most_values(cases: int, axes: int) -> int:
    """How many different values an axis of a sketch may have; infinities are not counted."""
    return min(MOST_VALUES, int((MOST_CELLS / max(1, cases)) ** (1 / axes)))


def sketched(
    samples: Sequence[Sequence[npt.NDArray[Any]]],
    labels: Sequence[str],
    bins: Sequence[int | tuple[int, float, float] | None],
    cases: Sequence[str] = (),
    weights: Sequence[npt.NDArray[Any]] | None = None,
) -> Sketch:
    """The sketch of some values.

    Args:
        samples: for each case the values for each axis, numbers or truth values, as many for one axis as for the other.
            What is not a number (nan) is counted as above all bins, as boost-histogram does.
        labels: of the axes.
        bins: of each axis, as `SketchAxis.bins`.
        cases: as `Sketch.cases`.
        weights: for each case those of its values, if they have any.
    """
    most = most_values(len(cases), len(labels))
    ends = np.cumsum([len(case[0]) for case in samples])
    axes, places = [], []
    for at, (label, chosen) in enumerate(zip(labels, bins, strict=True)):
        column = np.concatenate([_floats(case[at], chosen) for case in samples])
        whole = all(case[at].dtype.kind in "iub" for case in samples)
        fixed = isinstance(chosen, tuple)
        level, values, found = _placed(column, whole or fixed, None if fixed else most)
        axes.append(SketchAxis(label, chosen, whole, level, values))
        places.append(np.split(found, ends[:-1]))
    shape = tuple(len(axis.values) for axis in axes)
    together = list(zip(*places, strict=True))
    counts = np.array([_together(found, shape) for found in together], np.int64)
    if weights is None:
        return Sketch(tuple(cases), tuple(axes), counts)
    each = [np.asarray(some, np.float64) for some in weights]
    sums = [
        [_together(found, shape, some**power) for found, some in zip(together, each, strict=True)] for power in (1, 2)
    ]
    # numpy adds up weights of no values to whole numbers
    return Sketch(tuple(cases), tuple(axes), counts, np.array(sums, np.float64))


def _together(places: Sequence[Places], shape: tuple[int, ...], weights: Values | None = None) -> npt.NDArray[Any]:
    """How often places on some axes come together, or the sums of their weights."""
    joint = np.ravel_multi_index(places, shape) if len(shape) > 1 and all(shape) else places[0]
    return np.bincount(joint, weights, math.prod(shape)).reshape(shape)


def _placed(column: Values, whole: bool, most: int | None) -> tuple[int, Values, Places]:
    """The level at which values are `most` different ones at most, these, and which of them each one is.

    Sorting all values would take longer than anything else that is done with them. Most are found by their numbers instead,
    at a level that is surely not too high: the one that some of them need.
    """
    level = EXACT
    if most is not None and len(column) > 4 * most:
        level = _level(np.unique(column[:: len(column) // (2 * most)]), most, EXACT)
    if level > EXACT:
        numbers, near = _numbers(column, level)
    else:
        numbers, near = column, np.abs(column) < (_WHOLE if whole else 0.0)
    reach = min(_REACH, 4 * len(column))
    low = math.floor(np.median(numbers[near][:_SOME])) - float(reach) if near.any() else 0.0
    near &= (numbers >= low) & (numbers < low + 2 * reach)
    near_numbers = (numbers[near] - low).astype(np.intp)
    table = np.zeros(2 * reach, np.intp)
    table[near_numbers] = 1
    occupied = np.flatnonzero(table)
    at_numbers = np.asarray(occupied + low, np.float64)
    near_values = _multiples(at_numbers, level) if level > EXACT else at_numbers
    others = rounded_down(column[~near], level)
    values = np.union1d(near_values, others)
    if most is not None and (needed := _level(values, most, level)) != level:
        level, values = needed, _distinct(rounded_down(values, needed))
        near_values, others = rounded_down(near_values, level), rounded_down(others, level)
    table[occupied] = np.searchsorted(values, near_values)
    places = np.empty(len(column), np.intp)
    places[near] = table[near_numbers]
    places[~near] = np.searchsorted(values, others)
    return level, values, places


def _floats(values: npt.NDArray[Any], bins: int | tuple[int, float, float] | None) -> Values:
    """Values as they are sketched: in 64 bits, or the numbers of their bins where these are given."""
    floats = np.asarray(values, np.float64) + 0.0  # there is one zero
    floats[np.isnan(floats)] = np.inf
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
    if not near.all():
        quotients = np.where(near, quotients, 0.0)
    numbers = np.floor(quotients)
    # What is not next to a multiple is on one side of it, however all this was rounded.
    unsure = near & (np.abs(quotients - np.rint(quotients)) <= 1e-15 * np.abs(quotients))
    if abs(power) >= _FARTHEST_POWER:
        unsure = np.isfinite(values)
    at = np.flatnonzero(unsure)
    if abs(power) <= _EXACT_POWER:
        numbers[at] = _corrected(numbers[at], values[at], level)
        return numbers, near
    for place in at.tolist():
        number = number_below(float(values[place]), count, power)
        near[place] = abs(number) < _WHOLE
        numbers[place] = number if near[place] else 0.0
    return numbers, near


def _corrected(numbers: Values, values: Values, level: int) -> Values:
    """The numbers of the largest multiples that are not above values, from those that may be one or two beside."""
    while (high := _multiples(numbers, level) > values).any():
        numbers = numbers - high
    while (low := _multiples(numbers + 1, level) <= values).any():
        numbers = numbers + low
    return numbers


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
