# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Filling histograms in compiled code.

`FillableType` is what a kernel's histogram parameter is: flat cells plus, for each axis, the numbers of its binning.
Its method `fill` gives bit for bit what boost-histogram's `fill` gives, by the formulas of Boost.Histogram: `index` in
`axis/regular.hpp`, `axis/variable.hpp` and `axis/integer.hpp`, and the accumulators of boost-histogram's
`include/bh_python/accumulators/`. Which formula is decided at compile time, all numbers come at run time: another
binning needs no other compilation.

Functions without annotations are those that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, signature
from numba.extending import models, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from ...analysis.binning import Binning
from ...analysis.word_codes import code_of
from .jagged_access import NestedType, borrow, call, intrinsic, window
from .lanes import LanesType, added, in_all_lanes
from .words import WordType, code_of_text

# --- what fill needs to know of an axis ---------------------------------------------------------------------


class Bins(NamedTuple):
    """One axis at run time, see `analysis.binning.Axis`; `stride` is the distance of neighbours in bins."""

    lo: float
    width: float
    power: float
    size: np.int64
    underflow: np.int64
    extent: np.int64
    stride: np.int64
    edges: NDArray[np.float64]


_FLOAT_ARRAY = types.Array(types.float64, 1, "C")
_BINS = types.NamedTuple(
    [types.float64, types.float64, types.float64, types.int64, types.int64, types.int64, types.int64, _FLOAT_ARRAY],
    Bins,
)


def bin_numbers(binning: Binning) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The axes of a histogram as the two arrays that `bins` reads: one row of numbers an axis, and all edges in a row.

    Whole numbers up to 2^53 are exact in them.
    """
    rows, edges = [], list[float]()
    for number, axis in enumerate(binning.axes):
        stride = math.prod(binning.shape[number + 1 :])
        begin, end = len(edges), len(edges) + len(axis.edges)
        edges += axis.edges
        rows.append([axis.lo, axis.width, axis.power, axis.size, axis.underflow, axis.extent, stride, begin, end])
    return np.array(rows, np.float64).reshape(len(rows), 9), np.array(edges, np.float64)


# Called by compiled code only: a door from Python or C would take a quarter of the time to compile.
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inner = njit(error_model="numpy", **_NO_DOORS)


@_inner
def bins(numbers, edges, axis):
    """Reads one axis from what `bin_numbers` wrote."""
    row = numbers[axis]
    return Bins(
        row[0],
        row[1],
        row[2],
        np.int64(row[3]),
        np.int64(row[4]),
        np.int64(row[5]),
        np.int64(row[6]),
        window(edges, np.int64(row[7]), np.int64(row[8])),
    )


# --- from a value to its position on an axis: 0 is the underflow bin if there is one; outside [0, extent) is


@_inner
def _on_scale(z, bins):
    if z < 1.0:
        return bins.underflow + np.int64(z * bins.size) if z >= 0.0 else bins.underflow - 1
    if (
        z == 1.0 and bins.underflow + bins.size == bins.extent
    ):  # the last edge belongs to the last bin without an overflow bin
        return bins.extent - 1
    return bins.underflow + bins.size  # also what is not a number


@_inner
def _regular(x, bins):
    return _on_scale((x - bins.lo) / bins.width, bins)


@_inner
def _log(x, bins):
    return _on_scale((np.log(x) - bins.lo) / bins.width, bins)


@_inner
def _sqrt(x, bins):
    return _on_scale((np.sqrt(x) - bins.lo) / bins.width, bins)


@_inner
def _pow(x, bins):
    return _on_scale((math.pow(x, bins.power) - bins.lo) / bins.width, bins)


@_inner
def _circular(x, bins):
    z = (x - bins.lo) / bins.width
    return np.int64((z - np.floor(z)) * bins.size) if math.isfinite(z) else bins.size


@_inner
def _among_edges(x, bins):
    """C++'s upper_bound, so that what is not a number comes behind the last edge."""
    first, last = 0, len(bins.edges)
    if bins.underflow + bins.size == bins.extent and x == bins.edges[last - 1]:
        return bins.extent - 1
    while first < last:
        middle = (first + last) >> 1
        if x < bins.edges[middle]:
            last = middle
        else:
            first = middle + 1
    return bins.underflow + first - 1


