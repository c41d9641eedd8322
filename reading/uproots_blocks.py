"""Compressed blocks of what is read through uproot: the tree itself, the list of classes, and branches that uproot decodes.

They are decompressed by `codecs`, as those of plain baskets and pages are, and so within its bounds. uproot itself (5.7)
makes room for all that a key speaks of, lets a block hold more than its header says (a few kilobytes of zstd or lzma hold
gigabytes), and refuses blocks of ROOT 3 and 4 ("CS", raw deflate).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import uproot

from .codecs import decompressed, sizes

_UPROOTS = {b"CS": "CS", b"ZL": "ZLIB", b"XZ": "LZMA", b"L4": "LZ4", b"ZS": "ZSTD"}
"""What uproot calls the codecs."""


def bounded(uproots: Callable[..., Any]) -> Callable[..., Any]:
    """uproot's function that decompresses, within the bounds of `codecs`.

    Raises:
        ValueError: as `decompressed`.
    """

    @functools.wraps(uproots)
    def decompress(
        chunk: Any, cursor: Any, context: Any, compressed_bytes: int, uncompressed_bytes: int, block_info: Any = None
    ) -> Any:
        raw = chunk.get(cursor.index, cursor.index + compressed_bytes, cursor, context)
        cursor.skip(compressed_bytes)
        plain = decompressed(raw, uncompressed_bytes)
        if block_info is not None:
            block_info += [(_UPROOTS[codec], packed, size) for codec, packed, size in sizes(raw, uncompressed_bytes)]
        return uproot.source.chunk.Chunk.wrap(chunk.source, np.frombuffer(plain, dtype=np.uint8))

    return decompress


uproot.compression.decompress = bounded(uproot.compression.decompress)
