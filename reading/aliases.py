"""Aliases: expressions over the columns of a file and its friends, evaluated on a chunk of events."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import awkward as ak

from ..analysis.expressions import FUNCTIONS, Expression
from ..protocol.errors import AnalysisError, DatasetError, nearest
from ..protocol.foreign import add_note
from .columns import Column, column_of
from .lazy_events import Columns, LazyEvents, layout_of
from .lazy_property import lazy_property
from .missing_fields import missing_field
from .read_errors import raised


class Table(Protocol):
    """The columns that expressions are over."""

    path: str

    @property
    def names(self) -> Mapping[str, Any]:
        """All columns."""

    @property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""

    def knows(self, name: str) -> bool:
        """Whether a name in an expression means something."""

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`."""


class Alias:
    """An expression over the columns of a view; for `LazyEvents`, a column that is computed.

    Args:
        name: the alias.
        expression: what it stands for.
        table: whose columns.
    """

    def __init__(self, name: str, expression: Expression, table: Table) -> None:
        self.name = name
        self.expression = expression
        self._table = table

    def check(self) -> None:
        """Raise `DatasetError` when the expression names what nothing is called."""
        for used in self.expression.names:
            if not self._table.knows(used):
                raise DatasetError(
                    f"the alias {self.name}, {self.expression.text!r}, names {used}, and nothing is called so in "
                    f"{self._table.path}{nearest(used, self._table.names)}"
                )

    @property
    def form(self) -> Any:
        """The awkward form of its values."""
        return self._tried[0]

    @property
    def reads(self) -> tuple[str, ...]:
        """What it reads as columns, not as arrays, as far as evaluating it over no events tells."""
        return self._tried[1]

    @lazy_property
    def _tried(self) -> tuple[Any, tuple[str, ...]]:
        nothing = _Nothing(self._table.lazy)
        events = self._table.lazy.array(nothing, 0, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of means of nothing, and the like
            try:
                column = self.column(events)
            except DatasetError:
                raise
            except Exception as wrapped:
                self._check_readable(events.fields)
                error = missing_field(wrapped, events) or wrapped
                raise AnalysisError(
                    f"the alias {self.name}, {self.expression.text!r}, cannot be evaluated over {self._table.path}: "
                    f"{type(error).__name__}: {error}"
                ) from None
        return layout_of(column).form, tuple(nothing.asked)

    def _check_readable(self, fields: Collection[str]) -> None:
        """Raise the `DatasetError` that says why a column has no field, if one that the expression names has none."""
        for used in self.expression.names:
            if used not in fields and used in self._table.names:
                self._table.array(used, 0, 0)

    def column(self, events: ak.Array) -> Column:
        """Its values for some events.

        Raises:
            DatasetError: they are neither numbers, flags or texts, nor lists of them, or not one for each event.
            Exception: what the expression raises, with a note of its name.
        """
        where = f"the alias {self.name}, {self.expression.text!r},"
        try:
            value = self.expression.value(events)
        except Exception as wrapped:
            error = raised(wrapped)
            add_note(error, f"in {where} over {self._table.path}")
            raise error from None
        layout = ak.to_layout(value, primitive_policy="pass-through", string_policy="pass-through")
        if not isinstance(layout, ak.contents.Content) or len(layout) != len(events):
            raise DatasetError(f"{where} does not give one value for each event: is axis=1 missing?")
        try:
            return column_of(layout, where)
        except DatasetError:
            raise DatasetError(
                f"{where} gives {ak.type(value).content}: it must give a number, a flag or a text for each event, or lists "
                "of them (ak.fill_none for values that may be missing; an alias for each field of a record)"
            ) from None


def tree_aliases(said: Mapping[str, str], table: Table, is_stored: Callable[[str], bool]) -> dict[str, Alias]:
    """The aliases that a tree itself has, as far as they mean the same in Python and nothing is missing for them.

    Args:
        said: their expressions as the tree has them, in the syntax of ROOT.
        table: the columns that they are over.
        is_stored: whether a file has the column of a name.
    """
    found: dict[str, Alias] = {}
    for name, text in said.items():
        try:
            expression = Expression(text)
        except AnalysisError:
            continue
        known = all(is_stored(used) or used in FUNCTIONS for used in expression.names)
        if expression.is_simple and known and not is_stored(name):
            found[name] = Alias(name, expression, table)
    return found


class Given:
    """Columns that are at hand, and where to have others."""

    def __init__(self, columns: Mapping[str, Column], source: Columns) -> None:
        self._columns = columns
        self._source = source

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Columns.read`."""
        new = [name for name in branches if name not in self._columns]
        read = self._source.read(new, start, stop) if new else {}
        return {name: self._columns[name] if name in self._columns else read[name] for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Columns.array`."""
        if name in self._columns:
            return ak.Array(layout_of(self._columns[name]))
        return self._source.array(name, start, stop)


class _Nothing:
    """Columns of no entries, and which of them were asked for as columns."""

    def __init__(self, lazy: LazyEvents) -> None:
        self.asked: dict[str, None] = {}
        self._lazy = lazy

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        self.asked |= dict.fromkeys(branches)
        return {name: column_of(self._lazy.empty(name).layout, name) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        return self._lazy.empty(name)
