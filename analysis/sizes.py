"""Analyses that are large to send: to every worker, what is not in arrays with every query.

Example:
    >>> import numpy as np
    >>> table = np.zeros(80_000_000 // 8)
    >>> def analysis(events): return table[0]
    >>> largest([analysis])
    [('table', 'ndarray', 80000000)]
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

from .fingerprint import referenced

LARGE = 50_000_000
"""Bytes of an analysis from which on its user is told."""
_SHOWN = 3


def warn_of_size(size: int, attached: int, functions: Iterable[FunctionType], attributes: dict[str, Any]) -> None:
    """Tell the user, who is three callers above, when an analysis of so many bytes is large, and what makes it so.

    Args:
        size: bytes that travel with each query.
        attached: bytes of arrays, which travel once.
        functions: the user's, with their helpers.
        attributes: of the analysis, where it is an object.
    """
    if size + attached < LARGE:
        return
    travel = (
        "go to each worker with each query" if size >= LARGE else "go to each worker, once as long as they are the same"
    )
    parts = [f"{name} ({kind}, {bytes_ / 1e6:,.0f} MB)" for name, kind, bytes_ in largest(functions, attributes)]
    what = f": most of it is {', '.join(parts)}" if parts else ""
    warnings.warn(
        f"the analysis takes {(size + attached) / 1e6:,.0f} MB, which {travel}{what}. Let workers load such "
        "things from a file, once a process, in a function under @functools.cache that the analysis calls",
        stacklevel=4,
    )


def largest(functions: Iterable[FunctionType], attributes: dict[str, Any] | None = None) -> list[tuple[str, str, int]]:
    """The largest things of more than 1 MB that functions use or that are attributes: name, type, bytes in memory."""
    found: dict[int, tuple[str, str, int]] = {}
    named = [(f"self.{name}", value) for name, value in (attributes or {}).items()]
    for function in functions:
        named += referenced(function).items()
        defaults, code = function.__defaults__ or (), function.__code__
        named += zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults, strict=False)
    for name, value in named:
        if not isinstance(value, ModuleType | FunctionType):
            found[id(value)] = (name, type(value).__name__, _size(value))
    large = [thing for thing in found.values() if thing[2] > 1_000_000]
    return sorted(large, key=lambda thing: -thing[2])[:_SHOWN]


def _size(value: Any, depth: int = 3) -> int:
    """Bytes that a thing takes, about: of containers what is in them, not too deep."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    size = sys.getsizeof(value, 0)
    if depth and isinstance(value, dict):
        size += sum(_size(item, depth - 1) for item in value.values())
    elif depth and isinstance(value, list | tuple | set | frozenset):
        size += sum(_size(item, depth - 1) for item in value)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type):
        size += _size(vars(value), depth)
    return size
