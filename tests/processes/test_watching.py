"""Who comes back to a standing master, or looks at it from elsewhere, finds queries and sees the same numbers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import eventmill as em
import processes
import pytest
from eventmill.display.machine_lines import query_json
from processes import SECONDS, Standing, eventually
from sums import SUM, Gate, committed


@pytest.fixture
def session(standing: Standing) -> Iterator[em.Session]:
    with standing.connect() as made:
        yield made


def told(standing: Standing, *arguments: str) -> list[dict[str, Any]]:
    """What a command says to a program."""
    code, said = processes.call(*arguments, "--json", state=standing.state)
    assert code == 0, said
    return [json.loads(line, parse_constant=pytest.fail) for line in said.splitlines()]


def test_two_sessions_watch_one_query_and_both_get_all_of_it(
    standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate
) -> None:
    """One has begun it; the other comes later, finds it in the list by owner, state and name, and attaches by its name."""
    before = time.time()
    query = session.process(numbers, gate.total, name="sum of both")
    with standing.connect() as other:
        (found,) = other.queries(owner="me", state="running", grep="^sum of both$")
        assert found.query == query.id and before - 1 < time.time() - found.ago < time.time() + 1
        watched = other.attach("sum of both")
        assert (watched.id, watched.name) == (query.id, "sum of both")
        grown: dict[str, list[int]] = {"first": [], "second": []}

        def follow(name: str, it: em.Query) -> None:
            for snapshot in it.stream():
                grown[name].append(snapshot.account.processed)

        threads = [threading.Thread(target=follow, args=pair) for pair in (("first", query), ("second", watched))]
        for thread in threads:
            thread.start()
        eventually(lambda: all(seen and 0 < seen[-1] < 10_000 for seen in grown.values()), "both see it grow")
        gate.open()
        for thread in threads:
            thread.join(SECONDS)
        assert [seen[-1] for seen in grown.values()] == [10_000, 10_000]
        assert query.result().value == watched.result(SECONDS).value == SUM
        assert watched.account == query.account and watched.report().total.entries == 10_000


def test_a_name_that_several_queries_have_is_not_guessed_at(standing: Standing, session: em.Session) -> None:
    for _ in range(2):
        session.process(em.items([1]), sum_of, name="twice").result(SECONDS)
    numbers = [info.query for info in session.queries(grep="^twice$")]
    with pytest.raises(em.errors.QueryFailed, match="2 queries are called twice; take one by its number: "):
        session.attach("twice")
    assert session.attach(numbers[0]).result(SECONDS).value == 1


def sum_of(item: int) -> int:
    if item % 10 == 3:
        raise ValueError(f"{item} is not for us")
    return item


def test_every_display_shows_the_numbers_of_the_ledger(standing: Standing, session: em.Session) -> None:
    """After a run with failures: the account, the list, what programs get, what pages and terminals show, and the report."""
    packets = {worker["worker"]: worker["packets"] for worker in told(standing, "workers", standing.name)}
    before = time.time()
    query = session.process(em.items(list(range(40))), sum_of, name="some fail", on_error="skip")
    account = query.result(SECONDS).account
    assert (account.processed, account.failed, account.total) == (36, 4, 40)
    (line,) = told(standing, "queries", standing.name, "--grep", "some fail", "--owner", "me", "--last", "1")
    info = session._info(query.id)
    now = datetime.now().astimezone()
    asked = {"time": line["time"], "began": line["began"], "bytes_per_second": None}  # which the list does not tell
    assert line == query_json(info, now, query.view) | asked
    assert line["entries_per_second"] == query.view.rate == 36 / query.result().seconds
    fields = ("total", "processed", "failed", "redone", "refused")
    assert [line[f"entries_{name}"] for name in fields] == [getattr(account, name) for name in fields]
    assert (line["seconds"], line["state"], line["over"]) == (query.result().seconds, "done", True)
    assert before - 1.0 < datetime.fromisoformat(line["began"]).timestamp() < time.time()
    view, shown = query.view, session.cluster().queries[query.id].view
    assert view.account.processed == shown.account.processed == 36 and view.account.failed == shown.account.failed == 4
    assert (shown.state, shown.seconds, shown.fraction) == (view.state, view.seconds, view.fraction)
    report = query.report()
    assert query.view.bytes_rate == report.total.bytes_read / view.seconds
    for worker in told(standing, "workers", standing.name):
        done = sum(info.packets for info in report if info.worker == worker["worker"])
        assert worker["packets"] == packets.get(worker["worker"], 0) + done
    everything = told(standing, "status", standing.name)
    assert everything[0]["of"] == "master" and line["query"] in [it.get("query") for it in everything]
    workers = [it for it in everything if it["of"] == "worker"]
    assert everything[0]["slots"] == sum(it["slots"] for it in workers) == len(workers) > 0
    assert sum(everything[0]["slots_by_activity"].values()) == everything[0]["slots"]
    assert len([it for it in everything if it["of"] == "query"]) == everything[0]["queries"]


def test_queries_are_listed_with_the_time_at_which_they_began(
    standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate
) -> None:
    before = datetime.now()
    query = session.process(numbers, gate.total, name="to be listed")
    eventually(lambda: committed(query), "it has begun")
    code, said = processes.call("queries", standing.name, "--state", "running", state=standing.state)
    assert code == 0 and "to be listed" in said and "began" in said
    assert any(f"{moment:%H:}" in said for moment in (before, datetime.now()))
    code, said = processes.call("queries", standing.name, "--state", "done", state=standing.state)
    assert code == 0 and "to be listed" not in said
    code, said = processes.call("queries", standing.name, "--state", "over", state=standing.state)
    assert code == 2 and "'over' is not one of 'running'" in said
    query.abort()


def test_what_is_watched_is_told_again_and_again(standing: Standing) -> None:
    """Until the user has seen enough, which is no error."""
    watching = processes.Running("status", standing.name, "--json", "--watch", "0.2", state=standing.state)
    try:
        eventually(lambda: watching.output.count('"of": "master"') >= 3, "three times")
        watching.process.send_signal(2)
        assert watching.wait() == 0
        times = [json.loads(line)["time"] for line in watching.output.splitlines() if '"of": "master"' in line]
        assert times == sorted(set(times))
    finally:
        watching.close()


@pytest.mark.long("starts all of it in a terminal")
def test_top_is_shown_in_a_real_terminal_and_leaves_it_in_order(
    standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate
) -> None:
    """All of it once, in a terminal of 100 columns: the query is shown, stopped by two keys, and `q` ends it."""
    query = session.process(numbers, gate.total, name="to be stopped")
    eventually(lambda: committed(query), "it has begun")
    pid, terminal = pty.fork()
    if not pid:
        state = processes.environment(standing.state)
        size = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
        os.execve(sys.executable, [sys.executable, "-m", "eventmill", "top", standing.name], state | size)
    shown = b""

    def reads(words: bytes) -> bool:
        nonlocal shown
        with contextlib.suppress(OSError):  # it has ended
            while select.select([terminal], [], [], 0.05)[0] and (more := os.read(terminal, 65536)):
                shown += more
        return words in shown

    try:
        eventually(lambda: reads(b"to be"), "the query is shown")
        os.write(terminal, b"s")
        eventually(lambda: reads(b" yes"), "it asks")
        os.write(terminal, b"y")
        assert query.result(SECONDS).state == "stopped"
        os.write(terminal, b"q")
        eventually(lambda: reads(b"\x1b[?1049l"), "it leaves the screen as it was")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        pid = 0
    finally:
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(terminal)
