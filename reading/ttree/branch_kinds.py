"""What the values of a branch are, by what a tree's description says of it.

Only what is sure by the description alone is decided here, and as uproot decides it: numbers by the type of their leaf, and
vectors of numbers by the name of their class. Of anything else uproot is to be asked.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..groups import without_size
from .basket_layout import MOST_NESTED, Branch, Embedded
from .branches import CLONES
from .class_members import Members
from .packed_floats import Coding, coding

_TYPES = {
    "TLeafO": "??", "TLeafB": "bB", "TLeafS": "hH", "TLeafI": "iI", "TLeafL": "qQ", "TLeafG": "qQ", "TLeafF": "ff",
    "TLeafD": "dd",
}  # fmt: skip
"""The type of a leaf's values by its class, as signed and as unsigned."""
MEMBERS = {
    1: "b", 2: "h", 3: "i", 4: "q", 5: "f", 6: "I", 8: "d", 11: "B", 12: "H", 13: "I", 14: "Q", 15: "I", 16: "q", 17: "Q",
    18: "?",
}  # fmt: skip
"""Of the values of a class's member by the number of its type (`TVirtualStreamerInfo::EReadWrite`)."""
_FLOATS = {9: False, 19: True}
"""Of `Double32_t` and `Float16_t`: whether it is the latter."""
_FLOAT_LEAVES = {"TLeafD32": False, "TLeafF16": True}
_ARRAY = 20
"""What is added to that number for arrays of a fixed size."""
_ELEMENTS = {
    "bool": "?", "char": "b", "unsigned char": "B", "short": "h", "unsigned short": "H", "int": "i", "unsigned int": "I",
    "long": "q", "unsigned long": "Q", "Long64_t": "q", "ULong64_t": "Q", "float": "f", "double": "d",
}  # fmt: skip
"""Of the values of a vector by the name of its class."""
_VECTOR = re.compile(r"vector<(.*)>")
_VECTOR_HEADER = 10
"""Bytes before the values of a vector that is an entry: their number, the version of the class, how many values."""
_DIMENSION = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Group:
    """A branch with nothing to read but its subbranches."""


Described: TypeAlias = Branch | Group | None
"""A branch of plain numbers; one that has nothing of its own; None for one of which uproot has to be asked."""


@dataclass(slots=True, eq=False)
class Leaf:
    """A leaf as it stands in the file; `type` is that of a class's member, -1 for other leaves."""

    kind: str
    name: str
    title: str
    length: int
    unsigned: bool
    count: Leaf | None
    owner: FoundBranch | None = None
    type: int = -1


@dataclass(slots=True, eq=False)
class FoundBranch:
    """A branch as it stands in the file.

    Attributes:
        edges: the first entry of each basket, and the entry after the last.
        spans: where the baskets are that are written apart.
        embedded: those after them, which are in the tree's description.
        usual: its baskets are in this file, from its first entry on.
        class_of: version and checksum of the class that an element is of, and which member it is.
        kind: of an element of a class, `TBranchElement::fType`.
    """

    name: str
    title: str
    entries: int
    leaves: list[Leaf]
    edges: NDArray[np.int64]
    spans: list[tuple[int, int]]
    usual: bool = True
    branches: list[FoundBranch] = field(default_factory=list)
    is_element: bool = False
    class_name: str = ""
    parent_name: str = ""
    clones_name: str = ""
    class_of: tuple[int, ...] = ()
    kind: int = 0
    streamer_type: int = 0
    embedded: tuple[Embedded, ...] = ()


@dataclass(frozen=True, slots=True)
class _Values:
    """The type of a branch's values, and how lists of them are stored."""

    type: np.dtype[Any]
    shape: tuple[int, ...] = ()
    is_list: bool = False
    header: int = 0
    depth: int = 1
    coding: Coding | None = None


def described(found: Mapping[str, FoundBranch], entries: int, members: Members) -> dict[str, Described]:
    """What is known of branches.

    Args:
        found: all of a tree, by the names they are to be read by.
        entries: of the tree.
        members: of the classes of the file.
    """
    kinds = {name: _values(branch, members) for name, branch in found.items()}
    plain = {name: _plain(name, found, kind, entries) for name, kind in kinds.items()}
    return {name: _counted(branch, plain) for name, branch in plain.items()}


def structure(found: Mapping[str, FoundBranch]) -> str:
    """A short name for all that is said of some branches but for their entries: equal where uproot has the same to say of
    them, if the classes of the two files are the same, too.

    Example:
        >>> structure({}) == structure({})
        True
    """
    digest = hashlib.sha256()
    for name, branch in found.items():
        leaves = [(it.kind, it.name, it.title, it.length, it.unsigned, it.type, _counter(it)) for it in branch.leaves]
        classes = branch.class_name, branch.parent_name, branch.clones_name, branch.class_of
        below = [it.name for it in branch.branches]
        told = name, branch.title, branch.is_element, classes, branch.kind, branch.streamer_type, below, leaves
        digest.update(repr(told).encode())
    return digest.hexdigest()


def _counter(leaf: Leaf) -> str:
    return "" if leaf.count is None or leaf.count.owner is None else leaf.count.owner.name


