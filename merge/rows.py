"""Rows that are written to files, as they are told of: pieces that slots have written, and the files that they become."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..protocol.values import Metadata, NonNegative, Word, Words


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Rows that came of entries `[start, stop)` of a tree in a file, which is the `place`th of its dataset."""

    place: NonNegative
    path: Words
    tree: Word
    start: NonNegative
    stop: NonNegative
    rows: NonNegative

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What rows are sorted by."""
        return self.place, self.path, self.tree, self.start


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A file with rows of one dataset that one slot has handed over, as it lies until it is joined with others.

    `size` are the bytes of its rows in memory. Where no rows were selected there is no file, and no path.
    """

    path: Words
    dataset: Word
    rows: NonNegative
    size: NonNegative
    checksum: Word
    spans: list[Span]


class OutputFile(msgspec.Struct, frozen=True):
    """A file that a query has written.

    Attributes:
        path: where it is.
        rows, bytes: what is in it, and what it takes.
        dataset: of whose files its rows are.
        checksum: "adler32:" and eight hexadecimal digits, of its bytes, as XRootD and Rucio have them.

    Example:
        >>> OutputFile("skim/ttbar-0000.parquet", rows=2, bytes=812, dataset="ttbar", checksum="adler32:0a1b2c3d").rows
        2
    """

    path: Words
    rows: NonNegative
    bytes: NonNegative
    dataset: Word
    checksum: Word


@dataclass(slots=True)
class HeldSpan:
    """Rows of one call, in the slot that has made them: an awkward array, whose bytes are `size`."""

    dataset: str
    span: Span
    array: Any
    size: int


class Held:
    """Rows that a slot holds: they leave it as pieces only."""

    __slots__ = ("spans",)

    def __init__(self, spans: Iterable[HeldSpan] = ()) -> None:
        self.spans = list(spans)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(held.size for held in self.spans)


def in_common(mine: dict[str, Metadata], other: dict[str, Metadata]) -> dict[str, Metadata]:
    """The metadata of each dataset in which all its files agree.

    Example:
        >>> in_common({"a": {"era": "B", "run": 1}}, {"a": {"era": "B", "run": 2}, "b": {}})
        {'a': {'era': 'B'}, 'b': {}}
    """
    missing = object()
    common = {
        name: {key: value for key, value in its.items() if mine[name].get(key, missing) == value}
        for name, its in other.items()
        if name in mine
    }
    return {**mine, **other, **common}
