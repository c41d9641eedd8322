"""What the parameters of a kernel are read from: a branch, or the columns of a collection or of a record an event.

A parameter that is no branch of the file may be the name of a group, as `events.Muon` is in columnar functions (see
`reading.groups`). Which of its fields the kernel touches only its compiled code tells (`record_access`): those that its
functions mention are offered to it, and of these the ones that it has touched are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...protocol.errors import AnalysisError, EventmillError
from ...reading.columns import Flat, Jagged, offsets_of
from ...reading.groups import Group
from . import inputs, record_access
from .inputs import WIDE, Readable

Read = Callable[[Sequence[str]], Mapping[str, Readable]]
"""What reads columns of no entries, to have their types."""


class Parameter(Protocol):
    """A parameter of a kernel that is no output."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read for it."""

    def structure(self, columns: Mapping[str, Readable]) -> str:
        """What of its columns decides the code that reads it."""

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """What the loop does for it once a block, the expression that reads entry i, and the types of `arguments`."""

    def arguments(self, columns: Mapping[str, Readable], structure: str) -> list[Any]:
        """What a loop for this structure takes."""

    def in_python(self, columns: Mapping[str, Readable], index: int) -> Any:
        """Entry `index` as the plain Python function takes it."""


class Branch:
    """One column, by the parameter's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns = (name,)

    def structure(self, columns: Mapping[str, Readable]) -> str:
        """As `inputs.structure`."""
        return inputs.structure(self.name, columns[self.name])

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `inputs.reading`."""
        return inputs.reading(name, structure)

    def arguments(self, columns: Mapping[str, Readable], structure: str) -> list[Any]:
        """As `inputs.arguments`."""
        return inputs.arguments(columns[self.name])

    def in_python(self, columns: Mapping[str, Readable], index: int) -> Any:
        """As `inputs.in_python`."""
        return inputs.in_python(columns[self.name], index)


