"""Slots between owners: leases of two never meet in a slot, slots stay with their owner, and nobody starves."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from eventmill.master.owners import LONGEST_TURN
from eventmill.protocol import messages as m
from fleet import JournaledWorld, World

SEEDS = 10


def world(files: int, length: int, workers: int, slots: int, owners: tuple[bytes, ...], seed: int = 0) -> World:
    made = World([length] * files, seed)
    for owner in owners:
        made.hello(owner, "session")
    for index in range(workers):
        made.hello(f"worker{index}".encode(), "worker", slots)
    return made


def owners_of(made: World) -> Counter[str]:
    """In how many slots each owner has leases."""
    busy = made.core._dispatcher.credit.by_owner[""].busy
    return +Counter({whose[1]: slots for whose, slots in busy.items() if whose is not None})


def hands(made: World) -> int:
    """How often a slot has got a lease of another owner than the one before."""
    owner = {number: query.submit.owner for number, query in made.core.queries.items()}
    changes = 0
    for identity in list(made.inbox):
        slots: dict[int, list[str]] = {}
        for it in made.inbox[identity]:
            if isinstance(it, m.Lease):
                slots.setdefault(it.slot, []).append(owner[it.query])
        changes += sum(one != other for of in slots.values() for one, other in pairwise(of))
    return changes


def steps(made: World, number: int) -> None:
    for _ in range(number):
        made.step()


def is_exact(made: World, query: str, entries: int) -> bool:
    return len(made.merged[query]) == made.ended[query].account.processed == entries and set(
        made.merged[query].values()
    ) == {1}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_queries_of_several_owners_are_exact(seed: int) -> None:
    """Whatever comes when; `check()` looks after each step that no slot has leases of two owners."""
    owners = (b"alice", b"bob", b"carol")
    made = world(6, 300, workers=2, slots=2, owners=owners, seed=seed)
    numbers = []
    for turn in range(6):
        numbers.append(made.submit(made.random.choice(owners), priority=turn % 2))
        steps(made, made.random.randrange(60))
        if turn == 3:
            made.kill(b"worker0")
            made.hello(b"worker9", "worker", 2)
    made.run()
    assert all(is_exact(made, number, 1800) for number in numbers)


@pytest.mark.parametrize("seed", range(5))
def test_they_are_exact_when_the_master_dies(seed: int, tmp_path: Path) -> None:
    made = JournaledWorld([300] * 4, tmp_path, seed)
    for owner in (b"alice", b"bob"):
        made.hello(owner, "session")
    for index in range(2):
        made.hello(f"worker{index}".encode(), "worker", 2)
    numbers = [made.submit(b"alice"), made.submit(b"bob"), made.submit(b"alice")]
    steps(made, 40)
    made.crash()
    made.run()
    made.close()
    assert all(is_exact(made, number, 1200) for number in numbers)


def test_two_owners_divide_the_slots_and_keep_theirs() -> None:
    """A process for each packet would cost more than the packets: slots change hands once."""
    made = world(60, 2000, workers=2, slots=4, owners=(b"alice", b"bob"))
    made.submit(b"alice")
    steps(made, 50)
    assert owners_of(made) == {"alice": 8}
    made.submit(b"bob")
    steps(made, 300)
    assert owners_of(made) == {"alice": 4, "bob": 4}
    assert hands(made) == 4
    steps(made, 300)
    assert not any(query.over for query in made.core.queries.values())
    assert (owners_of(made), hands(made)) == ({"alice": 4, "bob": 4}, 4)


def test_a_third_owner_gets_slots_of_who_has_the_most() -> None:
    made = world(60, 2000, workers=1, slots=6, owners=(b"alice", b"bob", b"carol"))
    made.submit(b"alice")
    steps(made, 30)
    made.submit(b"bob")
    steps(made, 200)
    made.submit(b"carol")
    steps(made, 300)
    assert owners_of(made) == {"alice": 2, "bob": 2, "carol": 2}
    changed = hands(made)
    steps(made, 200)
    assert (owners_of(made), hands(made)) == ({"alice": 2, "bob": 2, "carol": 2}, changed)


def test_an_odd_slot_stays_where_it_is() -> None:
    made = world(60, 2000, workers=1, slots=3, owners=(b"alice", b"bob"))
    for owner in (b"alice", b"bob"):
        made.submit(owner)
    steps(made, 200)
    divided, changed = owners_of(made), hands(made)
    assert sorted(divided.values()) == [1, 2]
    steps(made, 200)
    assert (owners_of(made), hands(made)) == (divided, changed)


def test_slots_that_an_owner_cannot_use_any_more_are_for_the_other() -> None:
    made = world(4, 20_000, workers=2, slots=4, owners=(b"alice", b"bob"))
    long, short = made.submit(b"alice"), made.submit(b"bob", files=1)
    while short not in made.ended:
        made.step()
    steps(made, 20)
    assert owners_of(made) == {"alice": 8}
    made.run()
    assert is_exact(made, long, 80_000)
    assert is_exact(made, short, 20_000)


def test_where_there_are_fewer_slots_than_owners_they_take_turns() -> None:
    """Who has no slot gets one in the end, and not with every packet."""
    owners = (b"alice", b"bob", b"carol")
    made = world(60, 2000, workers=1, slots=1, owners=owners)
    numbers = [made.submit(owner) for owner in owners]
    began = made.now
    steps(made, 800)
    leases = [made.core.queries[number].ledger.processed for number in numbers]
    assert min(leases) > 0.5 * max(leases), leases
    turns = (made.now - began) / LONGEST_TURN
    assert 0.5 * turns < hands(made) < 1.5 * turns + 3


def test_a_second_query_of_an_owner_takes_no_slot_of_others() -> None:
    made = world(60, 2000, workers=1, slots=8, owners=(b"alice", b"bob"))
    made.submit(b"alice")
    made.submit(b"bob")
    steps(made, 200)
    changed = hands(made)
    more = [made.submit(b"alice") for _ in range(3)]
    steps(made, 500)
    assert owners_of(made) == {"alice": 4, "bob": 4}
    assert hands(made) == changed
    assert all(made.core.queries[number].ledger.processed for number in more)


def test_new_slots_spare_those_that_were_to_make_way() -> None:
    made = world(60, 2000, workers=1, slots=1, owners=(b"alice", b"bob"))
    made.submit(b"alice")
    steps(made, 10)
    made.submit(b"bob")
    made.hello(b"worker1", "worker", 1)
    steps(made, 100)
    assert owners_of(made) == {"alice": 1, "bob": 1}
    assert hands(made) == 0


def test_a_worker_that_is_lost_keeps_no_promise() -> None:
    """A slot that was to make way, and is gone, does not count for the owner it was promised to."""
    made = world(60, 2000, workers=2, slots=2, owners=(b"alice", b"bob"))
    made.submit(b"alice")
    steps(made, 20)
    made.submit(b"bob")
    promised = {slot.worker.identity for slot in made.core._dispatcher.owners[""].promised}
    assert promised
    for identity in promised:
        made.kill(identity)
    for index in range(4, 6):
        made.hello(f"worker{index}".encode(), "worker", 1)
    steps(made, 300)
    assert abs(owners_of(made)["alice"] - owners_of(made)["bob"]) <= 1
