"""Memory that others read, and that is used again once none of them holds it any more.

Fresh memory is dear: of 200 MB, which are added up in 13 ms, the system hands out its pages in 30 to 500 ms of CPU time (a
virtual machine has to ask its host for them).
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from .nodes import Cells


class Lent:
    """An array of one dimension in one piece, whose bytes others read.

    Args:
        cells: the array. While it is `held`, nobody may write into it.

    Example:
        >>> lent = Lent(np.arange(3.0))
        >>> frame = lent.lend()
        >>> values = np.frombuffer(frame)[1:]
        >>> del frame
        >>> lent.held, values.tolist()
        (True, [1.0, 2.0])
        >>> del values
        >>> lent.held
        False
    """

    __slots__ = ("_view", "cells")

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._view: weakref.ref[npt.NDArray[Any]] | None = None

    def lend(self) -> memoryview:
        """Its bytes. What is made of them, such as a slice or an array, holds the one view of them that there is."""
        view = self._view() if self._view is not None else None
        if view is None:
            view = self.cells.view(np.uint8)
            self._view = weakref.ref(view)
        return view.data

    @property
    def held(self) -> bool:
        """Whether anybody holds its bytes."""
        return self._view is not None and self._view() is not None
