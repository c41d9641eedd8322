# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Cutflows in compiled code: `cuts.passed("two muons", weight)`, its name found when the kernel is compiled.

The cells of a cutflow are one array: how many cuts the event at work has passed, then for each cut the events, the sum of
weights, and the sum of their squares, each once a lane (`lanes`). Where all cuts are added in each event, `cuts.add("two
muons", passed, weight)`, there are first how many, and which of them pass, as bits; then such lines for all events and each
cut, three times: in order, alone, and all but each. They are counted as the last cut is added. Functions without annotations
are those that numba compiles.
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

from ...analysis.cutflow import BEFORE_ITS_TURN, NO_NUMBER, NOT_ALL_ADDED, OUT_OF_ORDER, Cutflow, needs
from ...protocol.errors import nearest
from .histogram_fill import bound_method
from .jagged_access import borrow, call, intrinsic
from .lanes import LanesType, added, are_finite, in_all_lanes

_CELLS = types.Array(types.float64, 1, "C")
_PARAMETERS = ("name", "weight")
_ADDED = ("name", "mask", "weight")
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_inner = njit(**_NO_DOORS)


class Cells:
    """How a cutflow lies in an array.

    Args:
        names: of its lines.
        adds: whether all cuts are added in each event, so that its first line is of all events.
        width: lanes that its sums have, or none.
    """

    def __init__(self, names: Sequence[str], adds: bool = False, width: int = 0) -> None:
        self.names, self.adds, self.width = tuple(names), adds, width
        self.cuts = self.names[1:] if adds else self.names
        self.description = json.dumps({"names": self.names, "adds": adds, "width": width})
        self.head, self.kinds = (2, 3) if adds else (1, 1)
        self.size = 1 + 2 * max(1, width)

    @classmethod
    def described(cls, description: str) -> Cells:
        """Of its `description`."""
        told = json.loads(description)
        return cls(told["names"], told["adds"], told["width"])

    def empty(self) -> NDArray[np.float64]:
        """Of a cutflow that nothing has passed."""
        return np.zeros(self.head + self.kinds * len(self.names) * self.size)

    def cutflow(self, cells: NDArray[np.float64], lane: int = 0) -> Cutflow:
        """What is in the cells, or in one lane of them."""
        rows = cells[self.head :].reshape(self.kinds, len(self.names), self.size)
        sums = rows[..., 1:].reshape(self.kinds, len(self.names), 2, -1)[..., lane]
        return Cutflow.of_sums(self.names, rows[..., 0].astype(np.int64), sums.copy())

    def place(self, kind: int, row: int) -> int:
        """Where a line begins."""
        return self.head + (kind * len(self.names) + row) * self.size


class CutflowType(types.Type):
    """A cutflow in compiled code: its names, and the lanes of its sums."""

    def __init__(self, description: str) -> None:
        self.cells = Cells.described(description)
        self.lanes = LanesType(self.cells.width) if self.cells.width else None
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


@_inner
def _decided(cells, row, cuts, passes, is_finite):
    """The cuts that the event passes, as bits, once the last of them is added; -1 before."""
    if not is_finite:
        raise ValueError(NO_NUMBER)
    if np.int64(cells[0]) != row:
        raise ValueError(OUT_OF_ORDER)
    cells[0] = row + 1
    bits = np.int64(0)
    if row > 0:
        bits = np.int64(cells[1])
    if passes:
        bits |= np.int64(1) << row
    cells[1] = bits
    return bits if row + 1 == cuts else np.int64(-1)


@_inner
def event_ended(cutflow, cuts):
    """All of its cuts are added by now, or none."""
    if 0 < cutflow.cells[0] < cuts:
        raise ValueError(NOT_ALL_ADDED)


@infer_getattr
class _CutflowMethods(AttributeTemplate):
    key = CutflowType

    def resolve_passed(self, cutflow: CutflowType) -> types.BoundFunction:
        if cutflow.cells.adds:
            raise TypingError("a cutflow with nminusone=True takes add(name, passed, weight), for each cut")
        return bound_method("Cutflow.passed", cutflow, _passed_signature)

    def resolve_add(self, cutflow: CutflowType) -> types.BoundFunction:
        if not cutflow.cells.adds:
            raise TypingError(
                "a cutflow of a kernel takes passed(name, weight); with Cutflow(..., nminusone=True) it takes add(...) for "
                "each cut"
            )
        return bound_method("Cutflow.add", cutflow, _add_signature)


