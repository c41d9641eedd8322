"""A friend that is joined by an index or by columns, as if it had an entry for each of the file's, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from ..protocol.errors import DatasetError
from .columns import Column, Flat, Jagged, Strings, column_of, joined
from .groups import Field, Group, nested
from .interpreted import InterpretedBranches
from .joins import Join
from .lazy_events import LazyEvents, layout_of
from .lazy_property import lazy_property
from .picks import picked
from .storage.local import Range
from .storage.sources import Traffic
from .tree_series import TreeReader
from .ttree.tree_index import Numbers

_KEPT = 4
"""Ranges whose entries in the friend are kept: each column of a chunk asks for them."""

Missing = str | bool | int | float | Mapping[str, bool | int | float]
"""What stands for an entry that the friend does not have: "none", "error", a number, or numbers by columns."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What some entries of a file have in a friend.

    Attributes:
        entries: of the friend, each once, ascending.
        order: which of these they have, -1 for none.
        offsets: where they have lists, where these begin, and the last one ends.
    """

    entries: Numbers
    order: Numbers
    offsets: Numbers | None


class JoinedFriend:
    """The columns of a friend, by the entries of the file whose friend it is.

    Args:
        name: the friend's.
        reader: the friend.
        join: finds its entries.
        missing: what stands for those that it does not have.

    Attributes:
        keys: the columns of the file that are read to find its entries.
    """

    def __init__(
        self, name: str, reader: TreeReader | InterpretedBranches, join: Join, missing: Missing = "error"
    ) -> None:
        self.reader, self.path, self.tree, self.name = reader, reader.path, reader.tree, name
        self.names: Mapping[str, Any] = reader.names
        self.keys = join.keys
        self._join = join
        self._missing = missing
        self._rows: dict[Range, Rows] = {}

    def beside(self, reader: InterpretedBranches) -> JoinedFriend:
        """What is read of this friend in another way, by the same entries."""
        return JoinedFriend(self.name, reader, self._join, self._missing)

    @lazy_property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        own = self.reader.lazy
        if not self._join.is_list and self._missing != "none":
            return own
        forms = {name: self._form(form) for name, form in own.forms.items()}
        fields: dict[str, Field] = {name: name for name in forms}
        if not self._join.is_list:
            fields |= nested(list(forms), {})
        return LazyEvents(forms, {}, fields, path=self.path)

    @property
    def fields(self) -> Group:
        """Its columns, as events have them under its name."""
        fields = dict(self.lazy.fields)
        return Group(fields, lists=tuple(fields)) if self._join.is_list else Group(fields)

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        return self.reader.traffic

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`."""
        around = ("var * " if self._join.is_list else "") + ("?" if self._missing == "none" else "")
        return {name: around + kind for name, kind in self.reader.types(branches).items()}

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`."""
        return self.lazy is self.reader.lazy and self.reader.has_member(name)

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`."""
        return self.reader.weight(branches)

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """Nothing: where in the friend the entries are, is known only when those of the file are read."""

    # --- columns ------------------------------------------------------------------------------------------------------

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`, for entries of the file.

        Raises:
            DatasetError: the friend does not have one of them, and no number stands for it.
        """
        for start, stop in ranges:
            rows = self._found(start, stop)
            pick = picked(rows.entries, self.reader.stride(branches))
            parts = [
                {name: column.take(inside) for name, column in columns.items()}
                for columns, inside in zip(self.reader.read_ranges(branches, pick.ranges), pick.inside, strict=True)
            ]
            yield {name: self._column(name, joined([part[name] for part in parts]), rows, start) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for entries of the file. Raises as `read_ranges`, but where None stands for what is missing."""
        rows = self._found(start, stop)
        pick = picked(rows.entries, self.reader.stride([name]))
        parts = [self.reader.array(name, *span)[inside] for span, inside in zip(pick.ranges, pick.inside, strict=True)]
        array = parts[0] if len(parts) == 1 else ak.concatenate(parts)
        if self._missing == "none":
            some = ak.contents.IndexedOptionArray.simplified(ak.index.Index64(rows.order), array.layout)
            return ak.to_packed(ak.Array(_in_lists(some, rows.offsets)))
        if (rows.order < 0).any():
            column = column_of(array.layout, f"branch {name} of {self.path}, where something is to stand for some,")
            return ak.Array(layout_of(self._column(name, column, rows, start)))
        return ak.to_packed(ak.Array(_in_lists(array[rows.order].layout, rows.offsets)))

    def _form(self, form: Any) -> Any:
        if self._missing == "none":
            form = ak.forms.IndexedOptionForm.simplified("i64", form)
        return ak.forms.ListOffsetForm("i64", form) if self._join.is_list else form

    def _column(self, name: str, column: Column, rows: Rows, start: int) -> Column:
        """A column of the friend's entries that are in these rows, as that of the rows."""
        order = rows.order
        if (order < 0).any():
            if isinstance(self._missing, str):
                raise DatasetError(f"{self._absent(rows, start)}. {self._advice}")
            order = np.where(order < 0, len(column), order)
            column = joined([column, self._stand_in(name, column)])
        taken = column.take(order)
        return taken if rows.offsets is None else Jagged(rows.offsets, taken)

    def _stand_in(self, name: str, column: Column) -> Column:
        """One entry for all that are missing: the number that was given, or an empty list."""
        if isinstance(column, Jagged):
            return Jagged(np.zeros(2, np.int64), column.content.slice(0, 0))
        if isinstance(column, Strings):
            return Strings(np.zeros(2, np.int64), column.characters[:0])
        kind = column.values.dtype
        number = self._missing.get(name) if isinstance(self._missing, Mapping) else self._missing
        if number is None:
            raise DatasetError(
                f"there are entries that the friend {self.name} does not have, and missing= says nothing of its branch "
                f"{name}: add it, as {{{name!r}: 0}}"
            )
        with np.errstate(all="ignore"):
            value = np.array(number).astype(kind)
        if kind.kind in "biu" and value.item() != number:
            raise DatasetError(
                f"{number} cannot stand for what is missing in the branch {name} of {self.path}, the friend "
                f"{self.name}, which is of type {kind}: give a number that it can hold, as missing=0"
            )
        return Flat(np.full((1, *column.values.shape[1:]), value, kind))

    # --- entries ------------------------------------------------------------------------------------------------------

    def _found(self, start: int, stop: int) -> Rows:
        """The friend's entries of the file's entries `[start, stop)`.

        Raises:
            DatasetError: it has none for one of them, and nothing is to stand for it.
        """
        if (start, stop) not in self._rows:
            while len(self._rows) >= _KEPT:
                del self._rows[next(iter(self._rows))]
            offsets, found = self._join.entries(start, stop)
            entries, inverse = np.unique(found[found >= 0], return_inverse=True)
            order = np.full(len(found), -1, np.int64)
            order[found >= 0] = inverse
            rows = Rows(entries, order, offsets)
            if self._missing == "error" and (order < 0).any():
                raise DatasetError(f"{self._absent(rows, start)}. {self._advice}")
            self._rows[start, stop] = rows
        return self._rows[start, stop]

    def _absent(self, rows: Rows, start: int) -> str:
        place = int((rows.order < 0).argmax())
        if rows.offsets is not None:
            place = int(np.searchsorted(rows.offsets, place, side="right")) - 1
        return self._join.absent(start + place)

    @property
    def _advice(self) -> str:
        if self._missing == "none":
            return (
                "In columnar functions this is None; for a kernel, say which number stands for it: "
                "em.Friend(..., missing=0)"
            )
        return (
            "Write a friend that has all, use those entries only that it has (entries=), or say what stands for the others: "
            'em.Friend(..., missing="none"), or a number'
        )


def _in_lists(layout: Any, offsets: Numbers | None) -> Any:
    return layout if offsets is None else ak.contents.ListOffsetArray(ak.index.Index64(offsets), layout)
