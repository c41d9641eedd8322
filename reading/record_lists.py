"""Lists of records whose columns have no counter in common: that the lengths of their lists are the same, the data tell.

A column that is asked for by itself is as it is, whatever the others are: `events.X.pt`. Where the columns are taken for
one list of records, their lengths are compared, and an error names two that differ:

- a mask, or indices, for the lists, `X[X.pt > 20]`: by the lengths of the column asked for last, `pt`. Each column that is
  touched of what was selected has to have the same;
- the records themselves, as `ak.num(X)`: the columns of the group have to have the same lengths, and all of them are read;
  not again once enough elements of the file agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import awkward as ak
import numpy as np

from ..protocol.errors import AnalysisError
from .groups import Group
from .virtual_arrays import LazyRecordLists, Load, virtual

_ENOUGH = 100
"""Elements of lists that say that columns belong together, if they have all the same lengths."""


class CommonLengths:
    """The lengths of the lists of one column, which others are to have.

    Args:
        choose: tells which column; called when somebody needs the lengths.
        offsets_of: where the lists of a column start in a chunk, from 0.
    """

    def __init__(self, choose: Callable[[], str], offsets_of: Callable[[str], Any]) -> None:
        self._choose = choose
        self._offsets_of = offsets_of
        self._name = ""

    def offsets(self) -> Any:
        """Where the lists start, from 0."""
        self._name = self._name or self._choose()
        return self._offsets_of(self._name)

    def number(self) -> tuple[int]:
        """The number of all elements, as the shape of their array."""
        return (int(self.offsets()[-1]),)

    def same(self, name: str, load: Load) -> Load:
        """What loads something of a column, once its lists are seen to have these lengths."""

        def now() -> Any:
            loaded = load()
            self.check(name)
            return loaded

        return now

    def check(self, name: str) -> None:
        """Raise `AnalysisError` unless the lists of a column have these lengths."""
        known = self.offsets()
        own = self._offsets_of(name)
        if own is known or np.array_equal(own, known):
            return
        ours, its = np.diff(known), np.diff(own)
        event = int((ours != its).argmax())
        raise AnalysisError(
            f"{self._name} and {name} are no fields of one list of records: their lists differ in length, {ours[event]} "
            f"elements and {its[event]} in one event. Take the fields that belong together, as events.X[['a', 'b']], or "
            f'use each by itself, with masks made of it: events["{name}"][events["{name}"] > 0]'
        )


class Making(Protocol):
    """What makes the parts of a list of records from what is read of a chunk."""

    def offsets(self, name: str) -> Any:
        """Where the lists of a column start, from 0."""

    def cheapest(self, names: Sequence[str]) -> str:
        """Of some columns the one whose lists cost least."""

    def field(self, group: Group, name: str, above: RecordLists) -> Any:
        """A field as it is by itself, one thing an event."""

    def records(self, group: Group, lengths: CommonLengths) -> Any:
        """The records of all lists, one behind the other."""

    def each(self, group: Group) -> Any:
        """One record an event."""


class RecordLists:
    """The lists of records of one group in one chunk, for `LazyRecordLists`.

    Args:
        group: with `lists`.
        events: the number of events.
        making: makes its parts.
        agreed: groups of columns that have been seen to have the same lengths, in this file; added to.
        above: the group that this one is a field of.
    """

    def __init__(
        self, group: Group, events: int, making: Making, agreed: set[tuple[str, ...]], above: RecordLists | None = None
    ) -> None:
        self.fields = list(group.fields)
        self._group = group
        self._events = events
        self._making = making
        self._agreed = agreed
        self._above = above
        self._asked = ""

    def lists(self) -> LazyRecordLists:
        """The array of them."""
        return LazyRecordLists(*self._parts(self._compared), self)

    def selectable(self) -> Any:
        """As `lists`, by the column that was asked for last: what can be wrong with it is seen when others are touched."""
        asked = self._asked
        return ak.contents.ListOffsetArray(*self._parts((lambda: asked) if asked else self._compared))

    def countable(self) -> Any:
        """As `lists`, by the lengths of one column alone."""
        column = self._asked or self._making.cheapest(self._group.own_lists)
        return ak.contents.ListOffsetArray(*self._parts(lambda: column))

    def field(self, name: str) -> Any:
        """A field as it is by itself."""
        field = self._group.fields[name]
        if isinstance(field, str) and name in self._group.elements:
            self.ask(field)
        return self._making.field(self._group, name, self)

    def some(self, names: Sequence[str]) -> Any:
        """Some of the fields: lists of records if all are lists, or one record an event."""
        group = self._group.only(names)
        if not group.lists:
            return self._making.each(group)
        return RecordLists(group, self._events, self._making, self._agreed, self).lists()

    def ask(self, column: str) -> None:
        """A column was asked for."""
        self._asked = column
        if self._above is not None:
            self._above.ask(column)

    def _parts(self, choose: Callable[[], str]) -> tuple[Any, Any]:
        lengths = CommonLengths(choose, self._making.offsets)
        index = ak.index.Index64(virtual((self._events + 1,), "int64", lengths.offsets))
        return index, self._making.records(self._group, lengths)

    def _compared(self) -> str:
        """The first of the columns, all of which have been compared."""
        first, *others = columns = self._group.own_lists
        if tuple(columns) not in self._agreed:
            lengths = CommonLengths(lambda: first, self._making.offsets)
            for other in others:
                lengths.check(other)
            if lengths.number()[0] >= _ENOUGH:
                self._agreed.add(tuple(columns))
        return first
