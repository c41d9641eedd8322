# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Cutflows in compiled code: `cuts.passed("two muons", weight)`, its name found when the kernel is compiled.

The cells of a cutflow are one array: how many cuts the event at work has passed, then for each cut the events, the sum of
weights, and the sum of their squares, each once a lane (`lanes`). Functions without annotations are those that numba
compiles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from inspect import Parameter, Signature
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AttributeTemplate, infer_getattr, signature
from numba.extending import make_attribute_wrapper, models, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from ...analysis.cutflow import BEFORE_ITS_TURN, NO_NUMBER, Cutflow
from ...protocol.errors import nearest
from .histogram_fill import bound_method
from .jagged_access import borrow, call, intrinsic
from .lanes import LanesType, added, are_finite, in_all_lanes

_CELLS = types.Array(types.float64, 1, "C")
_PARAMETERS = ("name", "weight")
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_inner = njit(**_NO_DOORS)


def empty_cells(names: Sequence[str], width: int = 0) -> NDArray[np.float64]:
    """The cells of a cutflow that nothing has passed; its sums have so many lanes, or none."""
    return np.zeros(1 + len(names) * (1 + 2 * max(1, width)))


def cutflow_of(names: Sequence[str], cells: NDArray[np.float64], lane: int = 0) -> Cutflow:
    """What is in the cells, or in one lane of them."""
    rows = cells[1:].reshape(len(names), -1)
    sums = rows[:, 1:].reshape(len(names), 2, -1)[:, :, lane]
    return Cutflow.of_sums(names, rows[:, 0].astype(np.int64)[None], sums.copy()[None])


def described(names: Sequence[str], width: int = 0) -> str:
    """What `CutflowType` is made from."""
    return json.dumps({"names": list(names), "width": width})


class CutflowType(types.Type):
    """A cutflow in compiled code: its names, and the lanes of its sums."""

    def __init__(self, description: str) -> None:
        told = json.loads(description)
        self.names: list[str] = told["names"]
        self.lanes = LanesType(told["width"]) if told["width"] else None
        super().__init__(name=f"Cutflow({description})")


@register_model(CutflowType)
class _CutflowModel(models.StructModel):
    def __init__(self, manager: Any, cutflow: CutflowType) -> None:
        super().__init__(manager, cutflow, [("cells", _CELLS)])


make_attribute_wrapper(CutflowType, "cells", "cells")


@intrinsic(prefer_literal=True)
def passable(_typing: Any, description: Any, cells: Any) -> Any:
    """The cutflow of these names over these cells."""
    cutflow = CutflowType(description.literal_value)

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(cutflow)(context, builder)
        struct.cells = borrow(context, builder, sig.args[1], arguments[1])
        return struct._getvalue()

    return cutflow(description, cells), make


@_inner
def event_begun(cutflow):
    """The cutflow, for the next event."""
    cutflow.cells[0] = 0.0
    return cutflow


@_inner
def _counted(cells, row, size, is_finite):
    """Whether the event passes this cut now, and not again; then it is counted in the first cell of the cut."""
    if not is_finite:
        raise ValueError(NO_NUMBER)
    reached = np.int64(cells[0])
    if row < reached:
        return False
    if row > reached:
        raise ValueError(BEFORE_ITS_TURN)
    cells[0] = row + 1
    cells[1 + size * row] += 1.0
    return True


@infer_getattr
class _CutflowMethods(AttributeTemplate):
    key = CutflowType

    def resolve_passed(self, cutflow: CutflowType) -> types.BoundFunction:
        return bound_method("Cutflow.passed", cutflow, _passed_signature)


def _passed_signature(cutflow: CutflowType, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
    """The types of a call of passed: the name of a cut as it stands, and a number."""
    given = dict(zip(_PARAMETERS, values, strict=False))
    if len(values) > len(_PARAMETERS) or set(given) & set(named) or not {"name"} <= {*given, *named} <= {*_PARAMETERS}:
        raise TypingError("passed() of a cutflow takes the name of a cut, and perhaps weight=")
    given |= named
    name, weight = given["name"], given.get("weight")
    if not isinstance(name, types.StringLiteral):
        raise TypingError(
            'passed() of a cutflow takes the name of a cut as it stands: cuts.passed("two muons", weight)'
        )
    if name.literal_value not in cutflow.names:
        raise TypingError(
            f"the cutflow has no cut {name.literal_value!r}{nearest(name.literal_value, cutflow.names, few=10)}"
        )
    plain = types.unliteral(weight) if weight is not None else types.float64
    if plain != cutflow.lanes and not isinstance(plain, types.Integer | types.Float | types.Boolean):
        raise TypingError(f"the weight of a cut is a number, not {plain}")
    parameters = [
        Parameter("name", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("weight", Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    its = types.Omitted(None) if weight is None else plain if plain == cutflow.lanes else types.float64
    return signature(types.none, name, its, recvr=cutflow).replace(pysig=Signature(parameters))


@lower_builtin("Cutflow.passed", CutflowType, types.VarArg(types.Any))
def _passed(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Counts in the cells of the cut, which is known at compile time."""
    cutflow, name, weight_type = sig.args
    struct = cgutils.create_struct_proxy(cutflow)(context, builder, value=arguments[0])
    row = ir.Constant(ir.IntType(64), cutflow.names.index(name.literal_value))
    lanes = cutflow.lanes or LanesType(1)
    weight = ir.Constant(ir.DoubleType(), 1.0) if isinstance(weight_type, types.Omitted) else arguments[-1]
    value = weight if isinstance(weight_type, LanesType) else in_all_lanes(builder, lanes, weight)
    size = ir.Constant(ir.IntType(64), 1 + 2 * lanes.width)
    kinds = (_CELLS, types.int64, types.int64, types.boolean)
    counted = call(context, builder, _counted, kinds, (struct.cells, row, size, are_finite(builder, lanes, value)))
    with builder.if_then(cgutils.as_bool_bit(builder, counted)):
        data = make_array(_CELLS)(context, builder, struct.cells).data
        first = builder.add(builder.mul(row, size), ir.Constant(ir.IntType(64), 2))
        for number, each in enumerate([value, builder.fmul(value, value)]):
            place = builder.add(first, ir.Constant(ir.IntType(64), number * lanes.width))
            added(builder, lanes, builder.gep(data, [place]), each)
    return context.get_dummy_value()
