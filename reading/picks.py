"""How some entries of a file are read: those that lie close to each other in one go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..packetizer.listed_entries import Entries
from .storage.local import Range

LARGEST_READ = 500_000
"""Entries of a file, listed or not, that are in memory at a time to take the listed ones out of them."""


@dataclass(frozen=True, slots=True)
class Pick:
    """How some listed entries are read: the ranges of the file that hold them, and which they are in each range."""

    ranges: list[Range]
    inside: list[Entries]

    @property
    def is_whole(self) -> bool:
        """Whether all there is in one range is listed."""
        return len(self.ranges) == 1 and len(self.inside[0]) == self.ranges[0][1] - self.ranges[0][0]


def picked(entries: Entries, stride: int) -> Pick:
    """How to read some entries: those with less than `stride` others between them are read in one go."""
    if not len(entries):
        return Pick([(0, 0)], [entries])
    apart = np.diff(entries) > stride
    apart |= np.diff((entries - entries[0]) // LARGEST_READ) > 0
    inside = np.split(entries, np.flatnonzero(apart) + 1)
    ranges = [(int(some[0]), int(some[-1]) + 1) for some in inside]
    return Pick(ranges, [some - some[0] for some in inside])
