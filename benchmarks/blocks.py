"""What reading cannot be faster than: the compressed blocks of some branches, and decompressing them.

Nothing here is eventmill's: the blocks are found through uproot, and each codec's library is the fastest that there is
for Python, called once a block. There is no order of bytes to turn, no list to make, and no file to read.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import deflate
import numpy as np
import uproot
import zstandard

HEADER = 9
"""Bytes: codec (2), method (1), compressed size (3), plain size (3)."""
LZ4_CHECKSUM = 8


@dataclass(frozen=True, slots=True)
class Block:
    """One block; `codec` is empty for one that is not compressed. `size` is that of its plain bytes."""

    codec: bytes
    raw: memoryview
    size: int


def blocks_of(path: str, tree: str, branches: Sequence[str]) -> list[Block]:
    """The blocks of branches of a TTree, with those of the counters of lists; none of an RNTuple."""
    content = memoryview(Path(path).read_bytes())
    with uproot.open(path) as file:
        ttree = file[tree]
        if not isinstance(ttree, uproot.TTree):
            return []
        counters = [ttree[name].count_branch for name in branches]
        names = dict.fromkeys([*branches, *(counter.name for counter in counters if counter is not None)])
        return [block for name in names for block in _blocks_of(ttree[name], content)]


def _blocks_of(branch: Any, content: memoryview) -> Iterator[Block]:
    seeks = branch.member("fBasketSeek")[: branch.num_baskets].tolist()
    for number, seek in enumerate(seeks):
        basket = branch.basket(number)
        key, size = basket.member("fKeylen"), basket.member("fObjlen")
        raw = content[seek + key : seek + basket.member("fNbytes")]
        if len(raw) == size:
            yield Block(b"", raw, size)
            continue
        while raw:
            packed, plain = (int.from_bytes(raw[at : at + 3], "little") for at in (3, 6))
            yield Block(bytes(raw[:2]), raw[HEADER : HEADER + packed], plain)
            raw = raw[HEADER + packed :]


def decompress_all(blocks: Sequence[Block]) -> None:
    """Decompress every block, and let go of it."""
    zstd = zstandard.ZstdDecompressor().decompress
    scratch = np.empty(max(block.size for block in blocks), dtype=np.uint8)
    codecs: dict[bytes, Callable[[memoryview, int], object]] = {
        b"ZS": lambda raw, size: zstd(raw, max_output_size=size),
        b"ZL": deflate.zlib_decompress,
        b"XZ": lambda raw, _: lzma.decompress(raw),
        b"L4": lambda raw, size: cramjam.lz4.decompress_block_into(raw[LZ4_CHECKSUM:], scratch, output_len=size),
    }
    for block in blocks:
        if block.codec:
            codecs[block.codec](block.raw, block.size)
