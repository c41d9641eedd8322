"""Events as an awkward array of records whose columns are read when a columnar function touches them.

Built on awkward's virtual arrays (`virtual_arrays`). A NanoAOD file has 1,600 branches, and an array is made for every
chunk: so what does not depend on the chunk is prepared once a file, and of a chunk a column's arrays are made when somebody
asks for the column, read when somebody looks at its values. Columns of numbers and of lists of numbers, nearly all, are
put together from their parts, which takes some microseconds each (`ak.from_buffers` takes a hundred). Lists with the same
counter share their offsets, so that `ak.num(events.Muon_pt)` reads `nMuon` and no more.

Names that say so are nested: next to `events.Muon_pt` there is `events.Muon.pt` (see `nested`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import awkward as ak
import numpy as np

from ..protocol.errors import DatasetError
from .columns import Column, Flat, Jagged, offsets_of
from .read_errors import read_errors
from .record_forms import Part, SplitForm, buffers_of, keyed, sizes_of, split
from .virtual_arrays import UNKNOWN_LENGTH, LazyRecords, Load, virtual


class Columns(Protocol):
    """What columns are read from: a `Reader`, a `View` of it, or a selection of its entries."""

    def read(self, branches: Sequence[str], start: int, stop: int) -> Mapping[str, Column]:
        """Branches of numbers."""

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """Any branch."""


# --- names ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A record of columns: one record an event, or as many as the column `counter` says."""

    fields: dict[str, Field]
    counter: str = ""


Field: TypeAlias = str | Group
"""What a name stands for: the column of that name, or a group of columns."""


def nested(names: Sequence[str], counters: Mapping[str, str]) -> dict[str, Group]:
    """The groups that the names of columns tell of: those of `X_y` and `X.y`, called X, unless a column is called X.

    Where lists of a group share a counter, the group is a list of records of these, as is `Muon` in NanoAOD; elsewhere
    it is one record, as is `MET`. Of several counters, one called nX is taken. A column X that counts the lists of `X.y`
    (a TClonesArray, as `Jet` in Delphes) is what stands for them in the file, and makes room for the group.

    Args:
        names: of all columns.
        counters: the counter of each column that has lists with one.

    Example:
        >>> groups = nested(["nMuon", "Muon_pt", "Muon_eta", "MET_pt"], {"Muon_pt": "nMuon", "Muon_eta": "nMuon"})
        >>> groups["Muon"]
        Group(fields={'pt': 'Muon_pt', 'eta': 'Muon_eta'}, counter='nMuon')
        >>> groups["MET"].fields
        {'pt': 'MET_pt'}
    """
    members: dict[str, dict[str, str]] = {}
    for name in names:
        prefix = group_of(name)
        if prefix:
            members.setdefault(prefix, {}).setdefault(name[len(prefix) + 1 :], name)
    plain = set(names) - {counter for name, counter in counters.items() if name.startswith(f"{counter}.")}
    return {prefix: _group(prefix, fields, counters) for prefix, fields in members.items() if prefix not in plain}


def group_of(name: str) -> str:
    """The group that a column's name tells of; empty if it tells of none.

    Example:
        >>> group_of("Muon_pt"), group_of("Muon.pt"), group_of("nMuon")
        ('Muon', 'Muon', '')
    """
    end = min((end for end in (name.find("_"), name.find(".")) if end > 0), default=-1)
    return name[:end] if 0 < end < len(name) - 1 and name[:end].isidentifier() else ""


def prefixed(group: Group, prefix: str) -> Group:
    """The group with this before the names of its columns."""
    fields = {
        name: prefixed(field, prefix) if isinstance(field, Group) else prefix + field
        for name, field in group.fields.items()
    }
    return Group(fields, prefix + group.counter if group.counter else "")


def _group(prefix: str, columns: dict[str, str], counters: Mapping[str, str]) -> Group:
    """The group of these columns, each by the rest of its name."""
    found = {counters[name]: None for name in columns.values() if name in counters}
    likely = [counter for counter in (prefix, f"n{prefix}") if counter in found]
    counter = next(iter(found)) if len(found) == 1 else likely[0] if likely else ""
    if counter:
        columns = {rest: name for rest, name in columns.items() if counters.get(name) == counter}
    return Group(_members(columns), counter)


def _members(columns: Mapping[str, str]) -> dict[str, Field]:
    """The fields of a group: its columns, and what their dotted names tell of; `momentum.x` is in a record `momentum`."""
    inner: dict[str, dict[str, str]] = {}
    for rest, name in columns.items():
        first, _, last = rest.partition(".")
        if last:
            inner.setdefault(first, {})[last] = name
    return {**{first: Group(_members(some)) for first, some in inner.items()}, **columns}


