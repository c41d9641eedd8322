"""Which parameters of a kernel may be weights only, as far as its source tells; whether they are, its compilation tells."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


def perhaps_weights(function: Callable[..., Any]) -> set[str] | None:
    """The names in a function that are neither compared, nor indices, nor values that are filled; None if its source is
    not at hand.

    Example:
        >>> def fills(h, MET_pt, weight):
        ...     if MET_pt > 20:
        ...         h.fill(MET_pt, weight=2 * weight)
        >>> sorted(perhaps_weights(fills) & {"MET_pt", "weight"})
        ['weight']
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # typed into an interpreter, or a lambda in the middle of a call
        return None
    every = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return every - {name for part in _that_decide(tree) for name in _names(part)}


def _that_decide(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        match node:
            case ast.Compare() | ast.BoolOp():
                yield node
            case ast.If(test=part) | ast.While(test=part) | ast.IfExp(test=part) | ast.Subscript(slice=part):
                yield part
            case ast.Call(func=ast.Attribute(attr="fill"), args=parts):
                yield from parts


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
