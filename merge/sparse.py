"""Arrays most of which is zero, as they travel: the places and the values of the rest.

A packet that fills a hundred of a million bins sends two kilobytes, and its sum is done in microseconds. Only arrays that
have a frame of their own travel so (`partial.py`): what the tree says of type and shape tells such a frame from a dense
one, which is longer. Nothing is rounded: zero is what has no bit set.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..protocol.codec import MAX_FRAME
from .cells import add_cells
from .nodes import DTYPES, Cells, Frame

MOST_SPREAD = MAX_FRAME
"""Bytes of the arrays of one partial result that may travel so, if they were dense: a peer is not to fill anybody's memory
with zeros."""
SHORTER = 4
"""By so much a sparse frame is shorter at least: from there on it is added up as fast as a dense one."""
_SAMPLE = 4096
"""Values that are looked at before all are."""
_LEAST = 1024
_WORD = 8
_HEADER = struct.Struct("<8sQQ")
"""A mark, the bytes of the dense array, and how many places there are."""
_MARK = b"\x93sparse\x01"
_PLACE = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class Sparse:
    """The cells of an array that are not zero, by their places, which ascend; it has `size` cells."""

    places: NDArray[np.uint32]
    values: Cells
    size: int

    @property
    def dense(self) -> Cells:
        """The array."""
        cells = np.zeros(self.size, self.values.dtype)
        cells[self.places] = self.values
        return cells

    def add_to(self, target: Cells, first: int) -> None:
        """Add the cells from `first` on to as many of a target of the same type."""
        low, high = np.searchsorted(self.places, [first, first + len(target)])
        places = self.places[low:high] - np.uint32(first)
        cells = target[places]
        add_cells(cells, self.values[low:high])
        target[places] = cells


class Thinning:
    """Makes frames of arrays shorter, while what they are to be spread to is not too much.

    Example:
        >>> thinning, cells = Thinning(), np.zeros(100_000)
        >>> cells[[7, 70_000]] = 1.5, -0.5
        >>> frame = thinning.frame(cells)
        >>> len(frame), sparse_in(frame, "float", 100_000).values.tolist(), dense_size(frame)
        (48, [1.5, -0.5], 800000)
    """

    def __init__(self) -> None:
        self._left = MOST_SPREAD

    def frame(self, cells: Cells) -> Frame:
        """The frame of an array that lies in one piece: a view of it if it is not sparse."""
        cells = cells.reshape(-1)
        shorter = self.shorter(cells)
        return cells.view(np.uint8).data if shorter is None else shorter

    def shorter(self, cells: Cells) -> bytes | None:
        """That of an array of one dimension, if it is sparse."""
        dense = cells.nbytes
        if cells.dtype.itemsize % _WORD or not _LEAST <= dense <= self._left:
            return None
        places = _filled(cells, dense // SHORTER)
        if places is None:
            return None
        self._left -= dense
        values = np.ascontiguousarray(cells[places]).view(np.uint8).data
        return b"".join([_HEADER.pack(_MARK, dense, len(places)), places.astype(_PLACE).tobytes(), values])


def sparse_in(frame: Frame, kind: str, size: int) -> Sparse:
    """What is in a frame for an array of so many cells of a kind. ValueError if it is none of a sparse array."""
    dtype, most = DTYPES[kind], size * DTYPES[kind].itemsize
    if len(frame) < _HEADER.size or most > MOST_SPREAD:
        raise ValueError(f"{len(frame)} bytes for an array of {size} {kind}")
    mark, dense, number = _HEADER.unpack(bytes(frame[: _HEADER.size]))
    start = _HEADER.size + number * _PLACE.itemsize
    if mark != _MARK or dense != most or len(frame) != start + number * dtype.itemsize:
        raise ValueError(f"{len(frame)} bytes for an array of {size} {kind}")
    places = np.frombuffer(frame, _PLACE, number, _HEADER.size)
    if number and (places[-1] >= size or not np.all(places[1:] > places[:-1])):
        raise ValueError("a sparse array whose places do not ascend, or are beyond its end")
    return Sparse(places, np.frombuffer(bytes(frame[start:]), dtype), size)


def dense_size(frame: Frame) -> int:
    """Bytes that a frame takes once it is added to a total."""
    if len(frame) >= _HEADER.size and frame[: len(_MARK)] == _MARK:
        return max(len(frame), int(_HEADER.unpack(bytes(frame[: _HEADER.size]))[1]))
    return len(frame)


def dense_sizes(frames: Iterable[Frame]) -> int:
    """The same of all frames of a partial result."""
    return sum(map(dense_size, frames))


def _filled(cells: Cells, most: int) -> NDArray[np.intp] | None:
    """Where cells are not zero; None if a frame of these would take more than `most` bytes."""
    words = cells.dtype.itemsize // _WORD
    each = _PLACE.itemsize + cells.dtype.itemsize
    step = max(1, len(cells) // _SAMPLE)
    bits = cells.view(np.uint64).reshape(-1, words)
    if np.count_nonzero(bits[::step].any(axis=1)) * each * step > most:
        return None
    places = np.flatnonzero(bits) if words == 1 else np.flatnonzero(bits.any(axis=1))
    return places if len(places) * each <= most else None
