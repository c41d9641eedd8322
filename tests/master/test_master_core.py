"""The master core: leases, commits, deaths, roles; driven without sockets or clocks."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from eventmill.master import effects, query_account
from eventmill.master.lifecycle import STOP_SECONDS
from eventmill.master.miniatures import Shrunk
from eventmill.packetizer.faults import MAX_IN_A_ROW, MAX_UNNARROWED
from eventmill.protocol import messages as m
from eventmill.protocol.codec import encode
from eventmill.protocol.column_types import ColumnType
from fleet import World, packed


def world(lengths: list[int], seed: int = 0, workers: int = 1, slots: int = 2) -> World:
    made = World(lengths, seed)
    made.hello(b"session", "session")
    for index in range(workers):
        made.hello(f"worker{index}".encode(), "worker", slots)
    return made


def assert_exact(made: World, query: str, files: int | None = None) -> None:
    """Every entry of the dataset was merged exactly once, and the account says so."""
    names = list(made.lengths)[:files]
    expected = {(name, entry) for name in names for entry in range(made.lengths[name])}
    assert set(made.merged[query]) == expected
    assert set(made.merged[query].values()) <= {1}
    ended = made.ended[query]
    assert ended.state == "done"
    assert (ended.account.total, ended.account.processed, ended.account.failed) == (len(expected), len(expected), 0)


@pytest.mark.parametrize("seed", [*range(30), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(30, 150))])
def test_every_entry_is_merged_once_while_workers_come_and_go(seed: int) -> None:
    """Workers join late, die with uncommitted work, and come back under the same identity; two sessions, three queries."""
    made = World([0, 5, 130_000, 1, 777, 350_000, 40], seed)
    made.lengths = {name: length // 400 + (length > 0) for name, length in made.lengths.items()}
    made.hello(b"session", "session")
    made.hello(b"other", "session")
    queries = [made.submit(), made.submit(b"other"), made.submit(files=3)]
    joined = 0
    for step in range(4000):
        if made.random.random() < 0.05 or not made.workers:
            identity = f"worker{made.random.randrange(4)}".encode()
            made.hello(identity, "worker", slots=made.random.randrange(1, 4))
            joined += 1
        elif made.random.random() < 0.03:
            made.kill(made.random.choice(list(made.workers)))
        elif made.random.random() < 0.02:
            worker = made.random.choice(list(made.workers.values()))
            worker.deaf = not worker.deaf
        made.step()
        if len(made.ended) == 3 and step > 50:
            break
    for worker in made.workers.values():
        worker.deaf = False
    made.run()
    for query, files in zip(queries, (None, None, 3), strict=True):
        assert_exact(made, query, files)


def test_a_worker_gets_its_first_packet_in_the_answer_to_its_hello() -> None:
    made = World([1000])
    made.hello(b"session", "session")
    query = made.submit()
    made.hello(b"worker", "worker", slots=1)
    kinds = [type(message) for message in made.inbox[b"worker"]]
    assert kinds == [m.Welcome, m.Setup, m.Lease]
    assert made.inbox[b"worker"][2].query == query


def test_a_slot_has_its_next_packet_before_it_has_finished_one() -> None:
    made = world([100, 100, 100, 100], slots=1)
    made.submit()
    leases = [message for message in made.inbox[b"worker0"] if isinstance(message, m.Lease)]
    assert len(leases) == 2


def test_replayed_and_late_messages_change_nothing() -> None:
    """A commit counts once, however often it arrives; a commit of a worker that was lost does not count at all."""
    made = world([500, 500])
    query = made.submit()
    worker = made.workers[b"worker0"]
    made.work(worker, 0)
    before = list(made.sent)
    made.commit(worker)
    commit = made.sent[-1]
    frames = [b"\x90"]
    for message in (*before[2:], commit):
        made.tell(b"worker0", "worker", message, frames)
    assert query not in made.ended, "the query that is told so is still running"
    made.run()
    assert_exact(made, query)
    assert made.ended[query].account.refused == 1

    lost = world([500], workers=2)
    number = lost.submit()
    gone = next(worker for worker in lost.workers.values() if worker.queues)
    lost.work(gone, next(iter(gone.queues)))
    identity = gone.identity
    lost.kill(identity)
    lost.commit(gone)
    assert isinstance(lost.inbox[identity][-1], m.Unknown)
    lost.run()
    assert_exact(lost, number)


def test_silence_loses_a_worker_and_its_leases_are_done_elsewhere() -> None:
    made = world([100, 100], workers=2, slots=1)
    query = made.submit()
    silent = made.workers.pop(b"worker0")
    for _ in range(6):
        made.pass_time(1.0)
        made.tell(b"worker1", "worker", m.Heartbeat())
    assert b"worker0" not in made.core.workers
    made.run()
    assert_exact(made, query)
    assert made.ended[query].account.workers_lost == 1
    assert silent.queues


@pytest.mark.parametrize(
    "message",
    [m.Submit(1, "x", "kernel", "d"), m.Stop("q1", True), m.Attach(1, "q1"), m.Ask(1, "queries"), m.Shutdown()],
)
def test_a_worker_key_cannot_submit_read_or_command(message: m.Message) -> None:
    made = world([10])
    made.submit()
    before = len(made.core.queries)
    made.tell(b"worker0", "worker", message, [b"analysis", b"\x90"])
    answer = made.inbox[b"worker0"][-1]
    assert isinstance(answer, m.Fault) and "worker key may not" in answer.reason
    assert len(made.core.queries) == before
    assert not any(isinstance(sent, m.Ended | m.Snapshot) for sent in made.inbox[b"worker0"])


def test_a_worker_key_cannot_say_hello_as_a_session() -> None:
    made = World([10])
    made.hello(b"spy", "session")
    made.core.sessions.clear()
    made.tell(b"spy", "worker", m.Hello("session", "spy", python="3.11"))
    answer = made.inbox[b"spy"][-1]
    assert isinstance(answer, m.Fault) and answer.fatal and "connection file" in answer.reason
    assert not made.core.sessions


@pytest.mark.parametrize(
    ("change", "words"),
    [({"protocol": 99}, "protocol version 99"), ({"python": "3.99"}, "runs Python 3.99, the master runs Python 3.11")],
)
def test_peers_that_do_not_fit_are_told_why(change: dict[str, object], words: str) -> None:
    made = World([10])
    made.hello(b"peer", "session", **change)
    answer = made.inbox[b"peer"][-1]
    assert isinstance(answer, m.Fault) and answer.fatal and words in answer.reason
    assert not made.core.sessions


def test_owners_share_the_slots_fairly() -> None:
    """One owner with three queries and one with one query hold about as many leases each."""
    made = World([10_000_000] * 20)
    for session in (b"greedy", b"modest"):
        made.hello(session, "session")
    for _ in range(3):
        made.submit(b"greedy")
    made.submit(b"modest")
    for index in range(8):
        made.hello(f"worker{index}".encode(), "worker", slots=1)
    held = dict.fromkeys(("greedy", "modest"), 0)
    for query in made.core.queries.values():
        held[query.submit.owner] += query.leases
    assert held == {"greedy": 8, "modest": 8}


def test_stop_keeps_what_is_merged_and_abort_drops_it() -> None:
    for keep, state in ((True, "stopped"), (False, "aborted")):
        made = world([101_000], slots=1)
        query = made.submit()
        made.work(made.workers[b"worker0"], 0)
        made.commit(made.workers[b"worker0"])
        made.tell(b"session", "session", m.Stop(query, keep))
        made.run()
        ended = made.ended[query]
        assert ended.state == state
        assert ended.account.processed > 0
        assert not made.workers[b"worker0"].queues[0], "the worker was told to drop its leases"


def test_a_stop_keeps_what_slots_have_done_and_not_yet_committed() -> None:
    """The progress line has counted it."""
    made = world([101_000, 101_000], slots=2)
    query = made.submit()
    worker = made.workers[b"worker0"]
    made.work(worker, 0)
    reached, leases = made.core.queries[query].ledger.reached, made.core.queries[query].ledger.next_lease
    made.tell(b"session", "session", m.Stop(query, keep=True))
    assert query not in made.ended and any(isinstance(message, m.Truncate) for message in made.inbox[b"worker0"])
    made.run()
    ended = made.ended[query]
    assert ended.state == "stopped" and 0 < reached <= ended.account.processed == len(made.merged[query]) < 202_000
    begun = [message for message in made.inbox[b"worker0"] if isinstance(message, m.Lease)]
    assert max(lease.lease for lease in begun) < leases, "nothing new is begun"


@pytest.mark.parametrize("again", [True, False], ids=["stopped again", "in time"])
def test_a_stop_does_not_wait_for_ever(again: bool) -> None:
    made = world([101_000], slots=1)
    query = made.submit()
    worker = made.workers[b"worker0"]
    made.work(worker, 0)
    made.commit(worker)
    worker.deaf = True
    made.tell(b"session", "session", m.Stop(query, keep=True))
    made.now += 0.0 if again else STOP_SECONDS - 0.01
    made.carry_out(made.core.expire(made.now))
    assert query not in made.ended and made.core.deadline() <= STOP_SECONDS
    made.now += 0.0 if again else 0.01
    made.tell(b"session", "session", m.Stop(query, keep=True)) if again else made.carry_out(made.core.expire(made.now))
    made.run()
    assert made.ended[query].state == "stopped" and made.ended[query].account.processed > 0


@pytest.mark.parametrize("then", ["waited for", "aborted"])
def test_what_a_query_leaves_undone_is_listed_a_piece_a_turn(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """Of a million files the list takes many seconds, in which others are to be answered."""
    monkeypatch.setattr(query_account, "A_PIECE", 5)
    made = world([1000] * 38, slots=1)
    query = made.submit()
    made.work(made.workers[b"worker0"], 0)
    made.commit(made.workers[b"worker0"])
    made.tell(b"session", "session", m.Stop(query, keep=True))
    while made.core.queries[query].missing is None:
        assert made.step()
    turns = 0
    while query not in made.ended:
        assert made.core.deadline() == -inf and made.core.queries[query].state == "merging"
        made.tell(b"session", "session", m.Ask(turns, "queries"))
        assert isinstance(made.inbox[b"session"][-1], m.Queries)
        turns += 1
        if then == "aborted":
            made.tell(b"session", "session", m.Stop(query, keep=False))
        made.carry_out(made.core.expire(made.now))
    ended, lost = made.ended[query], made.lost[query]
    assert made.core.deadline() > -inf
    if then == "aborted":
        assert (turns, ended.state, lost) == (1, "aborted", [])
        return
    assert turns == len(lost) // 5 - 1 > 3, "two pieces were made in the turn in which the last total came"
    assert ended.state == "stopped" and all(it.undone for it in lost)
    begun = len({path for path, _ in made.merged[query]})
    assert [(it.path, it.start, it.stop) for it in lost][-begun - 30 :][-30:] == [
        (f"file{it}", 0, None) for it in range(8, 38)
    ]
    missing = sum(1000 - it.start if it.stop is None else it.stop - it.start for it in lost)
    assert ended.account.processed == made.merged[query].total() == 38_000 - missing


BROKEN = m.Failure("analysis", "ZeroDivisionError", "division by zero")


@pytest.mark.parametrize("then", ["waited for", "aborted"])
@pytest.mark.parametrize("merged", [False, True])
def test_what_a_query_that_fails_leaves_undone_is_listed_a_piece_a_turn(
    monkeypatch: pytest.MonkeyPatch, merged: bool, then: str
) -> None:
    """So is what one leaves that is stopped; whether or not there is a result to be offered."""
    monkeypatch.setattr(query_account, "A_PIECE", 5)
    made = world([1000] * 38, slots=1)
    query = made.submit()
    worker = made.workers[b"worker0"]
    if merged:
        made.work(worker, 0)
        made.commit(worker)
    lease = next(lease for queue in worker.queues.values() for lease in queue)
    made.tell(b"worker0", "worker", m.Failed(query, lease.lease, BROKEN), [b"pickled"])
    while made.core.queries[query].missing is None:
        assert made.step()
    ledger, turns = made.core.queries[query].ledger, 0
    assert not ledger.losses and ledger.complete and not ledger.leases, "no object for each file that is undone"
    while query not in made.ended:
        ledger.check()
        assert made.core.deadline() == -inf and made.core.queries[query].state == "merging"
        made.tell(b"session", "session", m.Ask(turns, "queries"))
        assert isinstance(made.inbox[b"session"][-1], m.Queries)
        if then == "aborted" and not turns:
            made.tell(b"session", "session", m.Stop(query, keep=False))
            assert query not in made.ended, "the list is made all the same"
        turns += 1
        made.carry_out(made.core.expire(made.now))
    ended, lost = made.ended[query], made.lost[query]
    assert made.core.deadline() > -inf and turns > 3
    assert (ended.state, ended.failure and ended.failure.error) == ("failed", BROKEN.error)
    assert (ended.result_frames > 0) == merged and not any(it.undone for it in lost)
    done = set(made.merged[query].elements()) if merged else set()
    rest = [(it.path, entry) for it in lost for entry in range(it.start, 1000 if it.stop is None else it.stop)]
    assert sorted([*done, *rest]) == sorted((f"file{file}", entry) for file in range(38) for entry in range(1000))
    assert ended.account.processed == len(done)
    assert ended.account.failed == sum(it.stop - it.start for it in lost if it.stop is not None)
    assert ended.account.total == ended.account.processed + ended.account.failed and not ended.account.estimated
    assert [it.path for it in lost] == sorted((it.path for it in lost), key=lambda path: int(path[4:]))


def told(made: World, seconds: float) -> m.Progress:
    """The progress of a query so much later."""
    made.now += seconds
    made.tell(b"worker0", "worker", m.Heartbeat())
    made.carry_out(made.core.expire(made.now))
    return next(message for message in reversed(made.inbox[b"session"]) if isinstance(message, m.Progress))


def test_a_query_says_which_server_it_waits_for() -> None:
    made = world([1000, 1000], slots=2)
    addresses = ["root://u@eos.cern.ch//store/a.root", "http://web:80/b.root?token"]
    made.lengths = dict.fromkeys(addresses, 1000)
    query = made.submit()
    leases = [it for it in made.inbox[b"worker0"] if isinstance(it, m.Lease)]
    first, second = (next(it for it in leases if it.slot == slot) for slot in range(2))
    assert told(made, 1.0).begins == "opening"
    made.tell(b"worker0", "worker", m.Doing(query, first.lease, "opening", 1.0, addresses[0]))
    assert told(made, 0.9).waits is None, "a second or two are nothing unusual"
    report = told(made, 0.2)
    assert report.slots == 2 and report.waits is not None
    assert (report.waits.what, report.waits.slots, report.waits.server) == ("server", 1, "eos.cern.ch")
    made.tell(b"worker0", "worker", m.Doing(query, second.lease, "reading", 1.0, addresses[1]))
    report = told(made, 3.0)
    assert report.slots == 2 and report.waits is not None and round(report.waits.seconds, 1) == 5.1
    assert msgspec.structs.replace(report.waits, seconds=0.0) == m.Wait("server", 2, "eos.cern.ch", "a.root")
    made.tell(b"worker0", "worker", m.Doing(query, first.lease, "running", 0.1, addresses[0]))
    report = told(made, 0.2)
    assert report.waits is not None and (report.waits.slots, report.waits.server) == (1, "web:80")
    made.tell(b"worker0", "worker", m.Doing(query, second.lease, "running", 0.1, addresses[1]))
    assert told(made, 9.0).begins == "running"


@pytest.mark.parametrize("what", ["loading", "compiling", "running"])
def test_a_query_says_what_comes_before_its_first_result(what: m.Activity) -> None:
    made = world([1000], slots=1)
    query = made.submit()
    lease = made.workers[b"worker0"].queues[0][0]
    assert told(made, 0.3).begins == "opening"
    made.tell(b"worker0", "worker", m.Opened(query, lease.lease, 1000, 1000, [0, 1000]))
    assert told(made, 0.3).begins == "compiling", "it is a kernel"
    made.tell(b"worker0", "worker", m.Doing(query, lease.lease, what, 1.0, lease.file.path))
    assert told(made, 0.3).begins == what
    made.run()
    assert made.ended[query].state == "done"


def test_an_error_fails_the_query_or_is_listed() -> None:
    """By default the first error ends the query; with on_error="skip" its entries are in the account, the rest is done."""
    failure = m.Failure("analysis", "ZeroDivisionError", "division by zero", start=3, stop=4)
    for policy, state in (("fail", "failed"), ("skip", "done")):
        made = world([10, 10], slots=1)
        query = made.submit(on_error=policy)
        lease = made.workers[b"worker0"].queues[0].pop(0)
        made.tell(b"worker0", "worker", m.Opened(query, lease.lease, 10, 10, [0, 10]))
        made.tell(b"worker0", "worker", m.Failed(query, lease.lease, failure), [b"pickled"])
        made.run()
        ended = made.ended[query]
        assert ended.state == state
        if policy == "fail":
            assert ended.failure is not None and ended.failure.error == "ZeroDivisionError"
        else:
            assert (ended.account.processed, ended.account.failed, ended.account.total) == (19, 1, 20)
            assert ("file0", 3) not in made.merged[query]
            assert made.lost[query][0].reason == "ZeroDivisionError: division by zero"


def test_a_query_that_loses_everything_fails_even_when_it_may_skip() -> None:
    """A misspelt branch is in no file: an empty result would say nothing."""
    made = world([10, 10], slots=1)
    query = made.submit(on_error="skip")
    failure = m.Failure("data", "DatasetError", "no branch MET_Pt")
    while made.workers[b"worker0"].queues[0]:
        lease = made.workers[b"worker0"].queues[0].pop(0)
        made.tell(b"worker0", "worker", m.Failed(query, lease.lease, failure), [b"pickled"])
    made.run()
    assert made.ended[query].state == "failed"
    assert "MET_Pt" in made.ended[query].failure.message


def test_a_query_that_keeps_taking_slots_down_fails() -> None:
    made = world([100], slots=1)
    query = made.submit()
    for _ in range(MAX_UNNARROWED):
        lease = made.workers[b"worker0"].queues[0].pop(0)
        key = m.LeaseKey(query, lease.lease)
        made.tell(b"worker0", "worker", m.SlotDown(0, [key], "killed by signal 11 (SIGSEGV)", working=key))
        assert not made.workers[b"worker0"].queues[0], "a slot that is down gets no lease"
        made.tell(b"worker0", "worker", m.SlotUp(0))
    ended = made.ended[query]
    assert ended.state == "failed"
    assert ended.failure is not None and "SIGSEGV" in ended.failure.message


def test_a_slot_that_goes_down_with_several_leases_as_its_query_fails() -> None:
    """The leases behind the deadly one end with the query; nothing is given back twice."""
    made = world([100] * 6, slots=1)
    query = made.submit()
    for _ in range(MAX_IN_A_ROW):
        if query in made.ended:
            break
        keys = [m.LeaseKey(query, lease.lease) for lease in made.workers[b"worker0"].queues[0]]
        assert len(keys) == 2
        made.workers[b"worker0"].queues[0].clear()
        made.tell(b"worker0", "worker", m.SlotDown(0, keys, "exited with code 3", working=keys[0]))
        made.tell(b"worker0", "worker", m.SlotUp(0))
    assert made.ended[query].state == "failed"


def test_slots_that_go_down_here_and_there_do_not_fail_a_long_query() -> None:
    """Three deaths on different entries of a query that otherwise gets on are bad luck."""
    made = world([1000] * 16, slots=1)
    query = made.submit()
    for _ in range(10):
        keys = [m.LeaseKey(query, lease.lease) for lease in made.workers[b"worker0"].queues[0]]
        made.workers[b"worker0"].queues[0].clear()
        made.tell(b"worker0", "worker", m.SlotDown(0, keys, "killed by signal 9 (SIGKILL)", working=keys[0]))
        made.tell(b"worker0", "worker", m.SlotUp(0))
        for _ in range(6):
            made.step()
        made.commit(made.workers[b"worker0"])
    made.run()
    assert_exact(made, query)


def test_a_session_that_does_not_read_gets_no_second_snapshot() -> None:
    made = world([1000] * 4, slots=1)
    query = made.submit()
    made.submit()
    for _ in range(3):
        made.work(made.workers[b"worker0"], 0)
        made.commit(made.workers[b"worker0"])
        made.now += 1.0
        made.carry_out(made.core.expire(made.now))
        while made.to_take:
            made.take()
    assert made.snapshots.get(query, 0) <= 1
    assert made.core.deadline() >= made.now, "nothing is due that cannot be done"


def test_a_session_that_reads_nothing_is_sent_one_snapshot_and_is_lost_after_a_while() -> None:
    """Whatever goes on in its query: what it has not taken lies in the master's memory."""
    made = world([1000] * 300, workers=1, slots=2)
    query, worker = made.submit(), made.workers[b"worker0"]
    said = len(made.inbox[b"session"])
    while b"session" in made.core.sessions:
        assert made.now < 100.0
        made.work(worker, 0)
        made.commit(worker)
        made.pass_time(0.5)
        if made.to_take:
            made.take()
    told = made.inbox[b"session"][said:]
    assert made.merged[query] and made.core.queries[query].running, "the query goes on"
    assert made.snapshots == {query: 1} and made.now > 59.0
    assert sum(len(encode(message)[0]) for message in told) < 10**6 and len(told) < 400
    made.work(worker, 0)
    made.commit(worker)
    made.pass_time(5.0)
    assert made.inbox[b"session"][said:] == told and not made.to_take


