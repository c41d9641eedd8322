"""What an RNTuple says of itself: its header, footer and page lists, and how they travel.

uproot makes an object of every field and column, which for the 3,800 of a NanoAOD file takes the better part of a tenth of a
second; here it is some hundredths. What travels to other slots are the envelopes as they are in the file, decompressed, with
their checksums: who gets them reads no metadata, and makes the same of them.
"""

from __future__ import annotations

import queue
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import zstandard
from uproot.const import RNTupleColumnFlags as ColumnFlags
from uproot.const import RNTupleFieldFlags as FieldFlags

from ..codecs import decompressed
from ..storage.local import Range
from ..ttree.basket_layout import MOST_BYTES, expanded
from .envelopes import BEGIN, CHECKSUM, FOOTER, FRAME, HEADER, after, check, items
from .fields import ColumnRecord, FieldRecord, Schema
from .pagelists import PageLists

_FLAGS = struct.Struct("<Q")
_SIZE = struct.Struct("<I")
_FIELD = struct.Struct("<IIIHH")
_REPETITION = struct.Struct("<Q")
_SOURCE = struct.Struct("<I")
_COLUMN = struct.Struct("<HHIHH")
_FIRST = struct.Struct("<Q")
_GROUP = struct.Struct("<QQIQ")
_PLACE = struct.Struct("<iQ")
_LARGE_PLACE = struct.Struct("<iQQ")
_LARGE = 1
_EXTENSION = BEGIN + _FLAGS.size + CHECKSUM
"""Where in a footer the fields begin that were added late: the checksum of the header stands before them."""

Place = tuple[Range, int]
"""Where an envelope is in the file, and how many bytes it has when it is decompressed."""


class Ntuple:
    """An RNTuple, as it describes itself.

    Args:
        header, footer: its envelopes, decompressed.
        page_lists: those of its page lists, in order.

    Attributes:
        schema: its fields.
        lists: where their pages are.

    Raises:
        ValueError: it is damaged, or no such thing.
        NotImplementedError: it is of a later version of RNTuple.
    """

    def __init__(self, header: bytes, footer: bytes, page_lists: Sequence[bytes]) -> None:
        self._envelopes = [header, footer, *page_lists]
        try:
            check(header, HEADER)
            if footer[_EXTENSION - CHECKSUM : _EXTENSION] != header[-CHECKSUM:] or len(page_lists) != len(
                places(footer)
            ):
                raise ValueError("the footer is not that of the header and the page lists")
            begun = _records(header, _after_texts(header, _features(header), 3))
            added = _records(footer, _EXTENSION + FRAME.size)
            fields, columns = ([*early, *late] for early, late in zip(begun, added, strict=True))
            self.schema = Schema([_field(*at) for at in fields], [_column(*at) for at in columns])
            self.lists = PageLists(page_lists)
        except struct.error as error:
            raise ValueError(f"its description is cut off ({error})") from error

    @classmethod
    def read(cls, source: Any, anchor: Mapping[str, int]) -> Ntuple:
        """From an open file.

        Args:
            source: the file's.
            anchor: uproot's members of the RNTuple: where header and footer are.

        Raises what the source raises, and as `Ntuple`.
        """
        seek, stored, plain = (
            [anchor[f"f{what}{part}"] for part in ("Header", "Footer")] for what in ("Seek", "NBytes", "Len")
        )
        spans = [(start, start + size) for start, size in zip(seek, stored, strict=True)]
        header, footer = _envelopes(source, list(zip(spans, plain, strict=True)))
        try:
            return cls(header, footer, list(_envelopes(source, places(footer))))
        except struct.error as error:
            raise ValueError(f"its footer is cut off ({error})") from error

    @property
    def names(self) -> Mapping[str, int]:
        """The numbers of the top-level fields, by name, in the order of the file."""
        return self.schema.numbers

    @property
    def entries(self) -> int:
        """How many there are."""
        return int(self.lists.edges[-1])

    def packed(self) -> bytes:
        """As bytes that can travel.

        Raises:
            ValueError: it takes more than `MOST_BYTES`.
        """
        data = msgspec.msgpack.encode(self._envelopes)
        if len(data) > MOST_BYTES:
            raise ValueError(f"the description of the RNTuple takes {len(data)} bytes, more than {MOST_BYTES}")
        return zstandard.ZstdCompressor().compress(data)

    @classmethod
    def unpacked(cls, data: bytes) -> Ntuple:
        """What `packed` has made bytes of.

        Raises:
            ValueError: the bytes are none of those; they may have come from anywhere.
        """
        try:
            header, footer, *page_lists = msgspec.msgpack.decode(expanded(data), type=_Envelopes)
            return cls(header, footer, page_lists)
        except (msgspec.MsgspecError, NotImplementedError) as error:
            raise ValueError(f"not a packed RNTuple: {error}") from error


