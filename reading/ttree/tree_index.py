"""The index of a tree (`TTree::BuildIndex`): which of its entries is that of a run and an event, or of other two numbers.

It stands in the file behind what describes the tree, sorted, as ROOT looks numbers up in it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_BEGIN = b"\xff\xff\xff\xffTTreeIndex\0"
"""How an object of this class begins, the first of its class."""
_HEADER = struct.Struct(">IH")
_COUNT = struct.Struct(">q")
_HAS_COUNT = 0x40000000
_LEAST_VERSION = 2
"""Before, both numbers were put into one."""


@dataclass(frozen=True, slots=True)
class TreeIndex:
    """An index.

    Attributes:
        major, minor: the branches whose values it is sorted by; they may be expressions, and `minor` may be "0".
        majors, minors: the values, sorted by the first, then by the second.
        entries: whose they are.

    Example:
        >>> index = TreeIndex("run", "event", *(np.array(it) for it in ([1, 1, 2], [5, 7, 5], [2, 0, 1])))
        >>> index.find(np.array([1, 2, 2]), np.array([7, 5, 7])).tolist()
        [0, 1, -1]
    """

    major: str
    minor: str
    majors: Numbers
    minors: Numbers
    entries: Numbers

    @classmethod
    def of(cls, data: bytes) -> TreeIndex:
        """The index in an object of class TTree, decompressed.

        Raises:
            ValueError: it is none that can be read; the text says why.
        """
        at = data.find(_BEGIN)
        if at < 0:
            raise ValueError("it is not where it should be")
        try:
            return cls._parsed(data, at + len(_BEGIN))
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"it cannot be read ({error})") from error

    @classmethod
    def _parsed(cls, data: bytes, at: int) -> TreeIndex:
        _, version = _HEADER.unpack_from(data, at)
        if version < _LEAST_VERSION:
            raise ValueError("it was written by a ROOT before 5")
        at += _HEADER.size
        size, _ = _HEADER.unpack_from(data, at)
        if not size & _HAS_COUNT:
            raise ValueError("it is not written in the usual way")
        at += 4 + (size & ~_HAS_COUNT)
        major, at = _text(data, at)
        minor, at = _text(data, at)
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        if not 0 <= count <= (len(data) - at) // (3 * 8):
            raise ValueError("it is damaged")
        numbers = np.frombuffer(data, ">i8", 3 * count, at).astype(np.int64).reshape(3, count)
        index = cls(major, minor, *numbers)
        if (np.diff(index.majors) < 0).any() or ((np.diff(index.majors) == 0) & (np.diff(index.minors) < 0)).any():
            raise ValueError("it is not sorted")
        return index

    def find(self, majors: Numbers, minors: Numbers) -> Numbers:
        """The entries that these numbers belong to, -1 where there is none; of several, the one that ROOT takes."""
        found = np.full(len(majors), -1, np.int64)
        if not len(self.entries):
            return found
        first, second = np.unique(self.majors), np.unique(self.minors)
        keys = np.searchsorted(first, self.majors) * len(second) + np.searchsorted(second, self.minors)
        row, column = (np.searchsorted(known, some) for known, some in ((first, majors), (second, minors)))
        row, column = np.minimum(row, len(first) - 1), np.minimum(column, len(second) - 1)
        place = np.minimum(np.searchsorted(keys, row * len(second) + column), len(keys) - 1)
        is_there = (self.majors[place] == majors) & (self.minors[place] == minors)
        found[is_there] = self.entries[place[is_there]]
        return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A text of ROOT's, and where it ends."""
    size, at = data[at], at + 1
    if size == 255:
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
    return data[at : at + size].decode(), at + size