@pytest.mark.parametrize(("cells", "slots", "pause"), [(100, 2, 0.5), (1_000_000, 2, 2.4), (1_000_000, 20, 0.5)])
def test_large_snapshots_come_less_often_where_few_slots_pay_for_them(cells: int, slots: int, pause: float) -> None:
    """They take a hundredth of the slots' time at most; those that nobody notices come twice a second."""
    made = world([1000] * 100, workers=1, slots=slots)
    query = made.submit()

    def seconds_to_the_next() -> float:
        before = made.now
        while not made.to_take:
            made.work(made.workers[b"worker0"], 0)
            made.commit(made.workers[b"worker0"])
            made.carry_out(made.core.expire(made.now))
            made.now += 0.1
        task = made.to_take.pop(0)
        counted, *_ = packed(made.merged[query])
        made.carry_out(made.core.taken(query, [counted, bytes(8 * cells)], task.final, made.now))
        made.tell(b"session", "session", m.Seen(query))
        return made.now - before

    seconds_to_the_next()
    assert seconds_to_the_next() == pytest.approx(pause, abs=0.25)


def test_a_display_gets_a_miniature_when_there_is_something_new_and_as_often_as_its_cost_allows() -> None:
    """Who asks too often, or for a query that is over, is told so at once: nobody waits for an answer."""
    made = world([1000] * 10, workers=1, slots=2)
    query = made.submit()

    def answered(after: int) -> m.Miniature:
        made.tell(b"session", "session", m.AskMiniature(7, query, after, ["h"], {"h": (0.0, 1.0)}))
        for task in made.to_shrink:
            assert (task.asked.names, task.asked.windows) == (["h"], {"h": (0.0, 1.0)})
            frames = packed(made.merged[query])
            made.carry_out(made.core.made(Shrunk(query, task.peer, 7, frames, 8_000_000), made.now))
        made.to_shrink.clear()
        return next(it for it in reversed(made.inbox[b"session"]) if isinstance(it, m.Miniature))

    assert answered(0).account.processed == 0, "nothing is merged"
    made.work(made.workers[b"worker0"], 0)
    made.commit(made.workers[b"worker0"])
    told = answered(0)
    assert told.request == 7 and told.account.processed == made.core.queries[query].ledger.processed > 0
    assert answered(0).account.processed == 0, "too soon"
    made.now += 0.5
    assert answered(told.account.processed).account.processed == 0, "it has that"
    assert answered(0).account == told.account, "in another way, perhaps"
    made.run()
    made.now += 10.0
    assert answered(0).account.processed == 0, "it is over, and has a result"


