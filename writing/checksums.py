"""Checksums of what is written: Adler-32, as XRootD and Rucio have them."""

from __future__ import annotations

import zlib

from ..protocol.codec import Buffer


def checksum(data: Buffer, so_far: int = 1) -> int:
    """The Adler-32 of bytes, after others of which it is known."""
    return zlib.adler32(data, so_far)


def checksum_text(value: int) -> str:
    """As lists of files have it.

    Example:
        >>> checksum_text(checksum(b"rows"))
        'adler32:047a01cc'
    """
    return f"adler32:{value:08x}"
