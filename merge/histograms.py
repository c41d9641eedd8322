"""Between the user's histograms (hist, boost-histogram) and `Histogram` nodes. For slots and sessions only.

The cells travel as they are in memory (`h.view(flow=True)`): boost-histogram's own exchange format, UHI, turns the sums
of squares of mean storages into variances and log axes into edges, and rounds. boost-histogram is imported when the
first histogram comes by.
"""

from __future__ import annotations

import copy
import functools
import math
import pickle
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import cloudpickle
import numpy as np

from ..protocol.errors import MergeError
from .axes import Axis, CategoryAxis, IntegerAxis, RegularAxis, VariableAxis, canonical
from .nodes import CELLS, Cells, Histogram, Storage

if TYPE_CHECKING:
    import boost_histogram as bh

    AnyHistogram: TypeAlias = bh.Histogram[Any]


class HistogramTemplate:
    """A histogram's axes, storage and metadata, described once, so that plain arrays can be merged as such histograms.

    boost-histogram does not fill inside compiled code, so a kernel fills an array of `shape` and `dtype`, which are
    those of `h.view(flow=True)`, and returns it as a `FilledHistogram`. What `h` contains does not matter.

    Example::

        template = HistogramTemplate(Hist.new.Reg(120, 0, 120).Double())
        counts = np.zeros(template.shape, template.dtype)
        counts[1:-1] += 1                                   # cell 0 is underflow
        encode({"mass": FilledHistogram(template, counts)})

    Raises MergeError when the histogram's metadata cannot be pickled.
    """

    __slots__ = ("_order", "axes", "dtype", "pickled", "shape", "storage")

    def __init__(self, h: AnyHistogram) -> None:
        storage = h.storage_type
        if storage.__name__ not in CELLS:
            raise MergeError(f"a histogram with {storage.__name__} storage; known are {', '.join(CELLS)}")
        self.storage: Storage = storage.__name__
        self.dtype = CELLS[self.storage]
        self.shape: tuple[int, ...] = tuple(axis.extent for axis in h.axes)
        if self.storage == "MultiCell":
            self.shape = (h.view(flow=True).shape[0], *self.shape)
        self.axes = tuple(describe(axis) for axis in h.axes)
        self._order = _order(h, self.shape, self.axes)
        self.pickled = _pickled(h, storage(*self.shape[: len(self.shape) - len(self.axes)]), self.axes)

    def node(self, cells: Cells, variance_known: bool = True) -> Histogram:
        """The node for a copy of `cells`, an array of `shape` and `dtype`. MergeError when it is not."""
        if cells.shape != self.shape or cells.dtype != self.dtype:
            raise MergeError(
                f"an array of {cells.dtype} and shape {cells.shape} for a histogram whose cells, with flow bins, are "
                f"{self.dtype} and {self.shape}"
            )
        plain = np.asarray(cells)
        return self._node(np.array(plain if self._order is None else plain[self._order], order="C"), variance_known)

    def node_of(self, h: AnyHistogram) -> Histogram | None:
        """The node for a copy of the cells of a histogram that this describes; None when it takes `node`.

        numpy works out the names of the fields of a view time and again, which takes most of what a packet of many small
        histograms costs. What boost-histogram pickles has none.
        """
        if self._order is not None or not _pickles_cells(self.storage):
            return None
        core: Any = h._hist
        numbers: Cells = core.__getstate__()[-1]
        if numbers.nbytes != math.prod(self.shape) * self.dtype.itemsize:
            return None
        own = np.ascontiguousarray(numbers.view(self.dtype).reshape(self.shape, order="F"))
        return self._node(own, bool(h.__dict__.get("_variance_known", True)))

    def _node(self, own: Cells, variance_known: bool) -> Histogram:
        own.flags.writeable = False
        return Histogram(self.axes, self.storage, variance_known, self.pickled, own)


# Pickling takes longer than all the rest of `encode`, and an analysis returns the same few histograms time and again.
_PICKLED: dict[Hashable, bytes] = {}


