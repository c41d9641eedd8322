"""Where the baskets of a TTree's branches are, and how that travels: who is told of it opens no metadata again.

A packed layout is one zstd frame. In it numbers are differences of neighbours, and those of all branches lie together,
first all their lowest bytes, then all second ones, and so on: most bytes are zero then, and a basket takes some 5 bytes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from ..storage.local import Range
from .packed_floats import Coding

Numbers = NDArray[np.int64]
Embedded = tuple[bytes, Numbers | None]
"""A basket's values and, where these are lists with a table, the first byte of each entry's."""

MOST_NESTED = 30
"""Lists in lists that are described."""
MOST_BYTES = 64 << 20
"""Of a packed layout once it is in memory: a million baskets take 16 MB."""
_STORED = frozenset(np.dtype(order + code).str for code in "?bBhHiIqQefd" for order in "<>")


@dataclass(frozen=True, eq=False)
class Branch:
    """Where the baskets of one branch of plain numbers are, and how their values are stored.

    Basket `i` holds the entries `[edges[i], edges[i + 1])` in the bytes `spans[i]` of the file; baskets beyond `spans`
    were never written apart and are `embedded` in the tree's own description.
    `shape` is that of one value (`(3,)` for `float x[3]`). Lists have either a `counter`, the branch with their
    lengths, or a `table` of offsets behind their values and a `header` of so many bytes before each entry's. Neither:
    one value an entry. Of lists of lists, `depth` deep, the outer ones have a table and a header. A `coding` says what is
    meant by the values of a `Float16_t` or `Double32_t`.
    """

    name: str
    stored: np.dtype[Any]
    shape: tuple[int, ...]
    counter: str
    table: bool
    header: int
    edges: Numbers
    spans: list[Range]
    embedded: tuple[Embedded, ...]
    depth: int = 1
    coding: Coding | None = None

    @functools.cached_property
    def native(self) -> np.dtype[Any]:
        """The type of the numbers in memory."""
        return self.stored.newbyteorder("=") if self.coding is None else self.coding.native

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """What is meant by what is in the file: numbers that may still have another order of bytes."""
        return stored if self.coding is None else self.coding.values(stored)

    @functools.cached_property
    def width(self) -> int:
        """Bytes of one value."""
        return self.stored.itemsize * math.prod(self.shape)

    @property
    def is_list(self) -> bool:
        """Whether an entry has any number of values."""
        return self.table or self.counter != ""

    @property
    def is_count(self) -> bool:
        """Whether it may have the lengths of lists."""
        return not self.is_list and not self.shape and self.native.kind in "iu"

    @property
    def is_bits(self) -> bool:
        """Whether it has the bits of objects, which have more bytes where these are referred to (`object_bits`)."""
        return self.name.rpartition(".")[2].rpartition("/")[2] == "fBits"

    def entries(self, i: int) -> int:
        """How many entries a basket has."""
        return int(self.edges[i + 1] - self.edges[i])

    def baskets(self, start: int, stop: int) -> range:
        """The baskets that hold the entries `[start, stop)`."""
        first = int(self.edges.searchsorted(start, "right")) - 1
        return range(first, max(first, int(self.edges.searchsorted(stop, "left"))))

    def basket(self, i: int) -> str:
        """What an error calls a basket.

        Example:
            >>> branch.basket(3)                                                                     # doctest: +SKIP
            'basket 3 of branch Muon_pt (entries [30000, 40000))'
        """
        return f"basket {i} of branch {self.name} (entries [{self.edges[i]}, {self.edges[i + 1]}))"


def plain_branch(name: str, tbranch: Any, counter: str) -> Branch | None:
    """Describe a branch of an open uproot tree, or None if its values are not plain numbers.

    Args:
        name: what it is to be called.
        tbranch: uproot's TBranch.
        counter: what its counter branch is called, "" for none.
    """
    kind = tbranch.interpretation
    is_list = type(kind) is AsJagged
    header = kind.header_bytes if is_list else 0
    kind = kind.content if is_list else kind
    if type(kind) is not AsDtype or kind.from_dtype.names is not None:
        return None
    stored, shape = kind.from_dtype.base, kind.from_dtype.shape
    if stored.newbyteorder("=") != kind.to_dtype.base or stored.str not in _STORED or 0 in shape:
        return None
    edges = basket_edges(tbranch)
    if edges is None or edges[0] != 0 or edges[-1] != tbranch.tree.num_entries or (edges[1:] < edges[:-1]).any():
        return None
    table = is_list and bool(header or not counter)
    embedded = tuple((bytes(basket.data), basket.byte_offsets) for basket in tbranch.embedded_baskets)
    if table and any(offsets is None for _, offsets in embedded):
        return None
    written = tbranch.num_baskets - len(embedded)
    seeks = tbranch.member("fBasketSeek")[:written].tolist()
    sizes = tbranch.member("fBasketBytes")[:written].tolist()
    return Branch(
        name=name,
        stored=stored,
        shape=shape,
        counter=counter if is_list and not header else "",
        table=table,
        header=header,
        edges=edges,
        spans=[(seek, seek + size) for seek, size in zip(seeks, sizes, strict=True)],
        embedded=tuple((data, offsets.astype(np.int64) if table else None) for data, offsets in embedded),
    )


def basket_edges(tbranch: Any) -> Numbers | None:
    """The first entry of each basket of an uproot branch, and the entry after the last; None if uproot cannot tell."""
    try:
        return np.array(tbranch.entry_offsets, dtype=np.int64)
    except (ValueError, AttributeError):  # baskets that are not there; objects of ROOT 3 and before
        return None


# --- travelling -------------------------------------------------------------------------------------------------------

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class _Embedded(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`offsets` is how many of the numbers are its table; -1 without one."""

    data: bytes
    offsets: Annotated[int, msgspec.Meta(ge=-1, le=2**31)]


