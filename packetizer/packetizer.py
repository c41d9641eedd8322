"""Which entries a slot gets next, how many, and who helps whom at the end.

**Size.** Packets are sized by time: a packet is what the slot is expected to process in T seconds, from its own measured
rate. T is a quarter of what is left of the query (PROOF's rule, `TPacketizerAdaptive` of ROOT 5.34), within bounds. Until a
rate is known, a packet is `FIRST_ENTRIES` long and the slot is given `FIRST_SECONDS` for it: a slow analysis stops there and
hands the rest back, so that a bad guess costs nothing. Of an analysis that is dear by the call, however few entries the call
has (`calls`), a packet is at least one good call; when there is less than that for every slot, they share it.

**Place.** `placement` says which file a slot reads next, from which of its replicas.

**End.** When nothing is left to lease, the lease that would end last is shortened, so that its slot and the idle one are
expected to finish together (`help`). A slot that does not answer has its lease duplicated elsewhere. A slot that must leave,
or make way for another query, keeps what it can end in time (`make_way`).

Every method that depends on time is told it. `docs/packetizer.md` has the formulas.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .call_costs import Call, Calls, Tried, bounded
from .faults import NARROWING, Quarantine, Retries
from .files import FileState
from .leases import Lease
from .ledger import Ledger
from .placement import Place, Placement, domain, free_range
from .throughput import Throughput

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
LEAST_HELP = 0.1
"""A slot that is expected to be through within this many seconds is not helped."""
DEAR = 0.02
"""Seconds that a call takes whatever its entries, from which on calls are dear."""
AHEAD = 0.5
"""Seconds of a call from which on a slot gets no second packet when others may need it: they would wait for its answer."""
PATIENCE = 1.0
"""Seconds that a slot may take to answer a truncation, or be late, before its leases are duplicated."""
OPENING_PATIENCE = 10.0
"""Seconds that a slot may take to open a file before another one does it, when others have nothing to do."""
FIRST_PATIENCE = 30.0
"""Seconds that a slot of which nothing is known yet may be late; one that is at its first item is never late."""
ROOM = 0.8
"""The part of the time that a leaving slot has left which a packet is planned to take."""
ROOM_AT_MOST = 0.9
"""The part of it after which the slot stops wherever it is, and hands on the rest."""
UNLIMITED = 1e6
MOST_ENTRIES = 1e9


@dataclass(frozen=True, slots=True)
class Packet:
    """A lease with the time it may take, and the replica to read.

    `apart` when its result may be refused, or never come: another slot works on the same entries, or they are suspected of
    taking slots down; then they are to be taken in small chunks (`Lease.chunk`).
    """

    lease: Lease
    seconds: float
    replica: int = 0
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Truncation:
    """A lease that is to end at `stop`, because somebody else has nothing to do."""

    lease: Lease
    stop: int


@dataclass(frozen=True, slots=True)
class Recall:
    """A lease that is to be taken back, for somebody else to have it."""

    lease: Lease


Help = Truncation | Packet | Recall


class Packetizer:
    """Hands the entries of one query's ledger to slots.

    Args:
        ledger: the query's ledger; every lease is made here and nowhere else.
        replicas: for each file the paths or URLs it can be read at, which tell the servers that it is on.
        rate: entries a second a slot did in an earlier query of the same analysis, 0 when there was none.
        most_readers: slots that may read from one server at the same time.
        first: entries of a slot's first packet; of items, which are worked on one by one, 1.
        known: calls of an earlier query of the same analysis.
        chunk: the least and the most entries that the user wants in a call.

    Example:
        >>> packetizer = Packetizer(Ledger([None]), [["a.root"]])
        >>> packet = packetizer.next("slot 0", now=0.0)
        >>> packet.lease.opening, packet.lease.stop
        (True, 100000)
    """

    def __init__(
        self,
        ledger: Ledger,
        replicas: Sequence[Sequence[str]],
        rate: float = 0.0,
        most_readers: int | None = None,
        first: int = FIRST_ENTRIES,
        known: Sequence[Tried] = (),
        chunk: tuple[int, int] | None = None,
    ) -> None:
        self.ledger = ledger
        self.rate = rate
        self.first = first
        self.placement = Placement(ledger, replicas, most_readers)
        self.retries = Retries()
        self.kills = Quarantine()
        self.throughputs: dict[Hashable, Throughput] = {}
        self.calls = Calls(known, one_by_one=first == 1)
        self.bounds = chunk
        self._fleet = 0.0
        self._ends: list[tuple[float, int, int, Hashable]] = []
        self._pushes = 0
        self._asked: dict[int, tuple[float, int]] = {}

    # --- slots ----------------------------------------------------------------------------------------------------

    def join(self, slot: Hashable, host: str = "", site: str = "") -> None:
        """Say where a slot is; without it, a slot is nowhere in particular."""
        self.throughputs[slot] = Throughput(host, site or domain(host))

    def forget(self, slot: Hashable) -> None:
        """A slot is gone; its leases must have been given back."""
        throughput = self.throughputs.pop(slot, None)
        if throughput is not None:
            self.placement.leave(throughput)
            self._fleet -= throughput.rate

    # --- leasing --------------------------------------------------------------------------------------------------

    def next(self, slot: Hashable, now: float, until: float | None = None) -> Packet | None:
        """Lease the next packet to `slot`, or None when there is nothing to lease now.

        A slot that will be gone at `until` gets nothing that it is not expected to end before.
        """
        throughput = self.throughputs.setdefault(slot, Throughput())
        if throughput.queue and self._unwise(throughput, now):
            return None
        room = None if until is None else until - (max(now, throughput.end) if throughput.queue else now)
        if room is not None and room * ROOM < SHORTEST:
            return None
        place = self.placement.choose(throughput, now)
        if place is None:
            return None
        rate = self._rate_with(throughput, place)
        if room is not None and rate and min(rate * room * ROOM, room * ROOM / max(self.overhead, 1e-9)) < 1.0:
            return None
        seconds = self._seconds(rate)
        limit = seconds * 2 if rate else FIRST_SECONDS
        if room is not None:
            seconds, limit = min(seconds, room * ROOM), min(limit, room * ROOM_AT_MOST)
        entries = self._entries(throughput, rate, seconds, room is not None) if rate else self.first
        lease = self._lease(slot, throughput, place, rate, seconds, entries)
        self._take(slot, throughput, lease, place, now)
        return Packet(lease, limit, place.replica, apart=lease.chunk is not None)

    def _take(self, slot: Hashable, throughput: Throughput, lease: Lease, place: Place, now: float) -> None:
        """A lease goes to the end of a slot's queue."""
        throughput.queue[lease.number] = self.placement.server(place)
        if len(throughput.queue) == 1:
            self._begin(throughput, lease.start, now)
        self._expect(slot, throughput, now)

    def _begin(self, throughput: Throughput, entry: int, now: float) -> None:
        before = throughput.rate
        throughput.begin(entry, now, self.placement.ratios)
        self._fleet += throughput.rate - before

    def make_way(self, slot: Hashable, now: float, until: float) -> list[Truncation]:
        """Have a slot's leases end by the time `until`, if they are not expected to do so anyway; by now at the earliest."""
        throughput = self.throughputs.get(slot)
        if throughput is None:
            return []
        rate = self._rate_of(throughput)
        found, seconds = [], max(0.0, until - now)
        done = round((now - throughput.at) * rate) if seconds else 0
        for number in throughput.queue:
            lease = self.ledger.leases.get(number)
            if lease is None or lease.finished:
                continue
            front = max(lease.start, throughput.entry) if number == throughput.first else lease.start
            stop = front + done + int(seconds * rate)
            asked = self._asked.get(number)
            if stop < (lease.stop if asked is None else asked[1]):
                found.append(self._ask(slot, throughput, lease, stop, now))
                seconds = 0.0
            elif rate:
                seconds = max(0.0, seconds - (lease.stop - front - done) / rate)
            done = 0
        return found

    def help(self, slot: Hashable, now: float) -> Help | None:
        """What an idle slot can do for those that would end last: have a lease shortened, or work on the same one."""
        throughput = self.throughputs.setdefault(slot, Throughput())
        passed_over = []
        found: Help | None = None
        while self._ends and found is None:
            end, version, _, victim = item = heapq.heappop(self._ends)
            other = self.throughputs.get(victim)
            if other is None or other.version != version or not other.queue:
                continue
            passed_over.append(item)
            if self._stuck(other, now):
                found = self._relieve(slot, throughput, other, now)
            elif any(number in self._asked for number in other.queue):
                continue
            elif -end - now >= max(LEAST_HELP, self.overhead):
                found = self._truncation(victim, other, throughput, now) or self._race(slot, throughput, other, now)
            else:
                break  # nor will any of the others need help: they end sooner
        for item in passed_over:
            heapq.heappush(self._ends, item)
        return found

    def suspect(self, slot: Hashable, suspected: bool) -> None:
        """A slot's worker has (or has no longer) been silent for longer than it should."""
        throughput = self.throughputs.get(slot)
        if throughput is not None:
            throughput.suspected = suspected

    def outstanding(self, now: float) -> int:
        """Truncations that were asked for and may still be answered."""
        return sum(now - when < self._patience for when, _ in self._asked.values())

    @property
    def anything(self) -> bool:
        """Whether there is anything to lease, to whomever."""
        return bool(self.ledger.ready or self.ledger.unopened)

    def _unwise(self, throughput: Throughput, now: float) -> bool:
        """Whether a slot should be through with what it has before it gets more: because it is stuck, or because it is
        opening a file at the start, when the slots that come a moment later want one too; or because calls take long, and
        there is not one more for every slot."""
        scarce = self.ledger.opened_files == 0 and len(self.ledger.unopened) <= len(self.throughputs)
        opening = any(self.ledger.leases[number].opening for number in throughput.queue)
        return (opening and scarce) or self._stuck(throughput, now) or self._last_calls

    # --- reports --------------------------------------------------------------------------------------------------

    def opened(self, slot: Hashable, number: int, now: float) -> None:
        """A file has been opened (and told to the ledger): the slot begins to read it."""
        throughput = self.throughputs[slot]
        if throughput.first == number:
            self._begin(throughput, self.ledger.leases[number].start, now)
        self._expect(slot, throughput, now)

    def reached(self, slot: Hashable, number: int, entry: int, now: float) -> None:
        """A slot says where it is in a lease."""
        throughput = self.throughputs[slot]
        if throughput.first == number:
            before = throughput.rate
            throughput.reached(entry, now, usual=self.ledger.leases[number].chunk is None)
            self._fleet += throughput.rate - before
            self._expect(slot, throughput, now)

    def finished(
        self,
        slot: Hashable,
        number: int,
        start: int,
        stop: int,
        seconds: float,
        now: float,
        calls: Sequence[Call] = (),
    ) -> None:
        """A slot has finished a lease, `[start, stop)`, after `seconds` of work, with these `calls` of the analysis."""
        for entries, took in calls:
            self.calls.add(entries, took)
        throughput = self.throughputs[slot]
        before = throughput.rate
        lease = self.ledger.leases.get(number)
        if throughput.first == number and (lease is None or lease.chunk is None):
            throughput.finished(start, stop, seconds, self.placement.ratios)
        self._fleet += throughput.rate - before
        self.rate = throughput.rate or self.rate
        self.dropped(slot, number, now)

    def server(self, slot: Hashable, number: int) -> str:
        """The file server that a slot reads a lease from, "" for its own disk."""
        throughput = self.throughputs.get(slot)
        return "" if throughput is None else throughput.queue.get(number, "")

    def truncated(self, slot: Hashable, number: int, now: float) -> None:
        """A slot has answered a truncation (and the ledger knows)."""
        self._asked.pop(number, None)
        if number in self.ledger.leases:
            self._expect(slot, self.throughputs[slot], now)
        else:
            self.dropped(slot, number, now)

    def dropped(self, slot: Hashable, number: int, now: float) -> None:
        """A slot no longer works on a lease."""
        self._asked.pop(number, None)
        throughput = self.throughputs.get(slot)
        if throughput is None or number not in throughput.queue:
            return
        first = throughput.first == number
        del throughput.queue[number]
        if first and throughput.first is not None:
            lease = self.ledger.leases.get(throughput.first)
            self._begin(throughput, lease.start if lease is not None else 0, now)
        if not throughput.queue:
            self.placement.rest(throughput)
        self._expect(slot, throughput, now)

    def worked(self, slot: Hashable, lease: Lease) -> int:
        """Entries of a lease that its slot is known to have processed."""
        if lease.finished:
            return lease.stop - lease.start
        throughput = self.throughputs.get(slot)
        return (
            max(0, throughput.entry - lease.start) if throughput is not None and throughput.first == lease.number else 0
        )

    def _lease(
        self, slot: Hashable, throughput: Throughput, place: Place, rate: float, seconds: float, entries: int
    ) -> Lease:
        """Lease about so many entries at a place to a slot, which is expected to do them in some seconds."""
        alone = throughput.file == place.file
        self.placement.enter(throughput, place)
        ledger, file = self.ledger, place.file
        dear = self.overhead >= DEAR
        if place.opening:
            entries = int(entries * REST_IN_ONE) if dear and rate else entries
            left = entries if ledger.limit is None else ledger.limit - ledger.opened_entries
            lease = ledger.lease_opening(file, min(entries, left), slot)
            suspect = self.kills.suspect(file, 0, lease.stop, self.overhead)
            lease.chunk = None if suspect is None else suspect.chunk
            return lease
        state = ledger.files[file]
        start, stop = free_range(ledger, state, alone)
        if dear and stop - start < REST_IN_ONE * self.chunk:  # half of a range would be less than a call
            start, stop = free_range(ledger, state, alone=True)
        suspect = self.kills.suspect(file, start, stop, self.overhead)
        if suspect is None or suspect.start > start:  # suspects are leased alone, what comes before them without them
            stop = cut(state, start, stop if suspect is None else suspect.start, entries)
            return ledger.lease(file, start, stop, slot)
        chunks = max(1, int(seconds * self._slowed(rate, suspect.chunk) / suspect.chunk)) if rate else NARROWING
        lease = ledger.lease(file, start, min(suspect.stop, start + chunks * suspect.chunk), slot)
        lease.chunk = suspect.chunk
        return lease

    # --- sizing ---------------------------------------------------------------------------------------------------

    def _rate_of(self, throughput: Throughput) -> float:
        """Entries a second to expect of a slot: its own, or what others or earlier queries did, or 0."""
        return throughput.rate or self.rate

    def _rate_with(self, throughput: Throughput, place: Place) -> float:
        """Entries a second to expect of a slot at a place."""
        return throughput.rate_with(self.placement.server(place), self.placement.ratios) or self.rate

    def _slowed(self, rate: float, chunk: int | None) -> float:
        """Entries a second of a slot that has to take `chunk` of them at a time, and otherwise does `rate`."""
        return rate if chunk is None or not rate else chunk / (self.overhead + chunk / rate)

    def _seconds(self, rate: float) -> float:
        """T: a quarter of the time that is left, not too short for its overhead, nor too long for who is watching."""
        slots = max(1, len(self.throughputs))
        fleet = max(self._fleet, rate, 1e-9)
        left = (self.ledger.total - self.ledger.processed - self.ledger.failed) / fleet
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
        law, ledger = self.calls.law, self.ledger
        if law is None:
            return 0.0
        return law.seconds(min(self.chunk, ledger.total / len(ledger.files)) if ledger.total else self.chunk)

    def _entries(self, throughput: Throughput, rate: float, seconds: float, leaving: bool) -> int:
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
        return max(1, min(whole, max(self._left_to_lease // len(self.throughputs), math.ceil(min(chunk, least)))))

    @property
    def _left_to_lease(self) -> int | None:
        """Entries that no slot has; None while nobody knows."""
        ledger = self.ledger
        if not ledger.opened_files:
            return None
        return max(0, ledger.total - ledger.processed - ledger.failed - ledger.leased)

    @property
    def _last_calls(self) -> bool:
        """Whether calls take long, and there is not one for every slot left to lease."""
        left = self._left_to_lease
        if left is None or self.chunk_seconds < AHEAD:
            return False
        return left <= len(self.throughputs) * min(self.chunk, self.ledger.total / len(self.ledger.files))

    # --- the end --------------------------------------------------------------------------------------------------

    def _left(self, throughput: Throughput) -> list[tuple[Lease, int]]:
        """The leases of a slot, and how many entries of each it has still to do, of what was known of it at
        `throughput.at`."""
        left = []
        for position, number in enumerate(throughput.queue):
            lease = self.ledger.leases.get(number)
            if lease is not None:
                stop = self._asked[number][1] if number in self._asked else lease.stop
                left.append(
                    (lease, max(0, stop - (max(lease.start, throughput.entry) if position == 0 else lease.start)))
                )
        return left

    def _expect(self, slot: Hashable, throughput: Throughput, now: float) -> None:
        """Reckon anew when a slot will be through."""
        self._pushes += 1
        throughput.version = self._pushes
        rate = self._rate_of(throughput)
        if throughput.queue:
            left = self._left(throughput)
            throughput.end = throughput.at
            throughput.end += (
                sum(entries / self._slowed(rate, it.chunk) for it, entries in left) if rate else FIRST_SECONDS
            )
            heapq.heappush(self._ends, (-throughput.end, throughput.version, self._pushes, slot))

    def _stuck(self, throughput: Throughput, now: float) -> bool:
        """Whether a slot cannot be counted on: silent, late, or deaf to what it was asked."""
        if throughput.suspected or now - throughput.end > self._patience_with(throughput):
            return True
        return any(
            now - self._asked[number][0] > self._patience for number in throughput.queue if number in self._asked
        )

    @property
    def _patience(self) -> float:
        """Seconds that a slot may take to answer: it does so between two chunks, which take what they take."""
        return PATIENCE + 2 * max(self.overhead, self.chunk_seconds)

    def _patience_with(self, throughput: Throughput) -> float:
        """Seconds that a slot may be late: items take what they take, and where nothing is known nobody is late soon."""
        if self.first == 1:
            return max(PATIENCE, throughput.end - throughput.at) if self._rate_of(throughput) else math.inf
        return self._patience if self._rate_of(throughput) else FIRST_PATIENCE

    def _truncation(self, victim: Hashable, other: Throughput, throughput: Throughput, now: float) -> Truncation | None:
        """Split what `other` has left so that both end together; the part that `throughput` gets is cut from the back.

        With W entries left, rates a and b: both end in W / (a + b), the helper does W b / (a + b) of them. Of suspects it
        does whole chunks.
        """
        lease = self.ledger.leases[next(reversed(other.queue))]
        rate, helper = (self._slowed(self._rate_of(it), lease.chunk) for it in (other, throughput))
        waiting = len(other.queue) > 1
        if lease.opening and waiting:
            return self._ask(victim, other, lease, 0, now)
        left = sum(entries for _, entries in self._left(other)) - (now - other.at) * rate
        if lease.opening or lease.duplicate is not None or left <= 1 or not rate:
            return None
        share = left * helper / (rate + helper)
        front = lease.start if waiting else max(lease.start, other.entry)
        if waiting and self._is_one_call(min(share, lease.stop - front - share)):
            share = lease.stop - front
        stop = max(front, lease.stop - max(1, round(share)))
        if lease.chunk is not None:
            stop = lease.start - (lease.start - stop) // lease.chunk * lease.chunk
            return self._ask(victim, other, lease, stop, now) if stop < lease.stop else None
        stop = align(self.ledger.files[lease.file], front, lease.stop, stop, share)
        return self._ask(victim, other, lease, stop, now)

    def _is_one_call(self, entries: float) -> bool:
        """Whether so many entries take less than what the call costs anyway, and are not worth one of their own."""
        law = self.calls.law
        return law is not None and law.fixed >= DEAR and entries * law.each < law.fixed

    def _ask(self, victim: Hashable, other: Throughput, lease: Lease, stop: int, now: float) -> Truncation:
        self._asked[lease.number] = (now, stop)
        self._expect(victim, other, now)
        return Truncation(lease, stop)

    def _race(self, slot: Hashable, throughput: Throughput, other: Throughput, now: float) -> Packet | None:
        """A last entry, or a few that cannot be split, are done a second time by a slot that would be through sooner.

        Suspects are not: they would take that one down, too.
        """
        lease = self.ledger.leases[next(iter(other.queue))]
        rate = self._rate_of(throughput)
        if (
            lease.opening
            or lease.duplicate is not None
            or lease.start == lease.stop
            or not rate
            or lease.chunk is not None
        ):
            return None
        sooner = now + self.overhead + (lease.stop - lease.start) / rate < other.end - LEAST_HELP
        return self._duplicate(slot, throughput, lease, now) if sooner else None

    def _relieve(self, slot: Hashable, throughput: Throughput, other: Throughput, now: float) -> Help | None:
        """A slot is stuck: somebody else does what it has, one lease after the other."""
        for number in other.queue:
            lease = self.ledger.leases[number]
            if lease.opening:
                if other.suspected or now - other.at > OPENING_PATIENCE:
                    return Recall(lease)
            elif lease.duplicate is None and lease.start < lease.stop:
                return self._duplicate(slot, throughput, lease, now)
        return None

    def _duplicate(self, slot: Hashable, throughput: Throughput, lease: Lease, now: float) -> Packet:
        duplicate = self.ledger.duplicate(lease.number, slot)
        place = Place(lease.file, self.placement.nearest_replica(throughput, lease.file))
        self._take(slot, throughput, duplicate, place, now)
        return Packet(duplicate, UNLIMITED, place.replica, apart=True)


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
