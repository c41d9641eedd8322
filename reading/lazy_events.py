"""Events as an awkward array of records whose columns are read when a columnar function touches them.

Built on awkward's virtual arrays (`virtual_arrays`). A NanoAOD file has 1,600 branches, and an array is made for every
chunk: so what does not depend on the chunk is prepared once a file, and of a chunk a column's arrays are made when somebody
asks for the column, read when somebody looks at its values. Columns of numbers and of lists of numbers, nearly all, are
put together from their parts, which takes some microseconds each (`ak.from_buffers` takes a hundred). Lists with the same
counter share their offsets, so that `ak.num(events.Muon_pt)` reads `nMuon` and no more.

Names that say so are nested: next to `events.Muon_pt` there is `events.Muon.pt` (see `groups`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import awkward as ak
import numpy as np

from ..protocol.errors import DatasetError
from .columns import Column, Flat, Index, Jagged, offsets_of, taken
from .groups import Field, Group, fields_of
from .read_errors import read_errors
from .record_forms import Part, SplitForm, buffers_of, buffers_of_column, keyed, sizes_of, split
from .record_lists import CommonLengths, RecordLists
from .virtual_arrays import UNKNOWN_LENGTH, LazyRecords, Load, virtual, virtual_index


class Columns(Protocol):
    """What columns are read from: a `Reader`, a `View` of it, or a selection of its entries."""

    def read(self, branches: Sequence[str], start: int, stop: int) -> Mapping[str, Column]:
        """Branches of numbers."""

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """Any branch."""


class Computed(Protocol):
    """A column that is made of others."""

    @property
    def form(self) -> Any:
        """Its awkward form."""

    def column(self, events: ak.Array) -> Column:
        """Its values for some events."""


class LazyEvents:
    """Makes the lazy arrays of one open file.

    Args:
        forms: awkward forms of all columns, by name.
        counters: the columns with the lengths of those that have lists and a counter.
        fields: what the names of the events' fields stand for; columns by their own names and `nested` ones by default.
        computed: columns that are not read but made of others.
        path: the file's, for errors.
        has_member: whether members of records, and the lengths of lists of them, are columns by this name.
        original: gives the column's own name for others that it is found by: its path, `Jet/Jet.PT`.

    Example:
        >>> lazy = LazyEvents(reader.forms(), reader.counters)                                    # doctest: +SKIP
        >>> lazy.array(reader, 0, 1000).Muon.pt                                                   # doctest: +SKIP
    """

    def __init__(
        self,
        forms: Mapping[str, Any],
        counters: Mapping[str, str],
        fields: Mapping[str, Field] | None = None,
        computed: Mapping[str, Computed] | None = None,
        path: str = "",
        has_member: Callable[[str], bool] = lambda _: False,
        original: Callable[[str], str] = str,
    ) -> None:
        self.computed = computed or {}
        self.path = path
        self.forms = dict(forms)
        self._has_member = has_member
        self._original = original
        self._keyed: dict[str, Any] = {}
        self._split: dict[str, SplitForm] = {}
        lists = lists_in(self.forms)
        self.counters = {name: counter for name, counter in counters.items() if name in lists}
        self.fields = fields_of(list(self.forms), self.counters, lists) if fields is None else fields
        self.agreed: set[tuple[str, ...]] = set()

    def where(self, forms: Mapping[str, Any], computed: Mapping[str, Computed]) -> LazyEvents:
        """The same with other columns computed: those of `forms` are read as others are."""
        return LazyEvents(
            {**self.forms, **forms}, self.counters, self.fields, computed, self.path, self._has_member, self._original
        )

    def empty(self, name: str) -> ak.Array:
        """A column of no entries; of a member of records, too."""
        if name in self.forms:
            return ak.Array(self.forms[name].length_zero_array())
        around = next(it for it in self.forms if name.startswith(f"{it}.") and self._has_member(name))
        self.form(around)
        return ak.Array(self._split[around].forms[name].length_zero_array())

    def part(self, name: str, form_key: str) -> Part:
        """What a buffer of a column comes from; mostly the whole column."""
        return self._split[name].parts[form_key] if name in self._split else Part(name)

    def array(self, columns: Columns, start: int, stop: int) -> ak.Array:
        """Entries `[start, stop)` of `columns`, nothing read yet."""
        return self.of(AtWork(self, columns, start, stop))

    def of(self, chunk: AtWork) -> ak.Array:
        """The entries of a chunk."""
        chosen = list(self.fields.values())
        return ak.Array(
            LazyRecords(
                lambda index: self.field(chunk, chosen[index]),
                list(self.fields),
                chunk.length,
                original=self._its_field,
                taken=lambda name, numbers: self._taken(chunk, name, numbers),
            )
        )

    def _taken(self, chunk: AtWork, name: str, numbers: Index) -> Any:
        """A field of some events as a packed layout, if it is a column of numbers or of lists of them."""
        field = self.fields.get(name)
        if not isinstance(field, str):
            return None
        with self.reading(field):
            return layout_of(chunk.taken(field, numbers)) if _is_simple(self.form(field)) else None

    def _its_field(self, name: str) -> str:
        """The field that is meant by a name."""
        return name if name in self.fields else self._original(name)

    def records(self, chunk: AtWork, fields: Mapping[str, Field]) -> Any:
        """One record an event."""
        chosen = list(fields.values())
        return LazyRecords(lambda index: self.field(chunk, chosen[index]), list(fields), chunk.length)

    def field(self, chunk: AtWork, field: Field, above: RecordLists | None = None) -> Any:
        """A column or a group of them, one thing an event."""
        if isinstance(field, str):
            with self.reading(field):
                return self._column(chunk, field)
        if field.counter:
            index, number = chunk.lists(field.counter, field.counter)
            return ak.contents.ListOffsetArray(index, self._counted(chunk, field, number))
        if field.lists:
            return RecordLists(field, chunk.length, _Making(self, chunk), self.agreed, above).lists()
        return self.records(chunk, field.fields)

    def _counted(self, chunk: AtWork, group: Group, number: Load) -> Any:
        """The records of all lists with a counter, one behind the other."""
        chosen = list(group.fields.values())

        def make(index: int) -> Any:
            field = chosen[index]
            if isinstance(field, Group):
                return self._counted(chunk, field, number)
            with self.reading(field):
                if _is_simple(self.form(field)):
                    return self._values(chunk, field)
                lengths = CommonLengths(lambda: group.counter, chunk.offsets_by(group.counter))
                return self._through_buffers(chunk, field, lengths).content

        return LazyRecords(make, list(group.fields), UNKNOWN_LENGTH, number)

    def elements(self, chunk: AtWork, group: Group, lengths: CommonLengths) -> Any:
        """The records of all lists without a counter, one behind the other, each column's of the same lengths."""
        fields = group.elements
        chosen = list(fields.values())

        def make(index: int) -> Any:
            field = chosen[index]
            if isinstance(field, Group):
                return self.elements(chunk, field, lengths)
            with self.reading(field):
                form = self.form(field)
                if not _is_simple(form):
                    return self._through_buffers(chunk, field, lengths).content
                values = virtual(
                    (UNKNOWN_LENGTH,), form.content.primitive, lengths.same(field, chunk.values(field)), lengths.number
                )
                return ak.contents.NumpyArray(values, parameters=form.content.parameters)

        return LazyRecords(make, list(fields), UNKNOWN_LENGTH, lengths.number)

    def _column(self, chunk: AtWork, name: str) -> Any:
        """A column, one thing an event."""
        form = self.form(name)
        if not _is_simple(form):
            return self._through_buffers(chunk, name)
        if form.is_numpy:
            values = virtual((chunk.length, *form.inner_shape), form.primitive, chunk.values(name))
            return ak.contents.NumpyArray(values, parameters=form.parameters)
        index, _ = chunk.lists(name, self.counters.get(name, ""))
        return ak.contents.ListOffsetArray(index, self._values(chunk, name), parameters=form.parameters)

    def _through_buffers(self, chunk: AtWork, name: str, lengths: CommonLengths | None = None) -> Any:
        """A column that is neither numbers nor lists of them; its lists are to have these lengths, if any."""
        form = self.form(name)
        buffers = {key: chunk.buffer(name, key, dtype) for key, dtype in form.expected_from_buffers().items()}
        if lengths is not None:
            buffers = {key: lengths.same(name, load) for key, load in buffers.items()}
        return ak.from_buffers(form, chunk.length, buffers, buffer_key="{form_key}-{attribute}", highlevel=False)

    def _values(self, chunk: AtWork, name: str) -> Any:
        """The values of all lists of a column, one behind the other."""
        form = self.form(name)
        _, number = chunk.lists(name, self.counters.get(name, ""))
        values = virtual((UNKNOWN_LENGTH,), form.content.primitive, chunk.values(name), number)
        return ak.contents.NumpyArray(values, parameters=form.content.parameters)

    def reading(self, name: str) -> AbstractContextManager[None]:
        """What goes wrong meanwhile is a column's that cannot be read: what awkward and uproot raise is not raised by the
        user's code, in whose call this is. But what makes a computed column is the user's.
        """
        return (
            nullcontext() if name in self.computed else read_errors(self.path, f"cannot be read in its branch {name}")
        )

    def form(self, name: str) -> Any:
        """The awkward form of a column, with keys where it goes through buffers."""
        if name in self.computed:
            form = self.computed[name].form
            return form if _is_simple(form) else keyed(form, name)
        if name not in self._keyed:  # made when the column is touched: it takes some milliseconds
            form = self.forms[name]
            parts = None if _is_simple(form) else split(form, name, self._has_member)
            if parts is not None:
                self._split[name], form = parts, parts.form
            self._keyed[name] = form if parts is not None or _is_simple(form) else keyed(form, name)
        return self._keyed[name]


