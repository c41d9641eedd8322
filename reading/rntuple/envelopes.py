"""What an RNTuple's description is written in: *envelopes*, and *frames* within frames in them.

An envelope has its kind and length in front and a checksum behind. A frame has its size in front, so that what is of no
interest, or of a later version, is stepped over; of a list, the size is negative and the number of its items follows.
See the RNTuple binary format specification, version 1.
"""

from __future__ import annotations

import struct

import xxhash

from ..codecs import Bytes

HEADER, FOOTER, PAGE_LIST = 1, 2, 3
"""Kinds of envelopes."""
CHECKSUM = 8
"""Bytes of the checksum behind an envelope, and behind a page."""
BEGIN = 8
"""Where the content of an envelope begins."""
LIST_FRAME = struct.Struct("<qI")
"""Size and number of items of a list."""
FRAME = struct.Struct("<q")
"""Size of a record."""
_KIND = struct.Struct("<H")
_NAMES = {HEADER: "header", FOOTER: "footer", PAGE_LIST: "page list"}


def check(envelope: bytes, kind: int) -> None:
    """Raise `ValueError` when an envelope is of another kind, or its checksum is wrong."""
    name = _NAMES[kind]
    if len(envelope) < BEGIN + CHECKSUM or _KIND.unpack_from(envelope) != (kind,):
        raise ValueError(f"there is no {name} where one should be")
    if xxhash.xxh3_64_intdigest(memoryview(envelope)[:-CHECKSUM]) != int.from_bytes(envelope[-CHECKSUM:], "little"):
        raise ValueError(f"the checksum of a {name} is wrong")


def items(envelope: bytes, position: int) -> list[int]:
    """Where the items of the list frame at a position begin, each of which is a frame itself.

    Raises:
        ValueError: these are no frames.
        struct.error: they go on behind the envelope's end.
    """
    _, number = LIST_FRAME.unpack_from(envelope, position)
    position += LIST_FRAME.size
    positions = []
    for _ in range(number):
        positions.append(position)
        position = after(envelope, position)
    return positions


def after(envelope: bytes, position: int) -> int:
    """Where the frame at a position ends. Raises as `items`."""
    (size,) = FRAME.unpack_from(envelope, position)
    if abs(size) < FRAME.size:
        raise ValueError("a frame that is shorter than what says so")
    return int(position + abs(size))


def check_page(raw: Bytes) -> None:
    """Raise `ValueError` when a page is not what the checksum behind it says."""
    if xxhash.xxh3_64_intdigest(raw[:-CHECKSUM]) != int.from_bytes(raw[-CHECKSUM:].tobytes(), "little"):
        raise ValueError("the checksum is wrong")
