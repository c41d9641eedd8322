# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Words in compiled code as one number each: to compare strings takes seconds to compile, and numbers none.

The number is the hash FNV-1a of the characters, of 64 bits, the same in Python and in compiled code.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AttributeTemplate
from numba.cpython.unicode import _get_code_point
from numba.extending import infer_getattr, models, overload, register_model

from ...analysis.word_codes import PRIME, START, code_of
from .jagged_access import intrinsic


class WordType(types.Type):
    """A word that is known when the code runs."""

    def __init__(self) -> None:
        super().__init__(name="word")


WORD = WordType()


@register_model(WordType)
class _WordModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: WordType) -> None:
        super().__init__(manager, kind, manager.lookup(types.int64).get_value_type())


@intrinsic
def as_code(_typing: Any, word: Any) -> Any:
    """The number of a word."""
    return types.int64(word), lambda _context, _builder, _sig, arguments: arguments[0]


_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it


@njit(**_NO_DOORS)
def code_of_text(text):
    """As `code_of`."""
    code = np.uint64(START)
    for place in range(len(text)):
        code = (code ^ np.uint64(_get_code_point(text, place))) * np.uint64(PRIME)
    return np.int64(code)


def _compared(one: Any, other: Any) -> Any:
    """What compares two words, or a word with a string; with a literal it is known beforehand."""
    if isinstance(one, WordType) and isinstance(other, WordType):
        return lambda one, other: as_code(one) == as_code(other)
    if isinstance(other, WordType) and not isinstance(one, WordType):
        swapped = _compared(other, one)
        return swapped and (lambda one, other: other == one)
    if isinstance(one, WordType) and isinstance(other, types.StringLiteral):
        code = code_of(other.literal_value)
        return lambda one, other: as_code(one) == code  # noqa: ARG005
    if isinstance(one, WordType) and isinstance(other, types.UnicodeType):
        return lambda one, other: as_code(one) == code_of_text(other)
    return None


@overload(operator.eq, prefer_literal=True)
def _equal(one, other):
    return _compared(one, other)


@overload(operator.ne, prefer_literal=True)
def _unequal(one, other):
    return (lambda one, other: not (one == other)) if _compared(one, other) is not None else None  # noqa: SIM201


@infer_getattr
class _NoMethods(AttributeTemplate):
    key = WordType

    def generic_resolve(self, _value: WordType, name: str) -> Any:  # type: ignore[override]
        raise TypingError(
            f"a word of here has no {name} in compiled code: it can be compared with others (==, in) and filled into an "
            "axis of categories; what is made of it belongs into the metadata of the datasets"
        )
