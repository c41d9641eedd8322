"""The types of columns, on which the files of a query have to agree."""

from __future__ import annotations

import hashlib

import msgspec

from .values import Word, Words

LONGEST_TYPE = 800
"""Characters of the type of a column that travel."""
MOST_COLUMNS = 100_000
"""Columns that can be told of at a time."""


class ColumnType(msgspec.Struct, frozen=True, array_like=True):
    """The type of a column's values in an event, as awkward writes it, and a file where it has this one."""

    kind: Word
    path: Words

    @classmethod
    def of(cls, kind: str, path: str) -> ColumnType:
        """This type, as it travels: of one that is too long, its beginning and a digest."""
        if len(kind) > LONGEST_TYPE:
            kind = f"{kind[:LONGEST_TYPE]}... ({hashlib.sha256(kind.encode()).hexdigest()[:16]})"
        return cls(kind, path)


def changed_type(name: str, first: ColumnType, other: ColumnType) -> str:
    """What the user is told of a column whose type is not that of the file in which it was met first.

    Example:
        >>> changed_type("x", ColumnType("float32", "a.root"), ColumnType("var * float32", "b.root"))
        'the type of x changes between files: float32 in a.root, var * float32 in b.root'
    """
    return f"the type of {name} changes between files: {first.kind} in {first.path}, {other.kind} in {other.path}"
