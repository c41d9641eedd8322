"""How many entries a packet has, and how long it may take: what is known of the speed of slots and of the cost of calls.

`docs/packetizer.md` has the formulas.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from .call_costs import Calls, Tried, bounded
from .file_states import FileState
from .leases import Lease
from .ledger import Ledger
from .throughput import Ratios, Throughput

FIRST_ENTRIES = 100_000
FIRST_SECONDS = 0.3
SHORTEST = 0.1
LONGEST = 2.0
LONGEST_A_SLOT = 0.4
"""Few slots make shorter packets: with this many seconds for each slot, a result comes in at least twice a second."""
PACKETS_A_SECOND = 2000.0
"""Many slots make longer packets, so that the master has no more than this many to deal with."""
REST_IN_ONE = 1.5
"""The rest of a file is taken in one packet when it is under this many packets (PROOF's figure)."""
DEAR = 0.02
"""Seconds that a call takes whatever its entries, from which on calls are dear."""
AHEAD = 0.5
"""Seconds of a call from which on a slot gets no second packet when others may need it: they would wait for its answer."""
MOST_ENTRIES = 1e9


class PacketSize:
    """The size of packets of one query.

    Args:
        ledger: the query's ledger: how much is left.
        throughputs: the slots that share it, as they come and go.
        rate: entries a second a slot did in an earlier query of the same analysis, 0 when there was none.
        first: entries of a slot's first packet; of items, which are worked on one by one, 1.
        known: calls of an earlier query of the same analysis.
        bounds: the least and the most entries that the user wants in a call.

    Attributes:
        rate: entries a second of the slot that has finished a packet last.
        fleet: entries a second of all slots together.
    """

    def __init__(
        self,
        ledger: Ledger[Any],
        throughputs: Mapping[Any, Throughput],
        rate: float,
        first: int,
        known: Sequence[Tried],
        bounds: tuple[int, int] | None,
    ) -> None:
        self._ledger = ledger
        self._throughputs = throughputs
        self.rate = rate
        self.fleet = 0.0
        self.first = first
        self.calls = Calls(known, one_by_one=first == 1)
        self.bounds = bounds

    def rate_of(self, throughput: Throughput) -> float:
        """Entries a second to expect of a slot: its own, or what others or earlier queries did, or 0."""
        return throughput.rate or self.rate

    def rate_with(self, throughput: Throughput, server: str, ratios: Ratios) -> float:
        """Entries a second to expect of a slot with a file server."""
        return throughput.rate_with(server, ratios) or self.rate

    def expected(self, throughput: Throughput, lease: Lease[Any], rate: float) -> float:
        """Seconds that a slot is expected to take for a lease; infinity while nobody knows. A file that is still to be
        opened is taken to have as many entries as others.
        """
        entries = float(lease.stop - lease.start)
        if lease.opening:
            files = self._ledger.files
            if not files.opened:
                return math.inf
            entries = min(entries, files.opened_entries / files.opened)
        return max(self.overhead, throughput.expected(entries, self.slowed(rate, lease.chunk)))

    def slowed(self, rate: float, chunk: int | None) -> float:
        """Entries a second of a slot that has to take `chunk` of them at a time, and otherwise does `rate`."""
        return rate if chunk is None or not rate else chunk / (self.overhead + chunk / rate)

    def seconds(self, rate: float) -> float:
        """T: a quarter of the time that is left, not too short for its overhead, nor too long for who is watching."""
        slots = max(1, len(self._throughputs))
        fleet = max(self.fleet, rate, 1e-9)
        files = self._ledger.files
        left = (files.total(self._ledger.leased) - files.processed - files.failed) / fleet
        longest = min(LONGEST, LONGEST_A_SLOT * slots)
        seconds = max(slots / PACKETS_A_SECOND, min(longest, max(SHORTEST, left / 4)))
        return max(seconds, self.chunk_seconds)

    @property
    def overhead(self) -> float:
        """Seconds that every call takes, whatever its entries; 0 while unknown."""
        return self.calls.law.fixed if self.calls.law is not None else 0.0

    @property
    def chunk(self) -> int:
        """Entries of a good call; 1 while nothing is known."""
        return bounded(self.calls.wish, self.bounds)

    @property
    def chunk_seconds(self) -> float:
        """Seconds of a good call; 0 while unknown. Files with fewer entries make shorter ones."""
        law, ledger = self.calls.law, self._ledger
        if law is None:
            return 0.0
        return law.seconds(min(self.chunk, ledger.total / len(ledger.files)) if ledger.total else self.chunk)

    def entries(self, throughput: Throughput, rate: float, seconds: float, leaving: bool) -> int:
        """Entries of a packet that is to take some seconds: whole calls, and no more than is left for each slot, unless that
        would be less than what a call costs anyway.
        """
        wish = max(1, round(min(rate * seconds * throughput.gain(self.overhead, seconds), MOST_ENTRIES)))
        if leaving or not self.calls.known:
            return wish
        chunk, law = self.chunk, self.calls.law
        whole = max(1, round(wish / chunk)) * chunk
        if law is None or self._left_to_lease is None:
            return whole
        least = law.fixed / law.each if law.each else math.inf
        return max(1, min(whole, max(self._left_to_lease // len(self._throughputs), math.ceil(min(chunk, least)))))

    @property
    def _left_to_lease(self) -> int | None:
        """Entries that no slot has; None while nobody knows."""
        ledger = self._ledger
        if not ledger.opened_files:
            return None
        return max(0, ledger.total - ledger.processed - ledger.failed - ledger.leased)

    @property
    def last_calls(self) -> bool:
        """Whether calls take long, and there is not one for every slot left to lease."""
        if self.chunk_seconds < AHEAD:
            return False
        left, ledger = self._left_to_lease, self._ledger
        if left is None:
            return False
        return left <= len(self._throughputs) * min(self.chunk, ledger.total / len(ledger.files))

    def is_one_call(self, entries: float) -> bool:
        """Whether so many entries take less than what the call costs anyway, and are not worth one of their own."""
        law = self.calls.law
        return law is not None and law.fixed >= DEAR and entries * law.each < law.fixed


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
    return align(state, start, stop, start + entries, entries)


def align(state: FileState, start: int, stop: int, wish: int, entries: float) -> int:
    """The cluster boundary nearest to `wish` in `(start, stop]`, if it is within half a packet of `entries`."""
    index = bisect_left(state.clusters, wish)
    near = [edge for edge in state.clusters[max(0, index - 1) : index + 1] if start < edge <= stop]
    best = min(near, key=lambda edge: abs(edge - wish), default=wish)
    return best if abs(best - wish) <= 0.5 * entries else wish
