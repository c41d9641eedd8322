"""Vectors of structures that ROOT has written member by member: all values of the first member, then all of the second.

That is how `std::vector` of a class is written unless it is split; a bit of its version says so. uproot (5.7) skips these
bytes without a look, and takes the values for whole structures one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = 10
"""Bytes before the values of a vector: how many follow, version, number of elements."""
_COUNTED, _BY_MEMBERS = 0x40, 0x4000


def by_elements(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], content: Any
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The bytes of a basket of vectors, and where each entry begins, as if all had been written element by element.

    Args:
        data: the bytes.
        offsets: where each entry begins, from 0, and where the last one ends.
        content: uproot's interpretation of an element; it has a `from_dtype`, and `members` if it is a structure.

    Raises:
        ValueError: an entry has another number of bytes than its elements need.
        NotImplementedError: structures in structures, or with a base class or version, member by member.
    """
    begins, sizes = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    if (sizes < HEADER).any():
        raise ValueError("a vector has fewer bytes than its header")
    versions = _number(data, begins + 4, 2)
    turned = (versions & _BY_MEMBERS > 0) & (data[begins] & _COUNTED > 0)
    width = content.from_dtype.itemsize
    if turned.any():
        return _turned(data, begins, sizes, turned, content)
    if width and (_number(data, begins + 6, 4) * width + HEADER != sizes).any():
        raise ValueError("a vector has another number of elements than its bytes: its class is not what the file says")
    return data, offsets


def _turned(
    data: NDArray[np.uint8],
    begins: NDArray[np.int64],
    sizes: NDArray[np.int64],
    turned: NDArray[np.bool_],
    content: Any,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    kind = content.from_dtype
    members = [] if kind.names is None else [kind.fields[name][0] for name in kind.names]
    simple = all(isinstance(member, np.dtype) for _, member in getattr(content, "members", []))
    if not members or not simple or any(name.startswith("@") for name in kind.names):
        raise NotImplementedError(
            "a std::vector of a class with other classes in it, written member by member: this version cannot read it"
        )
    # Of the class there is a version or, where it has none, 0 and a checksum.
    without = turned & (_number(data, begins + 6, 2) == 0)
    lows = begins + HEADER + np.where(turned, 2 + 4 * without, 0)
    counts = _number(data, lows - 4, 4)
    if (lows + counts * kind.itemsize != begins + sizes).any():
        raise ValueError("a vector has another number of elements than its bytes: its class is not what the file says")
    ends = np.cumsum(HEADER + counts * kind.itemsize)
    offsets = np.concatenate([[0], ends])
    entry = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
    whole = np.zeros(int(offsets[-1]), np.uint8)
    whole[offsets[:-1, np.newaxis] + np.arange(6, HEADER)] = counts.astype(">u4").view(np.uint8).reshape(-1, 4)
    before = 0
    for member in members:
        each = np.arange(member.itemsize)
        target = offsets[entry] + HEADER + place * kind.itemsize + before
        by_members = counts[entry] * before + place * member.itemsize
        source = lows[entry] + np.where(turned[entry], by_members, place * kind.itemsize + before)
        whole[target[:, np.newaxis] + each] = data[source[:, np.newaxis] + each]
        before += member.itemsize
    return whole, offsets.astype(np.int32)


def _number(data: NDArray[np.uint8], at: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The whole numbers of so many bytes at these places."""
    number = np.zeros(len(at), np.int64)
    for byte in range(size):
        number = number << 8 | data[at + byte]
    return number
