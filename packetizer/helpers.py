"""What idle slots do for those that would end last, so that all of them end together."""

from __future__ import annotations

from contextlib import closing
from typing import Generic

from .ends import Ends
from .leases import Holder, Lease
from .ledger import Ledger
from .packet_size import PacketSize, align
from .packets import Help, Packet, Recall, Truncation
from .placement import Place, Placement
from .throughput import Throughput

OPENING_PATIENCE = 10.0
"""Seconds that a slot may take to open a file before another one does it, when others have nothing to do."""
LEAST_HELP = 0.1
"""A slot that is expected to be through within this many seconds is not helped."""
UNLIMITED = 1e6


class Helpers(Generic[Holder]):
    """Slots of a query that have nothing to do, while others have.

    Args:
        ledger: the query's ledger: what there is to help with.
        placement: which replica they are to read.
        size: how fast slots are, and what calls cost.
        ends: when the others will be through.
    """

    def __init__(self, ledger: Ledger[Holder], placement: Placement, size: PacketSize, ends: Ends[Holder]) -> None:
        self._ledger = ledger
        self._placement = placement
        self._size = size
        self._ends = ends

    def help(self, slot: Holder, throughput: Throughput, now: float) -> Help[Holder] | None:
        """What an idle slot can do: have a lease of another shortened, work on the same one, or nothing."""
        with closing(self._ends.latest_first()) as latest:
            for end, victim, other in latest:
                found: Help[Holder] | None = None
                if self._ends.stuck(other, now):
                    found = self._relieve(slot, throughput, other, now)
                elif not self._ends.asked.keys().isdisjoint(other.queue):
                    continue
                elif end - now < max(LEAST_HELP, self._size.overhead):
                    break  # nor will any of the others need help: they end sooner
                else:
                    found = self._truncation(victim, other, throughput, now) or self._race(slot, throughput, other, now)
                if found is not None:
                    return found
        return None

    def _truncation(
        self, victim: Holder, other: Throughput, throughput: Throughput, now: float
    ) -> Truncation[Holder] | None:
        """Split what `other` has left so that both end together; the part that `throughput` gets is cut from the back.

        With W entries left, rates a and b: both end in W / (a + b), the helper does W b / (a + b) of them. Of suspects it
        does whole chunks.
        """
        lease = self._ledger.leases[next(reversed(other.queue))]
        rate, helper = (self._size.slowed(self._size.rate_of(it), lease.chunk) for it in (other, throughput))
        waiting = len(other.queue) > 1
        if lease.opening and waiting:
            return self._ends.ask(victim, other, lease, 0, now)
        left = sum(entries for _, entries in self._ends.left(other)) - (now - other.at) * rate
        if lease.opening or lease.duplicate is not None or left <= 1 or not rate:
            return None
        share = left * helper / (rate + helper)
        front = lease.start if waiting else max(lease.start, other.entry)
        if waiting and self._size.is_one_call(min(share, lease.stop - front - share)):
            share = float(lease.stop - front)
        stop = max(front, lease.stop - max(1, round(share)))
        if lease.chunk is not None:
            stop = lease.start - (lease.start - stop) // lease.chunk * lease.chunk
            return self._ends.ask(victim, other, lease, stop, now) if stop < lease.stop else None
        stop = align(self._ledger.files[lease.file], front, lease.stop, stop, share)
        return self._ends.ask(victim, other, lease, stop, now)

    def _race(self, slot: Holder, throughput: Throughput, other: Throughput, now: float) -> Packet[Holder] | None:
        """A last entry, or a few that cannot be split, are done a second time by a slot that would be through sooner.

        Suspects are not: they would take that one down, too.
        """
        lease = self._ledger.leases[next(iter(other.queue))]
        rate = self._size.rate_of(throughput)
        if (
            lease.opening
            or lease.duplicate is not None
            or lease.start == lease.stop
            or not rate
            or lease.chunk is not None
        ):
            return None
        sooner = now + self._size.overhead + (lease.stop - lease.start) / rate < self._ends.end(other) - LEAST_HELP
        return self._duplicate(slot, throughput, lease, now) if sooner else None

    def _relieve(self, slot: Holder, throughput: Throughput, other: Throughput, now: float) -> Help[Holder] | None:
        """A slot is stuck: somebody else does what it has, one lease after the other. Files that wait to be opened are for
        others at once."""
        for number in other.queue:
            lease = self._ledger.leases[number]
            if lease.opening:
                if other.suspected or number != other.first or now - other.at > OPENING_PATIENCE:
                    return Recall(lease)
            elif lease.duplicate is None and lease.start < lease.stop:
                return self._duplicate(slot, throughput, lease, now)
        return None

    def _duplicate(self, slot: Holder, throughput: Throughput, lease: Lease[Holder], now: float) -> Packet[Holder]:
        duplicate = self._ledger.duplicate(lease.number, slot)
        place = Place(lease.file, self._placement.nearest_replica(throughput, lease.file))
        self._ends.take(slot, throughput, duplicate, place, now)
        return Packet(duplicate, UNLIMITED, place.replica, apart=True)
