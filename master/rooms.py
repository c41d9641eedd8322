"""Memory for large frames on their way in, each room used again when what was in it has been merged.

See `merge.lent` for what fresh memory costs; here it would keep the loop from everybody else. So it is of small pages, which
come as they are written: for a huge one the system may first move others together, for tens of milliseconds. And what is
free goes back in steps, as many small pages take their time for that.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

from ..merge.lent import Lent

MOST_KEPT = 256 * 2**20
"""Bytes of rooms that are free and kept: while one large result is merged the next one comes, each in the other's place."""
LEAST = 4 * 2**20
"""Bytes of a frame below which memory is not dear."""
LARGER = 2
"""A room has so many times the bytes of what is put into it at most."""
A_STEP = 16 * 2**20
"""Bytes that go back to the system at a time: one or two milliseconds."""


@dataclass(slots=True, eq=False)
class _Room:
    """One mapping of memory, and what is lent of it."""

    pages: mmap.mmap
    lent: Lent

    @classmethod
    def of(cls, size: int) -> _Room:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return cls(pages, Lent(np.frombuffer(pages, np.uint8)))

    @property
    def size(self) -> int:
        return len(self.pages)


class Rooms:
    """Gives memory for frames. One that nobody holds any more, whole or a part of it, is free.

    Args:
        most: bytes of those that are free and kept.

    Example:
        >>> rooms = Rooms()
        >>> frame = rooms.take(5_000_000)
        >>> frame[:4] = b"data"
        >>> rooms.free
        0
        >>> del frame
        >>> rooms.free, rooms.take(4_500_000)[:4].tobytes()
        (5000000, b'data')
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._rooms: list[_Room] = []
        self._leaving: list[tuple[mmap.mmap, int]] = []

    @property
    def free(self) -> int:
        """Bytes of those that are free."""
        return sum(room.size for room in self._rooms if not room.lent.held)

    @property
    def leaving(self) -> int:
        """Bytes that are still to go back to the system."""
        return sum(left for _, left in self._leaving)

    def take(self, size: int) -> memoryview:
        """Memory for so many bytes, with anything in it. Raises OSError or MemoryError if there is none."""
        if size < LEAST:
            return memoryview(bytearray(size))
        fitting = [it for it in self._rooms if not it.lent.held and size <= it.size <= LARGER * size]
        room = min(fitting, key=lambda it: it.size, default=None)
        if room is None:
            room = _Room.of(size)
            self._rooms.append(room)
        frame = room.lent.lend()[:size]
        self._give_back(self._most)
        return frame

    def clear(self) -> None:
        """Keep none that are free."""
        self._give_back(0)

    def go_on(self) -> None:
        """Let a step of what is kept no more go back to the system."""
        if self._leaving:
            pages, left = self._leaving.pop()
            start = (left - 1) // A_STEP * A_STEP
            pages.madvise(mmap.MADV_DONTNEED, start, left - start)
            if start:
                self._leaving.append((pages, start))

    def _give_back(self, most: int) -> None:
        over = self.free - most
        for room in list(self._rooms):
            if over > 0 and not room.lent.held:
                self._rooms.remove(room)
                self._leaving.append((room.pages, room.size))
                over -= room.size
