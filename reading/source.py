"""Where the entries of a packet come from: one interface over files, selections of their entries, ranges of these that are
kept or were read ahead, and what is in no file.

Outside, nobody asks which of these a source is. What differs is said here: which file the columns are in, if any, and
which entries of it the numbers stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import awkward as ak

from ..packetizer.listed_entries import Entries
from ..protocol.errors import AnalysisError
from .columns import Column
from .lazy_events import Columns
from .storage.local import Range
from .storage.sources import Traffic
from .view import OpenFile


class Source(Columns, Protocol):
    """Entries by their numbers, for an analysis to run over.

    Example:
        >>> def lengths(source: Source) -> int:
        ...     return len(source.read(["MET_pt"], 1000, 2000)["MET_pt"])
    """

    @property
    def file(self) -> OpenFile | None:
        """The file that has the columns, as the analysis sees it; None for what is in no file, and has no columns to be
        read ahead.
        """

    @property
    def is_far(self) -> bool:
        """Whether something is read over a network."""

    @property
    def traffic(self) -> Traffic:
        """What was asked for so far, and how long it took."""

    def weight(self, branches: Iterable[str]) -> float:
        """Bytes that an entry of these branches has where they are stored, on average."""

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Begin to fetch what `read` of the same will need."""

    def events(self, start: int, stop: int) -> Any:
        """What a columnar function takes of the entries `[start, stop)`."""

    def numbers(self, start: int, stop: int) -> Entries | None:
        """The numbers in their file of the entries `[start, stop)`; None where these are their numbers."""

    def covering(self, start: int, stop: int) -> Range:
        """The range of the file from the first to the last of the entries `[start, stop)`."""

    def check_unchanged(self) -> None:
        """Raise `DatasetError` when what is read from here may be of two files, since somebody has written to it."""


class EntryRange:
    """The entries `[start, stop)` of another source, whose columns are at hand in some way: a source, but for the columns.

    Args:
        source: of a file.
        start: first entry.
        stop: entry after the last.
    """

    def __init__(self, source: Source, start: int, stop: int) -> None:
        assert source.file is not None, "what is in no file has no columns to keep"
        self.source = source
        self.file: OpenFile = source.file
        self.start, self.stop = start, stop

    def at_hand(self, start: int, stop: int) -> tuple[int, int]:
        """Where in what is at hand the entries `[start, stop)` are. Who compiles asks for none, wherever this begins."""
        return (start - self.start, stop - self.start) if start < stop else (0, 0)

    @property
    def names(self) -> Mapping[str, Any]:
        """As `Reader.names`."""
        return self.file.names

    @property
    def is_far(self) -> bool:
        """As `Source.is_far`."""
        return self.source.is_far

    @property
    def traffic(self) -> Traffic:
        """As `Source.traffic`."""
        return self.source.traffic

    def weight(self, branches: Iterable[str]) -> float:
        """As `Source.weight`."""
        return self.source.weight(branches)

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Nothing is far."""

    def numbers(self, start: int, stop: int) -> Entries | None:
        """As `Source.numbers`."""
        return self.source.numbers(start, stop)

    def covering(self, start: int, stop: int) -> Range:
        """As `Source.covering`."""
        return self.source.covering(start, stop)

    def check_unchanged(self) -> None:
        """As `Source.check_unchanged`."""
        self.source.check_unchanged()

    def events(self, start: int, stop: int) -> ak.Array:
        """As `Reader.events`, for any part."""
        return self.file.lazy.array(self, start, stop)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`, for any part."""
        raise NotImplementedError

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for any part."""
        raise NotImplementedError


class Generated:
    """A source of what is in no file: all but `traffic`, and what it makes."""

    file: OpenFile | None = None
    is_far = False

    def weight(self, branches: Iterable[str]) -> float:
        """Nothing is stored."""
        return 0.0

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Nothing is far."""

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """There are no columns."""
        raise AnalysisError(f"there is no branch {name}: these entries are in no file")

    def numbers(self, start: int, stop: int) -> Entries | None:
        """Entries have the numbers by which they are asked for."""
        return None

    def covering(self, start: int, stop: int) -> Range:
        """As `numbers`: themselves."""
        return start, stop

    def check_unchanged(self) -> None:
        """Nobody can write to it."""
