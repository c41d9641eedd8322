"""awkward's virtual arrays, of which it makes public only what it reads itself: arrays and records that load when looked at.

All that we use of awkward's internals is here, and is tried out when this is imported: an awkward that has changed them is
named at once, not by an odd error in somebody's analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import awkward as ak
import numpy as np

Load = Callable[[], Any]
Taken = Callable[[str, Any], Any]
_KNOWN = "2.14"


def _unknown_awkward(why: object) -> ImportError:
    return ImportError(
        f"awkward {ak.__version__} makes arrays that load when they are looked at in a way that eventmill does not know "
        f"({why}): install another one, {_KNOWN} is known to work"
    )


try:
    from awkward._backends.numpy import NumpyBackend
    from awkward._nplikes.numpy import Numpy
    from awkward._nplikes.shape import unknown_length
    from awkward._nplikes.virtual import VirtualNDArray
except ImportError as error:
    raise _unknown_awkward(error) from error
UNKNOWN_LENGTH = unknown_length


def virtual(shape: Sequence[Any], dtype: str, load: Load, shape_of: Load | None = None) -> Any:
    """An array that `load` makes when somebody looks at it.

    Args:
        shape: of the array; an `UNKNOWN_LENGTH` in it is what `shape_of` tells when somebody asks.
        dtype: of what `load` returns.
    """
    return VirtualNDArray(Numpy.instance(), tuple(shape), np.dtype(dtype), load, shape_of)


def virtual_index(length: int, load: Load) -> Any:
    """An index that is a virtual array itself: awkward's constructor puts another one around it, whose load is another."""
    index = ak.index.Index64(np.empty(0, np.int64))
    index._data = virtual((length,), "int64", load)
    return index


def load_of(buffer: Any) -> Load:
    """What makes a virtual array that has not been looked at."""
    load: Load = buffer._generator
    return load


def heard(buffer: Any, hear: Callable[[Any], object]) -> None:
    """Have `hear` told what a virtual array is, once somebody looks at it."""
    load = buffer._generator

    def loaded() -> Any:
        array = load()
        hear(array)
        return array

    buffer._generator = loaded


class LazyRecords(ak.contents.RecordArray):  # type: ignore[misc]
    """Records whose contents are made when they are asked for, and then kept: of 1,600, most never are.

    Selecting events with a mask keeps it so, since awkward puts off what that does to the contents; so does a range of
    events, here. Other copies that awkward makes have all contents.

    Args:
        make: makes a content, by its number.
        fields: their names.
        length: number of records; `UNKNOWN_LENGTH` where `length_of` is to tell.
        original: gives the name of a field for others that it is found by, and is not listed by.
        taken: gives a field of the records of these numbers, packed, in less time than awkward takes; None where it cannot.

    Attributes:
        as_read: its fields are those of a file; nobody has put another one in the place of any.
    """

    as_read = True

    def __init__(
        self,
        make: Callable[[int], Any],
        fields: list[str],
        length: Any,
        length_of: Load | None = None,
        original: Callable[[str], str] = str,
        taken: Taken | None = None,
    ) -> None:
        self.taken = taken
        self._contents = _Contents(make, len(fields))
        self._fields = fields
        self._original = original
        self._length = length
        self._length_generator = None if length_of is None else lambda: length_of()[0]
        self._init(None, NumpyBackend.instance())

    @property
    def length(self) -> Any:
        """Number of events; found out when it is asked for."""
        if self._length is UNKNOWN_LENGTH and self._length_generator is not None:
            self._length = self._length_generator()
        return self._length

    def _getitem_field(self, where: Any, only_fields: tuple[Any, ...] = ()) -> Any:
        return super()._getitem_field(self._original(where) if isinstance(where, str) else where, only_fields)

    def _getitem_range(self, start: Any, stop: Any) -> Any:
        start, stop, _, length = self._backend.nplike.derive_slice_for_length(slice(start, stop), self.length)
        if length == self.length:
            return self
        contents = self._contents
        return LazyRecords(
            lambda index: contents[index]._getitem_range(start, stop), self._fields, length, original=self._original
        )


class ListFields(Protocol):
    """What the fields of lists of records are by themselves."""

    fields: list[str]

    def field(self, name: str) -> Any:
        """One of them, one thing an event."""

    def some(self, names: Sequence[str]) -> Any:
        """An array with some of them."""

    def selectable(self) -> Any:
        """The lists, for a mask, or indices, of theirs."""

    def countable(self) -> Any:
        """The lists, with the lengths of one column."""


Cut = Callable[[Any], Any]