def test_work_that_was_never_begun_is_not_called_redone() -> None:
    made = world([1000, 1000, 1000, 1000], workers=1, slots=2)
    query = made.submit()
    made.kill(b"worker0")
    made.hello(b"other", "worker", slots=1)
    made.run()
    assert_exact(made, query)
    assert made.ended[query].account.redone == 0


def test_a_stop_ends_a_query_whose_objects_nobody_is_there_to_merge() -> None:
    made = world([10], slots=1)
    query = made.submit()
    while made.workers[b"worker0"].queues[0]:
        made.work(made.workers[b"worker0"], 0)
    made.commit(made.workers[b"worker0"])
    made.to_take.clear()
    made.kill(b"worker0")
    made.carry_out(made.core.crowded(query, [b"total"], 0.0))
    made.tell(b"session", "session", m.Stop(query, keep=True))
    assert made.replaced == [effects.Replace(query, [b"total"])]
    assert made.to_take == [effects.Take(query, final=True, as_is=True)]
    made.run()
    assert made.ended[query].state == "done"


def test_a_result_that_cannot_be_sent_ends_the_query_in_words() -> None:
    made = world([10])
    query = made.submit()
    made.carry_out(made.core.unsendable(query, "12,000 frames", 0.0))
    assert made.ended[query].state == "failed"
    assert "12,000 frames" in made.ended[query].failure.message


