# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""What `analysis.kernel_functions` has for kernels, in compiled code.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import overload

from ...analysis.kernel_functions import argmax, argmin, argsort, concat, delta_phi, delta_r
from .record_access import CollectionType
from .record_unions import UnionType, union

_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inner = njit(**_NO_DOORS)


@_inner
def _before(one, other, descending):
    """Whether one value comes before another; NaN come last."""
    if np.isnan(other):
        return not np.isnan(one)
    return one > other if descending else one < other


@_inner
def _sorted(values, descending):
    """Merges sorted runs of one, two, four, ... indices."""
    order, merged = np.arange(len(values)), np.empty(len(values), np.int64)
    width = 1
    while width < len(values):
        for start in range(0, len(values), 2 * width):
            middle, stop = min(start + width, len(values)), min(start + 2 * width, len(values))
            left, right = start, middle
            for place in range(start, stop):
                if left < middle and (
                    right >= stop or not _before(values[order[right]], values[order[left]], descending)
                ):
                    merged[place] = order[left]
                    left += 1
                else:
                    merged[place] = order[right]
                    right += 1
        order, merged = merged, order
        width *= 2
    return order


@_inner
def _first(values, descending):
    found = -1
    for index in range(len(values)):
        if not np.isnan(values[index]) and (found < 0 or _before(values[index], values[found], descending)):
            found = index
    return found


def _check(name, values):
    if isinstance(values, CollectionType | UnionType):
        raise TypingError(f"em.{name} takes an array: a field of a collection, em.{name}({values.title}.pt)")
    if not (
        isinstance(values, types.Array) and values.ndim == 1 and isinstance(values.dtype, types.Number | types.Boolean)
    ):
        raise TypingError(f"em.{name} takes an array of numbers in one dimension, not {types.unliteral(values)}")


@overload(argsort)
def _argsort(values, descending=False):  # noqa: ARG001
    _check("argsort", values)
    return lambda values, descending=False: _sorted(values, descending)


@overload(argmax)
def _argmax(values):
    _check("argmax", values)
    return lambda values: _first(values, True)


@overload(argmin)
def _argmin(values):
    _check("argmin", values)
    return lambda values: _first(values, False)


@overload(concat)
def _concat(*collections):
    given: Any = collections[0] if len(collections) == 1 else collections  # numba asks with one tuple, or with all
    several: Any = given if isinstance(given, (types.BaseTuple, tuple)) else (given,)
    for it in several:
        if not isinstance(it, CollectionType):
            raise TypingError(
                f"em.concat takes collections of the event, such as Muon and Electron, not {types.unliteral(it)}"
            )
    return lambda *collections: union(collections)


# --- angles -----------------------------------------------------------------------------------------------------------


@overload(delta_phi)
def _delta_phi(phi, other):  # noqa: ARG001
    return lambda phi, other: (phi - other + np.pi) % (2 * np.pi) - np.pi


@overload(delta_r)
def _delta_r(one, other):  # noqa: ARG001
    def distance(one, other):
        eta, phi = one.eta - other.eta, delta_phi(one.phi, other.phi)
        return np.sqrt(eta * eta + phi * phi)

    return distance
