"""Objects that are merged by their own `merge(other)` or `+`. For slots and sessions only.

Which objects these are is decided by who wrote the method. The user's own is what the user means by merging. A library's
`merge` is, too, unless the library is one of tables, where it joins two. A library's `+` may mean anything (xarray adds up
what has common labels and drops the rest, a datetime cannot be added at all): only what is known to mean the sum of two
packets is taken as that, `SUMS`; the rest is refused when the first packet returns it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..analysis.ownership import is_installed
from .nodes import Part, Unmergeable, widened

SUMS = frozenset(
    {
        "boost_histogram.accumulators.Mean",
        "boost_histogram.accumulators.Sum",
        "boost_histogram.accumulators.WeightedMean",
        "boost_histogram.accumulators.WeightedSum",
        "boost_histogram.view.WeightedSumView",
        "coffea.processor.accumulator.AccumulatorABC",
        "collections.deque",
        "datetime.timedelta",
        "decimal.Decimal",
        "fractions.Fraction",
        "numpy.timedelta64",
        "scipy.sparse._base._spbase",
        "uncertainties.core.AffineScalarFunc",
    }
)
"""Classes of libraries whose `+` is the sum of two packets, and that of their subclasses."""

TABLES = frozenset({"cudf", "dask", "geopandas", "modin", "pandas", "polars", "pyarrow", "pyspark", "vaex", "xarray"})
"""Libraries whose `merge` joins two tables by their labels."""

_INSTEAD = {
    "builtins.tuple": "return a dict of its fields",
    "datetime.datetime": "return text, or a datetime.timedelta",
    "enum.Enum": "return its name, or its value",
    "hist.stack.Stack": "return a dict of its histograms",
    "numpy.datetime64": "return text, or a numpy.timedelta64",
    "numpy.ma.MaskedArray": "what is masked in one packet would be masked in the sum: return array.filled(0)",
    "numpy.ndarray": "return np.asarray(array)",
}
_IN_GENERAL = (
    "return its numbers, or an object of a class of your own whose merge(other) says what its packets add up to"
)


def type_name(value: object) -> str:
    """`module.Class` of an object, as messages show it."""
    return _name(type(value))


@functools.lru_cache(maxsize=1000)  # asked for every number of a result that is of numpy's
def has_own_rule(kind: type) -> bool:
    """Whether a class of numbers or containers is the user's and says itself how two of them become one."""
    methods = ("merge", "__add__", "add") if _is_sum(kind) else ("merge", "__add__")
    return any(name in vars(base) for base in kind.__mro__ for name in methods if not is_installed(base.__module__))


def refusal(value: object) -> str | None:
    """Why two of such objects cannot become one, and what to do instead; None if they can."""
    kind = type(value)
    if _merges(kind):
        return None
    adds = _definer(kind, "__add__")
    if adds is not None and (not is_installed(adds.__module__) or _is_sum(kind)):
        return _narrow(value)
    instead = next((_INSTEAD[_name(base)] for base in kind.__mro__ if _name(base) in _INSTEAD), _IN_GENERAL)
    if _definer(kind, "merge"):
        return f"a {type_name(value)} cannot be merged, because its merge joins tables: {instead}"
    if adds:
        return f"a {type_name(value)} cannot be merged, because its + need not be the sum of two packets: {instead}"
    return f"a {type_name(value)} cannot be merged: {instead}"


def _narrow(value: Any) -> str | None:
    """What is wrong with an object that holds numbers of less than 64 bits, in which sums wrap around; None if nothing."""
    dtype = getattr(value, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iufc" or dtype == widened(dtype):
        return None
    wide = widened(dtype) or np.dtype(np.float64)
    return f"a {type_name(value)} of {dtype} would be summed in so many bits: return value.astype(np.{wide})"


def _merges(kind: type) -> bool:
    """Whether `merge` is how two of these become one."""
    base = _definer(kind, "merge")
    return base is not None and base.__module__.partition(".")[0] not in TABLES


def _is_sum(kind: type) -> bool:
    return any(_name(base) in SUMS for base in kind.__mro__)


def _definer(kind: type, method: str) -> type | None:
    """The class, among its bases, that a class has a method from."""
    return next((base for base in kind.__mro__ if callable(vars(base).get(method))), None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def merged(one: Any, other: Any, *, disposable: bool = False) -> Any:
    """What `one.merge(other)`, or else `one + other`, gives; `one` is left as it was unless it is `disposable`.

    A `merge` that returns None has merged into its object, which is a deep copy here; a `+` of the user's may change
    its object, too. Raises Unmergeable, caused by what the user's code raised.
    """
    merges = _merges(type(one))
    try:
        own = one if disposable or (not merges and _is_sum(type(one))) else copy.deepcopy(one)
        result = own.merge(other) if merges else own + other
    except Exception as error:  # user code
        what = f"{type_name(one)}.merge" if merges else f"{type_name(one)} + {type_name(other)}"
        raise Unmergeable(f"{what} failed: {error!r}") from error
    return own if result is None and merges else result


def merged_parts(parts: Iterable[Part]) -> Any:
    """All parts of one object, in their order, as one. At least one part."""
    first, *others = parts
    value, disposable = first.load(), not first.is_live
    for part in others:
        value, disposable = merged(value, part.load(), disposable=disposable), False
    return value
