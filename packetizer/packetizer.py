"""Which entries a slot gets next, how many, and who helps whom at the end.

**Size.** Packets are sized by time: a packet is what the slot is expected to process in T seconds, from its own measured
rate. T is a quarter of what is left of the query (PROOF's rule, `TPacketizerAdaptive` of ROOT 5.34), within bounds. Until a
rate is known, a packet is `FIRST_ENTRIES` long and the slot is given `FIRST_SECONDS` for it: a slow analysis stops there and
hands the rest back, so that a bad guess costs nothing.

**Place.** A slot goes on in the file that it has open. Else it opens a file of the nearest file server (its own host, its
own site, any other), the one with the fewest readers among these; else it joins a file that others are reading.

**End.** When nothing is left to lease, the lease that would end last is shortened, so that its slot and the idle one are
expected to finish together (`help`). A slot that does not answer has its lease duplicated elsewhere.

Every method that depends on time is told it. `docs/packetizer.md` has the formulas.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from .ledger import FileState, Lease, Ledger
from .pace import Pace

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
PATIENCE = 1.0
"""Seconds that a slot may take to answer a truncation, or be late, before its leases are duplicated."""
OPENING_PATIENCE = 10.0
"""Seconds that a slot may take to open a file before another one does it, when others have nothing to do."""
UNLIMITED = 1e6
MOST_ENTRIES = 1e9
_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Packet:
    """A lease with the time it may take; `apart` when another slot works on the same entries."""

    lease: Lease
    seconds: float
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


@dataclass(slots=True)
class Server:
    """A file server: its files that have something to lease, and how many slots read from it."""

    name: str
    unopened: dict[int, None] = field(default_factory=dict)
    ready: dict[int, None] = field(default_factory=dict)
    readers: int = 0


class Packetizer:
    """Hands the entries of one query's ledger to slots.

    Args:
        ledger: the query's ledger; every lease is made here and nowhere else.
        paths: path or URL of each file, which tells the server that it is on.
        rate: entries a second a slot did in an earlier query of the same analysis, 0 when there was none.
        most_readers: slots that may read from one server at the same time.

    Example:
        >>> packetizer = Packetizer(Ledger([None]), ["a.root"])
        >>> packet = packetizer.next("slot 0", now=0.0)
        >>> packet.lease.opening, packet.lease.stop
        (True, 100000)
    """

    def __init__(
        self, ledger: Ledger, paths: Sequence[str], rate: float = 0.0, most_readers: int | None = None
    ) -> None:
        self.ledger = ledger
        self.rate = rate
        self.most_readers = most_readers
        self.paces: dict[Hashable, Pace] = {}
        self._fleet = 0.0
        self._servers: dict[str, Server] = {}
        self._server_of = [self._servers.setdefault(name, Server(name)) for name in map(server_of, paths)]
        for file in ledger.unopened:
            self._server_of[file].unopened[file] = None
        self._ends: list[tuple[float, int, int, Hashable]] = []
        self._pushes = 0
        self._asked: dict[int, tuple[float, int]] = {}

    # --- slots ----------------------------------------------------------------------------------------------------

    def join(self, slot: Hashable, host: str = "", site: str = "") -> None:
        """Say where a slot is; without it, a slot is nowhere in particular."""
        self.paces[slot] = Pace(host, site or _domain(host))

    def forget(self, slot: Hashable) -> None:
        """A slot is gone; its leases must have been given back."""
        pace = self.paces.pop(slot, None)
        if pace is not None:
            self._leave(pace)
            self._fleet -= pace.rate

    # --- leasing --------------------------------------------------------------------------------------------------

    def next(self, slot: Hashable, now: float) -> Packet | None:
        """Lease the next packet to `slot`, or None when there is nothing to lease now."""
        pace = self.paces.setdefault(slot, Pace())
        self._take_returned()
        if pace.queue and self._unwise(pace, now):
            return None
        lease = self._lease(pace, slot)
        if lease is None:
            return None
        if not pace.queue:
            pace.begin(lease.start, now)
        pace.queue.append(lease.number)
        self._expect(slot, pace, now)
        return Packet(lease, self._seconds(pace) * 2 if self._rate_of(pace) else FIRST_SECONDS)

    def help(self, slot: Hashable, now: float) -> Help | None:
        """What an idle slot can do for those that would end last: have a lease shortened, or work on the same one."""
        pace = self.paces.setdefault(slot, Pace())
        passed_over = []
        found: Help | None = None
        while self._ends and found is None:
            end, version, _, victim = item = heapq.heappop(self._ends)
            other = self.paces.get(victim)
            if other is None or other.version != version or not other.queue:
                continue
            passed_over.append(item)
            if self._stuck(other, now):
                found = self._relieve(slot, pace, other, now)
            elif any(number in self._asked for number in other.queue):
                continue
            elif -end - now >= LEAST_HELP:
                found = self._truncation(victim, other, pace, now) or self._race(slot, pace, other, now)
            else:
                break  # nor will any of the others need help: they end sooner
        for item in passed_over:
            heapq.heappush(self._ends, item)
        return found

    def suspect(self, slot: Hashable, suspected: bool) -> None:
        """A slot's worker has (or has no longer) been silent for longer than it should."""
        pace = self.paces.get(slot)
        if pace is not None:
            pace.suspected = suspected

    def outstanding(self, now: float) -> int:
        """Truncations that were asked for and may still be answered."""
        return sum(now - when < PATIENCE for when, _ in self._asked.values())

    @property
    def anything(self) -> bool:
        """Whether there is anything to lease, to whomever."""
        return bool(self.ledger.ready or self.ledger.unopened)

    def _unwise(self, pace: Pace, now: float) -> bool:
        """Whether a slot should be through with what it has before it gets more: because it is stuck, or because it is
        opening a file at the start, when the slots that come a moment later want one too."""
        scarce = self.ledger.opened_files == 0 and len(self.ledger.unopened) <= 2 * len(self.paces)
        opening = any(self.ledger.leases[number].opening for number in pace.queue)
        return (opening and scarce) or self._stuck(pace, now)

    # --- reports --------------------------------------------------------------------------------------------------

    def opened(self, slot: Hashable, number: int, now: float) -> None:
        """A file has been opened (and told to the ledger): the slot begins to read it."""
        pace = self.paces[slot]
        if pace.queue and pace.queue[0] == number:
            pace.begin(self.ledger.leases[number].start, now)
        self._expect(slot, pace, now)

    def reached(self, slot: Hashable, number: int, entry: int, now: float) -> None:
        """A slot says where it is in a lease."""
        pace = self.paces[slot]
        if pace.queue and pace.queue[0] == number:
            before = pace.rate
            pace.reached(entry, now)
            self._fleet += pace.rate - before
            self._expect(slot, pace, now)

    def finished(self, slot: Hashable, number: int, stop: int, seconds: float, now: float) -> None:
        """A slot has finished a lease at `stop`, after `seconds` of work."""
        pace = self.paces[slot]
        before = pace.rate
        if pace.queue and pace.queue[0] == number:
            pace.finished(stop, seconds)
        self._fleet += pace.rate - before
        self.rate = pace.rate or self.rate
        self.dropped(slot, number, now)

    def truncated(self, slot: Hashable, number: int, now: float) -> None:
        """A slot has answered a truncation (and the ledger knows)."""
        self._asked.pop(number, None)
        if number in self.ledger.leases:
            self._expect(slot, self.paces[slot], now)
        else:
            self.dropped(slot, number, now)

    def dropped(self, slot: Hashable, number: int, now: float) -> None:
        """A slot no longer works on a lease."""
        self._asked.pop(number, None)
        pace = self.paces.get(slot)
        if pace is None or number not in pace.queue:
            return
        first = pace.queue[0] == number
        pace.queue.remove(number)
        if first and pace.queue:
            lease = self.ledger.leases.get(pace.queue[0])
            pace.begin(lease.start if lease is not None else 0, now)
        self._expect(slot, pace, now)

    def worked(self, slot: Hashable, lease: Lease) -> int:
        """Entries of a lease that its slot is known to have processed."""
        if lease.finished:
            return lease.stop - lease.start
        pace = self.paces.get(slot)
        at_work = pace is not None and pace.queue[:1] == [lease.number]
        return max(0, pace.entry - lease.start) if pace is not None and at_work else 0

    # --- choosing -------------------------------------------------------------------------------------------------

    def _lease(self, pace: Pace, slot: Hashable) -> Lease | None:
        entries = self._entries(pace)
        if pace.file is not None and pace.file in self.ledger.ready:
            return self._lease_range(pace, pace.file, entries, slot, together=False)
        if self.ledger.limit is not None:
            return self._lease_in_order(pace, entries, slot)
        server = self._nearest(pace)
        if server is None:
            return None
        if server.unopened:
            file = next(iter(server.unopened))
            del server.unopened[file]
            self._enter(pace, file)
            return self.ledger.lease_opening(file, entries, slot)
        file = max(islice(server.ready, _CANDIDATES), key=lambda file: self.ledger.files[file].todo.entries)
        return self._lease_range(pace, file, entries, slot, together=True)

    def _lease_in_order(self, pace: Pace, entries: int, slot: Hashable) -> Lease | None:
        """With a limit on the dataset's entries, files are opened one after the other."""
        file = self.ledger.openable()
        if file is not None and self.ledger.limit is not None:
            entries = min(entries, self.ledger.limit - self.ledger.opened_entries)
            self._server_of[file].unopened.pop(file, None)
            self._enter(pace, file)
            return self.ledger.lease_opening(file, entries, slot)
        file = next(iter(self.ledger.ready), None)
        return None if file is None else self._lease_range(pace, file, entries, slot, together=True)

    def _lease_range(self, pace: Pace, file: int, entries: int, slot: Hashable, together: bool) -> Lease:
        state = self.ledger.files[file]
        start, stop = self._apart(state) if together else state.todo.first()
        self._enter(pace, file)
        return self.ledger.lease(file, start, cut(state, start, stop, entries), slot)

    def _nearest(self, pace: Pace) -> Server | None:
        """The server to read from: near, little read, with something to lease; unopened files before opened ones."""
        best, best_key = None, (9, 9, 0)
        for server in self._servers.values():
            while server.ready and (file := next(iter(server.ready))) not in self.ledger.ready:
                del server.ready[file]
            if not (server.unopened or server.ready):
                continue
            if self.most_readers is not None and server.readers >= self.most_readers:
                continue
            key = (_distance(pace, server.name), int(not server.unopened), server.readers)
            if key < best_key:
                best, best_key = server, key
        return best

    def _take_returned(self) -> None:
        """Files that something was returned to can be leased from again."""
        for file in self.ledger.returned:
            server = self._server_of[file]
            if file in self.ledger.unopened:
                server.unopened[file] = None
            elif file in self.ledger.ready:
                server.ready[file] = None
        self.ledger.returned.clear()

    def _enter(self, pace: Pace, file: int) -> None:
        self._leave(pace)
        pace.file = file
        self._server_of[file].readers += 1

    def _leave(self, pace: Pace) -> None:
        if pace.file is not None:
            self._server_of[pace.file].readers -= 1
            pace.file = None

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

    # --- sizing ---------------------------------------------------------------------------------------------------

    def _rate_of(self, pace: Pace) -> float:
        """Entries a second to expect of a slot: its own, or what others or earlier queries did, or 0."""
        return pace.rate or self.rate

    def _entries(self, pace: Pace) -> int:
        rate = self._rate_of(pace)
        return max(1, round(min(rate * self._seconds(pace), MOST_ENTRIES))) if rate else FIRST_ENTRIES

    def _seconds(self, pace: Pace) -> float:
        """T: a quarter of the time that is left, not too short for its overhead, nor too long for who is watching."""
        slots = max(1, len(self.paces))
        fleet = max(self._fleet, self._rate_of(pace), 1e-9)
        left = (self.ledger.total - self.ledger.processed - self.ledger.failed) / fleet
        longest = min(LONGEST, LONGEST_A_SLOT * slots)
        return max(slots / PACKETS_A_SECOND, min(longest, max(SHORTEST, left / 4)))

    # --- the end --------------------------------------------------------------------------------------------------

    def _left(self, pace: Pace) -> int:
        """Entries that a slot has still to do, of what was known of it at `pace.at`."""
        left = 0
        for position, number in enumerate(pace.queue):
            lease = self.ledger.leases.get(number)
            if lease is not None:
                stop = self._asked[number][1] if number in self._asked else lease.stop
                left += max(0, stop - (max(lease.start, pace.entry) if position == 0 else lease.start))
        return left

    def _expect(self, slot: Hashable, pace: Pace, now: float) -> None:
        """Reckon anew when a slot will be through."""
        self._pushes += 1
        pace.version = self._pushes
        rate = self._rate_of(pace)
        if pace.queue:
            pace.end = pace.at + (self._left(pace) / rate if rate else FIRST_SECONDS)
            heapq.heappush(self._ends, (-pace.end, pace.version, self._pushes, slot))

    def _stuck(self, pace: Pace, now: float) -> bool:
        """Whether a slot cannot be counted on: silent, late, or deaf to what it was asked."""
        if pace.suspected or now - pace.end > PATIENCE:
            return True
        return any(now - self._asked[number][0] > PATIENCE for number in pace.queue if number in self._asked)

    def _truncation(self, victim: Hashable, other: Pace, pace: Pace, now: float) -> Truncation | None:
        """Split what `other` has left so that both end together; the part that `pace` gets is cut from the back.

        With W entries left, rates a and b: both end in W / (a + b), the helper does W b / (a + b) of them.
        """
        rate, helper = self._rate_of(other), self._rate_of(pace)
        lease = self.ledger.leases[other.queue[-1]]
        waiting = len(other.queue) > 1
        if lease.opening and waiting:
            return self._ask(victim, other, lease, 0, now)
        left = self._left(other) - (now - other.at) * rate
        if lease.opening or lease.twin is not None or left <= 1 or not rate:
            return None
        share = left * helper / (rate + helper)
        front = lease.start if waiting else max(lease.start, other.entry)
        stop = max(front, lease.stop - max(1, round(share)))
        stop = align(self.ledger.files[lease.file], front, lease.stop, stop, share)
        return self._ask(victim, other, lease, stop, now)

    def _ask(self, victim: Hashable, other: Pace, lease: Lease, stop: int, now: float) -> Truncation:
        self._asked[lease.number] = (now, stop)
        self._expect(victim, other, now)
        return Truncation(lease, stop)

    def _race(self, slot: Hashable, pace: Pace, other: Pace, now: float) -> Packet | None:
        """A last entry, or a few that cannot be split, are done a second time by a slot that would be through sooner."""
        lease = self.ledger.leases[other.queue[0]]
        rate = self._rate_of(pace)
        if lease.opening or lease.twin is not None or lease.start == lease.stop or not rate:
            return None
        sooner = now + (lease.stop - lease.start) / rate < other.end - LEAST_HELP
        return self._duplicate(slot, pace, lease, now) if sooner else None

    def _relieve(self, slot: Hashable, pace: Pace, other: Pace, now: float) -> Help | None:
        """A slot is stuck: somebody else does what it has, one lease after the other."""
        for number in other.queue:
            lease = self.ledger.leases[number]
            if lease.opening:
                if other.suspected or now - other.at > OPENING_PATIENCE:
                    return Recall(lease)
            elif lease.twin is None and lease.start < lease.stop:
                return self._duplicate(slot, pace, lease, now)
        return None

    def _duplicate(self, slot: Hashable, pace: Pace, lease: Lease, now: float) -> Packet:
        twin = self.ledger.duplicate(lease.number, slot)
        if not pace.queue:
            pace.begin(twin.start, now)
        pace.queue.append(twin.number)
        self._expect(slot, pace, now)
        return Packet(twin, UNLIMITED, apart=True)


def server_of(path: str) -> str:
    """The server that a path names, "" for local files.

    Example:
        >>> server_of("root://user@eos.cern.ch:1094//a.root"), server_of("/data/a.root"), server_of("http://[::1]:80/a")
        ('eos.cern.ch', '', '::1')
    """
    _, found, rest = path.partition("://")
    if not found:
        return ""
    host = rest.partition("/")[0].rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _domain(host: str) -> str:
    return host.partition(".")[2]


def _distance(pace: Pace, server: str) -> int:
    """0 for the slot's own host and for local files, 1 within its site, 2 elsewhere."""
    if not server or server == pace.host:
        return 0
    return 1 if pace.site and server.endswith(f".{pace.site}") else 2


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
