"""The listed entries of an open file, read as if the file had no others.

Everything outside counts positions: the listed entries from 0 on. Here they are translated. Entries that lie close to
each other are read in one go; where none is listed for longer than a basket lasts, nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import awkward as ak
import numpy as np

from ..dataset.masks import Mask
from ..packetizer.listed_entries import MOST_RUNS, Entries, EntryList
from ..protocol.errors import DatasetError, nearest
from .clustering import FileLayout
from .columns import Column, Flat, joined
from .picks import Pick, picked
from .storage.local import Range
from .storage.sources import Traffic
from .view import OpenFile
from .whole_file import in_tree

_MASKED = 5_000_000
"""Entries whose runs and sections are read at a time."""


class Selection:
    """Reads the listed entries of a file, by position.

    Args:
        file: the open file.
        entry_list: the entries.
        first: the position of the first of them; not 0 where the entry list is that of a packet.
        branches: those that will be read, where this is known.

    Example:
        >>> selection = Selection(reader, EntryList([0, 10, 5000, 5010]))                       # doctest: +SKIP
        >>> len(selection.read(["MET_pt"], 5, 15)["MET_pt"])                                  # doctest: +SKIP
        10
    """

    def __init__(
        self, file: OpenFile, entry_list: EntryList, first: int = 0, branches: Sequence[str] | None = None
    ) -> None:
        self.file = file
        self.entry_list = entry_list
        self.first = first
        self._stride = file.stride(branches or sorted(file.touched) or None)
        self._picks: dict[Range, Pick] = {}

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        return self.file.traffic

    @property
    def is_far(self) -> bool:
        """As `Reader.is_far`."""
        return self.file.is_far

    @property
    def entries(self) -> int:
        """How many entries are listed, up to the last of the entry list."""
        return self.first + len(self.entry_list)

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """The file's layout with everything in positions."""
        layout = self.file.layout(branches)
        edges = np.unique(self.entry_list.positions(layout.clusters))
        return FileLayout(len(self.entry_list), tuple(edges.tolist()), layout.tree, layout.identity, layout.place)

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`, of a listed entry: what lies between them comes along, as far as baskets reach."""
        if not len(self.entry_list):
            return 0.0
        low, high = self.covering(self.first, self.entries)
        return self.file.weight(branches) * min((high - low) / len(self.entry_list), self._stride)

    def numbers(self, start: int, stop: int) -> Entries:
        """The entries at the positions `[start, stop)`."""
        if start >= stop:
            return np.empty(0, dtype=np.int64)
        return self.entry_list.entries(start - self.first, stop - self.first)

    def covering(self, start: int, stop: int) -> Range:
        """The range of the file from the first to the last entry at the positions `[start, stop)`."""
        if start >= stop:
            return 0, 0
        return self.entry_list.entry(start - self.first), self.entry_list.entry(stop - self.first - 1) + 1

    def check_unchanged(self) -> None:
        """As `Reader.check_unchanged`."""
        self.file.check_unchanged()

    # --- as a reader has it -------------------------------------------------------------------------------------------

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """As `Reader.ahead`."""
        self.file.ranges_ahead(branches, self._pick(start, stop).ranges)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`."""
        if self.file.computes(branches):
            return self.file.read_from(self, branches, start, stop)
        pick = self._pick(start, stop)
        if pick.is_whole:
            return self.file.read(branches, *pick.ranges[0])
        parts = [
            {name: column.take(inside) for name, column in columns.items()}
            for columns, inside in zip(self.file.read_ranges(branches, pick.ranges), pick.inside, strict=True)
        ]
        return {name: joined([part[name] for part in parts]) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`."""
        pick = self._pick(start, stop)
        parts = [self.file.array(name, *span)[inside] for span, inside in zip(pick.ranges, pick.inside, strict=True)]
        return ak.to_packed(parts[0] if len(parts) == 1 else ak.concatenate(parts))

    def events(self, start: int, stop: int) -> ak.Array:
        """As `Reader.events`."""
        self.ahead(sorted(self.file.touched), start, stop)
        self.file.touched = set()
        return self.file.lazy.array(self, start, stop)

    def _pick(self, start: int, stop: int) -> Pick:
        """What to read for these positions; kept, since it is asked for every column, and for the next chunk already."""
        if (start, stop) not in self._picks:
            while len(self._picks) > 1:
                del self._picks[next(iter(self._picks))]
            self._picks[start, stop] = picked(self.numbers(start, stop), self._stride)
        return self._picks[start, stop]


def listed(reader: OpenFile, runs: Sequence[int] | None, mask: Mask | None) -> EntryList | None:
    """The entries of a file that are used, or None for all: those of an entry list that a mask leaves.

    Raises:
        DatasetError: the list names entries that the file does not have, or the file cannot be masked.
    """
    entry_list = None if runs is None else EntryList(runs)
    if entry_list is not None and entry_list.end > reader.entries:
        raise DatasetError(
            f"the entry list names entry {entry_list.end - 1} of {reader.path}, which has {reader.entries}"
            f"{in_tree(reader.tree, '')}"
        )
    if mask is None:
        return entry_list
    left = masked(reader, mask)
    if entry_list is not None:
        left = entry_list & left
    if left.parts > MOST_RUNS:
        raise DatasetError(
            f"the mask leaves {left.parts} separate runs of entries in {reader.path}, too many to hand out: "
            f"sort its entries by run, or apply the mask in the analysis"
        )
    return left


def masked(reader: OpenFile, mask: Mask) -> EntryList:
    """The entries that a mask leaves. Reads the two branches of the whole file.

    Raises:
        DatasetError: the file does not have these branches, or they are no whole numbers.
    """
    for name in mask.branches:
        if name not in reader.names:
            raise DatasetError(
                f"{reader.path} has no branch {name}, which the mask needs: name the branches that have an event's run "
                f"and luminosity section with mask_branches=(..., ...){nearest(name, reader.names)}"
            )
    touched, runs = set(reader.touched), list[int]()
    for start in range(0, reader.entries, _MASKED):
        columns = reader.read(mask.branches, start, min(start + _MASKED, reader.entries))
        run, section = (_whole_numbers(reader, name, columns[name]) for name in mask.branches)
        runs += [start + bound for bound in mask.entry_list(run, section).runs()]
    reader.touched = touched
    return EntryList(runs)


def _whole_numbers(reader: OpenFile, name: str, column: Column) -> Entries:
    if not isinstance(column, Flat) or column.values.ndim != 1 or column.values.dtype.kind not in "iu":
        raise DatasetError(f"branch {name} of {reader.path} is not one whole number an event: the mask cannot use it")
    return column.values
