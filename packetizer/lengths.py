"""How many entries files have, as far as it is known beforehand."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

_UNKNOWN = -1


class Lengths(Sequence[int | None]):
    """The entries of files, in eight bytes each; None where nobody knows.

    Attributes:
        total: entries of all files where they are known.
        unknown: how many files there are where they are not.

    Example:
        >>> lengths = Lengths([5, None, 7])
        >>> lengths[1], lengths[2], lengths.total, lengths.unknown
        (None, 7, 12, 1)
    """

    def __init__(self, lengths: Iterable[int | None] = ()) -> None:
        self._entries = array("q")
        self.total = self.unknown = 0
        self.extend(lengths)

    @classmethod
    def of(cls, lengths: Sequence[int | None]) -> Lengths:
        """These lengths, in this form."""
        return lengths if isinstance(lengths, Lengths) else cls(lengths)

    @classmethod
    def nobody_knows(cls, files: int) -> Lengths:
        """Those of so many files of which nothing is known."""
        lengths = cls()
        lengths.repeat(None, files)
        return lengths

    def extend(self, lengths: Iterable[int | None]) -> None:
        """Some more files."""
        entries = array("q", [_UNKNOWN if it is None else it for it in lengths])
        unknown = entries.count(_UNKNOWN)
        self._entries += entries
        self.unknown += unknown
        self.total += sum(entries) - unknown * _UNKNOWN

    def repeat(self, length: int | None, files: int) -> None:
        """So many more files of the same length."""
        self._entries += array("q", [_UNKNOWN if length is None else length]) * files
        if length is None:
            self.unknown += files
        else:
            self.total += length * files

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, file: int) -> int | None: ...
    @overload
    def __getitem__(self, file: slice) -> Sequence[int | None]: ...
    def __getitem__(self, file: int | slice) -> int | Sequence[int | None] | None:
        if isinstance(file, slice):
            return [self[index] for index in range(*file.indices(len(self)))]
        entries = self._entries[file]
        return None if entries == _UNKNOWN else entries
