"""How far ahead a slot asks for data: a core without clock, thread or file.

What a slot will read are *stretches*: the rest of the packet in hand, then the packets that wait. Each is read in chunks
of about the same time, so that the depth is counted in chunks: as many as are computed while an answer is on its way, and
some more, within a number of bytes. What has been asked for is not asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from ...reading.storage.sources import AHEAD_BYTES
from .chunks import CHUNK_SECONDS

MARGIN = 2.0
"""Answers take up to so many times as long as they do on average."""
MOST = 50
"""Chunks that are asked for ahead at most, whatever has been measured."""
LEAST_PIECE = 1 << 20
"""Bytes that are asked for at a time at least: a smaller request is answered no sooner."""
LEAST_RATE = 64e6
"""Bytes a second that a slot may well take in. What comes in a round trip's time at this rate is asked for at a time: or the
first chunks, when nobody knows how fast they will be, would take one round trip each.
"""
CRUMB = 0.5
"""A part of a piece that is not asked for by itself, unless it is the next to be read, or the last of its packet."""

Key = tuple[str, int]
"""A query and a lease of it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries `[start, stop)` of a lease that are to be read, `chunk` of them at a time; each has `weight` bytes in the
    file, on average, 0 where that is not known.
    """

    lease: Key
    start: int
    stop: int
    chunk: int
    weight: float = 0.0

    @property
    def end(self) -> int:
        """Where its first chunk ends; no crumbs are left over."""
        return self.stop if self.stop - self.start < 1.5 * self.chunk else self.start + self.chunk


class ReadaheadWindow:
    """Decides what to ask for next, from how long chunks and answers took.

    Example:
        >>> window = ReadaheadWindow()
        >>> window.chunk_took(seconds=0.1)
        >>> packet = Stretch(("q1", 1), 1000, 9000, chunk=1000)
        >>> [(piece.start, piece.stop) for piece in window.ask([packet], latency=0.1)]
        [(1000, 2000), (2000, 3000), (3000, 4000), (4000, 5000)]
        >>> window.ask([packet], latency=0.1)
        []
    """

    def __init__(self) -> None:
        self._seconds = CHUNK_SECONDS
        self._asked: dict[Key, int] = {}

    def chunk_took(self, seconds: float) -> None:
        """A chunk was computed in `seconds`, without what it waited for its data."""
        self._seconds += (seconds - self._seconds) / 2

    def depth(self, latency: float) -> float:
        """Chunks to ask for ahead when an answer takes `latency` seconds: those that are computed until its first byte is
        there, one that is on its way, and one that is decoded.
        """
        return float(min(MOST, 2 + math.ceil(MARGIN * latency / max(self._seconds, 1e-3))))

    def ask(self, stretches: Sequence[Stretch], latency: float, halvings: int = 0) -> list[Stretch]:
        """What to ask for now, in the order in which it will be read; it counts as asked for from here on.

        Args:
            stretches: what will be read, in order.
            latency: seconds that an answer takes.
            halvings: how often to halve the bytes that may be on their way, because memory is short.
        """
        room = float(AHEAD_BYTES >> halvings)
        depth = self.depth(latency)
        least = min(max(LEAST_PIECE, latency * LEAST_RATE), room / 8)
        pieces = []
        for stretch in stretches:
            at, asked = stretch.start, self._asked.get(stretch.lease, 0)
            size = max(stretch.chunk, math.ceil(least / stretch.weight) if stretch.weight else 0)
            while at < stretch.stop and depth > 0 and room > 0:
                end = Stretch(stretch.lease, at, stretch.stop, size).end
                start, is_next = max(at, asked), stretch is stretches[0] and at == stretch.start
                if start < end and (is_next or end == stretch.stop or end - start >= CRUMB * (end - at)):
                    pieces.append(replace(stretch, start=start, stop=end))
                    asked = self._asked[stretch.lease] = end
                depth, room, at = depth - (end - at) / stretch.chunk, room - stretch.weight * (end - at), end
        return pieces

    def keep(self, leases: Container[Key]) -> None:
        """Forget what was asked for, but of these leases."""
        self._asked = {lease: asked for lease, asked in self._asked.items() if lease in leases}
