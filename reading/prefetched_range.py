"""Some entries of a file whose columns were read before they are asked for, as far as anybody knew what would be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import awkward as ak

from .columns import Column, Flat, Strings
from .source import EntryRange, Source
from .storage.sources import Traffic

REMEMBERED = 8
"""Chunks for which a column that a function has touched is read ahead."""


@dataclass(frozen=True, slots=True)
class Names:
    """Branches that are read as `columns`, and those that are read as awkward `arrays`."""

    columns: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.columns or self.arrays)

    def among(self, known: Any) -> Names:
        """Those of them that a file has."""
        return Names(tuple(filter(known.__contains__, self.columns)), tuple(filter(known.__contains__, self.arrays)))


class Touched:
    """The columns that a columnar function has touched in its last chunks, which the next ones are expected to touch."""

    def __init__(self) -> None:
        self._chunk = 0
        self._columns: dict[str, int] = {}
        self._arrays: dict[str, int] = {}

    def learn(self, touched: Names) -> None:
        """A chunk is over, in which these columns were touched."""
        self._chunk += 1
        for known, names in ((self._columns, touched.columns), (self._arrays, touched.arrays)):
            known.update(dict.fromkeys(names, self._chunk))
            for name in [name for name, chunk in known.items() if self._chunk - chunk >= REMEMBERED]:
                del known[name]

    @property
    def names(self) -> Names:
        """What to read ahead."""
        return Names(tuple(self._columns), tuple(self._arrays))


class PrefetchedRange(EntryRange):
    """A source of the entries `[start, stop)` of another one: what was fetched is at hand, the rest is read when asked for.

    Any part of the entries may be asked for: a packet may end earlier than it was meant to.

    Args:
        source: of a file.
        start: first entry.
        stop: entry after the last.
        alone: entered while anything is read on demand; no other thread reads then.

    Attributes:
        waited: seconds of waiting for bytes in what was read here, ahead or on demand.
        idle: of these, the seconds that the chunk itself waited, since it was read on demand.

    Example:
        >>> fetched = PrefetchedRange(reader, 1000, 2000, alone=nullcontext)                             # doctest: +SKIP
        >>> fetched.fetch(Names(("MET_pt",)))                                                    # doctest: +SKIP
        >>> fetched.read(["MET_pt", "nMuon"], 1000, 1500)                                        # doctest: +SKIP
    """

    def __init__(
        self, source: Source, start: int, stop: int, alone: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__(source, start, stop)
        self.waited = self.idle = 0.0
        self._alone = alone
        self._columns: dict[str, Column] = {}
        self._arrays: dict[str, ak.Array] = {}
        self._touched: tuple[dict[str, None], dict[str, None]] = {}, {}
        self._failed: tuple[Sequence[str], Exception] | None = None

    @property
    def touched(self) -> Names:
        """What has been asked for."""
        columns, arrays = self._touched
        return Names(tuple(columns), tuple(arrays))

    @property
    def size(self) -> int:
        """Bytes of memory of what has been read."""
        return sum(map(_size, self._columns.values())) + sum(int(array.nbytes) for array in self._arrays.values())

    def fetch(self, names: Names) -> None:
        """Read these columns together; called in whatever thread reads.

        What cannot be read, or made by an alias, raises when it is asked for: nobody may ever do so.
        """
        began = time.monotonic(), time.thread_time(), self.source.traffic.waited
        try:
            if names.columns:
                self._columns |= self.source.read(names.columns, self.start, self.stop)
            for name in names.arrays:
                self._arrays[name] = self.source.array(name, self.start, self.stop)
        except Exception as error:
            self._failed = names.columns, error
        self.waited += _waited(began, self.source.traffic)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`."""
        self._touched[0].update(dict.fromkeys(branches))
        missing = [name for name in branches if name not in self._columns]
        if missing:
            if self._failed is not None and set(missing) == set(self._failed[0]):
                raise self._failed[1]
            self._columns |= self._now(lambda: self.source.read(missing, self.start, self.stop))
        columns = {name: self._columns[name] for name in branches}
        if (start, stop) == (self.start, self.stop):
            return columns
        low, high = self.at_hand(start, stop)
        return {name: column.slice(low, high) for name, column in columns.items()}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`."""
        self._touched[1][name] = None
        if name not in self._arrays:
            self._arrays[name] = self._now(lambda: self.source.array(name, self.start, self.stop))
        array = self._arrays[name]
        if (start, stop) == (self.start, self.stop):
            return array
        return ak.to_packed(array[start - self.start : stop - self.start])

    def _now(self, read: Callable[[], Any]) -> Any:
        with self._alone():
            began = time.monotonic(), time.thread_time(), self.source.traffic.waited
            try:
                return read()
            finally:
                waited = _waited(began, self.source.traffic)
                self.waited, self.idle = self.waited + waited, self.idle + waited


def _waited(began: tuple[float, float, float], traffic: Traffic) -> float:
    """Seconds that the thread waited for bytes: copying them out of the machine's own memory is no waiting."""
    clock, cpu, waited = began
    return max(0.0, min(traffic.waited - waited, time.monotonic() - clock - (time.thread_time() - cpu)))


def _size(column: Column) -> int:
    if isinstance(column, Flat):
        return int(column.values.nbytes)
    content = column.characters.nbytes if isinstance(column, Strings) else _size(column.content)
    return int(column.offsets.nbytes) + content