_Envelopes = Annotated[list[bytes], msgspec.Meta(min_length=2)]


def places(footer: bytes) -> list[Place]:
    """Where the page lists are.

    Raises:
        ValueError: the footer is none.
        struct.error: it ends before it should.
        NotImplementedError: they are in no usual place.
    """
    check(footer, FOOTER)
    _features(footer)
    found = []
    for at in items(footer, after(footer, _EXTENSION)):
        _, _, _, plain = _GROUP.unpack_from(footer, at + FRAME.size)
        at += FRAME.size + _GROUP.size
        size, start = _PLACE.unpack_from(footer, at)
        if size < 0:
            if -size >> 24 != _LARGE:
                raise NotImplementedError("its page lists are in a place of a later version of RNTuple")
            _, size, start = _LARGE_PLACE.unpack_from(footer, at)
        found.append(((start, start + size), plain))
    return found


def _envelopes(source: Any, wanted: Sequence[Place]) -> Iterator[bytes]:
    """Two of them may be in what has been read of the ends of a far file; more are asked for together."""
    spans = [span for span, _ in wanted]
    chunks = source.chunks(spans, queue.SimpleQueue()) if len(spans) > 2 else [source.chunk(*span) for span in spans]
    for chunk, (_, size) in zip(chunks, wanted, strict=True):
        yield bytes(decompressed(chunk.raw_data, size))


def _features(envelope: bytes) -> int:
    """Where the feature flags end."""
    if _FLAGS.unpack_from(envelope, BEGIN) != (0,):
        raise NotImplementedError("it has features of a later version of RNTuple")
    return BEGIN + _FLAGS.size


def _records(envelope: bytes, position: int) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Where the records of fields and columns are whose lists begin at a position."""
    fields, columns = items(envelope, position), items(envelope, after(envelope, position))
    return [(envelope, at + FRAME.size) for at in fields], [(envelope, at + FRAME.size) for at in columns]


def _field(envelope: bytes, at: int) -> FieldRecord:
    _, _, parent, role, flags = _FIELD.unpack_from(envelope, at)
    name, at = _text(envelope, at + _FIELD.size)
    type_name, at = _text(envelope, at)
    repetition, source = 0, None
    if flags & (FieldFlags.REPETITIVE | FieldFlags.PROJECTED):
        at = _after_texts(envelope, at, 2)
        if flags & FieldFlags.REPETITIVE:
            (repetition,) = _REPETITION.unpack_from(envelope, at)
            at += _REPETITION.size
        if flags & FieldFlags.PROJECTED:
            (source,) = _SOURCE.unpack_from(envelope, at)
    return FieldRecord(name, type_name, parent, role, flags, repetition, source)


def _column(envelope: bytes, at: int) -> ColumnRecord:
    kind, bits, field, flags, representation = _COLUMN.unpack_from(envelope, at)
    first = 0
    if flags & ColumnFlags.DEFERRED:
        (first,) = _FIRST.unpack_from(envelope, at + _COLUMN.size)
    return ColumnRecord(kind, bits, field, representation, first)


def _text(envelope: bytes, at: int) -> tuple[str, int]:
    """A text, and where it ends."""
    (size,) = _SIZE.unpack_from(envelope, at)
    at += _SIZE.size
    return envelope[at : at + size].decode(), at + size


def _after_texts(envelope: bytes, at: int, number: int) -> int:
    """Where some texts end."""
    for _ in range(number):
        at += _SIZE.size + _SIZE.unpack_from(envelope, at)[0]
    return at