def test_many_long_losses_do_not_make_messages_too_long() -> None:
    made = world([10] * 50, slots=1)
    query = made.submit(on_error="skip")
    failure = m.Failure("data", "DatasetError", "x" * 90_000)
    made.work(made.workers[b"worker0"], 0)
    made.commit(made.workers[b"worker0"])
    while made.workers[b"worker0"].queues[0]:
        lease = made.workers[b"worker0"].queues[0].pop(0)
        made.tell(b"worker0", "worker", m.Failed(query, lease.lease, failure))
    made.run()
    assert len(made.lost[query]) >= 49
    assert max(len(lost.reason) for lost in made.lost[query]) <= 500
    assert made.ended[query].account.lost == []


def test_without_workers_the_query_says_what_it_waits_for() -> None:
    made = World([10])
    made.hello(b"session", "session")
    made.submit()
    made.carry_out(made.core.expire(0.0))
    progress = made.inbox[b"session"][-1]
    assert isinstance(progress, m.Progress) and progress.waits == m.Wait("workers")


def test_unmergeable_results_fail_the_query() -> None:
    made = world([10])
    query = made.submit()
    failure = m.Failure("analysis", "MergeError", "shapes differ")
    made.carry_out(made.core.merge_failed(query, failure, 0.0))
    assert made.ended[query].state == "failed" and made.ended[query].failure == failure


