"""Put split numbers together again: in an RNTuple's pages all first bytes come first, then all second ones, and so on.

That compresses better, and is undone here as fast as memory goes. Numba compiles it once a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numba
from numba import njit
from numpy.typing import NDArray

Unsplit: TypeAlias = Callable[[NDArray[Any], NDArray[Any], bool, bool], None]
"""Takes bytes, the array of unsigned integers that they are to become, and whether to undo zigzag and delta coding."""


@functools.cache
def unsplitter(width: int) -> Unsplit:
    """What puts together numbers of `width` bytes: 2, 4 or 8.

    Example:
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

    try:
        compiled: Unsplit = njit(cache=True, nogil=True)(unsplit)
    except RuntimeError:  # no folder of this machine can be written to: each process compiles its own
        compiled = njit(nogil=True)(unsplit)
    return compiled
