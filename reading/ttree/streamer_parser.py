"""What a TTree says of itself, read in one pass: its branches of plain numbers, and where their baskets are.

uproot makes a model of every object in a tree's description, which for the 2,656 branches of a NanoAOD file takes the better
part of a second. Nearly all trees of numbers are written in one way only, and of that way all that matters is read here in
some hundredths. Anything else (split objects, branches in branches, other versions) is left to uproot: `parsed` then returns
None, and a branch that is not plain is only named.

The format is that of ROOT's streamers for TTree (version 20), TBranch (13) and the TLeaf classes, see
https://root.cern/doc/master/classTBranch.html and `uproot.models`, which is the reference in the tests.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .basket_layout import Branch

_COUNTED = 0x40000000
_NEW_CLASS = 0xFFFFFFFF
_CLASS = 0x80000000
_COUNTED_VERSION = 0x4000
_MAP_OFFSET = 2
_REFERENCED = 1 << 4
_NUMBER, _VERSION = struct.Struct(">I"), struct.Struct(">H")
_TREE = struct.Struct(">qqqqqdiiiiIqqqqqq")
_CLUSTER_RANGES = 10
_BITS = 12
"""Bytes from the beginning of a TNamed to the bits of its TObject."""
_RESHUFFLED = 1 << 19
_BRANCH = struct.Struct(">iiiiq")
_BRANCH_AFTER = struct.Struct(">iIiqqqq")
_LEAF = struct.Struct(">iii??")
_VERSIONS = {"TTree": 20, "TBranch": 13}
_TYPES = {
    "TLeafO": "??", "TLeafB": "bB", "TLeafS": "hH", "TLeafI": "iI", "TLeafL": "qQ", "TLeafG": "qQ", "TLeafF": "ff",
    "TLeafD": "dd",
}  # fmt: skip
"""The type of a leaf's values by its class, as signed and as unsigned."""
_DIMENSION = re.compile(r"\[([^\[\]]+)\]")


class UnusualError(Exception):
    """The tree is not written in the usual way."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is known of a tree.

    Attributes:
        entries: how many.
        branches: by name, in the order of the file; None for one that is not plain numbers, or not in a usual way.
        has_aliases: the tree names expressions of its own.
        order: why its entries are not those of another tree by their numbers alone: "reshuffled", since they were written in
            any order, "indexed", since it has an index (`TTree::BuildIndex`) to be joined by; "" if nothing is said.
    """

    entries: int
    branches: dict[str, Branch | None]
    has_aliases: bool
    order: str = ""


def order_of(bits: int, has_index: bool) -> str:
    """As `Tree.order`, of a tree with these bits.

    Example:
        >>> order_of(1 << 19, False), order_of(0, True), order_of(0, False)
        ('reshuffled', 'indexed', '')
    """
    return "indexed" if has_index else "reshuffled" if bits & _RESHUFFLED else ""


@dataclass(slots=True)
class _Leaf:
    kind: str
    title: str
    length: int
    unsigned: bool
    count: _Leaf | None
    owner: str = ""


@dataclass(slots=True)
class _Found:
    """A branch as it stands in the file."""

    name: str
    entries: int
    leaves: list[_Leaf]
    edges: NDArray[np.int64]
    spans: list[tuple[int, int]]
    usual: bool = True


def parsed(data: bytes, offset: int) -> Tree | None:
    """Read the description of a tree.

    Args:
        data: the object of class TTree, decompressed.
        offset: the length of its key, from whose start references in it are counted.

    Returns:
        None if it is not written in the usual way.
    """
    try:
        return _Parser(data, offset).tree()
    except (UnusualError, struct.error, IndexError, UnicodeDecodeError, ValueError):
        return None


