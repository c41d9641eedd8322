"""The agent core, watching its slots: what they are at, for how long, and how much memory they take."""

from __future__ import annotations

import pytest
from agent import Agent, sent
from eventmill.protocol import messages as m
from eventmill.worker.agent import watch
from eventmill.worker.agent.effects import Fork, Kill, Order, ToMaster
from eventmill.worker.slot_status import COMPACTING, AtWork

# --- what a slot was at -----------------------------------------------------------------------------------------------


def test_the_chunk_that_took_a_slot_down_is_named() -> None:
    agent = Agent()
    agent.lease(1, 0, 0, 1000)
    (down,) = sent(
        agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1, AtWork("q", 1, 500, 501, 0.0)), m.SlotDown
    )
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), 500, 501)


def test_what_was_not_yet_at_work_names_the_lease_only() -> None:
    agent = Agent()
    agent.lease(1, 0, 0, 1000)
    (down,) = sent(agent.core.slot_exited(0, "gone", 0.1, AtWork("q", 1, 0, 0, 0.0)), m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), None, None)


@pytest.mark.parametrize("chunk", [AtWork("q", 7, 0, 10, 0.0), AtWork("gone", 1, 0, 10, 0.0)], ids=["lease", "query"])
def test_nobody_is_blamed_for_a_chunk_that_is_dead(chunk: AtWork) -> None:
    agent = Agent()
    agent.lease(1, 0)
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1, chunk), m.SlotDown)
    assert (down.working, down.start) == (None, None) and down.leases == [m.LeaseKey("q", 1)]


def test_a_chunk_that_takes_longer_than_its_query_allows_ends_its_slot() -> None:
    agent = Agent()
    agent.master(m.Setup("short", "columnar", "digest", timeout=5.0), [b"code"])
    agent.master(m.Lease(1, "short", 0, m.File("f"), 0, 10, 1.0))
    chunk = AtWork("short", 1, 3, 4, began=10.0)
    assert agent.core.look(0, chunk, 0, 15.0) == []
    effects = agent.core.look(0, chunk, 0, 15.1)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("short", 1), 3, 4)
    assert "ended after 5 s at work on the same entries: an endless loop?" in down.reason
    assert agent.core.look(0, chunk, 0, 16.0) == [], "once"


def test_to_compile_a_slot_may_take_longer_than_for_a_chunk() -> None:
    agent = Agent()
    agent.master(m.Setup("short", "kernel", "digest", timeout=1.0), [b"code"])
    agent.master(m.Lease(1, "short", 0, m.File("f"), 0, 10, 1.0))
    chunk = AtWork("short", 1, 0, 0, began=0.0)
    assert agent.core.look(0, chunk, 0, watch.PREPARING) == []
    assert Kill(0) in agent.core.look(0, chunk, 0, watch.PREPARING + 0.1)


def test_a_compaction_without_end_names_its_query() -> None:
    agent = Agent()
    agent.master(m.Compact("q", 0), [b"total"])
    (down,) = sent(agent.core.look(0, AtWork("q", COMPACTING, 0, 0, 0.0), 0, 601.0), m.SlotDown)
    assert (down.working, down.compacting) == (None, "q")


# --- what a slot is doing ---------------------------------------------------------------------------------------------


def test_the_master_is_told_what_takes_long_and_when_that_is_over() -> None:
    agent = Agent()
    agent.lease(1, 0)
    opening, running = (AtWork("q", 1, 0, 0, 1.0, "opening", 1.0), AtWork("q", 1, 0, 5, 9.0, "running", 9.0))
    assert agent.core.look(0, opening, 0, 1.9) == []
    assert agent.core.look(0, opening, 0, 2.5) == [ToMaster(m.Doing("q", 1, "opening", 1.5, "f"))]
    assert agent.core.look(0, opening, 0, 8.0) == [], "once"
    assert agent.core.look(0, running, 0, 9.1) == [ToMaster(m.Doing("q", 1, "running", pytest.approx(0.1), "f"))]
    assert agent.core.look(0, AtWork("q", 1, 5, 9, 9.2, "reading", 9.2), 0, 9.3) == [], "a chunk like any other"
    assert agent.core.look(0, AtWork("gone", 1, 0, 0, 1.0, "opening", 1.0), 0, 99.0) == [], "it is dead"