class _Branch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`edges` tells which of the layout's edges are this one's."""

    name: str
    stored: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=1, le=2**31)], ...]
    counter: str
    table: bool
    header: _Size
    edges: _Size
    embedded: list[_Embedded]
    depth: Annotated[int, msgspec.Meta(ge=1, le=MOST_NESTED)] = 1
    coding: Coding | None = None


class _Layout(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`edges` is how many numbers each of the different edges have; many branches share theirs."""

    edges: list[_Size]
    branches: list[_Branch]
    numbers: bytes


def packed(branches: Mapping[str, Branch]) -> bytes:
    """Branches as bytes that can travel; with lists their counters must be among them, as `Baskets.plain` gives them.

    Args:
        branches: by the names they are to be read by; all of one tree.

    Raises:
        ValueError: they take more than `MOST_BYTES`.

    Example:
        >>> unpacked(packed(baskets.plain(["Muon_pt"]))).keys()                                      # doctest: +SKIP
        dict_keys(['nMuon', 'Muon_pt'])
    """
    edges: dict[bytes, Numbers] = {}
    for branch in branches.values():
        edges.setdefault(branch.edges.tobytes(), branch.edges)
    which = {content: number for number, content in enumerate(edges)}
    numbers = [np.diff(each) for each in edges.values()]
    told = []
    for name, branch in branches.items():
        spans = np.array(branch.spans, dtype=np.int64).reshape(-1, 2)
        numbers += [np.diff(spans[:, 0], prepend=0), spans[:, 1] - spans[:, 0]]
        numbers += [offsets for _, offsets in branch.embedded if offsets is not None]
        embedded = [_Embedded(data, -1 if offsets is None else len(offsets)) for data, offsets in branch.embedded]
        told.append(
            _Branch(
                name=name,
                stored="" if branch.coding is not None else branch.stored.str,
                shape=branch.shape,
                counter=branch.counter,
                table=branch.table,
                header=branch.header,
                edges=which[branch.edges.tobytes()],
                embedded=embedded,
                depth=branch.depth,
                coding=branch.coding,
            )
        )
    planes = np.concatenate([*numbers, np.empty(0, dtype=np.int64)]).astype("<i8").view(np.uint8).reshape(-1, 8).T
    data = msgspec.msgpack.encode(_Layout([len(each) for each in edges.values()], told, planes.tobytes()))
    if len(data) > MOST_BYTES:
        raise ValueError(f"the layout of {len(branches)} branches takes {len(data)} bytes, more than {MOST_BYTES}")
    return zstandard.ZstdCompressor().compress(data)


