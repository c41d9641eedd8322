"""`fBits` of split objects: behind those of an object that is referred to there is the number of a process (`TObject`).

In Delphes' files tracks are referred to by jets: each takes 6 bytes in the branch `Track.fBits`, others 4. uproot takes 4
for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from ..compiled_loops import compiled

_BITS = 15
"""The number of the type of these members (`TVirtualStreamerInfo::kBits`)."""


def is_bits(branch: Any) -> bool:
    """Whether a branch, as uproot has it, has nothing but bits of objects."""
    leaves = branch.member("fLeaves")
    return len(leaves) == 1 and leaves[0].classname == "TLeafElement" and leaves[0].member("fType") == _BITS


def without_processes(
    data: NDArray[np.uint8], offsets: NDArray[Any] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """The bytes of a basket without the numbers of processes.

    Args:
        data: the bytes.
        offsets: where each entry begins, and the last one ends, if the basket has a table of that; the result has it anew.

    Raises:
        ValueError: the bytes end within an object's.

    Example:
        >>> data = np.frombuffer(bytes.fromhex("03000000 03000010 0007 03000008"), np.uint8)
        >>> without_processes(data, np.array([0, 4, 14]))[0].view(">u4").tolist()
        [50331648, 50331664, 50331656]
    """
    begins = np.zeros(0, np.int64) if offsets is None else np.ascontiguousarray(offsets, np.int64)
    kept, edges = np.empty(len(data), np.uint8), np.zeros(len(begins), np.int64)
    size = _remover()(np.ascontiguousarray(data), begins, kept, edges)
    if size < 0:
        raise ValueError("its bits end within an object's: it is damaged")
    return kept[:size], None if offsets is None else edges.astype(np.int32)


@functools.cache
def _remover() -> Callable[..., int]:
    def remove(data: Any, begins: Any, kept: Any, edges: Any) -> int:
        at, size, entry = 0, 0, 0
        while True:
            while entry < len(begins) and begins[entry] <= at:
                if begins[entry] < at:  # an entry begins within an object
                    return -1
                edges[entry] = size
                entry += 1
            if at == len(data):
                return size if entry == len(begins) else -1
            if at + 4 > len(data):
                return -1
            for k in range(4):
                kept[size + k] = data[at + k]
            size += 4
            at += 6 if data[at + 3] & 0x10 else 4
            if at > len(data):
                return -1

    raw = types.Array(types.uint8, 1, "C", readonly=True)
    made: Callable[..., int] = compiled(remove, types.int64(raw, types.int64[::1], types.uint8[::1], types.int64[::1]))
    return made
