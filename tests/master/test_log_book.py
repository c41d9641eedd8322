"""What was said, as the master keeps it: bounded, in order, counted to the line; errors once of each kind."""

from __future__ import annotations

from collections import Counter

import pytest
from eventmill.master import log_book
from eventmill.master.log_book import LogBook
from eventmill.protocol import codec
from eventmill.protocol import messages as m
from fleet import World
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

said = st.tuples(st.sampled_from(["q1", "q2", ""]), st.integers(0, 12), st.integers(1, 5), st.sampled_from("abc"))


@examples(100)
@given(st.lists(said, max_size=80), st.integers(1, 10))
def test_what_is_kept_and_what_is_not_add_up_to_what_was_said(
    lines: list[tuple[str, int, int, str]], most: int
) -> None:
    """Nothing is lost without being counted, no query has more than it may, and the first of two stays the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_book, "MOST_LINES", most)
        patch.setattr(log_book, "MOST_OF_ALL", 8 * log_book.OF_A_LINE)
        book, spoken, first = LogBook("tag-"), Counter[str](), dict[tuple[str, str], int]()
        for time, (query, text, count, worker) in enumerate(lines):
            book.add(m.OutputLine("stdout", f"{text}", query, count), worker, float(time))
            spoken[query] += count
            first.setdefault((query, f"{text}"), time)
        for query in ("q1", "q2", ""):
            kept, cursor, more = book.since(query, "", 100.0)
            mine = [it for it in kept if it.line.query == query] if not query else kept
            assert not more and book.since(query, cursor, 100.0)[0] == []
            assert len(mine) <= most
            if query:
                assert sum(it.line.count for it in kept) + book.unkept(query).lines == spoken[query]
        kept = book.since("", "", 100.0)[0]
        assert sum(it.line.count for it in kept) + book.unkept("").lines == spoken.total()
        assert sum(log_book.OF_A_LINE + len(it.line.text) for it in kept) <= 8 * log_book.OF_A_LINE
        for it in kept:
            assert sum(it.workers.values()) == it.line.count


@examples(50)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 7))
def test_who_follows_with_a_cursor_gets_all_that_is_new_and_only_that(texts: list[int], in_one: int) -> None:
    """Also in several answers, and when lines are said again meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_book, "IN_ONE_ANSWER", in_one)
        book, cursor, seen = LogBook("tag-"), "", dict[int, m.LogEntry]()
        for time, text in enumerate(texts):
            book.add(m.OutputLine("stdout", str(text), "q1"), "worker", float(time))
            entries, cursor, more = book.since("q1", cursor, float(time))
            assert len(entries) <= in_one and not more and [it.line.text for it in entries] == [str(text)]
            seen.update((it.number, it) for it in entries)
        assert {it.line.text: it.line.count for it in seen.values()} == Counter(map(str, texts))
        again, cursor, more = [], "", True
        while more:
            entries, cursor, more = book.since("q1", cursor, 100.0)
            again += entries
        assert sorted(it.number for it in again) == sorted(seen)


def test_a_cursor_of_an_earlier_master_gets_everything() -> None:
    """Lines of one that was started again have smaller numbers."""
    book = LogBook("new-")
    book.add(m.OutputLine("stdout", "hello"), "worker", 0.0)
    assert [it.line.text for it in book.since("", "old-999", 0.0)[0]] == ["hello"]
    assert book.since("", "new-" + "9" * 50, 0.0)[0]


def test_a_line_that_many_workers_say_is_one_line() -> None:
    """A thousand workers warn of the same: it takes no thousand lines, and no list of a thousand names."""
    book = LogBook()
    for worker in range(1000):
        book.add(m.OutputLine("warning", "invalid value", "q1", 2, level="RuntimeWarning"), f"w{worker}", 1.0)
    ((entry, *others), _, _) = book.since("q1", "", 1.0)
    assert not others and entry.line.count == 2000 and len(entry.workers) == log_book.MOST_WORKERS
    codec.encode(m.Logs(1, [entry], "", False, book.unkept("q1")))


