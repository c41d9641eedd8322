"""Histogram axes as they travel: enough of an axis to compare it with another one, and to join two that grew apart.

The axis object itself stays with the user's Python (see `histograms.py`). Here is its description, which serves a
master that has never imported boost-histogram. Only an axis that grows may differ from packet to packet:

* a growing Regular or Integer axis covers the union of the ranges, in whole bins;
* a growing category axis holds the union of the categories, sorted, so that it does not matter which came first;
* any other axis must be the same everywhere, up to the rounding of its edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

Places: TypeAlias = npt.NDArray[np.intp]

# Of a bin's width. boost-histogram rounds each time that an axis grows; the libm of two machines may round the edges of
# a log axis differently.
TOLERANCE = 1e-6
MAX_BINS = 2**40


class AxisBase(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What all axes have: `underflow` and `overflow` say which flow bins exist, `name` and `label` are hist's."""

    name: str = ""
    label: str = ""
    underflow: bool = False
    overflow: bool = False
    circular: bool = False
    growth: bool = False

    @property
    def size(self) -> int:
        """Bins, flow bins not counted."""
        raise NotImplementedError

    @property
    def extent(self) -> int:
        """Bins, flow bins counted: the axis's length in `h.view(flow=True)`."""
        return self.size + self.underflow + self.overflow

    def _is_like(self, other: Axis) -> bool:
        return type(self) is type(other) and _common(self) == _common(other)

    def _in(self, joint: AxisBase, inner: Places) -> Places:
        """The places `inner` of this axis's bins in `joint`, with the flow bins put at its ends."""
        low = [0] if self.underflow else []
        high = [joint.extent - 1] if self.overflow else []
        return np.concatenate([low, inner + self.underflow, high]).astype(np.intp)

    def _title(self, text: str) -> str:
        title = self.name or self.label
        return f"{title!r}, {text}" if title else text


class RegularAxis(AxisBase, frozen=True, tag="regular", kw_only=True):
    """`bins` equal bins from `start` to `stop`, equal after `transform` ("", "log", "sqrt" or "pow(...)")."""

    bins: int
    start: float
    stop: float
    transform: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= MAX_BINS or not (math.isfinite(self.start) and math.isfinite(self.stop)):
            raise ValueError("a regular axis needs bins and finite edges")
        if not 0 < abs(self.width) < math.inf:
            raise ValueError("a regular axis needs a range")

    def __str__(self) -> str:
        return self._title(f"{self.bins} {self.transform or 'regular'} bins from {self.start:.12g} to {self.stop:.12g}")

    @property
    def size(self) -> int:
        return self.bins

    @property
    def width(self) -> float:
        """Of one bin."""
        return (self.stop - self.start) / self.bins

    def joined(self, other: Axis) -> RegularAxis:
        """The axis that holds the bins of both; ValueError, with the reason, when there is none."""
        if not isinstance(other, RegularAxis) or not self._is_like(other) or self.transform != other.transform:
            raise _differ(self, other)
        first, last = (other.start - self.start) / self.width, (other.stop - self.start) / self.width
        if not self.growth:
            if self.bins != other.bins or max(abs(first), abs(last - self.bins)) > TOLERANCE:
                raise _differ(self, other)
            return self
        if not (abs(first) <= MAX_BINS and abs(last) <= MAX_BINS):
            raise _too_far(self, other)
        low, high = round(first), round(last)
        if max(abs(first - low), abs(last - high)) > TOLERANCE or high - low != other.bins:
            raise ValueError(f"the bins of growing axes must line up, and these do not: {self}; {other}")
        # edges in the same place may differ by rounding: take the smaller, so that the order of merging does not show
        start = self.start if low > 0 else other.start if low < 0 else min(self.start, other.start)
        stop = self.stop if high < self.bins else other.stop if high > self.bins else min(self.stop, other.stop)
        return replace(self, bins=max(self.bins, high) - min(0, low), start=start, stop=stop)

    def places(self, joint: Axis) -> Places:
        """For each bin of this axis, flow bins counted, its index in `joint`, an axis joined from this one."""
        assert isinstance(joint, RegularAxis)
        return self._in(joint, np.arange(self.bins) + round((self.start - joint.start) / joint.width))