def test_a_limit_uses_the_first_entries_only() -> None:
    made = world([100, 100, 100])
    query = made.submit(limit=150)
    made.run()
    assert set(made.merged[query]) == {("file0", e) for e in range(100)} | {("file1", e) for e in range(50)}
    assert made.ended[query].account.total == 150


def test_objects_are_merged_by_a_slot_and_by_another_if_that_one_is_gone() -> None:
    """The final result waits for the compaction; nobody but its holder can answer it."""
    made = world([10], workers=2, slots=1)
    query = made.submit()
    worker = next(worker for worker in made.workers.values() if worker.queues.get(0))
    made.work(worker, 0)
    while worker.queues[0]:
        made.work(worker, 0)
    made.commit(worker)
    made.to_take.clear()
    made.carry_out(made.core.crowded(query, [b"total"], 0.0))
    asked = [peer for peer in (b"worker0", b"worker1") if any(isinstance(x, m.Compact) for x in made.inbox[peer])]
    assert len(asked) == 1
    other = b"worker1" if asked == [b"worker0"] else b"worker0"
    made.tell(other, "worker", m.Compacted(query, 0), [b"false"])
    assert not made.replaced
    made.kill(asked[0])
    assert any(isinstance(message, m.Compact) for message in made.inbox[other])
    made.tell(other, "worker", m.SlotDown(0, [], "gone"))
    made.tell(other, "worker", m.SlotUp(0))
    assert sum(isinstance(message, m.Compact) for message in made.inbox[other]) == 2
    made.tell(other, "worker", m.Compacted(query, 0), [b"merged"])
    assert made.replaced == [effects.Replace(query, [b"merged"])]
    made.run()
    assert made.ended[query].state == "done"