# --- memory -----------------------------------------------------------------------------------------------------------


def limited() -> Agent:
    """Slot 0 has two leases, and may take 1000 bytes."""
    agent = Agent()
    agent.core.watch.memory = 1000
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    return agent


def test_a_slot_that_grows_takes_smaller_chunks_and_is_told_so_once_each_time() -> None:
    agent = limited()
    assert agent.core.look(0, None, 780, 0.5) == agent.core.look(0, None, 790, 1.0) == []
    assert agent.core.look(0, None, 800, 1.5) == [Order(0, 1, retire=False)]
    assert agent.core.look(0, None, 810, 2.0) == []
    assert agent.core.look(0, None, 850, 2.5) == [Order(0, 2, retire=False)]
    assert agent.core.look(0, None, 500, 3.0) == [Order(0, 0, retire=False)], "it has shrunk again"


def test_a_slot_that_has_done_its_packets_and_not_handed_them_over_is_not_taken_for_idle() -> None:
    """Its process was ended between the two messages, and what it had done was done again."""
    agent = limited()
    agent.finish(1, 0, 7)
    agent.finish(2, 0, 20)
    assert agent.core.look(0, None, 960, 1.0) == [Order(0, 4, retire=True)]
    agent.hand_over(0, [(1, 0, 7), (2, 10, 20)], {"n": 17})
    assert Kill(0) in agent.core.look(0, None, 960, 1.5), "now it does nothing"


def test_a_slot_near_its_limit_hands_over_and_is_replaced_without_blame() -> None:
    agent = limited()
    (order,) = agent.core.look(0, AtWork("q", 1, 0, 10, 1.0), 960, 1.0)
    assert order == Order(0, 4, retire=True)
    agent.finish(1, 0, 7)
    agent.hand_over(0, [(1, 0, 7)], {"n": 7})
    effects = agent.slot(0, m.Bye())
    kinds = [type(effect.message) for effect in effects if isinstance(effect, ToMaster)]
    assert kinds == [m.Commit, m.SlotDown] and Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert down.leases == [m.LeaseKey("q", 2)] and down.working is None and not down.compacting
    assert agent.core.slot_exited(0, "killed by signal 9 (SIGKILL)", 2.0) == [Fork(0)]
    agent.slot(0, m.Ready())
    agent.lease(3, 0, 20, 30)
    assert agent.core.look(0, None, 960, 3.0) == [Order(0, 4, retire=True)], "the new process knows nothing of it"


def test_a_slot_that_would_be_over_its_limit_at_the_next_look_makes_room() -> None:
    agent = limited()
    agent.core.look(0, None, 600, 1.0)
    assert agent.core.look(0, None, 810, 1.5) == [Order(0, 1, retire=True)]


def test_a_slot_over_its_limit_is_ended_and_its_chunk_is_blamed() -> None:
    """Otherwise the kernel would end the whole job."""
    agent = limited()
    assert agent.core.look(0, AtWork("q", 1, 3, 9, 1.0), 1050, 1.0) == [Order(0, 7, retire=True)]
    effects = agent.core.look(0, AtWork("q", 1, 3, 9, 1.0), 1050, 1.5)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), 3, 9)
    assert "--memory" in down.reason


def test_a_slot_far_over_its_limit_is_ended_at_once() -> None:
    agent = limited()
    assert Kill(0) in agent.core.look(0, AtWork("q", 1, 3, 9, 1.0), 1101, 1.0)


def test_an_idle_slot_that_has_grown_is_replaced_and_one_that_has_done_nothing_is_left_alone() -> None:
    """A limit that is too small for a slot with nothing to do must not restart it for ever."""
    agent = Agent()
    agent.core.watch.memory = 1000
    assert not any(isinstance(effect, Kill) for effect in agent.core.look(1, None, 2000, 1.0))
    agent.lease(1, 0)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    effects = agent.core.look(0, None, 960, 1.0)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert not down.leases and down.working is None
