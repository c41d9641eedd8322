"""A master remembers a line of each query that is over, and reads how it ended when somebody asks: nobody notices."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventmill.master import journal_tables
from eventmill.master.core import MasterCore
from eventmill.master.finished import Finished
from eventmill.master.journal import Journal
from eventmill.master.journal_database import SCHEMA
from eventmill.master.numbering import number_of
from eventmill.protocol import messages as m
from eventmill.protocol.messages import Account, Ended, Submit
from eventmill.protocol.usage import WorkerInfo
from fleet import JournaledWorld

SESSIONS = (b"owner", b"ann", b"bob")
"""The master's owner, and two users."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@contextlib.contextmanager
def journal_at(path: Path) -> Iterator[Journal]:
    with contextlib.closing(Journal(path, durable=False)) as journal:
        yield journal


def arrive(made: JournaledWorld) -> None:
    made.hello(b"owner", "session")
    for user in ("ann", "bob"):
        made.keys[user.encode()] = user.ljust(40, ".")
        made.tell(b"owner", "session", m.AddUser(1, user.ljust(40, "."), m.UserInfo(user)))
        made.hello(user.encode(), "session")


def told(made: JournaledWorld, numbers: list[str]) -> dict[str, Any]:
    """All that sessions can be told of queries that are over: lists, displays of the whole master, and how each ended."""
    answers: dict[str, Any] = {}
    for session in SESSIONS:
        inbox = made.inbox[session]
        made.tell(session, "session", m.Ask(7, "queries"))
        lines = inbox[-1].queries  # type: ignore[attr-defined]
        made.tell(session, "session", m.AskCluster(8, ""))
        shown = inbox[-1]
        assert isinstance(shown, m.Cluster)
        by_number = {line.query: msgspec.structs.replace(line, ago=0.0) for line in lines}
        assert list(by_number) == [line.query for line in shown.queries] == list(made.core.queries)
        assert all(line.ago == pytest.approx(made.now, abs=60.0) for line in lines)
        answers[f"list of {session!r}"] = by_number
        for number in numbers:
            made.ended.clear(), made.lost.clear()
            made.tell(session, "session", m.Attach(9, number))
            refused = inbox[-1] if isinstance(inbox[-1], m.Refused) else None
            made.do_all()
            answers[f"{number} for {session!r}"] = made.ended.get(number), made.lost.get(number), refused
    return answers


@pytest.mark.parametrize("seed", range(3))
def test_what_is_told_of_queries_that_are_over_is_the_same_with_the_next_master(tmp_path: Path, seed: int) -> None:
    """Of several users, done, failed, aborted and with losses; before the journal has them, when it has, and restarted."""
    made = JournaledWorld([300, 0, 40, 900], tmp_path, seed)
    arrive(made)
    for index in range(2):
        made.hello(f"worker{index}".encode(), "worker", slots=2)
    owner, ann, _ = SESSIONS
    numbers = [
        made.submit(owner), made.submit(ann, share=["all"]), made.submit(ann, limit=100, inputs=["a.txt 00"]),
        made.submit(owner, on_error="skip", token="again"), made.submit(owner, token="aborted"),
    ]  # fmt: skip
    made.tell(owner, "session", m.Stop(numbers[-1], keep=False))
    for worker in made.workers.values():
        for queue in worker.queues.values():
            for lease in [it for it in queue if it.query == numbers[3]]:
                queue.remove(lease)
                failure = m.Failure("data", "DatasetError", "no such basket")
                made.tell(worker.identity, "worker", m.Failed(lease.query, lease.lease, failure))
    while len(made.ended) < len(numbers):
        assert made.step()
    first = told(made, numbers)
    assert all(isinstance(made.core.queries._all[number], Finished) for number in numbers)
    made.crash()
    arrive(made)
    assert told(made, numbers) == first == told(made, numbers)
    assert {first[f"{number} for {owner!r}"][0].state for number in numbers} == {"done", "aborted"}

    submit = m.Submit(11, "test", "kernel", "digest", token="aborted", owner="owner")
    made.tell(owner, "session", submit, [b"", b"\x91\x81\xa4path\xa1a"])
    assert made.core.queries.keys() == set(numbers), "it is the same query"
    made.tell(owner, "session", m.Remove(numbers[1], 12))
    made.do_all()
    assert m.Done(12) in made.inbox[owner] and numbers[1] not in made.core.queries
    made.crash()
    assert list(made.core.queries) == [it for it in numbers if it != numbers[1]]
    assert all(number_of(made.submit(owner)) > number_of(number) for number in numbers)
    made.close()


