"""What awkward has computed in one call of a function, found again in later ones over the same events.

A function that is called for variations of its columns computes most of what it computes again and again: for another weight
all but what is filled. An operation that is asked for the same of the same arrays gives the same, bit for bit, so its result
is taken from the first call.

    which arrays are the same:  columns that were read of these events, by their names; results that are kept, by where they
                                are in memory; all others (masks from NumPy, selections of events) by their values
    what is kept:               what awkward returns from OPERATIONS, ufuncs and selections, from the first call and up to
                                `MOST_BYTES`; what is no longer awkward's, as NumPy's arrays, is computed again
    what keeps it right:        kept arrays cannot be written to: who tries gets an error, and is to be called again without
                                all this. An array of the user's memory is never known by its place, and is compared
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from ...reading.lazy_events import ColumnLoad
from ...reading.varied_range import place_of
from ...reading.virtual_arrays import heard, load_of

MOST_BYTES = 128 * 2**20
"""Of results that are kept for one range of events, and copies of arrays that they were made of."""
OPERATIONS = (
    "all", "any", "argcartesian", "argcombinations", "argmax", "argmin", "argsort", "broadcast_arrays", "cartesian",
    "combinations", "concatenate", "count", "count_nonzero", "drop_none", "fill_none", "firsts", "flatten",
    "from_regular", "full_like", "is_none", "isclose", "local_index", "mask", "max", "mean", "min", "nan_to_num",
    "nanmax", "nanmin", "nansum", "num", "ones_like", "pad_none", "prod", "ptp", "ravel", "run_lengths", "singletons",
    "sort", "std", "sum", "to_packed", "to_regular", "unflatten", "unzip", "values_astype", "var", "where",
    "with_field", "with_name", "without_field", "zeros_like", "zip",
)  # fmt: skip
_SAMPLED = 16
_UFUNCS = frozenset(value for value in vars(np).values() if isinstance(value, np.ufunc))
_NUMBERS = (bool, int, str, bytes, type(None), type(Ellipsis), np.dtype, type)
_CONTENTS: dict[type, Callable[[Any], tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]] = {
    ak.contents.NumpyArray: lambda it: ((it.data,), (), ()),
    ak.contents.EmptyArray: lambda _: ((), (), ()),
    ak.contents.ListOffsetArray: lambda it: ((it.offsets.data,), (it.content,), ()),
    ak.contents.ListArray: lambda it: ((it.starts.data, it.stops.data), (it.content,), ()),
    ak.contents.IndexedArray: lambda it: ((it.index.data,), (it.content,), ()),
    ak.contents.IndexedOptionArray: lambda it: ((it.index.data,), (it.content,), ()),
    ak.contents.ByteMaskedArray: lambda it: ((it.mask.data,), (it.content,), (it.valid_when,)),
    ak.contents.BitMaskedArray: lambda it: ((it.mask.data,), (it.content,), (it.valid_when, it.length, it.lsb_order)),
    ak.contents.UnmaskedArray: lambda it: ((), (it.content,), ()),
    ak.contents.RegularArray: lambda it: ((), (it.content,), (it.size, it.length)),
    ak.contents.RecordArray: lambda it: (
        (), tuple(it.contents), (it.length, *(("a tuple", len(it.contents)) if it.is_tuple else it.fields))
    ),
}  # fmt: skip
"""Of each kind of layout its buffers, the layouts in it, and what else tells it from others."""


_DATA = (ak.contents.NumpyArray, ak.contents.ByteMaskedArray, ak.contents.BitMaskedArray)
"""Whose buffers may be arrays that a user has in hand: they are no part of what is kept. Offsets and indices may, as nobody
writes into them; whoever does gets an error."""


class _Unknown(Exception):
    """Nothing is known of an argument, or of a result: the operation is awkward's own business."""


