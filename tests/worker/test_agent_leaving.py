"""The agent core, leaving in good order: what is done is committed, the rest goes back, and nothing dead is waited for."""

from __future__ import annotations

import pytest
from agent import Agent, sent
from eventmill.protocol import messages as m
from eventmill.worker.agent.core import AgentCore
from eventmill.worker.agent.effects import Effect, Fork, Kill, Leave, ToSlot
from eventmill.worker.agent.leaving import GRACE


def leaves(effects: list[Effect]) -> list[str]:
    assert not any(effect.error for effect in effects if isinstance(effect, Leave))
    return [effect.reason for effect in effects if isinstance(effect, Leave)]


def answer(agent: Agent, effects: list[Effect], now: float = 0.0) -> list[Effect]:
    """The master accepts the commits among these."""
    answers: list[Effect] = []
    for commit in sent(effects, m.Commit):
        assert isinstance(commit, m.Commit)
        answers += agent.master(m.Committed(commit.commit, True), now=now)
    return answers


def test_an_idle_worker_that_is_told_to_leave_does_so_at_once() -> None:
    agent = Agent()
    effects = agent.core.drain(10.0, 5.0)
    assert sent(effects, m.Draining) == [m.Draining(0.0)]
    assert leaves(effects) == ["it has drained"]


def test_a_worker_that_has_not_joined_leaves_at_once_and_says_nothing() -> None:
    agent = AgentCore(m.Hello("worker", "w", slots=1))
    agent.start()
    effects = agent.drain(10.0, 0.0)
    assert len(leaves(effects)) == 1 and not sent(effects, m.Draining)


def test_a_draining_worker_goes_when_everything_is_committed_and_the_master_has_answered() -> None:
    """The packet in hand is truncated, the one that waits goes back; hand-overs are committed at once, slot by slot."""
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.lease(3, 1, 20, 30)
    effects = agent.core.drain(GRACE, 1.0)
    assert sent(effects, m.Draining) == [m.Draining(0.0)] and not leaves(effects)
    agent.master(m.Truncate("q", 1, 0), now=1.1)
    agent.master(m.Truncate("q", 2, 10), now=1.1)
    assert not leaves(agent.slot(0, m.Truncated("q", 2, 10), now=1.2))
    agent.slot(0, m.Truncated("q", 1, 6), now=1.2)
    agent.finish(1, 0, 6)
    effects = agent.hand_over(0, [(1, 0, 6)], {"n": 6}, now=1.2)
    assert sent(effects, m.Commit) == [m.Commit(1, "q", [m.Part(1, 0, 6)])], "at once, though slot 1 is at work"
    assert not leaves(answer(agent, effects, 1.3))
    agent.finish(3, 1, 30)
    effects = agent.hand_over(1, [(3, 20, 30)], {"n": 10}, now=1.4)
    assert sent(effects, m.Commit) and not leaves(effects), "the master may still refuse it, or not have got it"
    assert leaves(answer(agent, effects, 1.5)) == ["it has drained"]


def test_what_waits_to_be_committed_is_committed_when_draining_begins() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    assert sent(agent.core.drain(GRACE, 0.0), m.Commit) == [m.Commit(1, "q", [m.Part(1, 0, 10)])]


def test_leases_that_were_on_their_way_are_worked_on() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(GRACE, 0.0)
    late = agent.lease(2, 0, 10, 20)
    assert [type(effect.message) for effect in late if isinstance(effect, ToSlot)] == [m.Lease]
    agent.finish(1, 0)
    assert not leaves(answer(agent, agent.hand_over(0, [(1, 0, 10)], 1)))
    agent.finish(2, 0, 20)
    assert leaves(answer(agent, agent.hand_over(0, [(2, 10, 20)], 1)))


def test_a_worker_is_gone_at_its_end_whatever_is_left() -> None:
    """A slot in the user's code for an hour does not hold it up."""
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(GRACE, 5.0)
    agent.core.expire(5.0 + GRACE / 2)
    assert agent.core.deadline() <= 5.0 + GRACE
    assert not leaves(agent.core.expire(4.9 + GRACE))
    assert leaves(agent.core.expire(5.0 + GRACE)) == ["its time is over"]


