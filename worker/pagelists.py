"""Where the pages of an RNTuple are: the page lists, read without making an object of every page.

A file of 1,600 columns has some 100,000 pages, of which an analysis reads a few hundred. The lists are *frames* within
frames, each with its size in front, so that those of other columns are stepped over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from .fields import Stored
from .local import Range

Bytes: TypeAlias = Any
"""An array of `uint8`; numpy's types do not say that it is a buffer."""

CHECKSUM = 8
"""Bytes of the checksum behind a page, and behind an envelope."""
_LIST = struct.Struct("<qI")
_SUMMARY = struct.Struct("<qQQ")
_OFFSET = struct.Struct("<q")
_ENVELOPE_HEAD = 16
_ENTRIES = (1 << 56) - 1
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
    """The page lists of an open RNTuple.

    Args:
        ntuple: uproot's.

    Attributes:
        edges: the first entries of the clusters, and the number of entries.

    Raises:
        ValueError: a page list is damaged.
        NotImplementedError: the clusters are stored in a way of a later version of RNTuple.
    """

    def __init__(self, ntuple: Any) -> None:
        self._frames: list[tuple[Bytes, int]] = []
        self._columns: dict[int, NDArray[np.int64]] = {}
        self._located: dict[tuple[int, int], Located | None] = {}
        self._originals: dict[tuple[Any, ...], int] = {}
        edges = [0]
        for group in ntuple.footer.cluster_group_records:
            envelope = _envelope(ntuple, group.page_list_link)
            for first, entries in self._clusters(envelope):
                if first != edges[-1]:
                    raise NotImplementedError(f"the cluster from entry {first} on does not follow entry {edges[-1]}")
                edges.append(first + entries)
        self.edges = np.array(edges, dtype=np.int64)

    def _clusters(self, envelope: Bytes) -> list[tuple[int, int]]:
        """First entry and number of entries of each cluster of an envelope, whose lists of columns are noted."""
        clusters = []
        for position in _items(envelope, _ENVELOPE_HEAD):
            _, first, entries = _SUMMARY.unpack_from(envelope, position)
            if entries >> 56 & _SHARDED:
                raise NotImplementedError("its clusters are sharded, which this version cannot read")
            clusters.append((first, entries & _ENTRIES))
        size, _ = _LIST.unpack_from(envelope, _ENVELOPE_HEAD)
        frames = _items(envelope, _ENVELOPE_HEAD + abs(size))
        if len(frames) != len(clusters):
            raise ValueError(f"a page list has {len(frames)} clusters where {len(clusters)} are announced")
        self._frames += [(envelope, int(position)) for position in frames]
        return clusters

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
            self._columns[cluster] = np.array(_items(envelope, frame), dtype=np.int64)
        columns = self._columns[cluster]
        if column >= len(columns):  # it was added later
            return np.empty(0, _PAGE)
        position = int(columns[column])
        _, number = _LIST.unpack_from(envelope, position)
        pages = np.frombuffer(envelope, _PAGE, number, position + _LIST.size)
        if (pages["size"] < 0).any():
            return None
        (element,) = _OFFSET.unpack_from(envelope, position + _LIST.size + pages.nbytes)
        return pages if element >= 0 else None


def _items(envelope: Bytes, position: int) -> list[int]:
    """Where the items of a list frame begin, each of which is a frame itself."""
    _, number = _LIST.unpack_from(envelope, position)
    position += _LIST.size
    positions = []
    for _ in range(number):
        positions.append(position)
        (size,) = _OFFSET.unpack_from(envelope, position)
        position += abs(size)
    return positions


def _envelope(ntuple: Any, link: Any) -> Bytes:
    """A page list envelope, decompressed, without its checksum."""
    chunk, cursor = ntuple.read_locator(link.locator, link.env_uncomp_size)
    start = cursor.index - chunk.start
    envelope = chunk.raw_data[start : start + link.env_uncomp_size]
    payload, checksum = envelope[:-CHECKSUM], envelope[-CHECKSUM:]
    if xxhash.xxh3_64_intdigest(payload) != int.from_bytes(checksum.tobytes(), "little"):
        raise ValueError("the checksum of a page list is wrong")
    return payload
