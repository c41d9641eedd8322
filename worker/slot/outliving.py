"""Objects that come back in the results of two calls: something kept them outside of the calls, and counts on and on."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...analysis.ownership import is_users
from ...protocol.errors import AnalysisError

_CONTAINERS = (dict, list, set)


class Outliving:
    """Tells whether what a call returns was returned by an earlier one, too.

    Only what outlives a call can be returned twice: what others still refer to when the result is dropped is suspected. It
    is kept here for no longer than others keep it.

    Args:
        expected: whether an object is put back to its state before each call, so that returning it is right.

    Example:
        >>> kept = [0]
        >>> outliving = Outliving(lambda thing: False)
        >>> for result in {"sum": [0]}, {"sum": kept}, {"sum": [0]}:
        ...     outliving.check(result)
        >>> outliving.forget()
        >>> outliving.check({"sum": kept})
        Traceback (most recent call last):
        ...
        eventmill.protocol.errors.AnalysisError: result['sum'] is the same list as in an earlier call, ...
    """

    def __init__(self, expected: Callable[[object], bool]) -> None:
        self._expected = expected
        self._suspects: dict[int, object] = {}

    def check(self, value: object) -> None:
        """Look at what a call has returned.

        Raises:
            AnalysisError: there is something in it that an earlier call had returned.
        """
        found = {}
        for place, part in _parts(value, "result"):
            if id(part) in self._suspects:
                raise AnalysisError(
                    f"{place} is the same {type(part).__name__} as in an earlier call, kept outside of the function "
                    "(by em.once, functools.cache, or in a module that is installed): it would be counted again with "
                    "each call. Return a new one, or a copy"
                )
            if not self._expected(part):
                found[id(part)] = part
        self._suspects |= found

    def forget(self) -> None:
        """The result is dropped: forget what of it nobody else keeps."""
        for key in list(self._suspects):
            if sys.getrefcount(self._suspects[key]) == _OURS:
                del self._suspects[key]


_OURS = 2
"""References to a suspect that nobody else keeps: from the dict, and as the argument that is asked for them."""


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """What of a result can be changed later and is referred to by more than the result, with its place."""
    kind = type(value)
    if kind is np.ndarray:
        while isinstance(value.base, np.ndarray):
            value = value.base
        changes = value.flags.writeable
    else:
        word = isinstance(value, enum.Enum)  # there is one of each, and it counts nothing
        changes = kind in _CONTAINERS or hasattr(value, "_hist") or (is_users(kind.__module__) and not word)
    if changes:
        yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _parts(item, f"{place}[{key!r}]")
    elif kind in (list, tuple):
        for index, item in enumerate(value):
            yield from _parts(item, f"{place}[{index}]")
