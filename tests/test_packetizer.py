"""The packetizer by itself: what a slot is given, from where, and how much of it."""

from __future__ import annotations

from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.packetizer import Packet, Packetizer

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
    pace = {slot: packetizer.paces[slot] for slot in packetizer.paces}
    for slot in ("first", "second"):
        pace[slot].server = "near.cern.ch"
        pace[slot].observe(10_000, 10.0)
    ratios = packetizer.placement.ratios
    far = "far.fnal.gov"
    assert pace["second"].rate_with(far, ratios) == 1000.0, "nothing is known yet"
    pace["first"].queue[0] = far
    pace["first"].begin(0, 20.0, ratios)
    pace["first"].finished(0, 500, 2.0, ratios)
    assert pace["second"].rate_with(far, ratios) == 250.0
    assert pace["elsewhere"].rate_with(far, ratios) == 0.0
    pace["second"].queue[1] = far
    pace["second"].begin(0, 30.0, ratios)
    assert pace["second"].rate == 250.0


def test_a_slot_goes_on_with_the_replica_that_it_has_open() -> None:
    packetizer = Packetizer(Ledger([10**6]), [[FAR.format(1), NEAR.format(1)]])
    packetizer.join("slot", "node.cern.ch")
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
