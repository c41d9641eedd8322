# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Corrections in compiled code: a walk over the tables that `analysis.corrections` has made.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.cpython.unsafe import tuple as unsafe_tuple
from numba.extending import models, overload_method, register_model

from ...analysis.corrections import (
    BINARY,
    BINNING,
    CATEGORY,
    CLAMP,
    LITERAL,
    OPERATIONS,
    TRANSFORM,
    UNARY,
    VALUE,
    VARIABLE,
    WRAP,
)  # fmt: skip
from .jagged_access import intrinsic
from .words import WordType, as_code, code_of_text

_INT2, _FLOATS = types.Array(types.int64, 2, "C", readonly=True), types.Array(types.float64, 1, "C", readonly=True)
TABLES = (_INT2, _INT2, _INT2, _INT2, _INT2, _FLOATS)
"""Types of the tables, in their order."""
# As in C++, a division by zero is no error; only compiled code calls these.
_OPTIONS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
_inner = njit(**_OPTIONS)
tuple_setitem: Any = unsafe_tuple.tuple_setitem  # numba's annotation takes it for a function of no arguments
NOWHERE, OUTSIDE, NO_NUMBER = -1, -2, -3
"""In the place of a node: a category that is not there, a value outside of all bins, one that has no place on an axis."""


class CorrectionType(types.Type):
    """A correction: its name, and the names and types of its inputs."""

    def __init__(self, name: str, inputs: list[list[str]]) -> None:
        self.title, self.inputs = name, inputs
        super().__init__(name=f"Correction({name}, {json.dumps(inputs)})")


@register_model(CorrectionType)
class _CorrectionModel(models.StructModel):
    def __init__(self, manager: Any, kind: CorrectionType) -> None:
        super().__init__(manager, kind, [("tables", types.Tuple(TABLES))])


@intrinsic(prefer_literal=True)
def tabled(_typing: Any, description: Any, tables: Any) -> Any:
    """The correction that these tables are."""
    kind = CorrectionType(*json.loads(description.literal_value))

    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(kind)(context, builder)
        struct.tables = arguments[1]
        return struct._getvalue()

    return kind(description, tables), make


