"""What displays of a whole master are told: complete, each thing once, however often they ask; and as the ledger has it."""

from __future__ import annotations

from collections import Counter

import pytest
from eventmill.display.cluster_view import ClusterHistory, ClusterView
from eventmill.master import cluster_book
from eventmill.master.effects import Send
from eventmill.master.progress import progress
from eventmill.protocol import codec
from eventmill.protocol import messages as m
from fleet import World
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples


def ask(world: World, cursor: str = "") -> m.Cluster:
    world.tell(b"session", "session", m.AskCluster(9, cursor))
    answer = world.inbox[b"session"][-1]
    assert isinstance(answer, m.Cluster), answer
    return answer


def seen(world: World, history: ClusterHistory, cursor: str = "") -> str:
    """What the master says in as many answers as it takes; the cursor of the last one."""
    while True:
        answer = ask(world, cursor)
        history.heard(answer)
        cursor = answer.cursor
        if not answer.more:
            return cursor


def same(one: ClusterView, other: ClusterView) -> None:
    """Whether two displays show the same; one that has looked since long knows the pids of workers that went."""
    assert one.workers == other.workers and one.packets == other.packets and one.servers == other.servers
    assert [(it.name, it.joined, it.left, it.total) for it in one.gone] == [
        (it.name, it.joined, it.left, it.total) for it in other.gone
    ]
    assert one.queries.keys() == other.queries.keys()
    for number, row in one.queries.items():
        assert (row.owner, row.began, row.view.state, row.view.account) == (
            other.queries[number].owner, other.queries[number].began,
            other.queries[number].view.state, other.queries[number].view.account,
        )  # fmt: skip


@examples(40)
@given(st.integers(0, 2**16), st.lists(st.sampled_from(["work", "look", "kill", "join", "submit"]), max_size=40))
def test_who_looks_often_sees_what_one_sees_who_looks_late(seed: int, script: list[str]) -> None:
    """Nothing is told twice or left out, also in many small answers; what is shown of a query is its ledger's account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_book, "MOST_EVENTS", 3)
        world = World([40, 70, 10], seed)
        world.hello(b"session", "session")
        often, cursor, came = ClusterHistory(), "", 0
        for what in script:
            world.now += 0.5
            if what == "work":
                for _ in range(5):
                    world.step()
            elif what == "look":
                cursor = seen(world, often, cursor)
            elif what == "kill" and world.workers:
                world.kill(next(iter(world.workers)))
            elif what == "join":
                came += 1
                world.hello(b"worker%d" % came, "worker", slots=2)
            elif what == "submit":
                world.submit()
        seen(world, often, cursor)
        late = ClusterHistory()
        seen(world, late)
        same(often.view, late.view)
        core, view = world.core, late.view
        assert list(view.queries) == list(core.queries)
        for number, query in core.queries.items():
            assert view.queries[number].view.account == query.account()
            done = [it for it in view.packets if it.query == number]
            assert sum(it.usage.entries for it in done) == sum(share.entries for share in query.shares.values())
        assert list(view.workers) == [worker.name for worker in core.workers.values()]
        assert view.slots == sum(len(worker.slots) for worker in core.workers.values())
        working = sum(bool(slot.leases) for worker in core.workers.values() for slot in worker.slots)
        committing = view.activities["committing"]
        assert view.busy == working + committing
        assert len(view.gone) + len(view.workers) == came


def small() -> tuple[World, str, m.Lease]:
    world = World([1000])
    world.hello(b"session", "session")
    world.hello(b"worker", "worker", slots=2, host="node7.site.org", pid=12)
    world.now = 3.0
    query = world.submit()
    return world, query, world.workers[b"worker"].queues[0][0]


def test_what_a_slot_is_at_is_what_it_said_last() -> None:
    """A slot that has said nothing opens its file or runs; one that went down is down until it is there again."""
    world, query, lease = small()

    def slots() -> tuple[str, ...]:
        history = ClusterHistory()
        seen(world, history)
        (worker,) = history.view.workers.values()
        in_hand = ("opening", "reading", "running")
        assert worker.since == tuple(3.0 if slot in in_hand else None for slot in worker.slots)
        assert (worker.host, worker.site, worker.pid) == ("node7.site.org", "site.org", 12)
        return worker.slots

    assert lease.opening and slots() == ("opening", "idle")
    world.tell(b"worker", "worker", m.Doing(query, lease.lease, "reading", 3.0, "file0"))
    assert slots() == ("reading", "idle")
    world.tell(b"worker", "worker", m.SlotDown(0, [m.LeaseKey(query, lease.lease)], "killed"))
    assert slots()[0] == "down"
    world.tell(b"worker", "worker", m.SlotUp(0))
    assert "down" not in slots()
    world.tell(b"worker", "worker", m.Draining(0.0))
    assert slots()[0] == "leaving"


def test_a_query_is_told_at_which_sites_its_slots_are() -> None:
    """Those that are at work on it: of ten slots at two sites that are named, and one that its host's domain names."""
    world = World([1000] * 9)
    world.hello(b"session", "session")
    for name, slots, site in ((b"a", 2, "T2_DE_DESY"), (b"b", 3, "T0_CH_CERN"), (b"c", 1, ""), (b"d", 1, "T2_DE_DESY")):
        world.hello(name, "worker", slots=slots, host="node7.fnal.gov", site=site)
    query = world.core.queries[world.submit()]
    told = progress(query, world.core.workers.values(), "", 1.0)
    assert told.sites == {"T2_DE_DESY": 3, "T0_CH_CERN": 3, "fnal.gov": 1} and told.slots == 7


