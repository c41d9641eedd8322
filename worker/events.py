"""Events as an awkward array of records whose columns are read when a columnar function touches them.

Built on awkward's virtual arrays. A NanoAOD file has 1,600 branches, and an array is made for every bite: so what does
not depend on the bite is prepared once a file, and columns of numbers and of lists of numbers, nearly all, are put
together from their parts, which takes some microseconds each (`ak.from_buffers` takes a hundred). Lists with the same
counter branch share their offsets, so that `ak.num(events.Muon_pt)` reads `nMuon` and no more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import awkward as ak
import numpy as np
from awkward._nplikes.numpy import Numpy
from awkward._nplikes.shape import unknown_length
from awkward._nplikes.virtual import VirtualNDArray

from .columns import Column, Flat, Jagged, offsets_of

if TYPE_CHECKING:
    from .readers import Reader

Load = Callable[[], Any]


class Columns(Protocol):
    """What columns are read from: a `Reader`, or a selection of its entries."""

    def read(self, branches: Sequence[str], start: int, stop: int) -> Mapping[str, Column]:
        """Branches of numbers."""

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """Any branch."""


class LazyEvents:
    """Makes the lazy arrays of one open file.

    Args:
        reader: the file.
    """

    def __init__(self, reader: Reader) -> None:
        self._forms: dict[str, Any] = {}
        self._counters: dict[str, str] = {}
        for name, form in reader.forms().items():
            self._forms[name] = form if _is_simple(form) else _keyed(form, name)
            branch = reader.baskets.branch(name)
            self._counters[name] = branch.counter if branch is not None else ""

    def array(self, columns: Columns, start: int, stop: int) -> ak.Array:
        """Entries `[start, stop)` of `columns`, nothing read yet."""
        bite = Bite(columns, start, stop)
        contents = [self._content(bite, name, form) for name, form in self._forms.items()]
        return ak.Array(ak.contents.RecordArray(contents, list(self._forms), length=stop - start))

    def _content(self, bite: Bite, name: str, form: Any) -> Any:
        if not _is_simple(form):
            buffers = {key: bite.buffer(name, key, dtype) for key, dtype in form.expected_from_buffers().items()}
            return ak.from_buffers(form, bite.length, buffers, buffer_key="{form_key}-{attribute}", highlevel=False)
        if form.is_numpy:
            values = _virtual((bite.length, *form.inner_shape), form.primitive, bite.values(name))
            return ak.contents.NumpyArray(values, parameters=form.parameters)
        index, number = bite.lists(name, self._counters[name])
        values = _virtual((unknown_length,), form.content.primitive, bite.values(name), number)
        content = ak.contents.NumpyArray(values, parameters=form.content.parameters)
        return ak.contents.ListOffsetArray(index, content, parameters=form.parameters)


class Bite:
    """What has been read of one range of entries."""

    def __init__(self, source: Columns, start: int, stop: int) -> None:
        self.length = stop - start
        self._source = source
        self._start = start
        self._stop = stop
        self._columns: dict[str, tuple[Any, Any]] = {}
        self._buffers: dict[str, dict[str, Any]] = {}
        self._lists: dict[str, tuple[Any, Load]] = {}

    def values(self, name: str) -> Load:
        """Loads a column's numbers."""
        return lambda: self._column(name)[0]

    def lists(self, name: str, counter: str) -> tuple[Any, Load]:
        """The index of where a column's lists start, from 0, and the number of values in them.

        Both load the counter branch if there is one, and then serve all columns with the same counter.
        """
        key = counter or name
        if key not in self._lists:

            @functools.cache
            def offsets() -> Any:
                return offsets_of(self._column(key)[0]) if counter else self._column(key)[1]

            index = ak.index.Index64(_virtual((self.length + 1,), "int64", offsets))
            self._lists[key] = index, lambda: (int(offsets()[-1]),)
        return self._lists[key]

    def buffer(self, name: str, key: str, dtype: Any) -> Load:
        """Loads one buffer of a column that is neither numbers nor lists of them; the first one loads all of them."""

        def load() -> Any:
            if name not in self._buffers:
                array = self._source.array(name, self._start, self._stop)
                _, _, buffers = ak.to_buffers(array, form_key=_keys(name), buffer_key="{form_key}-{attribute}")
                self._buffers[name] = buffers
            return np.asarray(self._buffers[name][key]).astype(dtype, copy=False)

        return load

    def _column(self, name: str) -> tuple[Any, Any]:
        """A column's numbers and, where they are in lists, offsets from 0."""
        if name not in self._columns:
            column = self._source.read([name], self._start, self._stop)[name]
            if isinstance(column, Flat):
                self._columns[name] = column.values, None
            elif isinstance(column, Jagged) and isinstance(column.content, Flat):
                low, high = column.offsets[0], column.offsets[-1]
                self._columns[name] = column.content.values[low:high], column.offsets - low
            else:
                raise TypeError(f"branch {name} came as {type(column).__name__}, not as numbers or lists of numbers")
        return self._columns[name]


def _is_simple(form: Any) -> bool:
    """Numbers, fixed-size arrays of them, and lists of numbers."""
    if form.is_list and not form.is_regular and form.parameter("__array__") is None:
        return form.content.is_numpy and not form.content.inner_shape and _is_number(form.content)
    return form.is_numpy and _is_number(form)


def _is_number(form: Any) -> bool:
    return form.parameter("__array__") is None and np.dtype(form.primitive).kind in "biuf"


def _keyed(form: Any, name: str) -> Any:
    """The form with keys that tell its nodes from those of other columns."""
    keyed, _, _ = ak.to_buffers(form.length_zero_array(), form_key=_keys(name))
    return keyed


def _keys(name: str) -> str:
    """The form key of each node of a column that goes through buffers."""
    return name + "/{id}"


def _virtual(shape: Sequence[Any], dtype: str, load: Load, shape_of: Load | None = None) -> Any:
    """An array that `load` makes when somebody looks at it."""
    return VirtualNDArray(Numpy.instance(), tuple(shape), np.dtype(dtype), load, shape_of)
