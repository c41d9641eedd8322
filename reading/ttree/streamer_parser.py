"""What a TTree says of itself, read in one pass: its branches of plain numbers, and where their baskets are.

uproot makes a model of every object in a tree's description, which for the 2,656 branches of a NanoAOD file takes the better
part of a second, and longer for split objects. Nearly all trees are written in one way only, and of it all that matters is
read here in some hundredths. A tree of other versions is left to uproot: `parsed` then returns None. Of a branch that is
not plain only the name is told, and whether it has nothing to read of its own (`branch_kinds`).

The format is that of ROOT's streamers for TTree (versions 5, 10, and 16 to 20), TBranch (8, and 10 to 13), TBranchElement
(8 to 10) and the TLeaf classes, see https://root.cern/doc/master/classTBranch.html and `uproot.models`, which is the
reference in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .basket_layout import Embedded
from .branch_kinds import Described, FoundBranch, Leaf, described, structure
from .branches import by_name, parents_of
from .class_members import NOTHING, Members
from .streamed import COUNTED, WRONG, Streamed, UnusualError

_NUMBER = struct.Struct(">I")
_TREES = {
    5: struct.Struct(">ddddiiiiiii"),
    10: struct.Struct(">dddddiiiiiii"),
    16: struct.Struct(">qqqqdiiiqqqqq"),
    17: struct.Struct(">qqqqdiiiiqqqqq"),
    18: struct.Struct(">qqqqqdiiiiqqqqqq"),
    19: struct.Struct(">qqqqqdiiiiIqqqqqq"),
    20: struct.Struct(">qqqqqdiiiiIqqqqqq"),
}
"""What is in a tree of a version before its branches: ROOT 3 wrote 5 and 10, 5.00 to 5.18 wrote 16, 5.34 and 6 before 6.12
wrote 19. (Writers of others, as FreeHEP's, wrote 5 for longer.)"""
_CLUSTER_RANGES = 10
_WITH_ALIASES, _WITH_INDEX, _WITH_CLUSTERS, _WITH_FEATURES = 10, 16, 19, 20
"""The versions from which on a tree has aliases, an index of its own class, ranges of clusters, and features; of those
that are read here."""
_DEEPEST = 50
"""Branches in branches."""
_BITS = 12
"""Bytes from the beginning of a TNamed to the bits of its TObject."""
_RESHUFFLED = 1 << 19
_OLD_BRANCH = 8
_BRANCH = {_OLD_BRANCH: struct.Struct(">iiiii"), **dict.fromkeys((10, 11, 12, 13), struct.Struct(">iiiiq"))}
_BRANCH_AFTER = {
    _OLD_BRANCH: struct.Struct(">iIiddd"),
    10: struct.Struct(">iIiqqq"),
    **dict.fromkeys((11, 12, 13), struct.Struct(">iIiqqqq")),
}
"""By version. ROOT 3 wrote 8: it counts entries by floats, and has its baskets within 2 GB."""
_BRANCH_WITH_FIRST, _BRANCH_WITH_FEATURES = 11, 13
"""The versions from which on a branch says which is its first entry, and has features, between the two."""
_KEY, _BASKET = struct.Struct(">ihiIhh"), struct.Struct(">HiiiiB")
"""Of a basket: what its key begins with, and what it ends with."""
_WITH_OFFSETS, _WITHOUT_OFFSETS = 11, 12
"""What a basket with its bytes in it says of the offsets of its entries; others are left to uproot."""
_LEAF = struct.Struct(">iii??")
_ELEMENT = {**dict.fromkeys((8, 9), struct.Struct(">Iiiiii")), 10: struct.Struct(">Ihiiii")}
_LEAF_ELEMENT = struct.Struct(">ii")
_VERSIONS = {"TBranch": _BRANCH_AFTER, "TBranchElement": _ELEMENT, "TBranchObject": (1,)}
"""Of branches, by class."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is known of a tree.

    Attributes:
        entries: how many.
        branches: by name (`branches.by_name`), in the order of the file; None for one of which uproot has to be asked.
        has_aliases: the tree names expressions of its own.
        order: why its entries are not those of another tree by their numbers alone: "reshuffled", since they were written in
            any order, "indexed", since it has an index (`TTree::BuildIndex`) to be joined by; "" if nothing is said.
        parents: of the branches, as `branches.parents_of`.
        structure: as `branch_kinds.structure`, where uproot has to be asked of branches; "" where of none.
    """

    entries: int
    branches: dict[str, Described]
    has_aliases: bool
    order: str = ""
    parents: Sequence[int] = ()
    structure: str = ""


def order_of(bits: int, has_index: bool) -> str:
    """As `Tree.order`, of a tree with these bits.

    Example:
        >>> order_of(1 << 19, False), order_of(0, True), order_of(0, False)
        ('reshuffled', 'indexed', '')
    """
    return "indexed" if has_index else "reshuffled" if bits & _RESHUFFLED else ""


def parsed(data: bytes, offset: int, members: Members = NOTHING, is_within: bool = False) -> Tree | None:
    """Read the description of a tree.

    Args:
        data: the object of class TTree, decompressed.
        offset: the length of its key, from whose start references in it are counted.
        members: of the classes of the file.
        is_within: it is the TTree of an object of another class, which begins with it.

    Returns:
        None if it is not written in the usual way.
    """
    parser = _Parser(data, offset, members=members)
    try:
        if is_within:
            parser.begin()
        return parser.tree()
    except WRONG:
        return None


@dataclass(slots=True)
class _Parser(Streamed):
    members: Members = NOTHING
    leaves: dict[int, Leaf] = field(default_factory=dict)

    # --- a tree -------------------------------------------------------------------------------------------------------

    def tree(self) -> Tree:
        _, version = self.begin()
        if version not in _TREES:
            raise UnusualError
        (bits,) = _NUMBER.unpack_from(self.data, self.at + _BITS)
        for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
            self.skip()
        members = self.fields(_TREES[version])
        for _ in range(2 if version >= _WITH_CLUSTERS else 0):
            self.array(">i8", members[_CLUSTER_RANGES])
        if version >= _WITH_FEATURES:
            self.features()
        found = [self.branch() for _ in range(self.items())]
        self.skip()  # the leaves again, by reference
        aliases = self.number() if version >= _WITH_ALIASES else 0
        self.at += aliases & ~COUNTED if aliases & COUNTED else 0
        for width in (8, 4):  # values and entries of an index as ROOT 3 had them, which ROOT drops
            size = width * self.number()
            self.at += size
        order = order_of(bits, version >= _WITH_INDEX and self.number() != 0)
        entries = int(members[0])
        top = _Top(found)
        names = by_name(top)
        branches, parents = described(names, entries, self.members), parents_of(top, names)
        return Tree(
            entries, branches, aliases != 0, order, parents, structure(names) if None in branches.values() else ""
        )

    def features(self) -> None:
        """ROOT::TIOFeatures: bits in the last byte."""
        self.skip()
        if self.data[self.at - 1]:
            raise UnusualError

    def branch(self, depth: int = 0) -> FoundBranch:
        _, kind = self.object()
        stop, version = self.begin()
        if version not in _VERSIONS.get(kind, ()) or depth > _DEEPEST:
            raise UnusualError
        if kind == "TBranch":
            return self.simple_branch(stop, version, depth)
        base_stop, base_version = self.begin()
        if base_version not in _BRANCH_AFTER:
            raise UnusualError
        found = self.simple_branch(base_stop, base_version, depth)
        if kind == "TBranchObject":
            found.class_name, self.at = self.text(), stop
            return found
        found.class_name, found.parent_name, found.clones_name = self.text(), self.text(), self.text()
        checksum, class_version, member, found.kind, found.streamer_type, _ = self.fields(_ELEMENT[version])
        found.class_of = checksum, class_version, member
        found.is_element = True
        self.at = stop  # two branches of counts, which are those of the leaves
        return found

    def simple_branch(self, stop: int, version: int, depth: int) -> FoundBranch:
        """What is in every TBranch, which ends at `stop`."""
        name, title = self.named()
        self.skip()  # TAttFill
        _, _, _, write_basket, _ = self.fields(_BRANCH[version])
        if version >= _BRANCH_WITH_FEATURES:
            self.features()
        _, most, _, entries, first, *_ = self.fields(_BRANCH_AFTER[version])
        if version < _BRANCH_WITH_FIRST:
            first = 0
        inner = [self.branch(depth + 1) for _ in range(self.items())]
        leaves = [leaf for _ in range(self.items()) if (leaf := self.leaf()) is not None]
        embedded = self.embedded()
        places = ">i4" if version == _OLD_BRANCH else ">i8"
        sizes, edges, seeks = self.array(">i4", most), self.array(places, most), self.array(places, most)
        elsewhere = self.text()
        if self.at != stop:
            raise UnusualError
        ends = np.flatnonzero(seeks == 0)
        written = min(int(ends[0]) if len(ends) else most, write_basket if write_basket >= 0 else most)
        spans = list(zip(seeks[:written].tolist(), (seeks + sizes)[:written].tolist(), strict=True))
        usual = not elsewhere and first == 0 and written < most
        if embedded is None or embedded.keys() != set(range(written, written + len(embedded))):
            embedded, usual = {}, False
        edges = edges[: written + 1]
        if embedded:
            edges = np.concatenate([edges[:-1], edges[-1] + np.cumsum([0, *(it[0] for it in embedded.values())])])
        found = FoundBranch(name, title, int(entries), leaves, edges, spans, usual, inner)
        found.embedded = tuple(it[1] for it in embedded.values())
        for leaf in leaves:
            leaf.owner = found
        return found

    def embedded(self) -> dict[int, tuple[int, Embedded]] | None:
        """The baskets that were never written apart, by number, with how many entries they have; None if only uproot can
        read them."""
        at = self.at
        stop, _ = self.begin()
        self.at = at
        try:
            baskets = {number: basket for number in range(self.items()) if (basket := self.basket()) is not None}
            return baskets if self.at == stop else None
        except WRONG:
            return None
        finally:
            self.at = stop

    def basket(self) -> tuple[int, Embedded] | None:
        """A basket with its entries, if it has any."""
        number, kind = self.object()
        if not kind:
            if number:
                raise UnusualError
            return None
        begin = self.at
        *_, key, _ = self.fields(_KEY)
        self.at = begin + key - _BASKET.size
        _, _, _, entries, last, flag = self.fields(_BASKET)
        if kind != "TBasket" or flag not in (_WITH_OFFSETS, _WITHOUT_OFFSETS) or not key <= last:
            raise UnusualError
        offsets = None
        if flag == _WITH_OFFSETS:
            size = self.number()
            offsets = np.frombuffer(self.data, ">i4", size, self.at).astype(np.int64) - key
            self.at += 4 * size
        self.at += last
        if entries < 0 or (offsets is not None and len(offsets) != entries):
            raise UnusualError
        return (entries, (self.data[self.at - last + key : self.at], offsets)) if entries else None

    def leaf(self) -> Leaf | None:
        number, kind = self.object()
        if not kind:
            return self.leaves.get(number)
        stop, _ = self.begin()
        end, _ = self.begin()  # TLeaf itself
        name, title = self.named()
        length, _, _, _, unsigned = self.fields(_LEAF)
        leaf = self.leaves[number] = Leaf(kind, name, title, length, unsigned, None)
        leaf.count = self.leaf()
        if kind == "TLeafElement":
            self.at = end
            _, leaf.type = self.fields(_LEAF_ELEMENT)
        self.at = stop
        return leaf


@dataclass(frozen=True, slots=True)
class _Top:
    branches: list[FoundBranch]
