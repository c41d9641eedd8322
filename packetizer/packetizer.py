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

from collections.abc import Sequence
from typing import Generic

from .call_costs import Call, Tried
from .ends import Ends
from .faults import NARROWING, Quarantine, Retries
from .helpers import Helpers
from .homes import Homes
from .leases import Holder, Lease
from .ledger import Ledger
from .packet_size import DEAR, FIRST_ENTRIES, FIRST_SECONDS, REST_IN_ONE, SHORTEST, PacketSize, cut
from .packets import Help, Packet, Recall, Truncation
from .placement import Place, Placement, domain, free_range
from .throughput import Throughput

__all__ = ["FIRST_ENTRIES", "Packet", "Packetizer", "Recall", "Truncation"]

ROOM = 0.8
"""The part of the time that a leaving slot has left which a packet is planned to take."""
ROOM_AT_MOST = 0.9
"""The part of it after which the slot stops wherever it is, and hands on the rest."""


class Packetizer(Generic[Holder]):
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
        ledger: Ledger[Holder],
        replicas: Homes | Sequence[Sequence[str]],
        rate: float = 0.0,
        most_readers: int | None = None,
        first: int = FIRST_ENTRIES,
        known: Sequence[Tried] = (),
        chunk: tuple[int, int] | None = None,
    ) -> None:
        self.ledger = ledger
        self.placement = Placement(ledger, replicas, most_readers)
        self.retries = Retries()
        self.kills = Quarantine()
        self.throughputs: dict[Holder, Throughput] = {}
        self.size = PacketSize(ledger, self.throughputs, rate, first, known, chunk)
        self.calls = self.size.calls
        self.ends = Ends(ledger, self.placement, self.throughputs, self.size)
        self._helpers = Helpers(ledger, self.placement, self.size, self.ends)

    @property
    def rate(self) -> float:
        """Entries a second of the slot that has finished a packet last, or of an earlier query, or 0."""
        return self.size.rate

    @property
    def overhead(self) -> float:
        """Seconds that every call takes, whatever its entries; 0 while unknown."""
        return self.size.overhead

    # --- slots ----------------------------------------------------------------------------------------------------

    def join(self, slot: Holder, host: str = "", site: str = "") -> None:
        """Say where a slot is; without it, a slot is nowhere in particular.

        A site has the name that somebody gave it ("T2_DE_DESY"), and its servers are known by their domain all the same.
        """
        own = domain(host)
        near = tuple(f".{name}" for name in dict.fromkeys((site, own)) if name)
        self.throughputs[slot] = Throughput(host, site or own, near)

    def forget(self, slot: Holder) -> None:
        """A slot is gone; its leases must have been given back."""
        throughput = self.throughputs.pop(slot, None)
        if throughput is not None:
            self.placement.leave(throughput)
            self.ends.forget(slot)
            self.size.fleet -= throughput.rate

    # --- leasing --------------------------------------------------------------------------------------------------

    def next(self, slot: Holder, now: float, until: float | None = None) -> Packet[Holder] | None:
        """Lease the next packet to `slot`, or None when there is nothing to lease now.

        A slot that will be gone at `until` gets nothing that it is not expected to end before.
        """
        throughput = self.throughputs.setdefault(slot, Throughput())
        if throughput.queue and self._unwise(throughput, now):
            return None
        room = None if until is None else until - (max(now, self.ends.end(throughput)) if throughput.queue else now)
        if room is not None and room * ROOM < SHORTEST:
            return None
        place = self.placement.choose(throughput, now)
        if place is None:
            return None
        rate = self.size.rate_with(throughput, self.placement.server(place), self.placement.ratios)
        if room is not None and rate and min(rate * room * ROOM, room * ROOM / max(self.size.overhead, 1e-9)) < 1.0:
            return None
        seconds = self.size.seconds(rate)
        limit = seconds * 2 if rate else FIRST_SECONDS
        if room is not None:
            seconds, limit = min(seconds, room * ROOM), min(limit, room * ROOM_AT_MOST)
        entries = self.size.entries(throughput, rate, seconds, room is not None) if rate else self.size.first
        lease = self._lease(slot, throughput, place, rate, seconds, entries)
        self.ends.take(slot, throughput, lease, place, now)
        expected = self.size.expected(throughput, lease, rate)
        return Packet(lease, limit, place.replica, apart=lease.chunk is not None, expected=expected)

    def make_way(self, slot: Holder, now: float, until: float) -> list[Truncation[Holder]]:
        """Have a slot's leases end by the time `until`, if they are not expected to do so anyway; by now at the earliest."""
        throughput = self.throughputs.get(slot)
        if throughput is None:
            return []
        rate = self.size.rate_of(throughput)
        found, seconds = [], max(0.0, until - now)
        done = round((now - throughput.at) * rate) if seconds else 0
        for number in throughput.queue:
            lease = self.ledger.leases.get(number)
            if lease is None or lease.finished:
                continue
            front = max(lease.start, throughput.entry) if number == throughput.first else lease.start
            stop = front + done + int(seconds * rate)
            asked = self.ends.asked.get(number)
            if stop < (lease.stop if asked is None else asked[1]):
                found.append(self.ends.ask(slot, throughput, lease, stop, now))
                seconds = 0.0
            elif rate:
                seconds = max(0.0, seconds - (lease.stop - front - done) / rate)
            done = 0
        return found

    def help(self, slot: Holder, now: float) -> Help[Holder] | None:
        """What an idle slot can do for those that would end last: have a lease shortened, or work on the same one."""
        throughput = self.throughputs.setdefault(slot, Throughput())
        return self._helpers.help(slot, throughput, now)

    def suspect(self, slot: Holder, suspected: bool) -> None:
        """A slot's worker has (or has no longer) been silent for longer than it should."""
        throughput = self.throughputs.get(slot)
        if throughput is not None:
            throughput.suspected = suspected

    def outstanding(self, now: float) -> int:
        """Truncations that were asked for and may still be answered."""
        return self.ends.outstanding(now)

    @property
    def anything(self) -> bool:
        """Whether there is anything to lease, to whomever."""
        return bool(self.ledger.ready or self.ledger.unopened)

    def _unwise(self, throughput: Throughput, now: float) -> bool:
        """Whether a slot should be through with what it has before it gets more: because it is stuck, or because it is
        opening a file at the start, when the slots that come a moment later want one too; or because calls take long, and
        there is not one more for every slot."""
        scarce = self.ledger.opened_files == 0 and len(self.ledger.unopened) <= len(self.throughputs)
        if scarce and any(self.ledger.leases[number].opening for number in throughput.queue):
            return True
        return self.ends.stuck(throughput, now) or self.size.last_calls

    # --- reports --------------------------------------------------------------------------------------------------

    def opened(self, slot: Holder, number: int, now: float) -> None:
        """A file has been opened (and told to the ledger): the slot begins to read it."""
        throughput = self.throughputs[slot]
        if throughput.first == number:
            self.ends.begin(throughput, self.ledger.leases[number].start, now)
        self.ends.changed(slot, throughput)

    def reached(self, slot: Holder, number: int, entry: int, now: float) -> None:
        """A slot says where it is in a lease."""
        throughput = self.throughputs[slot]
        if throughput.first == number:
            before = throughput.rate
            throughput.reached(entry, now, usual=self.ledger.leases[number].chunk is None)
            self.size.fleet += throughput.rate - before
            self.ends.changed(slot, throughput)

    def finished(
        self,
        slot: Holder,
        number: int,
        start: int,
        stop: int,
        seconds: float,
        now: float,
        calls: Sequence[Call] = (),
        elapsed: float = 0.0,
    ) -> None:
        """A slot has finished a lease, `[start, stop)`, after `seconds` of work, with these `calls` of the analysis; it took
        `elapsed` seconds in all."""
        for entries, took in calls:
            self.calls.add(entries, took)
        throughput = self.throughputs[slot]
        before = throughput.rate
        lease = self.ledger.leases.get(number)
        if throughput.first == number and (lease is None or lease.chunk is None):
            throughput.finished(start, stop, seconds, self.placement.ratios, elapsed)
        self.size.fleet += throughput.rate - before
        self.size.rate = throughput.rate or self.size.rate
        self.dropped(slot, number, now)

    def at_work(self) -> list[Holder]:
        """The slots that have something to do: a look at each slot, not at each lease, of which a slot may have several."""
        return [slot for slot, throughput in self.throughputs.items() if throughput.queue]

    def server(self, slot: Holder, number: int) -> str:
        """The file server that a slot reads a lease from, "" for its own disk."""
        throughput = self.throughputs.get(slot)
        return "" if throughput is None else throughput.queue.get(number, "")

    def truncated(self, slot: Holder, number: int, now: float) -> None:
        """A slot has answered a truncation (and the ledger knows)."""
        self.ends.asked.pop(number, None)
        if number in self.ledger.leases:
            self.ends.changed(slot, self.throughputs[slot])
        else:
            self.dropped(slot, number, now)

    def dropped(self, slot: Holder, number: int, now: float) -> None:
        """A slot no longer works on a lease."""
        self.ends.asked.pop(number, None)
        throughput = self.throughputs.get(slot)
        if throughput is None or number not in throughput.queue:
            return
        first = throughput.first == number
        del throughput.queue[number]
        if first and throughput.first is not None:
            lease = self.ledger.leases.get(throughput.first)
            self.ends.begin(throughput, lease.start if lease is not None else 0, now)
        if not throughput.queue:
            self.placement.rest(throughput)
        self.ends.changed(slot, throughput)

    def worked(self, slot: Holder, lease: Lease[Holder]) -> int:
        """Entries of a lease that its slot is known to have processed."""
        if lease.finished:
            return lease.stop - lease.start
        throughput = self.throughputs.get(slot)
        return (
            max(0, throughput.entry - lease.start) if throughput is not None and throughput.first == lease.number else 0
        )

    def _lease(
        self, slot: Holder, throughput: Throughput, place: Place, rate: float, seconds: float, entries: int
    ) -> Lease[Holder]:
        """Lease about so many entries at a place to a slot, which is expected to do them in some seconds."""
        alone = throughput.file == place.file
        self.placement.enter(throughput, place)
        ledger, file, overhead = self.ledger, place.file, self.size.overhead
        dear = overhead >= DEAR
        if place.opening:
            entries = int(entries * REST_IN_ONE) if dear and rate else entries
            lease = ledger.lease_opening(file, ledger.limits.within(file, entries), slot)
            suspect = self.kills.suspect(file, 0, lease.stop, overhead)
            lease.chunk = None if suspect is None else suspect.chunk
            return lease
        state = ledger.files[file]
        start, stop = free_range(ledger, state, alone)
        if dear and stop - start < REST_IN_ONE * self.size.chunk:  # half of a range would be less than a call
            start, stop = free_range(ledger, state, alone=True)
        suspect = self.kills.suspect(file, start, stop, overhead)
        if suspect is None or suspect.start > start:  # suspects are leased alone, what comes before them without them
            stop = cut(state, start, stop if suspect is None else suspect.start, entries)
            return ledger.lease(file, start, stop, slot)
        chunks = max(1, int(seconds * self.size.slowed(rate, suspect.chunk) / suspect.chunk)) if rate else NARROWING
        lease = ledger.lease(file, start, min(suspect.stop, start + chunks * suspect.chunk), slot)
        lease.chunk = suspect.chunk
        return lease
