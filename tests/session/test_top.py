"""`eventmill top`: what it shows of a cluster, its keys, and that of a thousand workers only those that are seen cost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from eventmill.cli import top
from eventmill.cli.main import main
from eventmill.display.cluster_view import ClusterHistory, ClusterView
from eventmill.display.drawings import drawings
from eventmill.display.logs import LogLine, Logs
from eventmill.display.terminal.app import AWAY_SECONDS, Confirmation, Top
from eventmill.display.terminal.histogram import histogram
from eventmill.display.terminal.picture import drawn
from eventmill.display.terminal.rows import activity_bar
from eventmill.merge import encode, plain
from eventmill.protocol.errors import QueryFailed
from eventmill.protocol.messages import (
    Account,
    Cluster,
    PacketDone,
    Progress,
    QueryInfo,
    State,
    WorkerGone,
    WorkerState,
)
from eventmill.protocol.usage import Usage
from hist import Hist
from textual.pilot import Pilot
from textual.widgets import Input

AT = datetime(2026, 3, 1, 12, 0, 0)
LETTERS = "rrrwocmid"


def query(number: int, state: State = "running", name: str = "", owner: str = "ann") -> QueryInfo:
    account = Account(total=1000, processed=400, files=3, files_opened=3)
    return QueryInfo(f"q{number}", name or f"spectrum {number}", owner, state, account, 5.0, 7.0)


def cluster(workers: int = 3, queries: int = 2, slots: str = LETTERS, **changes: Any) -> ClusterView:
    """A cluster as its master tells of it."""
    history = ClusterHistory(changes.pop("starts_workers", False))
    here = [
        WorkerState(
            f"node{at}-{at}",
            f"node{at}.cern.ch",
            "T0_CH_CERN",
            at,
            1.0,
            slots,
            [1.0] * len(slots),
            Usage(3, 4000, 2.0, 1.0),
        )
        for at in range(workers)
    ]
    told = [query(at, "running" if at % 2 else "done") for at in range(queries)]
    progress = [
        Progress(it.query, it.account, 540, 10**9, 9, 1, 5.0) for it in told if it.state == "running"
    ]  # fmt: skip
    read = Usage(1, 4000, 2.0, 1.0, 0.5, 4 * 10**9, 40, 0.025)
    done = [PacketDone("node0-0", 0, "q1", "eos.cern.ch", 9.5, read)]
    gone = [WorkerGone("node9-9", "node9", "x", 4, 0.0, 5.0, True, "was silent", Usage())]
    message = {"workers": here, "gone": gone, "packets": done, "queries": told, "progress": progress}
    message |= {"forgotten": [], "servers": {"eos.cern.ch": read}} | changes
    history.heard(Cluster(1, "c", True, False, 10.0, **message))  # type: ignore[arg-type]
    return history.view


def line(number: int, text: str, source: Any = "stdout") -> LogLine:
    return LogLine(text, source, AT, AT, worker="node0-0", slot=1, number=number, workers=(("node0-0", 1),))


class FakeSource:
    """A session whose master says what a test wants."""

    def __init__(self, view: ClusterView, starts_workers: bool = False) -> None:
        self.address, self.starts_workers = "tcp://head:8786", starts_workers
        self.feed: Any = SimpleNamespace(view=view, answers=1, poll=lambda: None)
        self.said: Any = SimpleNamespace(version=0, logs=Logs(), poll=lambda: None)
        self.results: dict[str, Any] = {}
        self.watched: list[str] = []
        self.stopped: list[tuple[str, bool]] = []

    def watch(self, query: str) -> Any:
        self.watched.append(query)
        if query not in self.results:
            raise QueryFailed(f"no query {query} on this master")
        return SimpleNamespace(snapshot=SimpleNamespace(plain=self.results[query]), state="running")

    def stop(self, query: str, keep: bool) -> None:
        self.stopped.append((query, keep))


def shown(app: Top) -> str:
    """What is on the screen."""
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in lines)


async def settled(app: Top, pilot: Pilot[None]) -> str:
    """What is on the screen when all that is under way is done."""
    for _ in range(3):
        await pilot.pause(0.02)
        app._draw()
        await app.workers.wait_for_complete()
    await pilot.pause()
    return shown(app)


def seen(
    source: FakeSource,
    look: Callable[[Top, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (120, 40),
    clock: Callable[[], float] = float,
) -> None:
    """Run the view in a terminal of this size, and look at it. Its clock stands, since nobody answers here: on a busy
    machine a test takes longer than a master may be silent."""

    async def run() -> None:
        app = Top(source, clock)
        async with app.run_test(size=size, notifications=True) as pilot:
            await settled(app, pilot)
            await look(app, pilot)

    asyncio.run(run())


mass = Hist.new.Reg(60, 0, 120, name="m", label="m [GeV]").Double()
mass.fill(np.repeat([10.5, 90.5, 91.5, 200.0], [100, 400, 800, 7]))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_all_there_is_can_be_read_at_any_size(size: tuple[int, int]) -> None:
    """The numbers are those of the view, the words those of the query's own session."""
    source = FakeSource(cluster())
    source.results["q1"] = {"mass": mass}
    source.said = SimpleNamespace(
        version=1, logs=Logs([line(1, "hello"), line(2, "ValueError: no", "error")]), poll=int
    )

    async def look(app: Top, pilot: Pilot[None]) -> None:
        text = shown(app)
        for words in (
            "tcp://head:8786  3 workers · 27 slots, 21 busy · 400/s · 400 MB/s",
            "■ running 9", "■ reading 3", "■ down 3", "queries 2", "spectrum", "54%", "540 of 1,000 entries", "q0",
            "workers 3 · 1 lost", "node0-0", "T0_CH_CERN", "7/9", "eos.cern.ch", "400.0 MB/s", "25.0 ms",
            "said 2", "node0-0:1  hello", "ValueError: no", "s stop", "a abort", "l logs", "/ filter", "q quit",
        ):  # fmt: skip
            assert words in text, f"{words}\n{text}"
        assert source.watched == ["q1"], "the first one that goes on is shown without being asked for"
        if size[0] < 110:
            await pilot.press("h")
            text = await settled(app, pilot)
        assert "q1 spectrum 1 mass" in text and "m [GeV]" in text and "7 over" in text, text

    seen(source, look, size)