@intrinsic
def _tables(_typing: Any, value: Any) -> Any:
    def get(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return cgutils.create_struct_proxy(sig.args[0])(context, builder, value=arguments[0]).tables

    return types.Tuple(TABLES)(value), get


# --- the walk ---------------------------------------------------------------------------------------------------------


@_inner
def _bin(value, values, first, count, flow):
    """The bin of a value on an axis; OUTSIDE if it has none and `flow` decides what is done."""
    equal = count < 0
    # correctionlib refuses these, or takes for a bin what C++ makes of NaN as a whole number
    if (equal and np.isnan(value)) or (flow == WRAP and not np.isfinite(value)):
        return NO_NUMBER
    bins = -count if equal else count - 1
    low, high = values[first], values[first + 1] if equal else values[first + count - 1]
    part = (value - low) / (high - low)
    if flow == WRAP:
        part -= np.floor(part)
        value = low + (value - low) - (high - low) * np.floor((value - low) / (high - low))
    elif not low <= value < high:
        if flow == CLAMP:
            return 0 if value < low else bins - 1
        return OUTSIDE
    if equal:
        return min(np.int64(bins * part), bins - 1)
    left, right = 0, bins
    while right - left > 1:
        middle = (left + right) // 2
        if value < values[first + middle]:
            right = middle
        else:
            left = middle
    return left


@_inner
def _child(node, axes, children, values, numbers):
    at = 0
    for place in range(node[1], node[1] + node[2]):
        count = axes[place, 2]
        found = _bin(numbers[axes[place, 0]], values, axes[place, 1], count, node[4])
        if found < 0:
            return node[4] if found == OUTSIDE and node[4] >= 0 else found
        at = at * (-count if count < 0 else count - 1) + found
    return children[node[3] + at, 0]


@_inner
def _picked(node, children, keys, codes):
    for place in range(node[2], node[2] + node[3]):
        if keys[place, 0] == codes[node[1]]:
            return children[place, 0]
    return node[4]


def _written_operations() -> Any:
    """The stack machine, with a case for each operation."""
    unary = {"NEGATIVE": "-a", "ABS": "abs(a)", "ERF": "math.erf(a)"}
    unary |= {name: f"np.arc{name[1:].lower()}(a)" for name in UNARY if name.startswith("A") and name != "ABS"}
    told = {
        "LOGICALOR": "a != 0 or b != 0", "LOGICALAND": "a != 0 and b != 0", "EQUAL": "a == b", "NOTEQUAL": "a != b",
        "GREATER": "a > b", "LESS": "a < b", "GREATEREQ": "a >= b", "LESSEQ": "a <= b",
    }  # fmt: skip
    binary = {name: f"1.0 if {condition} else 0.0" for name, condition in told.items()}
    binary |= {"MINUS": "a - b", "PLUS": "a + b", "DIV": "a / b", "TIMES": "a * b", "POW": "a ** b"}
    binary |= {"ATAN2": "np.arctan2(a, b)", "MAX": "b if a < b else a", "MIN": "b if b < a else a"}
    lines = [
        "def calculated(operations, values, first, count, numbers):",
        "    stack, top = np.empty(count), 0",
        "    for place in range(first, first + count):",
        "        what, at = operations[place]",
        f"        if what == {LITERAL}:",
        "            stack[top] = values[at]",
        f"        elif what == {VARIABLE}:",
        "            stack[top] = numbers[at]",
        f"        elif what < {2 + len(UNARY)}:",
        "            top -= 1",
        "            a = stack[top]",
    ]
    for name in UNARY:
        lines += [f"            if what == {OPERATIONS.index(name)}:"]
        lines += [f"                stack[top] = {unary.get(name, f'np.{name.lower()}(a)')}"]
    lines += ["        else:", "            top -= 2", "            a, b = stack[top], stack[top + 1]"]
    for name in BINARY:
        lines += [f"            if what == {OPERATIONS.index(name)}:", f"                stack[top] = {binary[name]}"]
    lines += ["        top += 1", "    return stack[0]"]
    names: dict[str, Any] = {"np": np, "math": math, "__name__": __name__}
    exec(compile("\n".join(lines), "<formulas of corrections>", "exec"), names)  # noqa: S102  (written above)
    return names["calculated"]


_calculated = _inner(_written_operations())


@_inner
def _rounded(value):
    """The nearest whole number, of two the one farther from 0."""
    whole = np.trunc(value)
    return whole + np.copysign(1.0, value) if abs(value - whole) >= 0.5 else whole


@_inner
def evaluated(tables, numbers, codes):
    """The value of a correction, and the node or what else tells that there is none: `NOWHERE`, `OUTSIDE`, `NO_NUMBER`."""
    nodes, axes, children, keys, operations, values = tables
    at, rewritten, after, whole = 0, -1, 0, False
    while at >= 0:
        node = nodes[at]
        if node[0] == BINNING:
            at = _child(node, axes, children, values, numbers)
            continue
        if node[0] == CATEGORY:
            at = _picked(node, children, keys, codes)
            continue
        if node[0] == TRANSFORM:
            rewritten, at, after, whole = node[1], node[2], node[3], node[4] != 0
            continue
        is_number = node[0] == VALUE  # or else a formula
        value = values[node[1]] if is_number else _calculated(operations, values, node[1], node[2], numbers)
        if rewritten < 0:
            return value, at
        if whole:
            value = _rounded(value)
            codes = tuple_setitem(codes, rewritten, np.int64(value))
        numbers = tuple_setitem(numbers, rewritten, value)
        at, rewritten = after, -1
    return 0.0, at


# --- its inputs -------------------------------------------------------------------------------------------------------


@overload_method(CorrectionType, "evaluate")
def _evaluate(correction, *inputs):
    given: Any = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], types.BaseTuple) else inputs
    wanted = correction.inputs
    takes = f"the correction {correction.title} takes {', '.join(f'{name} ({kind})' for name, kind in wanted)}"
    if len(given) != len(wanted):
        raise TypingError(f"{takes}; given: {len(given)} values")
    numbers, codes = [], []
    for place, ((name, kind), it) in enumerate(zip(wanted, given, strict=True)):
        plain = types.unliteral(it)
        is_word = isinstance(plain, WordType | types.UnicodeType)
        fits = is_word if kind == "string" else isinstance(plain, types.Integer | types.Boolean) or (
            kind == "real" and isinstance(plain, types.Float)
        )  # fmt: skip
        if not fits:
            raise TypingError(f"{takes}; {name} is not {plain}")
        numbers.append("0.0" if is_word else f"np.float64(inputs[{place}])")
        code = "as_code" if isinstance(plain, WordType) else "code_of_text" if is_word else "np.int64"
        codes.append("0" if kind == "real" else f"{code}(inputs[{place}])")
    outside = f"{correction.title}: an input is outside of all bins, and its flow is error"
    nowhere = f"{correction.title}: an input is none of its categories, and there is no default"
    without = f"{correction.title}: an input is not a number, or not a finite one, and its axis has no bin for it"
    lines = [
        "def evaluate(correction, *inputs):",
        f"    numbers, codes = ({', '.join(numbers)},), ({', '.join(codes)},)",
        "    value, at = evaluated(tables(correction), numbers, codes)",
    ]
    for code, words in (("OUTSIDE", "outside"), ("NOWHERE", "nowhere"), ("NO_NUMBER", "without")):
        lines += [f"    if at == {code}:", f"        raise IndexError({words})"]
    lines += ["    return value"]
    names: dict[str, Any] = {
        "np": np,
        "evaluated": evaluated,
        "tables": _tables,
        "as_code": as_code,
        "code_of_text": code_of_text,
    }
    names |= {"OUTSIDE": OUTSIDE, "NOWHERE": NOWHERE, "NO_NUMBER": NO_NUMBER, "__name__": __name__}
    names |= {"outside": outside, "nowhere": nowhere, "without": without}
    exec(compile("\n".join(lines), "<the call of a correction>", "exec"), names)  # noqa: S102  (written above)
    return names["evaluate"]