# --- arrays -----------------------------------------------------------------------------------------------------------


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
    ) -> None:
        self.computed = computed or {}
        self.path = path
        self.forms = dict(forms)
        self._has_member = has_member
        self._keyed: dict[str, Any] = {}
        self._split: dict[str, SplitForm] = {}
        self.counters = {name: counter for name, counter in counters.items() if _is_simple(forms[name])}
        names = list(self.forms)
        plain: dict[str, Field] = {name: name for name in names}
        self.fields: Mapping[str, Field] = {**plain, **nested(names, self.counters)} if fields is None else fields

    def empty(self, name: str) -> ak.Array:
        """A column of no entries; of a member of records, too."""
        if name in self.forms:
            return ak.Array(self.forms[name].length_zero_array())
        around = next(it for it in self.forms if name.startswith(f"{it}.") and self._has_member(name))
        self._form(around)
        return ak.Array(self._split[around].forms[name].length_zero_array())

    def part(self, name: str, form_key: str) -> Part:
        """What a buffer of a column comes from; mostly the whole column."""
        return self._split[name].parts[form_key] if name in self._split else Part(name)

    def array(self, columns: Columns, start: int, stop: int) -> ak.Array:
        """Entries `[start, stop)` of `columns`, nothing read yet."""
        return self.of(AtWork(self, columns, start, stop))

    def of(self, chunk: AtWork) -> ak.Array:
        """The entries of a chunk."""
        return ak.Array(self._records(chunk, self.fields))

    def _records(self, chunk: AtWork, fields: Mapping[str, Field], counter: str = "") -> Any:
        """One record an event, or as many as the counter says, all of them in one piece."""
        chosen = list(fields.values())

        def make(index: int) -> Any:
            field = chosen[index]
            if isinstance(field, str):
                with self.reading(field):
                    return self._values(chunk, field) if counter else self._column(chunk, field)
            if field.counter and not counter:
                index_, _ = chunk.lists(field.counter, field.counter)
                return ak.contents.ListOffsetArray(index_, self._records(chunk, field.fields, field.counter))
            return self._records(chunk, field.fields, counter)

        if not counter:
            return LazyRecords(make, list(fields), chunk.length)
        _, number = chunk.lists(counter, counter)
        return LazyRecords(make, list(fields), UNKNOWN_LENGTH, number)

    def _column(self, chunk: AtWork, name: str) -> Any:
        """A column, one thing an event."""
        form = self._form(name)
        if not _is_simple(form):
            buffers = {key: chunk.buffer(name, key, dtype) for key, dtype in form.expected_from_buffers().items()}
            return ak.from_buffers(form, chunk.length, buffers, buffer_key="{form_key}-{attribute}", highlevel=False)
        if form.is_numpy:
            values = virtual((chunk.length, *form.inner_shape), form.primitive, chunk.values(name))
            return ak.contents.NumpyArray(values, parameters=form.parameters)
        index, _ = chunk.lists(name, self.counters.get(name, ""))
        return ak.contents.ListOffsetArray(index, self._values(chunk, name), parameters=form.parameters)

    def _values(self, chunk: AtWork, name: str) -> Any:
        """The values of all lists of a column, one behind the other."""
        form = self._form(name)
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

    def _form(self, name: str) -> Any:
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

    def values(self, name: str) -> Load:
        """Loads a column's numbers."""
        return lambda: _unwritable(self._column(name)[0])

    def lists(self, name: str, counter: str) -> tuple[Any, Load]:
        """The index of where a column's lists start, from 0, and the number of values in them.

        Both load the counter branch if there is one, and then serve all columns with the same counter.
        """
        load = functools.partial(self._lists, name, counter)
        return ak.index.Index64(virtual((self.length + 1,), "int64", load)), lambda: (int(load()[-1]),)

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
            array = ak.Array(layout_of(self._computed(name)))
        elif part.is_plain:
            array = ak.Array(layout_of(self._source.read([name], self._start, self._stop)[name]))
        else:
            array = self._source.array(name, self._start, self._stop)
        return buffers_of(array, name, part.depth)

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


def _is_simple(form: Any) -> bool:
    """Numbers, fixed-size arrays of them, and lists of numbers."""
    if form.is_list and not form.is_regular and form.parameter("__array__") is None:
        return form.content.is_numpy and not form.content.inner_shape and _is_number(form.content)
    return form.is_numpy and _is_number(form)


def _is_number(form: Any) -> bool:
    return form.parameter("__array__") is None and np.dtype(form.primitive).kind in "biuf"