def _values(found: FoundBranch, members: Members) -> _Values | Group | None:
    if found.branches and not found.is_element:
        return None
    if found.branches:
        if found.kind == CLONES or found.class_name == "TClonesArray":
            return _Values(_stored("i")) if found.class_name == "TClonesArray" and not found.parent_name else None
        return Group()
    if len(found.leaves) != 1:
        return None
    (leaf,) = found.leaves
    if leaf.kind in _FLOAT_LEAVES and not found.is_element:
        return _floats(leaf.title, _FLOAT_LEAVES[leaf.kind], leaf)
    if leaf.kind != "TLeafElement":
        types = _TYPES.get(leaf.kind)
        return None if types is None or found.is_element else _shaped(_stored(types[leaf.unsigned]), leaf)
    number = leaf.type - _ARRAY if _ARRAY < leaf.type < 2 * _ARRAY else leaf.type
    if number in _FLOATS:
        title = _title(found, leaf, members)
        return None if title is None else _floats(title, _FLOATS[number], leaf)
    if number in MEMBERS:
        return _shaped(_stored(MEMBERS[number]), leaf)
    element, depth = _element(found.class_name)
    if not depth or found.parent_name or leaf.count is not None or leaf.type != -1 or found.streamer_type != -1:
        return None
    return _Values(_stored(_ELEMENTS[element]), is_list=True, header=_VECTOR_HEADER, depth=depth)


def _stored(type_: str) -> np.dtype[Any]:
    return np.dtype(type_).newbyteorder(">")


def _floats(title: str, is_half: bool, leaf: Leaf) -> _Values | None:
    """Numbers of few bits: how many says what follows their name."""
    how = coding(title, is_half)
    found = _shaped(how.stored, leaf) if how.is_known else None
    return None if found is None else replace(found, coding=how)


def _title(found: FoundBranch, leaf: Leaf, members: Members) -> str | None:
    """The title of the member that a branch has the values of, as the file describes its class; None if that is not sure."""
    if not found.class_of:
        return None
    checksum, _, number = found.class_of
    member = members.of(found.class_name, checksum, number)
    name = without_size(found.name).rpartition(".")[2]
    return member.title if member is not None and (member.name, member.type) == (name, leaf.type) else None


def _element(name: str) -> tuple[str, int]:
    """What a vector has numbers of, and how many vectors it is within; none for other classes."""
    depth = 0
    while (vector := _VECTOR.fullmatch(name)) is not None and depth < MOST_NESTED:
        name, depth = vector[1].strip(), depth + 1
    return name, depth if name in _ELEMENTS else 0


def _shaped(type_: np.dtype[Any], leaf: Leaf) -> _Values | None:
    """Numbers, or arrays of a fixed size; lists where there is a counter, which the title may name."""
    dimensions = [text for text in _DIMENSION.findall(leaf.title.partition("/")[0]) if "," not in text]  # no ranges
    owner = None if leaf.count is None else leaf.count.owner
    if leaf.kind != "TLeafElement" and owner is not None and dimensions[1:] and dimensions[0] != owner.name:
        return None
    names = [text for text in dimensions if not text.isdecimal()]
    shape = tuple(int(text) for text in dimensions if text.isdecimal() and int(text) > 0)
    is_list = leaf.count is not None
    if leaf.kind == "TLeafElement" and not shape and leaf.length > 1:  # its title has the counter alone
        shape, dimensions = (leaf.length,), [*dimensions, str(leaf.length)]
    if len(names) > is_list or len(shape) + len(names) != len(dimensions) or math.prod(shape) != leaf.length:
        return None
    return _Values(type_, shape, is_list)


def _plain(name: str, all_found: Mapping[str, FoundBranch], kind: _Values | Group | None, entries: int) -> Described:
    """A branch of plain numbers, its counter still to be looked at."""
    if not isinstance(kind, _Values):
        return kind
    found = all_found[name]
    edges = found.edges
    if not found.usual or found.entries != entries or len(edges) == 0 or edges[0] != 0 or edges[-1] != entries:
        return None
    if (np.diff(edges) < 0).any():
        return None
    counter, is_table = "", kind.header > 0
    if kind.is_list and not is_table:
        count = found.leaves[0].count
        owner = None if count is None else count.owner
        if owner is None or all_found.get(owner.name) is not owner:
            return None
        is_table = bool(owner.branches) and owner.kind != CLONES
        counter = "" if is_table else owner.name
    if found.embedded and (kind.depth > 1 or (is_table and any(offsets is None for _, offsets in found.embedded))):
        return None
    embedded = tuple((data, offsets if is_table else None) for data, offsets in found.embedded)
    return Branch(
        name=name, stored=kind.type, shape=kind.shape, counter=counter, table=is_table, header=kind.header, edges=edges,
        spans=found.spans, embedded=embedded, depth=kind.depth, coding=kind.coding,
    )  # fmt: skip


def _counted(branch: Described, plain: Mapping[str, Described]) -> Described:
    """The branch, unless its counter is not one to rely on."""
    if not isinstance(branch, Branch) or not branch.counter:
        return branch
    counter = plain.get(branch.counter)
    return branch if isinstance(counter, Branch) and counter.is_count else None
