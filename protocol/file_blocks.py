"""The files of a dataset as they travel: a list of them; of many files, a list of blocks.

A block is the MessagePack of a list of some files. Who gets a million of them takes one block after the other, and has time
for others in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .codec import Buffer
from .messages import File

A_BLOCK = 1000
"""Files of a block: to look at them takes a few milliseconds."""

_LIST_OF = b"\xdd"
"""MessagePack's `array 32`, which four bytes with its length follow."""
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[File])
_outer = msgspec.msgpack.Decoder(list[memoryview | File])


def encode_files(files: Sequence[File]) -> Buffer:
    """The files as they travel, each with its number as its `place`.

    Raises:
        msgspec.ValidationError: one of them is over the limits of the protocol; so do `UnicodeEncodeError` and
            `OverflowError` say.

    Example:
        >>> [len(block) for block in blocks_of(encode_files([File(f"{number}.root") for number in range(2500)]))]
        [1000, 1000, 500]
    """
    if len(files) <= A_BLOCK:
        return _encoded(files, 0)
    starts = range(0, len(files), A_BLOCK)
    together = bytearray(_LIST_OF + len(starts).to_bytes(4, "big"))
    for start in starts:  # one after the other, as of a million files all of them would be there twice
        _encoder.encode_into(_encoded(files[start : start + A_BLOCK], start), together, -1)
    return memoryview(together)


def _encoded(files: Iterable[File], first: int) -> bytes:
    numbered = [msgspec.structs.replace(file, place=place) for place, file in enumerate(files, first)]
    encoded = _encoder.encode(numbered)
    _decoder.decode(encoded)
    return encoded


def split(frame: Buffer) -> list[Buffer]:
    """The blocks that files travel in; files that are not in blocks are one.

    Raises:
        ValueError: the frame has neither, or both; `msgspec.MsgspecError` says so, too.
    """
    found = _outer.decode(frame)
    if not any(isinstance(it, memoryview) for it in found):
        return [frame] if found else []
    blocks: list[Buffer] = [it for it in found if isinstance(it, memoryview)]
    if len(blocks) < len(found):
        raise ValueError("files are either in blocks, or not")
    return blocks


def files_of(block: Buffer) -> list[File]:
    """The files of a block. Raises as `split`."""
    return _decoder.decode(block)


def blocks_of(frame: Buffer) -> Iterable[list[File]]:
    """The files of each block of a frame. Raises as `split`."""
    return map(files_of, split(frame))
