"""Blocks of ROOT 3 and 4 ("CS", raw deflate), for what is read through uproot, which refuses them.

Those of baskets that are plain are decompressed by `codecs`, as all others are; those of the tree itself, of the list of
classes, and of branches that uproot decodes come through uproot.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import uproot

from ..codecs import decompressed

_OLD = b"CS"


def with_old_blocks(uproots: Callable[..., Any]) -> Callable[..., Any]:
    """uproot's function that decompresses, which also takes what begins with an old block."""

    @functools.wraps(uproots)
    def decompress(
        chunk: Any, cursor: Any, context: Any, compressed_bytes: int, uncompressed_bytes: int, block_info: Any = None
    ) -> Any:
        raw = chunk.get(cursor.index, cursor.index + compressed_bytes, cursor, context)
        if bytes(raw[: len(_OLD)]) != _OLD:
            return uproots(chunk, cursor, context, compressed_bytes, uncompressed_bytes, block_info)
        cursor.skip(compressed_bytes)
        plain = decompressed(raw, uncompressed_bytes)
        return uproot.source.chunk.Chunk.wrap(chunk.source, np.frombuffer(plain, dtype=np.uint8))

    return decompress


uproot.compression.decompress = with_old_blocks(uproot.compression.decompress)
