"""Loops over the elements of an RNTuple's pages, as fast as memory goes; numba compiles each once a machine.

In a page of split numbers all first bytes come first, then all second ones, and so on, which compresses better. The ends of
lists are counted from the first element of the cluster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numba
from numba import types
from numpy.typing import NDArray

from ..compiled_loops import compiled

Unsplit: TypeAlias = Callable[[NDArray[Any], NDArray[Any], bool, bool], None]
"""Takes bytes, the array of unsigned integers that they are to become, and whether to undo zigzag and delta coding."""
Shifted: TypeAlias = Callable[[NDArray[Any], int, NDArray[Any]], bool]
"""Takes integers, what is to be added to them, and the array for the sums; returns whether they rise throughout."""


@functools.cache
def unsplitter(width: int) -> Unsplit:
    """What puts together split numbers of `width` bytes: 2, 4 or 8.

    Example:
        >>> import numpy as np
        >>> numbers = np.empty(3, np.uint16)
        >>> unsplitter(2)(np.array([1, 2, 3, 0, 0, 1], np.uint8), numbers, False, False)
        >>> numbers
        array([  1,   2, 259], dtype=uint16)
    """
    word = getattr(numba, f"uint{8 * width}")

    def unsplit(raw: Any, out: Any, zigzag: bool, delta: bool) -> None:
        for i in range(len(out)):
            number = word(0)
            for k in range(width):  # unrolled, since the width is a constant here: twenty bytes a nanosecond
                number |= word(raw[k * len(out) + i]) << word(8 * k)
            out[i] = number
        if zigzag:
            for i in range(len(out)):
                out[i] = (out[i] >> word(1)) ^ -(out[i] & word(1))
        if delta:
            for i in range(1, len(out)):
                out[i] += out[i - 1]

    raw = types.Array(types.uint8, 1, "C", readonly=True)
    joined: Unsplit = compiled(unsplit, types.void(raw, word[::1], types.boolean, types.boolean))
    return joined


@functools.cache
def shifter(width: int) -> Shifted:
    """What moves integers of `width` bytes, 4 or 8, up or down, and looks whether none is less than the one before.

    Example:
        >>> import numpy as np
        >>> sums = np.empty(3, np.int64)
        >>> shifter(4)(np.array([7, 7, 9], np.int32), -5, sums), sums
        (True, array([2, 2, 4]))
    """

    def shift(numbers: Any, by: int, out: Any) -> bool:
        falls = False
        for i in range(len(numbers)):
            out[i] = numbers[i] + by
            falls |= numbers[i] < numbers[max(i, 1) - 1]
        return not falls

    number = getattr(numba, f"int{8 * width}")
    moved: Shifted = compiled(shift, types.boolean(number[::1], types.int64, types.int64[::1]))
    return moved
