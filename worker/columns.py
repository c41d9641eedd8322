"""Columns: how the branches of some consecutive entries lie in memory when a kernel runs over them.

Readers make them, kernels read them. Cutting a column never copies its contents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """One value an entry: `values` has the entries along its first dimension; arrays of fixed size have more."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> Flat:
        """Entries [start, stop), 0 <= start <= stop <= len(self), of this column, as a view."""
        return Flat(self.values[start:stop])


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


Column: TypeAlias = Flat | Jagged | Strings