@pytest.mark.parametrize("keep", [True, False], ids=["stop", "abort"])
def test_a_slot_that_compacts_is_told_when_nobody_waits_for_it_any_more(keep: bool) -> None:
    """And not before: the release of the leases, when all is processed, leaves the compaction alone."""
    made = world([10], slots=1)
    query = made.submit()
    worker = made.workers[b"worker0"]
    made.carry_out(made.core.crowded(query, [b"total"], 0.0))
    while worker.queues[0]:
        made.work(worker, 0)
    made.commit(worker)
    assert made.core.queries[query].state == "merging"
    releases = [message.merging for message in made.inbox[b"worker0"] if isinstance(message, m.Release)]
    assert releases == [True]
    made.tell(b"session", "session", m.Stop(query, keep))
    releases = [message.merging for message in made.inbox[b"worker0"] if isinstance(message, m.Release)]
    assert releases == [True, False]


def test_objects_that_do_not_merge_fail_the_query() -> None:
    made = world([10])
    query = made.submit()
    made.carry_out(made.core.crowded(query, [b"total"], 0.0))
    failure = m.Failure("analysis", "TypeError", "no +")
    made.tell(
        b"worker0", "worker", m.Compacted(query, made.core.queries[query].compaction.holder[1], failure), [b"pickled"]
    )
    assert made.ended[query].state == "failed"
    assert made.ended[query].failure.error == "TypeError"


