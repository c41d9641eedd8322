"""The fields of an RNTuple: the columns that each of them is stored in, and how those make up its values.

A field is a tree. A `std::vector<float>` is a collection, whose column says where the list of each entry ends, around
a leaf, whose column holds the numbers of all lists one behind the other. NanoAOD keeps all lists of the muons in one
such collection of records, and shows `Muon_pt` and `nMuon` as *projected* fields, which borrow the columns of others.
See the RNTuple binary format specification, version 1.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import awkward as ak
import numpy as np
from uproot.const import RNTupleFieldFlags as Flags
from uproot.const import RNTupleFieldRole as Role

from .members import MOST_NESTED, SIZES, Members, is_optional

MOST_REPEATED = 1 << 31
"""Length of an array of fixed size."""


class FieldRecord(NamedTuple):
    """What the file says of a field, as the specification names it.

    `parent` is the number of the field that it lies in, its own at top level. `source` is that of the field whose
    columns a projected field borrows.
    """

    name: str
    type_name: str
    parent: int
    role: int
    flags: int
    repetition: int
    source: int | None


class ColumnRecord(NamedTuple):
    """What the file says of a column: `representation` is not 0 where each cluster may store the field in another way."""

    type: int
    bits: int
    field: int
    representation: int
    first: int


Columns: TypeAlias = Sequence[tuple[int, ColumnRecord]]
"""Columns with their numbers."""


class Coding(NamedTuple):
    """How the pages of a column hold its elements.

    `split`: all first bytes of the elements, then all second ones, and so on. `zigzag`: the sign is the lowest bit.
    `delta`: each element but the page's first is the difference to the one before. `bits`: eight booleans in a byte.
    """

    native: str
    split: bool = False
    zigzag: bool = False
    delta: bool = False
    bits: bool = False


_CHAR = 0x02
_NUMBERS = {
    0x00: Coding("?", bits=True),
    0x01: Coding("u1"),
    _CHAR: Coding("u1"),
    0x03: Coding("i1"),
    0x04: Coding("u1"),
    0x05: Coding("i2"),
    0x06: Coding("u2"),
    0x07: Coding("i4"),
    0x08: Coding("u4"),
    0x09: Coding("i8"),
    0x0A: Coding("u8"),
    0x0C: Coding("f4"),
    0x0D: Coding("f8"),
    0x11: Coding("i2", split=True, zigzag=True),
    0x12: Coding("u2", split=True),
    0x13: Coding("i4", split=True, zigzag=True),
    0x14: Coding("u4", split=True),
    0x15: Coding("i8", split=True, zigzag=True),
    0x16: Coding("u8", split=True),
    0x18: Coding("f4", split=True),
    0x19: Coding("f8", split=True),
}
"""By the number that the specification gives a type of column. Floats of fewer bits are left to uproot."""
_INDICES = {
    0x0E: Coding("i4"),
    0x0F: Coding("i8"),
    0x1A: Coding("i4", split=True, delta=True),
    0x1B: Coding("i8", split=True, delta=True),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A column in the file.

    Attributes:
        number: the column's, in the RNTuple.
        field: name of a field that it belongs to, for messages.
        native: type of its elements in memory.
        coding: how its pages hold them.
        width: how many of them an entry has; None in lists, where that differs.
        first: number of the first element in the file. Those before it, of a field that was added while the file was
            written already, are zero.
    """

    number: int
    field: str
    native: np.dtype[Any]
    coding: Coding
    width: int | None
    first: int

    def page_size(self, elements: int) -> int:
        """Bytes of a page of so many elements, before compression."""
        return -(-elements // 8) if self.coding.bits else elements * self.native.itemsize


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number an entry, or an array of them of a fixed `shape`."""

    column: Stored
    shape: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Elements of the column that an entry has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Counts:
    """The length of the list that each entry of a collection has; `column` has the lists' ends."""

    column: Stored
    width = 1


@dataclass(frozen=True, slots=True)
class Texts:
    """A string an entry; `column` has the strings' ends."""

    column: Stored
    characters: Numbers
    width = 1


@dataclass(frozen=True, slots=True)
class Lists:
    """A list an entry; `column` has the lists' ends."""

    column: Stored
    content: Tree
    width = 1


Tree: TypeAlias = Numbers | Counts | Texts | Lists


@dataclass(frozen=True, slots=True)
class Field:
    """A top-level field of plain values, or a member of the records of one.

    Attributes:
        name: what it is called.
        tree: how it is stored.
        counter: name of the field with the lengths of this one's lists, "" if there is none.
    """

    name: str
    tree: Tree
    counter: str


class Schema:
    """The fields of an RNTuple.

    Args:
        fields, columns: all of them, by number.

    Attributes:
        fields, columns: the same.
        numbers: the top-level fields', by name.

    Example:
        >>> Schema(fields, columns).field("Muon_pt").counter  # doctest: +SKIP
        'nMuon'
    """

    def __init__(self, fields: Sequence[FieldRecord], columns: Sequence[ColumnRecord]) -> None:
        self.numbers = {record.name: number for number, record in enumerate(fields) if record.parent == number}
        self.fields = fields
        self.columns = columns
        self._columns: dict[int, list[tuple[int, ColumnRecord]]] = defaultdict(list)
        self._children: dict[int, list[int]] = defaultdict(list)
        for number, column in enumerate(columns):
            self._columns[column.field].append((number, column))
        for number, record in enumerate(fields):
            if record.parent != number:
                self._children[record.parent].append(number)
        self._members = Members(fields, self._children, self.numbers)

    def number(self, name: str) -> int | None:
        """The number of a top-level field, or of a member of its records (see `members`); None if nothing is called so."""
        way = self._members.way(name)
        return way[-1] if way else None

    def has_member(self, name: str) -> bool:
        """Whether a member, or the lengths of lists of records, are called so."""
        if name in self.numbers:
            return False
        return self.number(name) is not None or (name.endswith(SIZES) and self.field(name) is not None)

    def field(self, name: str) -> Field | None:
        """A field, member or lengths, or None if only uproot can read it."""
        sizes = name.endswith(SIZES) and name not in self.numbers
        way = self._members.way(name.removesuffix(SIZES) if sizes else name)
        tree = (self._sizes if sizes else self._within)(way, name, 1) if way else None
        if tree is None:
            return None
        return Field(name, tree, self._counters.get(tree.column.number, "") if isinstance(tree, Lists) else "")

    def _within(self, way: Sequence[int], name: str, width: int | None) -> Tree | None:
        """The last of some fields each of which lies in the one before."""
        number, *inside = way
        if not inside:
            return self._tree(number, name, width)
        record = self.fields[number]
        if record.role == Role.RECORD:
            return self._within(inside, name, width)
        if record.role == Role.COLLECTION:
            ends, content = self._ends(number, name, width), self._within(inside, name, None)
            return None if ends is None or content is None else Lists(ends, content)
        length = record.repetition
        if not 0 < length <= MOST_REPEATED:
            return None
        inner = self._within(inside, name, None if width is None else length * width)
        return Numbers(inner.column, (length, *inner.shape)) if isinstance(inner, Numbers) else None

    def _sizes(self, way: Sequence[int], name: str, width: int | None) -> Tree | None:
        """The lengths of the innermost lists that the last of some fields has of records."""
        number, *inside = way
        record, children = self.fields[number], self._children.get(number, ())
        if record.role == Role.RECORD and inside:
            return self._sizes(inside, name, width)
        if record.role != Role.COLLECTION or is_optional(record) or len(children) != 1 or len(way) > MOST_NESTED:
            return None
        ends = self._ends(number, name, width)
        if ends is None:
            return None
        inside = inside or children[:1]
        if self.fields[children[0]].role == Role.RECORD and len(inside) == 1:
            return Counts(ends)
        content = self._sizes(inside, name, None)
        return None if content is None else Lists(ends, content)

    def _ends(self, number: int, name: str, width: int | None) -> Stored | None:
        """The column of a collection."""
        source = self.fields[number].source
        columns = self._columns.get(number if source is None else source, ())
        if len(columns) != 1 or columns[0][1].representation:
            return None
        return _stored(_INDICES, columns[0], name, width)

    def form(self, name: str) -> Any:
        """The awkward form of a top-level field of records or lists of records, of what this module knows otherwise; None
        for others.
        """
        return self._form(self.numbers[name], name, 0)

    def _form(self, number: int, name: str, depth: int) -> Any:
        record, children = self.fields[number], self._children.get(number, ())
        if depth > MOST_NESTED or is_optional(record):
            return None
        if record.role == Role.COLLECTION and len(children) == 1:
            content = self._form(children[0], name, depth + 1)
            return None if content is None else ak.forms.ListOffsetForm("i64", content)
        if record.role != Role.RECORD:
            tree = self._tree(number, name, None, depth)
            return None if tree is None else _form(tree)
        names = [self.fields[child].name for child in children]
        if not names or any(name.startswith(("_", ":")) for name in names):  # tuples, and what classes inherit
            return None
        contents = [self._form(child, name, depth + 1) for child in children]
        return None if None in contents else ak.forms.RecordForm(contents, names)

    @functools.cached_property
    def _counters(self) -> dict[int, str]:
        """Names of fields of lengths, by the number of the column with the lists' ends."""
        counters: dict[int, str] = {}
        for name, number in self.numbers.items():
            tree = self._tree(number, name, 1) if _is_count(self.fields[number]) else None
            if tree is not None:
                counters.setdefault(tree.column.number, name)
        return counters

    def _tree(self, number: int, name: str, width: int | None, depth: int = 0) -> Tree | None:
        """A field within the top-level field `name`, of which an entry has `width` values, or None if in lists."""
        if depth > MOST_NESTED:
            return None
        record = self.fields[number]
        children = self._children.get(number, ())
        columns = self._columns.get(number if record.source is None else record.source, ())
        if any(column.representation for _, column in columns):
            return None  # stored in another way in each cluster
        if record.role == Role.COLLECTION and len(children) == 1:
            ends, content = self._ends(number, name, width), self._tree(children[0], name, None, depth + 1)
            return None if is_optional(record) or ends is None or content is None else Lists(ends, content)
        if record.role != Role.LEAF:
            return None
        if record.flags & Flags.REPETITIVE:
            return self._array(record.repetition, columns, children, name, width, depth)
        if not columns and len(children) == 1:  # an enumeration or an atomic number
            return self._tree(children[0], name, width, depth + 1)
        return _leaf(_is_count(record), columns, name, width)

    def _array(
        self, length: int, columns: Columns, children: Sequence[int], name: str, width: int | None, depth: int
    ) -> Tree | None:
        """Arrays of fixed size: of the only child's values, or, for `std::bitset`, of the field's own."""
        if not 0 < length <= MOST_REPEATED:
            return None
        width = None if width is None else length * width
        inner = (
            self._tree(children[0], name, width, depth + 1)
            if len(children) == 1
            else _leaf(False, columns, name, width)
        )
        return Numbers(inner.column, (length, *inner.shape)) if isinstance(inner, Numbers) else None


def _form(tree: Tree) -> Any:
    """The awkward form of plain values as uproot gives them."""
    if isinstance(tree, Lists):
        return ak.forms.ListOffsetForm("i64", _form(tree.content))
    if isinstance(tree, Texts):
        characters = ak.forms.NumpyForm("uint8", parameters={"__array__": "char"})
        return ak.forms.ListOffsetForm("i64", characters, parameters={"__array__": "string"})
    form = ak.forms.NumpyForm(tree.column.native.name)
    for size in reversed(tree.shape if isinstance(tree, Numbers) else ()):
        form = ak.forms.RegularForm(form, size)
    return form


def _is_count(record: FieldRecord) -> bool:
    return "RNTupleCardinality" in record.type_name


def _leaf(is_count: bool, columns: Columns, name: str, width: int | None) -> Tree | None:
    """A field without others in it."""
    if len(columns) == 1:
        column = _stored(_INDICES if is_count else _NUMBERS, columns[0], name, width)
        return None if column is None else Counts(column) if is_count else Numbers(column)
    if len(columns) == 2 and columns[1][1].type == _CHAR:
        ends, characters = _stored(_INDICES, columns[0], name, width), _stored(_NUMBERS, columns[1], name, None)
        return None if ends is None or characters is None else Texts(ends, Numbers(characters))
    return None


def _stored(
    codings: Mapping[int, Coding], column: tuple[int, ColumnRecord], name: str, width: int | None
) -> Stored | None:
    number, record = column
    coding = codings.get(record.type)
    if coding is None:
        return None
    native = np.dtype(coding.native)
    if record.bits != (1 if coding.bits else 8 * native.itemsize) or record.first >> 63:
        return None
    return Stored(number, name, native, coding, width, record.first)
