"""The packetizer by itself: what a slot is given, from where, and how much of it."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import Any

import pytest
from eventmill.packetizer.ends import SLACK
from eventmill.packetizer.faults import NARROWING
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.packetizer import Packet, Packetizer, Recall, Truncation
from eventmill.worker.slot.chunks import ChunkSizes

NEAR, FAR = "root://near.cern.ch//{}.root", "root://far.fnal.gov//{}.root"


def made(paths: list[str], entries: int = 10**6) -> Packetizer:
    return Packetizer(Ledger([entries] * len(paths)), [[path] for path in paths])


def open_file(packetizer: Packetizer, slot: str, packet: Packet, now: float, entries: int = 10**6) -> None:
    """The slot opens the file of its packet and keeps as much as it was given."""
    packetizer.ledger.opened(packet.lease.number, entries, packet.lease.stop)
    packetizer.opened(slot, packet.lease.number, now)


def finish(packetizer: Packetizer, slot: str, packet: Packet, now: float, rate: float) -> float:
    """The slot processes its packet at `rate`; returns the time at which it is through, committed."""
    lease = packet.lease
    if lease.opening:
        open_file(packetizer, slot, packet, now)
    start, stop = lease.start, lease.stop
    seconds = (stop - start) / rate
    now += seconds
    packetizer.ledger.finished(lease.number, stop)
    packetizer.finished(slot, lease.number, start, stop, seconds, now)
    packetizer.ledger.commit([(lease.number, start, stop)])
    packetizer.ledger.check()
    return now


def next_packet(packetizer: Packetizer, slot: str, now: float, until: float | None = None) -> Packet:
    packet = packetizer.next(slot, now, until)
    assert packet is not None
    return packet


def test_what_a_change_of_server_means_is_learnt_from_slots_of_the_same_site() -> None:
    """One slot turns from a fast to a slow server; the next one that does so gets a packet of the right size at once."""
    packetizer = made([NEAR.format(1), FAR.format(1), FAR.format(2)], entries=20_000)
    for slot in ("first", "second", "elsewhere"):
        packetizer.join(slot, "node.cern.ch" if slot != "elsewhere" else "node.de")
    throughput = {slot: packetizer.throughputs[slot] for slot in packetizer.throughputs}
    for slot in ("first", "second"):
        throughput[slot].server = "near.cern.ch"
        throughput[slot].observe(10_000, 10.0)
    ratios = packetizer.placement.ratios
    far = "far.fnal.gov"
    assert throughput["second"].rate_with(far, ratios) == 1000.0, "nothing is known yet"
    throughput["first"].queue[0] = far
    throughput["first"].begin(0, 20.0, ratios)
    throughput["first"].finished(0, 500, 2.0, ratios)
    assert throughput["second"].rate_with(far, ratios) == 250.0
    assert throughput["elsewhere"].rate_with(far, ratios) == 0.0
    throughput["second"].queue[1] = far
    throughput["second"].begin(0, 30.0, ratios)
    assert throughput["second"].rate == 250.0


@pytest.mark.parametrize("site", ["", "T0_CH_CERN"])
def test_a_slot_goes_on_with_the_replica_that_it_has_open(site: str) -> None:
    """It opens the one of its own site, also when that has a name that is no domain."""
    packetizer = Packetizer(Ledger([10**6]), [[FAR.format(1), NEAR.format(1)]])
    packetizer.join("slot", "node.cern.ch", site)
    packet = next_packet(packetizer, "slot", 0.0)
    assert packet.replica == 1, "the one of its own site"
    now = finish(packetizer, "slot", packet, 0.0, rate=1e5)
    assert next_packet(packetizer, "slot", now).replica == 1


def test_what_does_not_end_in_time_is_cut_off_from_the_back() -> None:
    """A slot is told to leave in a second: it keeps of its two packets what it will have done by then."""
    packetizer = made([NEAR.format(1)])
    now = finish(packetizer, "slot", next_packet(packetizer, "slot", 0.0), 0.0, rate=1e5)
    packetizer.join("other")
    first, second = next_packet(packetizer, "slot", now), next_packet(packetizer, "slot", now)
    length = first.lease.stop - first.lease.start
    until = now + 0.5 * length / 1e5
    one, two = packetizer.make_way("slot", now, until)
    assert (one.lease, two.lease) == (first.lease, second.lease)
    assert abs(one.stop - first.lease.start - 0.5 * length) <= 2
    assert two.stop == second.lease.start
    assert packetizer.make_way("slot", now, until) == [], "it has been told already"


def test_a_slot_that_leaves_gets_no_packet_that_would_end_too_late() -> None:
    packetizer = made([NEAR.format(1)], entries=10**7)
    now = finish(packetizer, "slot", next_packet(packetizer, "slot", 0.0), 0.0, rate=1e5)
    usual = next_packet(packetizer, "slot", now)
    now = finish(packetizer, "slot", usual, now, rate=1e5)
    short = next_packet(packetizer, "slot", now, until=now + 0.2)
    assert (short.lease.stop - short.lease.start) / 1e5 <= 0.2 < 1.0
    assert short.seconds <= 0.2
    now = finish(packetizer, "slot", short, now, rate=1e5)
    assert packetizer.next("slot", now, until=now + 0.05) is None


# --- who reads where --------------------------------------------------------------------------------------------------


def of_unopened(files: int, **options: Any) -> Packetizer:
    ledger = Ledger([None] * files, options.pop("limit", None))
    paths = [[f"root://s//{i}"] for i in range(files)]
    packetizer = Packetizer(ledger, paths, most_readers=options.pop("most_readers", None))
    for slot in ("a", "b"):
        packetizer.join(slot, **options)
    return packetizer


def fail(packetizer: Packetizer, slot: str, packet: Packet, until: float) -> None:
    """A slot cannot open the file of its packet, which can be tried again at once."""
    file, number = packet.lease.file, packet.lease.number
    packetizer.placement.shun(file, 0, packetizer.throughputs[slot], until)
    packetizer.ledger.give_back(number)
    packetizer.dropped(slot, number, 0.1)


def test_a_slot_that_has_nothing_to_do_makes_room_for_other_readers() -> None:
    """It may be at work on another query for hours: it is no reader of this one's files meanwhile."""
    packetizer = of_unopened(4, most_readers=1)
    packet = next_packet(packetizer, "a", 0.0)
    assert packetizer.next("b", 0.0) is None
    finish(packetizer, "a", packet, 0.0, rate=1e5)
    assert packetizer.next("b", 1.0) is not None
    assert packetizer.next("a", 1.0) is None, "now the other one reads"