@dataclass(slots=True)
class _Parser:
    data: bytes
    offset: int
    at: int = 0
    classes: dict[int, str] = field(default_factory=dict)
    leaves: dict[int, _Leaf] = field(default_factory=dict)

    # --- ROOT's ways --------------------------------------------------------------------------------------------------

    def number(self) -> int:
        (number,) = _NUMBER.unpack_from(self.data, self.at)
        self.at += 4
        return int(number)

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        self.at += layout.size
        return layout.unpack_from(self.data, self.at - layout.size)

    def text(self) -> str:
        size = self.data[self.at]
        self.at += 1
        if size == 255:
            size = self.number()
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def begin(self) -> tuple[int, int]:
        """The byte after an object whose bytes are counted, and its version."""
        count = self.number()
        if not count & _COUNTED:
            raise UnusualError
        stop = self.at + (count & ~_COUNTED)
        (version,) = _VERSION.unpack_from(self.data, self.at)
        self.at += 2
        return stop, int(version)

    def skip(self) -> None:
        self.at, _ = self.begin()

    def root_object(self) -> None:
        """What is in every TObject."""
        (version,) = _VERSION.unpack_from(self.data, self.at)
        if version & _COUNTED_VERSION:
            raise UnusualError
        self.at += 6
        if self.number() & _REFERENCED:
            self.at += 2

    def named(self) -> tuple[str, str]:
        """Name and title of a TNamed."""
        stop, _ = self.begin()
        self.root_object()
        name, title = self.text(), self.text()
        if self.at != stop:
            raise UnusualError
        return name, title

    def items(self) -> int:
        """How many objects are in a TObjArray; they follow."""
        self.begin()
        self.root_object()
        self.text()
        size = self.number()
        self.at += 4
        return size

    def object(self) -> tuple[int, str]:
        """An object with its class: the number that refers to it, and the class; "" if it only refers to another one."""
        begin = self.at
        count = self.number()
        if not count & _COUNTED or count == _NEW_CLASS:
            return count, ""
        tag_at = self.at
        tag = self.number()
        if tag == _NEW_CLASS:
            end = self.data.index(0, self.at)
            kind = self.data[self.at : end].decode()
            self.at = end + 1
            self.classes[tag_at + self.offset + _MAP_OFFSET] = kind
        elif tag & _CLASS and (tag & ~_CLASS) in self.classes:
            kind = self.classes[tag & ~_CLASS]
        else:
            raise UnusualError
        return begin + self.offset + _MAP_OFFSET, kind

    def array(self, dtype: str, size: int) -> NDArray[np.int64]:
        """Numbers behind a byte that tells whether there are any."""
        values = np.frombuffer(self.data, dtype, size, self.at + 1)
        self.at += 1 + values.nbytes
        return values.astype(np.int64)

    # --- a tree -------------------------------------------------------------------------------------------------------

    def tree(self) -> Tree:
        _, version = self.begin()
        if version != _VERSIONS["TTree"]:
            raise UnusualError
        (bits,) = _NUMBER.unpack_from(self.data, self.at + _BITS)
        for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
            self.skip()
        members = self.fields(_TREE)
        for _ in range(2):
            self.array(">i8", members[_CLUSTER_RANGES])
        self.features()
        found = [self.branch() for _ in range(self.items())]
        self.skip()  # the leaves again, by reference
        aliases = self.number()
        self.at += aliases & ~_COUNTED if aliases & _COUNTED else 0
        for width in (8, 4):  # values and entries of an index as ROOT 3 had them
            size = width * self.number()
            self.at += size
        order = order_of(bits, self.number() != 0)
        entries, first = int(members[0]), {branch.name: branch for branch in reversed(found)}
        for branch in found:
            if first[branch.name] is not branch:  # of two with one name the first counts, as in ROOT
                for leaf in branch.leaves:
                    leaf.owner = ""
        plain = {branch.name: _plain(first[branch.name], entries) for branch in found}
        return Tree(entries, {name: _counted(branch, plain) for name, branch in plain.items()}, aliases != 0, order)

    def features(self) -> None:
        """ROOT::TIOFeatures: bits in the last byte."""
        self.skip()
        if self.data[self.at - 1]:
            raise UnusualError

    def branch(self) -> _Found:
        _, kind = self.object()
        stop, version = self.begin()
        if kind != "TBranch" or version != _VERSIONS["TBranch"]:
            raise UnusualError
        name, _ = self.named()
        self.skip()  # TAttFill
        _, _, _, write_basket, _ = self.fields(_BRANCH)
        self.features()
        _, most, _, entries, first, _, _ = self.fields(_BRANCH_AFTER)
        if self.items():
            raise UnusualError
        leaves = [leaf for _ in range(self.items()) if (leaf := self.leaf()) is not None]
        for leaf in leaves:
            leaf.owner = name
        self.skip()  # baskets that are not written yet
        sizes, edges, seeks = self.array(">i4", most), self.array(">i8", most), self.array(">i8", most)
        elsewhere = self.text()
        if self.at != stop:
            raise UnusualError
        ends = np.flatnonzero(seeks == 0)
        written = min(int(ends[0]) if len(ends) else most, write_basket if write_basket >= 0 else most)
        spans = list(zip(seeks[:written].tolist(), (seeks + sizes)[:written].tolist(), strict=True))
        usual = not elsewhere and first == 0 and written < most
        return _Found(name, entries, leaves, edges[: written + 1], spans, usual)

    def leaf(self) -> _Leaf | None:
        number, kind = self.object()
        if not kind:
            return self.leaves.get(number)
        stop, _ = self.begin()
        self.begin()  # TLeaf itself
        _, title = self.named()
        length, _, _, _, unsigned = self.fields(_LEAF)
        leaf = self.leaves[number] = _Leaf(kind, title, length, unsigned, None)
        leaf.count = self.leaf()
        self.at = stop
        return leaf


def _plain(found: _Found, entries: int) -> Branch | None:
    """A branch of plain numbers, its counter still to be looked at."""
    edges = found.edges
    if not found.usual or len(found.leaves) != 1 or found.entries != entries or edges[0] != 0 or edges[-1] != entries:
        return None
    (leaf,) = found.leaves
    types = _TYPES.get(leaf.kind)
    dimensions = _DIMENSION.findall(leaf.title)
    counter = "" if leaf.count is None else leaf.count.owner
    if counter and dimensions[:1] == [counter]:
        dimensions = dimensions[1:]
    whole = [int(text) for text in dimensions if text.isdecimal() and int(text) > 0]
    sound = len(whole) == len(dimensions) and math.prod(whole) == leaf.length
    if types is None or not sound or (leaf.count is not None and not counter) or (np.diff(edges) < 0).any():
        return None
    native = np.dtype(types[leaf.unsigned])
    return Branch(
        name=found.name, stored=native.newbyteorder(">"), shape=tuple(whole), counter=counter,
        table=False, header=0, edges=edges, spans=found.spans, embedded=(),
    )  # fmt: skip


def _counted(branch: Branch | None, plain: dict[str, Branch | None]) -> Branch | None:
    """The branch, unless its counter is not one to rely on."""
    if branch is None or not branch.counter:
        return branch
    counter = plain.get(branch.counter)
    return branch if counter is not None and counter.is_count else None
