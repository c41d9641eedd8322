"""The status page's answers, without a master: who is let in, what is told, and what comes of bad questions."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from eventmill.protocol.version import __version__
from eventmill.session.result import Result
from eventmill.status import attached, watching
from eventmill.status.access import Access
from eventmill.status.server import StatusServer
from hist import Hist
from status_pages import FakeQuery, FakeSource, cluster, said

ACCESS = Access("look-token", "steer-token")
LOOK = {"Authorization": "Bearer look-token"}
STEER = {"Authorization": "Bearer steer-token", "X-Eventmill": "1"}
Client = TestClient[Any, Any]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for seconds."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.01)


def asking(test: Callable[[Client], Awaitable[None]], source: FakeSource | None = None, **options: Any) -> None:
    """Run a test against a server of its own, in a loop."""

    async def run() -> None:
        made = StatusServer(source or FakeSource(cluster(), said()), ACCESS, **options)
        server = TestServer(made.app())
        await server.start_server(access_log=None)
        async with TestClient(server) as client:
            await asyncio.wait_for(test(client), 60)

    asyncio.run(run())


async def json_of(response: ClientResponse, status: int = 200) -> Any:
    """The answer in JSON, which has no numbers that are none."""
    assert response.status == status, await response.text()
    text = await response.text()
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert found["version"] == __version__ == response.headers["X-Eventmill-Version"]
    assert response.headers["Cache-Control"] == "no-store"
    return found


def test_who_has_no_token_is_told_what_to_do_and_nothing_else() -> None:
    async def test(client: Client) -> None:
        for path in ("/", "/api/workers", "/events", "/metrics", "/assets/page.js", "/nowhere"):
            for token in ({}, {"Authorization": "Bearer guessed"}, {"Cookie": f"{ACCESS.cookie}=guessed"}):
                response = await client.get(path, headers=token)
                text = await response.text()
                assert response.status == 403 and "node1" not in text and "token" in text
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        response = await client.get("/?token=guessed", allow_redirects=False)
        assert response.status == 403 and "Set-Cookie" not in response.headers

    asking(test)


def test_a_token_becomes_a_cookie_and_leaves_the_address() -> None:
    async def test(client: Client) -> None:
        response = await client.get("/?token=steer-token&query=q1", allow_redirects=False)
        assert (response.status, response.headers["Location"]) == (303, "./?query=q1")
        cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
        assert "Path" not in cookie, "the browser takes the path of the address, whatever a proxy has put before ours"
        response = await client.get("/")
        assert response.status == 200 and __version__ in await response.text()
        forwarded = {"X-Forwarded-Proto": "https"}
        response = await client.get("/?token=steer-token", headers=forwarded, allow_redirects=False)
        assert "Secure" in response.headers["Set-Cookie"]

    asking(test)


def test_who_comes_by_a_link_of_another_site_gets_in_once_he_comes_from_ours() -> None:
    """A strict cookie is not sent with the address that a link of another site redirects to."""

    async def test(client: Client) -> None:
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        assert "refresh" in await (await client.get("/", headers=elsewhere)).text()
        assert "refresh" not in await (await client.get("/?again=1", headers=elsewhere)).text()
        assert "refresh" not in await (await client.get("/")).text()

    asking(test)


def test_who_may_look_may_not_steer_and_no_form_of_another_site_does() -> None:
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        for headers in (LOOK | {"X-Eventmill": "1"}, {"Authorization": STEER["Authorization"]}, {}):
            response = await client.post("/api/query/q1-1/stop", headers=headers)
            assert response.status == 403 and source.stopped == []
        assert (await client.get("/api/query/q1-1/stop", headers=STEER)).status == 405
        await json_of(await client.post("/api/query/q1-1/stop", headers=STEER))
        await json_of(await client.post("/api/query/q1-2/abort", headers=STEER))
        assert source.stopped == [("q1-1", True), ("q1-2", False)]

    asking(test, source)


def test_another_host_is_refused_on_loopback() -> None:
    async def test(client: Client) -> None:
        assert (await client.get("/", headers=LOOK | {"Host": "evil.example:8788"})).status == 403
        assert (await client.get("/", headers=LOOK | {"Host": "localhost:8788"})).status == 200
        proxied = {"Host": "hub.example", "X-Forwarded-Prefix": "/user/me/proxy/8788"}
        assert (await client.get("/", headers=LOOK | proxied)).status == 200

    asking(test)

    async def open_to_all(client: Client) -> None:
        assert (await client.get("/", headers=LOOK | {"Host": "node7.example:8788"})).status == 200

    asking(open_to_all, local=False)


async def summaries(client: Client, count: int, headers: dict[str, str] = LOOK) -> list[Any]:
    """The first events."""
    found: list[Any] = []
    async with client.get("/events", headers=headers) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        async for line in response.content:
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
                if len(found) == count:
                    break
    return found


def test_the_summary_has_the_numbers_of_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(cluster(), said())

    async def test(client: Client) -> None:
        told = (await summaries(client, 1))[0]
        view = source.view
        assert (told["role"], told["version"], told["connected"], told["master"]) == (
            "look",
            __version__,
            True,
            source.address,
        )
        assert (told["workers"], told["slots"], told["busy"]) == (4, 16, view.busy)
        assert (told["gone"], told["lost"], told["failures"], told["lines"]) == (2, 1, 3, 2)
        assert told["activities"] == view.activities and sum(told["activities"].values()) == 16
        assert told["rate"] == view.rate > 0
        assert [(row["number"], row["state"], row["processed"]) for row in told["queries"]] == [
            ("q1-3", "failed", 402), ("q1-2", "done", 401), ("q1-1", "running", 400),
        ]  # fmt: skip
        source.view = cluster(workers=5)
        grown = await summaries(client, 3, STEER)
        assert grown[-1]["workers"] == 5 and grown[0]["role"] == "steer"
        source.answers = False
        monkeypatch.setattr(watching, "SILENT_SECONDS", 0.0)
        assert not (await summaries(client, 3))[-1]["connected"]

    asking(test, source)


def test_nobody_looks_and_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOKED_SECONDS", 0.05)
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        await asyncio.sleep(0.1)
        assert source.polls == 0
        await summaries(client, 3)
        assert source.polls >= 2
        asked = 0
        while source.polls != asked:  # until it is noticed that the browser has gone
            asked = source.polls
            await asyncio.sleep(0.2)
        source.view = cluster(workers=6)
        assert (await json_of(await client.get("/api/workers", headers=LOOK)))["total"] == 6, (
            "and what is told is not old"
        )
        for workers in (7, 8):  # also if a browser asks for news before anything else
            await asyncio.sleep(0.2)
            source.view = cluster(workers=workers)
            (told,) = await asyncio.wait_for(summaries(client, 1), 60)
            assert told["workers"] == workers

    asking(test, source)


def test_workers_are_sorted_filtered_and_cut() -> None:
    async def test(client: Client) -> None:
        async def rows(query: str) -> Any:
            found = await json_of(await client.get(f"/api/workers?{query}", headers=LOOK))
            return found["total"], [row["name"] for row in found["rows"]]

        assert await rows("sort=entries&order=desc&limit=1") == (12, ["node6-6"])
        assert await rows("sort=name&filter=SITE1&offset=1") == (2, ["node8-8"])
        assert await rows("gone=1&filter=lost&limit=0") == (0, [])
        total, names = await rows("gone=1")
        assert (total, names) == (3, ["gone2-2", "gone1-1", "gone0-0"])
        first = (await json_of(await client.get("/api/workers?limit=1", headers=LOOK)))["rows"][0]
        assert (first["slots"], first["busy"], first["packets"]) == ("rrrwc", 5, 1)
        assert first["waited"] == pytest.approx(1 / 4) and first["efficiency"] == pytest.approx(3 / 4)

    asking(test, FakeSource(cluster(workers=12, slots=5, gone=3)))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/workers?sort=nonsense", 400, "sort=nonsense: it is one of name"),
        ("/api/workers?limit=many", 400, "limit=many: it must be a whole number"),
        ("/api/workers?offset=-1", 400, "offset=-1: it must be 0 or more"),
        ("/api/time?since=nan", 400, "since=nan"),
        ("/api/time?by=colour", 400, "by=colour: it is one of site"),
        ("/api/logs?grep=(", 400, "is no regular expression"),
        ("/api/query/q9-9", 404, "no query 'q9-9' on this master"),
        ("/api/query/q9-9/drawings", 404, "no query 'q9-9' on this master"),
        ("/api/query/q1-1/drawings?picks=[", 400, "picks: "),
        ("/api/query/q1-1/drawings?picks=[1]", 400, "picks: it must be like"),
        ("/api/query/q1-1/drawings?windows={%22h%22:[1]}", 400, "windows: it must be like"),
        ("/api/query/q1-1/drawings?shown=h&picks={%22h%22:{%22process%22:99}}", 400, "picks: "),
        ("/api/query/<script>", 404, "no query"),
    ],
)
def test_bad_questions_are_answered_in_words(path: str, status: int, words: str) -> None:
    source = FakeSource(cluster(), said())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        query.merged({"h": Hist.new.StrCat(["a", "b"], name="process").Reg(2, 0, 2).Double()})
        found = await json_of(await client.get(path, headers=LOOK), status)
        assert words in found["error"]

    asking(test, source)


def test_lists_over_time_and_logs() -> None:
    async def test(client: Client) -> None:
        async def get(path: str) -> Any:
            return await json_of(await client.get(f"/api/{path}", headers=LOOK))

        told = await get("time?since=600")
        assert len(told["moments"]) == len(told["times"]) == 120 and told["moments"][0] == pytest.approx(597.5)
        assert sum(values[-1] for values in told["slots"].values()) == pytest.approx(16)
        assert set(told["activities"]) == {"opening", "compiling", "reading", "running"}
        assert set((await get("time?by=state"))["slots"]) == {"here", "left", "lost"}
        rows = (await get("timeline?since=600&limit=3&offset=1"))["rows"]
        assert [(row["worker"], row["slot"]) for row in rows] == [("node0-0", 1), ("node0-0", 2), ("node0-0", 3)]
        begin, end, spent, query, entries, server = rows[0]["packets"][0]
        assert end - begin == pytest.approx(sum(spent.values()), abs=1e-3) and query == "q1-2" and entries == 1004
        assert server == "server4.org"
        told = await get("spread?query=q1-1")
        assert told["packets"] == 14 == sum(count for _, count in told["workers"]) and told["ends"]["least"] == 0.0
        assert sum(told["packets_a_worker"]["counts"]) == 4
        assert (await get("spread?query=none"))["last"] is None
        told = await get("pools")
        (pool,), (wish,) = told["pools"], told["wishes"]
        assert wish["words"].startswith("ada wishes: each query in 20 min 00 s") and not wish["met"]
        assert not pool["by_hand"] and pool["price"] == 0.0
        assert (pool["pool"], pool["wanted"], pool["stages"]) == ("night", 12, {"queued": 9, "failed": 1, "working": 2})
        queued = pool["launches"][0]
        assert (queued["job"], queued["stage"], queued["reason"], queued["took"]) == ("4711_0", "queued", "Priority", 0)
        assert pool["launches"][-1]["took"] == 9.5, "until it was warm; what it has worked since does not count"
        assert [row["number"] for row in (await get("queries?state=live"))["rows"]] == ["q1-1"]
        assert [row["number"] for row in (await get("queries?owner=user1&filter=QUERY"))["rows"]] == ["q1-2"]
        assert [line["text"] for line in (await get("logs?query=q1-1"))["lines"]] == ["hello <b>"]
        assert (await get("logs?source=error&grep=not.now&tail=5"))["total"] == 1
        failure = (await get("failures"))["rows"][0]
        assert (failure["error"], failure["message"], failure["count"], failure["worker"], failure["query"]) == (
            "ValueError", "ValueError: not now", 3, "node2-2", "q1-3",
        )  # fmt: skip
        assert failure["file"] == "root://x//a.root" and "line 1" in failure["traceback"]

    asking(test, FakeSource(cluster(), said()))


def contents(told: Any) -> list[list[float]]:
    """Of the histograms of an answer."""
    parts = [part for picture in told["pictures"] for part in picture["drawings"]]
    return [np.frombuffer(base64.b64decode(part["arrays"][0]), "<f8").tolist() for part in parts]


def mass(*values: float) -> Any:
    return Hist.new.Reg(2, 0, 2, name="m", label="m <b>").Double().fill(list(values))


def test_histograms_are_sent_when_they_are_asked_for_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "WAIT_SECONDS", 0.05)
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        path = "/api/query/q1-1/drawings?shown=h&shown=nothing"
        first = await json_of(await client.get(path, headers=LOOK))
        assert first["pictures"] == [] and not first["final"]
        waiting = asyncio.create_task(client.get(f"{path}&after={first['snapshot']}", headers=LOOK))
        await asyncio.sleep(0.01)
        query.merged({"h": mass(0.5), "n": 3})
        second = await json_of(await waiting)
        assert contents(second) == [[0.0, 1.0, 0.0, 0.0]] and second["entries"] == 10
        assert second["pictures"][0]["drawings"][0]["axes"][0]["title"] == "m <b>"
        response = await client.get(f"{path}&after={second['snapshot']}", headers=LOOK)
        assert response.status == 204, "nothing is new"
        query.merged({"h": mass(0.5, 1.5), "n": 4}, 100, "done")
        last = await json_of(await client.get(f"{path}&after={second['snapshot']}", headers=LOOK))
        assert contents(last) == [[0.0, 1.0, 1.0, 0.0]] and last["final"]
        about = await json_of(await client.get("/api/query/q1-1", headers=LOOK))
        assert [(item["name"], item["kind"]) for item in about["items"]] == [("h", "histogram"), ("n", "row")]
        assert about["account"]["processed"] == 100 and about["report"] and about["failure"] is None
        assert source.attached == ["q1-1"], "once, for all who look"

    asking(test, source)


def test_together_and_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        both = Hist.new.StrCat(["a", "b"], name="process").Reg(2, 0, 2, name="m").Double()
        both.fill(["a", "b", "b"], [0.5, 0.5, 1.5])
        query.merged({"both": both, "one": mass(0.5), "two": mass(0.5, 1.5)})
        picks = json.dumps({"both": {"process": 1}})
        ask = {"shown": "both", "picks": picks}
        found = await json_of(await client.get("/api/query/q1-1/drawings", params=ask, headers=LOOK))
        assert contents(found) == [[0.0, 1.0, 1.0, 0.0]]
        path = "/api/query/q1-1/drawings?shown=one&shown=two&together=1"
        found = await json_of(await client.get(path, headers=LOOK))
        assert [picture["name"] for picture in found["pictures"]] == ["one and two"]
        assert contents(found) == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]]

    asking(test, source)


def test_a_query_that_has_just_begun_is_there() -> None:
    """What is told is a second old, and a user asks for what he has just started."""
    source = FakeSource(cluster(queries=1))

    async def test(client: Client) -> None:
        await json_of(await client.get("/api/queries", headers=LOOK))
        source.view, source.queries["q1-2"] = cluster(queries=2), FakeQuery()
        assert (await json_of(await client.get("/api/query/q1-2", headers=LOOK)))["row"]["number"] == "q1-2"

    asking(test, source)


def test_a_query_that_the_master_forgets_meanwhile_is_no_wait_for_ever() -> None:
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        first = await json_of(await client.get("/api/query/q1-1/drawings", headers=LOOK))
        waiting = asyncio.create_task(client.get(f"/api/query/q1-1/drawings?after={first['snapshot']}", headers=LOOK))
        await asyncio.sleep(0.01)
        query.forgotten("the master has forgotten it")
        assert "has forgotten it" in (await json_of(await waiting, 404))["error"]
        source.queries["q1-1"] = FakeQuery()
        await json_of(await client.get("/api/query/q1-1", headers=LOOK))
        assert source.attached == ["q1-1", "q1-1"]

    asking(test, source)


def test_what_nobody_looks_at_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from eventmill.status import server

    monkeypatch.setattr(server, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(attached, "IDLE_SECONDS", 0.05)
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        await client.get("/api/query/q1-1", headers=LOOK)
        while not query.left:
            await asyncio.sleep(0.01)
        await client.get("/api/query/q1-1", headers=LOOK)
        assert source.attached == ["q1-1", "q1-1"]

    asking(test, source)


def test_of_a_query_that_was_stopped_before_anything_was_merged_nothing_is_drawn() -> None:
    source = FakeSource(cluster(), said())

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery(state="stopped")
        query.snapshot = Result([], query.account, 1.0, "stopped")
        drawn = await json_of(await client.get("/api/query/q1-1/drawings?shown=h", headers=LOOK))
        assert drawn["pictures"] == [] and drawn["entries"] == 0

    asking(test, source)


def test_of_ten_thousand_histograms_some_are_listed_and_any_is_drawn() -> None:
    source, one = FakeSource(cluster()), mass(0.5)  # to make one takes longer than to encode it

    async def test(client: Client) -> None:
        query = source.queries["q1-1"] = FakeQuery()
        query.merged({f"h{number}": one for number in range(10_000)})
        about = await json_of(await client.get("/api/query/q1-1", headers=LOOK))
        assert (len(about["items"]), about["more"]) == (200, 9800)
        about = await json_of(await client.get("/api/query/q1-1?filter=H9998", headers=LOOK))
        assert [item["name"] for item in about["items"]] == ["h9998"] and about["more"] == 0
        drawn = await json_of(await client.get("/api/query/q1-1/drawings?shown=h9998", headers=LOOK))
        assert contents(drawn) == [[0.0, 1.0, 0.0, 0.0]]

    asking(test, source)


def test_numbers_for_prometheus() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    source = FakeSource(cluster(), said())

    async def test(client: Client) -> None:
        response = await client.get("/metrics", headers=LOOK)
        text = await response.text()
        assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        values = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in families.values()
            for sample in family.samples
        }
        view = source.view
        assert values["eventmill_up",] == 1.0
        assert sum(value for name, value in values.items() if name[0] == "eventmill_slots") == view.slots
        assert values["eventmill_queries", "running"] == 1.0 and values["eventmill_failures",] == 3.0
        assert families["eventmill_entries"].type == "counter"
        assert values["eventmill_entries_total",] == view.total.entries == 6 * 1000 + 0 + 1 + 2 + 3 + 0 + 1
        assert values["eventmill_server_read_bytes_total", "server4.org"] == 5e8
        assert values["eventmill_pool_wanted", "night"] == 12.0
        assert values["eventmill_pool_workers", "night", "queued"] == 9.0

    asking(test, source)


def test_without_prometheus_client_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)

    async def test(client: Client) -> None:
        found = await json_of(await client.get("/metrics", headers=LOOK), 501)
        assert "pip install 'eventmill[metrics]'" in found["error"]

    asking(test)


def test_a_browser_that_goes_in_the_middle_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    source = FakeSource(cluster())

    async def test(client: Client) -> None:
        source.queries["q1-1"] = FakeQuery()
        first = await json_of(await client.get("/api/query/q1-1/drawings", headers=LOOK))
        for path in ("/events", f"/api/query/q1-1/drawings?after={first['snapshot']}"):
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.05), client.get(path, headers=LOOK) as response:
                    await response.read()
        await json_of(await client.get("/api/workers", headers=LOOK))

    asking(test, source)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "token" not in caplog.text
