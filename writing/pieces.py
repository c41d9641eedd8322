"""Pieces: what a slot hands over of rows of one dataset, as bytes, and back.

A piece is a header of MessagePack, behind its length (8 bytes, little-endian), and the buffers of some awkward arrays, one
behind the other, which zstd has compressed together: any types, exactly, and quickly. To put the arrays together is left to
who joins pieces: it would copy all rows once more. Before the buffers come the baskets of rows that are in the piece as they
will be in a TTree (`baskets`). Nobody but eventmill reads pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
import zstandard

from ..analysis.writes import WriteSpec
from ..merge.rows import HeldSpan, Piece, Span
from ..protocol.codec import Buffer
from ..protocol.errors import OutputError
from .baskets import Basket, Baskets, BasketWriter, array_of
from .checksums import checksum, checksum_text

if TYPE_CHECKING:
    import awkward as ak

Content: TypeAlias = "ak.Array | Baskets"
"""Some rows of a piece."""

_LENGTH = 8
_LEVEL = 1
"""Of zstd: pieces live for seconds or minutes, and may cross a network."""


_SMALL = 2**20
"""Bytes of arrays that are put together: of thousands, each would take longer to be made again than to be read."""


class _Array(msgspec.Struct, frozen=True, array_like=True):
    """An array: which of the forms it has, its rows, and the sizes of its buffers in the order of keys, or its baskets."""

    form: int
    rows: int
    sizes: list[int]
    baskets: list[Basket] = []


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """What a piece begins with: awkward's forms, each with the keys of its buffers, the arrays, and where rows came from."""

    forms: list[tuple[str, list[str]]]
    arrays: list[_Array]
    spans: list[Span]


def packed(held: Sequence[HeldSpan], spec: WriteSpec) -> tuple[bytes, int, list[Span]]:
    """The bytes of a piece with these rows, their size in memory, and where they came from, in that order."""
    import awkward as ak

    held = sorted(held, key=lambda each: each.span.key)
    spans = merged_spans([each.span for each in held])
    forms: dict[tuple[str, tuple[str, ...]], int] = {}
    arrays, buffers, baskets = list[_Array](), list[Any](), list[bytes]()
    for rows in gathered(_contents(held, spec), _SMALL):
        if isinstance(rows, Baskets):
            arrays.append(_Array(forms.setdefault((rows.form, ()), len(forms)), rows.rows, [], rows.baskets))
            baskets.append(rows.data)
            continue
        form, length, container = ak.to_buffers(ak.to_packed(rows), backend="cpu")
        its = [np.ascontiguousarray(buffer).reshape(-1).view(np.uint8) for buffer in container.values()]
        number = forms.setdefault((form.to_json(), tuple(container)), len(forms))
        arrays.append(_Array(number, length, [buffer.size for buffer in its]))
        buffers += its
    header = msgspec.msgpack.encode(_Header([(form, list(keys)) for form, keys in forms], arrays, spans))
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=sum(buffer.size for buffer in buffers))
    body = [compressor.compress(buffer.data) for buffer in buffers]
    length = len(header).to_bytes(_LENGTH, "little")
    return b"".join([length, header, *baskets, *body, compressor.flush()]), sum(each.size for each in held), spans


def _contents(held: Sequence[HeldSpan], spec: WriteSpec) -> Iterator[tuple[Content, int]]:
    """The rows in their order, each with its bytes: as baskets those of a span that are enough for it, for they are cut
    there at most.
    """
    writers: dict[str, BasketWriter] = {}
    for run in _runs(held) if BasketWriter.is_for(spec) else [[each] for each in held]:
        array, size = joined([each.array for each in run]), sum(each.size for each in run)
        if BasketWriter.takes(spec, array):
            form = array.layout.form.to_json()
            writers[form] = writers.get(form) or BasketWriter(spec, array[:0])
            yield writers[form].write(array), size
        else:
            yield array, size


def _runs(held: Sequence[HeldSpan]) -> Iterator[list[HeldSpan]]:
    """What becomes one span each."""
    run: list[HeldSpan] = []
    for each in held:
        if run and len(merged_spans([run[-1].span, each.span])) > 1:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def unpacked(data: Buffer) -> tuple[list[Content], list[Span]]:
    """The rows of a piece, some after the others, and where they came from."""
    import awkward as ak

    view = memoryview(data)
    start = _LENGTH + int.from_bytes(view[:_LENGTH], "little")
    header = msgspec.msgpack.decode(view[_LENGTH:start], type=_Header)
    stored = sum(basket.stored for array in header.arrays for basket in array.baskets)
    size = sum(sum(array.sizes) for array in header.arrays)
    compressed = view[start + stored :]
    body = np.frombuffer(zstandard.ZstdDecompressor().decompress(compressed, max_output_size=size), np.uint8)
    contents: list[Content] = []
    at = 0
    for array in header.arrays:
        form, keys = header.forms[array.form]
        if array.baskets:
            stop = start + sum(basket.stored for basket in array.baskets)
            contents.append(Baskets(form, array.rows, array.baskets, bytes(view[start:stop])))
            start = stop
            continue
        container = {}
        for key, length in zip(keys, array.sizes, strict=True):
            container[key] = body[at : at + length].copy()  # awkward needs them aligned
            at += length
        contents.append(ak.from_buffers(form, array.rows, container))
    return contents, header.spans


def cut(contents: Sequence[Content], start: int, stop: int, spec: WriteSpec) -> list[Content]:
    """The rows `[start, stop)` of what lies one behind the other."""
    found: list[Content] = []
    at = 0
    for rows in contents:
        low, high = max(start - at, 0), min(stop - at, len(rows))
        if low < high:
            whole = high - low == len(rows)
            found.append(rows if whole else array_of(spec, rows)[low:high])
        at += len(rows)
    return found


def gathered(contents: Iterable[tuple[Content, int]], most: int) -> Iterator[Content]:
    """Rows in their order, each of which come with their bytes: arrays put together until they have `most`, and baskets."""
    some, size = list[Any](), 0
    for rows, its_size in contents:
        if isinstance(rows, Baskets):
            if some:
                yield joined(some)
                some, size = [], 0
            yield rows
            continue
        some.append(rows)
        size += its_size
        if size >= most:
            yield joined(some)
            some, size = [], 0
    if some:
        yield joined(some)


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
