# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Weights of several variations at once in compiled code: one call of the user's function fills all of them.

Where variations change nothing but weights, an event takes the same way in all of them. A weight is then a `LanesType`: a
number for each variation, on which arithmetic goes lane by lane, with the same roundings as number by number, and which
`fill` and `passed` take as a weight. Nothing else is known of it: a kernel that compares a weight, or fills it as a value,
does not compile with it, and is run for each variation by itself.

Functions without annotations are those that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model
from numba.np.arrayobj import make_array
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...reading.columns import Flat
from . import inputs
from .inputs import BLOCK, Readable
from .jagged_access import call, intrinsic

_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_inner = njit(**_NO_DOORS)
_ALIGN = 8


def width_of(lanes: int) -> int:
    """How many numbers a weight has, some of them unused: a power of two, which compilers take apart well."""
    return 1 << max(1, (lanes - 1).bit_length())


class LanesType(types.Type):
    """A number for each variation."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"Lanes({width})")

    @property
    def vector(self) -> ir.VectorType:
        """As LLVM has it."""
        return ir.VectorType(ir.DoubleType(), self.width)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: LanesType) -> None:
        super().__init__(manager, lanes, lanes.vector)


# --- a column of them -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A column of weights: `values[lane, entry]`, nominal first."""

    values: NDArray[Any]

    @classmethod
    def empty(cls, like: Flat, lanes: int) -> Lanes:
        """Room for so many lanes of a column, zeros behind them."""
        return cls(np.zeros((width_of(lanes), len(like)), like.values.dtype))

    def __len__(self) -> int:
        return len(self.values[0])


class Weight:
    """A parameter of a kernel that is read as lanes; see `parameters.Parameter`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns = (name,)

    def structure(self, columns: Mapping[str, Any]) -> str:
        """As `Parameter.structure`: how many numbers, of which type."""
        column = columns[self.name]
        if isinstance(column, Lanes):
            return f"lanes {len(column.values)} {column.values.dtype.str[1:]}"
        return inputs.structure(self.name, column)

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `Parameter.source`: a block of entries has the lanes of each side by side."""
        _, width, kind = structure.split()
        values = types.Array(from_dtype(np.dtype(kind)), 2, "C", readonly=True)
        room = types.Array(types.float64, 2, "C")
        line = f"lanes_beside({name}_0, {name}_1, first, last)"
        return [line], f"lanes_at({width}, {name}_1, i - first)", [values, room]

    def arguments(self, columns: Mapping[str, Any], structure: str) -> list[Any]:
        """As `Parameter.arguments`."""
        values = columns[self.name].values
        return [np.require(values, requirements=("C", "A")), np.empty((BLOCK, len(values)))]

    def in_python(self, columns: Mapping[str, Readable], index: int) -> Any:
        """As `Parameter.in_python`: that of nominal."""
        column: Any = columns[self.name]
        return inputs.in_python(Flat(column.values[0]), index)


@_inner
def lanes_beside(values, room, first, last):
    """Some entries of a column, each with its lanes side by side, in 64 bits."""
    for lane in range(values.shape[0]):
        for entry in range(first, last):
            room[entry - first, lane] = values[lane, entry]


@intrinsic(prefer_literal=True)
def lanes_at(_typing: Any, width: Any, room: Any, _entry: Any) -> Any:
    """The lanes of an entry of a block, whose width is known when it is compiled."""
    lanes = LanesType(width.literal_value)

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        data = make_array(sig.args[1])(context, builder, arguments[1]).data
        first = builder.mul(arguments[2], ir.Constant(ir.IntType(64), lanes.width))
        return loaded(builder, lanes, builder.gep(data, [first]))

    return lanes(width, room, types.int64), make


def loaded(builder: Any, lanes: LanesType, pointer: Any) -> Any:
    """The numbers at a place in memory."""
    return builder.load(builder.bitcast(pointer, lanes.vector.as_pointer()), align=_ALIGN)


def added(builder: Any, lanes: LanesType, pointer: Any, value: Any) -> None:
    """Add to the numbers at a place in memory."""
    place = builder.bitcast(pointer, lanes.vector.as_pointer())
    builder.store(builder.fadd(builder.load(place, align=_ALIGN), value), place, align=_ALIGN)


def in_all_lanes(builder: Any, lanes: LanesType, number: Any) -> Any:
    """The same number in all lanes."""
    one = builder.insert_element(ir.Constant(lanes.vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    picked = ir.Constant(ir.VectorType(ir.IntType(32), lanes.width), [0] * lanes.width)
    return builder.shuffle_vector(one, ir.Constant(lanes.vector, ir.Undefined), picked)


def are_finite(builder: Any, lanes: LanesType, value: Any) -> Any:
    """Whether no lane is nan or infinite."""
    difference = builder.fsub(value, value)
    odd = builder.fcmp_unordered("!=", difference, ir.Constant(lanes.vector, [0.0] * lanes.width))
    bits = ir.IntType(lanes.width)
    return builder.icmp_unsigned("==", builder.bitcast(odd, bits), ir.Constant(bits, 0))


# --- arithmetic -------------------------------------------------------------------------------------------------------


@_inner
def _divisor(number):
    if number == 0.0:
        raise ZeroDivisionError("division by zero")
    return number


def _is_number(kind: types.Type) -> bool:
    return isinstance(types.unliteral(kind), types.Integer | types.Float | types.Boolean)


def _arithmetic(operation: Callable[..., Any], instruction: str) -> None:
    divides = instruction == "fdiv"

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, given: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
            if len(given) != 2 or named:
                return None
            first, second = given
            if isinstance(first, LanesType) and (_is_number(second) or (first == second and not divides)):
                return signature(first, first, first if first == second else types.float64)
            if isinstance(second, LanesType) and _is_number(first) and not divides:
                return signature(second, types.float64, second)
            return None

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        lanes = sig.return_type
        values = list(arguments)
        if divides:
            values[1] = call(context, builder, _divisor, (types.float64,), (values[1],))
        values = [
            value if isinstance(kind, LanesType) else in_all_lanes(builder, lanes, value)
            for kind, value in zip(sig.args, values, strict=True)
        ]
        return getattr(builder, instruction)(*values)

    for kinds in ((LanesType, LanesType), (LanesType, types.Float), (types.Float, LanesType)):
        lower_builtin(operation, *kinds)(lower)


for _operations, _instruction in (
    ((operator.mul, operator.imul), "fmul"),
    ((operator.add, operator.iadd), "fadd"),
    ((operator.sub, operator.isub), "fsub"),
    ((operator.truediv, operator.itruediv), "fdiv"),
):
    for _operation in _operations:
        _arithmetic(_operation, _instruction)
