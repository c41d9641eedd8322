"""Sums of whole numbers in the arrays of a kernel: within 64 bits, or an error.

`times[0] += ns` wraps around in compiled code, as in C, and nobody would see it: an int64 holds six times in nanoseconds
since 1970. So where the user's functions add to an element of an array, or take from it, and put what comes out into an
element of that array, an addition that tells takes the place of numba's. It costs nothing that can be measured. What else is
computed with whole numbers wraps around, and so do unsigned ones, as generators of random numbers and hashes want it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba.core import compiler, ir
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import IRProcessing
from numba.extending import intrinsic, overload

_types: Any = numba.types
_ir: Any = ir
_builder: Any = compiler.DefaultPassBuilder
"""As `Any`: numba says little of their types, and that not everywhere."""

_GETS, _SETS = ("getitem", "static_getitem"), (ir.SetItem, ir.StaticSetItem)
_TOO_LARGE = "a sum of whole numbers does not fit into 64 bits: add up in an array of float64"


def _telling(instruction: str) -> Any:
    """For compiled code, what LLVM calls so: the outcome in 64 bits, and whether it is another one for want of bits."""

    @intrinsic
    def compute(_context: Any, _one: Any, _other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pair = getattr(builder, instruction)(*arguments)
            parts = [builder.extract_value(pair, 0), builder.extract_value(pair, 1)]
            return context.make_tuple(builder, signature.return_type, parts)

        return _types.Tuple((_types.int64, _types.boolean))(_types.int64, _types.int64), generate

    return compute


_added, _subtracted = _telling("sadd_with_overflow"), _telling("ssub_with_overflow")


def _are_summed(one: Any, other: Any) -> bool:
    """Whether these are whole numbers whose sum is an int64."""
    kinds = [kind for kind in (one, other) if isinstance(kind, _types.Integer)]
    fit = all(kind.signed or kind.bitwidth < 64 for kind in kinds)
    booleans = sum(isinstance(kind, _types.Boolean) for kind in (one, other))
    return fit and len(kinds) + booleans == 2 and any(kind.bitwidth == 64 for kind in kinds)


def _added_in_place(one: Any, other: Any) -> Any:
    one += other
    return one


def _subtracted_in_place(one: Any, other: Any) -> Any:
    one -= other
    return one


def _plus(one: Any, other: Any) -> Any:
    return one + other


def _minus(one: Any, other: Any) -> Any:
    return one - other


def _told(operation: Callable[[Any, Any], Any], plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """For compiled code, an operation on whole numbers that tells, and on all else the `plain` one."""

    def function(one: Any, other: Any) -> Any:
        raise NotImplementedError

    @overload(function)
    def _function(one: Any, other: Any) -> Callable[[Any, Any], Any]:
        if not _are_summed(one, other):
            return plain

        def compute(one: Any, other: Any) -> Any:
            total, falls_out = operation(np.int64(one), np.int64(other))
            if falls_out:
                raise OverflowError(_TOO_LARGE)
            return total

        return compute

    return function


_TOLD = {
    operator.iadd: _told(_added, _added_in_place),
    operator.isub: _told(_subtracted, _subtracted_in_place),
    operator.add: _told(_added, _plus),
    operator.sub: _told(_subtracted, _minus),
}


@register_pass(mutates_CFG=False, analysis_only=False)  # type: ignore[no-untyped-call]
class _SumsTold(FunctionPass):
    """Finds `array[at] += more` and the like in numba's form of a function, and has them told."""

    _name = "eventmill_whole_sums"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def run_pass(self, state: Any) -> bool:
        changed = False
        for block in state.func_ir.blocks.values():
            for at, expression in reversed(list(_sums(block.body))):
                statement = block.body[at]
                function = _ir.Var(block.scope, f"$told_{at}_{statement.target.name.strip('$')}", statement.loc)
                named = _ir.Global("told", _TOLD[expression.fn], statement.loc)
                call = _ir.Expr.call(function, [expression.lhs, expression.rhs], (), statement.loc)
                block.body[at : at + 1] = [
                    _ir.Assign(named, function, statement.loc),
                    _ir.Assign(call, statement.target, statement.loc),
                ]
                changed = True
        return changed


def _sums(body: list[Any]) -> Iterator[tuple[int, Any]]:
    """The statements of a block that compute what is put into an array, of an element of it."""
    arrays: dict[str, str] = {}
    put = {(it.target.name, it.value.name) for it in body if isinstance(it, _SETS)}
    for at, statement in enumerate(body):
        value = statement.value if isinstance(statement, ir.Assign) else None
        if isinstance(value, ir.Expr) and value.op in _GETS:
            arrays[statement.target.name] = value.value.name
        elif isinstance(value, ir.Expr) and value.op in ("binop", "inplace_binop") and value.fn in _TOLD:
            sides = [value.lhs.name, value.rhs.name]
            if any((arrays.get(side), statement.target.name) in put for side in sides):
                yield at, value


class SumsTold(CompilerBase):
    """Numba's compiler with this in it.

    Example:
        >>> @numba.njit(pipeline_class=SumsTold)                                                 # doctest: +SKIP
        ... def count(times, ns):
        ...     times[0] += ns
    """

    def define_pipelines(self) -> list[Any]:
        """As numba's."""
        passes = _builder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_SumsTold, IRProcessing)
        passes.finalize()
        return [passes]
