# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Lists and dicts of the user's script, as compiled code takes them: they are constants there, as numbers are.

Lists and sets become tuples or arrays. A dict becomes a `Lookup`, whose keys are compared one by one: that compiles at once,
and is fast where dicts are small. What is in them is in the types, and so in the key of the code that is kept.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.extending import models, overload, overload_method, register_model, typeof_impl

from ...analysis.word_codes import code_of
from .words import WordType, as_code, code_of_text

LARGEST = 256
"""Elements of a list that becomes a tuple, and keys of a dict."""
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_NUMBER = bool | int | float | np.number | np.bool_


class Lookup:
    """A dict that does not change."""

    def __init__(self, content: dict[Any, Any]) -> None:
        self.content = content


class LookupType(types.Type):
    """The type of just one dict."""

    def __init__(self, content: dict[Any, Any]) -> None:
        self.content = content
        super().__init__(name=f"Lookup({_told(content)})")


def _told(value: Any) -> str:
    """All that is in a value, in words."""
    if isinstance(value, Lookup):
        return _told(value.content)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_told(it)}" for key, it in value.items()) + "}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    return repr(value)


def frozen(value: Any, prepared: Callable[[Any], Any]) -> Any:
    """A list, set or dict as compiled code takes it; anything else, and what it cannot take, as it is.

    Args:
        value: from outside a kernel.
        prepared: makes of what is in a dict what compiled code takes.
    """
    if type(value) is list:
        return _list(value)
    if type(value) in (set, frozenset) and value and all(isinstance(it, _NUMBER | str) for it in value):
        return _list(sorted(value, key=lambda it: (str(type(it)), it)))
    if type(value) is dict and 0 < len(value) <= LARGEST:
        keys = {str if isinstance(key, str) else int if isinstance(key, int | np.integer) else None for key in value}
        if len(keys) == 1 and None not in keys:
            return Lookup({key: prepared(it) for key, it in value.items()})
    return value


def _list(value: list[Any]) -> Any:
    if value and all(isinstance(it, str) for it in value):
        return tuple(value)
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths in it
        return value
    if array.dtype.kind not in "biuf":
        return value
    return tuple(array.tolist()) if array.ndim == 1 and 0 < len(array) <= LARGEST else array


@register_model(LookupType)
class _LookupModel(models.OpaqueModel):
    pass


@typeof_impl.register(Lookup)
def _typeof(value: Lookup, _context: Any) -> LookupType:
    return LookupType(value.content)


@lower_constant(LookupType)
def _constant(context: Any, _builder: Any, _kind: Any, _value: Any) -> Any:
    return context.get_dummy_value()


# --- in compiled code -------------------------------------------------------------------------------------------------


def _place(content: dict[Any, Any], key: Any) -> Any:
    """What finds the place of a key, -1 where it is not there; None for what is no key of this dict."""
    if isinstance(next(iter(content)), str):
        keys = np.array([code_of(it) for it in content], np.int64)
        if isinstance(key, WordType):
            code: Any = as_code
        elif isinstance(types.unliteral(key), types.UnicodeType):
            code = code_of_text
        else:
            return None
    elif isinstance(types.unliteral(key), types.Integer | types.Boolean):
        keys, code = np.array([int(it) for it in content], np.int64), np.int64
    else:
        return None

    def find(key):
        wanted = code(key)
        for place in range(len(keys)):
            if keys[place] == wanted:
                return place
        return -1

    return njit(**_NO_DOORS)(find)


def _values(content: dict[Any, Any]) -> Any:
    """The values, all of one type: an array of numbers, or a tuple."""
    values = list(content.values())
    return np.array(values) if all(isinstance(it, _NUMBER) for it in values) else tuple(values)


def _found(content: dict[Any, Any], key: Any) -> Any:
    place = _place(content, key)
    if place is None:
        kind = "words" if isinstance(next(iter(content)), str) else "whole numbers"
        raise TypingError(f"the keys of this dict are {kind}, and not {types.unliteral(key)}")
    return place


@overload(operator.getitem, prefer_literal=True)
def _getitem(lookup, key):
    if not isinstance(lookup, LookupType):
        return None
    content = lookup.content
    if isinstance(key, types.Literal):
        if key.literal_value not in content:
            raise TypingError(f"a dict has no key {key.literal_value!r}: it has {', '.join(map(repr, content))}")
        value = content[key.literal_value]
        return lambda lookup, key: value  # noqa: ARG005
    find, values = _found(content, key), _values(content)
    lacks = f"a dict has no such key: it has {', '.join(map(repr, content))}"

    def get(lookup, key):  # noqa: ARG001
        place = find(key)
        if place < 0:
            raise KeyError(lacks)
        return values[place]

    return get


@overload_method(LookupType, "get")
def _get(lookup, key, default):  # noqa: ARG001
    find, values = _found(lookup.content, key), _values(lookup.content)

    def get(lookup, key, default):  # noqa: ARG001
        place = find(key)
        return default if place < 0 else values[place]

    return get


@overload(operator.contains)
def _contains(lookup, key):
    if not isinstance(lookup, LookupType):
        return None
    find = _found(lookup.content, key)
    return lambda lookup, key: find(key) >= 0  # noqa: ARG005


@overload(len)
def _length(lookup):
    if not isinstance(lookup, LookupType):
        return None
    size = len(lookup.content)
    return lambda lookup: size  # noqa: ARG005
