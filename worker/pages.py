"""The pages of an RNTuple: which bytes of the file hold which elements of a column, and how they become arrays.

An RNTuple is cut into *clusters* of consecutive entries, and in each of them every column is cut into *pages*, which are
compressed apart (see `fields` for what columns a field has, `pagelists` for where the pages are). For fields of numbers,
lists of them to any depth, and strings, nearly all, this module reads and decodes just the pages that hold the entries
that are asked for: one request for the pages of all columns, one decompression, and one pass that puts the numbers at
their final place. Anything else is left to uproot.

Which elements of a list's column belong to some entries is known only from the column of the lists' ends. To ask for
both together, the part of the cluster that they make up is guessed by proportion; what the guess has left out is asked
for when it is missed. Whole clusters need no guess.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import cramjam
import numpy as np
import xxhash
from numpy.typing import NDArray

from .baskets import IrregularError
from .columns import Column, Flat, Jagged, Strings
from .fields import Counts, Field, Lists, Numbers, Schema, Stored, Texts, Tree
from .pagelists import CHECKSUM, Bytes, Located, PageLists
from .sources import Range, ReadAhead
from .unsplit import unsplitter

_BLOCK = 9
"""Bytes of the header of a compressed block: algorithm (2), method (1), compressed size (3), size (3)."""
_DECOMPRESS: dict[bytes, Callable[[Any, Any], int]] = {
    b"ZS": cramjam.zstd.decompress_into,
    b"ZL": cramjam.zlib.decompress_into,
    b"XZ": cramjam.xz.decompress_into,
    b"L4": lambda block, out: _lz4(block, out),
}

Segment: TypeAlias = tuple[int, int, int]
"""A cluster and a range of elements in it, counted from its first."""

Segments: TypeAlias = tuple[Segment, ...]
"""What some consecutive entries have of a column: all of it in the clusters between the first and the last."""

Raw: TypeAlias = dict[Range, Any]
"""Chunks of the file by their range."""


@dataclass(frozen=True, slots=True)
class _Held:
    """Some pages of a column, decoded."""

    cluster: int
    pages: range
    values: NDArray[Any]

    def has(self, cluster: int, pages: range) -> bool:
        """Whether they are among these."""
        return cluster == self.cluster and self.pages.start <= pages.start and pages.stop <= self.pages.stop


class Pages:
    """Reads the plain fields of one open RNTuple.

    Args:
        source: the file's uproot source.
        ntuple: uproot's RNTuple.
        fields: uproot's top-level fields, by the names they are to be read by.

    Raises:
        ValueError: its description in the file is damaged.

    Example:
        >>> [columns] = Pages(source, ntuple, fields).read(["Muon_pt", "MET_pt"], [(0, 10_000)])  # doctest: +SKIP
        >>> columns["Muon_pt"].content.values, columns["MET_pt"].values                             # doctest: +SKIP
    """

    def __init__(self, source: Any, ntuple: Any, fields: Mapping[str, Any]) -> None:
        self._source = source
        self._lists = PageLists(ntuple)
        self._schema = Schema(ntuple, {name: field.field_id for name, field in fields.items()})
        self._fields: dict[str, Field | None] = {}
        self._scratch = np.empty(0, dtype=np.uint8)
        self._held: dict[int, _Held] = {}
        """By number of the column what was read last: a next read often starts within it, or is all within it."""
        self._ranges: Sequence[Range] = ()
        self._ends: dict[tuple[int, Segments], tuple[NDArray[np.int64], Segments]] = {}
        """Of the ranges at hand: all fields of a collection have the same offsets."""

    @property
    def edges(self) -> NDArray[np.int64]:
        """The first entry of each cluster, and the number of entries."""
        return self._lists.edges

    def branch(self, name: str) -> Field | None:
        """The field as this module reads it, or None if only uproot can; `name` must be a top-level field."""
        if name not in self._fields:
            self._fields[name] = self._schema.field(name)
        return self._fields[name]

    def leave(self, name: str) -> None:
        """Have `branch` say from now on that only uproot can read this one."""
        self._fields[name] = None

    def pages(self, name: str) -> int:
        """How many pages the values of a field have; how many clusters, if only uproot can read it."""
        field = self.branch(name)
        clusters = range(len(self.edges) - 1)
        if field is None:
            return len(clusters)
        column = field.tree.column
        located = [self._lists.located(column, cluster) for cluster in clusters]
        return sum(1 if pages is None else len(pages.sizes) for pages in located)

    def ahead(self, names: Iterable[str], ranges: Sequence[Range]) -> None:
        """Ask a remote file for the pages that `read` will need, and return at once."""
        if isinstance(self._source, ReadAhead):
            with suppress(IrregularError):  # `read` will say so
                self._source.ahead(self._missing(names, ranges))

    def read(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Columns of each of some ranges of entries `[start, stop)`, ascending; the names must be plain fields.

        All of them are asked for together; they are decompressed one range after the other.

        Raises:
            ValueError: a page is not what the RNTuple's description says.
            IrregularError: a field has to be left to uproot after all; see `leave`.
        """
        if ranges != self._ranges:
            self._ranges = ranges
            self._ends.clear()
        raw: Raw = {}
        self._fetch(self._missing(names, ranges), raw)
        for start, stop in ranges:
            segments = self._segments(start, stop)
            yield {name: self._column(self._plain(name).tree, segments, raw) for name in names}

    # --- from entries to pages ----------------------------------------------------------------------------------------

    def _plain(self, name: str) -> Field:
        field = self.branch(name)
        if field is None:
            raise TypeError(f"field {name} does not hold plain values")
        return field

    def _segments(self, start: int, stop: int) -> Segments:
        """The entries `[start, stop)` as parts of clusters."""
        if start == stop:
            return ()
        first = int(self.edges.searchsorted(start, "right")) - 1
        after = int(self.edges.searchsorted(stop, "left"))
        edges = self.edges[first : after + 1].tolist()
        return tuple(
            (cluster, max(start, low) - low, min(stop, high) - low)
            for cluster, low, high in zip(range(first, after), edges, edges[1:], strict=False)
            if low < high
        )

    def _located(self, column: Stored, cluster: int) -> Located:
        located = self._lists.located(column, cluster)
        if located is None:
            raise IrregularError(column.field)
        return located

    def _missing(self, names: Iterable[str], ranges: Sequence[Range]) -> list[Range]:
        """The bytes of the pages that some entries need, as far as can be told, and that are not held; each once."""
        missing: dict[Range, None] = {}
        for start, stop in ranges:
            segments = self._segments(start, stop)
            for name in names:
                for column, cluster, located, pages in self._wanted(self._plain(name).tree, segments):
                    missing |= dict.fromkeys(self._spans(column, cluster, located, pages))
        return list(missing)

    def _spans(self, column: Stored, cluster: int, located: Located, pages: range) -> Iterator[Range]:
        """The bytes of those among some pages that are in the file, and not held."""
        held = self._held.get(column.number)
        known = held.pages if held is not None and held.cluster == cluster else range(0)
        return (located.span(page) for page in pages if page not in known and located.sizes[page])

    def _wanted(self, tree: Tree, segments: Segments) -> Iterator[tuple[Stored, int, Located, range]]:
        """The pages of all columns of a field that some of its values need; in lists, as they are guessed to be."""
        column = tree.column
        known = self._ends.get((column.number, segments))
        content = tree.content if isinstance(tree, Lists) else tree.characters if isinstance(tree, Texts) else None
        inner = []
        for cluster, low, high in segments:
            located = self._located(column, cluster)
            if isinstance(tree, Numbers):
                yield column, cluster, located, located.pages(low * tree.width, high * tree.width)
            elif known is None:
                yield column, cluster, located, located.pages(max(0, low - 1), high)
            if content is not None:
                inside = self._located(content.column, cluster)
                inner.append((cluster, *_guessed(low, high, located.elements, inside, content.width)))
        if content is not None:
            yield from self._wanted(content, tuple(inner) if known is None else known[1])

    def _fetch(self, spans: list[Range], raw: Raw) -> None:
        if spans:
            raw.update(zip(spans, self._source.chunks(spans, queue.SimpleQueue()), strict=True))

    # --- from pages to columns ----------------------------------------------------------------------------------------

    def _column(self, tree: Tree, segments: Segments, raw: Raw) -> Column:
        """The values of a field in some segments, as one column."""
        if isinstance(tree, Numbers):
            scaled = tuple((cluster, low * tree.width, high * tree.width) for cluster, low, high in segments)
            return Flat(self._elements(tree.column, scaled, raw).reshape(-1, *tree.shape))
        offsets, inner = self._offsets(tree.column, segments, raw)
        if isinstance(tree, Counts):
            return Flat(np.diff(offsets).astype(tree.column.native, copy=False))
        if isinstance(tree, Texts):
            return Strings(offsets, self._elements(tree.characters.column, inner, raw))
        return Jagged(offsets, self._column(tree.content, inner, raw))

    def _offsets(self, column: Stored, segments: Segments, raw: Raw) -> tuple[NDArray[np.int64], Segments]:
        """Where the lists begin and end in their content, from 0 on, and which segments the content is.

        In the file there is the end of each list, counted from the cluster's first element.
        """
        key = column.number, segments
        if key not in self._ends:
            ends = self._elements(column, tuple((c, max(0, low - 1), high) for c, low, high in segments), raw)
            offsets = np.zeros(sum(high - low for _, low, high in segments) + 1, dtype=np.int64)
            inner = []
            at = done = 0
            for cluster, low, high in segments:
                begin = int(ends[at]) if low else 0
                part = ends[at + (low > 0) : at + (low > 0) + high - low]
                at += (low > 0) + high - low
                np.add(part, offsets[done] - begin, out=offsets[done + 1 : done + 1 + high - low])
                done += high - low
                inner.append((cluster, begin, int(ends[at - 1])))
            if (offsets[1:] < offsets[:-1]).any() or any(begin < 0 for _, begin, _ in inner):
                raise ValueError(f"field {column.field} has lists that end before they begin")
            self._ends[key] = offsets, tuple(inner)
        return self._ends[key]

    def _elements(self, column: Stored, segments: Segments, raw: Raw) -> NDArray[Any]:
        """The elements of a column in some segments, one behind the other; the last pages are held for a next read."""
        wanted: list[tuple[int, Located, range]] = []
        skip = size = 0
        for cluster, low, high in segments:
            located = self._located(column, cluster)
            if high > located.elements or (high < located.elements and cluster < segments[-1][0]):
                raise ValueError(
                    f"field {column.field} has {located.elements} elements in cluster {cluster}, and lists of {high}"
                )
            if low < high:
                pages = located.pages(low, high)
                skip = skip if wanted else low - int(located.edges[pages.start])
                size += high - low
                wanted.append((cluster, located, pages))
        if not wanted:
            return np.empty(0, dtype=column.native)
        held = self._held.get(column.number)
        cluster, located, pages = wanted[-1]
        if len(wanted) == 1 and held is not None and held.has(cluster, pages):
            skip += int(located.edges[pages.start] - located.edges[held.pages.start])
            return held.values[skip : skip + size]
        return self._decoded(column, wanted, raw)[skip : skip + size]

    def _decoded(self, column: Stored, wanted: list[tuple[int, Located, range]], raw: Raw) -> NDArray[Any]:
        """Whole pages, each decoded to where its elements stay."""
        spans = [span for cluster, located, pages in wanted for span in self._spans(column, cluster, located, pages)]
        self._fetch([span for span in dict.fromkeys(spans) if span not in raw], raw)
        sizes = [int(located.edges[pages.stop] - located.edges[pages.start]) for _, located, pages in wanted]
        values = np.empty(sum(sizes), dtype=column.native)
        held = self._held.get(column.number)
        at = 0
        for (cluster, located, pages), size in zip(wanted, sizes, strict=True):
            edges = (located.edges[pages.start : pages.stop + 1] - located.edges[pages.start] + at).tolist()
            for page, start, stop in zip(pages, edges, edges[1:], strict=False):
                out = values[start:stop]
                if held is not None and held.cluster == cluster and page in held.pages:
                    first = int(located.edges[page] - located.edges[held.pages.start])
                    out[:] = held.values[first : first + len(out)]
                elif not located.sizes[page]:
                    out[:] = 0
                else:
                    self._decode(column, cluster, page, located, raw[located.span(page)].raw_data, out)
            at += size
        last = values[at - sizes[-1] :]
        cluster, _, pages = wanted[-1]
        self._held[column.number] = _Held(cluster, pages, last if 2 * len(last) > at else last.copy())
        return values

    def _decode(self, column: Stored, cluster: int, page: int, located: Located, raw: Bytes, out: NDArray[Any]) -> None:
        """Turn the bytes of a page into its elements."""
        coding = column.coding
        is_plain = not (coding.split or coding.bits)
        size = column.page_size(len(out))
        if not is_plain and len(self._scratch) < size:
            self._scratch = np.empty(2 * size, dtype=np.uint8)
        content: Bytes = out.view(np.uint8) if is_plain else self._scratch[:size]
        try:
            if located.checked[page]:
                _check(raw)
            decompress(raw[: located.sizes[page]], content)
        except (ValueError, cramjam.DecompressionError) as error:
            raise ValueError(f"page {page} of field {column.field} in cluster {cluster}: {error}") from error
        if coding.split:
            width = column.native.itemsize
            unsplitter(width)(content, out.view(f"u{width}"), coding.zigzag, coding.delta)
        elif coding.bits:
            out.view(np.uint8)[:] = np.unpackbits(content, count=len(out), bitorder="little")


