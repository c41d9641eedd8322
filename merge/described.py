"""Histograms as their nodes describe them, without the templates that only their owners' Python opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import nodes
from .axes import Axis, CategoryAxis, IntegerAxis, RegularAxis, VariableAxis

if TYPE_CHECKING:
    import boost_histogram as bh


def described(node: nodes.Histogram) -> Any:
    """The histogram of a node, as boost-histogram has it; of a miniature, `made_of` says how many bins its axes had.

    Example:
        >>> from hist import Hist
        >>> from .histograms import histogram_node
        >>> described(histogram_node(Hist.new.Reg(2, 0, 2).Double().fill([0.5]))).values().tolist()
        [1.0, 0.0]
    """
    import boost_histogram as bh

    elements = node.elements
    storage: Any = getattr(bh.storage, node.storage)(*elements)
    made: bh.Histogram[Any] = bh.Histogram(*[_axis(axis) for axis in node.axes], storage=storage)
    made.__dict__.update(_variance_known=node.variance_known, made_of=node.of)
    if node.storage == "Unlimited":
        made[...] = node.cells
    else:
        np.asarray(made.view(flow=True))[...] = node.cells
    return made


def _axis(told: Axis) -> bh.axis.Axis:
    """An axis with the same bins. That it grows, or goes round, is of no matter to who looks at it."""
    from boost_histogram import axis as kinds

    flow: dict[str, Any] = {"underflow": told.underflow, "overflow": told.overflow}
    made: Any
    if isinstance(told, CategoryAxis):
        kind: Any = kinds.StrCategory if told.words else kinds.IntCategory
        made = kind(told.categories, overflow=told.overflow)
    elif isinstance(told, IntegerAxis):
        made = kinds.Boolean() if told.boolean else kinds.Integer(told.start, told.stop, **flow)
    elif isinstance(told, RegularAxis) and not told.transform:
        made = kinds.Regular(told.bins, told.start, told.stop, **flow)
    else:
        made = kinds.Variable(_edges(told), **flow)
    made.__dict__.update(name=told.name, label=told.label)
    return made  # type: ignore[no-any-return]


def _edges(told: RegularAxis | VariableAxis) -> Sequence[float]:
    from boost_histogram.axis import Regular
    from boost_histogram.axis import transform as known

    if isinstance(told, VariableAxis):
        return told.edges
    transform: Any = {"log": known.log, "sqrt": known.sqrt}.get(told.transform)
    if transform is None:
        transform = known.Pow(float(told.transform.removeprefix("pow(").removesuffix(")")))
    edges: Sequence[float] = Regular(told.bins, told.start, told.stop, transform=transform).edges.tolist()
    return edges