class RecalledArrays:
    """Results of awkward's operations over some events.

    Args:
        column: tells which column was loaded into an array in memory, if any.

    Attributes:
        hits: how often a result was there already.

    Example:
        >>> momenta = ak.Array([[3.0, 4.0], [], [5.0]])
        >>> recalled = RecalledArrays()
        >>> for weight in (1, 2):
        ...     with recalled.listening(is_first=weight == 1):
        ...         print(ak.sum(ak.sum(momenta**2, axis=1) * weight), recalled.hits)
        50.0 0
        100.0 2
    """

    def __init__(self, column: Callable[[NDArray[Any]], object | None] = lambda _: None) -> None:
        self.hits = 0
        self._column = column
        self._results: dict[Any, Any] = {}
        self._placed: dict[Any, tuple[int, NDArray[Any]]] = {}
        self._alike: dict[Any, list[tuple[int, NDArray[Any]]]] = {}
        self._virtual: dict[int, tuple[int, Any]] = {}
        self._behaviors: dict[int, Any] = {}
        self._tokens = 0
        self._bytes = 0
        self._records = self._is_inside = False
        self._foreign: list[NDArray[Any]] = []

    @contextmanager
    def listening(self, is_first: bool) -> Iterator[None]:
        """Take part in what awkward does in this thread; the first call's results are those that are kept."""
        thread, before = threading.get_ident(), {name: getattr(ak, name) for name in OPERATIONS if hasattr(ak, name)}
        array = ak.Array
        ufunc_of, item_of = array.__array_ufunc__, array.__getitem__

        def listened(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                if self._is_inside or threading.get_ident() != thread:
                    return operation(*arguments, **named)
                return self._call(name, operation, arguments, named)

            return call

        def ufunc(its: Any, function: Any, method: str, *inputs: Any, **named: Any) -> Any:
            if self._is_inside or method != "__call__" or named or function not in _UFUNCS:
                return ufunc_of(its, function, method, *inputs, **named)
            if threading.get_ident() != thread:
                return ufunc_of(its, function, method, *inputs)
            of = lambda *given: ufunc_of(its, function, method, *given)  # noqa: E731
            return self._call(function, of, inputs, {})

        def item(its: Any, where: Any) -> Any:
            if self._is_inside or isinstance(where, str) or threading.get_ident() != thread:
                return item_of(its, where)
            return self._call("item", item_of, (its, where), {})

        self._records = is_first
        try:
            for name, operation in before.items():
                setattr(ak, name, listened(name, operation))
            array.__array_ufunc__, array.__getitem__ = ufunc, item
            yield
        finally:
            array.__array_ufunc__, array.__getitem__ = ufunc_of, item_of
            for name, operation in before.items():
                setattr(ak, name, operation)

    def _call(self, name: Any, operation: Callable[..., Any], arguments: Any, named: dict[str, Any]) -> Any:
        self._foreign = []
        key: Any
        try:
            key = name, tuple(np.geterr().values()), self._value(arguments), self._value(named)
            found = self._results.get(key)
        except _Unknown:
            key = found = None
        if found is not None:
            self.hits += 1
            return _shown(found)
        self._is_inside = True
        try:
            result = operation(*arguments, **named)
        finally:
            self._is_inside = False
        if key is not None and self._records and self._bytes < MOST_BYTES:
            with suppress(_Unknown):
                self._results[key] = self._kept(result)
        self._foreign = []
        return result

    # --- what arguments are -----------------------------------------------------------------------------------------------

    def _value(self, value: Any) -> Any:
        """What tells an argument from others, and is the same for the same."""
        if isinstance(value, ak.Array):
            if value.attrs:
                raise _Unknown
            behavior = value.behavior
            if behavior is not None:
                self._behaviors[id(behavior)] = behavior
            return "array", None if behavior is None else id(behavior), self._layout(value.layout)
        kind = type(value)
        if kind in _NUMBERS or isinstance(value, np.dtype | type):
            return kind, value
        if kind is float or kind is complex or isinstance(value, np.generic):
            return kind, np.asarray(value).dtype.str, np.asarray(value).tobytes()
        if kind is slice:
            return slice, self._value((value.start, value.stop, value.step))
        if kind is tuple or kind is list:
            return kind, *(self._value(each) for each in value)
        if kind is dict:
            return kind, *((self._value(name), self._value(each)) for name, each in value.items())
        if kind is np.ndarray:
            return kind, self._token(value, is_users=True)
        raise _Unknown

    def _layout(self, layout: Any) -> Any:
        try:
            buffers, contents, rest = _CONTENTS[type(layout)](layout)
        except KeyError:  # of events that are read when they are looked at
            raise _Unknown from None
        its = layout.parameters
        parameters = repr(sorted(its.items(), key=str)) if its else ""
        return (type(layout), parameters, rest, *map(self._token, buffers), *map(self._layout, contents))

    def _token(self, buffer: Any, is_users: bool = False) -> Any:
        """What is the same for buffers with the same in them."""
        if not isinstance(buffer, np.ndarray):
            if (held := self._virtual.get(id(buffer))) is not None:
                return held[0]
            if not buffer.is_materialized:
                load = load_of(buffer)
                if isinstance(load, ColumnLoad) and (token := load.token) is not None:
                    return token
                raise _Unknown
            buffer = buffer.materialize()
        if not is_users:
            if (column := self._column(buffer)) is not None:
                return column
            if (found := self._placed.get(place_of(buffer))) is not None:
                return found[0]
        self._foreign.append(buffer)
        return self._alike_token(buffer)

    def _alike_token(self, buffer: NDArray[Any]) -> int:
        size = buffer.dtype.itemsize
        if size not in (1, 2, 4, 8) or buffer.dtype.hasobject or not buffer.flags.c_contiguous:
            raise _Unknown
        bits = buffer.reshape(-1).view(f"u{size}")
        sample = buffer.dtype.str, buffer.shape, bits[:: max(1, len(bits) // _SAMPLED)].tobytes()
        for token, known in self._alike.get(sample, ()):
            if np.array_equal(known, bits):
                return token
        if not self._records or self._bytes >= MOST_BYTES:
            raise _Unknown
        self._tokens += 1
        self._bytes += bits.nbytes
        self._alike.setdefault(sample, []).append((self._tokens, bits.copy()))
        return self._tokens

    # --- what is kept -----------------------------------------------------------------------------------------------------

    def _kept(self, value: Any) -> Any:
        """A result as it is kept; what it is in memory is known from now on, and not written to."""
        if isinstance(value, ak.Array):
            if value.attrs:
                raise _Unknown
            new = [(buffer, is_data) for buffer, is_data in _buffers(value.layout) if not self._knows(buffer)]
            foreign = [self._is_foreign(buffer) for buffer, _ in new]
            if any(is_foreign and is_data for is_foreign, (_, is_data) in zip(foreign, new, strict=True)):
                raise _Unknown
            for is_foreign, (buffer, _) in zip(foreign, new, strict=True):
                if is_foreign:
                    token = self._alike_token(buffer)
                else:
                    token = self._tokens = self._tokens + 1
                self._keep(token, buffer)
            return _Kept(value.layout, value.behavior)
        if type(value) in (tuple, list):
            return type(value)(map(self._kept, value))
        if isinstance(value, bool | int | float | np.number | np.bool_):
            return value
        raise _Unknown

    def _knows(self, buffer: Any) -> bool:
        """Whether this is a column, or part of a result that is kept."""
        if isinstance(buffer, np.ndarray):
            return place_of(buffer) in self._placed or self._column(buffer) is not None
        return id(buffer) in self._virtual or (
            isinstance(load := load_of(buffer), ColumnLoad) and load.token is not None
        )

    def _is_foreign(self, buffer: Any) -> bool:
        """Whether the user may be able to write to what is in a result: it may be what was in an argument."""
        if not isinstance(buffer, np.ndarray):
            return bool(self._foreign)
        return any(np.may_share_memory(buffer, other) for other in self._foreign)

    def _keep(self, token: int, buffer: Any) -> None:
        if not isinstance(buffer, np.ndarray):  # not computed before somebody looks
            self._virtual[id(buffer)] = token, buffer
            heard(buffer, lambda array: self._keep(token, array))
            return
        self._bytes += buffer.nbytes
        self._placed.setdefault(place_of(buffer), (token, buffer))
        while isinstance(buffer, np.ndarray) and buffer.flags.writeable:
            buffer.flags.writeable = False
            buffer = buffer.base


class _Kept:
    """An array as it is kept: whoever gets it may put other fields into it."""

    def __init__(self, layout: Any, behavior: Any) -> None:
        self.layout, self.behavior = layout, behavior


def _shown(kept: Any) -> Any:
    if isinstance(kept, _Kept):
        return ak.Array(kept.layout, behavior=kept.behavior)
    return type(kept)(map(_shown, kept)) if type(kept) in (tuple, list) else kept


def _buffers(layout: Any) -> Iterator[tuple[Any, bool]]:
    """What a layout consists of, in memory or to be computed when somebody looks; and whether users may have made it."""
    if type(layout) not in _CONTENTS:
        raise _Unknown
    buffers, contents, _ = _CONTENTS[type(layout)](layout)
    is_data = type(layout) in _DATA
    for buffer in buffers:
        is_virtual = not isinstance(buffer, np.ndarray)
        yield buffer.materialize() if is_virtual and buffer.is_materialized else buffer, is_data or is_virtual
    for content in contents:
        yield from _buffers(content)