class _ByField:
    """What arrays of lists of records do whose lengths are found out when records are asked for, not when a field is."""

    _source: ListFields
    _cut: Cut

    @property
    def fields(self) -> list[str]:
        """The names of its fields; some may be of what is in no record."""
        return self._source.fields

    def _getitem_field(self, where: Any, only_fields: tuple[Any, ...] = ()) -> Any:
        if where not in self.fields:
            raise ak.errors.FieldNotFoundError(f"no field {where!r} in record with {len(self.fields)} fields")
        field = self._cut(self._source.field(where))
        if not only_fields:
            return field
        first, *rest = only_fields
        return getattr(field, "_getitem_field" if isinstance(first, str) else "_getitem_fields")(first, tuple(rest))

    def _getitem_fields(self, where: list[Any], only_fields: tuple[Any, ...] = ()) -> Any:
        some = self._cut(self._source.some(where))
        return some if not only_fields else _plain(some)._getitem_fields(some.fields, only_fields)

    def _getitem_next_jagged(self, slicestarts: Any, slicestops: Any, slicecontent: Any, tail: Any) -> Any:
        lists = self._cut(self._source.selectable())
        return lists._getitem_next_jagged(slicestarts, slicestops, slicecontent, tail)

    def _carry(self, carry: Any, allow_lazy: Any) -> Any:
        cut, lists, number = self._cut, _plain(self), (carry.length,)
        chosen = ak.index.Index64(np.array(carry.data, copy=True))
        found: list[Any] = []

        def part(name: str) -> Any:
            def load() -> Any:
                if not found:
                    found.append(lists._carry(chosen, False))
                return np.asarray(getattr(found[0], name).data[:])

            return ak.index.Index64(virtual(number, "int64", load))

        taken = _CarriedRecordLists(part("starts"), part("stops"), lists.content)
        taken._source, taken._cut = self._source, lambda whole: cut(whole)._carry(chosen, False)
        return taken


class LazyRecordLists(_ByField, ak.contents.ListOffsetArray):  # type: ignore[misc]
    """Lists of records whose lengths are found out when records are asked for, not when a field is.

    Its fields may also be what is in no record. Ranges and choices of events keep it so; other copies that awkward makes
    are plain lists.

    Args:
        offsets: where the lists start.
        content: the records.
        source: tells what a field is.
        cut: takes from a field, or lists, of the source those of the events that are in here.
    """

    def __init__(self, offsets: Any, content: Any, source: ListFields, cut: Cut = lambda whole: whole) -> None:
        super().__init__(offsets, content)
        self._source = source
        self._cut = cut

    def _getitem_range(self, start: Any, stop: Any) -> Any:
        start, stop, _, length = self._backend.nplike.derive_slice_for_length(slice(start, stop), self.length)
        if length == self.length:
            return self
        cut = self._cut
        offsets = self._offsets[start : start + length + 1]
        return LazyRecordLists(
            offsets, self._content, self._source, lambda whole: cut(whole)._getitem_range(start, start + length)
        )


class _CarriedRecordLists(_ByField, ak.contents.ListArray):  # type: ignore[misc]
    """As `LazyRecordLists`, of chosen events."""


def countable(lists: Any) -> Any:
    """The same lists, of which as little as possible is read to tell where they begin and end."""
    return lists._cut(lists._source.countable()) if isinstance(lists, _ByField) else lists


def _plain(lists: Any) -> Any:
    """The same lists, as awkward has them."""
    if isinstance(lists, ak.contents.ListArray):
        return ak.contents.ListArray(lists.starts, lists.stops, lists.content)
    return ak.contents.ListOffsetArray(lists.offsets, lists.content) if lists.is_list else lists


class _Contents(Sequence[Any]):
    """A list whose items are made when they are asked for."""

    def __init__(self, make: Callable[[int], Any], number: int) -> None:
        self._make = make
        self._made: list[Any] = [None] * number

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if self._made[index] is None:
            self._made[index] = self._make(index)
        return self._made[index]


def _try_out() -> None:
    """Raise `ImportError` unless lists of records load what is looked at, when it is, and nothing else."""
    loaded: list[str] = []

    def load(name: str, values: Sequence[float]) -> Load:
        def now() -> Any:
            loaded.append(name)
            return np.asarray(values)

        return now

    def content(number: int) -> Any:
        values = load("xy"[number], [1.0 + number, 2.0, 3.0])
        return ak.contents.NumpyArray(virtual((UNKNOWN_LENGTH,), "float64", values, lambda: (3,)))

    try:
        offsets = ak.index.Index64(virtual((3,), "int64", load("offsets", [0, 2, 3])))
        records = LazyRecords(content, ["x", "y"], UNKNOWN_LENGTH, lambda: (3,))
        events = ak.Array(ak.contents.ListOffsetArray(offsets, records))
        steps = [list(loaded), ak.num(events).to_list(), list(loaded), events[1:].y.to_list(), list(loaded)]
    except Exception as error:
        raise _unknown_awkward(repr(error)) from error
    if steps != [[], [2, 1], ["offsets"], [[3.0]], ["offsets", "y"]]:
        raise _unknown_awkward(steps)


_try_out()