def test_what_a_slot_has_failed_with_others_try_first_but_not_for_ever() -> None:
    packetizer = of_unopened(1)
    fail(packetizer, "a", next_packet(packetizer, "a", 0.0), until=3.0)
    assert packetizer.next("a", 2.0) is None
    assert packetizer.next("a", 3.5) is not None, "the others may be busy for hours"


def test_with_a_limit_others_try_first_too() -> None:
    packetizer = of_unopened(1, limit=10)
    fail(packetizer, "a", next_packet(packetizer, "a", 0.0), until=3.0)
    assert packetizer.next("a", 1.0) is None
    assert packetizer.next("b", 1.0) is not None


def test_a_slot_that_fails_with_all_of_its_nearest_server_turns_to_another() -> None:
    paths = [[f"root://s.cern.ch//{i}"] for i in range(8)] + [["root://t.fnal.gov//0"]]
    packetizer = Packetizer(Ledger([None] * 9), paths)
    packetizer.join("a", "node.cern.ch")
    packetizer.join("b")
    for _ in range(8):
        fail(packetizer, "a", next_packet(packetizer, "a", 0.0), until=3.0)
    assert next_packet(packetizer, "a", 1.0).lease.file == 8


# --- items ------------------------------------------------------------------------------------------------------------


def of_items(number: int) -> Packetizer:
    ledger = Ledger([number])
    ledger.count(0)
    packetizer = Packetizer(ledger, [["items"]], first=1)
    for slot in ("a", "b", "c"):
        packetizer.join(slot)
    return packetizer


def test_a_slow_item_is_not_done_twice() -> None:
    """Nobody knows how long an item takes, and what it does may have effects: idle slots leave it alone."""
    packetizer = of_items(2)
    for slot in ("a", "b"):
        next_packet(packetizer, slot, 0.0)
    assert [packetizer.help("c", now) for now in (2.0, 10.0, 100.0)] == [None] * 3
    packetizer.suspect("a", True)
    assert packetizer.help("c", 101.0) is not None, "unless its worker has gone silent"


