"""Pieces: what a slot hands over of rows of one dataset, as bytes, and back.

A piece is a header of MessagePack, behind its length (8 bytes, little-endian), and the buffers of one awkward array, which
zstd has compressed together: any types, exactly, and quickly. Nobody but eventmill reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import zstandard

from ..merge.rows import HeldSpan, Piece, Span
from ..protocol.codec import Buffer
from ..protocol.errors import OutputError
from .checksums import checksum, checksum_text

if TYPE_CHECKING:
    import awkward as ak

_LENGTH = 8
_LEVEL = 1
"""Of zstd: pieces live for seconds or minutes, and may cross a network."""


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """What a piece begins with: awkward's form, rows, the sizes of the buffers by their keys, and where rows came from."""

    form: str
    rows: int
    buffers: dict[str, int]
    spans: list[Span]


def packed(held: Sequence[HeldSpan]) -> tuple[bytes, int, list[Span]]:
    """The bytes of a piece with these rows, their size in memory, and where they came from, in that order."""
    import awkward as ak

    held = sorted(held, key=lambda each: each.span.key)
    array = joined([each.array for each in held])
    spans = merged_spans([each.span for each in held])
    form, length, container = ak.to_buffers(ak.to_packed(array), backend="cpu")
    buffers = {key: np.ascontiguousarray(buffer).reshape(-1).view(np.uint8) for key, buffer in container.items()}
    sizes = {key: buffer.size for key, buffer in buffers.items()}
    header = msgspec.msgpack.encode(_Header(form.to_json(), length, sizes, spans))
    body = np.concatenate(list(buffers.values())) if buffers else np.empty(0, np.uint8)
    compressed = zstandard.ZstdCompressor(level=_LEVEL).compress(body.data)
    return b"".join([len(header).to_bytes(_LENGTH, "little"), header, compressed]), int(body.size), spans


def unpacked(data: Buffer) -> tuple[ak.Array, list[Span]]:
    """The rows of a piece, and where they came from."""
    import awkward as ak

    view = memoryview(data)
    start = _LENGTH + int.from_bytes(view[:_LENGTH], "little")
    header = msgspec.msgpack.decode(view[_LENGTH:start], type=_Header)
    size = sum(header.buffers.values())
    body = np.frombuffer(zstandard.ZstdDecompressor().decompress(view[start:], max_output_size=size), np.uint8)
    container, at = {}, 0
    for key, length in header.buffers.items():
        container[key] = body[at : at + length].copy()  # awkward needs them aligned
        at += length
    return ak.from_buffers(header.form, header.rows, container), header.spans


def joined(arrays: Sequence[ak.Array]) -> ak.Array:
    """Rows one after the other. Where there are none, their types say nothing."""
    import awkward as ak

    some = [array for array in arrays if len(array)] or list(arrays[:1])
    return some[0] if len(some) == 1 else ak.concatenate(some)


def merged_spans(spans: Sequence[Span]) -> list[Span]:
    """Spans in their order, those that follow each other as one.

    Example:
        >>> merged_spans([Span(0, "a", "t", 0, 5, 2), Span(0, "a", "t", 5, 9, 1)])
        [Span(place=0, path='a', tree='t', start=0, stop=9, rows=3)]
    """
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last is not None and (last.place, last.path, last.tree, last.stop) == (*span.key[:3], span.start):
            merged[-1] = msgspec.structs.replace(last, stop=span.stop, rows=last.rows + span.rows)
        else:
            merged.append(span)
    return merged


def checked(data: Buffer, piece: Piece, path: str) -> Buffer:
    """The bytes of a piece. Raises `OutputError` when they are not those that were written."""
    found = checksum_text(checksum(data))
    if found != piece.checksum:
        raise OutputError(f"{path} is damaged: its checksum is {found}, and {piece.checksum} was written")
    return data