class Records:
    """A group of columns: the records of a collection, or one record an event.

    Args:
        name: of the parameter.
        group: its columns.
        tag: names this parameter of this kernel, for `record_access`.

    Example:
        >>> from eventmill.reading.columns import Flat
        >>> met = Records("MET", Group({"pt": "MET_pt", "phi": "MET_phi"}), "a kernel's MET")
        >>> met.offer({"pt", "cos"}, lambda names: {name: Flat(np.zeros(0, "f4")) for name in names})
        >>> met.columns
        ('MET_pt',)
    """

    def __init__(self, name: str, group: Group, tag: str) -> None:
        self.name, self.tag = name, tag
        self.is_list = bool(group.counter or group.lists)
        every = group.elements if self.is_list else group.fields
        self._column = {field: column for field, column in every.items() if isinstance(column, str)}
        self._lengths = group.counter or (group.own_lists[0] if group.lists else "")
        self._kinds: dict[str, str] = {}
        self._fields: tuple[str, ...] = ()
        others = {field: f"{name}.{field} is a group of others: read them as branches, {field}_..." for field in every}
        record_access.others[tag] = others | dict.fromkeys(self._column, "")

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read: the fields that are touched, or at least what tells how many records there are."""
        if self._fields or not self.is_list:
            return tuple(self._column[field] for field in self._fields)
        return (self._lengths,)

    # --- which fields there are ---------------------------------------------------------------------------------------

    def offer(self, names: Collection[str], read: Read) -> None:
        """Have code touch those fields that have these names; all of them are read until `touched` says more."""
        others = dict(record_access.others[self.tag])
        for field in sorted(self._column.keys() & names):
            kind, why = self._kind(field, read)
            if kind:
                self._kinds[field] = kind
                del others[field]
            else:
                others[field] = why
        record_access.others[self.tag] = others
        self._kinds = dict(sorted(self._kinds.items()))  # in one order, however they came: the code is of this order
        self._fields = tuple(self._kinds)

    @property
    def on_offer(self) -> Collection[str]:
        """The fields that code can touch."""
        return self._kinds.keys()

    def offer_wanted(self, read: Read) -> bool:
        """Offer what code that does not compile has asked for, and was not offered; whether there was such a field."""
        new = record_access.wanted.pop(self.tag, set()) - self._kinds.keys()
        self.offer(new, read)
        return bool(new)

    def touched(self, fields: Collection[str]) -> None:
        """Of the fields on offer these are touched, and no others are read from now on."""
        self._fields = tuple(field for field in self._kinds if field in fields)

    def _kind(self, field: str, read: Read) -> tuple[str, str]:
        """The type of a field's numbers as numpy writes it; or why a kernel cannot read it."""
        try:
            return self._checked_kind(field, read([self._column[field]])), ""
        except EventmillError as error:
            return "", str(error)

    def _checked_kind(self, field: str, columns: Mapping[str, Readable]) -> str:
        column = self._column[field]
        structure = inputs.structure(column, columns[column])
        kind, _, dimensions = structure.removeprefix("[").removesuffix("]").partition("x")
        if dimensions == "1" and structure == (f"[{kind}x1]" if self.is_list else f"{kind}x1") and kind != "S1":
            return kind
        holds = "one number for each of its records" if self.is_list else "a number"
        raise AnalysisError(f"{self.name}.{field} is not {holds}: take the branch as a parameter, {column}")

    # --- a parameter --------------------------------------------------------------------------------------------------

    def structure(self, columns: Mapping[str, Readable]) -> str:
        """The fields with their types, `pt=f4 charge=i4`."""
        return " ".join(f"{field}={self._checked_kind(field, columns)}" for field in self._fields)

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `Parameter.source`."""
        kinds = dict(part.split("=") for part in structure.split())
        stored = dict(kinds)
        read_only: list[types.Type] = [_array(np.dtype(kind), readonly=True) for kind in kinds.values()]
        if not self.is_list:
            arrays = "".join(f"{name}_{number}, " for number in range(len(kinds)))
            description = record_access.describe(self.tag, self.name, stored)
            return [], f"record({description!r}, i, ({arrays}))", read_only
        offsets = _array(np.dtype(np.int64), readonly=True)
        lines, arrays = list[str](), ""
        argument_types: list[types.Type] = [offsets]
        for (field, kind), values in zip(kinds.items(), read_only, strict=True):
            column = f"{name}_{len(argument_types)}"
            argument_types.append(values)
            if kind in WIDE:
                stored[field] = np.dtype(WIDE[kind]).str[1:]
                room = f"{name}_{len(argument_types)}"
                lines.append(f"{column}_w = widened({column}, {room}, {name}_0[first], {name}_0[last])")
                argument_types.append(_array(np.dtype(WIDE[kind])))
                column = f"{column}_w"
            arrays += f"{column}, "
        description = record_access.describe(self.tag, self.name, stored)
        return lines, f"collection({description!r}, {name}_0[i], {name}_0[i + 1], ({arrays}))", argument_types

    def arguments(self, columns: Mapping[str, Readable], structure: str) -> list[Any]:
        """As `Parameter.arguments`; of fields that are not touched, nothing."""
        kinds = dict(part.split("=") for part in structure.split())
        if not self.is_list:
            return [
                np.require(_values(columns[self._column[field]]), requirements=("C", "A"))
                if field in self._fields
                else np.empty(0, kind)
                for field, kind in kinds.items()
            ]
        offsets, values = self._aligned(columns)
        found: list[Any] = [offsets]
        room = _room(offsets) if self._fields else 0
        for field, kind in kinds.items():
            found.append(values.get(field, np.empty(0, kind)))
            if kind in WIDE:
                found.append(np.empty(room if field in values else 0, WIDE[kind]))
        return found

    def in_python(self, columns: Mapping[str, Readable], index: int) -> Any:
        """As `Parameter.in_python`."""
        if not self.is_list:
            return _Record({field: inputs.in_python(columns[self._column[field]], index) for field in self._fields}, -1)
        offsets, values = self._aligned(columns)
        start, stop = int(offsets[index]), int(offsets[index + 1])
        wide = {
            field: array[start:stop].astype(WIDE.get(array.dtype.str[1:], array.dtype))
            for field, array in values.items()
        }
        return _Collection(wide, 0, stop - start)

    def _aligned(self, columns: Mapping[str, Readable]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Where the records of each entry are, and the values of the fields, by the same positions.

        Raises:
            AnalysisError: two of them have different numbers of elements.
        """
        if not self._fields:
            return self._counted(columns[self._lengths]), {}
        lists = {field: _list(columns[self._column[field]]) for field in self._fields}
        first, *rest = lists.items()
        offsets, same = first[1].offsets, True
        for field, column in rest:
            if column.offsets is offsets or np.array_equal(column.offsets, offsets):
                continue
            same = False
            lengths, its = np.diff(offsets), np.diff(column.offsets)
            if (wrong := lengths != its).any():
                at = int(wrong.argmax())
                raise AnalysisError(
                    f"{self._column[first[0]]} and {self._column[field]} are no fields of the same records: an event has "
                    f"{lengths[at]} and {its[at]} of them; take one of them as a parameter by itself"
                )
        low = 0 if same else int(offsets[0])
        values = {
            field: np.require(_values(column)[0 if same else int(column.offsets[0]) :], requirements=("C", "A"))
            for field, column in lists.items()
        }
        offsets = np.require(offsets - low if low else offsets, np.int64, ("C", "A"))
        shortest = min(map(len, values.values()))
        if offsets[0] < 0 or offsets[-1] > shortest or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets from {offsets[0]} to {offsets[-1]} in columns with {shortest} values")
        return offsets, values

    def _counted(self, column: Readable) -> NDArray[np.int64]:
        if not isinstance(column, Flat):
            return np.require(_list(column).offsets, np.int64, ("C", "A"))
        if (column.values < 0).any():
            raise AnalysisError(f"{self._lengths} counts the records of {self.name}, and is below 0 in an event")
        return offsets_of(column.values)


def _values(column: Readable) -> NDArray[Any]:
    inner = column.content if isinstance(column, Jagged) else column
    if not isinstance(inner, Flat):
        raise AnalysisError("a field of records that is no number")
    return inner.values


def _list(column: Readable) -> Jagged:
    if not isinstance(column, Jagged):
        raise AnalysisError("a field of records that has no element for each")
    return column


def _room(offsets: NDArray[np.int64]) -> int:
    """How many elements a block of entries has at most; at least one."""
    places = offsets[np.append(np.arange(0, len(offsets) - 1, inputs.BLOCK), len(offsets) - 1)]
    return max(1, int(np.diff(places).max(initial=0)))


def _array(dtype: np.dtype[Any], readonly: bool = False) -> types.Array:
    return types.Array(from_dtype(dtype), 1, "C", readonly=readonly)


# --- in plain Python --------------------------------------------------------------------------------------------------


class _Record:
    def __init__(self, values: Mapping[str, Any], index: int) -> None:
        self.index = index
        self.__dict__.update(values)


class _Collection:
    def __init__(self, values: Mapping[str, NDArray[Any]], start: int, stop: int) -> None:
        self._values, self._start, self._stop = values, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getattr__(self, name: str) -> NDArray[Any]:
        return self._values[name][self._start : self._stop]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            return _Collection(self._values, self._start + first, self._start + max(first, last))
        at = range(self._start, self._stop)[index]
        return _Record({name: values[at] for name, values in self._values.items()}, at)
