# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Cutflows in compiled code: `cuts.passed("two muons", weight)`, its name found when the kernel is compiled.

The cells of a cutflow are one array: how many cuts the event at work has passed, then for each cut the events, the sum of
weights, and the sum of their squares. Functions without annotations are those that numba compiles.
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
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, signature
from numba.extending import make_attribute_wrapper, models, register_model
from numpy.typing import NDArray

from ...analysis.cutflow import BEFORE_ITS_TURN, NO_NUMBER, Cutflow
from ...protocol.errors import nearest
from .histogram_fill import call
from .jagged_access import borrow, intrinsic

_CELLS = types.Array(types.float64, 1, "C")
_PARAMETERS = ("name", "weight")
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_inner = njit(**_NO_DOORS)


def empty_cells(names: Sequence[str]) -> NDArray[np.float64]:
    """The cells of a cutflow that nothing has passed."""
    return np.zeros(1 + 3 * len(names))


def cutflow_of(names: Sequence[str], cells: NDArray[np.float64]) -> Cutflow:
    """What is in the cells."""
    counts, *sums = cells[1:].reshape(len(names), 3).T
    return Cutflow.of_sums(names, counts.astype(np.int64)[None], np.stack(sums, axis=1)[None])


class CutflowType(types.Type):
    """A cutflow in compiled code: its names."""

    def __init__(self, description: str) -> None:
        self.names: list[str] = json.loads(description)
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
def _count(cells, row, weight):
    if weight - weight != 0.0:  # neither nan nor infinite
        raise ValueError(NO_NUMBER)
    reached = np.int64(cells[0])
    if row < reached:
        return
    if row > reached:
        raise ValueError(BEFORE_ITS_TURN)
    cells[0] = row + 1
    cells[1 + 3 * row] += 1.0
    cells[2 + 3 * row] += weight
    cells[3 + 3 * row] += weight * weight


@infer_getattr
class _CutflowMethods(AttributeTemplate):
    key = CutflowType

    def resolve_passed(self, cutflow: CutflowType) -> types.BoundFunction:
        class Passed(AbstractTemplate):
            key = "Cutflow.passed"
            prefer_literal = True

            def generic(self, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
                return _passed_signature(cutflow, values, dict(named))

        return types.BoundFunction(Passed, cutflow)


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
    if not isinstance(plain, types.Integer | types.Float | types.Boolean):
        raise TypingError(f"the weight of a cut is a number, not {plain}")
    parameters = [
        Parameter("name", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("weight", Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    its = types.Omitted(None) if weight is None else types.float64
    return signature(types.none, name, its, recvr=cutflow).replace(pysig=Signature(parameters))


@lower_builtin("Cutflow.passed", CutflowType, types.VarArg(types.Any))
def _passed(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Counts in the cells of the cut, which is known at compile time."""
    cutflow, name, weight_type = sig.args
    struct = cgutils.create_struct_proxy(cutflow)(context, builder, value=arguments[0])
    row = ir.Constant(ir.IntType(64), cutflow.names.index(name.literal_value))
    weight = ir.Constant(ir.DoubleType(), 1.0) if isinstance(weight_type, types.Omitted) else arguments[-1]
    call(context, builder, _count, (_CELLS, types.int64, types.float64), (struct.cells, row, weight))
    return context.get_dummy_value()