class _Making:
    """Makes lists of records of what is read of a chunk."""

    def __init__(self, lazy: LazyEvents, chunk: AtWork) -> None:
        self._lazy = lazy
        self._chunk = chunk

    def offsets(self, name: str) -> Any:
        """As `Making.offsets`."""
        return self._chunk.offsets(name)

    def cheapest(self, names: Sequence[str]) -> str:
        """As `Making.cheapest`: one that has been read, or at least lists of numbers."""
        plain = [name for name in names if _is_simple(self._lazy.form(name))] or list(names)
        return next(filter(self._chunk.has_read, plain), plain[0])

    def field(self, group: Group, name: str, above: RecordLists) -> Any:
        """As `Making.field`."""
        return self._lazy.field(self._chunk, group.fields[name], above)

    def records(self, group: Group, lengths: CommonLengths) -> Any:
        """As `Making.records`."""
        return self._lazy.elements(self._chunk, group, lengths)

    def each(self, group: Group) -> Any:
        """As `Making.each`."""
        return self._lazy.records(self._chunk, group.fields)


class ColumnLoad:
    """Loads the values of a column, or where its lists start: a source that takes part in it can tell them from others.

    Args:
        source: of the column; it may have a `token` for what is loaded, and a method `loaded` that is told of it.
        kind: "values" or "lists".
        name: of the column.
        load: makes the array.
    """

    __slots__ = ("_load", "_source", "kind", "name")

    def __init__(self, source: Any, kind: str, name: str, load: Load) -> None:
        self._source, self.kind, self.name, self._load = source, kind, name, load

    @property
    def token(self) -> object | None:
        """What is the same for loads of the same values; None if the source tells nothing."""
        told: Any = getattr(self._source, "token", None)
        return None if told is None else told(self.kind, self.name)

    def __call__(self) -> Any:
        array = self._load()
        told = getattr(self._source, "loaded", None)
        if told is not None:
            told(self.kind, self.name, array)
        return array