def _guessed(low: int, high: int, lists: int, inside: Located, width: int) -> tuple[int, int]:
    """About which values the lists `[low, high)` of a cluster have, of `lists` with all there are of `inside`.

    A quarter of a page more on both sides: lists are not all of the same length.
    """
    values = inside.elements // width
    if low == high:
        return 0, 0
    more = values // (4 * max(1, len(inside.sizes)))
    begin = max(0, low * values // lists - more) if low else 0
    return begin, min(values, high * values // lists + more) if high < lists else values


def _check(raw: Bytes) -> None:
    """Compare a page with the checksum behind it."""
    if xxhash.xxh3_64_intdigest(raw[:-CHECKSUM]) != int.from_bytes(raw[-CHECKSUM:].tobytes(), "little"):
        raise ValueError("the checksum is wrong")


def decompress(raw: Bytes, out: Bytes) -> None:
    """Decompress all blocks of a page, or copy it if it is as long as what it is to become.

    Raises:
        ValueError: that is not what comes out.
        cramjam.DecompressionError: a block is damaged.
    """
    if len(raw) == len(out):
        out[:] = raw
        return
    at = filled = 0
    while at < len(raw) and filled < len(out):
        head = raw[at : at + _BLOCK].tobytes()
        packed, size = int.from_bytes(head[3:6], "little"), int.from_bytes(head[6:9], "little")
        if head[:2] not in _DECOMPRESS:
            raise ValueError(f"it is compressed in an unknown way ({head[:2]!r})")
        block = raw[at + _BLOCK : at + _BLOCK + packed]
        if _DECOMPRESS[head[:2]](block, out[filled : filled + size]) != size:
            raise ValueError("a compressed block is shorter than its header says")
        at += _BLOCK + packed
        filled += size
    if filled != len(out):
        raise ValueError(f"it ends after {filled} of {len(out)} bytes")


def _lz4(block: Bytes, out: Bytes) -> int:
    """LZ4 blocks start with a checksum (8 bytes) of what follows."""
    if xxhash.xxh64_intdigest(block[8:]) != int.from_bytes(block[:8].tobytes(), "big"):
        raise ValueError("the checksum of an LZ4 block is wrong")
    return int(cramjam.lz4.decompress_block_into(block[8:], out, output_len=len(out)))