def test_malformed_submissions_are_refused_in_words() -> None:
    made = world([10])
    for frames in ([], [b"a"], [b"a", b"\xc1"], [b"a", b"\x90"], [b"a", b"b", b"c"]):
        made.tell(b"session", "session", m.Submit(7, "x", "kernel", "d"), frames)
        answer = made.inbox[b"session"][-1]
        assert isinstance(answer, m.Refused) and answer.request == 7


def test_shutdown_says_goodbye_to_everybody() -> None:
    made = world([10])
    made.tell(b"session", "session", m.Shutdown())
    assert isinstance(made.inbox[b"session"][-1], m.Bye) and isinstance(made.inbox[b"worker0"][-1], m.Bye)
    assert effects.Exit() in made.core.receive(b"session", "session", m.Shutdown(), [], 0.0)


# --- columns ----------------------------------------------------------------------------------------------------------


def two_types(on_error: str) -> tuple[World, str]:
    """Two workers with a packet each, of two files in which a column has different types."""
    made = world([1000, 1000], workers=2, slots=1)
    query = made.submit(on_error=on_error)
    for identity, kind in ((b"worker0", "float32"), (b"worker1", "float64")):
        lease = made.workers[identity].queues[0][0]
        made.tell(identity, "worker", m.Opened(query, lease.lease, 1000, 500, [0, 500, 1000]))
        made.workers[identity].queues[0][0] = msgspec.structs.replace(lease, opening=False, stop=500)
        types = {"x": ColumnType(kind, lease.file.path), "y": ColumnType("int32", lease.file.path)}
        made.tell(identity, "worker", m.Columns(query, lease.lease, types))
    return made, query