class AtWork:
    """What has been read of one range of entries.

    Arrays refer to it and it to none of them: all of it goes with the last one, not when rubbish is collected.
    """

    def __init__(self, lazy: LazyEvents, source: Columns, start: int, stop: int) -> None:
        self.length = stop - start
        self._lazy = lazy
        self._source = source
        self._start = start
        self._stop = stop
        self._columns: dict[str, tuple[Any, Any]] = {}
        self._buffers: dict[str, dict[str, Any]] = {}
        self._offsets: dict[str, Any] = {}
        self._sizes: dict[str, Column] = {}
        self._picked: tuple[Index, dict[str, tuple[Any, Index]]] | None = None
        """Where the lists of each counter are, for the events that were taken last."""

    def values(self, name: str) -> Load:
        """Loads a column's numbers."""
        return ColumnLoad(self._source, "values", name, lambda: _unwritable(self._column(name)[0]))

    def lists(self, name: str, counter: str) -> tuple[Any, Load]:
        """The index of where a column's lists start, from 0, and the number of values in them.

        Both load the counter branch if there is one, and then serve all columns with the same counter.
        """
        load = ColumnLoad(self._source, "lists", counter or name, functools.partial(self._lists, name, counter))
        return virtual_index(self.length + 1, load), lambda: (int(load()[-1]),)

    def offsets(self, name: str) -> Any:
        """Where the lists of a column start, from 0: by itself if it has been read, by its counter if it has one."""
        form = self._lazy.form(name)
        if not _is_simple(form):
            return self.buffer(name, f"{form.form_key}-offsets", np.int64)()
        return self._lists(name, "" if name in self._columns else self._lazy.counters.get(name, ""))

    def offsets_by(self, counter: str) -> Callable[[str], Any]:
        """Tells where the lists of a column start, from 0; of the counter, those that it counts."""
        return lambda name: self._lists(counter, counter) if name == counter else self.offsets(name)

    def taken(self, name: str, numbers: Index) -> Column:
        """A column of numbers, or of lists of them, of some events. Where lists are is found once for all of a counter."""
        values, offsets = self._column(name)
        if offsets is None:
            return Flat(values).take(numbers)
        counter = self._lazy.counters.get(name, "")
        if not counter:
            return Jagged(offsets, Flat(values)).take(numbers)
        if self._picked is None or self._picked[0] is not numbers:
            self._picked = numbers, {}
        if counter not in self._picked[1]:
            self._picked[1][counter] = taken(self._lists(name, counter), numbers)
        tight, inside = self._picked[1][counter]
        return Jagged(tight, Flat(values[inside]))

    def has_read(self, name: str) -> bool:
        """Whether a column of lists of numbers has been read."""
        return name in self._columns

    def _lists(self, name: str, counter: str) -> Any:
        key = counter or name
        if key not in self._offsets:
            self._offsets[key] = _unwritable(offsets_of(self._column(key)[0]) if counter else self._column(key)[1])
        return self._offsets[key]

    def buffer(self, name: str, key: str, dtype: Any) -> Load:
        """Loads one buffer of a column that is neither numbers nor lists of them; the first one loads all of them."""

        part = self._lazy.part(name, key.rpartition("-")[0])

        def load() -> Any:
            with self._lazy.reading(part.column):
                if part.is_sizes:
                    return _unwritable(sizes_of(self._sizes_column(part.column), part.depth))
                if part.column not in self._buffers:
                    self._buffers[part.column] = self._read_buffers(part)
                return _unwritable(np.asarray(self._buffers[part.column][key]).astype(dtype, copy=False))

        return load

    def _sizes_column(self, name: str) -> Column:
        """The lengths of lists of records."""
        if name not in self._sizes:
            self._sizes[name] = self._source.read([name], self._start, self._stop)[name]
        return self._sizes[name]

    def _read_buffers(self, part: Part) -> dict[str, Any]:
        name = part.column
        if name in self._lazy.computed:
            return buffers_of_column(self._computed(name), name, part.depth)
        if part.is_plain:
            return buffers_of_column(self._source.read([name], self._start, self._stop)[name], name, part.depth)
        return buffers_of(self._source.array(name, self._start, self._stop), name, part.depth)

    def _column(self, name: str) -> tuple[Any, Any]:
        """A column's numbers and, where they are in lists, offsets from 0."""
        if name not in self._columns:
            if name in self._lazy.computed:
                column = self._computed(name)
            else:
                with self._lazy.reading(name):
                    column = self._source.read([name], self._start, self._stop)[name]
            if isinstance(column, Flat):
                self._columns[name] = column.values, None
            elif isinstance(column, Jagged) and isinstance(column.content, Flat):
                low, high = column.offsets[0], column.offsets[-1]
                self._columns[name] = column.content.values[low:high], column.offsets - low
            else:
                raise DatasetError(
                    f"{self._lazy.path} cannot be read in its branch {name}: it came as {type(column).__name__}, not as "
                    "numbers or lists of numbers"
                )
        return self._columns[name]

    def _computed(self, name: str) -> Column:
        """A column that is made of others of this chunk."""
        return self._lazy.computed[name].column(self._lazy.of(self))


