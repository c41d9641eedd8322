"""An array to which others are added, while who was given it before may still read what it was then.

As long as somebody holds what he was given (`lent.py`), the sum goes on in another array, in the same step in which
something is added; and the next time in the first one, if that is free by then. When nobody does, nothing is copied.
"""

from __future__ import annotations

import numpy as np

from .cells import add_cells
from .lent import Lent
from .nodes import Cells
from .sparse import Sparse

BLOCK = 2**20
"""Bytes that are added at a time: what was copied just now is still in the cache, and means need little memory beside it."""


MOST_SPARE = 512 * 2**20
"""Bytes of an array that is kept to go on in when somebody else holds the sum."""


class Growing:
    """The sum of arrays of one dimension.

    Args:
        first: the first one, into which nothing is written.
        memory: an array of its kind to go on in, once nobody holds it.

    Example:
        >>> total = Growing(np.ones(3))
        >>> total.add(0, np.ones(3))
        >>> before = total.lend()
        >>> total.add(1, np.ones(2))
        >>> total.cells.tolist(), np.frombuffer(before).tolist()
        ([2.0, 3.0, 3.0], [2.0, 2.0, 2.0])
    """

    __slots__ = ("_lent", "_own", "_spare")

    def __init__(self, first: Cells | Sparse, memory: Lent | None = None) -> None:
        self._own = isinstance(first, Sparse)
        self._lent = Lent(first.dense if isinstance(first, Sparse) else first)
        self._spare = memory

    @property
    def cells(self) -> Cells:
        """The sum, to be read."""
        return self._lent.cells

    def lend(self) -> memoryview:
        """Its bytes as they are now: what is added later does not change them."""
        return self._lent.lend().toreadonly()

    @property
    def memory(self) -> Lent | None:
        """What another sum can go on in, when this one is used no more."""
        return self._lent if self._own and self._is_kept(self._lent) else self._spare

    def own(self) -> Cells:
        """The sum, to be written into."""
        if not self._is_free:
            self._go_on(0, 0)
        return self.cells

    def add(self, start: int, cells: Cells) -> None:
        """Add these from a place on."""
        before, stop = self.cells, start + len(cells)
        copies = not self._is_free
        if copies:
            self._go_on(start, stop)
        target = self.cells[start:stop]
        if not copies and cells.nbytes <= BLOCK:
            add_cells(target, cells)
            return
        step = max(1, BLOCK // cells.dtype.itemsize)
        for first in range(0, len(cells), step):
            part = slice(first, first + step)
            if copies:
                target[part] = before[start:stop][part]
            add_cells(target[part], cells[part])

    @property
    def _is_free(self) -> bool:
        return self._own and not self._lent.held

    def _go_on(self, start: int, stop: int) -> None:
        """Go on in another array, which has all of this one but what is from start to stop."""
        before, spare = self._lent, self._spare
        self._lent = Lent(np.empty_like(before.cells)) if spare is None or spare.held else spare
        for part in (slice(0, start), slice(stop, None)):
            self.cells[part] = before.cells[part]
        self._spare = before if self._own and self._is_kept(before) else None
        self._own = True

    @staticmethod
    def _is_kept(lent: Lent) -> bool:
        return lent.cells.nbytes <= MOST_SPARE
