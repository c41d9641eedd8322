"""What packets cost those who worked on them, for the reports of a query and the list of workers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .values import LONGEST, MOST, Amount, NonNegative, Seconds, Word

Span = tuple[Seconds, Seconds]
"""From when to when."""


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What packets cost those who worked on them; sums over any number of packets, slots and workers.

    Attributes:
        packets, entries: how many.
        elapsed: seconds in which a slot had one of them in hand.
        cpu: CPU seconds, of all threads.
        waited: seconds of `elapsed` in which a slot had nothing to compute, since its data had not come.
        bytes_read, requests: what was asked for from files, compressed as it is.
        latency: seconds from a request to its answer, the mean over all requests; those to a disk count with 0.
        calls: calls of the analysis.
        fixed: seconds that these would have taken without any entries.
        opening: seconds of `elapsed` until the file was open; `late` are those of them that are in `waited`, too.
        compiling: seconds of `elapsed` for loading the analysis and compiling it, once a slot.
    """

    packets: NonNegative = 0
    entries: NonNegative = 0
    elapsed: Seconds = 0.0
    cpu: Seconds = 0.0
    waited: Seconds = 0.0
    bytes_read: NonNegative = 0
    requests: NonNegative = 0
    latency: Seconds = 0.0
    calls: NonNegative = 0
    fixed: Seconds = 0.0
    opening: Seconds = 0.0
    late: Seconds = 0.0
    compiling: Seconds = 0.0

    @property
    def efficiency(self) -> float:
        """CPU seconds a second; above 1 where a slot reads ahead in a thread while it computes."""
        return self.cpu / self.elapsed if self.elapsed else 0.0

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes_read / self.elapsed if self.elapsed else 0.0

    def __add__(self, other: Usage) -> Usage:
        """The sum, as far as it can travel; the mean latency of all requests.

        Example:
            >>> (Usage(requests=3, latency=0.1) + Usage(requests=1, latency=0.5)).latency
            0.2
        """
        packets, entries = self.packets + other.packets, self.entries + other.entries
        elapsed, cpu, waited = self.elapsed + other.elapsed, self.cpu + other.cpu, self.waited + other.waited
        size, requests = self.bytes_read + other.bytes_read, self.requests + other.requests
        trips = self.latency * self.requests + other.latency * other.requests
        latency, calls, fixed = (
            trips / requests if requests else 0.0,
            self.calls + other.calls,
            self.fixed + other.fixed,
        )
        opening, late = self.opening + other.opening, self.late + other.late
        compiling = self.compiling + other.compiling
        # a master does this four times a packet: all bounds are seldom looked at
        if elapsed + cpu + waited + latency + fixed + opening + late + compiling > LONGEST:
            elapsed, cpu, waited, latency = (min(LONGEST, it) for it in (elapsed, cpu, waited, latency))
            fixed, opening, late, compiling = (min(LONGEST, it) for it in (fixed, opening, late, compiling))
        if packets + entries + size + requests + calls > MOST:
            packets, entries, size, requests, calls = (
                min(MOST, it) for it in (packets, entries, size, requests, calls)
            )
        return Usage(
            packets, entries, elapsed, cpu, waited, size, requests, latency, calls, fixed, opening, late, compiling
        )


NOTHING = Usage()
"""What no packets cost."""


def summed(usages: Iterable[Usage]) -> Usage:
    """The sum of any number of them."""
    return sum(usages, start=NOTHING)


class WorkerInfo(msgspec.Struct, frozen=True):
    """What a worker did: a line of the list of workers, or of the report of a query, whose clock begins with the query.

    Attributes:
        busy: slots that have a packet in hand.
        packets, entries: what its slots are through with.
        seconds: that they took for it, without opening files and compiling.
        by_slot, by_server: what its packets cost, each in full.
        processed: entries that are in the result; what is missing to `entries` was lost or skipped.
        joined, left: seconds; None where nobody knows, and while it is there.
        spans: of each slot, the seconds at which its first packet began and its last one ended.
    """

    worker: Word
    host: Word
    pid: NonNegative
    slots: NonNegative
    busy: NonNegative
    packets: NonNegative
    entries: NonNegative
    seconds: Seconds
    site: Word = ""
    by_slot: dict[NonNegative, Usage] = {}
    by_server: dict[Word, Usage] = {}
    processed: NonNegative = 0
    joined: Seconds | None = None
    left: Seconds | None = None
    spans: dict[NonNegative, Span] = {}


class Course(msgspec.Struct, frozen=True):
    """How a query went, in steps of equal length from its beginning on.

    Attributes:
        step: seconds of each.
        busy: slot seconds in which a packet was in hand; divided by `step`, the slots at work.
        waited: those of them without anything to compute, since data had not come.
        entries: that were done; of a packet, the same in each second of it.
        merging: seconds from the last commit to the end.
        since: from when on it is known: a master that was started again knows nothing of the steps before.
    """

    step: Seconds = 0.0
    busy: list[Seconds] = []
    waited: list[Seconds] = []
    entries: list[Amount] = []
    merging: Seconds = 0.0
    since: Seconds = 0.0
