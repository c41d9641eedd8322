"""What `queries()`, `workers()` and the commands that list them show: the right ones, at the right time of day, as JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from io import StringIO

import pytest
from eventmill.cli.listings import _queries
from eventmill.display.cluster_view import ClusterView, ServerView
from eventmill.display.listings import QueryList, WorkerList, moment
from eventmill.display.machine_lines import line, master_json, query_json, server_json, worker_json
from eventmill.display.query_view import QueryView
from eventmill.protocol.errors import QueryFailed
from eventmill.protocol.messages import Account, QueryInfo, State
from eventmill.protocol.usage import Usage, WorkerInfo
from rich.console import Console

AT = datetime(2026, 3, 1, 0, 10, 0, tzinfo=timezone(timedelta(hours=1)))
ACCOUNT = Account(
    total=1000, processed=400, failed=7, estimated=True, files=9, files_opened=5, redone=3, workers_lost=1
)


def info(number: str, name: str = "MET", owner: str = "ann", state: State = "done", ago: float = 60.0) -> QueryInfo:
    return QueryInfo(number, name, owner, state, ACCOUNT, 12.5, ago)


QUERIES = QueryList(
    [
        info("q1", "MET", ago=200_000.0),
        info("q2", "dimuon", "bob", "failed", ago=86_400.0),
        info("q3", "MET tails", "bob", "running", ago=700.0),
        info("q12", "MET", "bob", "merging", ago=30.0),
    ],
    AT,
)  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ({}, "q1 q2 q3 q12"),
        ({"state": "running"}, "q3"),
        ({"state": ["running", "merging"]}, "q3 q12"),
        ({"owner": "bob"}, "q2 q3 q12"),
        ({"grep": "^MET$"}, "q1 q12"),
        ({"owner": "bob", "grep": "MET", "last": 1}, "q12"),
        ({"last": 0}, ""),
        ({"last": 9}, "q1 q2 q3 q12"),
    ],
)
def test_queries_are_chosen_by_state_owner_and_name_and_the_last_ones_of_these(
    chosen: dict[str, object], numbers: str
) -> None:
    found = QUERIES.selected(**chosen)  # type: ignore[arg-type]
    assert [it.query for it in found] == numbers.split() and found.at == AT


def test_what_cannot_be_chosen_is_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match="state='over': the states of a query are running, merging, done, stopped, abor"
    ):
        QUERIES.selected(state=["done", "over"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="is no regular expression"):
        QUERIES.selected(grep="(")
    with pytest.raises(ValueError, match="last=-1"):
        QUERIES.selected(last=-1)


def test_times_of_day_have_a_date_when_it_is_not_todays() -> None:
    """The moment is local time, and today is what the clock says there, ten minutes after midnight."""
    cells = [row.split() for row in repr(QUERIES).splitlines()[1:]]
    assert [row[-5:-3] for row in cells] == [
        ["Feb", "16:36"], ["Feb", "00:10"], ["Feb", "23:58"], ["merging", "00:09:30"],
    ]  # fmt: skip
    assert moment(3e7, AT) == "2025-03-18 18:50"


def test_a_query_is_found_by_its_number_or_by_a_name_that_no_other_has() -> None:
    assert [QUERIES.named(it).query for it in ("q1", "q12", "dimuon", "MET tails")] == ["q1", "q12", "q2", "q3"]
    with pytest.raises(QueryFailed) as several:
        QUERIES.named("MET")
    assert str(several.value) == (
        "2 queries are called MET; take one by its number: q1 (done, ann, 26 Feb 16:36), q12 (merging, bob, 00:09:30)"
    )
    with pytest.raises(QueryFailed, match=r"no query q .*there are: q1 \(MET\), q2 \(dimuon\), q3 \(MET tails\), q12"):
        QUERIES.named("q")


def test_the_beginning_of_a_number_is_no_number() -> None:
    """`eventmill stop q1` must not stop q12 when q1 is gone."""
    with pytest.raises(QueryFailed, match="no query q1 on this master; there are: q12"):
        QueryList([info("q12")]).numbered("q1")
    with pytest.raises(QueryFailed, match="no query q1 on this master, by number or name"):
        QueryList([info("q12")]).named("q1")


def test_names_steer_no_terminal() -> None:
    """They are somebody else's: neither rich's markup nor escape sequences do anything."""
    out = StringIO()
    console = Console(file=out, width=150)
    console.print(_queries(QueryList([info("q1", "[red]x[/nothing] \x1b[2J", "a\u202eb")], AT), console))
    assert "[red]x[/nothing] \\x1b[2J" in out.getvalue() and "a\\u202eb" in out.getvalue()


# --- for programs -----------------------------------------------------------------------------------------------------

USAGE = Usage(3, 400, 2.5, 2.0, 0.25, 10**9, 12, 0.125, 4, 0.1, 0.5, 0.25, 0.75)
WORKER = WorkerInfo(
    "w-1", "node7", 12, 2, 1, 6, 800, 5.0, "T2_DE_DESY", {0: USAGE, 1: USAGE}, {"eos.cern.ch": USAGE + USAGE}
)


def test_the_keys_for_programs_stay_and_their_numbers_are_raw() -> None:
    """Scripts of users read them: a key that changes breaks these. The guide names them all."""
    assert query_json(info("q3", state="running"), AT) == {
        "of": "query", "time": "2026-03-01T00:10:00.000+01:00", "query": "q3", "name": "MET", "owner": "ann",
        "state": "running", "over": False, "began": "2026-03-01T00:09:00.000+01:00", "seconds": 12.5, "kind": "tree",
        "entries_total": 1000, "entries_estimated": True, "entries_processed": 400, "entries_failed": 7,
        "entries_redone": 3, "entries_refused": 0, "files": 9, "files_opened": 5, "workers_lost": 1,
        "entries_per_second": None, "bytes_per_second": None, "seconds_left": None, "slots_busy": 0,
    }  # fmt: skip
    account = info("q3").account
    view = QueryView("MET", account=account, reached=400, rate=100.0, bytes_rate=2e6, slots=3)
    told = query_json(info("q3", state="running"), AT, view)
    rates = {"entries_per_second": 100.0, "bytes_per_second": 2e6, "seconds_left": (account.total - 400) / 100.0}
    assert told.items() >= (rates | {"slots_busy": 3}).items(), "the numbers of all displays"
    costs = {
        "packets": 6, "entries": 800, "elapsed_seconds": 5.0, "cpu_seconds": 4.0, "waited_seconds": 0.5,
        "opening_seconds": 1.0, "compiling_seconds": 1.5, "bytes_read": 2 * 10**9, "requests": 24,
        "latency_seconds": 0.125,
    }  # fmt: skip
    at = {"time": "2026-03-01T00:10:00.000+01:00"}
    assert worker_json(WORKER, AT) == at | costs | {
        "of": "worker", "worker": "w-1", "host": "node7", "site": "T2_DE_DESY", "pid": 12, "slots": 2, "slots_busy": 1,
    }  # fmt: skip
    assert server_json(ServerView("eos.cern.ch", USAGE + USAGE), AT) == at | costs | {
        "of": "server", "server": "eos.cern.ch",
    }  # fmt: skip
    told = master_json("tcp://h:1", ClusterView(now=7.5), WorkerList([WORKER]), QUERIES, False)
    activities = told.pop("slots_by_activity")
    assert list(activities)[:2] == ["idle", "loading"] and set(activities.values()) == {0}
    assert told == at | {
        "of": "master", "address": "tcp://h:1", "seconds": 7.5, "workers": 1, "workers_starting": False, "slots": 2,
        "slots_busy": 1, "queries": 4, "queries_running": 2, "entries_per_second": 0.0, "bytes_per_second": 0.0,
    }  # fmt: skip
    assert master_json("", ClusterView(), WorkerList(), QueryList(), True)["workers_starting"]


def test_a_line_of_json_is_one_line_whatever_is_in_it() -> None:
    text = line({"name": "a\nb\u2028\x00", "seconds": float("inf"), "rate": float("nan"), "slots": 3})
    assert len(text.splitlines()) == 1
    refuse = pytest.fail
    told = json.loads(text, parse_constant=lambda it: refuse(it))
    assert told == {"name": "a\nb\u2028\x00", "seconds": None, "rate": None, "slots": 3}
