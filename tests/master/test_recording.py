"""The journal is written beside merging: whatever it waits for, what is in it belongs together, and nobody else waits."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from eventmill.master import effects, merger
from eventmill.master.core import MasterCore
from eventmill.master.journal import Journal
from eventmill.master.recorder import Written
from eventmill.master.saved import Saved
from eventmill.master.serve import SWITCH_SECONDS, Binding, Master
from eventmill.merge import Partial, decode, encode
from eventmill.protocol import messages as m
from eventmill.protocol.connection import make_keys

SUBMIT = m.Submit(1, "test", "kernel", "digest")


@contextlib.contextmanager
def merging(path: Path) -> Iterator[merger.Merger]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = merger.Merger(context, Journal(path))
    try:
        yield made
    finally:
        made.close()
        context.term()


def answer(made: merger.Merger) -> merger.Answer:
    assert made.wakeup.poll(30_000)
    made.wakeup.recv()
    return made.answers.popleft()


def merge(query: str, start: int, stop: int) -> effects.Merge:
    return effects.Merge(
        query, encode({"n": stop - start, "x": float(start)}, stop - start).to_frames(), [(0, start, stop)]
    )


def submitted(made: merger.Merger, *queries: str) -> None:
    for query in queries:
        made.ask(effects.SaveSubmission(query, SUBMIT, [b"", b"\x90"]))
        assert isinstance(answer(made), Written)


def found(path: Path) -> dict[str, tuple[Any, dict[int, list[tuple[int, int]]]]]:
    """The totals in a journal, and the ranges that they are of."""
    with contextlib.closing(Journal(path)) as journal:
        saved = [it for it in journal.load() if isinstance(it, Saved)]
    return {
        it.number: (
            decode(Partial.from_frames(it.total)) if it.total else None,
            {file: list(ranges) for file, ranges in it.done.items()},
        )
        for it in saved
    }


def test_who_merges_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is written is the total of the moment in which it was to be written, with the ranges of that moment."""
    path, begun, goes_on = tmp_path / "journal.sqlite", threading.Event(), threading.Event()
    write = Journal.checkpoint

    def slow(self: Journal, *given: Any) -> None:
        begun.set()
        assert goes_on.wait(30)
        write(self, *given)

    with merging(path) as made:
        submitted(made, "q1", "q2")
        made.ask(merge("q1", 0, 10))
        made.ask(merge("q1", 10, 30))
        monkeypatch.setattr(Journal, "checkpoint", slow)
        made.ask(effects.Checkpoint("q1", m.Account(processed=30), []))
        assert begun.wait(30)
        made.ask(merge("q1", 30, 70))
        made.ask(merge("q2", 0, 5))
        for query, entries in (("q1", 70), ("q2", 5)):
            made.ask(effects.Take(query, final=False))
            taken = answer(made)
            assert isinstance(taken, merger.Taken) and Partial.from_frames(taken.frames).entries == entries
        goes_on.set()
        assert answer(made) == Written("q1", pytest.approx(0, abs=60))
    assert found(path) == {"q1": ({"n": 30, "x": 10.0}, {0: [(0, 30)]}), "q2": (None, {})}


def test_what_is_asked_for_before_the_end_is_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with merging(path) as made:
        submitted(made, "q1")
        for start in range(0, 50, 10):
            made.ask(merge("q1", start, start + 10))
            made.ask(effects.Checkpoint("q1", m.Account(), []))
    assert found(path) == {"q1": ({"n": 50, "x": 100.0}, {0: [(0, 50)]})}


def test_of_a_query_that_could_not_be_written_nothing_more_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours: nobody knows which of its ranges the journal was told of. Its end is written, and so are others."""
    path = tmp_path / "journal.sqlite"
    told = Journal.merged

    def fails(self: Journal, number: str, parts: Any) -> None:
        if number == "q1" and list(parts) == [(0, 10, 20)]:
            raise ZeroDivisionError
        told(self, number, parts)

    monkeypatch.setattr(Journal, "merged", fails)
    with merging(path) as made:
        submitted(made, "q1", "q2")
        for start in (0, 10, 20):
            made.ask(merge("q1", start, start + 10))
        made.ask(effects.Checkpoint("q1", m.Account(), []))
        failed = answer(made)
        assert isinstance(failed, merger.Unmergeable) and "ZeroDivisionError" in failed.failure.message
        made.ask(merge("q1", 30, 40))
        made.ask(effects.Checkpoint("q1", m.Account(), []))
        made.ask(merge("q2", 0, 7))
        made.ask(effects.Checkpoint("q2", m.Account(), []))
        assert answer(made) == Written("q2", pytest.approx(0, abs=60))
        assert not made.answers
        made.ask(effects.Drop("q1"))
        made.ask(effects.SaveEnd("q1", m.Ended("q1", "failed", m.Account(), 1.0, failure=failed.failure), [b"\x90"]))
    (ended,) = made.answers
    assert isinstance(ended, Written) and ended.ended
    assert found(path) == {"q2": ({"n": 7, "x": 0.0}, {0: [(0, 7)]})}


def test_nobody_is_woken_for_an_end_that_is_written_since_its_session_knows_of_it(tmp_path: Path) -> None:
    """The loop finds that it is when it is woken for something else."""
    with merging(tmp_path / "journal.sqlite") as made:
        submitted(made, "q1")
        made.ask(effects.SaveEnd("q1", m.Ended("q1", "done", m.Account(), 1.0), [b"\x90"]))
        made.ask(effects.SaveSubmission("q2", SUBMIT, [b"", b"\x90"]))
        assert made.wakeup.poll(30_000)
        made.wakeup.recv()
        written = [(it.query, it.ended) for it in made.answers if isinstance(it, Written)]
        assert written == [("q1", True), ("q2", False)]
        assert not made.wakeup.poll(0)


def test_the_loop_takes_in_answers_for_which_it_was_not_woken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Master(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1"), Binding("127.0.0.1"))
    heard = list[str]()

    def written(core: MasterCore, number: str, *_: object) -> list[effects.Effect]:
        heard.append(number)
        made._running = False
        return []

    monkeypatch.setattr(MasterCore, "written", written)
    made.merger.answers.append(Written("q1", 0.0, ended=True))
    made.run()
    assert heard == ["q1"]


def test_threads_that_merge_keep_the_loop_from_its_work_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of a socket lets them go on; after the master, Python is as it was."""
    made = Master(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1"), Binding("127.0.0.1"))
    before, meanwhile = sys.getswitchinterval(), list[float]()

    def expire(*_: object) -> list[effects.Effect]:
        meanwhile.append(sys.getswitchinterval())
        made._running = False
        return []

    monkeypatch.setattr(MasterCore, "expire", expire)
    made.run()
    assert meanwhile == [pytest.approx(SWITCH_SECONDS)] and sys.getswitchinterval() == before


def test_a_wake_that_comes_after_its_answer_keeps_nobody_awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is awake takes in an answer before it is woken for it; then it spun until there was another answer."""
    made = Master(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1"), Binding("127.0.0.1"))
    left = list[int]()

    def expire(*_: object) -> list[effects.Effect]:
        left.append(made.merger.wakeup.poll(0))
        made._running = False
        return []

    monkeypatch.setattr(MasterCore, "expire", expire)
    made.merger._wakers[0].send(b"")
    made.run()
    assert left == [0]