@_inner
def _variable(x, bins):
    return _among_edges(x, bins)


@_inner
def _circular_variable(x, bins):
    start, width = bins.edges[0], bins.edges[bins.size] - bins.edges[0]
    return _among_edges(x - np.floor((x - start) / width) * width, bins)


@_inner
def _integer(x, bins):
    z = x - bins.lo
    if z < bins.size:
        return bins.underflow + np.int64(z) if z >= 0.0 else bins.underflow - 1
    return bins.underflow + bins.size


@_inner
def _circular_integer(x, bins):
    return (x - np.int64(bins.lo)) % bins.size


@_inner
def _boolean(x, bins):
    return min(max(np.int64(x != 0) - np.int64(bins.lo), -1), bins.size)


@_inner
def _category(x, bins):
    for position in range(bins.size):
        if bins.edges[position] == x:
            return position
    return bins.size


_POSITION: dict[str, tuple[types.Type, Any]] = {
    "regular": (types.float64, _regular),
    "circular": (types.float64, _circular),
    "log": (types.float64, _log),
    "sqrt": (types.float64, _sqrt),
    "pow": (types.float64, _pow),
    "variable": (types.float64, _variable),
    "circular variable": (types.float64, _circular_variable),
    "integer": (types.int64, _integer),
    "circular integer": (types.int64, _circular_integer),
    "boolean": (types.int64, _boolean),
    "category": (types.int64, _category),
}


# --- from a bin to its cells --------------------------------------------------------------------------------


@_inner
def _add_count(cells, at, _weight, _sample):
    cells[at] += 1


@_inner
def _add_sum(cells, at, weight, _sample):
    cells[at] += weight


@_inner
def _add_weight(cells, at, weight, _sample):
    cells[2 * at] += weight
    cells[2 * at + 1] += weight * weight


@_inner
def _add_mean(cells, at, weight, sample):
    count, mean, deltas = 3 * at, 3 * at + 1, 3 * at + 2
    cells[count] += weight
    delta = sample - cells[mean]
    cells[mean] += weight * delta / cells[count]
    cells[deltas] += weight * delta * (sample - cells[mean])


@_inner
def _add_weighted_mean(cells, at, weight, sample):
    weights, squares, mean, deltas = 4 * at, 4 * at + 1, 4 * at + 2, 4 * at + 3
    cells[weights] += weight
    cells[squares] += weight * weight
    delta = sample - cells[mean]
    cells[mean] += weight * delta / cells[weights]
    cells[deltas] += weight * delta * (sample - cells[mean])


@_inner
def _mark_weighted(cells):
    cells[len(cells) - 1] = 1


IN_LANES = ("Double", "Unlimited", "Weight")
"""Storages whose cells may have lanes: the others count, or are not filled with weights of variations."""
_ADD: dict[str, Any] = {
    "Double": _add_sum,
    "Int64": _add_count,
    "AtomicInt64": _add_count,
    "Unlimited": _add_sum,
    "Weight": _add_weight,
    "Mean": _add_mean,
    "WeightedMean": _add_weighted_mean,
}


# --- the type of a histogram in a kernel --------------------------------------------------------------------


class FillableType(types.Type):
    """A histogram in compiled code: its storage, the kind, name and categories of each axis, and the lanes of a cell."""

    def __init__(self, description: str) -> None:
        told = json.loads(description)
        self.storage: str = told["storage"]
        self.axes: list[tuple[str, str, list[str]]] = [tuple(axis) for axis in told["axes"]]
        self.lanes = LanesType(told["width"]) if told["width"] else None
        self.cells = types.Array(types.int64 if "Int64" in self.storage else types.float64, 1, "C")
        super().__init__(name=f"Histogram({description})")

    def parameter(self, axis: int) -> str:
        """The name by which `fill` knows an axis."""
        name = self.axes[axis][1]
        return name if name.isidentifier() and name not in ("weight", "sample") else f"axis{axis}"


