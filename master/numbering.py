"""Numbers for the names of queries and peers, of which none is given twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Numbering:
    """Numbers for the names of queries and peers; `last` is the last one given."""

    last: int = 0

    def next(self) -> int:
        """One that nothing has had."""
        self.last += 1
        return self.last

    def taken(self, name: str) -> None:
        """An earlier master gave this name: two of one name would be taken for one."""
        self.last = max(self.last, number_of(name))


def number_of(name: str) -> int:
    """The number that a name ends with, 0 if with none.

    Example:
        >>> number_of("node7.cern.ch-12"), number_of("qab12-3"), number_of("worker")
        (12, 3, 0)
    """
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
