"""What functions under `once` have loaded, as far as a call could change it unseen: put back before the next call.

A dict of scale factors in which a call counts would make results depend on what came before. Models and connections stay
what they are: nobody can put them back, and what they keep of a call is what they are kept for.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

from .seeding import Seed
from .snapshot import Snapshot

MOST_ITEMS = 10_000
"""Things in containers that are put back before each call, which takes some 0.1 ms: larger ones stay as they are."""
_CONTAINERS = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.Counter,
    list,
    collections.deque,
    set,
)
_WITH_CONTENT = (*_CONTAINERS, tuple, frozenset, bytearray)


def guarded(value: Any) -> Callable[[], object] | None:
    """How a value is put back; None where nothing of it is.

    Example:
        >>> factors = {"2018": [1.02]}
        >>> put_back = guarded(factors)
        >>> factors["2018"].append(0)
        >>> _ = put_back()
        >>> factors
        {'2018': [1.02]}
    """
    if type(value) not in (*_WITH_CONTENT, np.ndarray) or _items(value) > MOST_ITEMS:
        return None
    held = _InPlace([value], lambda _: False)
    return lambda: held.restore(Seed(0))


class _InPlace(Snapshot):
    """Of what can be put back in place only."""

    def number(self, value: Any) -> int | None:
        array = type(value) is np.ndarray and not value.dtype.hasobject
        return super().number(value) if array or type(value) in _WITH_CONTENT else None


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
