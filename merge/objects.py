"""Objects of the user's own classes, merged by their own `merge(other)` or `+`. For slots and sessions only."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from .nodes import Part, Unmergeable


def type_name(value: object) -> str:
    """`module.Class` of an object, as messages show it."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def is_mergeable(value: object) -> bool:
    """Whether the object's class says how two of them become one."""
    kind = type(value)
    if isinstance(value, type | tuple | str) or kind.__module__.partition(".")[0] == "pandas":
        return False  # their `+` or `merge` (a database join, in pandas) is not the sum of two packets
    return callable(getattr(kind, "merge", None)) or hasattr(kind, "__add__")


def merged(one: Any, other: Any, *, disposable: bool = False) -> Any:
    """What `one.merge(other)`, or else `one + other`, gives; `one` is left as it was unless it is `disposable`.

    A `merge` that returns None has merged into its object, which is a deep copy here. Raises Unmergeable, caused by
    what the user's code raised.
    """
    if not callable(getattr(type(one), "merge", None)):
        try:
            return one + other
        except Exception as error:  # user code
            raise Unmergeable(f"{type_name(one)} + {type_name(other)} failed: {error!r}") from error
    try:
        own = one if disposable else copy.deepcopy(one)
        result = own.merge(other)
    except Exception as error:  # user code
        raise Unmergeable(f"{type_name(one)}.merge failed: {error!r}") from error
    return own if result is None else result


def merged_parts(parts: Iterable[Part]) -> Any:
    """All parts of one object, in their order, as one. At least one part."""
    first, *others = parts
    value, disposable = first.load(), not first.is_live
    for part in others:
        value, disposable = merged(value, part.load(), disposable=disposable), False
    return value
