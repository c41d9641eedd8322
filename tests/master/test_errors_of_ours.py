"""An exception that nobody expected, anywhere in the master: the query fails in words, or the master begins anew; never does
it go on with what may be half changed."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import zmq
from eventmill.master import effects, merger
from eventmill.master.core import MasterCore
from eventmill.master.credit import Credit
from eventmill.master.dispatcher import Dispatcher
from eventmill.master.journal import Journal
from eventmill.master.lifecycle import Lifecycle
from eventmill.master.query import Query
from eventmill.master.serve import Binding, Master
from eventmill.merge import Total, encode
from eventmill.packetizer.files import Files
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.packetizer import Packetizer
from eventmill.protocol import messages as m
from eventmill.protocol.connection import load_connection, make_keys
from fleet import World
from processes import RawPeer, hello, raw_peer

M = TypeVar("M", bound=m.Message)


class Fault:
    """A method that does its work and then fails, or fails before, the `nth` time that it is called."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, nth: int, after: bool) -> None:
        self.calls, self.raised = 0, 0
        method = getattr(owner, name)

        def broken(*given: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls != nth:
                return method(*given, **named)
            if after:
                method(*given, **named)
            self.raised += 1
            raise ZeroDivisionError("a fault of ours")

        patch.setattr(owner, name, broken)


METHODS = [
    (Ledger, "lease"), (Ledger, "lease_opening"), (Ledger, "opened"), (Ledger, "finished"), (Ledger, "commit"),
    (Ledger, "truncate"), (Packetizer, "next"), (Packetizer, "finished"), (Packetizer, "help"), (Packetizer, "opened"),
    (Query, "lease"), (Query, "account"), (Credit, "take"), (Credit, "free"), (Dispatcher, "close_if_gone"),
    (Lifecycle, "merge"), (Lifecycle, "end_if_complete"), (Lifecycle, "expire"), (Lifecycle, "checkpoint"),
]  # fmt: skip


@pytest.mark.interpreted("faults are put into methods of cores")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "name"), METHODS, ids=[f"{owner.__name__}.{name}" for owner, name in METHODS])
def test_an_error_at_work_for_a_query_fails_this_one_and_no_other(
    owner: type, name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is half changed, the other query counts every entry once, and all slots work for it."""
    raised = 0
    for nth in (1, 4):
        made = World([300, 0, 2000, 40, *[10] * 8], seed=nth)
        made.hello(b"session", "session")
        for index in range(2):
            made.hello(f"worker{index}".encode(), "worker", slots=2)
        queries = [made.submit(), made.submit()]
        made.errors = 1
        with monkeypatch.context() as patch:
            fault = Fault(patch, owner, name, nth, after)
            made.run()
        raised += fault.raised
        assert made.core.errors == fault.raised
        states = Counter(made.ended[query].state for query in queries)
        assert states == ({"failed": 1, "done": 1} if fault.raised else {"done": 2})
        for query in queries:
            ended = made.ended[query]
            if ended.state == "failed":
                assert ended.failure is not None and ended.failure.error == "QueryFailed"
                assert "ZeroDivisionError: a fault of ours" in ended.failure.message
                assert ended.result_frames == ended.account.processed == 0
                assert {(lost.path, lost.stop) for lost in made.lost[query]} == {(path, None) for path in made.lengths}
            else:
                assert set(made.merged[query].values()) == {1} and made.merged[query].total() == 2420
        workers = made.core.workers.values()
        assert not any(worker.leases or slot.leases for worker in workers for slot in worker.slots)
        assert len(made.core._dispatcher.credit.by_owner[""].idle) == 4
    assert raised, "the fault was never met"


@pytest.mark.interpreted("faults are put into methods of cores")
@pytest.mark.parametrize(("message", "query"), [(m.Ask(7, "queries"), "info"), (m.Attach(7, "q2"), "end")])
def test_a_request_that_only_reads_is_refused(message: m.Message, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is half changed: who asked is told, and nobody else is concerned."""
    made = World([30])
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=1)
    number = made.submit()
    made.run()
    assert number == "q3" and made.ended[number].state == "done"
    message = m.Attach(7, number) if isinstance(message, m.Attach) else message
    made.errors = 1
    Fault(monkeypatch, Query, query, 1, after=False)
    made.tell(b"session", "session", message)
    answer = made.inbox[b"session"][-1]
    assert (
        isinstance(answer, m.Refused) and answer.request == 7 and "ZeroDivisionError: a fault of ours" in answer.reason
    )
    made.tell(b"session", "session", message)
    assert isinstance(made.inbox[b"session"][-1], m.Queries | m.Ended)


@pytest.mark.interpreted("faults are put into methods of cores")
def test_a_submission_that_cannot_be_taken_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = World([30])
    made.hello(b"session", "session")
    made.errors = 1
    Fault(monkeypatch, Files, "_drop_unneeded", 1, after=True)
    with pytest.raises(IndexError):  # not accepted
        made.submit()
    assert isinstance(made.inbox[b"session"][-1], m.Refused) and not made.core.queries
    made.hello(b"worker", "worker", slots=1)
    query = made.submit()
    made.run()
    assert made.ended[query].state == "done"