def test_at_each_step_of_a_query_its_slots_and_workers_are_those_that_have_something_to_do() -> None:
    """Also while leases are finished and not committed, and once it is over. It is counted from the query's side, since
    there may be ten thousand workers."""
    world = World([300, 0, 1000, 50], seed=3)
    world.hello(b"session", "session")
    for number in range(3):
        world.hello(b"worker%d" % number, "worker", slots=2)
    query = world.core.queries[world.submit()]
    told, going = [], True
    while going:
        going = world.step()
        workers = world.core.workers.values()
        slots = [slot for it in workers for slot in it.slots if any(key[0] == query.number for key in slot.leases)]
        busy = {slot.worker.name for slot in slots}
        seen = progress(query, workers, "", world.now)
        assert (seen.slots, seen.workers) == (len(slots), len(busy)) and sum(seen.sites.values()) == seen.slots
        told.append((seen.slots, seen.workers))
    assert query.over and told[-1] == (0, 0) and len(set(told)) > 3


def test_a_worker_that_went_is_told_of_with_how() -> None:
    world, _, _ = small()
    world.hello(b"other", "worker", slots=1)
    history = ClusterHistory()
    cursor = seen(world, history)
    world.now = 7.0
    world.kill(b"worker")
    world.tell(b"other", "worker", m.Bye())
    seen(world, history, cursor)
    assert not history.view.workers
    assert [(it.lost, it.how, it.left, it.width) for it in history.view.gone] == [
        (True, "lost its connection", 7.0, 2), (False, "left", 7.0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("cursor", ["", "nonsense", "other.1.1.1.1", ".1.1.1", ".99.0.0.0", ".1.2.3.4.5", ".-1.0.0.0"])
def test_whoever_comes_with_a_cursor_of_another_master_gets_everything(cursor: str) -> None:
    world, query, _ = small()
    answer = ask(world, cursor)
    assert answer.anew and [it.query for it in answer.queries] == [query] and len(answer.workers) == 1


def test_what_is_kept_is_bounded_and_who_comes_too_late_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A display that was away for a week begins anew, rather than showing queries that are long forgotten."""
    monkeypatch.setattr(cluster_book, "MOST_EVENTS", 5)
    world, query, _ = small()
    history = ClusterHistory()
    cursor = seen(world, history)
    for _ in range(6):
        world.submit()
    assert ask(world, cursor).anew
    world.run()
    world.tell(b"session", "session", m.Remove(query))
    cursor = seen(world, history, cursor)
    assert query not in history.view.queries and len(history.view.queries) == 6
    world.tell(b"session", "session", m.Remove(next(iter(history.view.queries))))
    answer = ask(world, cursor)
    assert not answer.anew and len(answer.forgotten) == 1
    history.heard(answer)
    assert len(history.view.queries) == 5


def test_nobody_but_a_session_may_ask() -> None:
    world, _, _ = small()
    effects = world.core.receive(b"worker", "worker", m.AskCluster(1), [], world.now)
    told = [effect.message for effect in effects if isinstance(effect, Send)]
    assert [it.reason for it in told if isinstance(it, m.Fault)] == ["a peer with a worker key may not say AskCluster"]


def test_the_answer_for_hundreds_of_workers_is_small_when_few_change() -> None:
    """It is asked for every second."""
    world = World([10])
    world.hello(b"session", "session")
    for number in range(200):
        world.hello(b"worker%d" % number, "worker", slots=50)
    history = ClusterHistory()
    cursor = seen(world, history)
    assert history.view.slots == 10_000
    world.tell(b"worker7", "worker", m.SlotDown(0, [], "killed"))
    answer = ask(world, cursor)
    assert [it.worker for it in answer.workers] == ["worker7-9"]
    assert sum(map(len, codec.encode(answer))) < 1000
    history.heard(answer)
    assert history.view.activities["down"] == 1 and history.view.activities["idle"] == 9999


def test_counts_of_servers_are_those_of_their_packets() -> None:
    world, _, _ = small()
    world.run()
    history = ClusterHistory()
    seen(world, history)
    by_server = Counter[str]()
    for packet in history.view.packets:
        by_server[packet.server] += packet.usage.entries
    assert {name: server.total.entries for name, server in history.view.servers.items()} == {
        name: entries for name, entries in by_server.items() if name
    }
