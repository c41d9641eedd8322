"""The agent core: what slots hand over is committed once, with its ranges, and survives the slot."""

from __future__ import annotations

import pytest
from eventmill.merge import Partial, decode, encode
from eventmill.protocol import messages as m
from eventmill.protocol.errors import RemoteProtocolError
from eventmill.worker import core
from eventmill.worker.core import AgentCore, Fork, Kill, Leave, ToMaster, ToSlot


def sent(effects: list[core.Effect], kind: type[m.Message]) -> list[m.Message]:
    return [effect.message for effect in effects if isinstance(effect, ToMaster) and isinstance(effect.message, kind)]


class Agent:
    """An agent of two slots that has been welcomed, with a query set up."""

    def __init__(self) -> None:
        self.core = AgentCore(m.Hello("worker", "w", slots=2))
        assert self.core.start() == [Fork(0), Fork(1)]
        assert sent(self.slot(0, m.Ready(0, 10)), m.Hello) == []
        assert sent(self.slot(1, m.Ready(1, 11)), m.Hello) == [self.core.hello]
        self.master(m.Welcome("w-1", "test", 1.0, 5.0))
        self.master(m.Setup("q", "kernel", "digest"), [b"code"])

    def master(self, message: m.Message, frames: list[bytes] | None = None, now: float = 0.0) -> list[core.Effect]:
        effects = self.core.from_master(message, frames or [], now)
        self.core.check()
        return effects

    def slot(self, index: int, message: m.Message, value: object = None, now: float = 0.0) -> list[core.Effect]:
        frames = encode(value).to_frames() if isinstance(message, m.Commit) else []
        effects = self.core.from_slot(index, message, frames, now)
        self.core.check()
        return effects

    def lease(self, number: int, slot: int, start: int = 0, stop: int = 10) -> list[core.Effect]:
        return self.master(m.Lease(number, "q", slot, m.File("f"), start, stop, 1.0))

    def finish(self, number: int, slot: int, stop: int = 10) -> None:
        self.slot(slot, m.Finished("q", number, stop, 0.1, 0.1, 0))

    def hand_over(
        self, slot: int, parts: list[tuple[int, int, int]], value: object, now: float = 0.0
    ) -> list[core.Effect]:
        return self.slot(slot, m.Commit(1, "q", [m.Part(*part) for part in parts]), value, now)


def test_the_code_of_a_query_reaches_a_slot_once_before_its_first_lease() -> None:
    agent = Agent()
    first = [effect.message for effect in agent.lease(1, 0) if isinstance(effect, ToSlot)]
    second = [effect.message for effect in agent.lease(2, 0, 10, 20) if isinstance(effect, ToSlot)]
    assert [type(message) for message in first] == [m.Setup, m.Lease]
    assert [type(message) for message in second] == [m.Lease]


def test_partials_of_all_slots_are_committed_in_one_message_with_their_ranges() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    assert sent(agent.hand_over(0, [(1, 0, 10)], {"n": 10}), m.Commit) == [], "the other slot is still at work"
    agent.finish(2, 1, 20)
    effects = agent.hand_over(1, [(2, 10, 20)], {"n": 5})
    (commit,) = [effect for effect in effects if isinstance(effect, ToMaster)]
    assert commit.message == m.Commit(1, "q", [m.Part(1, 0, 10), m.Part(2, 10, 20)])
    assert decode(Partial.from_frames(commit.frames)) == {"n": 15}


def test_a_commit_is_due_after_the_interval_while_work_goes_on() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1, now=3.0)
    assert agent.core.deadline() <= 3.0 + core.COMMIT_INTERVAL
    assert sent(agent.core.expire(3.0 + core.COMMIT_INTERVAL), m.Commit)
    assert not sent(agent.core.expire(9.0), m.Commit), "nothing is committed twice"


