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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..codecs import MOST_BYTES, Bytes, decompress, decompressed
from ..columns import Column, Flat, Jagged, Strings
from ..storage.local import Range
from ..storage.sources import ReadAhead
from ..ttree.basket_decoding import IrregularError
from .envelopes import check_page
from .fields import Counts, Field, Lists, Numbers, Stored, Texts, Tree
from .ntuples import Ntuple
from .page_elements import shifter, unsplitter
from .pagelists import Located

Segment: TypeAlias = tuple[int, int, int]
"""A cluster and a range of elements in it, counted from its first."""

Segments: TypeAlias = tuple[Segment, ...]
"""What some consecutive entries have of a column, none of them empty: between the first cluster and the last, all of it."""

Part: TypeAlias = tuple[int, Located, range]
"""A cluster, the pages that a column has in it, and which of them."""

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
        ntuple: what it says of itself.

    Example:
        >>> [columns] = Pages(source, ntuple).read(["Muon_pt", "MET_pt"], [(0, 10_000)])  # doctest: +SKIP
        >>> columns["Muon_pt"].content.values, columns["MET_pt"].values                             # doctest: +SKIP
    """

    def __init__(self, source: Any, ntuple: Ntuple) -> None:
        self._source = source
        self._lists = ntuple.lists
        self._schema = ntuple.schema
        self._fields: dict[str, Field | None] = {}
        self._held: dict[int, _Held] = {}
        """By number of the column (the original one) what was read last, for a next read that starts within it."""
        self._ranges: Sequence[Range] = ()
        self._ends: dict[tuple[tuple[int, ...], Segments], tuple[NDArray[np.int64], Segments]] = {}
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

    def forget(self) -> None:
        """Drop what is kept for a next read."""
        self._ranges, self._held, self._ends = (), {}, {}

    def stride(self, names: Iterable[str]) -> int:
        """Entries in a page of some fields, on average; in a cluster, for those that only uproot can read.

        As it is in the cluster in the middle: page lists are long.
        """
        if len(self.edges) == 1:
            return 1
        cluster = len(self.edges) // 2 - 1
        fields = [self.branch(name) for name in names]
        located = [self._lists.located(field.tree.column, cluster) for field in fields if field is not None]
        pages = sum(1 if pages is None else len(pages.sizes) for pages in located) + fields.count(None)
        entries = int(self.edges[cluster + 1] - self.edges[cluster])
        return max(1, entries * len(fields) // max(1, pages))

    def weight(self, names: Iterable[str]) -> float:
        """Bytes in the file of an entry of some fields, as it is in the cluster in the middle; 0 if only uproot can tell."""
        low, high = self.edges[max(0, len(self.edges) // 2 - 1) :][:2].tolist()
        try:
            size = sum(stop - start for start, stop in self._missing(names, [(low, high)]))
        except IrregularError:
            return 0.0
        return float(size / max(1, high - low))

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
                for part in self._wanted(self._plain(name).tree, segments):
                    missing |= dict.fromkeys(self._spans(*part))
        return list(missing)

    def _spans(self, cluster: int, located: Located, pages: range) -> Iterator[Range]:
        """The bytes of those among some pages that are in the file, and not held."""
        held = self._held.get(located.original)
        known = held.pages if held is not None and held.cluster == cluster else range(0)
        return (located.span(page) for page in pages if page not in known and located.sizes[page])

    def _wanted(self, tree: Tree, segments: Segments) -> Iterator[Part]:
        """The pages of all columns of a field that some of its values need; in lists, as they are guessed to be."""
        column = tree.column
        known = self._ends.get(self._key(column, segments))
        content = tree.content if isinstance(tree, Lists) else tree.characters if isinstance(tree, Texts) else None
        inner = []
        for cluster, low, high in segments:
            located = self._located(column, cluster)
            if isinstance(tree, Numbers):
                yield cluster, located, located.pages(low * tree.width, high * tree.width)
            elif known is None:
                yield cluster, located, located.pages(max(0, low - 1), high)
            if content is not None:
                inside = self._located(content.column, cluster)
                begin, end = _guessed(low, high, located.elements, inside, content.width)
                inner += [(cluster, begin, end)] if begin < end else []
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
        key = self._key(column, segments)
        known = self._ends.get(key)
        if known is None:
            ends = self._elements(column, tuple((c, max(0, low - 1), high) for c, low, high in segments), raw)
            offsets = np.zeros(sum(high - low for _, low, high in segments) + 1, dtype=np.int64)
            shifted = shifter(column.native.itemsize)
            inner, rises, at, done = [], True, 0, 0
            for cluster, low, high in segments:
                begin = int(ends[at]) if low else 0
                at += low > 0
                part = ends[at : at + high - low]
                into = offsets[done + 1 : done + 1 + len(part)]
                rises &= shifted(part, int(offsets[done]) - begin, into) and 0 <= begin <= part[0]
                if begin < part[-1]:
                    inner.append((cluster, begin, int(part[-1])))
                at, done = at + len(part), done + len(part)
            if not rises:
                raise ValueError(f"field {column.field} has lists that end before they begin")
            known = self._ends[key] = offsets, tuple(inner)
        return known

    def _key(self, column: Stored, segments: Segments) -> tuple[tuple[int, ...], Segments]:
        """What tells the ends of lists from others: columns with the same pages have the same."""
        return tuple(self._located(column, cluster).original for cluster, _, _ in segments), segments

    def _elements(self, column: Stored, segments: Segments, raw: Raw) -> NDArray[Any]:
        """The elements of a column in some segments, one behind the other; the last pages are held for a next read."""
        wanted: list[Part] = []
        skip = size = 0
        for cluster, low, high in segments:
            located = self._located(column, cluster)
            if high > located.elements or (high < located.elements and cluster < segments[-1][0]):
                raise ValueError(
                    f"field {column.field} has {located.elements} elements in cluster {cluster}, and lists of {high}"
                )
            pages = located.pages(low, high)
            skip = skip if wanted else low - int(located.edges[pages.start])
            size += high - low
            wanted.append((cluster, located, pages))
        if not wanted:
            return np.empty(0, dtype=column.native)
        cluster, located, pages = wanted[-1]
        held = self._held.get(located.original)
        if len(wanted) == 1 and held is not None and held.has(cluster, pages):
            skip += int(located.edges[pages.start] - located.edges[held.pages.start])
            return held.values[skip : skip + size]
        return self._decoded(column, wanted, raw)[skip : skip + size]

    def _decoded(self, column: Stored, wanted: list[Part], raw: Raw) -> NDArray[Any]:
        """Whole pages, each decoded to where its elements stay."""
        spans = [span for part in wanted for span in self._spans(*part)]
        self._fetch([span for span in dict.fromkeys(spans) if span not in raw], raw)
        sizes = [int(located.edges[pages.stop] - located.edges[pages.start]) for _, located, pages in wanted]
        _check_largest(column, wanted)
        values = np.empty(sum(sizes), dtype=column.native)
        at = 0
        for (cluster, located, pages), size in zip(wanted, sizes, strict=True):
            held = self._held.get(located.original)
            edges = (located.edges[pages.start : pages.stop + 1] - located.edges[pages.start] + at).tolist()
            for page, start, stop in zip(pages, edges, edges[1:], strict=False):
                out = values[start:stop]
                if held is not None and held.cluster == cluster and page in held.pages:
                    first = int(located.edges[page] - located.edges[held.pages.start])
                    out[:] = held.values[first : first + len(out)]
                elif not located.sizes[page]:
                    out[:] = 0
                else:
                    _decode(column, cluster, page, located, raw[located.span(page)].raw_data, out)
            at += size
        last = values[at - sizes[-1] :]
        cluster, located, pages = wanted[-1]
        self._held[located.original] = _Held(cluster, pages, last if 2 * len(last) > at else last.copy())
        return values


def _check_largest(column: Stored, wanted: list[Part]) -> None:
    """Refuse pages that no writer makes before there is room for them: of zeros, they take no byte of the file."""
    for cluster, located, pages in wanted:
        size = int(np.diff(located.edges[pages.start : pages.stop + 1]).max()) * column.native.itemsize
        if size > MOST_BYTES:
            raise ValueError(
                f"a page of field {column.field} in cluster {cluster} is said to hold {size} bytes, and no writer makes any "
                f"of more than {MOST_BYTES}"
            )


def _decode(column: Stored, cluster: int, page: int, located: Located, raw: Bytes, out: NDArray[Any]) -> None:
    """Turn the bytes of a page into its elements."""
    content, coding, width = raw[: located.sizes[page]], column.coding, column.native.itemsize
    try:
        if located.checked[page]:
            check_page(raw)
        if not (coding.split or coding.bits):
            decompress(content, out.view(np.uint8))
            return
        coded = np.frombuffer(decompressed(content, column.page_size(len(out))), np.uint8)
    except ValueError as error:
        raise ValueError(f"page {page} of field {column.field} in cluster {cluster}: {error}") from error
    if coding.split:
        unsplitter(width)(coded, out.view(f"u{width}"), coding.zigzag, coding.delta)
    else:
        out.view(np.uint8)[:] = np.unpackbits(coded, count=len(out), bitorder="little")


def _guessed(low: int, high: int, lists: int, inside: Located, width: int) -> tuple[int, int]:
    """About which values the lists `[low, high)` of a cluster have, of `lists` with all there are of `inside`.

    A quarter of a page more on both sides: lists are not all of the same length.
    """
    values = inside.elements // width
    more = values // (4 * max(1, len(inside.sizes)))
    begin = max(0, low * values // lists - more) if low else 0
    return begin, min(values, high * values // lists + more) if high < lists else values
