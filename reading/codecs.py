"""Compressed bytes of ROOT files: one block after the other, each with a header that names its codec.

TTree baskets and RNTuple pages have the same blocks. The libraries are those that were fastest when measured on baskets of
40 kB: `zstandard`, `deflate` (libdeflate: 1.8 times as fast as `cramjam` for zlib), `cramjam` for LZ4, and Python's own
`lzma`. All of them let other threads run meanwhile.
"""

from __future__ import annotations

import lzma
import struct
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import cramjam
import deflate
import numpy as np
import xxhash
import zstandard

Bytes: TypeAlias = Any
"""Anything with the buffer protocol; before Python 3.12 there is no type for it."""

MOST_LZMA_MEMORY = 256 << 20
"""The dictionary's size is in the data, and may be garbage; the largest that `xz` itself writes takes 64 MB."""
MOST_BYTES = 1 << 30
"""Of a basket, page or object: ROOT has none that are larger, and a few bytes may speak of many more."""
LARGEST_BLOCK = (1 << 24) - 1
_HEADER = struct.Struct("<2sBHBHB")
"""Codec, method, then twice 24 bits: compressed and plain size."""
_CHECKSUM = struct.Struct(">Q")
_UNKNOWN_SIZE = -1


class _Thread(threading.local):
    """What each thread has its own of: a decompressor works for one at a time, and takes time to make."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor()


_thread = _Thread()


def decompressed(raw: Bytes, size: int) -> Bytes:
    """The plain bytes of a basket, page or object that is stored as `raw`.

    Args:
        raw: a contiguous buffer of bytes, with the headers of the blocks. Of the same size as what it holds, it is not
            compressed, and is returned as it is.
        size: bytes that it holds.

    Raises:
        ValueError: it does not hold that; the text says what is wrong with which block. No more is allocated than the
            headers of blocks agree on with `size`, 16 MB for each.

    Example:
        >>> decompressed(b"not compressed", 14)
        b'not compressed'
    """
    if len(raw) == size:
        return raw
    blocks = _blocks(memoryview(raw), size)
    first = _plain(*blocks[0]) if blocks else b""  # before there is room for all: they may be garbage
    if len(blocks) < 2:
        return first
    out = np.empty(size, np.uint8)
    out[: len(first)] = np.frombuffer(first, np.uint8)
    _fill(blocks[1:], out[len(first) :])
    return out


def decompress(raw: Bytes, out: Bytes) -> None:
    """As `decompressed`, into a buffer of bytes that has the size of what `raw` holds: block by block, so that no more than
    one of them (of `LARGEST_BLOCK` bytes at most) is there twice."""
    if len(raw) == len(out):
        memoryview(out)[:] = raw
    else:
        _fill(_blocks(memoryview(raw), len(out)), out)


def sizes(raw: Bytes, size: int) -> list[tuple[bytes, int, int]]:
    """Of each block its codec, and its bytes, compressed and plain. Arguments and errors are those of `decompressed`."""
    blocks = [] if len(raw) == size else _blocks(memoryview(raw), size)
    return [(codec, len(content), plain) for content, _, codec, plain in blocks]


def _fill(blocks: list[tuple[memoryview, int, bytes, int]], out: Bytes) -> None:
    into, at = memoryview(out), 0
    for block in blocks:
        plain = _plain(*block)
        into[at : at + len(plain)] = plain
        at += len(plain)
        del plain


def _blocks(raw: memoryview, size: int) -> list[tuple[memoryview, int, bytes, int]]:
    """The contents of the blocks, where each begins, its codec and plain size.

    Raises:
        ValueError: the headers cannot be those of blocks that hold `size` bytes.
    """
    blocks = []
    at = filled = 0
    while filled < size:
        if len(raw) - at < _HEADER.size:
            raise ValueError(f"its compressed blocks hold {filled} bytes, not {size}")
        codec, _, low, high, plain_low, plain_high = _HEADER.unpack_from(raw, at)
        start, plain = at + _HEADER.size, plain_low | plain_high << 16
        stop = start + (low | high << 16)
        if codec not in _DECOMPRESS:
            raise ValueError(f"it has no header of a compressed block at byte {at}, but {bytes(raw[at : at + 9])!r}")
        if stop > len(raw) or filled + plain > size:
            raise ValueError(
                f"the header of its block at byte {at} speaks of {stop - start} bytes that hold {plain}, where "
                f"{len(raw) - start} are left that hold {size - filled}"
            )
        blocks.append((raw[start:stop], at, codec, plain))
        at, filled = stop, filled + plain
    if size > MOST_BYTES:
        raise ValueError(f"it is said to hold {size} bytes, and no writer makes any of more than {MOST_BYTES}")
    return blocks


def _plain(block: memoryview, at: int, codec: bytes, size: int) -> Bytes:
    name, decompress, errors = _DECOMPRESS[codec]
    try:
        plain = decompress(block, size)
    except errors as error:
        raise ValueError(f"its {name} block at byte {at} is damaged ({error})") from error
    if len(plain) != size:
        raise ValueError(f"its {name} block at byte {at} holds {len(plain)} bytes, not {size} as its header says")
    return plain


def _zstd(block: memoryview, size: int) -> Bytes:
    """What the frame says of its size decides how much the library allocates."""
    says = zstandard.frame_content_size(block)
    if says not in (size, _UNKNOWN_SIZE):
        raise ValueError(f"a frame of {says} bytes, not {size}")
    return _thread.zstd.decompress(block, max_output_size=size)


def _lz4(block: memoryview, size: int) -> Bytes:
    """A checksum of what follows stands before it."""
    if xxhash.xxh64_intdigest(block[_CHECKSUM.size :]) != _CHECKSUM.unpack_from(block)[0]:
        raise ValueError("wrong checksum")
    out: Bytes = np.empty(size, dtype=np.uint8)
    return out[: cramjam.lz4.decompress_block_into(block[_CHECKSUM.size :], out, output_len=size)]


def _lzma(block: memoryview, size: int) -> Bytes:
    """One byte more is asked for than there is, so that the checksum at the end is reached."""
    decompressor = lzma.LZMADecompressor(memlimit=MOST_LZMA_MEMORY)
    plain = decompressor.decompress(block, size + 1)
    if len(plain) <= size and not decompressor.eof:
        raise EOFError("it ends too early")
    return plain


_DECOMPRESS: dict[bytes, tuple[str, Callable[[memoryview, int], Bytes], tuple[type[Exception], ...]]] = {
    b"ZS": ("zstd", _zstd, (zstandard.ZstdError, ValueError)),
    b"CS": ("deflate", deflate.deflate_decompress, (deflate.DeflateError,)),  # of ROOT 3 and 4
    b"ZL": ("zlib", deflate.zlib_decompress, (deflate.DeflateError,)),
    b"L4": ("lz4", _lz4, (cramjam.DecompressionError, struct.error, ValueError)),
    b"XZ": ("lzma", _lzma, (lzma.LZMAError, EOFError)),
}
