"""The layout of a file as one slot tells it to the others, through the master, so that they open no metadata.

Whoever gets one compares the file's size and time with those that it was made of: it may be another file by now.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..protocol.messages import LARGEST_LAYOUT
from .rntuple.ntuples import Ntuple
from .ttree.basket_layout import Branch, packed, unpacked
from .ttree.branch_kinds import Described, Group
from .ttree.branches import UNKNOWN
from .ttree.odd_forms import OddForms
from .ttree.streamer_parser import Tree

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Place = Annotated[int, msgspec.Meta(ge=UNKNOWN, le=2**31)]
Stamp = tuple[_Count, _Count]
"""Size and time of last change of a file."""


class SharedTree(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="tree"):
    """A TTree.

    Attributes:
        entries: how many it has.
        names: of all branches, in order.
        has_aliases: the tree names expressions of its own.
        order: as `Tree.order`.
        groups: the names of those that have nothing of their own to read.
        branches: those of plain numbers, as `basket_layout.packed` makes bytes of them.
        parents: as `Tree.parents`.
        structure: as `Tree.structure`.
        odd: what uproot says of the other branches, once it was asked.
    """

    entries: _Count
    names: list[str]
    has_aliases: bool
    order: str
    groups: list[str]
    branches: bytes
    parents: list[_Place]
    structure: str
    odd: OddForms | None = None

    @classmethod
    def of(cls, tree: Tree, odd: OddForms | None = None) -> SharedTree:
        """What there is to tell of a tree."""
        plain = {name: branch for name, branch in tree.branches.items() if isinstance(branch, Branch)}
        groups = [name for name, branch in tree.branches.items() if isinstance(branch, Group)]
        names, parents = list(tree.branches), list(tree.parents)
        return cls(
            tree.entries, names, tree.has_aliases, tree.order, groups, packed(plain), parents, tree.structure, odd
        )

    def description(self) -> Tree:
        """The tree, as it describes itself; `ValueError` if that cannot be."""
        plain = unpacked(self.branches)
        if not plain.keys() <= set(self.names) or any(branch.edges[-1] != self.entries for branch in plain.values()):
            raise ValueError("a layout whose branches are not those of its tree")
        if len(self.parents) != len(self.names) or any(place >= at for at, place in enumerate(self.parents)):
            raise ValueError("a layout whose branches are in none of its branches")
        if self.odd is not None and not self.odd.forms().keys() <= set(self.names):
            raise ValueError("a layout with forms of branches that its tree does not have")
        branches: dict[str, Described] = {name: plain.get(name) for name in self.names}
        branches |= {name: Group() for name in self.groups if branches.get(name, ...) is None}
        return Tree(self.entries, branches, self.has_aliases, self.order, self.parents, self.structure)


class SharedNtuple(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="ntuple"):
    """An RNTuple: its envelopes, as `Ntuple.packed` makes bytes of them."""

    envelopes: bytes

    @property
    def odd(self) -> None:
        """There are no branches of which uproot has to be asked before they are read."""
        return None

    def description(self) -> Ntuple:
        """The RNTuple, as it describes itself; `ValueError` if that cannot be."""
        return Ntuple.unpacked(self.envelopes)


class SharedLayout(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tree in a file, and which file that was.

    Attributes:
        tree: its name.
        identity: the file's, as `Reader.identity`.
        stamp: the file's size and time.
        told: what it says of itself.
    """

    tree: str
    identity: str
    stamp: Stamp
    told: SharedTree | SharedNtuple

    @classmethod
    def of(
        cls, name: str, described: Tree | Ntuple, identity: str, stamp: Stamp, odd: OddForms | None = None
    ) -> SharedLayout:
        """What there is to tell of a tree.

        Raises:
            ValueError: that would be too much.
        """
        told = SharedTree.of(described, odd) if isinstance(described, Tree) else SharedNtuple(described.packed())
        return cls(name, identity, stamp, told)

    @classmethod
    def unpacked(cls, data: bytes) -> SharedLayout:
        """What `packed` has made bytes of.

        Raises:
            ValueError: the bytes are none of those; they may have come from anywhere.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a layout: {error}") from error

    def packed(self) -> bytes:
        """As bytes that travel; none if they would be too many to be worth it."""
        data = msgspec.msgpack.encode(self)
        return data if len(data) <= LARGEST_LAYOUT else b""

    def description(self) -> Tree | Ntuple:
        """The tree, as it describes itself.

        Raises:
            ValueError: the layout is none.
        """
        return self.told.description()
