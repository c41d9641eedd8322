"""A result made small for a display: a screen has a thousand columns, and a histogram may have a million bins.

A master makes it where the total lies, so that what travels is what is looked at. It knows nodes only, no histogram's own
classes, and runs no code of anybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from . import nodes
from .axes import Axis, CategoryAxis, IntegerAxis, Places, RegularAxis, VariableAxis
from .names import joined
from .nodes import Tree

MOST_BINS = 2000
"""Of a histogram that is drawn as a line."""
MOST_BINS_OF_MAPS = 250
"""Of each axis of one that is drawn as a map, or of more axes."""
FIRST = 2
"""Histograms that are kept whether they are asked for or not: a display that begins does not know what there is."""
MOST_ELEMENTS = 1000
"""Of an array; of a larger one, only its shape is kept."""
MOST_PICKLED = 2**16
"""Bytes of an object of the user's."""

Window = tuple[float, float]
"""From where to where of the first axis somebody looks closely: there the bins are as they are, or nearly so."""
LEFT_OUT = nodes.Histogram((), "Double", True, b"", np.zeros(()), (0,))
"""Stands for a histogram that nobody looks at."""


def miniature(tree: Tree, names: Collection[str] = (), windows: Mapping[str, Window] | None = None) -> Tree:
    """The result with what displays show of it.

    Args:
        tree: the result.
        names: the histograms that are looked at, as `names.joined` makes them; of others there is only that they are there.
        windows: of those, where to look closely, by name.

    Example:
        >>> from hist import Hist
        >>> from .encode import encode
        >>> fine = Hist.new.Reg(1_000_000, 0, 1).Double().fill([0.1, 0.9])
        >>> small = miniature(encode({"x": fine}, 2).tree)
        >>> small.items["x"].axes[0].bins, small.items["x"].of, float(small.items["x"].cells.sum())
        (2000, (1000000,), 2.0)
    """
    kept = {*names, *islice(_histograms(tree, ""), FIRST)}
    return _small(tree, "", kept, windows or {})


def coarse(node: nodes.Histogram, window: Window | None = None) -> nodes.Histogram:
    """A histogram with fewer bins, each the sum of some of its own; means, which do not add up so, stay as they are."""
    continuous = [at for at, axis in enumerate(node.axes) if not isinstance(axis, CategoryAxis)]
    most = MOST_BINS if len(continuous) == 1 else MOST_BINS_OF_MAPS
    if node.of or node.storage in ("Mean", "WeightedMean") or all(node.axes[at].size <= most for at in continuous):
        return node
    fields = node.cells.dtype.names or ()
    cells = np.asarray(node.cells).view(np.float64).reshape(*node.cells.shape, len(fields)) if fields else node.cells
    axes = list(node.axes)
    lead = len(node.elements)
    for at in continuous:
        starts = _starts(axes[at], most, window if at == continuous[0] else None)
        if len(starts) < axes[at].size:
            cells = np.add.reduceat(cells, _with_flow(axes[at], starts), axis=lead + at)
            axes[at] = _coarse_axis(axes[at], starts)
    if fields:
        cells = np.ascontiguousarray(cells).view(node.cells.dtype)[..., 0]
    of = tuple(axis.size for axis in node.axes)
    return nodes.Histogram(tuple(axes), node.storage, node.variance_known, b"", np.ascontiguousarray(cells), of)


def is_left_out(node: nodes.Histogram) -> bool:
    """Whether it stands for a histogram that nobody looks at."""
    return node.of == LEFT_OUT.of


def _histograms(tree: Tree, name: str) -> Iterator[str]:
    """The names of the histograms in it."""
    if isinstance(tree, nodes.Histogram):
        yield name
    elif isinstance(tree, nodes.Dict):
        for key, inner in tree.items.items():
            yield from _histograms(inner, joined(name, key))


def _small(tree: Tree, name: str, kept: Collection[str], windows: Mapping[str, Window]) -> Tree:
    match tree:
        case nodes.Dict():
            return nodes.Dict({key: _small(it, joined(name, key), kept, windows) for key, it in tree.items.items()})
        case nodes.Histogram():
            return coarse(tree, windows.get(name)) if name in kept else LEFT_OUT
        case nodes.Array(data=data) if data.size > MOST_ELEMENTS:
            return nodes.Constant(f"array of {' x '.join(f'{size:,}' for size in data.shape)} {data.dtype}")
        case nodes.Awkward():
            return nodes.Constant(f"an awkward array of {sum(chunk.length for chunk in tree.chunks()):,} entries")
        case nodes.Pickled() if sum(len(part.frame) for part in tree.parts) > MOST_PICKLED:
            return nodes.Constant(f"a {tree.type_name}")
        case _:
            return tree


def _starts(axis: Axis, most: int, window: Window | None) -> Places:
    """The first bin of each group of bins."""
    together = _group(axis.size, most)
    starts = np.arange(0, axis.size, together)
    if window is None or together == 1:
        return starts
    edges = _edges(axis, np.append(starts, axis.size))
    first = max(0, int(np.searchsorted(edges, window[0], side="right")) - 1)
    beyond = min(len(starts), int(np.searchsorted(edges, window[1], side="left")))
    if beyond <= first:
        return starts
    low, high = starts[first], starts[beyond] if beyond < len(starts) else axis.size
    inside = np.arange(low, high, -(-(high - low) // most))
    return np.concatenate([starts[:first], inside, starts[beyond:]])


def _group(bins: int, most: int) -> int:
    """How many bins are one, so that `most` are left: if it can be, so many that none is left over."""
    least = -(-bins // most)
    return next((size for size in range(least, min(2 * least, bins) + 1) if bins % size == 0), least)


def _with_flow(axis: Axis, starts: Places) -> Places:
    low = [0] if axis.underflow else []
    high = [axis.extent - 1] if axis.overflow else []
    return np.concatenate([low, starts + axis.underflow, high]).astype(np.intp)


def _coarse_axis(axis: Axis, starts: Places) -> Axis:
    """The axis whose bins are those groups: of the same kind, if they are even."""
    is_even = axis.size % len(starts) == 0 and bool(np.all(np.diff(starts) == axis.size // len(starts)))
    if isinstance(axis, RegularAxis) and is_even:
        return replace(axis, bins=len(starts))
    edges = tuple(_edges(axis, np.append(starts, axis.size)).tolist())
    return VariableAxis(name=axis.name, label=axis.label, underflow=axis.underflow, overflow=axis.overflow, edges=edges)


def _edges(axis: Axis, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The lower edges of some bins; of one beyond the last, the end of the axis."""
    if isinstance(axis, VariableAxis):
        return np.asarray(axis.edges)[places]
    if isinstance(axis, IntegerAxis):
        return (axis.start + places).astype(np.float64)
    assert isinstance(axis, RegularAxis)
    ends = np.array([axis.start, axis.stop])
    part = places / axis.bins
    match axis.transform:
        case "":
            return np.asarray((1 - part) * axis.start + part * axis.stop)
        case "log":
            low, high = np.log(ends)
            return np.asarray(np.exp((1 - part) * low + part * high))
        case "sqrt":
            power = 0.5
        case name:
            power = float(name.removeprefix("pow(").removesuffix(")"))
    low, high = ends**power
    return np.asarray(((1 - part) * low + part * high) ** (1 / power))
