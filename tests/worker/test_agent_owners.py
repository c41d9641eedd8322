"""The agent core: a slot's process works for one owner's queries, whatever the master says, and nothing is lost by that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent import Agent, sent
from eventmill.protocol import messages as m
from eventmill.worker.agent.effects import Effect, Fork, Kill, ToMaster, ToSlot
from eventmill.worker.agent.output_pipes import Sight
from eventmill.worker.agent.places import Places
from eventmill.worker.slot_status import SlotStatus, SlotStatuses


class TwoOwners(Agent):
    """An agent with a query of alice's ("a") and one of bob's ("b")."""

    def __init__(self) -> None:
        super().__init__()
        for query, owner in (("a", "alice"), ("b", "bob")):
            self.master(m.Setup(query, "kernel", "digest", owner=owner), [query.encode()])

    def give(self, query: str, number: int, slot: int = 0) -> list[Effect]:
        return self.master(m.Lease(number, query, slot, m.File("f"), 10 * number, 10 * number + 10, 1.0))

    def do(self, query: str, number: int, slot: int = 0) -> list[Effect]:
        """The slot works on a lease, and hands it over."""
        done = self.slot(slot, m.Finished(query, number, 10 * number + 10, 0.1, 0.1, 0))
        part = m.Part(number, 10 * number, 10 * number + 10)
        return [*done, *self.slot(slot, m.Commit(1, query, [part]), {"n": 1})]

    def renew(self, slot: int = 0) -> list[Effect]:
        """The process has been killed, and the next one is up."""
        effects = self.core.slot_exited(slot, "killed", 0.0)
        assert effects == [Fork(slot)]
        self.core.check()
        return self.slot(slot, m.Ready())


def told(effects: list[Effect], slot: int = 0) -> list[Any]:
    """What a slot is told."""
    return [effect.message for effect in effects if isinstance(effect, ToSlot) and effect.slot == slot]


def owner_says(effects: list[Effect]) -> list[str]:
    return [message.owner for message in told(effects) if isinstance(message, m.Serve)]


def test_another_owners_lease_waits_until_all_is_handed_over_and_gets_a_fresh_process() -> None:
    """Neither the master nor the query hears of it: to them the slot was up all the time."""
    agent = TwoOwners()
    agent.give("a", 1)
    assert agent.give("b", 1) == []
    assert not agent.core.is_done
    assert Kill(0) not in agent.slot(0, m.Finished("a", 1, 20, 0.1, 0.1, 0)), "its result is still in the process"
    effects = agent.slot(0, m.Commit(1, "a", [m.Part(1, 10, 20)]), {"n": 1})
    assert Kill(0) in effects and not told(effects)
    assert sent(effects, m.Commit)
    assert not sent(effects, m.SlotDown)
    assert agent.give("b", 2) == []
    effects = agent.renew()
    assert [type(message) for message in told(effects)] == [m.Serve, m.Setup, m.Lease, m.Lease]
    assert owner_says(effects) == ["bob"]
    assert not sent(effects, m.SlotUp)
    assert sent(agent.do("b", 1), m.Finished)


def test_leases_of_one_owner_have_one_process() -> None:
    agent = TwoOwners()
    agent.master(m.Setup("more", "kernel", "digest", owner="alice"), [b"code"])
    effects = [*agent.give("a", 1), *agent.give("more", 1), *agent.do("a", 1), *agent.give("a", 2)]
    assert Kill(0) not in effects
    assert owner_says(effects) == ["alice"]


def test_work_is_given_in_the_order_in_which_it_came() -> None:
    """Also where a master gives the leases of two owners by turns, which ours does not."""
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.give("a", 2)
    assert Kill(0) in agent.do("a", 1)
    assert [it.query for it in told(agent.renew()) if isinstance(it, m.Lease)] == ["b"]
    assert Kill(0) in agent.do("b", 1)
    assert [it.query for it in told(agent.renew()) if isinstance(it, m.Lease)] == ["a"]


def test_a_slot_that_goes_down_loses_what_waits_for_it_too() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    (down,) = sent(agent.core.slot_exited(0, "killed by signal 11 (SIGSEGV)", 0.0), m.SlotDown)
    assert down.leases == [m.LeaseKey("a", 1), m.LeaseKey("b", 1)]
    assert down.working == m.LeaseKey("a", 1)
    agent.core.check()
    effects = agent.slot(0, m.Ready())
    assert sent(effects, m.SlotUp) and not told(effects)


def test_a_process_that_does_not_come_up_loses_what_waits_for_it() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.do("a", 1)
    assert agent.core.slot_exited(0, "killed", 0.0) == [Fork(0)]
    (down,) = sent(agent.core.slot_exited(0, "exited with code 1", 0.0), m.SlotDown)
    assert down.leases == [m.LeaseKey("b", 1)] and down.working is None
    agent.core.check()
    assert sent(agent.slot(0, m.Ready()), m.SlotUp)


def test_what_waits_outlives_the_forkserver() -> None:
    """It is killed while the process that it has just forked is on its way."""
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.do("a", 1)
    downs = sent(agent.core.forkserver_ended(0.0), m.SlotDown)
    assert [down.slot for down in downs] == [1]
    agent.core.check()
    assert agent.core.start() == [Fork(0), Fork(1)]
    assert [it.query for it in told(agent.slot(0, m.Ready())) if isinstance(it, m.Lease)] == ["b"]


def test_a_worker_that_is_forgotten_forgets_what_waits() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.do("a", 1)
    agent.master(m.Unknown())
    for slot in (0, 1):
        agent.core.slot_exited(slot, "killed", 0.0)
        effects = agent.slot(slot, m.Ready())
        assert not told(effects)
    agent.core.check()


def test_leases_that_wait_are_shortened_taken_back_and_dropped() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    for number in range(1, 6):
        agent.give("b", number)
    assert agent.master(m.Truncate("b", 1, 15)) == [ToMaster(m.Truncated("b", 1, 15))]
    assert agent.master(m.Truncate("b", 2, 0)) == [ToMaster(m.Truncated("b", 2, 20))]
    assert agent.master(m.Revoke("b", 3)) == []
    agent.do("a", 1)
    leases = [it for it in told(agent.renew()) if isinstance(it, m.Lease)]
    assert [(it.lease, it.start, it.stop) for it in leases] == [(1, 10, 15), (4, 40, 50), (5, 50, 60)]


def test_a_query_that_is_over_waits_no_more() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.master(m.Release("b"))
    assert Kill(0) not in agent.do("a", 1)
    assert [it.lease for it in told(agent.give("a", 2))] == [2], "the process is alice's as before"


def test_what_is_dead_is_waited_for_by_nobody() -> None:
    """The slot is at work on what it was told to drop: an endless loop, perhaps."""
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    assert Kill(0) in agent.master(m.Revoke("a", 1))


def test_objects_are_merged_in_a_process_of_their_owner() -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    assert not told(agent.master(m.Compact("b", 0, "", "bob"), [b"total"]))
    agent.master(m.Release("b", merging=True))
    assert Kill(0) in agent.do("a", 1)
    assert [type(message) for message in told(agent.renew())] == [m.Serve, m.Compact]
    assert agent.give("a", 2) == []
    effects = agent.slot(0, m.Compacted("b", 0))
    assert sent(effects, m.Compacted) and Kill(0) in effects
    assert owner_says(agent.renew()) == ["alice"]


@pytest.mark.parametrize(
    "words", [m.Finished("a", 1, 20, 0.1, 0.1, 0), m.Ready(), m.Commit(1, "a", [m.Part(1, 10, 20)])]
)
def test_the_last_words_of_a_process_count_for_nothing(words: m.Message) -> None:
    agent = TwoOwners()
    agent.give("a", 1)
    agent.give("b", 1)
    agent.do("a", 1)
    assert agent.slot(0, words, {"n": 1}) == []
    assert [it.query for it in told(agent.renew()) if isinstance(it, m.Lease)] == ["b"]


def test_a_process_says_nothing_in_the_logs_of_others(tmp_path: Path) -> None:
    """What it prints belongs to what it names, and it may name what it was given only; that holds for its last words too."""
    agent = TwoOwners()
    sight = Sight(SlotStatuses(tmp_path / "statuses", 2), agent.core.state)

    def named(query: str) -> str:
        status = SlotStatus.of_slot(tmp_path / "statuses", 0)
        status.begin(query, 1, 10, 20)
        return sight.look(0).query

    agent.give("a", 1)
    assert (named("a"), named("b"), named("c")) == ("a", "", "")
    agent.give("b", 1)
    agent.do("a", 1)
    assert (named("a"), named("b")) == ("a", "")
    sight.renew(0)
    agent.renew()
    assert (named("a"), named("b")) == ("", "b")


def test_all_slots_are_hidden_but_ones_own_in_a_session_of_ones_own() -> None:
    """A standing worker's account may be that of the master's owner, whose slots others must not change either."""
    own, other, user = ("", "me"), ("", "bob"), ("me", "me")
    assert [Places("me", "key", alone=True).hides(owner) for owner in (own, other, user)] == [False, True, True]
    assert all(Places("me", "key").hides(owner) for owner in (own, other, user))
