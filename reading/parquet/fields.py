"""The columns of a Parquet file by name, with what lies in them: which leaves of the file hold what.

A column of records is read by its members, as in RNTuples (`rntuple.members`): `Muon.pt` is one, which kernels call
`Muon_pt`; `Muon.#` are the lengths of the lists, which are in every leaf of them. Records and lists that may be missing are
read as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..groups import without_size
from ..lazy_property import lazy_property
from ..rntuple.members import MOST_NESTED, SIZES


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for.

    Attributes:
        column: the column.
        leaves: those that are read for it.
        path: the names of the members on the way to it.
        sizes: of what lists it has the lengths, by how many lists lie around these and themselves; 0: it has values.
    """

    column: str
    leaves: range
    path: tuple[str, ...] = ()
    sizes: int = 0


class Fields:
    """The columns of a schema.

    Args:
        schema: of Arrow.
        arrow: pyarrow.

    Example:
        >>> import pyarrow
        >>> muons = pyarrow.list_(pyarrow.field("item", pyarrow.struct([
        ...     pyarrow.field("pt", pyarrow.float32(), False), pyarrow.field("q", pyarrow.int8(), False)]), False))
        >>> fields = Fields(pyarrow.schema([pyarrow.field("run", "int32"), pyarrow.field("Muon", muons, False)]), pyarrow)
        >>> fields.find("Muon_q")
        Found(column='Muon', leaves=range(2, 3), path=('q',), sizes=0)
        >>> fields.find("Muon.#")
        Found(column='Muon', leaves=range(1, 2), path=(), sizes=1)
    """

    def __init__(self, schema: Any, arrow: Any) -> None:
        self._schema, self._types = schema, arrow.types
        self._base_extension = arrow.lib.BaseExtensionType
        self._found: dict[str, Found | None] = {}

    @lazy_property
    def columns(self) -> dict[str, Found]:
        """All columns, by name."""
        columns, first = {}, 0
        for field in self._schema:
            number = self._leaves(field.type)
            columns[field.name] = Found(field.name, range(first, first + number))
            first += number
        return columns

    def find(self, name: str) -> Found | None:
        """What is called so; None where nothing, or more than one thing, is."""
        if name in self.columns:
            return self.columns[name]
        if name not in self._found:
            exact = list(self._members(name, "."))
            found = exact or list(self._members(name, "._"))
            self._found[name] = found[0] if len(found) == 1 else self._as_written.get(name)
        return self._found[name]

    def has_member(self, name: str) -> bool:
        """Whether this is a member of records, or the lengths of lists of them."""
        found = None if name in self.columns else self.find(name)
        return found is not None and bool(found.path or found.sizes)

    @lazy_property
    def _as_written(self) -> dict[str, Found]:
        """The columns whose names are no identifiers as kernels write them, as `branches.Written`."""
        originals: dict[str, list[Found]] = {}
        for name, found in self.columns.items():
            if not name.isidentifier():
                originals.setdefault(re.sub(r"\W", "_", without_size(name)), []).append(found)
        return {written: them[0] for written, them in originals.items() if len(them) == 1}

    def _members(self, name: str, signs: str) -> Iterator[Found]:
        for at, sign in enumerate(name):
            column = self.columns.get(name[:at]) if sign in signs else None
            if column is not None:
                yield from self._inside(self._schema.field(column.column), name[at:], signs, column, 0)

    def _inside(self, field: Any, rest: str, signs: str, found: Found, lists: int) -> Iterator[Found]:
        """What `rest`, which begins with a sign, says of a field, in which these leaves are."""
        if field.nullable or lists + len(found.path) > MOST_NESTED:
            return
        kind = field.type
        if self._is_list(kind):
            inner = kind.value_field
            if rest == SIZES and self._types.is_struct(inner.type) and not inner.nullable:
                yield Found(found.column, self._shortest(inner.type, found.leaves.start), found.path, lists + 1)
            yield from self._inside(inner, rest, signs, found, lists + 1)
        elif self._types.is_struct(kind):
            first = found.leaves.start
            for member in kind:
                number = self._leaves(member.type)
                its = Found(found.column, range(first, first + number), (*found.path, member.name))
                first += number
                if rest[1:] == member.name:
                    yield its
                elif rest.startswith(member.name, 1) and rest[len(member.name) + 1 :][:1] in tuple(signs):
                    yield from self._inside(member, rest[len(member.name) + 1 :], signs, its, lists)

    def _shortest(self, record: Any, first: int) -> range:
        """A leaf of a record that takes few bytes: the first of numbers, if there is one."""
        for member in record:
            number = self._leaves(member.type)
            if number == 1 and self._types.is_primitive(member.type):
                return range(first, first + 1)
            first += number
        return range(first - 1, first)

    def _is_list(self, kind: Any) -> bool:
        types = self._types
        return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))

    def _leaves(self, kind: Any) -> int:
        """How many leaves a type has."""
        if isinstance(kind, self._base_extension):
            return self._leaves(kind.storage_type)
        if self._is_list(kind):
            return self._leaves(kind.value_type)
        if self._types.is_map(kind):
            return self._leaves(kind.key_type) + self._leaves(kind.item_type)
        if self._types.is_struct(kind):
            return sum(self._leaves(member.type) for member in kind)
        return 1
