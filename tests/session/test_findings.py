"""What a report says held a query back: found where it is so, and only there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from eventmill.display.report.facts import LOCAL, Facts, Presence, spread, times
from eventmill.display.report.findings import Finding, Kind, findings
from eventmill.display.report.report import Report
from eventmill.display.report.words import help_for, what
from eventmill.protocol.messages import Account
from eventmill.protocol.usage import Course, Usage, WorkerInfo

SECONDS = 100.0


def worker(
    name: str = "w", *, slots: int = 1, joined: float = 0.0, left: float | None = None, host: str = "",
    site: str = "cern.ch", server: str = "", ended: float = SECONDS, **costs: float,
) -> WorkerInfo:  # fmt: skip
    """A worker whose slots had packets in hand from when it joined until `ended`, all alike."""
    elapsed = costs.pop("elapsed", ended - joined)
    usage = Usage(**{"packets": 10, "entries": 10_000, "elapsed": elapsed, "cpu": elapsed, **costs})  # type: ignore[arg-type]
    every = sum((usage for _ in range(slots)), start=Usage())
    return WorkerInfo(
        name, host or name, 1, slots, 0, every.packets, every.entries, every.elapsed, site,
        dict.fromkeys(range(slots), usage), {server: every}, every.entries, joined, left,
        dict.fromkeys(range(slots), (joined, ended)),
    )  # fmt: skip


def found(*workers: WorkerInfo, **facts: object) -> list[Finding]:
    return findings(Facts(workers, **{"seconds": SECONDS, **facts}))  # type: ignore[arg-type]


def only(*workers: WorkerInfo, **facts: object) -> Finding:
    (finding,) = found(*workers, **facts)
    assert len(what(finding)) > 20 and help_for(finding)
    return finding


def test_a_query_that_computed_all_the_time_was_held_back_by_nothing() -> None:
    assert found(worker(slots=4)) == []
    assert "Nothing held it back by as much as 5.0 s." in repr(Report([worker(slots=4)], seconds=SECONDS))


def test_nothing_is_found_where_nothing_is_known() -> None:
    """Of a query that an earlier version has processed, only costs are known; of an empty one, nothing."""
    assert findings(Facts()) == [] and found() == []
    old = WorkerInfo(
        "w", "h", 1, 2, 0, 3, 300, 20.0, "", {0: Usage(3, 300, 20.0, 20.0)}, {"": Usage(3, 300, 20.0, 20.0)}
    )
    assert found(old) == [] and Presence.of(Facts([old], SECONDS)).peak == 0 and spread(Facts([old], SECONDS)) is None
    assert "held it back" in repr(Report([old], seconds=SECONDS)) and "spread" not in repr(
        Report([old], seconds=SECONDS)
    )


def test_a_file_server_that_is_waited_for_is_named_with_the_sites_that_wait() -> None:
    near = worker("a", slots=2, server="eos.cern.ch", waited=1.0)
    far = worker("b", slots=2, site="desy.de", server="eos.cern.ch", waited=60.0, requests=10, latency=0.2)
    finding = only(near, far)
    assert (finding.kind, finding.names, finding.sites) == ("waiting", ("eos.cern.ch",), ("desy.de",))
    assert finding.seconds == pytest.approx(30.5) and finding.part == pytest.approx(0.305)
    assert what(finding) == (
        "Slots at desy.de waited for data from eos.cern.ch, 30% of the time; it took 200 ms to answer a request."
    )
    assert "--proxy-prefix" in help_for(finding)


def test_many_servers_of_which_none_is_worth_a_word_are_told_together() -> None:
    finding = only(*(worker(f"w{at}", server=f"se{at}", waited=10.0 + at) for at in range(10)))
    assert finding.names == ("se9", "se8", "se7", "se6", "se5") and finding.seconds == pytest.approx(14.5)


def test_local_files_that_are_waited_for_are_a_disk() -> None:
    finding = only(worker(waited=20.0))
    assert finding.names == (LOCAL,) and "disk" in help_for(finding)


def test_too_few_workers_until_the_others_came() -> None:
    """One slot of ten works alone for half of the time: with all from the beginning, it would have taken 55 s."""
    finding = only(worker("a"), worker("b", slots=9, joined=50.0))
    assert (finding.kind, finding.count, finding.of, finding.until) == ("few_workers", 1, 10, 50.0)
    assert finding.seconds == pytest.approx(45.0)
    assert what(finding) == "Too few workers until 50.0 s: 1 of 10 slots was there at first."


def test_workers_that_left_are_named() -> None:
    finding = only(worker("a", slots=5), worker("b", slots=5, ended=40.0, left=40.0))
    assert (finding.kind, finding.names, finding.until, finding.seconds) == ("workers_left", ("b",), 40.0, 30.0)


def test_a_worker_that_came_back_under_another_name_is_no_second_one() -> None:
    facts = Facts([worker("a-1", slots=4, ended=40.0, left=40.0), worker("a-2", slots=4, joined=40.0)], SECONDS)
    assert Presence.of(facts).peak == 4 and findings(facts) == []


def test_slow_hosts_are_those_far_below_the_median() -> None:
    """They compute 10, the others 100 entries a second; one that only waits for data is not slow."""
    hosts = [worker(f"n{at}") for at in range(7)]
    slow = worker("n8", entries=1_000)
    waits = worker("n9", entries=6_000, waited=40.0)
    finding = only(*hosts, slow, waits)
    assert (finding.kind, finding.names, finding.count, finding.of) == ("slow_hosts", ("n8",), 1, 9)
    assert finding.seconds == pytest.approx(90.0 / 9) and finding.each == pytest.approx(0.1)
    assert found(hosts[0], slow) == [], "of two hosts, none is the usual one"


def test_merging_at_the_end() -> None:
    course = Course(merging=20.0)
    finding = only(worker(ended=80.0), course=course)
    assert (finding.kind, finding.seconds) == ("merging", 20.0)


def test_small_files_are_those_that_take_longer_to_open_than_to_compute() -> None:
    account = Account(total=10_000, processed=10_000, files=500, files_opened=500)
    small = only(worker(packets=500, opening=80.0), account=account)
    assert (small.kind, small.count, small.of, small.entries) == ("small_files", 500, 500, 20)
    assert (small.seconds, small.each) == (80.0, 0.16)
    large = only(worker(packets=500, opening=20.0), account=account)
    assert (large.kind, large.seconds) == ("opening", 20.0)


def test_what_is_waited_for_while_a_file_is_opened_is_told_once() -> None:
    finding = only(worker(server="x", opening=30.0, late=30.0, waited=30.0))
    assert (finding.kind, finding.seconds) == ("opening", 30.0)


def test_calls_that_cost_the_same_whatever_their_entries() -> None:
    finding = only(worker(calls=10, fixed=60.0))
    assert (finding.kind, finding.seconds, finding.count, finding.each) == ("dear_calls", 60.0, 10, 6.0)
    assert what(finding).startswith("Each of 10 calls of the analysis took about 6 s whatever its entries, 60%")


def test_compiling_in_each_slot() -> None:
    finding = only(worker(slots=4, compiling=25.0))
    assert (finding.kind, finding.seconds, finding.count, finding.each) == ("compiling", 25.0, 4, 25.0)


def test_an_analysis_that_waits_for_something_itself_has_no_use_for_its_core() -> None:
    finding = only(worker(slots=2, cpu=10.0))
    assert (finding.kind, finding.seconds, finding.each) == ("no_cpu", 90.0, 0.1)
    assert found(worker(cpu=85.0)) == [], "a busy machine"
    assert [it.kind for it in found(worker(cpu=5.0, calls=10, fixed=95.0))] == ["dear_calls"], "that is the same time"
    assert [it.kind for it in found(worker(cpu=5.0, waited=95.0))] == ["waiting"]


def test_work_that_was_done_once_more() -> None:
    """A fifth of what slots did was lost, and a worker with it."""
    account = Account(total=8_000, processed=8_000, redone=2_000, workers_lost=1)
    finding = only(worker(), account=account)
    assert (finding.kind, finding.entries, finding.count) == ("redone", 2_000, 1)
    assert finding.seconds == pytest.approx(20.0) and "1 worker that went" in what(finding)


def test_what_a_worker_had_in_hand_when_it_went_is_lost() -> None:
    """Its last packet that anybody heard of ended 30 s before: nobody knows how far the next one was."""
    account = Account(total=1, processed=1, workers_lost=1)
    lost = worker("b", slots=5, ended=60.0, left=90.0)
    last = [it for it in found(worker("a", slots=5), lost, account=account) if it.kind == "redone"]
    assert [it.seconds for it in last] == [15.0] and what(last[0]).startswith(
        "What slots of 1 worker that went had in hand"
    )


def test_slots_without_a_packet_and_slots_that_end_long_before_the_others() -> None:
    idle = only(worker(slots=2, elapsed=60.0))
    assert (idle.kind, idle.seconds) == ("idle", pytest.approx(40.0))
    ends = only(worker("a", host="n1"), worker("b", host="n2", ended=50.0))
    assert (ends.kind, ends.seconds, ends.names, ends.each, ends.until) == ("ends", 25.0, ("n1",), 50.0, 100.0)


def test_findings_are_sorted_by_what_they_cost() -> None:
    kinds = [
        it.kind
        for it in found(worker(ended=60.0, waited=10.0, compiling=20.0, opening=5.0), course=Course(merging=40.0))
    ]
    assert kinds == ["merging", "compiling", "waiting", "opening"]


def test_what_nobody_would_notice_is_not_told() -> None:
    assert found(worker(waited=4.9)) == [], "runs of the same query differ by as much"
    assert found(worker(ended=1.0, waited=0.4), seconds=1.0) == [], "nobody waits for less than half a second"


def test_the_time_of_all_slots_adds_up() -> None:
    """Whoever was there or not: the most slots, times the seconds that the query took."""
    facts = Facts(
        [
            worker("a", slots=2, waited=3.0, opening=2.0, late=1.0, compiling=1.0, calls=3, fixed=0.5, ended=90.0),
            worker("b", slots=3, joined=20.0, left=70.0, ended=65.0, elapsed=30.0),
        ],
        SECONDS,
        Course(merging=5.0),
    )
    assert sum(times(facts).values()) == pytest.approx(5 * SECONDS)
    assert times(facts) == pytest.approx(
        {
            "computing": 2 * 84.5 + 3 * 30.0, "calls": 1.0, "waiting": 4.0, "opening": 4.0, "compiling": 2.0,
            "idle": 3 * 15.0, "ends": 2 * 5.0, "lost": 3 * 5.0, "absent": 3 * 50.0, "merging": 2 * 5.0,
        }
    )  # fmt: skip


# --- the forms of it -----------------------------------------------------------------------------------------------------

EVIL = "<script>alert('$x$ & \"y\"')</script>"


def evil() -> Report:
    costs = {"slots": 2, "waited": 50.0, "requests": 9, "latency": 0.1}
    workers = [
        worker(EVIL + str(at), host=EVIL, site=EVIL + str(at), server=EVIL, **costs)  # type: ignore[arg-type]
        for at in range(2)
    ]
    course = Course(50.0, [200.0, 200.0], [100.0, 100.0], [10_000.0, 10_000.0], 0.0)
    account = Account(total=40_000, processed=40_000, files=1, files_opened=1)
    return Report(workers, seconds=SECONDS, course=course, account=account, name=EVIL)


def test_the_page_is_one_file_with_pictures_in_which_no_name_is_markup(tmp_path: Path) -> None:
    text = evil().html(tmp_path / "report.html").read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.count("<svg ") == 7 and "Where the slots' time went" in text.replace("&#x27;", "'")
    assert "waited for data from" in text and "50.0 s" in text
    assert 'href="http' not in text and "src=" not in text and "url(http" not in text
    assert "currentColor" in text and "#010203" not in text, "pictures have the colours of the page"


def test_pictures_leave_what_others_draw_as_it_is() -> None:
    import matplotlib

    def settings() -> dict[str, object]:
        return {name: value for name, value in matplotlib.rcParams.items() if not name.startswith("_")}

    before = settings()
    evil()._repr_html_()
    assert settings() == before


def test_without_matplotlib_the_page_says_what_adds_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eventmill.display.report.plots", None)
    text = evil()._repr_html_()
    assert "<svg" not in text and "pip install &#x27;eventmill[plot]&#x27;" in text


def test_many_workers_are_drawn_and_told_as_well() -> None:
    workers = [worker(f"w{at}", site=f"site{at % 12}", entries=at, ended=99.0 + at / 1000) for at in range(1, 1001)]
    report = Report(workers, seconds=SECONDS, course=Course(1.0, [1000.0] * 100, [0.0] * 100, [1000.0] * 100))
    shown = report._repr_html_()
    assert "1,000 slots: report.rows() has them" in shown and len(shown) < 400_000
    assert len(repr(report).splitlines()) < 40 and "1,000 slots: report.rows() has them" in repr(report)


def test_reports_are_data_frames_too() -> None:
    frames = evil().frames()
    assert frames["workers"].processed.sum() == 40_000 and frames["costs"].of.tolist()[0] == "query"
    assert frames["findings"].kind.tolist() == ["waiting"] and frames["course"].slots.tolist() == [4.0, 4.0]
    assert frames["times"].seconds.sum() == pytest.approx(400.0)
    assert all(len(frame) == 0 for frame in (Report().frames()[name] for name in ("workers", "findings", "course")))


def test_the_documentation_has_a_line_for_each_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    lines = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(kind for line in lines for kind in re.findall(r"`(\w+)`", line)) == sorted(get_args(Kind))