def test_a_leaving_slot_gets_no_item_that_takes_longer_than_it_has() -> None:
    packetizer = of_items(10)
    now = finish(packetizer, "a", next_packet(packetizer, "a", 0.0), 0.0, rate=1 / 60)
    assert packetizer.next("a", now, until=now + 15.0) is None
    assert packetizer.next("a", now, until=now + 100.0) is not None


# --- analyses that take their time at each call -----------------------------------------------------------------------


def processed(
    overhead: float, each: float, entries: int, rate: float = 0.0, killed: float = math.inf
) -> tuple[float, int]:
    """Seconds and chunks of a query of two slots, every chunk of which takes `overhead`, and `each` for an entry.

    At the time `killed`, the process of one of them is, from outside; a fresh one is there at once.
    """
    packetizer = Packetizer(Ledger([entries]), [["a.root"]], rate)
    free = [(0.0, "one"), (0.0, "two")]
    chunks = {slot: ChunkSizes() for _, slot in free}
    for _, slot in free:
        packetizer.join(slot)
    number, end = 0, 0.0
    while packetizer.ledger.processed < entries:
        now, slot = heappop(free)
        packet = packetizer.next(slot, now)
        if packet is None:  # the other one still opens the file, or has the rest
            heappush(free, (now + 0.05, slot))
            continue
        lease, began = packet.lease, now
        chunks[slot].hear(packetizer.calls.tell())
        if lease.opening:
            open_file(packetizer, slot, packet, now, entries)
        at = lease.start
        while at < lease.stop and now <= killed:
            if now - began > packet.seconds and (chunks[slot].settled or lease.chunk is not None):
                break
            chunk = min(chunks[slot].next(lease.stop - at), lease.chunk or entries)
            seconds = overhead + each * chunk
            chunks[slot].learn(chunk, seconds, most=lease.chunk)
            at, now, number = at + chunk, now + seconds, number + 1
        if now > killed:
            killed, chunks[slot] = math.inf, ChunkSizes()
            packetizer.kills.add(lease.file, (at - chunk, at))
            packetizer.ledger.give_back(lease.number, at - lease.start)
            packetizer.dropped(slot, lease.number, now)
            heappush(free, (now, slot))
            continue
        packetizer.ledger.finished(lease.number, at)
        packetizer.finished(slot, lease.number, lease.start, at, now - began, now, chunks[slot].untold())
        packetizer.ledger.commit([(lease.number, lease.start, at)])
        packetizer.kills.clear(lease.file, lease.start, at)
        heappush(free, (now, slot))
        end = max(end, now)
    return end, number


@pytest.mark.parametrize("rate", [0.0, 1.0], ids=["unknown", "known as very slow"])
@pytest.mark.parametrize("overhead", [0.0, 0.06, 0.5, 1.2, 5.0])
def test_calls_that_take_their_time_are_few_and_the_query_ends(overhead: float, rate: float) -> None:
    """With 1.2 s a call, packets of 0.8 s used to shrink to one entry each, and the query never ended."""
    seconds, number = processed(overhead, each=2e-6, entries=4_000_000, rate=rate)
    assert seconds <= 2 * 4.0 + 25 * overhead
    assert number <= 120


@pytest.mark.parametrize(
    ("overhead", "each", "killed"),
    [
        *((overhead, each, at) for overhead, each in [(0.4, 2e-6), (0.1, 1e-5), (0.0, 1e-5)] for at in (0.3, 2.0, 5.0)),
        (5.0, 2e-6, 20.0),
    ],
)
def test_a_slot_that_is_killed_once_costs_little(overhead: float, each: float, killed: float) -> None:
    """What it was at was divided by 64 anew with each packet of it, down to calls of one entry: the query never ended."""
    undisturbed, chunks = processed(overhead, each, entries=2_000_000)
    seconds, more = processed(overhead, each, entries=2_000_000, killed=killed)
    assert more - chunks <= 1.5 * NARROWING
    assert seconds - undisturbed <= 10.0 + 10 * overhead


def with_suspects(overhead: float, entries: int = 64_000) -> Packetizer:
    """Two slots that do 1000 entries a second, every chunk costing `overhead`; one went down at work on 64,000 entries, of
    which these are left.
    """
    ledger = Ledger([entries])
    ledger.count(0)
    packetizer = Packetizer(ledger, [["a.root"]])
    for slot in ("a", "b"):
        packetizer.join(slot)
        packetizer.throughputs[slot].observe(1000, 1.0)
    for size in (100, 400, 10_000):
        packetizer.calls.add(size, overhead + size / 1000)
    packetizer.kills.add(0, (0, 64_000))
    return packetizer


