"""The status page of a real master in a real browser: what it shows is what happens, and it steers for whom may."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import eventmill as em
import pytest
from aiohttp.test_utils import TestServer
from eventmill.merge import encode
from eventmill.protocol.messages import Account
from eventmill.session.result import Snapshot
from eventmill.status.access import Access
from eventmill.status.server import StatusServer
from hist import Hist
from jupyterlab import page, server
from processes import SECONDS, Standing
from status_pages import FakeQuery, FakeSource, cluster, said


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with a status page, and one worker of two slots."""
    made = Standing(tmp_path_factory.mktemp("state"), options=("--status-port", "0"))
    made.worker(slots=2)
    yield made
    made.close()


def addresses(master: Standing) -> dict[str, str]:
    told: dict[str, str] = json.loads((master.state / master.name / "status.json").read_text())
    return told


def endless(session: em.Session) -> em.Query:
    """A query whose names would be HTML."""

    def toy(cycles: Any) -> Any:
        import numpy as np

        print("<img src=x onerror='window.injected = 1'>")
        label = "<img src=x onerror='window.injected = 2'>"
        mass = Hist.new.Reg(60, 50, 130, label=label).Double().fill(np.random.normal(91, 8, len(cycles)))
        return {"<b>mass": mass, "cutflow": {"<i>all": len(cycles)}}

    return session.process(em.cycles(10**12, seed=1), toy, name="<b>toy</b>")


def until(shown: Any, condition: str, *given: Any) -> Any:
    """What a condition in the page's own words is, once it is something. (Playwright's own way needs `eval`, which the page
    forbids.)"""
    watch = """(given) => new Promise((done) => {
      const look = () => { const found = CONDITION; found ? done(found) : requestAnimationFrame(look); };
      look();
    })""".replace("CONDITION", condition)
    return shown.evaluate(watch, list(given))


def drawn(shown: Any, more_than: int = 0) -> int:
    """The entries of the picture that is shown, once there are more than so many."""
    entries = "Number(document.querySelector('[data-drawn]')?.dataset.drawn ?? 0)"
    return int(until(shown, f"({entries} > given[0]) && {entries}", more_than))


def go(shown: Any, tab: str, until: str) -> None:
    shown.click(f'[data-tab="{tab}"]')
    shown.wait_for_selector(until)


def test_a_histogram_grows_and_stop_keeps_the_partial_result(watched: Standing) -> None:
    """Loaded again in between, without its token, the page comes back to the same query. Nothing in a name is HTML."""
    with watched.connect() as session, page() as shown:
        query = endless(session)
        shown.goto(addresses(watched)["steer"])
        assert "token" not in shown.url
        shown.click(".card a")
        first = drawn(shown)
        second = drawn(shown, first)
        assert second > first, "it grows"
        assert shown.locator(".query-head b").inner_text() == "<b>toy</b>"
        assert shown.locator("figcaption").inner_text() == "<b>mass"
        assert shown.locator(".em-rows th").inner_text() == "cutflow/<i>all"
        shown.wait_for_selector(".log .line")
        shown.reload()
        third = drawn(shown, second)
        shown.click(".query-head .endings button:text('stop')")
        shown.wait_for_selector(".query-head .state.stopped")
        result = query.result(60)
        assert result.state == "stopped" and result.account.processed >= third
        assert result["<b>mass"].sum(flow=True) == result.account.processed
        assert drawn(shown, third - 1) == result.account.processed
        facts = shown.locator(".facts").first.inner_text()
        assert f"{result.account.processed:,}" in facts
        go(shown, "logs", ".log .line")
        assert "<img src=x" in shown.locator(".log").inner_text()
        assert shown.evaluate("window.injected") is None