@pytest.mark.interpreted("faults are put into methods of cores")
@pytest.mark.parametrize(("owner", "name"), [(Credit, "withdraw"), (Packetizer, "forget"), (Dispatcher, "give_back")])
def test_an_error_that_concerns_no_single_query_leaves_the_core(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop begins anew then (below)."""
    made = World([3000])
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=2)
    made.submit()
    Fault(monkeypatch, owner, name, 1, after=True)
    with pytest.raises(ZeroDivisionError):
        made.core.disconnected(b"worker", made.now)


# --- the thread that merges ---------------------------------------------------------------------------------------------


def frames(value: int, entries: int) -> list[bytes]:
    return [bytes(frame) for frame in encode({"n": value}, entries).to_frames()]


def asked(made: merger.Merger, task: effects.MergerTask) -> merger.Answer:
    made.ask(task)
    assert made.wakeup.poll(10_000)
    made.wakeup.recv()
    return made.answers.popleft()


def test_a_total_that_was_left_half_added_is_not_used_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither taken nor written, whatever was asked for before the query could fail; the next query can be merged."""
    journal = Journal(tmp_path / "journal.sqlite")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = merger.Merger(context, journal)
    try:
        submit = m.Submit(1, "test", "kernel", "digest")
        assert asked(made, effects.SaveSubmission("q1", submit, [b"", b"\x90"])) is not None
        made.ask(effects.Merge("q1", frames(1, 10), [(0, 0, 10)]))
        Fault(monkeypatch, Total, "add_frames", 2, after=True)
        answer = asked(made, effects.Merge("q1", frames(2, 20), [(0, 10, 30)]))
        assert isinstance(answer, merger.Unmergeable) and "ZeroDivisionError" in answer.failure.message
        made.ask(effects.Merge("q1", frames(3, 5), [(0, 30, 35)]))
        made.ask(effects.Take("q1", final=True))
        made.ask(effects.Checkpoint("q1", m.Account(), []))
        made.ask(effects.Drop("q1"))
        assert asked(made, effects.SaveSubmission("q2", submit, [b"", b"\x90"])) is not None
        made.ask(effects.Merge("q2", frames(4, 7), [(0, 0, 7)]))
        taken = asked(made, effects.Take("q2", final=True))
        assert isinstance(taken, merger.Taken) and taken.query == "q2" and not made.answers
        assert not journal.load()[0].total
    finally:
        made.close()
        context.term()


def test_an_end_that_cannot_be_read_is_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its session would wait for ever; and results are tidied up again although it went wrong once."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = merger.Merger(context, Journal(tmp_path / "journal.sqlite"))
    try:
        Fault(monkeypatch, Journal, "end", 1, after=False)
        read = asked(made, effects.Retrieve("q1", b"peer"))
        assert isinstance(read, merger.Retrieved) and read.peer == b"peer" and "ZeroDivisionError" in read.problem
        Fault(monkeypatch, Journal, "trim", 1, after=False)
        assert asked(made, effects.Tidy()) == merger.Tidied([], written=False)
    finally:
        made.close()
        context.term()


# --- a master that begins anew --------------------------------------------------------------------------------------------


@pytest.mark.interpreted("faults are put into methods of cores")
def test_a_master_whose_state_is_unknown_begins_anew_from_its_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error hits it as it deals with a disconnection, which concerns everybody. Who is there is told `Unknown`, comes
    again, and finds the query; what was only in the broken core, such as who had joined, is gone."""
    keys = make_keys(tmp_path / "keys", "tcp://127.0.0.1:1")
    made = Master(keys, Binding("127.0.0.1", host="127.0.0.1"), journal=Journal(tmp_path / "journal.sqlite"))
    first, found = made.core, []

    def session() -> None:
        with raw_peer(load_connection(keys.client)) as peer, raw_peer(load_connection(keys.worker)) as worker:
            peer.say(hello(role="session", slots=0))
            heard(peer, m.Welcome)
            peer.say(m.Submit(1, "test", "kernel", "digest"), [b"", msgspec.msgpack.encode([m.File("file")])])
            query = heard(peer, m.Accepted).query
            worker.say(hello())
            heard(worker, m.Lease)
            worker.say(m.Bye())
            heard(peer, m.Unknown)
            peer.say(hello(role="session", slots=0))
            heard(peer, m.Welcome)
            peer.say(m.Attach(3, query))
            found.append(heard(peer, m.Accepted).query == query)

    def ended() -> None:
        try:
            session()
        finally:
            made._running = False

    Fault(monkeypatch, Packetizer, "forget", 1, after=True)
    thread = threading.Thread(target=ended, daemon=True)
    thread.start()
    made.run()
    thread.join(10.0)
    assert found == [True] and made.core is not first and not first.errors


def heard(peer: RawPeer, kind: type[M]) -> M:
    """The next message of a kind."""
    while not isinstance(message := peer.hear(), kind):
        pass
    return message


def test_a_master_that_breaks_again_and_again_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the error, and without asking the core for anything more."""
    made = Master(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1"), Binding("127.0.0.1"))
    monkeypatch.setattr(MasterCore, "expire", lambda self, now, heard_all: 1 // 0)
    monkeypatch.setattr(MasterCore, "suspend", lambda self: pytest.fail("nobody knows what it has"))
    with pytest.raises(ZeroDivisionError):
        made.run()