def test_suspects_are_leased_by_the_chunk_and_what_they_take_is_no_measure_of_a_slot() -> None:
    packetizer = with_suspects(overhead=0.1)
    packet = next_packet(packetizer, "a", 0.0)
    assert packet.apart
    assert (packet.lease.chunk, packet.lease.stop) == (1000, 1000), "a chunk takes 1.1 s"
    packetizer.reached("a", packet.lease.number, 500, 50.0)
    finish(packetizer, "a", packet, 50.0, rate=1.0)
    assert packetizer.throughputs["a"].rate == pytest.approx(1000.0)


def test_who_helps_with_suspects_gets_whole_chunks() -> None:
    """An idle slot splits what would end last, again and again: of suspects it made ever smaller chunks."""
    packetizer = with_suspects(overhead=4.0, entries=24_000)
    packetizer.size.bounds = (1000, 1000)  # small calls, of which a slot may have some ahead
    packets = [next_packet(packetizer, "a", 0.0) for _ in range(3)]
    assert [(it.lease.start, it.lease.stop, it.lease.chunk) for it in packets] == [
        (start, start + 8000, 8000) for start in (0, 8000, 16_000)
    ]
    assert packetizer.next("b", 0.0) is None
    help_ = packetizer.help("b", 0.0)
    assert help_ == Truncation(packets[2].lease, 16_000), "a whole chunk"


def test_suspects_take_down_one_slot_and_not_the_one_that_would_be_through_sooner() -> None:
    packetizer = with_suspects(overhead=0.1, entries=1000)
    packetizer.throughputs["b"].observe(10**9, 1.0)
    lease = next_packet(packetizer, "a", 0.0).lease
    assert packetizer.help("b", 0.0) is None
    packetizer.suspect("a", True)
    duplicate = packetizer.help("b", 0.0)
    assert isinstance(duplicate, Packet), "unless it may be gone for good"
    assert (duplicate.lease.duplicate, duplicate.lease.chunk) == (lease.number, lease.chunk)


def test_what_is_known_of_the_order_of_slots_does_not_grow_with_their_packets() -> None:
    """Of a query of a million packets the order held three entries for each; nobody looks at it before the end."""
    for helped in (False, True):
        packetizer = made(["a.root"] * 400, entries=1000)
        slots = [f"slot {number}" for number in range(4)]
        for slot in slots:
            packetizer.join(slot)
        now = 0.0
        for _ in range(90):
            for slot in slots:
                now = finish(packetizer, slot, next_packet(packetizer, slot, now), now, rate=1000.0)
                assert not helped or packetizer.help("idle", now) is None
        assert len(packetizer.ends._heap) + len(packetizer.ends._moved) <= 3 * len(slots) + SLACK + 1
        for slot in slots:
            next_packet(packetizer, slot, now)
        last = max(slots, key=lambda slot: packetizer.ends.end(packetizer.throughputs[slot]))
        help_ = packetizer.help("idle", now)
        assert isinstance(help_, Truncation) and help_.lease.holder == last
        for slot in slots:
            packetizer.forget(slot)
        assert not packetizer.ends._moved


def test_files_that_wait_behind_one_that_hangs_are_for_others_at_once() -> None:
    """Of short packets a slot has many, which would be done only after that file has had its ten seconds."""
    packetizer = Packetizer(Ledger([None] * 12), [[f"{number}.root"] for number in range(12)])
    other = packetizer.next("other", 0.0)
    assert other is not None
    packetizer.ledger.opened(other.lease.number, 100, 100)
    packetizer.opened("other", other.lease.number, 0.0)
    finish(packetizer, "other", other, 0.0, rate=1e4)
    waiting = [packetizer.next("hangs", 0.1) for _ in range(11)]
    assert all(waiting) and packetizer.next("other", 0.2) is None
    recalled, now = [], 5.0
    while isinstance(help_ := packetizer.help("other", now), Recall):
        recalled.append(help_.lease.number)
        packetizer.ledger.give_back(help_.lease.number)
        packetizer.dropped("hangs", help_.lease.number, now)
    assert help_ is None and recalled == [it.lease.number for it in waiting[1:]]