def test_the_walltime_is_told_after_each_welcome_and_draining_begins_in_time() -> None:
    """The master plans with it; what the plan did not foresee is truncated when `grace` is left."""
    agent = AgentCore(m.Hello("worker", "w", slots=1), grace=10.0)
    assert agent.start() == [Fork(0)]
    assert agent.drain(100.0, 0.0) == []
    assert agent.deadline() == 90.0
    assert sent(agent.from_slot(0, m.Ready(), [], 1.0), m.Hello)
    welcome = m.Welcome("w-1", "test", 1.0, 5.0)
    assert sent(agent.from_master(welcome, [], 2.0), m.Draining) == [m.Draining(88.0)]
    agent.from_master(m.Unknown(), [], 40.0)
    agent.slot_exited(0, "killed by signal 9 (SIGKILL)", 40.0)
    agent.from_slot(0, m.Ready(), [], 41.0)
    welcome = m.Welcome("w-2", "test", 1.0, 5.0, incarnation=1)
    assert sent(agent.from_master(welcome, [], 42.0), m.Draining) == [m.Draining(48.0)]
    agent.from_master(m.Setup("q", "kernel", "digest"), [b"code"], 50.0)
    agent.from_master(m.Lease(1, "q", 0, m.File("f"), 0, 10, 1.0), [], 80.0)
    assert not sent(agent.expire(89.9), m.Draining)
    effects = agent.expire(90.0)
    assert sent(effects, m.Draining) == [m.Draining(0.0)] and not leaves(effects)
    assert leaves(agent.expire(100.0))


def test_of_several_ends_the_earliest_counts() -> None:
    """A notice before the walltime, a signal while it drains already, a walltime that is told twice."""
    agent = Agent()
    agent.lease(1, 0)
    assert sent(agent.core.drain(100.0, 0.0), m.Draining) == [m.Draining(90.0)]
    assert agent.core.drain(200.0, 0.0) == []
    assert sent(agent.core.drain(60.0, 0.0), m.Draining) == [m.Draining(50.0)]
    assert sent(agent.core.expire(50.0), m.Draining) == [m.Draining(0.0)]
    assert agent.core.drain(10.0, 55.0) == [], "a signal near the end wins nothing"
    assert agent.core.drain(2.0, 55.0) == []
    assert leaves(agent.core.expire(57.0))


def test_the_master_can_have_a_worker_leave() -> None:
    agent = Agent()
    agent.lease(1, 0)
    effects = agent.master(m.Drain("w-1"), now=3.0)
    assert sent(effects, m.Draining) == [m.Draining(0.0)] and not leaves(effects)
    assert agent.master(m.Drain("w-1"), now=4.0) == [], "once"
    assert leaves(agent.core.expire(3.0 + GRACE))


@pytest.mark.parametrize("lost", ["unknown", "reconnected"])
def test_a_draining_worker_that_the_master_has_lost_leaves(lost: str) -> None:
    """It has no leases any more; to join anew in order to leave would help nobody."""
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(GRACE, 0.0)
    effects = agent.master(m.Unknown()) if lost == "unknown" else agent.core.reconnected(0.1)
    assert leaves(effects) and not any(isinstance(effect, Kill) for effect in effects)


def test_without_grace_a_worker_commits_what_it_has_and_leaves() -> None:
    agent = Agent()
    agent.core.leaving.grace = 0.0
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    effects = agent.core.drain(0.0, 1.0)
    assert sent(effects, m.Commit) and leaves(effects)


def test_a_draining_worker_does_not_wait_for_what_is_dead_or_cannot_be_sent() -> None:
    """A slot that stays at revoked work, and a commit that the master never got."""
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.core.drain(GRACE, 0.0)
    agent.finish(2, 1, 20)
    (commit,) = sent(agent.hand_over(1, [(2, 10, 20)], 1), m.Commit)
    assert not leaves(agent.core.unsendable(commit, "too large", 0.1))
    assert leaves(agent.master(m.Revoke("q", 1)))


def test_a_slot_that_ends_while_draining_is_not_waited_for() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(GRACE, 0.0)
    effects = agent.core.slot_exited(0, "killed by signal 15 (SIGTERM)", 0.1)
    assert sent(effects, m.SlotDown) and leaves(effects)


def test_the_compaction_in_hand_is_finished_first() -> None:
    agent = Agent()
    agent.master(m.Compact("q", 0), [b"total"])
    assert not leaves(agent.core.drain(GRACE, 0.0))
    assert leaves(agent.slot(0, m.Compacted("q", 0)))