def _unwritable(array: Any) -> Any:
    """The same numbers for an analysis, which may see them again: a change in place would still be in them then."""
    shown = array.view()
    shown.flags.writeable = False
    return shown


def layout_of(column: Column) -> Any:
    """A column as an awkward layout; the opposite of taking one apart."""
    if isinstance(column, Flat):
        return ak.contents.NumpyArray(column.values)
    if isinstance(column, Jagged):
        return ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), layout_of(column.content))
    characters = ak.contents.NumpyArray(column.characters, parameters={"__array__": "char"})
    return ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), characters, parameters={"__array__": "string"})


def lists_in(forms: Mapping[str, Any]) -> set[str]:
    """The columns with a list for each event."""
    return {name for name, form in forms.items() if _is_list(form)}


def _is_list(form: Any) -> bool:
    return bool(form.is_list and not form.is_regular and form.parameter("__array__") is None)


def _is_simple(form: Any) -> bool:
    """Numbers, fixed-size arrays of them, and lists of numbers."""
    if _is_list(form):
        return form.content.is_numpy and not form.content.inner_shape and _is_number(form.content)
    return form.is_numpy and _is_number(form)


def _is_number(form: Any) -> bool:
    return form.parameter("__array__") is None and np.dtype(form.primitive).kind in "biuf"