def _passed_signature(cutflow: CutflowType, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
    """The types of a call of passed: the name of a cut as it stands, and a number."""
    given = dict(zip(_PARAMETERS, values, strict=False))
    if len(values) > len(_PARAMETERS) or set(given) & set(named) or not {"name"} <= {*given, *named} <= {*_PARAMETERS}:
        raise TypingError("passed() of a cutflow takes the name of a cut, and perhaps weight=")
    given |= named
    name = _checked_name(cutflow, given["name"], 'cuts.passed("two muons", weight)')
    parameters = [
        Parameter("name", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("weight", Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    its = _weight_type(cutflow, given.get("weight"))
    return signature(types.none, name, its, recvr=cutflow).replace(pysig=Signature(parameters))


def _add_signature(cutflow: CutflowType, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
    """The types of a call of add: the name of a cut as it stands, a truth value, and a number."""
    given = dict(zip(_ADDED, values, strict=False))
    wanted = {"name", "mask"}
    if len(values) > len(_ADDED) or set(given) & set(named) or not wanted <= {*given, *named} <= {*_ADDED}:
        raise TypingError(
            "add() of a cutflow takes the name of a cut, whether the event passes it, and perhaps weight="
        )
    given |= named
    name = _checked_name(cutflow, given["name"], 'cuts.add("two muons", nMuon == 2, weight)')
    if not isinstance(types.unliteral(given["mask"]), types.Boolean):
        raise TypingError(f"whether an event passes a cut is a truth value, not {types.unliteral(given['mask'])}")
    parameters = [
        *(Parameter(each, Parameter.POSITIONAL_OR_KEYWORD) for each in ("name", "mask")),
        Parameter("weight", Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    its = _weight_type(cutflow, given.get("weight"))
    made = signature(types.none, name, types.boolean, its, recvr=cutflow)
    return made.replace(pysig=Signature(parameters))


def _checked_name(cutflow: CutflowType, name: types.Type, example: str) -> types.StringLiteral:
    """The name of a cut that the cutflow has."""
    method = example.split("(")[0].removeprefix("cuts.")
    if not isinstance(name, types.StringLiteral):
        raise TypingError(f"{method}() of a cutflow takes the name of a cut as it stands: {example}")
    cuts = cutflow.cells.cuts
    if name.literal_value not in cuts:
        raise TypingError(f"the cutflow has no cut {name.literal_value!r}{nearest(name.literal_value, cuts, few=10)}")
    return name


def _weight_type(cutflow: CutflowType, weight: types.Type | None) -> types.Type:
    """What a weight is converted to."""
    if weight is None:
        return types.Omitted(None)
    plain: types.Type = types.unliteral(weight)
    if plain == cutflow.lanes:
        return plain
    if not isinstance(plain, types.Integer | types.Float | types.Boolean):
        raise TypingError(f"the weight of a cut is a number, not {plain}")
    return types.float64


@lower_builtin("Cutflow.passed", CutflowType, types.VarArg(types.Any))
def _passed(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Counts in the cells of the cut, which is known at compile time."""
    cutflow, name, weight_type = sig.args
    struct = cgutils.create_struct_proxy(cutflow)(context, builder, value=arguments[0])
    at = cutflow.cells.cuts.index(name.literal_value)
    row, size = (ir.Constant(ir.IntType(64), number) for number in (at, cutflow.cells.size))
    lanes, value = _weight(builder, cutflow, weight_type, arguments[-1])
    kinds = (_CELLS, types.int64, types.int64, types.boolean)
    counted = call(context, builder, _counted, kinds, (struct.cells, row, size, are_finite(builder, lanes, value)))
    with builder.if_then(cgutils.as_bool_bit(builder, counted)):
        data = make_array(_CELLS)(context, builder, struct.cells).data
        _sum_up(builder, lanes, data, cutflow.cells.place(0, at), value)
    return context.get_dummy_value()


@lower_builtin("Cutflow.add", CutflowType, types.VarArg(types.Any))
def _add(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Notes a cut; the last one counts in all lines of which the event passes what they need."""
    cutflow, name, _, weight_type = sig.args
    struct = cgutils.create_struct_proxy(cutflow)(context, builder, value=arguments[0])
    cuts = cutflow.cells.cuts
    at = cuts.index(name.literal_value)
    whole = ir.IntType(64)
    lanes, value = _weight(builder, cutflow, weight_type, arguments[-1])
    kinds = (_CELLS, types.int64, types.int64, types.boolean, types.boolean)
    given = (struct.cells, ir.Constant(whole, at), ir.Constant(whole, len(cuts)), arguments[2])
    bits = call(context, builder, _decided, kinds, (*given, are_finite(builder, lanes, value)))
    if at + 1 < len(cuts):
        return context.get_dummy_value()
    data = make_array(_CELLS)(context, builder, struct.cells).data
    for kind, line, need in needs(len(cuts)):
        needed = ir.Constant(whole, need)
        with builder.if_then(builder.icmp_signed("==", builder.and_(bits, needed), needed)):
            place = cutflow.cells.place(kind, line)
            pointer = builder.gep(data, [ir.Constant(whole, place)])
            builder.store(builder.fadd(builder.load(pointer), ir.Constant(ir.DoubleType(), 1.0)), pointer)
            _sum_up(builder, lanes, data, place, value)
    return context.get_dummy_value()


def _weight(builder: Any, cutflow: CutflowType, weight_type: types.Type, given: Any) -> tuple[LanesType, Any]:
    """The weight in all lanes."""
    lanes = cutflow.lanes or LanesType(1)
    weight = ir.Constant(ir.DoubleType(), 1.0) if isinstance(weight_type, types.Omitted) else given
    return lanes, weight if isinstance(weight_type, LanesType) else in_all_lanes(builder, lanes, weight)


def _sum_up(builder: Any, lanes: LanesType, data: Any, place: int, value: Any) -> None:
    """Add a weight, and its square, to the line that begins at this cell."""
    for number, each in enumerate([value, builder.fmul(value, value)]):
        pointer = builder.gep(data, [ir.Constant(ir.IntType(64), place + 1 + number * lanes.width)])
        added(builder, lanes, pointer, each)
