"""When each slot will be through with what it has, and which of them cannot be counted on."""

from __future__ import annotations

import heapq
import math
from collections.abc import Generator, Mapping
from typing import Generic

from .leases import Holder, Lease
from .ledger import Ledger
from .packet_size import FIRST_SECONDS, PacketSize
from .packets import Truncation
from .placement import Place, Placement
from .throughput import Throughput

PATIENCE = 1.0
"""Seconds that a slot may take to answer a truncation, or be late, before its leases are duplicated."""
FIRST_PATIENCE = 30.0
"""Seconds that a slot of which nothing is known yet may be late; one that is at its first item is never late."""
SLACK = 64
"""Entries of the order of slots that may be out of date, beside as many as there are slots, before it is made anew."""


class Ends(Generic[Holder]):
    """The queues of a query's slots, and when these are expected to be through with them.

    Args:
        ledger: the query's ledger: where the leases end.
        placement: the file servers that slots read from.
        throughputs: the slots, as they come and go.
        size: what to expect of them.

    Attributes:
        asked: truncations that were asked for and not answered, by lease: when, and where it is to end.
    """

    def __init__(
        self, ledger: Ledger[Holder], placement: Placement, throughputs: Mapping[Holder, Throughput], size: PacketSize
    ) -> None:
        self._ledger = ledger
        self._placement = placement
        self._throughputs = throughputs
        self._size = size
        self.asked: dict[int, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Holder]] = []
        self._moved: dict[Holder, None] = {}
        self._changes = 0

    def take(self, slot: Holder, throughput: Throughput, lease: Lease[Holder], place: Place, now: float) -> None:
        """A lease goes to the end of a slot's queue."""
        throughput.queue[lease.number] = self._placement.server(place)
        if len(throughput.queue) == 1:
            self.begin(throughput, lease.start, now)
        self.changed(slot, throughput)

    def begin(self, throughput: Throughput, entry: int, now: float) -> None:
        """A slot begins with the first lease of its queue."""
        before = throughput.rate
        throughput.begin(entry, now, self._placement.ratios)
        self._size.fleet += throughput.rate - before

    def left(self, throughput: Throughput) -> list[tuple[Lease[Holder], int]]:
        """The leases of a slot, and how many entries of each it has still to do, of what was known of it at
        `throughput.at`."""
        left = []
        for position, number in enumerate(throughput.queue):
            lease = self._ledger.leases.get(number)
            if lease is not None:
                stop = self.asked[number][1] if number in self.asked else lease.stop
                left.append(
                    (lease, max(0, stop - (max(lease.start, throughput.entry) if position == 0 else lease.start)))
                )
        return left

    def changed(self, slot: Holder, throughput: Throughput) -> None:
        """A slot will be through at another time than before; when, is reckoned when somebody asks."""
        self._changes += 1
        throughput.version = self._changes
        self._moved[slot] = None

    def end(self, throughput: Throughput) -> float:
        """When a slot that has something to do is expected to be through with all of it."""
        rate = self._size.rate_of(throughput)
        if not rate:
            return throughput.at + FIRST_SECONDS
        return throughput.at + sum(
            [entries / self._size.slowed(rate, lease.chunk) for lease, entries in self.left(throughput)]
        )

    def forget(self, slot: Holder) -> None:
        """A slot is gone."""
        self._moved.pop(slot, None)

    def stuck(self, throughput: Throughput, now: float) -> bool:
        """Whether a slot cannot be counted on: silent, late, or deaf to what it was asked."""
        if throughput.suspected:
            return True
        if now - throughput.at > PATIENCE:  # or it is not late, whenever it is expected to be through
            late = now - self.end(throughput)
            if late > PATIENCE and late > self._patience_with(throughput):
                return True
        asked = self.asked.keys() & throughput.queue.keys() if self.asked else ()
        return any(now - self.asked[number][0] > self._patience for number in asked)

    @property
    def _patience(self) -> float:
        """Seconds that a slot may take to answer: it does so between two chunks, which take what they take."""
        return PATIENCE + 2 * max(self._size.overhead, self._size.chunk_seconds)

    def _patience_with(self, throughput: Throughput) -> float:
        """Seconds that a slot may be late: items take what they take, and where nothing is known nobody is late soon."""
        if self._size.first == 1:
            return max(PATIENCE, self.end(throughput) - throughput.at) if self._size.rate_of(throughput) else math.inf
        return self._patience if self._size.rate_of(throughput) else FIRST_PATIENCE

    def ask(self, victim: Holder, other: Throughput, lease: Lease[Holder], stop: int, now: float) -> Truncation[Holder]:
        """A lease is to end at `stop`; its slot is expected to be through sooner from now on."""
        self.asked[lease.number] = (now, stop)
        self.changed(victim, other)
        return Truncation(lease, stop)

    def latest_first(self) -> Generator[tuple[float, Holder, Throughput], None, None]:
        """Slots that have something to do, those first that will be through last: when, which, and its throughput."""
        self._put_in_order()
        passed_over = []
        try:
            while self._heap:
                end, version, slot = item = heapq.heappop(self._heap)
                throughput = self._throughputs.get(slot)
                if throughput is not None and throughput.version == version and throughput.queue:
                    passed_over.append(item)
                    yield -end, slot, throughput
        finally:
            for item in passed_over:
                heapq.heappush(self._heap, item)

    def _put_in_order(self) -> None:
        """Take note of what has changed since somebody looked: of a long query nobody does, before its end."""
        if len(self._heap) > 2 * len(self._throughputs) + SLACK:
            self._heap.clear()
            self._moved = dict.fromkeys(self._throughputs)
        for slot in self._moved:
            throughput = self._throughputs.get(slot)
            if throughput is not None and throughput.queue:
                heapq.heappush(self._heap, (-self.end(throughput), throughput.version, slot))
        self._moved.clear()

    def outstanding(self, now: float) -> int:
        """Truncations that were asked for and may still be answered."""
        return sum(now - when < self._patience for when, _ in self.asked.values())
