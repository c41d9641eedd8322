"""What kernels, and the functions that they call, cannot use: said when they are submitted, not by a slot."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from ..protocol.errors import AnalysisError
from .fingerprint import looked_up, referenced
from .kernel_parameters import check_known
from .ownership import is_users
from .syntax import parsed_module


def check_used(kernel: Callable[..., Any]) -> None:
    """Check what a kernel uses, and its helpers, as far as they are there.

    Raises AnalysisError, with what to write instead: as `check_known`, and when one of these uses something of outside where
    numba runs Python (`objmode`).
    """
    found = _with_helpers(kernel)
    for function in found:
        check_known(function)
        for name in _names_in_python(function):
            if _is_of_outside(name, function):
                raise AnalysisError(
                    f"{kernel.__name__} cannot use {name} under numba.objmode"
                    f"{'' if function is found[0] else f', in {function.__name__}'}: kernels travel as compiled code, which "
                    "has there Python's builtins only. Call a function that numba compiles directly; give the kernel "
                    "what it needs as numbers, NAME=em.constant(...) or em.correction(...); or write a function of events, "
                    "which is plain Python"
                )


def _with_helpers(kernel: Callable[..., Any]) -> list[FunctionType]:
    found, waiting = list[FunctionType](), list[Any]([getattr(kernel, "py_func", kernel)])
    while waiting:
        function = waiting.pop()
        if any(function is known for known in found):
            continue
        found.append(function)
        helpers = (getattr(value, "py_func", value) for value in looked_up(function).values())
        waiting += [it for it in helpers if isinstance(it, FunctionType) and is_users(it.__module__)]
    return found


def _names_in_python(function: FunctionType) -> Iterator[str]:
    """The names that a function uses where numba runs Python; none where its source is not to be had."""
    known = referenced(function)
    if not any(
        _is_object_mode(value) or (isinstance(value, ModuleType) and _is_object_mode(getattr(value, "objmode", None)))
        for value in known.values()
    ):
        return
    try:
        tree = parsed_module(textwrap.dedent(inspect.getsource(function)).encode())
    except (OSError, SyntaxError):
        return
    for block in ast.walk(tree):
        if isinstance(block, ast.With) and any(_opens_object_mode(it.context_expr, known) for it in block.items):
            names = (node for statement in block.body for node in ast.walk(statement) if isinstance(node, ast.Name))
            yield from (node.id for node in names)


def _opens_object_mode(expression: ast.expr, known: dict[str, Any]) -> bool:
    """Whether it is `objmode(...)` or `numba.objmode(...)`, under whatever names."""
    called = expression.func if isinstance(expression, ast.Call) else expression
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return _is_object_mode(getattr(known.get(called.value.id), called.attr, None))
    return isinstance(called, ast.Name) and _is_object_mode(known.get(called.id))


def _is_object_mode(value: object) -> bool:
    return type(value).__name__ == "_ObjModeContextType"


def _is_of_outside(name: str, function: FunctionType) -> bool:
    """Whether a name is none of the function's own, and no builtin of Python."""
    code = function.__code__
    own = name in code.co_varnames or name in code.co_cellvars
    return not own and (name in function.__globals__ or not hasattr(builtins, name))
