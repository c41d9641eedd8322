"""The agent core: what slots hand over is committed once, with its ranges, and survives the slot."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from eventmill.merge import Partial, decode, encode
from eventmill.protocol import messages as m
from eventmill.worker import core, states
from eventmill.worker.board import COMPACTING, Bite
from eventmill.worker.core import AgentCore
from eventmill.worker.effects import Effect, Fork, Kill, Leave, Order, ToMaster, ToSlot


def sent(effects: list[Effect], kind: type[m.Message]) -> list[m.Message]:
    return [effect.message for effect in effects if isinstance(effect, ToMaster) and isinstance(effect.message, kind)]


class Agent:
    """An agent of two slots that has been welcomed, with a query set up."""

    def __init__(self) -> None:
        self.core = AgentCore(m.Hello("worker", "w", slots=2))
        assert self.core.start() == [Fork(0), Fork(1)]
        assert sent(self.slot(0, m.Ready()), m.Hello) == []
        assert sent(self.slot(1, m.Ready()), m.Hello) == [self.core.hello]
        self.master(m.Welcome("w-1", "test", 1.0, 5.0))
        self.master(m.Setup("q", "kernel", "digest"), [b"code"])

    def master(self, message: m.Message, frames: list[bytes] | None = None, now: float = 0.0) -> list[Effect]:
        effects = self.core.from_master(message, frames or [], now)
        self.core.check()
        return effects

    def slot(self, index: int, message: m.Message, value: object = None, now: float = 0.0) -> list[Effect]:
        frames = encode(value).to_frames() if isinstance(message, m.Commit) else []
        effects = self.core.from_slot(index, message, frames, now)
        self.core.check()
        return effects

    def lease(self, number: int, slot: int, start: int = 0, stop: int = 10) -> list[Effect]:
        return self.master(m.Lease(number, "q", slot, m.File("f"), start, stop, 1.0))

    def finish(self, number: int, slot: int, stop: int = 10) -> None:
        self.slot(slot, m.Finished("q", number, stop, 0.1, 0.1, 0))

    def hand_over(self, slot: int, parts: list[tuple[int, int, int]], value: object, now: float = 0.0) -> list[Effect]:
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
    assert down.leases == [m.LeaseKey("q", 2), m.LeaseKey("q", 3)]
    assert down.working == m.LeaseKey("q", 3), "the one that it was not through with"
    assert Fork(0) in effects


def test_a_slot_that_ends_idle_is_not_blamed_on_a_lease() -> None:
    agent = Agent()
    (down,) = sent(agent.core.slot_exited(1, "exited with code 0", 0.0), m.SlotDown)
    assert down.leases == [] and not down.working


def test_a_slot_that_is_back_is_announced() -> None:
    agent = Agent()
    agent.core.slot_exited(1, "gone", 0.0)
    assert sent(agent.slot(1, m.Ready()), m.SlotUp) == [m.SlotUp(1)]


def test_leases_for_a_slot_that_is_starting_go_back() -> None:
    agent = Agent()
    agent.core.slot_exited(0, "gone", 0.0)
    (down,) = sent(agent.lease(5, 0), m.SlotDown)
    assert down.leases == [m.LeaseKey("q", 5)] and not down.working


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
    agent.slot(0, m.Ready())
    assert sent(agent.slot(1, m.Ready()), m.Hello) == [agent.core.hello]


def test_a_new_connection_starts_afresh_once_and_nothing_of_before_counts() -> None:
    """Answers to what was sent before the new hello, and leases of the worker that it was, come until the welcome."""
    agent = Agent()
    agent.lease(1, 0)
    assert agent.core.reconnected(0.0) == [Kill(0), Kill(1)]
    for slot in (0, 1):
        agent.core.slot_exited(slot, "killed by signal 9 (SIGKILL)", 0.0)
        agent.slot(slot, m.Ready())
    for late in (m.Unknown(), m.Setup("q", "kernel", "digest"), m.Lease(2, "q", 0, m.File("f"), 0, 10, 1.0)):
        assert agent.master(late) == []
    agent.master(m.Welcome("w-1", "test", 1.0, 5.0, incarnation=0))
    assert agent.lease(3, 0) == [], "that welcome was for the hello before"
    agent.master(m.Welcome("w-2", "test", 1.0, 5.0, incarnation=1))
    agent.master(m.Setup("q", "kernel", "digest"), [b"code"])
    assert any(isinstance(effect, ToSlot) for effect in agent.lease(4, 0))


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


def test_a_slot_that_says_what_is_not_its_business_is_replaced_and_blamed() -> None:
    agent = Agent()
    agent.lease(1, 0)
    effects = agent.slot(0, m.Submit(1, "x", "kernel", "d"))
    (down,) = sent(effects, m.SlotDown)
    assert down.working == m.LeaseKey("q", 1) and "may not say Submit" in down.reason
    assert Kill(0) in effects
    assert agent.core.slot_misbehaved(0, "sent nonsense", 0.0) == [], "once"


# --- slots that do not let go -------------------------------------------------------------------------------------------


def two_queries() -> Agent:
    """Slot 0 has a lease of query "q", then one of query "other"."""
    agent = Agent()
    agent.master(m.Setup("other", "columnar", "digest"), [b"code"])
    agent.lease(1, 0)
    agent.master(m.Lease(1, "other", 0, m.File("f"), 0, 10, 1.0))
    return agent


END = {"released": m.Release("q"), "revoked": m.Revoke("q", 1)}


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_a_slot_that_stays_at_dead_work_is_replaced_and_its_other_leases_go_back(end: m.Message) -> None:
    """An endless loop in user code looks at no messages; without this its slot would be lost for everybody, for ever."""
    agent = two_queries()
    agent.master(end, now=5.0)
    assert agent.core.deadline() <= 5.0 + states.PATIENCE
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(4.9 + states.PATIENCE))
    effects = agent.core.expire(5.0 + states.PATIENCE)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert down.leases == [m.LeaseKey("other", 1)] and down.working is None, "it is not the other's fault"
    (late,) = sent(agent.master(m.Lease(2, "other", 0, m.File("f"), 10, 20, 1.0)), m.SlotDown)
    assert late.leases == [m.LeaseKey("other", 2)], "leases on their way to it go back"
    assert agent.slot(0, m.Finished("other", 1, 10, 0.1, 0.1, 0)) == [], "its last words count for nothing"
    assert agent.core.slot_exited(0, "killed by signal 9 (SIGKILL)", 6.1) == [Fork(0)], "it is not told twice"
    assert sent(agent.slot(0, m.Ready()), m.SlotUp)


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_a_slot_that_lets_go_is_left_alone_and_the_next_lease_is_at_work(end: m.Message) -> None:
    agent = two_queries()
    agent.master(end, now=5.0)
    assert agent.slot(0, end, now=5.1) == [], "the slot says that it has let go; the master need not know"
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(100.0))
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 100.0), m.SlotDown)
    assert down.working == m.LeaseKey("other", 1)


def test_a_slot_in_a_long_bite_of_another_query_is_left_alone() -> None:
    agent = two_queries()
    agent.master(m.Release("other"), now=5.0)
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(100.0))
    agent.finish(1, 0)
    agent.slot(0, m.Release("other"))
    agent.core.check()


def test_the_end_of_a_slot_at_dead_work_is_nobodys_fault() -> None:
    """Three such ends would fail the innocent query behind it."""
    agent = two_queries()
    agent.master(m.Release("q"))
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1), m.SlotDown)
    assert down.leases == [m.LeaseKey("other", 1)] and down.working is None


def test_a_slot_that_ends_while_it_hands_over_is_blamed_on_what_it_had_finished() -> None:
    """Pickling runs user code too; blamed on nobody, it would be done again for ever."""
    agent = Agent()
    agent.lease(1, 0)
    agent.finish(1, 0)
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1), m.SlotDown)
    assert down.working == m.LeaseKey("q", 1)


def test_a_slot_that_ends_while_it_compacts_names_the_query() -> None:
    """What it works on before is not blamed, nor the compaction before it is its turn."""
    for finished, working, compacting in ((False, m.LeaseKey("q", 1), ""), (True, None, "q")):
        agent = Agent()
        agent.lease(1, 0)
        agent.master(m.Compact("q", 0), [b"total"])
        agent.lease(2, 0, 10, 20)
        if finished:
            agent.finish(1, 0)
        (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1), m.SlotDown)
        assert (down.working, down.compacting) == (working, compacting)


def test_a_compaction_that_nobody_waits_for_any_more_can_be_dropped() -> None:
    agent = Agent()
    agent.master(m.Compact("gone", 0), [b"total"])
    assert [effect.message for effect in agent.master(m.Release("gone")) if isinstance(effect, ToSlot)]
    assert Kill(0) in agent.core.expire(states.PATIENCE)


def test_a_compaction_goes_on_while_its_query_is_merging() -> None:
    """The release of the leases comes while a slot compacts: dropped with them, the query would merge for ever."""
    agent = Agent()
    agent.lease(1, 0)
    agent.finish(1, 0)
    agent.master(m.Compact("q", 0), [b"total"])
    agent.master(m.Release("q", merging=True))
    agent.slot(0, m.Release("q", merging=True))
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(100.0))
    assert sent(agent.slot(0, m.Compacted("q", 0)), m.Compacted)


# --- nothing is left without an answer ----------------------------------------------------------------------------------


def test_leases_that_fit_no_query_or_slot_are_answered() -> None:
    agent = Agent()
    for lease in (m.Lease(1, "unknown", 0, m.File("f"), 0, 9, 1.0), m.Lease(2, "q", 7, m.File("f"), 0, 9, 1.0)):
        (failed,) = sent(agent.master(lease), m.Failed)
        assert (failed.query, failed.lease) == (lease.query, lease.lease) and failed.failure.kind == "slot"


def test_compactions_that_no_slot_can_do_are_answered() -> None:
    agent = Agent()
    (compacted,) = sent(agent.master(m.Compact("q", 7), [b"total"]), m.Compacted)
    assert compacted.failure is not None
    agent.core.slot_exited(0, "gone", 0.0)
    (down,) = sent(agent.master(m.Compact("q", 0), [b"total"]), m.SlotDown)
    assert down.slot == 0 and not down.compacting


def test_a_second_setup_does_not_forget_what_is_not_committed() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], {"n": 10})
    agent.master(m.Setup("q", "kernel", "digest"), [b"code"])
    assert sent(agent.core.expire(1.0), m.Commit) == [m.Commit(1, "q", [m.Part(1, 0, 10)])]


def test_a_hand_over_that_makes_no_sense_fails_its_leases() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.finish(1, 0)
    effects = agent.core.from_slot(0, m.Commit(1, "q", [m.Part(1, 0, 10)]), [b"nonsense"], 0.0)
    (failed,) = sent(effects, m.Failed)
    assert failed.lease == 1 and failed.failure.error == "RemoteProtocolError"
    agent.core.check()


def test_a_hand_over_with_a_revoked_lease_goes_to_the_master_who_gives_the_rest_back() -> None:
    """Dropped here, the leases beside the revoked one would be waited for for ever."""
    agent = Agent()
    for lease in (1, 2):
        agent.lease(lease, 0)
        agent.finish(lease, 0)
    agent.master(m.Revoke("q", 1))
    (commit,) = sent(agent.hand_over(0, [(1, 0, 10), (2, 0, 10)], 1), m.Commit)
    assert commit.parts == [m.Part(1, 0, 10), m.Part(2, 0, 10)]


def test_results_that_cannot_be_sent_fail_their_leases() -> None:
    agent = Agent()
    commit = m.Commit(1, "q", [m.Part(1, 0, 10), m.Part(2, 10, 20)])
    failed = sent(agent.core.unsendable(commit, "too large", 0.0), m.Failed)
    assert [message.lease for message in failed] == [1, 2] and "too large" in failed[0].failure.message
    (compacted,) = sent(agent.core.unsendable(m.Compacted("q", 1), "too large", 0.0), m.Compacted)
    assert compacted.failure is not None and compacted.slot == 1
    failure = m.Failed("q", 1, m.Failure("analysis", "ValueError", "no"))
    (effect,) = agent.core.unsendable(failure, "too large", 0.0)
    assert effect == ToMaster(failure), "without the pickled exception"


def test_several_answers_to_one_loss_start_the_worker_afresh_once() -> None:
    agent = Agent()
    agent.master(m.Unknown())
    assert agent.master(m.Unknown()) == []
    for slot in (0, 1):
        agent.core.slot_exited(slot, "killed by signal 9 (SIGKILL)", 0.0)
        agent.slot(slot, m.Ready())
    assert agent.core.hello.incarnation == 1
    assert agent.master(m.Unknown()) == [], "it is about what was said before the hello"
    agent.master(m.Welcome("w-2", "test", 1.0, 5.0, incarnation=1))
    assert Kill(0) in agent.master(m.Unknown())


# --- leaving in good order --------------------------------------------------------------------------------------------


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
    effects = agent.core.drain(core.GRACE, 1.0)
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
    assert sent(agent.core.drain(core.GRACE, 0.0), m.Commit) == [m.Commit(1, "q", [m.Part(1, 0, 10)])]


def test_leases_that_were_on_their_way_are_worked_on() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(core.GRACE, 0.0)
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
    agent.core.drain(core.GRACE, 5.0)
    agent.core.expire(5.0 + core.GRACE / 2)
    assert agent.core.deadline() <= 5.0 + core.GRACE
    assert not leaves(agent.core.expire(4.9 + core.GRACE))
    assert leaves(agent.core.expire(5.0 + core.GRACE)) == ["its time is over"]


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
    assert leaves(agent.core.expire(3.0 + core.GRACE))


@pytest.mark.parametrize("lost", ["unknown", "reconnected"])
def test_a_draining_worker_that_the_master_has_lost_leaves(lost: str) -> None:
    """It has no leases any more; to join anew in order to leave would help nobody."""
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(core.GRACE, 0.0)
    effects = agent.master(m.Unknown()) if lost == "unknown" else agent.core.reconnected(0.1)
    assert leaves(effects) and not any(isinstance(effect, Kill) for effect in effects)


def test_without_grace_a_worker_commits_what_it_has_and_leaves() -> None:
    agent = Agent()
    agent.core.grace = 0.0
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
    agent.core.drain(core.GRACE, 0.0)
    agent.finish(2, 1, 20)
    (commit,) = sent(agent.hand_over(1, [(2, 10, 20)], 1), m.Commit)
    assert not leaves(agent.core.unsendable(commit, "too large", 0.1))
    assert leaves(agent.master(m.Revoke("q", 1)))


def test_a_slot_that_ends_while_draining_is_not_waited_for() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(core.GRACE, 0.0)
    effects = agent.core.slot_exited(0, "killed by signal 15 (SIGTERM)", 0.1)
    assert sent(effects, m.SlotDown) and leaves(effects)


def test_the_compaction_in_hand_is_finished_first() -> None:
    agent = Agent()
    agent.master(m.Compact("q", 0), [b"total"])
    assert not leaves(agent.core.drain(core.GRACE, 0.0))
    assert leaves(agent.slot(0, m.Compacted("q", 0)))


# --- what is skipped --------------------------------------------------------------------------------------------------


def test_gaps_travel_with_their_parts_and_those_of_one_lease_are_joined() -> None:
    agent = Agent()
    agent.lease(1, 0, 0, 20)
    agent.lease(2, 1, 20, 30)
    first, second = m.Gap(3, 4, "ValueError: no"), m.Gap(12, 14, "ValueError: no")
    agent.slot(0, m.Commit(1, "q", [m.Part(1, 0, 10, [first])]), 9)
    agent.finish(1, 0, 20)
    agent.slot(0, m.Commit(2, "q", [m.Part(1, 10, 20, [second])]), 8)
    agent.finish(2, 1, 30)
    (commit,) = sent(agent.hand_over(1, [(2, 20, 30)], 10), m.Commit)
    assert commit.parts == [m.Part(1, 0, 20, [first, second]), m.Part(2, 20, 30)]


def test_many_gaps_are_committed_at_once() -> None:
    """They are all in one message, which has a limit."""
    agent = Agent()
    agent.lease(1, 0, 0, 10**6)
    agent.lease(2, 1, 10**6, 10**6 + 10)
    agent.finish(1, 0, 10**6)
    gaps = [m.Gap(2 * number, 2 * number + 1, "no") for number in range(core.MOST_GAPS)]
    assert sent(agent.slot(0, m.Commit(1, "q", [m.Part(1, 0, 10**6, gaps)]), 1), m.Commit)


def test_the_first_error_passed_over_is_told_unless_its_query_is_over() -> None:
    agent = Agent()
    agent.lease(1, 0)
    skipped = m.Skipped("q", m.Failure("analysis", "ValueError", "no"))
    assert ToMaster(skipped, []) in agent.slot(0, skipped)
    agent.master(m.Release("q"))
    assert sent(agent.slot(0, skipped), m.Skipped) == []


# --- what a slot was at -----------------------------------------------------------------------------------------------


def test_the_bite_that_took_a_slot_down_is_named() -> None:
    agent = Agent()
    agent.lease(1, 0, 0, 1000)
    (down,) = sent(
        agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1, Bite("q", 1, 500, 501, 0.0)), m.SlotDown
    )
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), 500, 501)


def test_what_was_not_yet_at_work_names_the_lease_only() -> None:
    agent = Agent()
    agent.lease(1, 0, 0, 1000)
    (down,) = sent(agent.core.slot_exited(0, "gone", 0.1, Bite("q", 1, 0, 0, 0.0)), m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), None, None)


@pytest.mark.parametrize("bite", [Bite("q", 7, 0, 10, 0.0), Bite("gone", 1, 0, 10, 0.0)], ids=["lease", "query"])
def test_nobody_is_blamed_for_a_bite_that_is_dead(bite: Bite) -> None:
    agent = Agent()
    agent.lease(1, 0)
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.1, bite), m.SlotDown)
    assert (down.working, down.start) == (None, None) and down.leases == [m.LeaseKey("q", 1)]


def test_a_bite_that_takes_longer_than_its_query_allows_ends_its_slot() -> None:
    agent = Agent()
    agent.master(m.Setup("short", "columnar", "digest", timeout=5.0), [b"code"])
    agent.master(m.Lease(1, "short", 0, m.File("f"), 0, 10, 1.0))
    bite = Bite("short", 1, 3, 4, began=10.0)
    assert agent.core.look(0, bite, 0, 15.0) == []
    effects = agent.core.look(0, bite, 0, 15.1)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("short", 1), 3, 4)
    assert "ended after 5 s at work on the same entries: an endless loop?" in down.reason
    assert agent.core.look(0, bite, 0, 16.0) == [], "once"


def test_to_compile_a_slot_may_take_longer_than_for_a_bite() -> None:
    agent = Agent()
    agent.master(m.Setup("short", "kernel", "digest", timeout=1.0), [b"code"])
    agent.master(m.Lease(1, "short", 0, m.File("f"), 0, 10, 1.0))
    bite = Bite("short", 1, 0, 0, began=0.0)
    assert agent.core.look(0, bite, 0, core.PREPARING) == []
    assert Kill(0) in agent.core.look(0, bite, 0, core.PREPARING + 0.1)


def test_a_compaction_without_end_names_its_query() -> None:
    agent = Agent()
    agent.master(m.Compact("q", 0), [b"total"])
    (down,) = sent(agent.core.look(0, Bite("q", COMPACTING, 0, 0, 0.0), 0, 601.0), m.SlotDown)
    assert (down.working, down.compacting) == (None, "q")


# --- memory -----------------------------------------------------------------------------------------------------------


def limited() -> Agent:
    """Slot 0 has two leases, and may take 1000 bytes."""
    agent = Agent()
    agent.core.memory = 1000
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    return agent


def test_a_slot_that_grows_takes_smaller_bites_and_is_told_so_once_each_time() -> None:
    agent = limited()
    assert agent.core.look(0, None, 780, 0.5) == agent.core.look(0, None, 790, 1.0) == []
    assert agent.core.look(0, None, 800, 1.5) == [Order(0, 1, retire=False)]
    assert agent.core.look(0, None, 810, 2.0) == []
    assert agent.core.look(0, None, 850, 2.5) == [Order(0, 2, retire=False)]
    assert agent.core.look(0, None, 500, 3.0) == [Order(0, 0, retire=False)], "it has shrunk again"


def test_a_slot_near_its_limit_hands_over_and_is_replaced_without_blame() -> None:
    agent = limited()
    (order,) = agent.core.look(0, Bite("q", 1, 0, 10, 1.0), 960, 1.0)
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


def test_a_slot_over_its_limit_is_ended_and_its_bite_is_blamed() -> None:
    """Otherwise the kernel would end the whole job."""
    agent = limited()
    assert agent.core.look(0, Bite("q", 1, 3, 9, 1.0), 1050, 1.0) == [Order(0, 7, retire=True)]
    effects = agent.core.look(0, Bite("q", 1, 3, 9, 1.0), 1050, 1.5)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert (down.working, down.start, down.stop) == (m.LeaseKey("q", 1), 3, 9)
    assert "--memory" in down.reason


def test_a_slot_far_over_its_limit_is_ended_at_once() -> None:
    agent = limited()
    assert Kill(0) in agent.core.look(0, Bite("q", 1, 3, 9, 1.0), 1101, 1.0)


def test_an_idle_slot_that_has_grown_is_replaced_and_one_that_has_done_nothing_is_left_alone() -> None:
    """A limit that is too small for a slot with nothing to do must not restart it for ever."""
    agent = Agent()
    agent.core.memory = 1000
    assert not any(isinstance(effect, Kill) for effect in agent.core.look(1, None, 2000, 1.0))
    agent.lease(1, 0)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    effects = agent.core.look(0, None, 960, 1.0)
    assert Kill(0) in effects
    (down,) = sent(effects, m.SlotDown)
    assert not down.leases and down.working is None


# --- a slow master ----------------------------------------------------------------------------------------------------


def choked() -> tuple[Agent, int]:
    """An agent whose master has not answered its commits for some time, and the number of the last one."""
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    value = np.zeros(core.MOST_UNANSWERED // 8)
    assert not agent.core.choked
    (commit,) = sent(agent.hand_over(0, [(1, 0, 10)], value), m.Commit)
    assert agent.core.choked
    return agent, commit.commit


def test_slots_wait_while_the_master_does_not_answer() -> None:
    agent, commit = choked()
    agent.master(m.Committed(commit, True))
    assert not agent.core.choked


def test_a_slot_that_cannot_be_heard_is_not_taken_to_be_stuck() -> None:
    agent, commit = choked()
    agent.master(m.Revoke("q", 2), now=1.0)
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(100.0))
    agent.master(m.Committed(commit, True), now=100.0)
    assert not any(isinstance(effect, Kill) for effect in agent.core.expire(100.1))
    assert Kill(1) in agent.core.expire(100.1 + states.PATIENCE), "now it could have said something"


def test_commits_to_a_master_that_forgot_this_worker_choke_nobody() -> None:
    agent, _ = choked()
    agent.master(m.Unknown())
    assert not agent.core.choked


def test_columns_are_told_to_the_master_and_what_holds_to_the_slot() -> None:
    agent = Agent()
    agent.lease(1, 1)
    seen = m.Columns("q", 1, {"x": m.ColumnType("float32", "f")}, slot=1)
    assert sent(agent.slot(1, seen), m.Columns) == [seen]
    assert agent.master(seen) == [ToSlot(1, seen)]
    assert agent.master(msgspec.structs.replace(seen, slot=0)) == [], "it does not have the query"
    assert agent.master(msgspec.structs.replace(seen, slot=9)) == []
    agent.master(m.Release("q"))
    assert agent.master(seen) == []
