"""Checksums of the rows of a journal: a disk that gives other bits than it was given is noticed, and whose they were.

SQLite looks at how its pages hang together, not at what stands in them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

Value = str | int | float | bytes | memoryview | None

_encode = msgspec.msgpack.Encoder().encode
_ODD = "surrogateescape"
_HALF = 32
_SIGNED = 1 << 63


def as_text(stored: bytes) -> str:
    """What SQLite has stored as a text, though it is none any more."""
    return stored.decode(errors=_ODD)


def row_sum(key: Sequence[Value], values: Sequence[Value] = ()) -> int:
    """Two checksums in one number that SQLite can hold: of the key, which says whose a row is, and of all of it.

    Example:
        >>> written = row_sum(["q1", 0], [b"ranges"])
        >>> is_whole(written, ["q1", 0], [b"ranges"]), is_whole(written, ["q1", 0], [b"rangez"])
        (True, False)
        >>> is_theirs(written, ["q1", 0]), is_theirs(written, ["q3", 0])
        (True, False)
    """
    own = _crc(key)
    return (own << _HALF | _crc(values, own)) - _SIGNED


def is_whole(written: object, key: Sequence[Value], values: Sequence[Value] = ()) -> bool:
    """Whether a row is what it was when its checksum was written."""
    return written == row_sum(key, values)


def is_theirs(written: object, key: Sequence[Value]) -> bool:
    """Whether the key of a row is; what else stands in it may be damaged."""
    return isinstance(written, int) and (written + _SIGNED) >> _HALF == _crc(key)


def _crc(values: Sequence[Value], crc: int = 0) -> int:
    for value in values:
        if isinstance(value, bytes | memoryview):
            crc = zlib.crc32(value, zlib.crc32(b"%d" % len(value), crc))
        elif isinstance(value, str):  # damaged ones are no text, and come as `as_text` has them
            crc = zlib.crc32(b"s" + value.encode(errors=_ODD), crc)
        else:
            crc = zlib.crc32(_encode(value), crc)
    return crc