def test_what_a_slot_handed_over_survives_it_and_the_rest_is_reported_lost() -> None:
    """The commit goes out before the report, so that the master gives back only what is not in it."""
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.lease(3, 0, 20, 30)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    agent.finish(2, 0, 20)
    effects = agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1)
    kinds = [type(effect.message) for effect in effects if isinstance(effect, ToMaster)]
    assert kinds == [m.Commit, m.SlotDown]
    (down,) = sent(effects, m.SlotDown)
    assert down.leases == [m.LeaseKey("q", 3), m.LeaseKey("q", 2)], "the one at work first"
    assert down.running
    assert Fork(0) in effects


def test_a_slot_that_ends_idle_is_not_blamed_on_a_lease() -> None:
    agent = Agent()
    (down,) = sent(agent.core.slot_exited(1, "exited with code 0", 0.0), m.SlotDown)
    assert down.leases == [] and not down.running


def test_a_slot_that_is_back_is_announced() -> None:
    agent = Agent()
    agent.core.slot_exited(1, "gone", 0.0)
    assert sent(agent.slot(1, m.Ready(1, 12)), m.SlotUp) == [m.SlotUp(1)]


def test_leases_for_a_slot_that_is_starting_go_back() -> None:
    agent = Agent()
    agent.core.slot_exited(0, "gone", 0.0)
    (down,) = sent(agent.lease(5, 0), m.SlotDown)
    assert down.leases == [m.LeaseKey("q", 5)] and not down.running


def test_results_of_dead_leases_are_not_added() -> None:
    """After a release, what a slot still hands over belongs to nothing."""
    agent = Agent()
    agent.lease(1, 0)
    agent.master(m.Release("q"))
    assert agent.hand_over(0, [(1, 0, 10)], 1) == []
    agent.master(m.Setup("q", "kernel", "digest"), [b"code"])
    assert agent.hand_over(0, [(1, 0, 10)], 1) == []


def test_partials_that_do_not_fit_fail_their_leases() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], {"a": 1})
    (failed,) = sent(agent.hand_over(1, [(2, 10, 20)], {"a": {"b": 1}}), m.Failed)
    assert failed.failure.error == "MergeError" and failed.lease == 2


def test_an_unknown_worker_starts_afresh() -> None:
    """Leases of before are dead: slots are replaced, nothing of theirs is committed, hello is said again when all are up."""
    agent = Agent()
    agent.lease(1, 0)
    agent.finish(1, 0)
    effects = agent.master(m.Unknown())
    assert effects == [Kill(0), Kill(1)]
    assert agent.hand_over(0, [(1, 0, 10)], 1) == []
    for slot in (0, 1):
        assert agent.core.slot_exited(slot, "killed by signal 9 (SIGKILL)", 0.0) == [Fork(slot)]
    agent.slot(0, m.Ready(0, 20))
    assert sent(agent.slot(1, m.Ready(1, 21)), m.Hello) == [agent.core.hello]


def test_slots_that_never_come_up_end_the_worker() -> None:
    agent = AgentCore(m.Hello("worker", "w", slots=1))
    agent.start()
    for _ in range(core.MAX_FAILED_STARTS - 1):
        assert agent.slot_exited(0, "exited with code 70", 0.0) == [Fork(0)]
    (leave,) = agent.slot_exited(0, "exited with code 70", 0.0)
    assert isinstance(leave, Leave) and leave.error and "code 70" in leave.reason


def test_a_refusal_ends_the_worker_with_the_masters_words() -> None:
    agent = AgentCore(m.Hello("worker", "w", slots=1))
    (leave,) = agent.from_master(m.Fault("use the same minor version", fatal=True), [], 0.0)
    assert leave == Leave("use the same minor version", error=True)
    (leave,) = agent.from_master(m.Bye(), [], 0.0)
    assert isinstance(leave, Leave) and not leave.error


def test_heartbeats_fill_silence_only() -> None:
    agent = Agent()
    assert sent(agent.core.expire(0.5), m.Heartbeat) == []
    assert sent(agent.core.expire(1.0), m.Heartbeat) == [m.Heartbeat()]
    assert sent(agent.core.expire(1.5), m.Heartbeat) == []


def test_slots_may_not_say_what_is_not_theirs() -> None:
    with pytest.raises(RemoteProtocolError, match="may not say Submit"):
        Agent().slot(0, m.Submit(1, "x", "kernel", "d"))
