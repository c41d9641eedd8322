"""A look at the vectors that uproot casts at once: whether each entry has the bytes of its elements.

ROOT may have written a vector of structures member by member, as a bit of its version says, which uproot does not look at.
`record_decoding` reads them; here are those whose class the file does not describe well enough for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .streamed import BY_MEMBERS_BYTE, COUNTED_BYTE

HEADER = 10
"""Bytes before the values of a vector: how many follow, version, number of elements."""


def check_vectors(data: NDArray[np.uint8], offsets: NDArray[np.int32], width: int) -> None:
    """Raise unless these are vectors, element by element.

    Args:
        data: the bytes of a basket.
        offsets: where each entry begins, from 0, and where the last one ends.
        width: of an element; 0 where that is not known.

    Raises:
        ValueError: an entry has another number of bytes than its elements need.
        NotImplementedError: a vector is written member by member.

    Example:
        >>> data = np.frombuffer(bytes.fromhex("40000008 0009 00000001 002a"), np.uint8)
        >>> check_vectors(data, np.array([0, 12], np.int32), 2)
    """
    begins, sizes = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    if (sizes < HEADER).any():
        raise ValueError("a vector has fewer bytes than its header")
    if ((data[begins] & COUNTED_BYTE > 0) & (data[begins + 4] & BY_MEMBERS_BYTE > 0)).any():
        raise NotImplementedError(
            "a std::vector of a class that the file does not describe well, written member by member: this version cannot "
            "read it"
        )
    counts = np.zeros(len(begins), np.int64)
    for byte in range(6, HEADER):
        counts = counts << 8 | data[begins + byte]
    if width and (counts * width + HEADER != sizes).any():
        raise ValueError("a vector has another number of elements than its bytes: its class is not what the file says")
