"""What `tests.world.chaos` has found, each in a few lines."""

from __future__ import annotations

from pathlib import Path

import msgspec
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.placement import Place, Placement
from eventmill.packetizer.throughput import Throughput
from eventmill.protocol import messages as m
from eventmill.worker.agent.core import AgentCore
from eventmill.worker.agent.effects import Kill, ToSlot
from fleet import JournaledWorld, World


def test_a_lease_that_comes_twice_is_worked_on_once() -> None:
    """The parts of both would be joined to one, and its entries would count twice."""
    agent = AgentCore(m.Hello("worker", "w", slots=1))
    agent.start()
    agent.from_slot(0, m.Ready(), [], 0.0)
    agent.from_master(m.Welcome("w-1", "test", 1.0, 5.0), [], 0.0)
    agent.from_master(m.Setup("q", "kernel", "digest"), [b"code"], 0.0)
    lease = m.Lease(3, "q", 0, m.File("f"), 0, 10, 1.0)
    effects = agent.from_master(lease, [], 0.0) + agent.from_master(lease, [], 0.0)
    assert [effect.message for effect in effects if isinstance(effect, ToSlot)].count(lease) == 1


def test_a_submission_with_too_many_frames_is_refused() -> None:
    """It went on to slots, which ended over it, and over innocent packets of others."""
    world = World([10])
    world.hello(b"session", "session")
    files = msgspec.msgpack.encode([m.File("file0")])
    world.tell(b"session", "session", m.Submit(7, "n", "kernel", "d"), [b"code", files, b"shared_inputs", b"more"])
    (refused,) = [message for message in world.inbox[b"session"] if isinstance(message, m.Refused)]
    assert refused.request == 7 and "malformed submission: 4 frames" in refused.reason and not world.core.queries


def test_a_lease_of_an_earlier_master_names_none_of_the_next_one(tmp_path: Path) -> None:
    """A late commit of the same number, which need not be of the same file, would count for it."""
    world = JournaledWorld([1000], tmp_path)
    world.hello(b"session", "session")
    world.hello(b"worker", "worker", slots=2)
    query = world.submit()
    before = set(world.core.queries[query].ledger.leases)
    world.do_all()
    world.crash()
    after = set(world.core.queries[query].ledger.leases)
    world.close()
    assert before and after and max(before) < min(after)


def test_a_file_that_has_nothing_left_is_not_chosen_in_place_of_one_that_is_shunned() -> None:
    """The slot has failed with the only file that has something to do: it gets nothing, not what others have taken."""
    ledger = Ledger([None, None])
    placement, throughput = Placement(ledger, [["a.root"], ["b.root"]]), Throughput()
    for file in (0, 1):
        placement.enter(Throughput(), Place(file, 0, opening=True))
        lease = ledger.lease_opening(file, 10, "other")
        ledger.opened(lease.number, entries=100, stop=10)
    assert placement.choose(throughput, 0.0) is not None
    taken = ledger.lease(1, 10, 100, "other")
    placement.shun(0, 0, throughput, until=5.0)
    assert placement.choose(throughput, 1.0) is None
    ledger.give_back(taken.number)
    assert placement.choose(throughput, 2.0) == Place(1, 0)
    ledger.lease(1, 10, 100, "other")
    assert placement.choose(throughput, 3.0) is None


def test_a_worker_that_tells_nonsense_of_a_list_is_told_so() -> None:
    """The lease was opened then, and whoever was leased the next entries was dropped for an error of the master's."""
    world = World([10])
    world.hello(b"session", "session")
    world.hello(b"worker", "worker", slots=1)
    query = world.submit_files([m.File("file0", listed=[0, 3, 5, 7])])
    (lease,) = world.core.queries[query].ledger.leases
    for listed in ([3, 0], [0, 2, 1, 4], [0, 4], None):
        world.tell(b"worker", "worker", m.Opened(query, lease, 10, 2, [0], listed=listed))
    faults = [message for message in world.inbox[b"worker"] if isinstance(message, m.Fault)]
    assert len(faults) == 4 and not any(fault.fatal for fault in faults)
    assert world.core.queries[query].ledger.leases[lease].opening


def test_a_setup_lost_with_a_connection_fails_no_query() -> None:
    """Seed 704666: the lease came by the next connection, before the agent heard that the first one was broken."""
    agent = AgentCore(m.Hello("worker", "w", slots=1))
    agent.start()
    agent.from_slot(0, m.Ready(), [], 0.0)
    agent.from_master(m.Welcome("w-1", "test", 1.0, 5.0), [], 0.0)
    effects = agent.from_master(m.Lease(3, "q", 0, m.File("f"), 0, 10, 1.0), [], 0.0)
    effects += agent.reconnected(0.0)
    assert effects == [Kill(0)] and agent.stage == "starting"
