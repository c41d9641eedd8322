"""The master core: what is leased to whom, and from where: replicas, lists, turns between queries, workers that leave."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.master.dispatcher import MOST_AT_ONCE
from eventmill.protocol import messages as m
from fleet import FakeWorker, World, entries_of, packed


def world(lengths: list[int], workers: int = 1, slots: int = 2, **hello: object) -> World:
    made = World(lengths, 0)
    made.hello(b"session", "session")
    for index in range(workers):
        made.hello(f"worker{index}".encode(), "worker", slots, **hello)
    return made


def leases(made: World, identity: bytes, query: str) -> list[m.Lease]:
    return [it for it in made.inbox[identity] if isinstance(it, m.Lease) and it.query == query]


def finish_all(made: World, worker: FakeWorker) -> None:
    """Everything a worker has been given is processed and committed."""
    for slot, queue in worker.queues.items():
        while queue:
            made.work(worker, slot)
    made.commit(worker)


# --- kinds of data ----------------------------------------------------------------------------------------------------


def test_cycles_are_leased_to_all_slots_at_once_without_opening() -> None:
    made = world([], slots=4)
    made.lengths = {"cycles": 20_000}
    query = made.submit_files([m.File("cycles", entries=20_000, kind="cycles", seed=7)])
    given = leases(made, b"worker0", query)
    assert {lease.slot for lease in given} == {0, 1, 2, 3}
    assert not any(lease.opening for lease in given)
    made.run()
    assert len(made.merged[query]) == made.ended[query].account.processed == 20_000
    assert set(made.merged[query].values()) == {1}
    assert not made.ended[query].account.estimated


def test_items_begin_one_by_one_since_each_may_take_a_minute() -> None:
    made = world([], slots=3)
    query = made.submit_files([m.File("items", entries=50, kind="items")])
    assert {lease.stop - lease.start for lease in leases(made, b"worker0", query)} == {1}


def test_only_listed_entries_are_leased_and_the_slot_is_told_which() -> None:
    runs = [3, 5, 9, 10, 400, 1000]
    made = world([5000])
    query = made.submit_files([m.File("file0", listed=runs)])
    opening = leases(made, b"worker0", query)[0]
    assert (opening.opening, opening.runs, opening.file.listed) == (True, runs, None)
    made.run()
    assert set(made.merged[query]) == {("file0", entry) for entry in entries_of(runs)}
    assert made.ended[query].account.total == 603


def test_what_a_mask_leaves_is_told_by_the_slot_that_opens_the_file() -> None:
    """The rest of the file is leased by that entry list; losses are named by entries, and say how many of them were
    listed."""
    made = world([], slots=1)
    query = made.submit_files([m.File("file0")], on_error="skip")
    opening = leases(made, b"worker0", query)[0]
    made.tell(b"worker0", "worker", m.Opened(query, opening.lease, 300, 100, [0, 300], listed=[1000, 1200, 2000, 2100]))
    rest = leases(made, b"worker0", query)[1]
    assert (rest.start, rest.stop, rest.runs) == (100, 300, [1100, 1200, 2000, 2100])
    made.tell(b"worker0", "worker", m.Finished(query, opening.lease, 100, 0.1, 0.0, 0))
    entries = Counter(("file0", entry) for entry in range(1000, 1100))
    made.tell(b"worker0", "worker", m.Commit(1, query, [m.Part(opening.lease, 0, 100)]), packed(entries))
    made.tell(b"worker0", "worker", m.Failed(query, rest.lease, m.Failure("data", "DatasetError", "no")))
    made.run()
    assert made.ended[query].account.failed == 200
    (lost,) = made.lost[query]
    assert (lost.start, lost.stop) == (1100, 2100)
    assert "200 listed entries" in lost.reason


def test_the_file_is_believed_and_the_account_says_where_the_catalogue_was_wrong() -> None:
    made = world([700, 500])
    query = made.submit_files([m.File("file0", entries=1000), m.File("file1", entries=500)])
    made.run()
    account = made.ended[query].account
    assert (account.total, account.processed) == (1200, 1200)
    assert account.notes == ["file0 has 700 entries, not 1000 as announced"]


def test_how_much_a_mask_leaves_is_not_known_beforehand() -> None:
    """The catalogue counts all events of a file: that fewer are used is no surprise."""
    made = world([106])
    files = [m.File("file0", entries=5000)]
    submit = m.Submit(1, "test", "kernel", "digest")
    made.tell(
        b"session",
        "session",
        submit,
        [b"analysis", msgspec.msgpack.encode(files), *SharedInputs(mask=b"mask").packed()],
    )
    query = made.core.queries[next(reversed(made.core.queries))]
    assert query.account().estimated
    made.merged[query.number] = Counter()
    made.run()
    assert made.ended[query.number].account.notes == []


def test_every_lease_after_the_first_names_the_identity_of_the_file() -> None:
    made = world([], slots=1)
    query = made.submit_files([m.File("file0")])
    first = leases(made, b"worker0", query)[0]
    made.tell(b"worker0", "worker", m.Opened(query, first.lease, 1000, 10, [0, 1000], "uuid:1234"))
    assert (first.identity, leases(made, b"worker0", query)[1].identity) == ("", "uuid:1234")


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("far.example", "root://a.cern.ch//f"),
        ("n1.fnal.gov", "root://b.fnal.gov//f"),
        ("b.fnal.gov", "root://b.fnal.gov//f"),
    ],
)
def test_the_nearest_replica_is_read(host: str, path: str) -> None:
    made = world([], slots=1, host=host)
    made.lengths = {path: 100}
    query = made.submit_files([m.File("root://a.cern.ch//f", replicas=("root://b.fnal.gov//f",))])
    lease = leases(made, b"worker0", query)[0]
    assert (lease.file.path, lease.file.replicas) == (path, ())


def test_replicas_that_are_equally_near_share_the_readers() -> None:
    made = world([], slots=4, host="far.example")
    files = [m.File(f"root://a.cern.ch//{i}", replicas=(f"root://b.fnal.gov//{i}",)) for i in range(8)]
    query = made.submit_files(files)
    first = {lease.slot: lease.file.path for lease in reversed(leases(made, b"worker0", query))}
    assert Counter(path[7] for path in first.values()) == {"a": 2, "b": 2}


def test_no_more_slots_than_allowed_read_from_one_server() -> None:
    made = world([], slots=6, host="far.example")
    made.lengths = {f"root://a.cern.ch//{i}": 50 for i in range(8)}
    query = made.submit_files([m.File(path) for path in made.lengths], most_readers=2)
    assert {lease.slot for lease in leases(made, b"worker0", query)} == {0, 1}
    made.run()
    assert made.ended[query].account.processed == 400


# --- turns ------------------------------------------------------------------------------------------------------------


def test_of_one_owner_the_query_of_higher_priority_comes_first() -> None:
    made = world([500] * 30, slots=2)
    low, high = made.submit(), made.submit(priority=5)
    made.inbox[b"worker0"].clear()
    while not made.core.queries[high].over and len(leases(made, b"worker0", high)) < 20:
        made.step()
    assert len(leases(made, b"worker0", low)) <= 2, "those that were given when nothing of the other was left to open"
    made.run()
    assert {made.ended[number].state for number in (low, high)} == {"done"}


def test_priority_does_not_count_against_other_owners() -> None:
    made = world([500] * 30, slots=4)
    made.hello(b"other", "session")
    made.submit(priority=1000)
    modest = made.submit(b"other")
    made.step()
    assert modest in {lease[0] for slot in made.core.workers[b"worker0"].slots for lease in slot.leases} or any(
        isinstance(it, m.Truncate) for it in made.inbox[b"worker0"]
    )
    made.run()
    assert made.ended[modest].state == "done"


def test_slots_make_way_at_once_for_a_small_query_beside_a_huge_one() -> None:
    """A slot that is at work ends its packet after the chunk at hand, and takes up the new query."""
    made = world([10**5] * 40, slots=4)
    huge = made.submit()
    made.hello(b"other", "session")
    made.inbox[b"worker0"].clear()
    small = made.submit(b"other", files=1)
    truncations = [it for it in made.inbox[b"worker0"] if isinstance(it, m.Truncate)]
    assert {it.query for it in truncations} == {huge}
    assert len(truncations) == 2, "one slot makes way: the packet at work and the one behind it"
    assert not leases(made, b"worker0", small)
    worker = made.workers[b"worker0"]
    while worker.asked:
        made.answer(worker)
    slot = next(
        lease.slot for queue in worker.queues.values() for lease in queue if lease.lease == truncations[0].lease
    )
    while any(lease.query == huge for lease in worker.queues[slot]):
        assert not leases(made, b"worker0", small), "a slot has leases of one owner"
        made.work(worker, slot)
    assert [lease.slot for lease in leases(made, b"worker0", small)] == [slot]


# --- workers that leave -----------------------------------------------------------------------------------------------


def test_a_worker_that_leaves_hands_on_what_it_has_and_gets_nothing_more() -> None:
    made = world([10**5], workers=2, slots=2)
    query = made.submit()
    leaving = made.workers[b"worker0"]
    made.work(leaving, 0)
    made.inbox[b"worker0"].clear()
    made.drain(b"worker0")
    held = {lease.lease for queue in leaving.queues.values() for lease in queue}
    assert {it.lease for it in made.inbox[b"worker0"] if isinstance(it, m.Truncate)} == held
    while leaving.asked:
        made.answer(leaving)
    finish_all(made, leaving)
    assert not leases(made, b"worker0", query)
    assert not made.core.workers[b"worker0"].leases
    made.tell(b"worker0", "worker", m.Bye())
    del made.workers[b"worker0"]
    made.run()
    account = made.ended[query].account
    assert (account.processed, account.redone, account.workers_lost) == (10**5, 0, 0)


def test_a_worker_with_little_time_gets_packets_that_end_in_time() -> None:
    made = world([10**5] * 4, slots=1)
    made.drain(b"worker0", seconds=1.0)
    query = made.submit()
    worker = made.workers[b"worker0"]
    first = leases(made, b"worker0", query)
    assert sum(lease.seconds for lease in first) < 1.0
    made.now += 0.3
    made.work(worker, 0)
    made.commit(worker)
    later = leases(made, b"worker0", query)[len(first) :]
    assert all(made.now + lease.seconds < 1.0 for lease in later)
    made.now = 0.95
    finish_all(made, worker)
    assert leases(made, b"worker0", query) == [*first, *later], "too late for another one"


def test_a_session_can_have_a_worker_leave() -> None:
    made = world([10], workers=2)
    name = next(it.peer for it in made.inbox[b"worker1"] if isinstance(it, m.Welcome))
    made.tell(b"session", "session", m.Drain(name))
    assert m.Drain(name) in made.inbox[b"worker1"]
    assert m.Drain(name) not in made.inbox[b"worker0"]


def test_slots_that_leave_make_no_room_for_a_new_query() -> None:
    """They will never take it up."""
    made = world([10**7], workers=2, slots=1)
    query = made.submit()
    opener = b"worker0" if leases(made, b"worker0", query) else b"worker1"
    lease = leases(made, opener, query)[0]
    made.tell(opener, "worker", m.Opened(query, lease.lease, 10**7, lease.stop, [0, 10**7]))
    made.drain(b"worker0")
    made.hello(b"other", "session")
    made.submit_files([m.File("file0")], b"other")
    assert made.workers[b"worker1"].asked


def test_slots_that_may_not_read_do_not_shorten_what_others_have() -> None:
    """With one reader allowed, idle slots wait: what they would cut off they could not take."""
    made = world([], slots=3)
    made.lengths = {"root://s//0": 10**7}
    query = made.submit_files([m.File("root://s//0")], most_readers=1)
    lease = leases(made, b"worker0", query)[0]
    made.tell(b"worker0", "worker", m.Opened(query, lease.lease, 10**7, lease.stop, [0, 10**7]))
    for step in range(10):
        made.now += 0.3
        made.tell(b"worker0", "worker", m.Reached(query, lease.lease, 1000 + 300 * step))
    assert not made.workers[b"worker0"].asked
    assert {it.slot for it in leases(made, b"worker0", query)} == {lease.slot}
    assert len(leases(made, b"worker0", query)) > 1, "the reader has its next packet all the same"


def test_a_slot_opens_far_files_side_by_side() -> None:
    """To open one takes round trips, and its packet is small: one after the other, a slot would wait for each of them."""
    made = world([100] * 8, slots=1)
    far = {f"root://server//{number}": 100 for number in range(8)}
    made.lengths |= far
    query = made.submit_files([m.File(path) for path in far])
    assert sum(lease.opening for lease in leases(made, b"worker0", query)) == 4
    near = world([100] * 8, slots=1)
    query = near.submit()
    assert len(leases(near, b"worker0", query)) == 2
    made.run()
    assert len(made.merged[query]) == 800


def test_work_for_thousands_of_slots_is_leased_in_pieces_between_which_the_master_listens() -> None:
    made = world([], workers=3 * MOST_AT_ONCE, slots=1)
    query = made.submit_files([m.File("cycles", entries=10**9, kind="cycles", seed=7)])

    def given() -> list[int]:
        return sorted(Counter(len(leases(made, identity, query)) for identity in made.workers).items())

    assert given() == [(0, 2 * MOST_AT_ONCE), (1, MOST_AT_ONCE)]
    assert made.core.deadline() < made.now, "it goes on at once"
    made.tell(b"session", "session", m.AskDatasets(2))
    assert any(isinstance(it, m.Datasets) for it in made.inbox[b"session"])
    while made.core.deadline() < made.now:
        made.carry_out(made.core.expire(made.now))
    assert given() == [(2, 3 * MOST_AT_ONCE)]
    made.core.check()
