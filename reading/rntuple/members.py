"""The members of records in an RNTuple by name: `Particles.momentum.x` is a column of its own, read without the others.

A member is called by the way to it: the names of the fields that it lies in, with a dot between, as ROOT and uproot call it.
What lists and arrays of fixed size call their items, and what classes call the part that they inherit, is no part of it. A
kernel, where a name has no dots, calls it `Particles_momentum_x`. `Particles.#` are the lengths of the lists, which is all
that they have besides their members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from uproot.const import RNTupleFieldRole as Role

SIZES = ".#"
"""What stands behind the name of lists of records, for their lengths."""
MOST_NESTED = 30
"""Fields within fields; numpy's arrays have not many more dimensions."""


class Members:
    """Finds members of records.

    Args:
        fields: the records of all fields, by number.
        children: the numbers of the fields that lie in a field, by its number.
        top: the numbers of top-level fields, by name.

    Example:
        >>> Members(fields, children, top).way("Particles_momentum_x")  # doctest: +SKIP
        [0, 1, 4, 5]
    """

    def __init__(self, fields: Sequence[Any], children: Mapping[int, Sequence[int]], top: Mapping[str, int]) -> None:
        self._fields = fields
        self._children = children
        self._top = top
        self._ways: dict[str, list[int]] = {}

    def way(self, name: str) -> list[int]:
        """The fields from a top-level one to that of this name; none where nothing, or more than one thing, is called so."""
        if name in self._top:
            return [self._top[name]]
        if name not in self._ways:
            exact = list(self._ways_from_top(name, "."))
            ways = exact or list(self._ways_from_top(name, "._"))
            self._ways[name] = ways[0] if len(ways) == 1 else []
        return self._ways[name]

    def _ways_from_top(self, name: str, signs: str) -> Iterator[list[int]]:
        for at, sign in enumerate(name):
            number = self._top.get(name[:at]) if sign in signs else None
            if number is not None:
                yield from self._inside(number, name[at:], signs, [number])

    def _inside(self, number: int, rest: str, signs: str, way: list[int]) -> Iterator[list[int]]:
        """The ways on from a field to what `rest`, which begins with a sign, says of it."""
        record, children = self._fields[number], self._children.get(number, ())
        if len(way) > MOST_NESTED or is_optional(record):
            return
        if record.role == Role.COLLECTION or (record.role == Role.LEAF and record.repetition):
            if len(children) == 1:
                yield from self._inside(children[0], rest, signs, [*way, children[0]])
        elif record.role == Role.RECORD:
            for child in children:
                name = self._fields[child].name
                if name.startswith(":"):
                    yield from self._inside(child, rest, signs, [*way, child])
                elif rest[1:] == name:
                    yield [*way, child]
                elif rest.startswith(name, 1) and rest[len(name) + 1 :][:1] in tuple(signs):
                    yield from self._inside(child, rest[len(name) + 1 :], signs, [*way, child])


def is_optional(record: Any) -> bool:
    """Whether a collection is one of no value or one."""
    return str(record.type_name).startswith("std::optional")
