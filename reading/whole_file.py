"""What is the same for all files that an analysis sees as they are: they are sources of all their entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import awkward as ak

from ..packetizer.listed_entries import Entries
from ..protocol.errors import DatasetError
from .columns import Column
from .lazy_events import Columns, LazyEvents
from .read_errors import read_errors
from .storage.local import Range
from .storage.sources import Traffic
from .ttree.whole_baskets import Interpretation


class WholeFile:
    """A source that is a file itself, and no view of one or selection from it.

    Attributes:
        path, tree, entries: as `StoredTree` has them.
        touched: names of the branches that have been read since the last call of `events`.
    """

    path: str
    tree: str
    entries: int
    touched: set[str]

    @property
    def file(self) -> Self:
        """As `Source.file`: itself."""
        return self

    @property
    def readers(self) -> list[Self]:
        """As `View.readers`: itself."""
        return [self]

    @property
    def traffic(self) -> Traffic:
        """What has been asked for so far, and how long it took."""
        raise NotImplementedError

    @property
    def bytes_read(self) -> int:
        """Bytes asked for from the file so far, compressed as they are."""
        return self.traffic.bytes_read

    def numbers(self, start: int, stop: int) -> Entries | None:
        """As `Source.numbers`: all entries are used."""
        return None

    def covering(self, start: int, stop: int) -> Range:
        """As `Source.covering`: themselves."""
        return start, stop

    def filled(self, branches: Iterable[str]) -> list[str]:
        """As `View.filled`: none."""
        return []

    def computes(self, branches: Iterable[str]) -> bool:
        """As `View.computes`: never."""
        return False

    def read_from(self, source: Columns, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `View.read_from`: what the source has."""
        return dict(source.read(branches, start, stop))

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Ask a remote file for what `read` of the same entries will need, and return at once.

        Only for plain branches; for anything else, and for local files, it does nothing.
        """
        self.ranges_ahead(branches, [(start, stop)])

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `ahead`, for `read_ranges`."""
        raise NotImplementedError

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Columns of the entries `[start, stop)`, in native byte order.

        Args:
            branches: names. Numbers and fixed-size arrays of them become `Flat`, lists and vectors `Jagged`, texts
                `Strings`.
            start: first entry.
            stop: entry after the last, at most the tree's entries.

        Raises:
            DatasetError: no such branch or entries, a type that kernels cannot take, or a file that cannot be read.
        """
        (columns,) = self.read_ranges(branches, [(start, stop)])
        return columns

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `read`, for each of some ranges of entries, ascending. What is far is fetched for all of them together."""
        raise NotImplementedError

    def array(self, name: str, start: int, stop: int, kind: Interpretation | None = None) -> ak.Array:
        """One branch as uproot reads it, whatever its type. Raises `DatasetError` as `read` does."""
        raise NotImplementedError

    @property
    def lazy(self) -> LazyEvents:
        """Makes arrays of events whose columns are read when they are touched."""
        raise NotImplementedError

    def events(self, start: int, stop: int) -> ak.Array:
        """Events `[start, stop)` as an awkward array of records, whose columns are read when they are touched.

        The columns touched since the last call are asked for ahead, in one request, where the file is far.

        Raises:
            DatasetError: no such entries. Touching a column raises it when the file cannot be read.
        """
        check_entries(self.path, self.tree, self.entries, start, stop)
        self.ahead(sorted(self.touched), start, stop)
        self.touched = set()
        with read_errors(self.path, "cannot be read"):
            return self.lazy.array(self, start, stop)


def check_entries(path: str, tree: str, entries: int, start: int, stop: int) -> None:
    """Raise `DatasetError` unless a tree of so many entries has these."""
    if not 0 <= start <= stop <= entries:
        raise DatasetError(f"{path} has {entries} entries{in_tree(tree, '')}, not [{start}, {stop})")


def in_tree(tree: str, its: str = "its tree ") -> str:
    """Where something is in a file, for errors; in one of Parquet there are no trees.

    Example:
        >>> in_tree("Events"), in_tree("Events", ""), in_tree("")
        (' in its tree Events', ' in Events', '')
    """
    return f" in {its}{tree}" if tree else ""
