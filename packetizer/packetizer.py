"""Which entries a slot gets next, and how many.

Packets are sized by time, not by entries: a packet is what the slot is expected to process in `packet_seconds`, from its
own measured rate. The time is a quarter of what is left of the query (PROOF's rule, `TPacketizerAdaptive` of ROOT 5.34),
within bounds: long packets in the middle cost few messages, short ones at the end let all slots finish together.

Until a rate is known, a packet is `FIRST_ENTRIES` long and the slot is given `FIRST_SECONDS` for it: a slow analysis
stops there and hands the rest back, so that a bad guess costs nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from dataclasses import dataclass, field

from .ledger import FileState, Lease, Ledger

FIRST_ENTRIES = 100_000
FIRST_SECONDS = 0.3
SHORTEST = 0.1
LONGEST = 2.0
LONGEST_A_SLOT = 0.4
"""Few slots make shorter packets: with this many seconds for each slot, a result comes in at least twice a second."""
REST_IN_ONE = 1.5
"""The rest of a file is taken in one packet when it is under this many packets (PROOF's figure)."""
MEMORY = 0.5
"""Weight of the newest packet in a slot's rate."""


@dataclass(slots=True)
class Pace:
    """How fast a slot processes this analysis: entries a second, 0 while unknown; and the file it has open."""

    rate: float = 0.0
    file: int | None = None

    def learn(self, entries: int, seconds: float) -> None:
        """Take in one finished packet."""
        if entries <= 0:
            return
        rate = entries / max(seconds, 1e-6)
        self.rate = rate if self.rate == 0.0 else (1 - MEMORY) * self.rate + MEMORY * rate


@dataclass(frozen=True, slots=True)
class Packet:
    """A lease with the time it may take."""

    lease: Lease
    seconds: float


@dataclass(slots=True)
class Packetizer:
    """Hands the entries of one query's ledger to slots.

    Args:
        ledger: the query's ledger; every lease is made here and nowhere else.
        rate: entries a second a slot did in an earlier query of the same analysis, 0 when there was none.

    Example:
        >>> packetizer = Packetizer(Ledger([None]))
        >>> packet = packetizer.next("slot 0")
        >>> packet.lease.opening, packet.lease.stop
        (True, 100000)
    """

    ledger: Ledger
    rate: float = 0.0
    paces: dict[Hashable, Pace] = field(default_factory=dict)

    def next(self, slot: Hashable) -> Packet | None:
        """Lease the next packet to `slot`, or None when there is nothing to lease now."""
        pace = self.paces.setdefault(slot, Pace())
        entries, seconds = self.size(pace)
        file = pace.file if pace.file in self.ledger.ready else None
        if file is None:
            unopened = self.ledger.openable()
            if unopened is not None:
                pace.file = unopened
                if self.ledger.limit is not None:
                    entries = min(entries, self.ledger.limit - self.ledger.opened_entries)
                return Packet(self.ledger.lease_opening(unopened, entries, slot), seconds)
            file = self._most_todo()
        if file is None:
            return None
        state = self.ledger.files[file]
        start, stop = state.todo.first() if pace.file == file else self._apart(state)
        pace.file = file
        return Packet(self.ledger.lease(file, start, cut(state, start, stop, entries), slot), seconds)

    def size(self, pace: Pace) -> tuple[int, float]:
        """Entries for the next packet of a slot of this pace, and the seconds that it may take."""
        rate = pace.rate or self.rate
        if rate == 0.0:
            known = [other.rate for other in self.paces.values() if other.rate > 0.0]
            rate = sum(known) / len(known) if known else 0.0
        if rate == 0.0:
            return FIRST_ENTRIES, FIRST_SECONDS
        fleet = sum(other.rate or rate for other in self.paces.values())
        left = (self.ledger.total - self.ledger.processed - self.ledger.failed) / fleet
        longest = min(LONGEST, LONGEST_A_SLOT * len(self.paces))
        seconds = min(longest, max(SHORTEST, left / 4))
        return max(1, round(rate * seconds)), 2 * seconds

    def learn(self, slot: Hashable, entries: int, seconds: float) -> None:
        """A slot has finished a packet of `entries` in `seconds`."""
        pace = self.paces.setdefault(slot, Pace())
        pace.learn(entries, seconds)
        self.rate = pace.rate

    def forget(self, slot: Hashable) -> None:
        """A slot is gone."""
        self.paces.pop(slot, None)

    def _most_todo(self) -> int | None:
        """The opened file with most to do: slots that join it leave each other room."""
        return max(self.ledger.ready, key=lambda file: self.ledger.files[file].todo.entries, default=None)

    def _apart(self, state: FileState) -> tuple[int, int]:
        """Where a slot joins a file that others are reading: half-way into its longest free range, at a cluster."""
        start, stop = max(state.todo, key=lambda span: span[1] - span[0])
        if not any(not self.ledger.leases[number].finished for number in state.leases):
            return start, stop
        middle = (start + stop) // 2
        index = bisect_left(state.clusters, middle)
        if index < len(state.clusters) and start < state.clusters[index] < stop:
            middle = state.clusters[index]
        return (middle, stop) if start < middle < stop else (start, stop)


def cut(state: FileState, start: int, stop: int, entries: int) -> int:
    """Where a packet of about `entries` from `start` ends: on a cluster boundary near by, at `stop` at the latest.

    Example:
        >>> cut(FileState(entries=1000, clusters=[0, 300, 600, 1000]), 0, 1000, 350)
        300
        >>> cut(FileState(entries=1000, clusters=[0, 300, 600, 1000]), 0, 1000, 100)
        100
    """
    if stop - start < REST_IN_ONE * entries:
        return stop
    wish = start + entries
    index = bisect_left(state.clusters, wish)
    near = [edge for edge in state.clusters[max(0, index - 1) : index + 1] if start < edge <= stop]
    best = min(near, key=lambda edge: abs(edge - wish), default=wish)
    return best if abs(best - wish) <= 0.5 * entries else wish