def unpacked(data: bytes | memoryview) -> dict[str, Branch]:
    """The branches that `packed` has made bytes of.

    Raises:
        ValueError: the bytes are no layout, or one that cannot be: they may have come from anywhere.
    """
    try:
        layout = msgspec.msgpack.decode(expanded(data), type=_Layout)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a packed layout: {error}") from error
    if len(layout.numbers) % 8:
        raise ValueError("a layout with part of a number")
    numbers = _Stream(np.frombuffer(layout.numbers, np.uint8).reshape(8, -1).T.copy().view("<i8").reshape(-1))
    edges = [_edges(numbers.next(count - 1)) for count in layout.edges]
    if len({int(each[-1]) for each in edges}) > 1:
        raise ValueError("a layout of branches that end at different entries")
    branches = {told.name: _branch(told, edges, numbers) for told in layout.branches}
    if len(branches) != len(layout.branches) or numbers.left:
        raise ValueError("a layout with a branch twice, or with numbers that are nobody's")
    for branch in branches.values():
        if branch.counter and not (branch.counter in branches and branches[branch.counter].is_count):
            raise ValueError(f"a layout that has no counter {branch.counter} for branch {branch.name}")
    return branches


def expanded(data: bytes | memoryview) -> bytes:
    """The content of a zstd frame of at most `MOST_BYTES`.

    Raises:
        ValueError: it has more, or is none.
    """
    try:
        if not 0 <= zstandard.frame_content_size(data) <= MOST_BYTES:
            raise ValueError("a layout of unknown size, or too large")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"not a packed layout: {error}") from error


class _Stream:
    """Numbers that are taken one part after the other."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    @property
    def left(self) -> int:
        """Numbers that nobody has taken."""
        return len(self._numbers)

    def next(self, count: int) -> Numbers:
        """The next numbers; `ValueError` if there are not so many."""
        if not 0 <= count <= self.left:
            raise ValueError(f"a layout that lacks numbers: {count} are needed where {self.left} are left")
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        return taken


def _edges(entries: Numbers) -> Numbers:
    """From the entries in each basket."""
    edges = np.zeros(len(entries) + 1, dtype=np.int64)
    np.cumsum(entries, out=edges[1:])
    if (entries < 0).any() or (edges < 0).any():
        raise ValueError("a layout with baskets of fewer entries than none")
    return edges


def _branch(told: _Branch, edges: list[Numbers], numbers: _Stream) -> Branch:
    if not _is_known(told) or told.edges >= len(edges):
        raise ValueError(f"a layout whose branch {told.name} has an unknown type {told.stored!r}, or no entries")
    if (told.header and not told.table) or (told.table and told.counter):
        raise ValueError(f"a layout whose branch {told.name} has lists of two kinds at once")
    written = len(edges[told.edges]) - 1 - len(told.embedded)
    starts = np.cumsum(numbers.next(written))
    stops = starts + numbers.next(written)
    if (starts < 0).any() or (stops <= starts).any():
        raise ValueError(f"a layout whose branch {told.name} has baskets before the file's first byte, or of none")
    embedded = [(each.data, numbers.next(each.offsets) if each.offsets >= 0 else None) for each in told.embedded]
    if told.depth > 1 and (not told.header or told.shape or embedded):
        raise ValueError(f"a layout whose branch {told.name} has lists of lists that nobody can read")
    if any((offsets is not None) != told.table for _, offsets in embedded):
        raise ValueError(f"a layout whose branch {told.name} has a basket without its table, or with one too many")
    return Branch(
        name=told.name,
        stored=np.dtype(told.stored) if told.coding is None else told.coding.stored,
        shape=told.shape,
        counter=told.counter,
        table=told.table,
        header=told.header,
        edges=edges[told.edges],
        spans=list(zip(starts.tolist(), stops.tolist(), strict=True)),
        embedded=tuple(embedded),
        depth=told.depth,
        coding=told.coding,
    )


def _is_known(told: _Branch) -> bool:
    """Whether the type of a branch's values is one that can be."""
    if told.coding is None:
        return told.stored in _STORED
    return told.stored == "" and told.coding.is_known and not told.header
