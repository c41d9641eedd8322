"""Columns: how the branches of some consecutive entries lie in memory when a kernel runs over them.

Readers make them, kernels read them. Cutting a column never copies its contents; taking entries out of it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import DatasetError

Index: TypeAlias = NDArray[np.int64]
"""Numbers of entries of a column, counted from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """One value an entry: `values` has the entries along its first dimension; arrays of fixed size have more."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> Flat:
        """Entries [start, stop), 0 <= start <= stop <= len(self), of this column, as a view."""
        return Flat(self.values[start:stop])

    def take(self, entries: Index) -> Flat:
        """The entries of these numbers, in their order."""
        return Flat(self.values[entries])


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """One string an entry: entry i is the UTF-8 text `characters[offsets[i]:offsets[i + 1]]`."""

    offsets: NDArray[np.int64]
    characters: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> Strings:
        """Entries [start, stop), 0 <= start <= stop <= len(self), of this column, as a view."""
        return Strings(self.offsets[start : stop + 1], self.characters)

    def take(self, entries: Index) -> Strings:
        """The entries of these numbers, in their order."""
        offsets, inside = taken(self.offsets, entries)
        return Strings(offsets, self.characters[inside])


@dataclass(frozen=True, slots=True, eq=False)
class Jagged:
    """Any number of values an entry: entry i holds `content[offsets[i]:offsets[i + 1]]`.

    `offsets` has one number more than there are entries, never falls, and may start above 0: a slice keeps its content
    whole. `content` is jagged again for a vector of vectors.
    """

    offsets: NDArray[np.int64]
    content: Column

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> Jagged:
        """Entries [start, stop), 0 <= start <= stop <= len(self), of this column, as a view."""
        return Jagged(self.offsets[start : stop + 1], self.content)

    def take(self, entries: Index) -> Jagged:
        """The entries of these numbers, in their order."""
        offsets, inside = taken(self.offsets, entries)
        return Jagged(offsets, self.content.take(inside))


Column: TypeAlias = Flat | Jagged | Strings


def joined(columns: Sequence[Column]) -> Column:
    """One column of the entries of some, one after the other; at least one, all of one structure."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if isinstance(first, Flat):
        return Flat(np.concatenate([column.values for column in columns if isinstance(column, Flat)]))
    lists = [tight(column) for column in columns if not isinstance(column, Flat)]
    offsets = offsets_of(np.concatenate([np.diff(column.offsets) for column in lists]))
    if isinstance(first, Strings):
        return Strings(offsets, np.concatenate([column.characters for column in lists if isinstance(column, Strings)]))
    return Jagged(offsets, joined([column.content for column in lists if isinstance(column, Jagged)]))


@overload
def tight(column: Jagged) -> Jagged: ...
@overload
def tight(column: Strings) -> Strings: ...
def tight(column: Jagged | Strings) -> Jagged | Strings:
    """The column with offsets from 0 on, and of its content what its own entries hold; a slice has that of all."""
    low, high = int(column.offsets[0]), int(column.offsets[-1])
    if isinstance(column, Strings):
        return Strings(column.offsets - low, column.characters[low:high])
    return Jagged(column.offsets - low, column.content.slice(low, high))


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where lists of these lengths begin when they lie one behind the other, and where the last one ends."""
    offsets = np.empty(len(lengths) + 1, dtype=np.int64)
    offsets[0] = 0
    ends = offsets[1:]
    ends[:] = lengths
    np.cumsum(ends, out=ends)  # in place it takes less than half the time
    return offsets


def taken(offsets: NDArray[np.int64], entries: Index) -> tuple[NDArray[np.int64], Index]:
    """The offsets of some entries' lists, put one behind the other, and where their values are now."""
    starts = offsets[entries]
    lengths = offsets[entries + 1] - starts
    tight = offsets_of(lengths)
    return tight, np.arange(tight[-1]) + np.repeat(starts - tight[:-1], lengths)


def column_of(layout: Any, where: str) -> Column:
    """Take an awkward layout apart into a column.

    Raises:
        DatasetError: the type is none that a kernel can take.
    """
    layout = layout.to_packed()
    if layout.is_regular or layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        offsets = lists.offsets.data
        if layout.parameter("__array__") in ("string", "bytestring"):
            return Strings(offsets, np.asarray(lists.content.data, dtype=np.uint8))
        return Jagged(offsets, column_of(lists.content, where))
    if layout.is_numpy and layout.data.dtype.kind in "biuf":
        return Flat(layout.data.astype(layout.data.dtype.newbyteorder("="), copy=False))
    raise DatasetError(f"{where} cannot be used in a kernel: use a columnar function for it")