def test_the_bytes_of_a_query_are_bounded() -> None:
    """Long lines make room as many lines do."""
    book = LogBook()
    for number in range(200):
        book.add(m.OutputLine("stdout", f"{number}" + "x" * 7000, "q1"), "worker", 1.0)
    kept = book.since("q1", "", 1.0)[0]
    assert sum(len(it.line.text) for it in kept) <= log_book.MOST_BYTES and kept[-1].line.text.startswith("199")
    assert len(kept) + book.unkept("q1").lines == 200


def running() -> tuple[World, str, m.Lease]:
    made = World([1000])
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=1)
    query = made.submit(on_error="skip")
    return made, query, made.workers[b"worker"].queues[0][0]


def logs(made: World, query: str = "", cursor: str = "") -> m.Logs:
    made.tell(b"session", "session", m.AskLogs(9, query, cursor))
    answer = made.inbox[b"session"][-1]
    assert isinstance(answer, m.Logs), answer
    return answer


def test_of_errors_of_one_kind_the_first_is_there_in_full_and_the_others_are_counted() -> None:
    """The same line of code raises with other numbers each time."""
    made, query, lease = running()
    trace = '  File "analysis.py", line 3, in analyse\n    raise ValueError(n)\n'
    for number in range(3):
        failure = m.Failure("analysis", "ValueError", f"not {number}", traceback=trace, path="f", start=5, stop=6)
        made.tell(b"worker", "worker", m.Skipped(query, failure))
    other = m.Failure("analysis", "ValueError", "elsewhere", traceback=trace.replace("3", "4"))
    made.tell(b"worker", "worker", m.Failed(query, lease.lease, other))
    entries = [it.line for it in logs(made, query).entries]
    assert [(it.text, it.count, it.start) for it in entries] == [
        (f"{trace.rstrip()}\nValueError: not 0", 3, 5),
        (f"{trace.replace('3', '4').rstrip()}\nValueError: elsewhere", 1, None),
    ]


def test_a_slot_that_goes_down_is_told_of_with_its_data() -> None:
    """It says nothing itself any more."""
    made, query, lease = running()
    key = m.LeaseKey(query, lease.lease)
    made.tell(b"worker", "worker", m.SlotDown(0, [key], "killed by signal 11 (SIGSEGV)", key, start=0, stop=7))
    (entry,) = logs(made, query).entries
    assert entry.line.text == "slot 0 went down: killed by signal 11 (SIGSEGV)"
    assert (entry.line.slot, entry.line.path, entry.line.start, entry.line.stop) == (0, "file0", 0, 7)


def test_what_workers_say_is_counted_for_its_query_and_goes_with_it() -> None:
    """Of a query that the master does not have (any more), it belongs to none."""
    made, query, _ = running()
    lines = [m.OutputLine("stdout", "a", query, 3), m.OutputLine("stderr", "b", "q99"), m.OutputLine("worker", "c")]
    made.tell(b"worker", "worker", m.Output(lines, [m.Unkept(query, 5, 50), m.Unkept("q99", 7, 70)]))
    assert [it.line.text for it in logs(made, query).entries] == ["a"]
    everything = logs(made)
    assert [(it.line.text, it.line.query, [*it.workers]) for it in everything.entries] == [
        ("a", query, ["worker-2"]), ("b", "", ["worker-2"]), ("c", "", ["worker-2"]),
    ]  # fmt: skip
    assert everything.unkept == m.Unkept("", 12, 120)
    made.run()
    assert made.ended[query].lines == 8
    made.tell(b"session", "session", m.Remove(query))
    made.tell(b"session", "session", m.AskLogs(10, query))
    assert isinstance(made.inbox[b"session"][-1], m.Refused)


def test_a_session_may_say_nothing_in_the_name_of_a_worker() -> None:
    """Only workers do, and the master puts their own names to it."""
    made, query, _ = running()
    made.tell(b"session", "session", m.Output([m.OutputLine("stdout", "forged", query)]))
    assert isinstance(made.inbox[b"session"][-1], m.Fault)
    assert not logs(made).entries
