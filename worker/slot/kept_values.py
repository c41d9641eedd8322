"""What functions under `once` have loaded, as far as a call could change it unseen: put back before the next call.

A dict of scale factors in which a call counts would make results depend on what came before. Large containers would take
too long: they are looked at when a packet ends that used them, and a query that has changed one fails. Models and
connections stay what they are: nobody can put them back, and what they keep of a call is what they are kept for.
"""

from __future__ import annotations

import collections
import operator
from typing import Any

import numpy as np

from ...analysis.once import Kept
from .seeding import Seed
from .snapshot import Snapshot

MOST_ITEMS = 10_000
"""Things in containers that are put back before each call, which takes some 0.1 ms; larger ones are compared a packet."""
_CONTAINERS = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    list,
    collections.deque,
    set,
)
_PLAIN = (bool, int, float, complex, str, bytes)
_FIXED = (tuple, frozenset)
_WITH_CONTENT = (*_CONTAINERS, *_FIXED, bytearray)


def guarded(value: Any) -> Kept | None:
    """How a value is kept as it is; None where nothing of it is.

    Example:
        >>> factors = {"2018": [1.02]}
        >>> kept = guarded(factors)
        >>> factors["2018"].append(0)
        >>> kept.put_back()
        >>> factors
        {'2018': [1.02]}
    """
    if type(value) not in (*_WITH_CONTENT, np.ndarray):
        return None
    return _Compared(value) if _items(value) > MOST_ITEMS else _PutBack(value)


class _PutBack:
    """A small value: what was changed of it is put back."""

    def __init__(self, value: Any) -> None:
        self._held = _InPlace([value], lambda _: False)

    def put_back(self) -> None:
        """Put it back in place."""
        self._held.restore(Seed(0))

    def is_unchanged(self) -> bool:
        """What was changed is put back."""
        return True


class _Compared:
    """A large value: all that its containers hold is known, and compared now and then, which takes 10 ns or so a thing.

    Arrays in it are read-only from now on.
    """

    def __init__(self, value: Any) -> None:
        self._held: list[tuple[Any, list[Any]]] = []
        seen, waiting = set[int](), [value]
        while waiting:
            thing = waiting.pop()
            if type(thing) is np.ndarray and not thing.dtype.hasobject:
                thing.flags.writeable = False
            if type(thing) not in _WITH_CONTENT or id(thing) in seen:
                continue
            seen.add(id(thing))
            content = _content(thing)
            if type(thing) not in _FIXED:
                self._held.append((thing, content))
            if type(thing) is not bytearray:
                waiting += content

    def put_back(self) -> None:
        """It is too large for that."""

    def is_unchanged(self) -> bool:
        """Whether every container holds the same things."""
        return all(_are_same(content, _content(thing)) for thing, content in self._held)


class _InPlace(Snapshot):
    """Of what can be put back in place only."""

    def number(self, value: Any) -> int | None:
        array = type(value) is np.ndarray and not value.dtype.hasobject
        return super().number(value) if array or type(value) in _WITH_CONTENT else None


def _content(container: Any) -> list[Any]:
    """What is in a container, in its order."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _are_same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists are of the very same things, or of equal numbers and words: other objects may have any `==`."""
    if len(one) != len(other) or all(map(operator.is_, one, other)):
        return len(one) == len(other)
    pairs = zip(one, other, strict=True)
    return all(mine is its or (type(mine) is type(its) and type(mine) in _PLAIN and mine == its) for mine, its in pairs)


def _items(value: Any) -> int:
    """How many things are in a container and those in it, counted until there are too many."""
    found, seen, waiting = 0, set[int](), [value]
    while waiting and found <= MOST_ITEMS:
        container = waiting.pop()
        if type(container) not in _WITH_CONTENT or id(container) in seen:
            continue
        seen.add(id(container))
        found += len(container)
        waiting += [*container, *container.values()] if isinstance(container, dict) else container
    return found
