"""What a coffea processor returns for a chunk, so that chunks add up as coffea's own `accumulate` adds them.

What coffea and eventmill add up alike travels as it is, so that the master merges it and displays show it: histograms,
numbers, arrays of numbers, sets of words, and dicts of these, whose classes (`defaultdict`, coffea's accumulators) are noted
beside them. All else is an `Accumulated`, which is merged by coffea's `iadd`: tuples and texts end to end, truth values
counted, columns appended.

For slots and sessions. coffea is imported by `Accumulated.merge` only.
"""

from __future__ import annotations

import collections
import copy
import math
import sys
from collections.abc import Mapping
from typing import Any

import cloudpickle
import numpy as np

from .nodes import MAX_DEPTH, widened

Place = tuple[Any, ...]
"""The keys that lead to a value in nested dicts."""

_DEEPEST = MAX_DEPTH // 2
_COFFEA = "coffea.processor.accumulator"
_DICTS = (dict, collections.OrderedDict, collections.defaultdict)


class Accumulated:
    """A value that chunks add up by coffea's own rules."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def merge(self, other: Accumulated) -> None:
        """Add another one to this. Raises what coffea raises for values that it cannot add up."""
        from coffea.processor.accumulator import iadd  # type: ignore[import-not-found,unused-ignore]

        self.value = iadd(self.value, other.value)


class Kinds:
    """The classes of dicts that are not plain ones, by their places: an empty one of each, pickled."""

    def __init__(self, empty: dict[Place, bytes]) -> None:
        self.empty = empty

    def merge(self, other: Kinds) -> None:
        """Take in those of another chunk; where both have one, the first counts, as with coffea."""
        self.empty = other.empty | self.empty


def spread(value: Any) -> tuple[Any, Kinds | None]:
    """A processor's output in a form that eventmill merges with coffea's outcome, and the classes of its dicts.

    Example:
        >>> form, kinds = spread({"n": 3, "cuts": collections.defaultdict(int, {"two": 2}), "seen": ("a",)})
        >>> form["n"], form["cuts"], form["seen"].value
        (3, {'two': 2}, ('a',))
        >>> gathered(form, kinds)["cuts"]
        defaultdict(<class 'int'>, {'two': 2})
    """
    empty: dict[Place, bytes] = {}
    form = _spread(value, (), empty)
    return form, Kinds(empty) if empty else None


def gathered(form: Any, kinds: Kinds | None) -> Any:
    """The output that was `spread`, merged, as the processor returned it."""
    return _gathered(form, (), {} if kinds is None else kinds.empty)


def _spread(value: Any, place: Place, empty: dict[Place, bytes]) -> Any:
    kind = type(value)
    if _is_dict(kind) and len(place) < _DEEPEST and all(map(_is_key, value)):
        if kind is not dict:
            without = copy.copy(value)
            without.clear()
            empty[place] = cloudpickle.dumps(without)
        return {key: _spread(item, (*place, key), empty) for key, item in value.items()}
    return value if _is_alike(value, kind) else Accumulated(value)


def _gathered(form: Any, place: Place, empty: Mapping[Place, bytes]) -> Any:
    if isinstance(form, Accumulated):
        return form.value
    if type(form) is not dict:
        return form
    whole = cloudpickle.loads(empty[place]) if place in empty else {}
    for key, item in form.items():
        whole[key] = _gathered(item, (*place, key), empty)
    return whole


def _is_alike(value: Any, kind: type) -> bool:
    """Whether coffea and eventmill make the same of two such values."""
    if kind in (int, float, complex):
        return True
    if isinstance(value, np.number):
        return widened(value.dtype) is not None
    if kind is np.ndarray:
        return widened(value.dtype) is not None
    if kind is set:
        return all(type(item) in (str, int) and _is_key(item) for item in value)
    histogram = getattr(sys.modules.get("boost_histogram"), "Histogram", None)
    return histogram is not None and isinstance(value, histogram)


def _is_dict(kind: type) -> bool:
    accumulators = sys.modules.get(_COFFEA)
    if accumulators is None:
        return kind in _DICTS
    return kind in (*_DICTS, accumulators.dict_accumulator, accumulators.defaultdict_accumulator)


def _is_key(key: Any) -> bool:
    """Whether a key of a dict travels as it is."""
    if type(key) is tuple:
        return all(_is_word(part) for part in key)
    return _is_word(key)


def _is_word(key: Any) -> bool:
    if type(key) is int:
        return -(2**63) <= key < 2**63
    return key is None or type(key) in (str, bool) or (type(key) is float and not math.isnan(key))
