"""Adding up the cells of histograms, as boost-histogram does it, on plain numpy arrays."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .axes import Axis
from .nodes import CELLS, Cells, Histogram, Unmergeable

GROWTH_LIMIT = 2**30  # bytes that a histogram may grow to by joining its axes

# Weight and squared-deviation field of the storages that hold means.
_MEANS = {
    CELLS["Mean"]: ("count", "_sum_of_deltas_squared"),
    CELLS["WeightedMean"]: ("sum_of_weights", "_sum_of_weighted_deltas_squared"),
}


def joined_axes(mine: tuple[Axis, ...], theirs: Histogram, cell_bytes: int) -> tuple[Axis, ...]:
    """Axes that hold a histogram with axes `mine` and the histogram `theirs`; Unmergeable when there are none."""
    if mine == theirs.axes:
        return mine
    if len(mine) != len(theirs.axes):
        raise Unmergeable(f"histograms with {len(mine)} and with {len(theirs.axes)} axes do not add up")
    try:
        axes = tuple([one.joined(other) for one, other in zip(mine, theirs.axes, strict=True)])
    except ValueError as error:
        raise Unmergeable(f"histograms do not add up: {error}") from error
    if axes != mine and math.prod(axis.extent for axis in axes) * cell_bytes > GROWTH_LIMIT:
        raise Unmergeable(
            f"the growing axes would need more than {GROWTH_LIMIT >> 20} MiB to hold {', '.join(map(str, axes))}; "
            "give the histogram fixed axes"
        )
    return axes


def add_histogram(cells: Cells, axes: tuple[Axis, ...], node: Histogram) -> None:
    """Add the histogram `node` to `cells`, whose `axes` hold all of its bins. Changes `cells` only."""
    if axes == node.axes:
        add_cells(cells, node.cells)
        return
    where = _places(cells, node.axes, axes)
    part = np.ascontiguousarray(cells[where])
    add_cells(part, node.cells)
    cells[where] = part


def moved(cells: Cells, axes: tuple[Axis, ...], joint: tuple[Axis, ...]) -> Cells:
    """A new array for the axes `joint` with `cells`, whose axes are `axes`, where they belong."""
    lead = cells.ndim - len(axes)
    larger = np.zeros((*cells.shape[:lead], *[axis.extent for axis in joint]), cells.dtype)
    larger[_places(cells, axes, joint)] = cells
    return larger


def _places(cells: Cells, axes: tuple[Axis, ...], joint: tuple[Axis, ...]) -> tuple[Cells, ...]:
    lead = cells.ndim - len(axes)  # MultiCell: the elements of a cell come first
    all_elements = [np.arange(length) for length in cells.shape[:lead]]
    return np.ix_(*all_elements, *[axis.places(other) for axis, other in zip(axes, joint, strict=True)])


def add_cells(target: Cells, source: Cells) -> None:
    """Add cells, or numbers, to others of the same type. Changes `target` only."""
    means = _MEANS.get(target.dtype)
    if means is not None:
        _add_means(target, source, *means)
    elif target.dtype == CELLS["Weight"]:  # values add up, and so do variances
        target.reshape(-1).view(np.float64)[...] += source.reshape(-1).view(np.float64)
    else:
        target += source


def _add_means(target: Cells, source: Cells, weight: str, deviation: str) -> None:
    """Chan, Golub and LeVeque's formula for two samples, in the order of operations of boost::histogram's operator+=.

    See include/boost/histogram/accumulators/mean.hpp and weighted_mean.hpp. As there, an empty source changes nothing;
    here, an empty target also takes the source over bit by bit. Unlike there, weights that cancel leave no empty cell:
    what its mean was times its weight is lost, so that the mean of the sum is not known: nan.
    """
    n1, n2 = target[weight].copy(), source[weight]
    mean1, mean2 = target["value"].copy(), source["value"]
    total = n1 + n2
    mean = (n1 * mean1 + n2 * mean2) / total  # 0/0 where both are empty: not used below (and `Total.add` silences it)
    both = target[deviation] + source[deviation]
    both += n1 * (mean - mean1) ** 2
    both += n2 * (mean - mean2) ** 2
    kept, taken = _empty(source, weight), _empty(target, weight)
    target[weight] = total
    target["value"] = np.where(kept, mean1, np.where(taken, mean2, mean))
    target[deviation] = np.where(kept, target[deviation], np.where(taken, source[deviation], both))
    if weight == "sum_of_weights":
        target["sum_of_weights_squared"] += source["sum_of_weights_squared"]


def _empty(cells: Cells, weight: str) -> npt.NDArray[np.bool_]:
    """Which cells hold nothing: not those in which weights have cancelled, whose mean was divided by zero."""
    nothing = cells[weight] == 0
    if weight == "sum_of_weights":
        return np.asarray(nothing & (cells["sum_of_weights_squared"] == 0))
    return np.asarray(nothing & ~np.isinf(cells["value"]))