def test_of_a_thousand_workers_only_those_that_are_seen_are_drawn() -> None:
    """10,000 slots and 300 queries: a step of the cursor is drawn within a few milliseconds."""
    source = FakeSource(cluster(1000, 300, slots="rrrrrrwwoi"))
    drawn: list[str] = []

    async def look(app: Top, pilot: Pilot[None]) -> None:
        draw = app.worker_list._draw
        app.worker_list._draw = lambda row, width: (drawn.append(row.name), draw(row, width))[1]  # type: ignore[func-returns-value]
        app.worker_list.focus()
        await pilot.press("end")
        await pilot.pause()
        assert "node999-999" in shown(app) and "node0-0" not in shown(app)
        assert 0 < len(set(drawn)) < 100
        drawn.clear()
        for view in (cluster(1000, 300, slots="rrrrrrwwoi") for _ in range(5)):
            source.feed.view = view
            app._draw()
        assert app.worker_list.row is not None and app.worker_list.row.name == "node999-999", "the cursor stays"
        assert len(drawn) < 5 * 100, "of each view those that are seen"
        await pilot.press("slash", *"node12")
        assert "workers 11 of 1,000 with 'node12'" in shown(app)
        await pilot.press("enter", "up", "escape", "slash", "escape")
        assert "workers 1,000" in shown(app) and not app.query_one(Input).display

    seen(source, look)


def test_a_view_that_is_closed_while_the_master_is_away_ends_quietly() -> None:
    """What is on the screen is taken down before the timers: the last of them finds nothing to draw on."""
    now = 0.0

    async def look(app: Top, pilot: Pilot[None]) -> None:
        nonlocal now
        await app.screen.query("*").remove()
        now = 100.0
        app._draw()
        assert app._away

    seen(FakeSource(cluster()), look, clock=lambda: now)


