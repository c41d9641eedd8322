"""Where a tree is best cut into packets and chunks, and how much is read for an entry of some branches."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .read_errors import read_errors
from .rntuple.pages import Pages
from .stored_columns import StoredColumns
from .ttree.basket_layout import basket_edges

MOST_CLUSTERS = 1000
"""A layout travels in a message: of more boundaries, evenly chosen ones are kept."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What has to be known of a file to cut it into packets.

    Attributes:
        entries: entries of the tree.
        clusters: entries at which reading is best cut, ascending, from 0 to `entries` inclusive (0 if empty).
        tree: name of the tree within the file.
        identity: as `Reader.identity`.
        place: as `StoredTree.place`.
    """

    entries: int
    clusters: tuple[int, ...]
    tree: str
    identity: str
    place: bytes = field(default=b"", compare=False)


class Clustering:
    """How the entries of a stored tree lie in its baskets (pages, in an RNTuple).

    Args:
        columns: the tree's.

    Example:
        >>> Clustering(reader.columns).layout(["Muon_pt"]).clusters                               # doctest: +SKIP
        (0, 20000, 40000)
    """

    def __init__(self, columns: StoredColumns) -> None:
        self._columns, self._stored = columns, columns.stored
        self._baskets = columns.baskets
        self._weights: dict[tuple[str, ...], float] = {}

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """The file's entries and the boundaries that its baskets have in common.

        Args:
            branches: those that will be read; None for all.
        """
        names = list(self._columns.names) if branches is None else [self._columns.known(name) for name in branches]
        with read_errors(self._stored.path, "cannot be read"):
            edges = self._baskets.edges if isinstance(self._baskets, Pages) else self._common_edges(names)
        stored = self._stored
        return FileLayout(stored.entries, few_edges(edges), stored.name, stored.identity, stored.place)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """Entries in a basket (a page, in an RNTuple) of the branches, on average: what is read as a whole anyway."""
        names = list(self._columns.names) if branches is None else [self._columns.known(name) for name in branches]
        with read_errors(self._stored.path, "cannot be read"):
            if isinstance(self._baskets, Pages):
                return self._baskets.stride(names)
            baskets = [len(edges) - 1 for name in names if (edges := self._edges(name)) is not None]
        return max(1, self._stored.entries * len(baskets) // max(1, sum(baskets)))

    def weight(self, branches: Iterable[str]) -> float:
        """Bytes in the file of an entry of the branches, compressed as they are, on average; only plain ones count."""
        names = tuple(branches)
        if names not in self._weights:
            with read_errors(self._stored.path, "cannot be read"):
                plain = [name for name in names if self._columns.is_plain(self._columns.known(name))]
                self._weights[names] = self._baskets.weight(plain) if self._stored.entries else 0.0
        return self._weights[names]

    def _common_edges(self, names: list[str]) -> Any:
        common = np.array([0, self._stored.entries], dtype=np.int64)
        edges = [edges for name in names if (edges := self._edges(name)) is not None]
        if edges:
            common = np.union1d(common, functools.reduce(np.intersect1d, edges))
        return common[common <= self._stored.entries]

    def _edges(self, name: str) -> Any:
        """The first entry of each basket of a branch, and the entry after the last; None if it has no data of its own."""
        plain = self._columns.plain(name)
        if plain is not None:
            return plain.edges
        branch = None if self._stored.is_group(name) else self._columns.names[name]
        return None if branch is None or branch.branches else basket_edges(branch)


def few_edges(edges: Any) -> tuple[int, ...]:
    """The boundaries of baskets, of which there may not be too many, as they are told."""
    some = np.asarray(edges, dtype=np.int64)
    if len(some) > MOST_CLUSTERS:
        some = some[np.linspace(0, len(some) - 1, MOST_CLUSTERS).round().astype(np.int64)]
    return tuple(some.tolist())