class VariableAxis(AxisBase, frozen=True, tag="variable", kw_only=True):
    """Bins between `edges`; also a Regular axis under a transform that has no name of its own."""

    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges) < 2:
            raise ValueError("a variable axis needs two edges")

    def __str__(self) -> str:
        return self._title(f"{self.size} variable bins from {self.edges[0]:.12g} to {self.edges[-1]:.12g}")

    @property
    def size(self) -> int:
        return len(self.edges) - 1

    def joined(self, other: Axis) -> VariableAxis:
        """As `RegularAxis.joined`."""
        if isinstance(other, VariableAxis) and self._is_like(other) and _near(self.edges, other.edges):
            return self
        if self.growth:
            raise ValueError(
                "a growing Variable axis puts its new edges where the first far value falls, which differs from packet "
                f"to packet: {self}; {other}. Declare all its edges and leave growth off"
            )
        raise _differ(self, other)

    def places(self, joint: Axis) -> Places:
        """As `RegularAxis.places`."""
        return np.arange(joint.extent)


class IntegerAxis(AxisBase, frozen=True, tag="integer", kw_only=True):
    """One bin for each integer from `start` up to, not including, `stop`; `boolean` when they mean False and True."""

    start: int
    stop: int
    boolean: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.stop - self.start <= MAX_BINS:
            raise ValueError("an integer axis needs start <= stop")

    def __str__(self) -> str:
        return self._title(f"{'boolean' if self.boolean else 'integer'} bins from {self.start} to {self.stop}")

    @property
    def size(self) -> int:
        return self.stop - self.start

    def joined(self, other: Axis) -> IntegerAxis:
        """As `RegularAxis.joined`."""
        if not isinstance(other, IntegerAxis) or not self._is_like(other) or self.boolean != other.boolean:
            raise _differ(self, other)
        if not self.growth and self != other:
            raise _differ(self, other)
        start, stop = min(self.start, other.start), max(self.stop, other.stop)
        if stop - start > MAX_BINS:
            raise _too_far(self, other)
        return replace(self, start=start, stop=stop)

    def places(self, joint: Axis) -> Places:
        """As `RegularAxis.places`."""
        assert isinstance(joint, IntegerAxis)
        return self._in(joint, np.arange(self.size) + (self.start - joint.start))


class CategoryAxis(AxisBase, frozen=True, tag="category", kw_only=True):
    """One bin a category, all of one type: str if `words`, else int; sorted when the axis grows."""

    categories: tuple[int | str, ...]
    words: bool

    def __post_init__(self) -> None:
        if any(type(category) is not (str if self.words else int) for category in self.categories):
            raise ValueError("categories are all words or all integers")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("a category occurs twice")
        if self.growth and canonical(self.categories) != self.categories:
            raise ValueError("the categories of a growing axis are sorted")

    def __str__(self) -> str:
        shown = ", ".join(map(repr, self.categories[:6]))
        more = f", and {self.size - 6} more" if self.size > 6 else ""
        return self._title(f"categories {shown or '(none yet)'}{more}")

    @property
    def size(self) -> int:
        return len(self.categories)

    def joined(self, other: Axis) -> CategoryAxis:
        """As `RegularAxis.joined`."""
        if not isinstance(other, CategoryAxis) or not self._is_like(other) or self.words != other.words:
            raise _differ(self, other)
        if not self.growth and self != other:
            raise _differ(self, other)
        return replace(self, categories=canonical({*self.categories, *other.categories})) if self.growth else self

    def places(self, joint: Axis) -> Places:
        """As `RegularAxis.places`."""
        assert isinstance(joint, CategoryAxis)
        index = {category: place for place, category in enumerate(joint.categories)}
        return self._in(joint, np.array([index[category] for category in self.categories], np.intp))


Axis: TypeAlias = RegularAxis | VariableAxis | IntegerAxis | CategoryAxis


def _common(axis: AxisBase) -> tuple[str, str, bool, bool, bool, bool]:
    return axis.name, axis.label, axis.underflow, axis.overflow, axis.circular, axis.growth


def _near(mine: Sequence[float], theirs: Sequence[float]) -> bool:
    if mine == theirs:
        return True
    if len(mine) != len(theirs):
        return False
    widths = np.abs(np.diff(mine))
    return bool(np.all(np.abs(np.subtract(mine, theirs)) <= TOLERANCE * np.append(widths, widths[-1])))


def canonical(categories: Iterable[int | str]) -> tuple[int | str, ...]:
    """The order of a growing axis: sorted, so that it does not depend on which packet came first."""
    return tuple(sorted(categories))


def _differ(mine: Axis, theirs: Axis) -> ValueError:
    flags = "" if str(mine) != str(theirs) else f": flags, name or label ({_common(mine)}, {_common(theirs)})"
    return ValueError(f"the axis is not the same in all packets{flags}: {mine}; {theirs}")


def _too_far(mine: Axis, theirs: Axis) -> ValueError:
    return ValueError(f"a growing axis would need more than {MAX_BINS:.0e} bins to hold both: {mine}; {theirs}")