def test_a_query_is_stopped_when_the_user_means_it() -> None:
    source = FakeSource(cluster())

    async def look(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        assert isinstance(app.screen, Confirmation)
        assert "query q1, spectrum 1, of ann: stop it, and keep what is done?" in shown(app)
        await pilot.press("n")
        assert not source.stopped
        for key in "sa":
            await pilot.press(key, "y")
            await app.workers.wait_for_complete()
        assert source.stopped == [("q1", True), ("q1", False)]
        await pilot.press("down", "s")
        await pilot.pause()
        assert "query q0 is over: done" in await settled(app, pilot) and not isinstance(app.screen, Confirmation)

    seen(source, look)


def test_a_master_that_goes_away_and_comes_back_is_said() -> None:
    """What was seen last stays, and says that it is not of now."""
    source, now = FakeSource(cluster()), [0.0]

    async def look(app: Top, pilot: Pilot[None]) -> None:
        now[0] = AWAY_SECONDS + 61
        app._draw()
        await pilot.pause()
        assert "the master at tcp://head:8786 has not answered for 1 min 05 s; waiting for it" in shown(app)
        assert "node0-0" in shown(app)
        source.feed.answers += 1
        text = await settled(app, pilot)
        assert "the master is there again" in text and "has not answered" not in text

    seen(source, look, clock=lambda: now[0])


@pytest.mark.parametrize(("own", "words"), [(True, "the workers are starting"), (False, "`eventmill worker`")])
def test_nobody_is_told_to_start_workers_that_start_by_themselves(own: bool, words: str) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        assert words in shown(app) and ("eventmill worker" in shown(app)) == (not own)

    seen(FakeSource(cluster(0, 0, starts_workers=own), own), look)


def test_the_histogram_that_is_wanted_is_drawn_and_grows() -> None:
    source = FakeSource(cluster())
    first, second = (Hist.new.Reg(10, 0, 10, name=name).Double() for name in ("one", "two"))
    source.results["q1"] = {"a": first.fill([1.5]), "b": {"c": second}, "n": 3}
    source.results["q0"] = {"events": 12}

    async def look(app: Top, pilot: Pilot[None]) -> None:
        assert "a (1 of 2: n, p)" in shown(app)
        await pilot.press("n")
        assert "b/c (2 of 2: n, p)" in await settled(app, pilot)
        second.fill([1.5, 1.5, 40.0])
        assert app.picture.watched is not None
        app.picture.watched.snapshot = SimpleNamespace(plain={"b": {"c": second}})  # type: ignore[misc, assignment]
        assert "two · 1 over" in await settled(app, pilot)
        await pilot.press("down", "enter")
        assert "events  12" in await settled(app, pilot) and source.watched == ["q1", "q0"]

    seen(source, look)


def test_a_query_that_cannot_be_watched_or_drawn_says_why() -> None:
    class Odd:
        @property
        def plain(self) -> Any:
            raise ModuleNotFoundError("No module named 'theirs'")

    source = FakeSource(cluster())

    async def look(app: Top, pilot: Pilot[None]) -> None:
        assert "no query q1 on this master" in shown(app)
        app.picture.follow(SimpleNamespace(snapshot=Odd(), state="running"))  # type: ignore[arg-type]
        assert "cannot be drawn: ModuleNotFoundError: No module" in await settled(app, pilot)

    seen(source, look)


def test_names_and_what_is_said_are_shown_as_they_are() -> None:
    """No markup, no escape sequence of somebody else does anything here."""
    evil = "[red]x[/] \x1b[2J"
    view = cluster(queries=0)
    history = ClusterHistory()
    history.heard(
        Cluster(1, "c", True, False, 1.0, [], [], [], [query(1, name=evil, owner="[b]")], [], [], {})
    )  # fmt: skip
    view = history.view
    source = FakeSource(view)
    source.results["q1"] = {"[blue]": Hist.new.StrCat([evil]).Double()}
    source.said = SimpleNamespace(version=1, logs=Logs([line(1, evil)]), poll=int)

    async def look(app: Top, pilot: Pilot[None]) -> None:
        text = shown(app)
        assert text.count("[red]x[/] \\x1b") >= 4 and "\x1b" not in text and "[b]" in text, text
        await pilot.press("s")
        assert "[red]x[/]" in shown(app)

    seen(source, look)


def test_of_ten_thousand_histograms_the_one_that_is_shown_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the others; of ten thousand numbers there are as many rows as lines."""
    made: list[Any] = []
    module = sys.modules["eventmill.merge.plain"]
    make = module.described  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "described", lambda node: made.append(node) or make(node))
    one = Hist.new.Reg(2, 0, 2).Double()  # to make one takes longer than to encode it
    title, _ = drawn(plain(encode({f"h{at}": one for at in range(10_000)}, 1)), 3, 10, 60)
    assert title == "h3 (4 of 10,000: n, p)" and len(made) == 1
    rows = drawn({f"n{at}": at for at in range(10_000)}, 0, 5, 60)[1].plain.split("\n")
    assert len(rows) == 5 and rows[0].split() == ["n0", "0"] and rows[-1] == "and 9,996 more"


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_histogram_has_a_line_a_bin_or_the_sum_of_some() -> None:
    text = histogram(drawings("mass", mass), 20, 60).plain.splitlines()
    assert len(text) <= 20 and text[-1] == "m [GeV] · 4 bins a line · 7 over"
    bars = {row.split("_")[0].strip(): row.count("█") for row in text[1:-1]}
    full = max(bars.values())
    assert bars == {f"{edge}": 0 for edge in range(8, 121, 8)} | {"16": round(full / 12 - 0.49), "96": full}, bars


def test_categories_two_axes_and_sums_below_zero_are_drawn_and_what_is_not_is_said() -> None:
    flow = Hist.new.StrCat(["all", "two muons and more"], name="cut").Double().fill(["all"] * 100)
    assert (
        "all            █" in histogram(drawings("flow", flow), 10, 50).plain
        and "100" in histogram(drawings("flow", flow), 10, 50).plain
    )
    two = Hist.new.Reg(4, 0, 4, name="x").Reg(4, 0, 4, name="y").Weight().fill([0.5, 1.5], [0.5, 9.0], weight=[1, -2])
    said = histogram(drawings("two", two), 10, 50).plain.splitlines()[-1]
    assert said == "x · all of y · bins below 0 are empty here"
    overlaid = Hist.new.StrCat(["data", "top"], name="p").Reg(4, 0, 4).Double().fill(["data", "top"], [1.5, 2.5])
    assert "data" in histogram(drawings("o", overlaid), 12, 60).plain
    empty = Hist.new.Reg(4, 0, 4).Double()
    assert histogram(drawings("e", empty), 12, 60).plain
    assert drawn({}, 0, 5, 40)[1].plain == "(an empty result)"


def test_everybody_who_does_something_is_in_the_bar() -> None:
    bar = activity_bar({"running": 9990, "down": 1, "opening": 1, "idle": 8}, 20)
    assert len(bar.plain) == 20 and [span.style for span in bar.spans] == ["green", "cyan", "red", "bright_black"]
    assert activity_bar({}, 5).plain == "─────"


# --- the command ------------------------------------------------------------------------------------------------------


def test_without_a_terminal_it_names_what_programs_can_read() -> None:
    done = CliRunner().invoke(main, ["top", "nobody"])
    assert done.exit_code == 1 and "this is no terminal; `eventmill status --json`" in done.output


def test_without_textual_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(top.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(top.sys, "stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setitem(sys.modules, "histoprint", None)
    with pytest.raises(top.click.ClickException, match=r"there is no histoprint here: pip install 'eventmill\[top\]'"):
        top.run(lambda: pytest.fail("connected"))


def test_what_somebody_else_has_pickled_is_named() -> None:
    """A row that is chosen may be anybody's query, whose code looking at it does not run (`merge.plain`)."""
    title, text = drawn(plain(encode({"theirs": Fraction(1, 3), "n": 3}, 7)), 0, 10, 80)
    assert (title, text.plain) == ("", "theirs  a fractions.Fraction, which its own session can show\nn       3")
    histogram = Hist.new.Reg(10, 0, 10, name="one").Double().fill([1.5])
    title, text = drawn(plain(encode({"theirs": Fraction(1, 3), "a": histogram}, 7)), 0, 10, 80)
    assert title == "a" and "one" in text.plain