def test_files_that_do_not_agree_on_a_type_are_not_merged() -> None:
    made, query = two_types("fail")
    failure = made.ended[query].failure
    assert failure is not None and failure.error == "DatasetError" and failure.worker
    assert failure.message == "the type of x changes between files: float32 in file0, float64 in file1"


def test_a_slot_that_began_with_the_odd_file_is_told_what_holds() -> None:
    """What it has of that file is lost; it may have worked on others in the same belief: that is done again."""
    made, query = two_types("skip")
    told = [message for message in made.inbox[b"worker1"] if isinstance(message, m.Columns)]
    assert [message.types for message in told] == [{"x": ColumnType("float32", "file0")}]
    revoked = [message for message in made.inbox[b"worker1"] if isinstance(message, m.Revoke)]
    assert revoked and not any(isinstance(message, m.Revoke) for message in made.inbox[b"worker0"])
    made.run()
    account = made.ended[query].account
    assert account.failed > 0 and account.processed + account.failed == account.total == 2000
    assert {lost.path for lost in made.lost[query]} == {"file1"}
    assert all(count == 1 for count in made.merged[query].values())


def test_what_is_filled_in_is_noted() -> None:
    made = world([10, 10], workers=1, slots=1)
    query = made.submit()
    lease = made.workers[b"worker0"].queues[0][0]
    for _ in range(2):
        made.tell(b"worker0", "worker", m.Columns(query, lease.lease, filled=["Jet_btag"]))
    made.run()
    assert made.ended[query].account.notes == ["1 of 2 files have no Jet_btag: its default was taken"]


def test_a_refusal_names_some_of_many_queries() -> None:
    """Of all of thousands it did not fit into a message, and the session heard nothing."""
    made = World([10])
    made.hello(b"session", "session")
    last = [made.submit() for _ in range(30)][-1]
    made.tell(b"session", "session", m.Attach(7, "q77"))
    refused = made.inbox[b"session"][-1]
    assert isinstance(refused, m.Refused) and refused.request == 7
    assert refused.reason.count(", ") == 19 and f"{last} and 10 more" in refused.reason


def test_whatever_a_peer_may_say_somebody_deals_with() -> None:
    core = World([1]).core
    everybody = {m.Hello, m.Heartbeat, m.Bye}
    assert core._requests.handlers._by_kind.keys() == set(m.FROM_SESSION) - everybody
    assert core._reports.handlers._by_kind.keys() == set(m.FROM_WORKER) - everybody - {m.Stage}


def test_a_session_under_the_name_of_a_worker_is_nobody() -> None:
    """Identities are chosen by peers, roles are not: what it says is no more the worker's than its hello was."""
    made = world([100])
    query = made.submit()
    leases = len(made.core.queries[query].ledger.leases)
    made.tell(b"worker0", "session", m.Stop(query, keep=False))
    assert isinstance(made.inbox[b"worker0"][-1], m.Unknown)
    made.tell(b"session", "worker", m.SlotUp(0))
    assert isinstance(made.inbox[b"session"][-1], m.Unknown)
    assert made.core.queries[query].running and len(made.core.queries[query].ledger.leases) == leases