def test_who_may_only_look_cannot_end_a_query(watched: Standing) -> None:
    """Neither by the page nor past it; a token that is none is refused, and so is a page without."""
    with watched.connect() as session, page() as shown:
        query = endless(session)
        shown.goto(addresses(watched)["look"])
        shown.wait_for_selector(".card")
        assert shown.locator(".endings button").count() == 0
        status = "(path) => fetch(path, {method: 'POST', headers: {'X-Eventmill': '1'}}).then((it) => it.status)"
        assert shown.evaluate(status, f"api/query/{query.id}/abort") == 403
        query.stop()
        query.result(60)
    with page() as shown:
        root = addresses(watched)["look"].partition("?")[0]
        for address in (root, f"{root}?token=wrong"):
            answer = shown.goto(address)
            assert answer.status == 403 and "token" in shown.locator("body").inner_text()


def test_a_worker_that_is_killed_is_shown_as_lost(watched: Standing) -> None:
    worker = watched.worker(slots=1)
    with page() as shown:
        shown.goto(addresses(watched)["look"])
        go(shown, "workers", "main tbody tr:nth-child(2)")
        worker.process.send_signal(signal.SIGKILL)
        until(shown, "document.querySelectorAll('main tbody tr').length === 1")
        shown.check(".filters input[type=checkbox]")
        shown.wait_for_selector(".state.failed:text('lost')")
        assert "1 lost" in shown.locator("#tiles").inner_text()


def test_a_browser_of_another_day_loads_the_page_again_when_its_version_is_another(watched: Standing) -> None:
    with page() as shown:
        shown.goto(addresses(watched)["look"])
        shown.wait_for_selector("#tiles .tile")
        with shown.expect_navigation():
            shown.evaluate("document.documentElement.dataset.version = '0.0.1'")
        shown.wait_for_selector("#tiles .tile")


def test_a_phone_in_the_dark_shows_all_of_it(watched: Standing, tmp_path: Path) -> None:
    """No part of the page is wider than the screen."""
    with page(390, 844, color_scheme="dark") as shown:
        shown.goto(addresses(watched)["look"])
        for tab in ("", "queries", "workers", "pools", "slots", "servers", "failures", "logs"):
            go(shown, tab, "main > *")
            assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        assert shown.evaluate("document.documentElement.dataset.theme") == "dark"


# --- a large cluster, which is made up -----------------------------------------------------------------------------------

CLICKS = {
    "": "main canvas", "queries": "main tbody tr", "workers": "main tbody tr", "pools": "main tbody tr",
    "slots": "main canvas", "servers": "main tbody tr", "logs": ".log .line",
}  # fmt: skip
"""What is there once a tab is shown."""
PATIENCE = 0.2
"""Seconds after a click for which nobody notices a wait."""
TRIES = 20