def describe(binning: Binning, width: int = 0) -> str:
    """What `FillableType` is made from: all of a binning that must be known at compile time, and how many lanes a cell has
    where it has any.
    """
    axes = [(axis.kind, axis.name, axis.categories) for axis in binning.axes]
    return json.dumps({"storage": binning.storage, "axes": axes, "width": width})


@register_model(FillableType)
class _FillableModel(models.StructModel):
    def __init__(self, manager: Any, fillable: FillableType) -> None:
        members = [("cells", fillable.cells), ("axes", types.UniTuple(_BINS, len(fillable.axes)))]
        super().__init__(manager, fillable, members)


@intrinsic(prefer_literal=True)
def fillable(_typing: Any, description: Any, cells: Any, axes: Any) -> Any:
    """The histogram of this description over these cells, with a tuple of `bins`."""
    histogram = FillableType(description.literal_value)

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(histogram)(context, builder)
        struct.cells = borrow(context, builder, sig.args[1], arguments[1])
        struct.axes = arguments[2]
        return struct._getvalue()

    return histogram(description, cells, axes), make


def bound_method(name: str, owner: types.Type, typed: Callable[..., Any]) -> types.BoundFunction:
    """A method of a compiled output.

    Args:
        name: by which its code is lowered.
        owner: the type that has it.
        typed: the signature of a call, of its types by place and by name.
    """

    class Method(AbstractTemplate):
        key = name
        prefer_literal = True

        def generic(self, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
            return typed(owner, values, dict(named))

    return types.BoundFunction(Method, owner)


@infer_getattr
class _FillableMethods(AttributeTemplate):
    key = FillableType

    def resolve_fill(self, histogram: FillableType) -> types.BoundFunction:
        return bound_method("Histogram.fill", histogram, _fill_signature)


def _fill_signature(histogram: FillableType, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
    """The types of a call of fill: one value an axis in order, then weight and sample (None where not given)."""
    rank = len(histogram.axes)
    names = [histogram.parameter(axis) for axis in range(rank)]
    given = dict(zip(names, values, strict=False))
    extra = {name: named.pop(name) for name in ("weight", "sample") if name in named}
    if len(values) > rank or set(given) & set(named) or set(names) != set(given) | set(named):
        raise TypingError(
            f"fill() of this histogram takes one value for each of its {rank} axes ({', '.join(names)}), "
            f"and perhaps weight= and sample=; given: {len(values)} values{''.join(f', {name}=' for name in named)}"
        )
    given |= named
    given_types = [_value_type(histogram, axis, given[name]) for axis, name in enumerate(names)]
    given_types += [
        _weight_type(histogram, name, extra[name]) if name in extra else types.Omitted(None)
        for name in ("weight", "sample")
    ]
    if "weight" in extra and "Int64" in histogram.storage:
        raise TypingError(
            f"a histogram with {histogram.storage} storage only counts: it takes no weight= (Double or Weight do)"
        )
    if ("sample" in extra) != ("Mean" in histogram.storage):
        takes = "needs" if "Mean" in histogram.storage else "takes no"
        raise TypingError(f"fill() of a histogram with {histogram.storage} storage {takes} sample=")
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    parameters += [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in ("weight", "sample")]
    return signature(types.none, *given_types, recvr=histogram).replace(pysig=Signature(parameters))


def _value_type(histogram: FillableType, axis: int, given: types.Type) -> types.Type:
    kind, name = histogram.axes[axis][0], histogram.parameter(axis)
    plain = types.unliteral(given)
    if kind == "names":
        if isinstance(plain, types.UnicodeType | WordType):
            return given
        raise TypingError(f"the axis {name} has names as categories: fill it with a string, not with {plain}")
    wanted, _ = _POSITION[kind]
    if wanted == types.float64:
        return _number(name, given)
    if isinstance(plain, types.Integer | types.Boolean):
        return wanted
    raise TypingError(f"the axis {name} ({kind}) takes whole numbers, not {plain}: convert with int(...) or round(...)")


def _weight_type(histogram: FillableType, name: str, given: types.Type) -> types.Type:
    return given if name == "weight" and given == histogram.lanes else _number(name, given)


def _number(name: str, given: types.Type) -> types.Type:
    plain = types.unliteral(given)
    if isinstance(plain, types.Integer | types.Float | types.Boolean):
        return types.float64
    hint = ": fill the values of an array one by one, in a loop" if isinstance(plain, types.Array | NestedType) else ""
    raise TypingError(f"{name} takes a number, not {plain}{hint}")


@lower_builtin("Histogram.fill", FillableType, types.VarArg(types.Any))
def _fill(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Adds up stride x position over the axes, and adds to that bin if every position is on its axis."""
    histogram, *value_types, weight_type, sample_type = sig.args
    struct = cgutils.create_struct_proxy(histogram)(context, builder, value=arguments[0])
    integer = context.get_value_type(types.int64)
    at, inside = ir.Constant(integer, 0), cgutils.true_bit
    for number, value_type in enumerate(value_types):
        packed = builder.extract_value(struct.axes, number)
        extent, stride = (builder.extract_value(packed, Bins._fields.index(name)) for name in ("extent", "stride"))
        if histogram.axes[number][0] == "names":
            position = _named(context, builder, value_type, arguments[1 + number], histogram.axes[number][2])
        else:
            _, find = _POSITION[histogram.axes[number][0]]
            position = call(context, builder, find, (value_type, _BINS), (arguments[1 + number], packed))
        inside = builder.and_(inside, builder.icmp_unsigned("<", position, extent))  # unsigned: also what is below 0
        at = builder.add(at, builder.mul(position, stride))
    one = ir.Constant(ir.DoubleType(), 1.0)
    weight = one if isinstance(weight_type, types.Omitted) else arguments[-2]
    sample = one if isinstance(sample_type, types.Omitted) else arguments[-1]
    if weight is not one and histogram.storage in ("Double", "Unlimited"):
        call(context, builder, _mark_weighted, (histogram.cells,), (struct.cells,))
    if histogram.lanes is not None:
        with builder.if_then(inside):
            _add_in_lanes(context, builder, histogram, struct.cells, at, weight, isinstance(weight_type, LanesType))
        return context.get_dummy_value()
    with builder.if_then(inside):
        take = (histogram.cells, types.uint64, types.float64, types.float64)
        call(context, builder, _ADD[histogram.storage], take, (struct.cells, at, weight, sample))
    return context.get_dummy_value()


def _add_in_lanes(
    context: Any, builder: Any, histogram: FillableType, cells: Any, at: Any, weight: Any, has_lanes: bool
) -> None:
    """Adds a weight to the cells of a bin, which has its lanes side by side."""
    lanes = histogram.lanes
    assert lanes is not None
    value = weight if has_lanes else in_all_lanes(builder, lanes, weight)
    sums = [value, builder.fmul(value, value)] if histogram.storage == "Weight" else [value]
    data = make_array(histogram.cells)(context, builder, cells).data
    first = builder.mul(at, ir.Constant(ir.IntType(64), len(sums) * lanes.width))
    for number, each in enumerate(sums):
        place = builder.add(first, ir.Constant(ir.IntType(64), number * lanes.width))
        added(builder, lanes, builder.gep(data, [place]), each)


def _named(context: Any, builder: Any, given: types.Type, value: Any, categories: Sequence[str]) -> Any:
    """The position of a category: known at compile time for a literal string, else found by its code."""
    if isinstance(given, types.StringLiteral):
        known = given.literal_value in categories
        return ir.Constant(ir.IntType(64), categories.index(given.literal_value) if known else len(categories))
    is_word = isinstance(given, WordType)
    code = value if is_word else call(context, builder, code_of_text, (types.unicode_type,), (value,))
    position = ir.Constant(ir.IntType(64), len(categories))
    for number, category in enumerate(categories):
        equal = builder.icmp_signed("==", code, ir.Constant(ir.IntType(64), code_of(category)))
        position = builder.select(equal, ir.Constant(ir.IntType(64), number), position)
    return position


@intrinsic
def nothing(_typing: Any, value: Any) -> Any:
    """Compiles only if the value is None: what a kernel returned would be lost."""
    if value != types.none:
        raise TypingError(f"a kernel returns nothing, but this one returns {value}: fill its outputs instead")
    return types.none(value), lambda context, *_: context.get_dummy_value()
