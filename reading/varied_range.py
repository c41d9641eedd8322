"""Some entries with variations of their columns: what is not varied is read, decompressed and made once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from ..analysis.expressions import Expression
from ..protocol.errors import AnalysisError, DatasetError, EventmillError
from ..protocol.foreign import add_note, notes_of
from .aliases import Given
from .columns import Column, Flat, Jagged, Strings, column_of, tight
from .lazy_events import layout_of
from .read_errors import raised
from .source import EntryRange, Source
from .variations import FileVariations, Replacement, Variation


class NotShiftedYet(EventmillError):
    """A column of a variation was touched in the middle of a call, and is to be made before it."""


class VariedRange(EntryRange):
    """The entries of a chunk as they are in a variation.

    Attributes:
        touched: the columns that were asked for.
        missed: those that would have had to be made in the middle of a call.
        in_call: whether a call of the analysis is at work, in which nothing else may draw random numbers.
    """

    def __init__(self, chunk: VariedChunk, variation: Variation) -> None:
        super().__init__(chunk.source, chunk.start, chunk.stop)
        self.touched: dict[str, None] = {}
        self.missed: dict[str, None] = {}
        self.in_call = False
        self._chunk = chunk
        self._variation = variation

    @property
    def is_nominal(self) -> bool:
        """Whether they are as they are in the file."""
        return self is self._chunk.nominal

    def events(self, start: int, stop: int) -> ak.Array:
        """As `Reader.events`; what was prepared before this is at hand, and nothing else is made in the call."""
        self.in_call = True
        return self._variation.lazy.array(self, start, stop)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`, for all of its entries."""
        return {name: self._column(name) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for all of its entries."""
        column = self._noted(name)
        if column in self._variation.replaced or name in self._chunk.aliases:
            return ak.Array(layout_of(self._column(name)))
        return self._chunk.array(name)

    def token(self, kind: str, name: str) -> tuple[str, str, str]:
        """What is the same for what is loaded of a column in all variations that leave it as it is."""
        column = self._chunk.names.of(name)
        varied = kind == "values" and self._variation.changes([column])
        return kind, column, self._variation.name if varied else ""

    def loaded(self, kind: str, name: str, array: NDArray[Any]) -> None:
        """An array is what was loaded of a column."""
        self._chunk.loaded[place_of(array)] = self.token(kind, name), array

    def prepare(self, columns: Iterable[str]) -> None:
        """Make those of these columns that are varied."""
        self.in_call = False
        for name in columns:
            self._column(name)
        self.missed = {}

    def _noted(self, name: str) -> str:
        column = self._chunk.names.of(name)
        self.touched[column] = None
        return column

    def _column(self, name: str) -> Column:
        column = self._noted(name)
        if column in self._variation.replaced:
            if self.in_call and not self._chunk.has_shifted(self._variation, column):
                self.missed[column] = None
                raise NotShiftedYet(f"{column} is to be shifted first")
            return self._chunk.shifted(self._variation, column)
        if column in self._variation.aliases:
            events = self._variation.lazy.array(self, self.start, self.stop)
            made: Column = self._chunk.aliases[column].column(events)
            return made
        return self._chunk.column(name)


class VariedChunk:
    """Some entries, with all that was read and made of them.

    Args:
        source: of a file.
        file: what the variations are in it.
        start: first entry.
        stop: entry after the last.
        before: called before user code shifts columns.

    Attributes:
        nominal: the entries as they are.
        loaded: arrays in memory by their `place_of`, with what they are of which column.
    """

    def __init__(
        self, source: Source, file: FileVariations, start: int, stop: int, before: Callable[[], object]
    ) -> None:
        self.source, self.start, self.stop = source, start, stop
        self.names = file.names
        self.aliases: Mapping[str, Any] = getattr(file.file, "aliases", {})
        self._file = file
        self._before = before
        self._columns: dict[str, Column] = {}
        self._arrays: dict[str, ak.Array] = {}
        self._shifted: dict[tuple[str, str], Column | None] = {}
        self._made: dict[tuple[str, int], Any] = {}
        self._as_it_is: ak.Array | None = None
        self.loaded: dict[object, tuple[tuple[str, str, str], NDArray[Any]]] = {}
        self.nominal = VariedRange(self, file.nominal)

    def of(self, variation: Variation) -> VariedRange:
        """The entries in a variation."""
        return VariedRange(self, variation)

    def column(self, name: str) -> Column:
        """A column as it is, an alias too."""
        if name not in self._columns:
            if name in self.aliases:
                self._columns[name] = self.aliases[name].column(self._events)
            else:
                self._columns |= self.source.read([name], self.start, self.stop)
        return self._columns[name]

    def array(self, name: str) -> ak.Array:
        """Any column as it is in the file."""
        if name not in self._arrays:
            self._arrays[name] = self.source.array(name, self.start, self.stop)
        return self._arrays[name]

    def has_shifted(self, variation: Variation, column: str) -> bool:
        """Whether a column of a variation has been made."""
        return (variation.name, column) in self._shifted

    def shifted(self, variation: Variation, column: str) -> Column:
        """A column that a variation replaces.

        Raises:
            AnalysisError: what takes its place does not fit.
            Exception: what the user's function raises, with a note of the variation.
        """
        key = variation.name, column
        if key not in self._shifted:
            replacement = variation.replaced[column]
            where = f"the variation {variation.name} of {column} over {self.source.file.path}"  # type: ignore[union-attr]
            value = _part(self._value(variation, replacement), replacement, column, where)
            self._shifted[key] = None if value is None else fitted(value, self.column(column), self.start, where)
        found = self._shifted[key]
        return self.column(column) if found is None else found

    def column_in(self, array: NDArray[Any]) -> object | None:
        """What of which column an array is, by its place; None if it is of none."""
        found = self.loaded.get(place_of(array))
        return None if found is None else found[0]

    def holds(self, thing: object) -> bool:
        """Whether this is the memory of a column."""
        return any(_root(array) is thing for _, array in self.loaded.values())

    def forget(self, variation: Variation) -> None:
        """Nothing more is asked of a variation."""
        self._shifted = {key: it for key, it in self._shifted.items() if key[0] != variation.name}
        self._made = {key: it for key, it in self._made.items() if key[0] != variation.name}
        self.loaded = {place: it for place, it in self.loaded.items() if it[0][-1] != variation.name}

    @property
    def _events(self) -> ak.Array:
        """The events as they are, for what shifts columns and makes aliases: what these touch is not the analysis'."""
        if self._as_it_is is None:
            given = Given(self._columns, _Reading(self))
            self._as_it_is = self._file.nominal.lazy.array(given, self.start, self.stop)
        return self._as_it_is

    def _value(self, variation: Variation, replacement: Replacement) -> Any:
        """What a shift gives, called once for all columns that it replaces."""
        key = variation.name, id(replacement)
        if key not in self._made:
            shift = replacement.shift
            try:
                if isinstance(shift, Expression):
                    self._made[key] = shift.value(self._events)
                else:
                    assert not isinstance(shift, str), "a text is an expression"
                    events = self._events
                    self._before()
                    self._made[key] = shift(events)
            except EventmillError:
                raise
            except BaseException as wrapped:
                error = raised(wrapped)
                add_note(error, f"in the variation {variation.name} of {', '.join(replacement.columns)}")
                raise error from None
        return self._made[key]


def _root(array: NDArray[Any]) -> object:
    base: Any = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base


def place_of(array: NDArray[Any]) -> object:
    """Where an array is in memory, and how."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str


def note(error: BaseException, variation: Variation) -> None:
    """Say where an error was raised, if what shifts columns has not said so."""
    note = f"in the variation {variation.name}"
    if not any(told.startswith(note) for told in notes_of(error)):
        add_note(error, note)


class _Reading:
    """The columns of a chunk as they are, for events made of them."""

    def __init__(self, chunk: VariedChunk) -> None:
        self._chunk = chunk

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return {name: self._chunk.column(name) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        if name in self._chunk.aliases:
            return ak.Array(layout_of(self._chunk.column(name)))
        return self._chunk.array(name)


def _part(value: Any, replacement: Replacement, column: str, where: str) -> Any:
    """What of a shift's value is for one column; None for a field of records that is not in them, and stays."""
    part = replacement.columns[column]
    if part is None:
        return value
    if isinstance(part, int):
        if not isinstance(value, tuple | list) or len(value) != len(replacement.columns):
            raise AnalysisError(f"{where}: its function is to return {len(replacement.columns)} arrays in a tuple")
        return value[part]
    fields = ak.fields(value) if isinstance(value, ak.Array) else []
    known = [*replacement.columns.values()]
    if not fields or (other := next((name for name in fields if name not in known), None)):
        raise AnalysisError(
            f"{where}: its function is to return records of {replacement.group}, with fields of it"
            + (f", and {other} is none" if fields else f", not {type(value).__name__}")
        )
    return value[part] if part in fields else None


# --- what may take the place of a column ------------------------------------------------------------------------------


def fitted(value: Any, column: Column, start: int, where: str) -> Column:
    """A value as a column of the type and the lengths of another one, whose first entry is `start`.

    Raises:
        AnalysisError: it has other lengths, misses values, or has some that the type cannot hold.
    """
    if isinstance(column, Flat) and column.values.ndim > 1:
        return Flat(_array_fitted(value, column.values, where))
    layout = ak.to_layout(value, primitive_policy="pass-through", string_policy="pass-through")
    if not isinstance(layout, ak.contents.Content) or len(layout) != len(column):
        length = len(layout) if isinstance(layout, ak.contents.Content) else f"one {type(value).__name__}"
        raise AnalysisError(f"{where} gives {length} for {len(column)} events: it has to give a value for each")
    try:
        given = column_of(layout, where)
    except DatasetError:
        raise AnalysisError(
            f"{where} gives {ak.type(ak.Array(layout)).content}: it has to give what the column has, a number or lists of "
            "numbers for each event (ak.fill_none for values that may be missing)"
        ) from None
    return _like(given, column, start, where)


def _like(given: Column, column: Column, start: int, where: str) -> Column:
    if isinstance(given, Flat) and isinstance(column, Flat):
        return Flat(_converted(given.values, column.values.dtype, where))
    if isinstance(given, Jagged | Strings) and type(given) is type(column):
        given, column = tight(given), tight(column)
        if isinstance(given, Strings) or isinstance(column, Strings):
            return given
        lengths, wanted = np.diff(given.offsets), np.diff(column.offsets)
        if not np.array_equal(lengths, wanted):
            at = int(np.flatnonzero(lengths != wanted)[0])
            raise AnalysisError(
                f"{where} gives lists of other lengths than the column has, the first in entry {start + at}: "
                f"{lengths[at]} instead of {wanted[at]}; a variation changes values, not how many there are; select in "
                "the analysis"
            )
        return Jagged(given.offsets, _like(given.content, column.content, start, where))
    raise AnalysisError(
        f"{where} gives {_words(given)} where the column has {_words(column)}: a variation changes values, not their layout"
    )


def _array_fitted(value: Any, values: NDArray[Any], where: str) -> NDArray[Any]:
    try:
        given = np.asarray(ak.to_numpy(value, allow_missing=False))
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.shape != values.shape:
        raise AnalysisError(f"{where} has to give an array of {values.shape[1:]} for each of {len(values)} events")
    return _converted(given, values.dtype, where)


def _converted(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
    wrong = np.isfinite(values) & ~np.isfinite(converted) if dtype.kind in "fc" else converted != values
    if wrong.any():
        raise AnalysisError(
            f"{where} gives {values[wrong][0]}, which a column of {dtype} cannot hold: an alias of the dataset is a column "
            "of the type that its expression has"
        )
    return converted


def _words(column: Column) -> str:
    if isinstance(column, Strings):
        return "texts"
    return "numbers" if isinstance(column, Flat) else f"lists of {_words(column.content)}"
