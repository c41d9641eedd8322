"""What is in a file, as it says itself: its trees with their branches. Plain facts, for what reads and what shows them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BranchInfo:
    """A branch of a TTree, or a field of an RNTuple.

    Attributes:
        name: with those that it lies in, as uproot lists it: `Jet/Jet.PT`.
        type: in C++.
        title: what its writer says of it.
        counter: the branch that has the lengths of its lists, if the file names one.
        stored: bytes in the file, compressed.
        unpacked: bytes without compression.
    """

    name: str
    type: str
    title: str = ""
    counter: str = ""
    stored: int = 0
    unpacked: int = 0


@dataclass(frozen=True, slots=True)
class TreeInfo:
    """A TTree or an RNTuple.

    Attributes:
        name: with its folders.
        kind: its class.
        title: what its writer says of it.
        entries: how many.
        branches: all of them, in its order; none if it was not opened.
        why: why it could not be looked into.
    """

    name: str
    kind: str
    title: str = ""
    entries: int = 0
    branches: tuple[BranchInfo, ...] = ()
    why: str = ""

    @property
    def stored(self) -> int:
        """Bytes of all branches in the file, compressed."""
        return sum(branch.stored for branch in self.branches)

    @property
    def unpacked(self) -> int:
        """Bytes of all branches without compression."""
        return sum(branch.unpacked for branch in self.branches)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A ROOT file.

    Attributes:
        path: as others may see it.
        size: bytes.
        compression: as its writer had set it at the end; empty where there is none.
        trees: those that were looked into.
        others: how many other objects there are, by class.
        more: names of trees that were not looked into.
    """

    path: str
    size: int
    compression: str = ""
    trees: tuple[TreeInfo, ...] = ()
    others: dict[str, int] = field(default_factory=dict)
    more: tuple[str, ...] = ()
