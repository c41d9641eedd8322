"""How many packets a slot holds: two, more of short ones, and of those no more than the master can hear of."""

from __future__ import annotations

from math import inf

import pytest
from eventmill.master.credit import CREDIT, MOST_SHORT, PACKET, credit_of
from eventmill.protocol import messages as m
from fleet import World


def held_after(seconds: float, elapsed: float, slots: int = 1, far: bool = False) -> int:
    """Leases of a slot that has done some packets of a file each in so many seconds, `elapsed` with what came before."""
    made = World([10] * 60 * slots)
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=slots)
    where = "root://far.site//" if far else ""
    made.submit_files([m.File(f"{where}{name}") for name in made.lengths])
    slot = made.core.workers[b"worker"].slots[0]
    for _ in range(8):
        lease = made.workers[b"worker"].queues[0].pop(0)
        made.now += elapsed
        made.tell(b"worker", "worker", m.Opened(lease.query, lease.lease, 10, 10, [0, 10]))
        made.tell(b"worker", "worker", m.Finished(lease.query, lease.lease, 10, seconds, 0.0, 0, elapsed=elapsed))
        made.core.check()
    assert len(slot.leases) == len(made.workers[b"worker"].queues[0])
    return len(slot.leases)


@pytest.mark.parametrize(
    ("seconds", "elapsed", "held"),
    [(2.0, 2.0, 2), (0.1, 0.1, 2), (0.05, 0.05, 4), (0.0125, 0.0125, 16), (1e-4, 1e-4, 32)],
)
def test_a_slot_holds_as_many_short_packets_as_take_the_time_of_two(seconds: float, elapsed: float, held: int) -> None:
    """It would wait for the master after each, and the master would hear of each by itself."""
    assert held_after(seconds, elapsed) == held


def test_a_packet_is_not_short_whose_file_takes_long_to_open() -> None:
    assert held_after(0.001, 1.0) == 2
    assert held_after(0.001, 1.0, far=True) == 4, "their files are opened side by side"


def test_a_slot_holds_two_packets_while_nobody_knows_how_long_they_take() -> None:
    made = World([10] * 40)
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=3)
    made.submit()
    assert [len(slot.leases) for slot in made.core.workers[b"worker"].slots] == [2, 2, 2]


@pytest.mark.parametrize("slots", [1, 250, 1000, 4000, 10_000, 40_000])
def test_what_all_slots_hold_of_short_packets_is_heard_within_seconds(slots: int) -> None:
    """Whoever else says something waits for what was said before; two a slot there are in any case."""
    each = credit_of(1e-6, opens_far=False, slots=slots)
    assert each == PACKET or -(-CREDIT // each) * slots <= max(MOST_SHORT, CREDIT) + slots
    assert each == 1 or -(-CREDIT // (each - 1)) * slots > MOST_SHORT, "and no fewer"
    assert credit_of(inf, opens_far=False, slots=slots) == PACKET


def test_short_packets_are_given_to_a_slot_together_while_there_are_plenty() -> None:
    """Given to one slot after the other, each would travel by itself. The last ones are shared: see the next test."""
    made = World([])
    made.hello(b"session", "session")
    for index in range(3):
        made.hello(b"worker%d" % index, "worker", slots=1)
    made.submit_files([m.File(f"file{number}") for number in range(MOST_SHORT + 200)])
    counts = []
    for index in range(3):
        worker = b"worker%d" % index
        lease = made.workers[worker].queues[0].pop(0)
        made.now += 0.01
        made.tell(worker, "worker", m.Opened(lease.query, lease.lease, 10, 10, [0, 10]))
        made.tell(worker, "worker", m.Finished(lease.query, lease.lease, 10, 1e-4, 0.0, 0, elapsed=1e-4))
        counts.append(len(made.core.workers[worker].slots[0].leases))
    assert counts == [17, 17, 17], "one was given before anybody knew, and takes a half"
    made.core.check()


def test_work_is_shared_before_a_slot_gets_many_short_packets() -> None:
    """Protects the end of a query: what waits behind another packet is done later than by an idle slot."""
    made = World([10] * 120)
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=8)
    made.submit()
    fast = made.workers[b"worker"].queues[0]
    for _ in range(4):
        lease = fast.pop(0)
        made.now += 0.01
        made.tell(b"worker", "worker", m.Opened(lease.query, lease.lease, 10, 10, [0, 10]))
        made.tell(b"worker", "worker", m.Finished(lease.query, lease.lease, 10, 0.01, 0.0, 0, elapsed=0.01))
    counts = [len(slot.leases) for slot in made.core.workers[b"worker"].slots]
    assert counts[0] > 8 and sum(counts[1:]) == 14, "of the others nobody knows how fast they are"
    made.run()
    made.check()
