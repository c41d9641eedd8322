"""What a Parquet file says of itself, at its end: columns, row groups, and where these are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from uproot.source.chunk import Chunk
from uproot.source.futures import TrivialFuture

from ..lazy_property import lazy_property
from ..storage.local import Range
from .ranges_file import RangesFile

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
_ROOT = b"root"
_END = 8
"""Bytes behind the footer: its length, and the sign of the format."""
_TAIL = 64 << 10
"""Bytes of the end of a file that are read at once: most footers are shorter."""


class Footer:
    """The metadata of an open file.

    Args:
        source: the file's uproot source.
        arrow: pyarrow.

    Attributes:
        size: bytes of the file.
        identity: changes when the file is replaced by another one of the same name: a hash of its footer, and its size.
        file: the file as pyarrow has it open.
        bytes: those that it reads.
        schema: of Arrow.
        edges: the first entry of each row group, and the number of entries.

    Raises:
        ValueError: it is no Parquet file, or not a whole one.
    """

    def __init__(self, source: Any, arrow: Any) -> None:
        self.size = int(source.num_bytes)
        if self.size < len(MAGIC) + _END:
            raise ValueError("it is too short for a Parquet file")
        tail = _chunk(source, max(0, self.size - _TAIL), self.size)
        length = self._length(source, bytes(memoryview(tail.raw_data)[-_END:]))
        begin = self.size - _END - length
        if begin < tail.start:
            tail = _chunk(source, begin, self.size)
        footer = memoryview(tail.raw_data)[begin - tail.start :]
        self.identity = f"{hashlib.sha256(footer).hexdigest()[:32]}:{self.size}"
        self.bytes = RangesFile(source, self.size)
        self.bytes.have({(tail.start, self.size): tail})
        self.file = arrow.parquet.ParquetFile(
            self.bytes, pre_buffer=False, buffer_size=0, page_checksum_verification=True
        )
        self.schema = self.file.schema_arrow
        self._metadata = self.file.metadata
        names = self.schema.names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"it has several columns {twice!r}: which one is meant cannot be said")

    @property
    def entries(self) -> int:
        """Rows, in all row groups."""
        return int(self._metadata.num_rows)

    @lazy_property
    def edges(self) -> NDArray[np.int64]:
        """As said above."""
        sizes = [self._metadata.row_group(number).num_rows for number in range(self._metadata.num_row_groups)]
        edges = np.cumsum([0, *sizes], dtype=np.int64)
        if edges[-1] != self.entries:
            raise ValueError(f"its footer says {self.entries} rows, and its row groups have {edges[-1]}: it is damaged")
        return edges

    def path(self, leaf: int) -> str:
        """What a leaf is called, with all that it lies in."""
        return str(self._metadata.schema.column(leaf).path)

    def spans(self, groups: Iterable[int], leaves: Iterable[int]) -> list[Range]:
        """Where leaves are in row groups."""
        leaves = list(leaves)
        found = []
        for number in groups:
            group = self._metadata.row_group(number)
            found += [_span(group.column(leaf)) for leaf in leaves]
        for start, stop in found:
            if not 0 <= start <= stop <= self.size:
                raise ValueError(f"its footer says that a column is in the bytes [{start}, {stop}) of {self.size}")
        return found

    def stored(self, leaves: Iterable[int]) -> int:
        """Bytes of leaves in the file, compressed."""
        return sum(stop - start for start, stop in self.spans(range(len(self.edges) - 1), leaves))

    def unpacked(self, leaf: int) -> int:
        """Bytes of a leaf without compression."""
        groups = range(self._metadata.num_row_groups)
        return sum(int(self._metadata.row_group(number).column(leaf).total_uncompressed_size) for number in groups)

    @property
    def compression(self) -> str:
        """Of the first column; empty where there is none."""
        if not self._metadata.num_row_groups or not self._metadata.num_columns:
            return ""
        name = str(self._metadata.row_group(0).column(0).compression)
        return "" if name == "UNCOMPRESSED" else name

    @property
    def writer(self) -> str:
        """The program that has written it."""
        return str(self._metadata.created_by or "")

    def _length(self, source: Any, end: bytes) -> int:
        """Bytes of the footer, of what stands behind it."""
        if end.endswith(ENCRYPTED):
            raise ValueError("it is encrypted, which eventmill does not read")
        if not end.endswith(MAGIC):
            begin = bytes(memoryview(_chunk(source, 0, len(MAGIC)).raw_data))
            if begin == MAGIC:
                raise ValueError("it has no footer: it was not written, or not copied, to its end")
            raise ValueError("it is a ROOT file, and called otherwise" if begin == _ROOT else "it is no Parquet file")
        length = int.from_bytes(end[: -len(MAGIC)], "little")
        if length + _END + len(MAGIC) > self.size:
            raise ValueError(f"its footer is to have {length} bytes, and the file has {self.size}: it is damaged")
        return length


def _chunk(source: Any, start: int, stop: int) -> Chunk:
    """A range of a source, all of whose bytes have come."""
    data = bytes(memoryview(source.chunk(start, stop).raw_data))
    if len(data) < stop - start:
        raise ValueError(f"{len(data)} bytes came for bytes {start} to {stop}")
    return Chunk(source, start, stop, TrivialFuture(np.frombuffer(data, np.uint8)))


def _span(column: Any) -> Range:
    start = int(column.data_page_offset)
    if column.has_dictionary_page and 0 < (first := int(column.dictionary_page_offset or 0)) < start:
        start = first
    return start, start + int(column.total_compressed_size)
