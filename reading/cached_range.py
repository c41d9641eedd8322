"""Some entries of a file whose columns are kept once they are read, to be had again piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak

from ..packetizer.listed_entries import Entries
from ..protocol.errors import DatasetError
from .columns import Column
from .reader import Reader
from .selection import Selection
from .storage.sources import Traffic
from .view import View


class CachedRange:
    """A source of the entries `[start, stop)` of another one, which is read once however often a piece is asked for.

    A column that cannot be read as a whole is read in the pieces in which it is asked for: some of them may be sound.

    Example:
        >>> held = CachedRange(reader, 1000, 2000)                                                      # doctest: +SKIP
        >>> held.read(["MET_pt"], 1500, 1501), held.read(["MET_pt"], 1000, 1500)                 # doctest: +SKIP
    """

    def __init__(self, source: Reader | View | Selection, start: int, stop: int) -> None:
        self._source = source
        self._file = source.reader if isinstance(source, Selection) else source
        self._start, self._stop = start, stop
        self._columns: dict[str, Column | None] = {}
        self._arrays: dict[str, ak.Array | None] = {}

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        return self._source.traffic

    @property
    def names(self) -> Mapping[str, Any]:
        """As `Reader.names`."""
        return self._file.names

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Nothing is far."""

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`, for a piece."""
        if isinstance(self._file, View) and self._file.computes(branches):
            return self._file.read_from(self, branches, start, stop)
        self._hold(branches)
        low, high = start - self._start, stop - self._start
        columns = {}
        for name in branches:
            column = self._columns[name]
            if column is None:
                (columns[name],) = self._source.read([name], start, stop).values()
            else:
                columns[name] = column.slice(low, high)
        return columns

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`, for a piece."""
        if name not in self._arrays:
            try:
                self._arrays[name] = self._source.array(name, self._start, self._stop)
            except DatasetError:
                self._arrays[name] = None
        array = self._arrays[name]
        if array is None:
            return self._source.array(name, start, stop)
        return ak.to_packed(array[start - self._start : stop - self._start])

    def events(self, start: int, stop: int) -> Any:
        """As `Reader.events`, for a piece."""
        return self._file.lazy.array(self, start, stop)

    def numbers(self, start: int, stop: int) -> Entries | None:
        """As `PrefetchedRange.numbers`."""
        return self._source.numbers(start, stop) if isinstance(self._source, Selection) and start < stop else None

    def _hold(self, branches: Sequence[str]) -> None:
        """Read what of these branches was not asked for before; together, if nothing is wrong with it."""
        new = [name for name in branches if name not in self._columns]
        if not new:
            return
        try:
            self._columns.update(self._source.read(new, self._start, self._stop))
        except DatasetError:
            if len(new) == 1:
                self._columns[new[0]] = None
                return
            for name in new:
                self._hold([name])
