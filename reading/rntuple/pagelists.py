"""Where the pages of an RNTuple are: the page lists, read without making an object of every page.

A file of 1,600 columns has some 100,000 pages, of which an analysis reads a few hundred. The lists are *frames* within
frames, each with its size in front, so that those of other columns are stepped over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage.local import Range
from .envelopes import BEGIN, CHECKSUM, LIST_FRAME, PAGE_LIST, after, check, items
from .fields import Stored

_SUMMARY = struct.Struct("<qQQ")
_OFFSET = struct.Struct("<q")
_CLUSTERS = BEGIN + CHECKSUM
"""Where the list of clusters begins: the checksum of the header stands before it."""
_ENTRIES = (1 << 56) - 1
_MOST_ENTRIES = 1 << 62
_SHARDED = 1
_PAGE = np.dtype([("elements", "<i4"), ("size", "<i4"), ("offset", "<u8")])


@dataclass(frozen=True, slots=True)
class Located:
    """The pages of a column in a cluster: page `i` holds the elements `[edges[i], edges[i + 1])`, counted from the
    cluster's first, in `sizes[i]` bytes from `offsets[i]` on. One of 0 bytes is not in the file, and all zero.
    """

    edges: NDArray[np.int64]
    offsets: list[int]
    sizes: list[int]
    checked: list[bool]
    """Whether a checksum follows the page."""
    original: int
    """Number of the first column with the very same pages: writers store what is the same once."""

    @property
    def elements(self) -> int:
        """Elements that the column has in the cluster."""
        return int(self.edges[-1])

    def pages(self, low: int, high: int) -> range:
        """The pages with the elements `[low, high)`, low < high."""
        first, stop = self.edges.searchsorted(low, "right") - 1, self.edges.searchsorted(high, "left")
        return range(int(first), min(int(stop), len(self.sizes)))

    def span(self, page: int) -> Range:
        """The bytes of a page, with its checksum."""
        start = self.offsets[page]
        return start, start + self.sizes[page] + CHECKSUM * self.checked[page]


class PageLists:
    """The page lists of an RNTuple.

    Args:
        envelopes: those of its cluster groups, decompressed, in order.

    Attributes:
        edges: the first entries of the clusters, and the number of entries.

    Raises:
        ValueError: a page list is damaged.
        struct.error: it ends before it should.
        NotImplementedError: the clusters are stored in a way of a later version of RNTuple.
    """

    def __init__(self, envelopes: Sequence[bytes]) -> None:
        self._frames: list[tuple[bytes, int]] = []
        self._columns: dict[int, NDArray[np.int64]] = {}
        self._located: dict[tuple[int, int], Located | None] = {}
        self._originals: dict[tuple[Any, ...], int] = {}
        edges = [0]
        for envelope in envelopes:
            check(envelope, PAGE_LIST)
            for first, entries in self._clusters(envelope):
                if first != edges[-1]:
                    raise NotImplementedError(f"the cluster from entry {first} on does not follow entry {edges[-1]}")
                edges.append(first + entries)
        if edges[-1] > _MOST_ENTRIES:
            raise ValueError(f"its clusters have {edges[-1]} entries")
        self.edges = np.array(edges, dtype=np.int64)

    def _clusters(self, envelope: bytes) -> list[tuple[int, int]]:
        """First entry and number of entries of each cluster of an envelope, whose lists of columns are noted."""
        clusters = []
        for position in items(envelope, _CLUSTERS):
            _, first, entries = _SUMMARY.unpack_from(envelope, position)
            if entries >> 56 & _SHARDED:
                raise NotImplementedError("its clusters are sharded, which this version cannot read")
            clusters.append((first, entries & _ENTRIES))
        frames = items(envelope, after(envelope, _CLUSTERS))
        if len(frames) != len(clusters):
            raise ValueError(f"a page list has {len(frames)} clusters where {len(clusters)} are announced")
        self._frames += [(envelope, position) for position in frames]
        return clusters

    def size(self, column: int) -> tuple[int, int]:
        """Bytes in the file of a column's pages, as they are compressed, and how many elements these have."""
        found = [self._pages(column, cluster) for cluster in range(len(self._frames))]
        pages = [each for each in found if each is not None]
        stored = sum(int(each["size"].sum(dtype=np.int64) + CHECKSUM * (each["elements"] < 0).sum()) for each in pages)
        return stored, sum(int(np.abs(each["elements"].astype(np.int64)).sum()) for each in pages)

    def located(self, column: Stored, cluster: int) -> Located | None:
        """The pages of a column in a cluster, or None if only uproot can find them.

        Raises:
            ValueError: they have more elements, or fewer, than the entries of the cluster.
        """
        key = column.number, cluster
        if key not in self._located:
            self._located[key] = self._locate(column, cluster)
        return self._located[key]

    def _locate(self, column: Stored, cluster: int) -> Located | None:
        pages = self._pages(column.number, cluster)
        if pages is None:
            return None
        edges = np.concatenate([np.zeros(1, dtype=np.int64), np.abs(pages["elements"].astype(np.int64)).cumsum()])
        original = self._originals.setdefault(
            (cluster, column.coding, column.width, column.first, pages.tobytes()), column.number
        )
        offsets, sizes, checked = (part.tolist() for part in (pages["offset"], pages["size"], pages["elements"] < 0))
        located = Located(edges, offsets, sizes, checked, original)
        if column.width is None:
            return located
        first, stop = (int(edge) * column.width for edge in self.edges[cluster : cluster + 2])
        before = min(max(column.first, first), stop) - first
        if before + located.elements != stop - first:
            raise ValueError(
                f"field {column.field} has {before + located.elements} elements in cluster {cluster}, not {stop - first}"
            )
        if not before:
            return located
        edges = np.concatenate([np.zeros(1, dtype=np.int64), edges + before])
        return Located(edges, [0, *offsets], [0, *sizes], [False, *checked], original)

    def _pages(self, column: int, cluster: int) -> NDArray[Any] | None:
        """The list of a column's pages; None if another column has its values in this cluster, or if a page has more
        than 2 GiB.
        """
        envelope, frame = self._frames[cluster]
        if cluster not in self._columns:
            self._columns[cluster] = np.array(items(envelope, frame), dtype=np.int64)
        columns = self._columns[cluster]
        if column >= len(columns):  # it was added later
            return np.empty(0, _PAGE)
        position = int(columns[column])
        _, number = LIST_FRAME.unpack_from(envelope, position)
        pages = np.frombuffer(envelope, _PAGE, number, position + LIST_FRAME.size)
        if (pages["size"] < 0).any():
            return None
        (element,) = _OFFSET.unpack_from(envelope, position + LIST_FRAME.size + pages.nbytes)
        return pages if element >= 0 else None