@dataclass(frozen=True, slots=True)
class FilledHistogram:
    """The cells of one histogram as a plain array (shape and dtype of `h.view(flow=True)`), instead of the histogram.

    `variance_known` is boost-histogram's mark of a Double storage filled without weights.
    """

    template: HistogramTemplate
    array: Cells
    variance_known: bool = True


def histogram_node(h: AnyHistogram) -> Histogram:
    """The node of a live histogram, whose cells are copied; MergeError when it has no node."""
    template = _known(h) or HistogramTemplate(h)
    node = template.node_of(h)
    if node is not None:
        return node
    variance_known = bool(h.__dict__.get("_variance_known", True))
    cells = h._hist.view(flow=True)  # the same as `h.view`, which looks up what to call it, in 30 microseconds
    if cells.dtype == template.dtype and cells.shape == template.shape:
        return template.node(cells, variance_known)
    return template.node(h.view(flow=True), variance_known)


@functools.cache
def _pickles_cells(storage: Storage) -> bool:
    """Whether this boost-histogram pickles cells of several fields one after the other, as they lie in memory."""
    if CELLS[storage].fields is None:
        return False
    import boost_histogram as bh

    h = bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.Integer(0, 3), storage=getattr(bh.storage, storage)())
    cells: Cells = np.asarray(h.view(flow=True))
    for number, field in enumerate(CELLS[storage].names or ()):
        cells[field] = number + 10 * np.arange(cells.size).reshape(cells.shape)
    core: Any = h._hist
    state = core.__getstate__()
    numbers = state[-1] if isinstance(state, tuple) and state else None
    return isinstance(numbers, np.ndarray) and numbers.tobytes() == cells.tobytes(order="F")


# Describing a histogram takes longer than all the rest of `encode`, and an analysis returns the same ones time and again.
_KNOWN: dict[Hashable, list[tuple[tuple[Any, ...], dict[str, Any], HistogramTemplate]]] = {}
_MOST_ALIKE = 32


def _known(h: AnyHistogram) -> HistogramTemplate | None:
    """The template of a histogram whose axes do not grow, if nothing in its metadata can change behind our back."""
    notes = {note: value for note, value in h.__dict__.items() if note != "_variance_known"}
    titles = [value for axis in h.axes for value in axis.__dict__.values()]
    if not all(value is None or isinstance(value, str) for value in (*notes.values(), *titles)):
        return None
    core: Any = h._hist
    key = type(h), type(core), memoryview(core).shape, tuple(titles)
    alike = _KNOWN.setdefault(key, [])
    for axes, others, template in alike:
        if others == notes and axes == h.axes:
            return template
    if any(axis.traits.growth for axis in h.axes):
        return None
    if len(alike) >= _MOST_ALIKE or len(_KNOWN) > 1000:
        _KNOWN.clear()
        alike = _KNOWN.setdefault(key, [])
    template = HistogramTemplate(h)
    alike.append((copy.deepcopy(h.axes), notes, template))
    return template


def histogram(node: Histogram) -> AnyHistogram:
    """The live histogram of a node; unpickles its template, so never to be called in an agent or a master."""
    kind, axes, storage, metadata = pickle.loads(node.template)
    h: AnyHistogram = kind(*[_grown(axis, grown) for axis, grown in zip(axes, node.axes, strict=True)], storage=storage)
    h.__dict__.update(metadata, _variance_known=node.variance_known)
    if node.storage == "Unlimited":
        h[...] = node.cells  # its view is a converted copy
    else:
        np.asarray(h.view(flow=True))[...] = node.cells
    return h


