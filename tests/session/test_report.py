"""What a query cost: how it is summed, shown, and carried to those who asked."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import eventmill as em
import msgspec
import numpy as np
import pytest
import uproot
from eventmill.display.report.facts import LOCAL, UNNAMED
from eventmill.display.report.report import Report
from eventmill.display.report.words import what
from eventmill.master.shares import Shares
from eventmill.master.timeline import STEPS, Timeline
from eventmill.protocol import messages as m
from eventmill.protocol.usage import Usage, WorkerInfo
from eventmill.protocol.values import LONGEST, MOST
from fleet import World
from hypothesis import given
from hypothesis import strategies as st
from processes import Standing, eventually
from reports import check_report

from benchmarks.range_server import range_server, send_part

SECONDS = 60
COUNTS, TIMES = st.integers(0, 10**9), st.floats(0, 1e6)
USAGES = st.builds(
    Usage, COUNTS, COUNTS, TIMES, TIMES, TIMES, COUNTS, COUNTS, TIMES, COUNTS, TIMES, TIMES, TIMES, TIMES
)


@given(st.lists(USAGES, max_size=5), st.randoms(use_true_random=False))
def test_a_sum_does_not_depend_on_its_order(usages: list[Usage], random: object) -> None:
    total, back = sum(usages, start=Usage()), sum(reversed(usages), start=Usage())
    for field in Usage.__struct_fields__:
        assert getattr(total, field) == pytest.approx(getattr(back, field))
    assert total.entries == sum(usage.entries for usage in usages)
    trips = sum(usage.latency * usage.requests for usage in usages)
    assert total.latency * total.requests == pytest.approx(trips)


def test_a_sum_of_whatever_a_worker_says_can_travel() -> None:
    most = Usage(MOST, MOST, LONGEST, LONGEST, LONGEST, MOST, MOST, LONGEST, MOST, LONGEST, LONGEST, LONGEST, LONGEST)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(most + most), type=Usage) == most


@pytest.mark.parametrize(
    "field", ["elapsed", "waited", "requests", "latency", "cpu", "bytes_read", "made", "opening", "late", "compiling"]
)
def test_no_field_of_a_report_is_taken_unchecked(field: str) -> None:
    finished = msgspec.structs.asdict(m.Finished("q", 1, 2, 1.0, 1.0, 1)) | {field: -1}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"type": "Finished", **finished}, type=m.Finished)


def report() -> Report:
    near, far = Usage(1, 100, 10.0, 9.0, 0.5, 1000, 10, 0.001), Usage(2, 200, 10.0, 4.0, 6.0, 2000, 20, 0.1)
    return Report(
        [
            WorkerInfo("a", "n1.cern.ch", 1, 2, 0, 3, 300, 20.0, "cern.ch", {1: far, 0: near}, {"eos": near, "x": far}),
            WorkerInfo("b", "n2", 2, 1, 0, 1, 100, 10.0, "", {0: near}, {"": near}),
        ]
    )


def test_sums_are_those_of_slots_sites_and_servers() -> None:
    made = report()
    assert [usage.entries for usage in made.slots.values()] == [100, 200, 100]
    assert list(made.slots) == ["a/0", "a/1", "b/0"]
    assert {name: usage.waited for name, usage in made.sites.items()} == {"cern.ch": 6.5, UNNAMED: 0.5}
    assert {name: usage.bytes_read for name, usage in made.servers.items()} == {"eos": 1000, "x": 2000, LOCAL: 1000}
    assert made.total.cpu == 22.0 and made.total.efficiency == pytest.approx(22 / 30)


def test_a_report_is_shown_and_can_be_computed_with() -> None:
    made = report()
    text = repr(made)
    assert "73%" in text and "100.0 ms" in text and "cern.ch" in text and LOCAL in text
    assert all(cell in made._repr_html_() for cell in ("<table", "100.0 ms", "cern.ch"))
    rows = made.rows()
    assert [row["of"] for row in rows] == ["query", *["slot"] * 3, *["site"] * 2, *["server"] * 3]
    assert rows[-1]["name"] == LOCAL and rows[-1]["rate"] == 100.0
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[WorkerInfo]) == list(made)
    assert "0.0 s" in repr(Report())


def test_the_master_sums_what_slots_say_by_slot_and_by_the_replica_that_was_read() -> None:
    made = World([])
    made.hello(b"session", "session")
    made.hello(b"worker0", "worker", 1)
    near, far = "root://a.x//f", "root://b.y//f"
    made.lengths = {near: 10, far: 10}
    query = made.submit_files([m.File(near, replicas=(far,))])
    lease = made.workers[b"worker0"].queues[0].pop(0)
    made.tell(b"worker0", "worker", m.Opened(query, lease.lease, 10, 10, []))
    made.now = 3.0
    made.tell(
        b"worker0", "worker",
        m.Finished(query, lease.lease, 10, 1.0, 1.5, 1000, 2.5, 0.5, 4, 0.1, opening=0.75, late=0.25, compiling=0.5),
    )  # fmt: skip
    (info,) = made.core.queries[query].shares.report()
    usage = Usage(1, 10, 2.5, 1.5, 0.5, 1000, 4, 0.1, 0, 0.0, 0.75, 0.25, 0.5)
    server = lease.file.path.partition("//")[2].partition("/")[0]
    assert info.by_slot == {0: usage} and info.by_server == {server: usage}
    assert made.core.workers[b"worker0"].info().by_slot == {0: usage}
    assert info.spans == {0: (0.5, 3.0)} and (info.joined, info.left, info.processed) == (0.0, None, 0)


def test_a_report_says_who_was_there_when_and_whose_entries_are_in_the_result() -> None:
    """One worker goes with what it had not committed, another one joins late and does that once more."""
    made = World([100])
    made.hello(b"session", "session")
    made.hello(b"early", "worker", 1)
    query = made.submit()
    opening = made.workers[b"early"].queues[0].pop(0)
    made.tell(b"early", "worker", m.Opened(query, opening.lease, 100, 100, []))
    made.now = 2.0
    made.tell(b"early", "worker", m.Finished(query, opening.lease, 100, 1.0, 1.0, 0, 2.0))
    made.now = 4.0
    made.hello(b"late", "worker", 1)
    made.kill(b"early")
    late = made.workers[b"late"]
    while late.queues[0]:
        lease = late.queues[0].pop(0)
        made.now += 0.25
        made.tell(b"late", "worker", m.Finished(query, lease.lease, lease.stop, 0.25, 0.25, 0, 0.25))
        late.waiting.append((lease, lease.start, lease.stop))
        made.commit(late)
    merging, made.now = made.now, made.now + 0.5
    made.take()
    ended = made.ended[query]
    first, second = ended.report
    assert (first.entries, first.processed, first.joined, first.left) == (100, 0, 0.0, 4.0)
    assert (second.entries, second.processed, second.joined, second.left) == (100, 100, 4.0, None)
    assert (ended.account.processed, ended.account.redone, ended.account.workers_lost) == (100, 100, 1)
    assert second.spans == {0: (4.0, merging)}
    assert ended.course.merging == 0.5 and sum(ended.course.busy) == merging - 2.0
    assert sum(ended.course.entries) == 200.0


def test_a_master_that_was_started_again_knows_the_course_since_then() -> None:
    """What its timeline lacks is not shown as a time in which nobody worked."""
    before = Usage(1, 10, 4.0)
    shares = Shares.of(
        [WorkerInfo("a", "n1", 1, 1, 0, 1, 10, 4.0, by_slot={0: before}, joined=0.0, spans={0: (1.0, 5.0)})]
    )
    shares.leave(8.0)
    assert shares["a"].left == 5.0, "nobody knows more of it"
    shares.timeline.add(Usage(1, 10, 2.0), ended=12.0)
    course = shares.course(seconds=13.0)
    assert course.since == 8.0 and sum(course.busy) == 2.0
    page = Report(shares.report(), seconds=13.0, course=course)._repr_html_()
    assert page.count("the master was started again at 8.0 s") == 2


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3), st.integers(0, 10**6)), max_size=30))
def test_a_timeline_has_all_of_all_packets_in_few_steps(packets: list[tuple[float, float, int]]) -> None:
    timeline = Timeline()
    for began, elapsed, entries in packets:
        timeline.add(Usage(1, entries, elapsed, waited=elapsed / 2), ended=began + elapsed)
    course = timeline.course()
    assert len(course.busy) == len(course.waited) == len(course.entries) <= STEPS
    assert sum(course.busy) == pytest.approx(sum(elapsed for _, elapsed, _ in packets), abs=1e-6)
    assert sum(course.waited) == pytest.approx(sum(course.busy) / 2, abs=1e-6)
    assert sum(course.entries) == pytest.approx(sum(entries for *_, entries in packets))
    assert all(busy <= course.step * len(packets) * (1 + 1e-9) for busy in course.busy)


def test_what_a_journal_has_of_before_is_still_a_report() -> None:
    """It knows nothing of openings, of who was there when, and of the course of the query."""
    usage = [3, 300, 20.0, 18.0, 1.0, 2000, 10, 0.01, 5, 0.5]
    old = {
        "worker": "w", "host": "n1", "pid": 1, "slots": 2, "busy": 0, "packets": 3, "entries": 300, "seconds": 9.0,
        "by_slot": {0: usage}, "by_server": {"": usage},
    }  # fmt: skip
    ended = {"type": "Ended", "query": "q", "state": "done", "account": {}, "seconds": 30.0, "report": [old]}
    message = msgspec.msgpack.decode(msgspec.msgpack.encode(ended), type=m.Ended)
    (info,) = message.report
    assert info.by_slot == {0: Usage(3, 300, 20.0, 18.0, 1.0, 2000, 10, 0.01, 5, 0.5)}
    assert (info.processed, info.joined, info.left, info.spans) == (0, None, None, {}) and message.course.busy == []


def test_a_query_reports_what_it_cost(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("report") / "a.root"
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {"x": "f8", "y": "f8"})
        tree.extend({"x": np.arange(100_000.0), "y": np.arange(100_000.0)})
    with standing.connect() as session:

        def entries_of_slot() -> int:  # as its worker counts them, for all queries
            return sum(worker.by_slot.get(0, Usage()).entries for worker in session.workers())

        before = entries_of_slot()
        query = session.process(em.Dataset(str(path), tree="Events"), lambda events: float(np.asarray(events.x).sum()))
        assert query.result(SECONDS).value == 4999950000.0
        made = query.report()
        (info,) = made
        assert made.total.entries == 100_000 and made.total.packets == info.packets
        assert 800_000 <= made.total.bytes_read < 1_200_000, "one of two columns"
        assert made.total.requests >= 1 and made.total.cpu > 0 and made.total.elapsed > 0
        assert list(made.slots) == [f"{info.worker}/0"] and list(made.servers) == [LOCAL]
        assert entries_of_slot() - before == 100_000
        assert made.total.opening > 0 and made.total.compiling > 0
        check_report(query)


@pytest.mark.long("it sleeps")
def test_an_analysis_that_sleeps_in_each_call_is_called_dear(standing: Standing, numbers: em.Dataset) -> None:
    """What it costs lies in its calls, not in their entries: that is told before anything else."""

    def dear(events: Any) -> int:
        import time

        time.sleep(0.1)
        return len(events)

    with standing.connect() as session:
        eventually(lambda: bool(session.workers()), "its worker is there: it would be what was missing most")
        query = session.process(numbers, dear)
        assert query.result(SECONDS).value == 10_000
        first = query.report().findings[0]
        assert first.kind == "dear_calls" and 0.05 < first.each < 0.2 and first.count >= 10
        assert f"calls of the analysis took about {first.each:.2g} s" in query.report().note
        check_report(query)


@pytest.mark.long("it takes its time")
def test_a_server_that_takes_its_time_is_named(standing: Standing, numbers: em.Dataset) -> None:
    file = Path(str(numbers.files[0].path)).parent / "0.root"
    content = file.read_bytes()

    def answer(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        threading.Event().wait(0.2)
        send_part(request, content, start, stop)

    with range_server(answer) as address, standing.connect() as session:
        files = [f"{address}/{at}.root" for at in range(3)]
        query = session.process(em.Dataset(files, tree="tree"), lambda events: {"n": len(events.number)})
        assert query.result(SECONDS)["n"] == 3_000
        findings = {finding.kind: finding for finding in query.report().findings}
        first = findings["small_files"]  # on a machine that is busy, a worker that came late is worse
        assert first.names == ("127.0.0.1",)
        assert first.seconds > 0.5 and what(first).endswith("most of it waiting for answers of 127.0.0.1.")
        check_report(query)
