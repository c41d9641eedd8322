"""What is known of each file of a query, of which there may be millions.

Of a file that nobody has touched, of one that nobody needs, and of one that is done, a number is all that there is to know:
they are no objects.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .lengths import Lengths
from .ranges import Ranges

_NOTHING = Ranges()
"""Stands in a file's three places until it is opened; nothing is ever added to it."""
_OPEN, _UNNEEDED, _DONE = 0, 1, 2
"""What there is to know of a file of which no state is kept: of one that is done, `_DONE` and the number of its entries."""
_A_LOOK = 10_000
"""Files that are looked at together for those that are not done, of which there may be few."""
_NO_LEASES: frozenset[int] = frozenset()


@dataclass(slots=True)
class FileState:
    """What is known of one file of the query, and what has become of its entries."""

    known: int | None = None
    entries: int | None = None
    clusters: Sequence[int] = ()
    identity: str = ""
    todo: Ranges = _NOTHING
    done: Ranges = _NOTHING
    failed: Ranges = _NOTHING
    leases: frozenset[int] = _NO_LEASES
    opening: bool = False
    given_up: bool = False

    def open(self, entries: int) -> None:
        """The file has this many entries, and from now on they are somewhere."""
        self.entries = entries
        self.todo, self.done, self.failed = Ranges(), Ranges(), Ranges()

    @property
    def unopened(self) -> bool:
        """Whether it is still to be opened, and nobody is at it."""
        return self.entries is None and not (self.opening or self.given_up)

    @property
    def whole(self) -> bool:
        """Whether all of its entries are in the result, and nobody has anything of it."""
        return not self.leases and 0 < (self.entries or 0) == self.done.entries

    def cluster_from(self, entry: int) -> int | None:
        """The first cluster boundary at or behind an entry."""
        index = bisect_left(self.clusters, entry)
        return self.clusters[index] if index < len(self.clusters) else None


class FileStates:
    """The states of all files.

    Args:
        known: their entries, where these are known beforehand.

    Example:
        >>> states = FileStates(Lengths([7, None]))
        >>> states.lease(1, number=5)
        >>> states[1].open(10)
        >>> states[1].done.add(0, 10)
        >>> states.unlease(1, number=5)
        >>> states[1].whole, list(states[1].done), states[0].known
        (True, [(0, 10)], 7)
    """

    def __init__(self, known: Lengths) -> None:
        self.known = known
        self._states: dict[int, FileState] = {}  # of files that somebody works on, or that something is wrong with
        self._others = np.zeros(len(known), np.int64).data  # takes no memory, nor time, until it is written in

    def __len__(self) -> int:
        return len(self.known)

    @property
    def kept(self) -> int:
        """Of how many files there is an object."""
        return len(self._states)

    def undone(self) -> Iterator[tuple[int, int, int | None]]:
        """What is to do, (file, start, stop), in this order; `stop` is None for files that are still to be opened.

        While it is looked at, nothing may become of any file.
        """
        for first in range(0, len(self.known), _A_LOOK):
            there = np.asarray(self._others[first : first + _A_LOOK])
            for file in (first + np.flatnonzero(there == _OPEN)).tolist():
                state = self._states.get(file)
                if state is not None:
                    for start, stop in state.todo:
                        yield file, start, stop
                if state is None or state.unopened:
                    yield file, 0, None

    def __getitem__(self, file: int) -> FileState:
        """What is known of a file, to look at and to change."""
        try:
            return self._states[file]
        except KeyError:
            state = self._states[file] = self._seen(file)
            self._others[file] = _OPEN
            return state

    def __iter__(self) -> Iterator[FileState]:
        """What is known of each file, to look at only."""
        for file in range(len(self.known)):
            yield self._states.get(file) or self._seen(file)

    def _seen(self, file: int) -> FileState:
        """The state of a file of which none is kept: nobody has touched it, nobody needs it, or it is done."""
        state, seen = FileState(known=self.known[file]), self._others[file]
        state.given_up = seen == _UNNEEDED
        if seen >= _DONE:
            state.open(seen - _DONE)
            state.done.add(0, seen - _DONE)
        return state

    def drop(self, file: int) -> None:
        """Nobody needs a file, which nobody has open."""
        state = self._states.get(file)
        if state is None:
            self._others[file] = _UNNEEDED
        else:
            state.given_up = True

    def lease(self, file: int, number: int) -> None:
        """Somebody has a lease of a file."""
        state = self[file]
        state.leases |= {number}

    def unlease(self, file: int, number: int) -> None:
        """A lease of a file is over. Of one that is done, only the number of its entries is kept."""
        state = self[file]
        state.leases -= {number}
        if state.whole:
            self._others[file] = _DONE + state.done.entries
            del self._states[file]
