"""The binning of a histogram as plain numbers: all that compiled code needs to fill it.

boost-histogram fills in C++ only. A kernel therefore fills plain arrays, with the formulas of Boost.Histogram
(`boost/histogram/axis/*.hpp`); this module reads the numbers in these formulas from a histogram. It imports neither
hist nor boost_histogram: it only looks at a histogram that somebody else made.

Example:
    >>> from hist import Hist
    >>> plan = Binning.of(Hist.new.Reg(120, 0, 120).Double())
    >>> plan.storage, plan.shape, plan.axes[0].kind
    ('Double', (122,), 'regular')
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError

CELLS: dict[str, int] = {
    "Double": 1,
    "Int64": 1,
    "AtomicInt64": 1,
    "Unlimited": 1,
    "Weight": 2,
    "Mean": 3,
    "WeightedMean": 4,
}
"""How many numbers a bin holds, for each storage that a kernel can fill: int64 in integer storages, else float64."""

_TRANSFORMS = {"log": "log", "sqrt": "sqrt"}


@dataclass(frozen=True)
class Axis:
    """One axis of a histogram as numbers.

    `kind` says which formula turns a value into a bin: regular, circular, log, sqrt, pow, variable, circular variable,
    integer, circular integer, boolean, category (of integers), names (categories that are strings). A regular axis
    starts at `lo` and is `width` wide in all, after its transform; `power` is that of a pow transform. `size` bins lie
    between the flow bins; `extent` counts those too. `edges` are those of a variable axis, or a category's integers.
    """

    kind: str
    name: str
    size: int
    underflow: bool
    extent: int
    lo: float = 0.0
    width: float = 1.0
    power: float = 1.0
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binning:
    """All axes of a histogram and its storage; `shape` and `dtype` are those of its `view(flow=True)`."""

    storage: str
    axes: tuple[Axis, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, histogram: Any, output: str = "histogram") -> Binning:
        """Reads the binning of a `hist.Hist` or `boost_histogram.Histogram`; its contents do not matter.

        Raises AnalysisError, naming `output`, when compiled code cannot fill such a histogram.
        """
        storage = histogram.storage_type.__name__
        if storage not in CELLS:
            raise AnalysisError(
                f"{output}: a kernel cannot fill a histogram with {storage} storage; it can with {', '.join(CELLS)}"
            )
        axes = tuple(_axis(axis, f"{output}: axis {number}") for number, axis in enumerate(histogram.axes))
        view = np.asarray(histogram.view(flow=True))
        return cls(storage, axes, view.shape, view.dtype)

    @property
    def bins(self) -> int:
        """The number of bins with the flow bins."""
        return prod(self.shape)

    @property
    def cell_dtype(self) -> np.dtype[Any]:
        """The type of the numbers that a bin holds."""
        return np.dtype(np.int64 if "Int64" in self.storage else np.float64)

    def empty_cells(self) -> NDArray[Any]:
        """Zeros to be filled: one flat array, bins in C order, each with its CELLS numbers.

        One more number at the end becomes 1 when a storage without variances is filled with weights.
        """
        return np.zeros(self.bins * CELLS[self.storage] + 1, self.cell_dtype)

    def view(self, cells: NDArray[Any]) -> NDArray[Any]:
        """The same memory as `view(flow=True)` of the histogram would show it."""
        return cells[:-1].view(self.dtype).reshape(self.shape)


def is_histogram(value: object) -> bool:
    """Whether this looks like a histogram of hist or boost-histogram (neither is imported for the question)."""
    return all(hasattr(value, attribute) for attribute in ("axes", "storage_type", "view", "fill"))


def _axis(axis: Any, where: str) -> Axis:
    traits = axis.traits
    if traits.growth:
        raise AnalysisError(
            f"{where} grows while it is filled, which a kernel cannot do: give it its range or its categories, "
            "or fill it in a columnar function"
        )
    state = axis._ax.__getstate__()
    common: dict[str, Any] = {
        "name": getattr(axis, "name", "") or "",
        "size": len(axis),
        "underflow": traits.underflow,
        "extent": axis.extent,
    }
    circular = "circular " if traits.circular else ""
    match type(axis._ax).__name__.partition("_"):
        # Boost keeps the range as start and width; the edges alone would lose the last bit of the width. The edges
        # that a circular variable axis shows are not those that it fills by (boost-histogram 1.8).
        case "regular", _, "pow":
            return Axis("pow", lo=state[-2], width=state[-1], power=state[2], **common)
        case "regular", _, "trans":
            kind = _TRANSFORMS.get(repr(axis.transform))
            if kind is None:
                raise AnalysisError(
                    f"{where} has the transform {axis.transform!r}; a kernel knows log, sqrt and Pow only: "
                    "use a Variable axis with the same edges"
                )
            return Axis(kind, lo=state[-2], width=state[-1], **common)
        case "regular", _, flavour if flavour != "numpy":
            return Axis("circular" if circular else "regular", lo=state[-2], width=state[-1], **common)
        case "variable", _, _:
            return Axis(f"{circular}variable", edges=tuple(map(float, state[1])), **common)
        case "integer", _, _:
            return Axis(f"{circular}integer", lo=float(state[-1]), **common)
        case "boolean", _, _:
            return Axis("boolean", lo=float(state[-1]), **common)
        case "category", _, flavour if flavour.startswith("int"):
            return Axis("category", edges=tuple(float(number) for number in axis), **common)
        case "category", _, _:
            return Axis("names", categories=tuple(str(name) for name in axis), **common)
    raise AnalysisError(f"{where} is of a kind that a kernel cannot fill ({axis!r}): use one of hist's own axes")
