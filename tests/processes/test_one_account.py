"""Whatever shows a query shows the ledger's numbers: after a worker was killed, and with items that fail, they agree."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import eventmill as em
import msgspec
import pytest
from eventmill.display.progress_line import line_of
from processes import Standing, eventually, run
from reports import check_report
from sums import Gate

ITEMS, BAD = 400, {13, 14, 205}


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master of its own, with a page, on which everything that is counted is of this test."""
    made = Standing(tmp_path_factory.mktemp("state"), options=("--status-port", "0"))
    made.worker()
    yield made
    made.close()


def asked(master: Standing, path: str) -> str:
    """What the status page's server answers."""
    told = json.loads((master.state / master.name / "status.json").read_text())
    address = told["look"].partition("?")[0] + path
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {told['tokens']['look']}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.long("a master of its own, and all displays of it")
def test_all_displays_agree_after_failures(watched: Standing, gate: Gate) -> None:
    """Account, report, lists, the widget's view, `--json`, the page and its metrics."""
    opened = str(gate.file)

    def counts(item: int) -> dict[str, int]:
        import os
        import time

        while item >= 100 and not os.path.exists(opened):  # noqa: PTH110
            time.sleep(0.01)
        if item in BAD:
            raise ValueError(f"item {item} is bad")
        return {"n": 1, "sum": item}

    doomed = watched.worker()
    with watched.connect() as session:
        eventually(lambda: len(session.workers()) == 2, "both are there")
        query = session.process(em.items(list(range(ITEMS))), counts, on_error="skip", name="counts", chunk=1)
        eventually(lambda: any(it.pid == doomed.pid and it.busy for it in session.workers()), "it works")
        doomed.process.send_signal(signal.SIGKILL)
        eventually(lambda: session.cluster().gone != (), "it is missed")
        gate.open()
        result = query.result(60)
        account = result.account
        assert (result["n"], result["sum"]) == (ITEMS - len(BAD), sum(set(range(ITEMS)) - BAD))
        assert (account.processed, account.failed, account.total) == (ITEMS - len(BAD), len(BAD), ITEMS)
        assert account.workers_lost == 1
        check_report(query)

        (info,) = session.queries()
        row = session.cluster().queries[query.id]
        assert info.account == row.view.account
        assert msgspec.structs.asdict(info.account) == {**msgspec.structs.asdict(account), "lost": []}
        assert query.view.account.processed == row.view.account.processed and query.view.state == row.view.state
        assert query.view.seconds == pytest.approx(row.view.seconds)
        assert session.attach(query.id).result(60).account == account

        code, said = run("queries", watched.name, "--json", state=watched.state)
        (line,) = [json.loads(text) for text in said.splitlines()]
        assert code == 0 and line["query"] == query.id
        page = json.loads(asked(watched, f"api/query/{query.id}"))
        (listed,) = json.loads(asked(watched, "api/queries"))["rows"]
        for field in ("processed", "failed", "total", "redone"):
            expected = getattr(account, field)
            assert line[f"entries_{field}"] == page["account"][field] == listed[field] == page["row"][field] == expected
        assert page["report"] == repr(query.report())
        assert page["row"]["words"] == list(line_of(query.view).words)
        assert line["workers_lost"] == page["account"]["workers_lost"] == 1
        assert sum(lost["stop"] - lost["start"] for lost in page["account"]["lost"]) == len(BAD)
        check_metrics(asked(watched, "metrics"), session, query)


def check_metrics(text: str, session: em.Session, query: em.Query) -> None:
    """Compare the metrics of a master that has had this query only with the report, which counts what slots did."""
    values: dict[str, float] = {}
    for name, _, value in re.findall(r"^(\w+)(\{[^}]*\})? (\S+)$", text, re.MULTILINE):
        values[name] = values.get(name, 0.0) + float(value)
    view: Any = session.cluster()
    done = [*view.workers.values(), *view.gone]
    assert sum(worker.total.entries for worker in done) == sum(info.entries for info in query.report())
    assert values["eventmill_entries_total"] == sum(worker.total.entries for worker in done)
    assert values["eventmill_slots"] == view.slots
