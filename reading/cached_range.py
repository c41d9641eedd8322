"""Some entries of a file whose columns are kept once they are read, to be had again piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak

from ..protocol.errors import DatasetError
from .columns import Column
from .source import EntryRange, Source


class CachedRange(EntryRange):
    """A source of the entries `[start, stop)` of another one, which is read once however often a piece is asked for.

    A column that cannot be read as a whole is read in the pieces in which it is asked for: some of them may be sound.

    Example:
        >>> held = CachedRange(reader, 1000, 2000)                                                      # doctest: +SKIP
        >>> held.read(["MET_pt"], 1500, 1501), held.read(["MET_pt"], 1000, 1500)                 # doctest: +SKIP
    """

    def __init__(self, source: Source, start: int, stop: int) -> None:
        super().__init__(source, start, stop)
        self._columns: dict[str, Column | None] = {}
        self._arrays: dict[str, ak.Array | None] = {}

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`, for a piece."""
        if self.file.computes(branches):
            return self.file.read_from(self, branches, start, stop)
        self._hold(branches)
        low, high = self.at_hand(start, stop)
        columns = {}
        for name in branches:
            column = self._columns[name]
            if column is None:
                (columns[name],) = self.source.read([name], start, stop).values()
            else:
                columns[name] = column.slice(low, high)
        return columns

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for a piece."""
        if name not in self._arrays:
            try:
                self._arrays[name] = self.source.array(name, self.start, self.stop)
            except DatasetError:
                self._arrays[name] = None
        array = self._arrays[name]
        if array is None:
            return self.source.array(name, start, stop)
        return ak.to_packed(array[start - self.start : stop - self.start])

    def _hold(self, branches: Sequence[str]) -> None:
        """Read what of these branches was not asked for before; together, if nothing is wrong with it."""
        new = [name for name in branches if name not in self._columns]
        if not new:
            return
        try:
            self._columns.update(self.source.read(new, self.start, self.stop))
        except DatasetError:
            if len(new) == 1:
                self._columns[new[0]] = None
                return
            for name in new:
                self._hold([name])