@contextmanager
def served(source: FakeSource) -> Iterator[str]:
    """The page of a session that a test makes: its address, for who may look."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, loop).result(SECONDS)

    async def start() -> TestServer:
        made = TestServer(StatusServer(source, Access("look", "steer")).app())
        await made.start_server(access_log=None)
        return made

    server = do(start())
    try:
        yield f"{server.make_url('/')}?token=look"
    finally:
        do(server.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def clicked(shown: Any, tab: str) -> float:
    """Seconds from a click on a tab until what it shows is painted."""
    click = """([tab, selector]) => new Promise((done) => {
      const begun = performance.now(), name = tab || "overview";
      const painted = () => requestAnimationFrame(() => done((performance.now() - begun) / 1000));
      const look = () => document.querySelector("main").className === name && document.querySelector(selector)
        ? requestAnimationFrame(painted) : requestAnimationFrame(look);
      document.querySelector(`[data-tab="${tab}"]`).click();
      look();
    })"""
    return float(shown.evaluate(click, [tab, CLICKS[tab]]))


def test_with_a_thousand_workers_a_click_is_answered_before_one_notices() -> None:
    """10,000 slots, 20,000 packets, 500 queries. What the page can do is its fastest click: the machine may do other things,
    and a page that takes longer never gets there."""
    source = FakeSource(cluster(1000, 10, packets=20_000, gone=2000, queries=500), said())
    with served(source) as address, page() as shown:
        shown.goto(address)
        until(shown, "document.querySelector('#tiles')?.innerText.includes('10,000')")
        for tab in [*list(CLICKS)[1:], ""]:
            fastest = 1e9
            for _ in range(TRIES):
                fastest = min(fastest, clicked(shown, tab))
                if fastest < PATIENCE:
                    break
                clicked(shown, "logs" if tab != "logs" else "queries")
            assert fastest < PATIENCE, f"{tab or 'overview'}: {fastest:.3f} s"
        clicked(shown, "workers")
        shown.fill("main .filters input:not([type=checkbox])", "node99")
        until(shown, "[...document.querySelectorAll('main tbody tr')].every((row) => row.innerText.includes('node99'))")
        assert "1,000" in shown.locator("#tiles").inner_text()
        clicked(shown, "pools")
        words = shown.locator("main").inner_text()
        assert "12 wanted of 50 at most, in slurm, for alice" in words and "9 queued" in words and "Priority" in words
        assert "no such image: <b>/cvmfs/none</b>" in words


def test_behind_the_proxy_of_a_notebook_server_the_page_is_the_same(watched: Standing, tmp_path: Path) -> None:
    """A real jupyter-server-proxy, below a path as those of hubs have: its own login, then our token, news, and stop."""
    with server(tmp_path) as root, watched.connect() as session, page() as shown:
        query = endless(session)
        own = urlparse(addresses(watched)["steer"])
        shown.goto(f"{root}/login?token=secret")
        shown.goto(f"{root}/proxy/{own.port}/?{own.query}")
        assert "token" not in shown.url
        shown.click(".card a")
        assert drawn(shown, drawn(shown)) > 0, "it grows"
        shown.click(".query-head .endings button:text('stop')")
        shown.wait_for_selector(".query-head .state.stopped")
        assert query.result(60).state == "stopped"


def test_of_a_million_bins_those_are_drawn_that_a_screen_shows_and_all_of_them_where_one_zooms_in() -> None:
    """By the mouse, as in ROOT; what is zoomed in stays so, and a double click shows all again."""
    source = FakeSource(cluster(), said())
    query = source.queries["q1-1"] = FakeQuery()
    query.snapshot = million(10)
    with served(source) as address, page() as shown:
        asked: list[str] = []
        shown.on("request", lambda request: "/drawings" in request.url and asked.append(request.url))
        shown.goto(f"{address}#/query/q1-1")
        shown.wait_for_selector('.em-note:text("1,000,000 bins are drawn as 2,000")')
        box = shown.locator(".em-canvas svg").first.bounding_box()
        middle = box["y"] + box["height"] / 2
        shown.mouse.move(box["x"] + 0.5 * box["width"], middle)
        shown.mouse.down()
        shown.mouse.move(box["x"] + 0.501 * box["width"], middle)
        shown.mouse.move(box["x"] + 0.52 * box["width"], middle, steps=5)
        shown.mouse.up()
        shown.wait_for_selector('.em-note:text-matches("drawn as (?!2,000)")')
        low, high = json.loads(parse_qs(urlparse(asked[-1]).query)["windows"][0])["fine"]
        assert 0 < low < high < 1 and high - low < 0.1
        shown.mouse.dblclick(box["x"] + 0.5 * box["width"], middle)
        shown.wait_for_selector('.em-note:text("1,000,000 bins are drawn as 2,000")')


def million(processed: int) -> Snapshot:
    """What a query has whose histogram has so many bins, each with something in it."""
    fine = Hist.new.Reg(1_000_000, 0, 1, name="x").Double()
    fine[...] = 1.0
    account = Account(total=100, processed=processed, files=1, files_opened=1)
    return Snapshot(encode({"fine": fine}, processed).to_frames(), account, 1.0, "running")
