"""A result as somebody looks at it who must not run the code of those that made it: nothing in it is unpickled.

A page of a standing master shows the results of all its users. What was pickled in their slots would run as the page's
own user; a histogram's axes and cells travel as plain descriptions, which is all that it takes to draw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import nodes
from .axes import Axis, CategoryAxis, IntegerAxis, RegularAxis, VariableAxis
from .encode import decode
from .nodes import Tree
from .opened import Opened
from .partial import Partial

if TYPE_CHECKING:
    import boost_histogram as bh


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object of somebody's class, of which nothing but the class is known here."""

    type_name: str

    def __str__(self) -> str:
        return f"a {self.type_name}, which its own session can show"


def plain(partial: Partial) -> object:
    """The value of a partial result without what only Python can merge (`Opaque`), for displays.

    Dicts are read-only mappings, histograms boost-histogram's, awkward arrays a line that says how long they are.

    Example:
        >>> from .encode import encode
        >>> found = plain(encode({"n": 3, "mine": {1, 2}}, 5))
        >>> dict(found)
        {'n': 3, 'mine': {1, 2}}
    """
    return _value(partial.tree)


def _value(tree: Tree) -> Any:
    match tree:
        case nodes.Array(data=data):
            return data if data.ndim else data[()]
        case nodes.List(items=branches):
            return [_value(branch) for branch in branches]
        case nodes.Tuple(items=branches):
            return tuple(_value(branch) for branch in branches)
        case nodes.Dict(items=named):
            return Opened(named, _value)
        case nodes.Awkward():
            return f"an awkward array of {sum(chunk.length for chunk in tree.chunks()):,} entries"
        case nodes.Histogram():
            return _histogram(tree)
        case nodes.Pickled(type_name=name):
            return Opaque(name)
        case (  # each kind is named: what is pickled is never to come here
            nodes.Nothing() | nodes.Constant() | nodes.Binary() | nodes.Number() | nodes.Counter() | nodes.Set()
            | nodes.Sketched()
        ):  # fmt: skip
            return decode(Partial(tree))


def _histogram(node: nodes.Histogram) -> Any:
    import boost_histogram as bh

    elements = node.elements
    storage: Any = getattr(bh.storage, node.storage)(*elements)
    made: bh.Histogram[Any] = bh.Histogram(*[_axis(axis) for axis in node.axes], storage=storage)
    made.__dict__["_variance_known"] = node.variance_known
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
