"""How fast a slot is, and when it will be through with what it has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEMORY = 3.0
"""Seconds after which an observation of a slot's speed weighs 1/e: a slot that slows down is seen within a packet."""


@dataclass(slots=True)
class Pace:
    """Speed and work at hand of one slot, for one query.

    The rate is the ratio of two sums that decay together, entries and seconds: short packets weigh little, old ones less.

    Attributes:
        host, site: where the slot is.
        file: the file that it has open.
        queue: numbers of its unfinished leases, in the order in which it works on them.
        entry, at: the entry that it had reached in the first of them, and when.
        end: when it is expected to be through with all of them.
        suspected: its worker has not been heard of for longer than it should.
    """

    host: str = ""
    site: str = ""
    file: int | None = None
    queue: list[int] = field(default_factory=list)
    entry: int = 0
    at: float = 0.0
    end: float = 0.0
    version: int = 0
    suspected: bool = False
    _entries: float = 0.0
    _seconds: float = 0.0
    _spent: float = 0.0

    @property
    def rate(self) -> float:
        """Entries a second, 0 while unknown."""
        return self._entries / self._seconds if self._seconds > 0.0 else 0.0

    def observe(self, entries: int, seconds: float) -> None:
        """The slot took `seconds` for `entries`."""
        seconds = max(seconds, 1e-6)
        keep = math.exp(-seconds / MEMORY)
        self._entries = keep * self._entries + entries
        self._seconds = keep * self._seconds + seconds

    def begin(self, entry: int, now: float) -> None:
        """The slot begins the first lease of its queue."""
        self.entry, self.at, self._spent = entry, now, 0.0

    def reached(self, entry: int, now: float) -> None:
        """The slot says where it is in its first lease."""
        if entry > self.entry and now > self.at:
            self.observe(entry - self.entry, now - self.at)
            self._spent += now - self.at
            self.entry, self.at = entry, now

    def finished(self, stop: int, seconds: float) -> None:
        """The slot has finished its first lease, in `seconds` all in all."""
        if stop > self.entry:
            self.observe(stop - self.entry, seconds - self._spent)
