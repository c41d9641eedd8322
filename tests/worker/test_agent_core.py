"""The agent core: what slots hand over is committed once, with its ranges, and survives the slot."""

from __future__ import annotations

from math import inf

import awkward as ak
import msgspec
import numpy as np
import pytest
from agent import Agent, sent
from eventmill.merge import Partial, decode
from eventmill.protocol import messages as m
from eventmill.protocol.column_types import ColumnType
from eventmill.worker.agent import commits, outbox, slot_lives, states
from eventmill.worker.agent.core import AgentCore
from eventmill.worker.agent.effects import Fork, Kill, Leave, ToMaster, ToSlot


def test_the_code_of_a_query_reaches_a_slot_once_before_its_first_lease() -> None:
    agent = Agent()
    first = [effect.message for effect in agent.lease(1, 0) if isinstance(effect, ToSlot)]
    second = [effect.message for effect in agent.lease(2, 0, 10, 20) if isinstance(effect, ToSlot)]
    assert [type(message) for message in first] == [m.Serve, m.Setup, m.Lease]
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


def test_what_is_too_long_together_is_committed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects what is added up from the next result of a slot: what is too much for a result says the master."""
    monkeypatch.setattr("eventmill.merge.sums.AWKWARD_LIMIT", 500)
    agent, values = Agent(), [ak.Array([float(number)] * 100) for number in (1, 2)]
    for number in (1, 2, 3):
        agent.lease(number, 0, 10 * number, 10 * number + 10)
        agent.finish(number, 0, 10 * number + 10)
    assert not sent(agent.hand_over(0, [(1, 10, 20)], values[0]), m.Commit)
    (first,) = agent.hand_over(0, [(2, 20, 30)], values[1])
    (last,) = [it for it in agent.core.expire(9.0) if isinstance(it, ToMaster) and isinstance(it.message, m.Commit)]
    assert [it.message.parts for it in (first, last)] == [[m.Part(1, 10, 20)], [m.Part(2, 20, 30)]]
    assert [decode(Partial.from_frames(it.frames)).to_list() for it in (first, last)] == [[1.0] * 100, [2.0] * 100]


@pytest.mark.parametrize("how", ["the analysis raises", "a result does not fit"])
def test_what_is_added_up_is_committed_before_an_error_ends_its_query(how: str) -> None:
    agent = Agent()
    for number in (1, 2, 3):
        agent.lease(number, 0, 10 * number, 10 * number + 10)
    agent.finish(1, 0, 20)
    agent.finish(2, 0, 30)
    agent.hand_over(0, [(1, 10, 20)], np.ones(2))
    if how == "the analysis raises":
        told = agent.slot(0, m.Failed("q", 2, m.Failure("analysis", "ValueError", "no")))
    else:
        told = agent.hand_over(0, [(2, 20, 30)], np.ones(3))
    commit, failed = [it.message for it in told if isinstance(it, ToMaster)]
    assert commit.parts == [m.Part(1, 10, 20)] and (failed.lease, failed.failure.kind) == (2, "analysis")


def test_a_commit_is_due_after_the_interval_while_work_goes_on() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1, now=3.0)
    assert agent.core.deadline() <= 3.0 + commits.COMMIT_INTERVAL
    assert sent(agent.core.expire(3.0 + commits.COMMIT_INTERVAL), m.Commit)
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


def test_when_the_forkserver_is_killed_what_was_handed_over_is_committed_and_nobody_is_suspected() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], 1)
    effects = agent.core.forkserver_ended(0.1)
    kinds = [type(effect.message) for effect in effects if isinstance(effect, ToMaster)]
    assert kinds == [m.SlotDown, m.Commit, m.SlotDown]
    downs = sent(effects, m.SlotDown)
    assert [(down.slot, down.leases, down.working) for down in downs] == [
        (0, [], None),
        (1, [m.LeaseKey("q", 2)], None),
    ]
    assert sent(agent.lease(3, 0), m.SlotDown), "no slot can take anything until there is another forkserver"
    assert agent.core.start() == [Fork(0), Fork(1)]
    assert sent(agent.slot(0, m.Ready()), m.SlotUp) and sent(agent.slot(1, m.Ready()), m.SlotUp)
    agent.core.check()


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
    assert sent(agent.slot(1, m.Ready()), m.Hello) == [agent.core.state.hello]


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
    for _ in range(slot_lives.MAX_FAILED_STARTS - 1):
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


def test_an_idle_worker_says_seldom_that_it_is_there_and_one_at_work_as_often_as_before() -> None:
    agent = Agent()
    agent.core.state.welcome = m.Welcome("w-1", "test", 1.0, 5.0, idle=5.0)
    assert sent(agent.core.expire(1.0), m.Heartbeat) == [m.Heartbeat(5.0)] and agent.core.deadline() == 6.0
    assert sent(agent.core.expire(5.9), m.Heartbeat) == []
    assert sent(agent.core.expire(6.0), m.Heartbeat) == [m.Heartbeat(5.0)]
    agent.lease(1, 0)
    assert agent.core.deadline() <= 7.0, "it is not the promise that counts, but what may be lost"
    assert sent(agent.core.expire(7.0), m.Heartbeat) == [m.Heartbeat(1.0)]
    agent.master(m.Unknown(), now=7.1)
    assert agent.core.deadline() > 100.0


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


def test_a_slot_in_a_long_chunk_of_another_query_is_left_alone() -> None:
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


def test_leases_that_fit_no_slot_are_answered() -> None:
    agent = Agent()
    (failed,) = sent(agent.lease(2, 7), m.Failed)
    assert (failed.query, failed.lease) == ("q", 2) and failed.failure.kind == "slot"


def test_a_lease_of_an_unknown_query_starts_the_worker_afresh_once_and_then_is_answered() -> None:
    """What was said of the query may have been lost; but a master that never says it is not asked for ever."""
    agent, leases = Agent(), [m.Lease(number, "unknown", 0, m.File("f"), 0, 9, 1.0) for number in (1, 2, 3)]
    assert agent.master(leases[0]) == [Kill(0), Kill(1)]
    assert agent.master(leases[1]) == [], "it is not for the worker that this will be"
    for slot in (0, 1):
        agent.core.slot_exited(slot, "killed by signal 9 (SIGKILL)", 0.0)
        told = agent.slot(slot, m.Ready())
    assert sent(told, m.Hello) == [agent.core.state.hello]
    agent.master(m.Welcome("w-1", "test", 1.0, 5.0, incarnation=1))
    (failed,) = sent(agent.master(leases[2]), m.Failed)
    assert (failed.query, failed.lease) == ("unknown", 3) and failed.failure.kind == "slot"


def test_a_worker_that_leaves_does_not_start_afresh_for_a_lease_of_an_unknown_query() -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.core.drain(1.0, 0.0)
    effects = agent.master(m.Lease(2, "unknown", 0, m.File("f"), 0, 9, 1.0))
    assert [type(effect) for effect in effects] == [Leave] and not effects[0].error


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
    assert agent.core.state.hello.incarnation == 1
    assert agent.master(m.Unknown()) == [], "it is about what was said before the hello"
    agent.master(m.Welcome("w-2", "test", 1.0, 5.0, incarnation=1))
    assert Kill(0) in agent.master(m.Unknown())


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
    gaps = [m.Gap(2 * number, 2 * number + 1, "no") for number in range(commits.MOST_GAPS)]
    assert sent(agent.slot(0, m.Commit(1, "q", [m.Part(1, 0, 10**6, gaps)]), 1), m.Commit)


def test_the_first_error_passed_over_is_told_unless_its_query_is_over() -> None:
    agent = Agent()
    agent.lease(1, 0)
    skipped = m.Skipped("q", m.Failure("analysis", "ValueError", "no"))
    assert ToMaster(skipped, []) in agent.slot(0, skipped)
    agent.master(m.Release("q"))
    assert sent(agent.slot(0, skipped), m.Skipped) == []


# --- a slow master ----------------------------------------------------------------------------------------------------


def choked() -> tuple[Agent, int]:
    """An agent whose master has not answered its commits for some time, and the number of the last one."""
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 1, 10, 20)
    agent.finish(1, 0)
    value = np.ones(commits.MOST_UNANSWERED // 8)
    assert not agent.core.choked
    agent.hand_over(0, [(1, 0, 10)], value)
    assert sent(agent.core.expire(1.0), m.Offer) and not agent.core.choked
    (commit,) = sent(agent.master(m.Grant("q"), now=1.0), m.Commit)
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
    seen = m.Columns("q", 1, {"x": ColumnType("float32", "f")}, slot=1)
    assert sent(agent.slot(1, seen), m.Columns) == [seen]
    assert agent.master(seen) == [ToSlot(1, seen)]
    assert agent.master(msgspec.structs.replace(seen, slot=0)) == [], "it does not have the query"
    assert agent.master(msgspec.structs.replace(seen, slot=9)) == []
    agent.master(m.Release("q"))
    assert agent.master(seen) == []


# --- large results ------------------------------------------------------------------------------------------------------


LARGE_ONE = np.ones(m.LARGE_COMMIT // 8)


def test_a_large_result_is_offered_once_and_committed_in_turn_with_what_has_come_meanwhile() -> None:
    agent = Agent()
    for number in range(4):
        agent.lease(number, number % 2, 10 * number, 10 * number + 10)
    agent.finish(0, 0)
    assert not sent(agent.hand_over(0, [(0, 0, 10)], LARGE_ONE), m.Commit)
    assert sent(agent.core.expire(1.0), m.Offer) == [m.Offer("q", LARGE_ONE.nbytes)]
    assert not sent(agent.core.expire(50.0), m.Offer) and agent.core.state.queries["q"].due == float("inf")
    agent.finish(1, 1, 20)
    assert not sent(agent.hand_over(1, [(1, 10, 20)], LARGE_ONE), m.Offer)
    (effect,) = [it for it in agent.master(m.Grant("q"), now=60.0) if isinstance(it, ToMaster)]
    assert isinstance(effect.message, m.Commit) and [part.lease for part in effect.message.parts] == [0, 1]
    partial = Partial.from_frames(effect.frames)
    assert partial.entries == 20 and decode(partial).tolist() == [2.0] * len(LARGE_ONE)  # type: ignore[attr-defined]
    assert sent(agent.master(m.Grant("q"), now=61.0), m.Offer) == [m.Offer("q", 0)], "it has nothing any more"
    agent.master(m.Committed(effect.message.commit, True), now=60.5)
    agent.finish(2, 0, 30)
    agent.hand_over(0, [(2, 20, 30)], LARGE_ONE, now=62.0)
    due = agent.core.state.queries["q"].due
    assert due == 62.0 + commits.PACE * 0.5, "so seldom that commits take a small part of the time"


@pytest.mark.parametrize("ends", ["drain", "slot"])
def test_what_cannot_wait_is_committed_whoevers_turn_it_is(ends: str) -> None:
    agent = Agent()
    agent.lease(1, 0)
    agent.lease(2, 0, 10, 20)
    agent.finish(1, 0)
    agent.hand_over(0, [(1, 0, 10)], LARGE_ONE)
    assert sent(agent.core.expire(1.0), m.Offer)
    effects = agent.core.drain(10.0, 2.0) if ends == "drain" else agent.core.slot_exited(0, "killed", 2.0)
    assert [part.lease for (commit,) in [sent(effects, m.Commit)] for part in commit.parts] == [1]
    assert sent(agent.master(m.Grant("q"), now=3.0), m.Offer) == [m.Offer("q", 0)]


def given(agent: Agent, count: int) -> None:
    """Slot 0 has so many leases, of a file each, and has just been through with a short one."""
    agent.lease(0, 0)
    agent.slot(0, m.Finished("q", 0, 10, 0.01, 0.0, 0, elapsed=0.01))
    for number in range(1, count + 1):
        agent.lease(number, 0)


def end_packet(agent: Agent, number: int, now: float = 0.0, elapsed: float = 0.01) -> list[m.Message]:
    """What the master is told at the end of a packet that is a whole file."""
    told = agent.slot(0, m.Opened("q", number, 10, 10, [0, 10]), now=now)
    told += agent.slot(0, m.Finished("q", number, 10, elapsed, 0.0, 0, elapsed=elapsed), now=now)
    return [effect.message for effect in told if isinstance(effect, ToMaster)]


def test_the_ends_of_short_packets_are_told_together_when_half_of_them_are_done() -> None:
    """Protects a master with thousands of slots: it would hear of each by itself."""
    agent = Agent()
    given(agent, 8)
    assert [end_packet(agent, number) for number in (1, 2, 3)] == [[], [], []]
    told = end_packet(agent, 4)
    assert [(type(it), it.lease) for it in told] == [
        (kind, number) for number in (1, 2, 3, 4) for kind in (m.Opened, m.Finished)
    ]
    assert [len(end_packet(agent, number)) for number in (5, 6, 7, 8)] == [0, 0, 0, 8], "it has nothing more to do"


def test_the_end_of_a_short_packet_is_told_within_a_moment() -> None:
    agent = Agent()
    given(agent, 8)
    assert end_packet(agent, 1, now=3.0) == []
    assert agent.core.deadline() <= 3.0 + outbox.HOLD
    (finished,) = sent(agent.core.expire(3.0 + outbox.HOLD), m.Finished)
    assert finished.lease == 1
    assert not [it for it in agent.core.expire(3.2) if isinstance(it, ToMaster)]


@pytest.mark.parametrize("elapsed", [0.06, 5.0])
def test_the_end_of_a_packet_that_took_longer_is_told_at_once(elapsed: float) -> None:
    agent = Agent()
    given(agent, 8)
    assert [type(it) for it in end_packet(agent, 1, elapsed=elapsed)] == [m.Opened, m.Finished]


def test_that_a_file_has_more_entries_than_its_lease_is_told_at_once() -> None:
    """Others wait for them."""
    agent = Agent()
    given(agent, 8)
    assert sent(agent.slot(0, m.Opened("q", 1, 1000, 10, [0, 1000])), m.Opened)


def test_what_waits_to_be_told_goes_ahead_of_a_commit_a_failure_and_the_end_of_a_slot() -> None:
    """The master refuses a commit of a lease that it does not know to be open."""
    for what in ("commit", "failure", "end"):
        agent = Agent()
        given(agent, 8)
        end_packet(agent, 1)
        if what == "commit":
            agent.hand_over(0, [(1, 0, 10)], 1.0)
            told = agent.core.expire(9.0)
        elif what == "failure":
            told = agent.slot(0, m.Failed("q", 2, m.Failure("analysis", "ValueError", "no")))
        else:
            told = agent.core.slot_exited(0, "killed", 0.0)
        assert [type(it.message) for it in told if isinstance(it, ToMaster)][:2] == [m.Opened, m.Finished]


def test_what_waits_to_be_told_is_forgotten_when_the_worker_starts_afresh() -> None:
    agent = Agent()
    given(agent, 8)
    end_packet(agent, 1)
    assert not sent(agent.core.reconnected(0.0), m.Finished) and agent.core.deadline() == inf
    agent.core.check()
