"""One open file: its layout, and its columns by range of entries.

A reader opens a file once and is kept, so that the packets of a file that a slot works on in turn cost no new opening.
What it knows is in its parts: the tree as it is stored (`StoredTree`), its columns (`StoredColumns`), and where it is best
cut (`Clustering`). Whatever goes wrong with a file comes out as a `DatasetError` that names the file and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import awkward as ak

from .clustering import Clustering, FileLayout
from .columns import Column
from .lazy_events import LazyEvents
from .storage.credentials import CredentialSet
from .storage.local import LocalSource, Range
from .storage.sources import Traffic
from .stored_columns import StoredColumns
from .stored_tree import StoredTree
from .ttree.tree_index import TreeIndex
from .ttree.whole_baskets import Interpretation
from .whole_file import WholeFile


class Reader(WholeFile):
    """A tree of a file, open for reading.

    Args:
        path: a local path, or a root:// or http(s):// address.
        tree: name of a TTree or RNTuple, with its folders; "" takes the only one in the file.
        timeout: seconds that a remote file's server may take to answer one request.
        credential_set: what to show to servers; by default what is found in the environment.
        layout: what another slot has told of the file (`news`): its metadata are not read then.
        directory: the file, if it is open already (`opening.opened`), for whoever reads several of its trees.

    Attributes:
        stored: the tree as it is stored.
        columns: its columns, read or to be read.
        path, tree, identity, entries, names: as `StoredTree` and `StoredColumns` have them.
        touched: names of the branches that have been read since the last call of `events`.

    Raises:
        DatasetError: there is no such file, it is not a whole ROOT file, or it has no such tree.

    Example:
        >>> reader = Reader("root://host//store/run1.root", "Events")                       # doctest: +SKIP
        >>> reader.read(["Muon_pt", "MET_pt"], 0, reader.layout(None).entries)              # doctest: +SKIP
    """

    def __init__(
        self,
        path: str,
        tree: str = "",
        timeout: float = 30.0,
        credential_set: CredentialSet | None = None,
        layout: bytes = b"",
        directory: Any = None,
    ) -> None:
        self.stored = StoredTree(path, tree, timeout, credential_set, layout, directory)
        try:
            self.columns = StoredColumns(self.stored)
        except BaseException:
            self.stored.close()
            raise
        self._clustering = Clustering(self.columns)
        self.path, self.tree, self.identity = self.stored.path, self.stored.name, self.stored.identity
        self.entries = self.stored.entries
        self.names: Mapping[str, Any] = self.columns.names
        self.touched: set[str] = set()

    def news(self) -> bytes:
        """As `StoredTree.news`."""
        return self.stored.news()

    def is_current(self, since: float) -> bool:
        """As `StoredTree.is_current`."""
        return self.stored.is_current(since)

    def check_unchanged(self) -> None:
        """As `StoredTree.check_unchanged`."""
        self.stored.check_unchanged()

    def close(self) -> None:
        """As `StoredTree.close`."""
        self.stored.close()

    @property
    def opened(self) -> float:
        """As `StoredTree.opened`."""
        return self.stored.opened

    @property
    def uuid(self) -> str:
        """As `StoredTree.uuid`."""
        return self.stored.uuid

    @property
    def order(self) -> str:
        """As `StoredTree.order`."""
        return self.stored.order

    @property
    def tree_index(self) -> TreeIndex:
        """As `StoredTree.tree_index`."""
        return self.stored.tree_index

    @property
    def tree_aliases(self) -> dict[str, str]:
        """As `StoredTree.tree_aliases`."""
        return self.stored.tree_aliases

    @property
    def is_far(self) -> bool:
        """Whether the file is read over a network, as far as its address tells."""
        return not isinstance(self.stored.source, LocalSource)

    @property
    def traffic(self) -> Traffic:
        """As `StoredTree.traffic`."""
        return self.stored.traffic

    # --- the packets' view --------------------------------------------------------------------------------------------

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """As `Clustering.layout`."""
        return self._clustering.layout(branches)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Clustering.stride`."""
        return self._clustering.stride(branches)

    def weight(self, branches: Iterable[str]) -> float:
        """As `Clustering.weight`."""
        return self._clustering.weight(branches)

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `StoredColumns.types`."""
        return self.columns.types(branches)

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `StoredColumns.ranges_ahead`."""
        self.columns.ranges_ahead(branches, ranges)

    def forget_ahead(self) -> None:
        """As `StoredColumns.forget_ahead`."""
        self.columns.forget_ahead()

    # --- columns ------------------------------------------------------------------------------------------------------

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `read`, for each of some ranges of entries, ascending. What is far is fetched for all of them together."""
        yield from self.columns.read_ranges(branches, ranges)
        self.touched.update(branches)

    def form_as(self, name: str, kind: Interpretation) -> Any:
        """As `StoredColumns.form_as`."""
        return self.columns.form_as(name, kind)

    def array(self, name: str, start: int, stop: int, kind: Interpretation | None = None) -> ak.Array:
        """As `StoredColumns.array`."""
        array = self.columns.array(name, start, stop, kind)
        self.touched.add(name)
        return array

    def has_member(self, name: str) -> bool:
        """As `StoredColumns.has_member`."""
        return self.columns.has_member(name)

    @property
    def lazy(self) -> LazyEvents:
        """As `StoredColumns.lazy`."""
        return self.columns.lazy