def describe(axis: bh.axis.Axis) -> Axis:
    """The description of a live axis; MergeError when it is of no known kind."""
    from boost_histogram import axis as kinds

    traits, notes = axis.traits, axis.__dict__
    common: dict[str, Any] = {
        "name": str(notes.get("name") or ""),
        "label": str(notes.get("label") or ""),
        "underflow": traits.underflow,
        "overflow": traits.overflow,
        "circular": traits.circular,
        "growth": traits.growth,
    }
    match axis:
        case kinds.Regular():
            edges, transform = axis.edges, axis.transform
            name = _transform_name(transform)
            if name is None:
                return VariableAxis(edges=tuple(edges.tolist()), **common)
            return RegularAxis(bins=axis.size, start=float(edges[0]), stop=float(edges[-1]), transform=name, **common)
        case kinds.Variable():
            return VariableAxis(edges=tuple(axis.edges.tolist()), **common)
        case kinds.Integer() | kinds.Boolean():
            start, boolean = int(axis.edges[0]), isinstance(axis, kinds.Boolean)
            return IntegerAxis(start=start, stop=start + axis.size, boolean=boolean, **common)
        case kinds.StrCategory() | kinds.IntCategory():
            categories = _categories(axis)
            if traits.growth:
                categories = canonical(categories)
            return CategoryAxis(categories=categories, words=isinstance(axis, kinds.StrCategory), **common)
    raise MergeError(f"a histogram with an axis of type {type(axis).__name__}, which is not known here")


def _pickled(h: AnyHistogram, storage: bh.storage.Storage, axes: tuple[Axis, ...]) -> bytes:
    """Everything of `h` but its cells, which are as large pickled empty as full; MergeError when it does not pickle."""
    metadata = {note: value for note, value in h.__dict__.items() if note != "_variance_known"}
    notes = [*metadata.items(), *[item for axis in h.axes for item in axis.__dict__.items()]]
    key = (
        (type(h), repr(storage), axes, tuple(notes))
        if all(value is None or isinstance(value, str) for _, value in notes)
        else None
    )
    if key is None or key not in _PICKLED:
        try:
            pickled: bytes = cloudpickle.dumps((type(h), tuple(h.axes), storage, metadata), protocol=5)
        except Exception as error:  # whatever the metadata's own __reduce__ raises
            raise MergeError(f"a histogram whose metadata cannot be pickled: {error}") from error
        if key is None:
            return pickled
        if len(_PICKLED) >= 1000:
            _PICKLED.clear()
        _PICKLED[key] = pickled
    return _PICKLED[key]


def _transform_name(transform: Any) -> str | None:
    from boost_histogram.axis import transform as known

    if transform is None:
        return ""
    if isinstance(transform, known.Pow):
        return f"pow({transform.power!r})"
    return next((name for name, other in (("log", known.log), ("sqrt", known.sqrt)) if transform == other), None)


def _categories(axis: bh.axis.Axis) -> tuple[int | str, ...]:
    return tuple(axis.bin(i) for i in range(axis.size))  # type: ignore[misc]  # an int or a str for a category


def _order(h: AnyHistogram, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> tuple[Cells, ...] | None:
    """The index that brings the growing categories of `h` into their canonical order; None if they are in it."""
    if not any(isinstance(axis, CategoryAxis) and axis.growth for axis in axes):
        return None
    order = [np.arange(length) for length in shape]
    for position, (live, axis) in enumerate(zip(h.axes, axes, strict=True), start=len(shape) - len(axes)):
        if isinstance(axis, CategoryAxis) and axis.growth:
            index = {category: place for place, category in enumerate(_categories(live))}
            order[position] = np.array([index[category] for category in axis.categories], np.intp)
    return None if all(np.array_equal(o, np.arange(len(o))) for o in order) else np.ix_(*order)


def _grown(axis: bh.axis.Axis, grown: Axis) -> bh.axis.Axis:
    """The live axis for the description `grown`, from the template's live `axis`."""
    if isinstance(grown, CategoryAxis) and grown.growth:
        same = _categories(axis) == grown.categories
    else:
        same = not grown.growth or describe(axis) == grown
    if same:
        return axis
    kind: Any = type(axis)
    if isinstance(grown, CategoryAxis):
        live = kind(grown.categories, growth=True)
    elif isinstance(grown, IntegerAxis):
        live = kind(grown.start, grown.stop, growth=True)
    else:
        assert isinstance(grown, RegularAxis)  # a Variable axis is never joined
        live = kind(grown.bins, grown.start, grown.stop, growth=True)
    live.__dict__.update(axis.__dict__)
    return cast("bh.axis.Axis", live)
