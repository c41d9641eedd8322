"""Memory for large frames on their way in, each room used again when what was in it has been merged.

See `merge.lent` for what fresh memory costs; here it would keep the loop from everybody else.
"""

from __future__ import annotations

import numpy as np

from ..merge.lent import Lent

MOST_KEPT = 256 * 2**20
"""Bytes of rooms that are free and kept: while one large result is merged the next one comes, each in the other's place."""
LEAST = 4 * 2**20
"""Bytes of a frame below which memory is not dear."""
LARGER = 2
"""A room has so many times the bytes of what is put into it at most."""


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
        self._rooms: list[Lent] = []

    @property
    def free(self) -> int:
        """Bytes of those that are free."""
        return sum(room.cells.nbytes for room in self._rooms if not room.held)

    def take(self, size: int) -> memoryview:
        """Memory for so many bytes, with anything in it. Raises MemoryError if there is none."""
        if size < LEAST:
            return memoryview(bytearray(size))
        fitting = [it for it in self._rooms if not it.held and size <= it.cells.nbytes <= LARGER * size]
        room = min(fitting, key=lambda it: it.cells.nbytes, default=None)
        if room is None:
            room = Lent(np.empty(size, np.uint8))  # numpy asks for huge pages
            self._rooms.append(room)
        frame = room.lend()[:size]
        self._give_back(self._most)
        return frame

    def clear(self) -> None:
        """Give all back that are free."""
        self._give_back(0)

    def _give_back(self, most: int) -> None:
        over = self.free - most
        for room in list(self._rooms):
            if over > 0 and not room.held:
                self._rooms.remove(room)
                over -= room.cells.nbytes