def test_a_result_that_cannot_be_sent_after_a_restart_is_told_in_words(tmp_path: Path) -> None:
    """Whoever attached waits for it; the next one hears the same."""
    made = JournaledWorld([300], tmp_path)
    made.hello(b"session", "session")
    made.hello(b"worker0", "worker", slots=2)
    number = made.submit()
    made.run()
    made.do_all()
    made.crash()
    made.hello(b"other", "session")
    made.tell(b"other", "session", m.Attach(2, number))
    made.do_all()
    end = made.ended.pop(number)
    made.carry_out(made.core.unsendable(number, "12,000 frames", made.now, b"other", end))
    made.do_all()
    for _ in range(2):
        found = made.ended.pop(number)
        assert found.state == "failed" and found.failure is not None and "12,000 frames" in found.failure.message
        assert found.report == end.report and found.account == end.account
        made.crash()
        made.hello(b"other", "session")
        made.tell(b"other", "session", m.Attach(3, number))
        made.do_all()
    made.close()


# --- thousands of them -----------------------------------------------------------------------------------------------

MANY = 3000


def write_many(journal: Journal, workers: int = 20) -> None:
    """Queries that are over, two that run among them, and large reports."""
    report = [
        WorkerInfo(f"node{index}-{index + 5}", f"node{index}", index, 2, 0, 1, 1, 1.0) for index in range(workers)
    ]
    with journal._writing():
        for index in range(MANY):
            number = f"q{index}-{index}"
            submit = Submit(1, "dimuon", "kernel", "digest", owner="ann", token=f"token {index}")
            waiting = journal_tables.Waiting(submission=(submit, [b"analysis", b"\x90"], 1.0))
            journal._tables.write(number, waiting)
            if index not in (5, MANY - 5):
                end = Ended(number, "done", Account(total=index), 1.0, report)
                journal._tables.write(number, journal_tables.Waiting(ended=(end, [b"result", b"\x90"], float(index))))


def test_a_master_starts_without_reading_how_queries_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, with those that run; what it remembers of each does not grow with the workers there were."""
    with journal_at(path) as journal:
        write_many(journal)
    with journal_at(path) as journal:
        monkeypatch.setattr(journal_tables, "_ended", None)
        saved = journal.load()
        assert [it.number for it in saved] == [f"q{index}-{index}" for index in range(MANY)]
        finished = [it for it in saved if isinstance(it, Finished)]
        assert len(finished) == MANY - 2 and max(len(it.line) for it in finished) < 400
        assert {it.last for it in finished} == {*range(24, MANY)} - {MANY - 5}
        core = MasterCore("test", "3.11", "x-", journaled=True)
        core.queries.remember(finished[7].since(2.0, 50.0))
        assert core.queries.info(finished[7].number, 50.0).account.total == finished[7].info(1.0).account.total == 8
        assert core.queries.info(finished[7].number, 50.0).ago == 1.0
        monkeypatch.undo()
        assert len(journal.end("q7-7")[0].report) == 20
        assert journal.trim(1e6) == []


def test_results_that_are_too_old_or_too_many_go_in_a_journal_of_many(path: Path) -> None:
    with journal_at(path) as journal:
        write_many(journal, workers=1)
        _, _, size = journal._tables.ends()[0]
        journal.age = 10.0
        assert len(journal.trim(MANY / 2)) == MANY // 2 - 10 - 1
        assert journal.trim(MANY / 2) == []
        journal.age, journal.quota = 1e9, 3 * size
        left = journal.trim(float(MANY))
        assert len(left) + 3 == MANY - 2 - (MANY // 2 - 10 - 1)
        assert [number for number, *_ in journal._tables.ends()] == [
            f"q{MANY - back}-{MANY - back}" for back in (1, 2, 3)
        ]
    with journal_at(path) as journal:
        assert [it.number for it in journal.load() if isinstance(it, Finished)] == [
            f"q{MANY - back}-{MANY - back}" for back in (3, 2, 1)
        ]


def test_lines_that_are_damaged_or_missing_come_from_how_queries_ended(path: Path) -> None:
    """So it is with a journal of the layout before, which has none."""
    with journal_at(path) as journal:
        for index in range(4):
            journal.submitted(f"q{index}", Submit(1, "dimuon", "kernel", "d"), [b"analysis", b"\x90"], 1.0)
            journal.ended(f"q{index}", Ended(f"q{index}", "done", Account(total=9), 1.0), [b"result", b"\x90"], 2.0)
        whole = journal.load()
    for spoil in (
        "UPDATE finished SET line = zeroblob(40) WHERE number = 'q1'",
        "UPDATE finished SET ended_at = 1e9 WHERE number = 'q0'",
        "DELETE FROM finished WHERE number = 'q2'",
        f"DROP TABLE finished; PRAGMA user_version = {SCHEMA - 1}",
    ):
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(spoil)
        for _ in range(2):
            with journal_at(path) as journal:
                assert journal.load() == whole, spoil
                assert [it[:2] for it in journal._tables.ends()] == [(f"q{index}", 2.0) for index in (3, 2, 1, 0)]
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("DELETE FROM queries WHERE number = 'q3'")  # its line stays
    with journal_at(path) as journal:
        assert journal.load() == whole[:3]
