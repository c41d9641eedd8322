"""What users read: the progress line, results and accounts in words, the demo's picture, the guide, README's messages."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import pickle
import re
import socket
import sys
import types
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import eventmill as em
import numpy as np
import pytest
import zmq
from click.testing import CliRunner
from eventmill.cli import demo
from eventmill.cli import main as cli
from eventmill.cli.main import main
from eventmill.cli.sample import write_sample
from eventmill.display import progress_line
from eventmill.display.account_text import describe_account
from eventmill.display.batch_lines import BatchLines
from eventmill.display.cluster_view import ClusterHistory
from eventmill.display.listings import QueryList, WorkerList
from eventmill.display.pools import PoolList
from eventmill.display.progress_line import Line, ProgressDisplay, line_of, with_output
from eventmill.display.query_view import MOST_SAMPLES, QueryHistory, QueryView
from eventmill.display.report.report import Report
from eventmill.display.terminal.rows import headline, query_line
from eventmill.display.waits import waiting
from eventmill.master.access import WORKER
from eventmill.master.peers import unfit
from eventmill.merge import encode
from eventmill.protocol import messages
from eventmill.protocol.connection import make_keys
from eventmill.protocol.messages import Account, LostRange, Progress
from eventmill.protocol.usage import WorkerInfo
from eventmill.reading.reader import Reader
from eventmill.session.ending import Ending
from eventmill.session.notices import Notices
from eventmill.session.query import Query
from eventmill.session.result import Result, ResultAccount
from eventmill.session.session_html import session_html
from fleet import World
from hist import Hist
from processes import eventually
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
DONE = Account(total=1000, processed=1000, files=2, files_opened=2)
NOTHING = Account(total=1000, estimated=True, files=2, files_opened=1)


def result_of(value: Any, account: Account = DONE, state: messages.State = "done") -> Result:
    """A result as it arrives: its frames are views of memory that is not Python's."""
    frames = [memoryview(bytearray(frame)) for frame in encode(value, account.processed).to_frames()]
    return Result(frames, account, 1.5, state)


class FakeQuery:
    """What the progress line looks at."""

    def __init__(self, embedded: bool = True) -> None:
        self.history = QueryHistory("missing_momentum", embedded)

    @property
    def view(self) -> QueryView:
        return self.history.view()

    def show(self) -> bool:
        return False

    def settle(self) -> None:
        raise AssertionError("no widget shows it")

    def report(
        self,
        reached: int,
        seconds: float,
        slots: int = 2,
        waits: messages.Wait | None = None,
        read: int = 0,
        begins: messages.Activity | None = None,
        kind: Literal["tree", "items"] = "tree",
    ) -> None:
        account = Account(total=2_000_000, files=4, files_opened=4, kind=kind)
        self.history.heard(Progress("q1", account, reached, read, slots, 1, seconds, waits, begins))

    def line(self) -> Line:
        return line_of(self.view)


# --- progress -----------------------------------------------------------------------------------------------------------


def test_the_line_says_how_many_of_how_many_and_the_time_left_at_the_recent_rate() -> None:
    """Ten seconds of compiling are no part of the rate, and neither is what was faster a minute ago."""
    query = FakeQuery()
    for second in range(11):
        query.report(0, second, begins="compiling")
        assert query.line().words == ("compiling", f"{second} s", "2 slots")
    for second in range(11, 21):
        query.report(100_000 * (second - 10), second, read=50_000_000 * second)
        line = query.line()
    assert line.words == ("1,000,000 of 2,000,000 entries", "10 s left", "100,000/s", "2 slots", "50 MB/s")
    assert line.fraction == 0.5
    for second in range(21, 30):
        query.report(1_000_000, second, read=1_000_000_000)
        line = query.line()
    assert line.words == ("1,000,000 of 2,000,000 entries", "2 slots"), "no rate of 0, no 0 MB/s"


def test_the_first_moments_after_compiling_tell_no_time_left() -> None:
    """A slot begins with few entries: hours were announced for a query of seconds."""
    query = FakeQuery()
    said = []
    for seconds, reached in ((0.5, 0), (1.0, 25), (1.5, 400), (2.0, 100_000), (2.5, 300_000), (3.0, 500_000)):
        query.report(reached, seconds)
        said += [word for word in query.line().words if word.endswith("left")]
    assert said == ["20 s left", "9 s left", "7 s left"]


def test_the_last_line_says_what_is_lost_and_what_failed_before_it_began() -> None:
    """A full bar is for what is done and whole."""
    query = FakeQuery()
    lost = [LostRange("b.root", "Events", 0, None, "truncated")]
    query.history.ended(result_of(1, Account(total=1000, processed=998, failed=2, files=2, files_opened=1, lost=lost)))
    line = query.line()
    assert line.words[:2] == ("998 of 1,000 entries", "2 entries and 1 file lost") and "1 file lost" in line.html()
    query.history.ended(Result([], Account(estimated=True, files=2), 1.5, "failed"))
    line = query.line()
    assert (line.fraction, line.words) == (None, ("failed", "1.5 s"))
    query.history.ended(Result([], NOTHING, 1.5, "failed"))
    line = query.line()
    assert (line.fraction, line.words[:2]) == (0.0, ("failed", "0 of ~1,000 entries"))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_the_line_fits_the_terminal_and_keeps_what_matters(width: int) -> None:
    words = ("140,000 of 2,000,000 entries", "59 min 59 s left", "1,200,000/s", "128 slots", "1,250 MB/s")
    for fraction in (None, 0.07):
        for name in ("dimuon", "a very long name of an analysis", ""):
            line = Line(name, fraction, words).fitted(width)
            assert len(line) <= width
            if width >= 60:
                assert "140,000 of 2,000,000 entries" in line
            if width >= 120:
                assert all(word in line for word in words)
    assert "59 min" in Line("dimuon", 0.07, words).fitted(60)
    html = Line("<lambda>", 0.07, words).html()
    assert "&lt;lambda&gt;" in html and "7%" in html and 'value="0.0700"' in html


def test_a_session_with_workers_of_its_own_does_not_ask_for_any() -> None:
    """The master's words are for those who have to start workers."""
    told = nobody_works()
    for embedded, expected in ((True, "the workers are starting"), (False, waiting(told))):
        query = FakeQuery(embedded)
        query.history.heard(told)
        assert query.line().words[0] == expected


def nobody_works() -> Progress:
    """What the master says to a query without workers."""
    made = World([10])
    made.hello(b"session", "session")
    made.submit(b"session")
    made.now += 1.0
    made.carry_out(made.core.expire(made.now))
    return next(message for message in made.inbox[b"session"] if isinstance(message, Progress))


class Terminal(StringIO):
    """A terminal that keeps all that is written to it."""

    def isatty(self) -> bool:
        return True

    def left(self) -> str:
        """What stands on the line after the last time that it was erased."""
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.getvalue().rpartition("\x1b[2K")[2])


def sit_down_at(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """No fixture: pytest puts its own stderr back before each test's body."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    return made


def test_a_terminal_keeps_one_last_line_and_nothing_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = sit_down_at(monkeypatch)
    query = FakeQuery()
    query.report(140_000, 2.0)
    with pytest.raises(KeyboardInterrupt), ProgressDisplay(query, None):
        raise KeyboardInterrupt
    assert "140,000 of 2,000,000 entries" in terminal.getvalue() and terminal.left().strip() == ""
    with ProgressDisplay(query, None):
        query.history.ended(result_of(1))
    assert terminal.left().strip() == "missing_… ━━━━━━━━ 100%  1,000 of 1,000 entries  1.5 s"


def test_nothing_is_drawn_for_a_query_that_is_over_or_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = sit_down_at(monkeypatch)
    query = FakeQuery()
    query.history.ended(result_of(1))
    with ProgressDisplay(query, None), ProgressDisplay(query, True):
        pass
    assert terminal.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", StringIO())
    with ProgressDisplay(FakeQuery(), None):
        pass
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_the_log_of_a_batch_job_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal: nothing of what is over soon, and the last line of what took long."""
    monkeypatch.setattr(progress_line, "_LOOK_SECONDS", 0.001)
    for seconds, said in ((29.0, 0), (31.0, 2)):
        monkeypatch.setattr(sys, "stderr", StringIO())
        query = FakeQuery()
        query.report(140_000, seconds)
        query.report(150_000, seconds + 0.5)
        with ProgressDisplay(query, None) as display:
            assert not display.shown, "what it waits for is logged"
            if said:
                eventually(lambda: bool(sys.stderr.getvalue()), "a line")  # type: ignore[attr-defined]
            query.history.ended(result_of(1))
        lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
        assert len(lines) == said
        if said:
            assert re.fullmatch(
                r"\d\d:\d\d:\d\d missing_momentum \d+%  150,000 of 2,000,000 entries  .*2 slots", lines[0]
            )
            assert lines[1].endswith("missing_momentum 100%  1,000 of 1,000 entries  1.5 s  670/s")
    monkeypatch.setattr(sys, "stderr", StringIO())
    query = FakeQuery()
    with ProgressDisplay(query, True):
        query.history.ended(result_of(1))
    assert "100%" in sys.stderr.getvalue(), "asked for"  # type: ignore[attr-defined]


def test_a_batch_job_of_a_day_is_not_flooded_and_quarters_are_said() -> None:
    lines, day = BatchLines(), 86_400
    said = [
        second
        for second in range(day)
        if lines.due(QueryView("MET", seconds=second, reached=second, account=Account(total=day), heard=True))
    ]
    assert len(said) < 40 and said[:3] == [30, 60, 90] and {day // 4, day // 2, 3 * day // 4} <= set(said)
    quick = BatchLines()
    all_at_once = [QueryView("MET", seconds=40.0 + at, reached=25 * at, account=Account(total=100)) for at in range(4)]
    assert [quick.due(view) for view in all_at_once] == [True, False, False, False], "ten seconds apart at least"


def test_slots_are_said_by_site_where_there_are_several() -> None:
    history = QueryHistory("MET")
    for sites, words in (({"cern.ch": 8, "": 4}, "8 at cern.ch, 4 at no site"), ({"cern.ch": 12}, "12 slots")):
        history.heard(Progress("q1", Account(total=1000), 500, 0, 12, 3, 5.0, sites=sites))
        assert line_of(history.view()).words[-1] == words and "12 slots" in line_of(history.view()).words


def test_bytes_of_the_whole_query_count_at_its_end_and_not_those_of_the_last_look() -> None:
    """Of a short query nothing or a part was heard of before."""
    history = QueryHistory("MET")
    history.heard(Progress("q1", Account(total=1000), 500, 10**6, 2, 1, 1.0))
    history.ended(Result([], Account(total=1000, processed=1000), 2.0, "done"), bytes_read=10**7)
    assert (history.view().bytes_rate, history.view().past[-1].bytes_read) == (5e6, 10**7)


def test_a_notebook_gets_one_line_that_is_updated_and_needs_no_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rich's own display there would be a warning, and no progress, where ipywidgets is not installed."""
    shown: list[dict[str, str]] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown.append(content)

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw and display_id and not shown
        shown.append(content)
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    query = FakeQuery()
    with ProgressDisplay(query, None):
        query.history.ended(result_of(1))
    assert "submitted" in shown[0]["text/plain"] and "100%" in shown[-1]["text/html"]
    assert all(before != after for before, after in pairwise(shown))


def test_a_notebook_shows_a_query_that_was_over_before_it_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a cell with `process(...).result()` has a picture in the end is no matter of a moment."""
    shown: list[str] = []

    class Widgets(FakeQuery):
        def show(self) -> bool:
            shown.append(self.view.name)
            return True

        def settle(self) -> None:
            shown.append("its end")

    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    query = Widgets()
    query.history.ended(result_of(1))
    with ProgressDisplay(query, None) as display:
        assert display.shown and shown == ["missing_momentum"]
    assert shown == ["missing_momentum", "its end"], "a program that runs the notebook saves what is there then"
    with ProgressDisplay(query, False) as display:
        assert not display.shown and len(shown) == 2, "not asked for"


@pytest.mark.parametrize("messages_heard", [MOST_SAMPLES, 10 * MOST_SAMPLES, 10 * MOST_SAMPLES + 77])
def test_the_past_of_a_query_is_bounded_even_and_ends_now(messages_heard: int) -> None:
    """A query of a week has no more samples than one of an hour, as far apart from each other."""
    query = FakeQuery()
    for second in range(messages_heard):
        query.report(second, float(second))
    past = query.view.past
    assert MOST_SAMPLES // 2 <= len(past) <= MOST_SAMPLES
    assert (past[0].seconds, past[-1].seconds) == (0.0, messages_heard - 1) and past[-1].reached == messages_heard - 1
    steps = {after.seconds - before.seconds for before, after in pairwise(past[:-1])}
    assert len(steps) == 1


# --- commands -----------------------------------------------------------------------------------------------------------


def test_no_sentence_of_the_help_is_cut_in_a_terminal_of_80_columns() -> None:
    said = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert "watch a dimuon spectrum fill." in said and "..." not in said.partition("Commands:")[2]
    assert max(map(len, said.splitlines())) <= 80


def test_status_leaves_out_columns_rather_than_abbreviate_them(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WorkerInfo(
        "node017.cluster-4711",
        "node017.cluster",
        4_194_304,
        slots=64,
        busy=64,
        packets=123_456,
        entries=10**10,
        seconds=9.0,
    )
    info = messages.QueryInfo("q12", "opposite-sign dimuon mass", "somebody", "running", DONE, 4711.0)
    session = types.SimpleNamespace(
        address="tcp://head:8786",
        workers=lambda: WorkerList([worker]),
        queries=lambda: QueryList([info]),
        pools=PoolList,
        cluster_feed=lambda: None,
    )
    monkeypatch.setattr(cli, "_connect", lambda target: contextlib.nullcontext(session))
    for width in (80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        said = CliRunner().invoke(main, ["status"]).output
        assert "…" not in said and "10,000,000,000" in said and "opposite-sign dimuon mass" in said
        assert all(heading in said for heading in ("worker", "slots", "busy", "entries", "state", "packets", "owner"))
        assert ("in a wider terminal also: packets, waited" in said) == (width == 80)
        assert max(map(len, said.splitlines())) <= width


# --- results ------------------------------------------------------------------------------------------------------------


def test_a_result_can_be_pickled_and_copied() -> None:
    """What it holds lies in memory of ZeroMQ, which cannot be."""
    mass = Hist.new.Reg(5, 0, 10).Weight().fill([1.0, 2.0, 7.0])
    result = result_of({"mass": mass, "counts": np.arange(3)})
    assert result["mass"] == mass
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert again["mass"] == mass and again["counts"].tolist() == [0, 1, 2]
        assert (
            type(again) is Result
            and again.account == result.account
            and again.state == "done"
            and again.fraction == 1.0
        )


def test_a_result_without_anything_says_so() -> None:
    result = Result([], NOTHING, 0.5, "stopped")
    with pytest.raises(em.errors.QueryFailed) as caught:
        result["mass"]
    assert str(caught.value) == "nothing has been merged: 0 entries were processed"
    assert "mass" not in result and list(result) == [] and result.value is None
    assert repr(result).startswith("<Result stopped before anything was merged: 0 of about 1,000 entries processed")


def test_an_analysis_that_returned_none_is_asked_about_a_return_when_its_result_comes() -> None:
    """Most users look for what is in a result only after they have taken it for done."""
    query = Query(types.SimpleNamespace(starts_workers=True), "1", "forgetful")  # type: ignore[arg-type]
    query._ending, query._snapshots, result = Ending(result_of(None), Report()), 1, result_of(None)
    for waits in (lambda: query.result(), lambda: list(query.stream())):
        with pytest.warns(UserWarning, match="is a return missing") as caught:
            waits()
        assert caught[0].filename == __file__, "it points at the user's line"
    query._ending = Ending(result_of({"none": None}), Report())
    assert query.result() is query._result
    assert result.value is None and "is a return missing?" in repr(result)
    with pytest.raises(em.errors.AnalysisError, match="is a return missing"):
        result["mass"]


def test_cycles_and_items_are_counted_in_their_own_words() -> None:
    account = Account(total=1000, processed=999, failed=1, files=1, files_opened=1, kind="cycles")
    assert describe_account(account) == "999 of 1,000 cycles processed, 1 cycle lost (see result.account.lost)"
    assert (
        "of 1,000 cycles processed" in repr(result_of(1, account))
        and "entries" not in result_of(1, account)._repr_html_()
    )
    query = FakeQuery()
    query.report(500, 3.0, kind="items")
    assert query.line().words[0] == "500 of 2,000,000 items"


def test_a_result_says_where_its_contents_are() -> None:
    one, many = result_of(Hist.new.Reg(5, 0, 10).Double()), result_of({"mass": 1})
    with pytest.raises(AttributeError, match=r"use result\.value\.sum"):
        one.sum()
    with pytest.raises(TypeError, match=r"returned a Hist, not a dict: use result\.value"):
        one.keys()
    with pytest.raises(AttributeError, match=r"use result\['mass'\]"):
        _ = many.mass
    with pytest.raises(AttributeError, match=r"Result has no attribute 'nonsense'$"):
        _ = many.nonsense
    with pytest.raises(KeyError):
        many["nonsense"]


def test_an_account_names_what_is_lost() -> None:
    def lost(stop: int | None) -> LostRange:
        return LostRange("bad.root", "Events", 0, stop, "DatasetError: it is cut short")

    account = Account(total=10, processed=10, files=2, files_opened=1, lost=[lost(None)])
    assert describe_account(account).endswith("in 1 of 2 files, 1 file lost (see result.account.lost)")
    account = Account(total=10, processed=7, failed=3, files=3, files_opened=1, lost=[lost(3), lost(None), lost(None)])
    assert describe_account(account).endswith(", 3 entries and 2 files lost (see result.account.lost)")
    assert describe_account(Account()) == "just submitted"
    assert describe_account(Account(files=4, estimated=True)) == "none of 4 files opened yet"
    html = result_of({"<pt>": 1}, account)._repr_html_()
    assert "&lt;pt&gt;" in html and "7 of 10 processed (70.0%)" in html and "3 entries and 2 files lost" in html


# --- commands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_picture_of_the_demo_fits_the_terminal_and_names_the_peaks(width: int) -> None:
    mass = Hist.new.Log(demo.BINS, demo.LOW, demo.HIGH).Double()
    mass.fill(np.random.default_rng(1).uniform(2, 200, 100_000))
    account = Account(total=200_000_000, processed=100_000_000, files=20, files_opened=20)
    console = Console(file=StringIO(), width=width)
    console.print(demo.picture(result_of({"mass": mass}, account), width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 18, "nothing wraps"
    axis = lines[-2]
    assert re.match(r"^2 .*J/ψ .* Z .* 200 GeV$", axis)
    for name, value in demo.PEAKS.items():
        position = np.log(value / demo.LOW) / np.log(demo.HIGH / demo.LOW) * min(demo.BINS, width - 2)
        assert abs(axis.index(name) + len(name) // 2 - position) <= 1


def test_a_picture_that_cannot_be_saved_is_refused_before_the_work(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "x.png", tmp_path):
        done = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "sample"), "--png", str(path)])
        assert done.exit_code == 2 and "Invalid value for '--png'" in done.output
    assert not (tmp_path / "sample").exists()


# --- what is written ------------------------------------------------------------------------------------------------------


@pytest.mark.long("all examples of the guide")
def test_the_code_of_the_guide_runs(session: em.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the session of all tests, which costs nothing: the README's begin sessions of their own."""
    write_sample(tmp_path / "events", events=20_000)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "guide.md").read_text()
    changes = {
        "em.cycles(1_000_000,": "em.cycles(50_000,",
        "session = em.connect()": "session = session",
        "session.close()": "pass",  # others still need it
        'em.items([f"night': f'em.items([f"{tmp_path}/night',  # its workers are in another folder
    }
    for written, instead in changes.items():
        assert text.count(written) == 1
        text = text.replace(written, instead)
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__", "session": session}
    for block in blocks:
        if "coffea" not in block or importlib.util.find_spec("coffea") is not None:
            exec(compile(block, "guide.py", "exec"), names)
    assert names["results"]["signal"]["counts"][0] == 5000
    assert names["lost"].path.endswith(("broken.root", "missing.root"))
    assert len(blocks) > 10


def test_the_messages_that_the_readme_explains_are_real(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is provoked. A row with no message in it, or one that is not provoked here, fails the test."""
    table = (ROOT / "README.md").read_text().partition("| what you see |")[2]
    quoted = re.findall(r"^\| `([^|]+)` \|", table, flags=re.MULTILINE)
    write_sample(tmp_path / "events", events=100, files=1)
    reader = Reader(str(tmp_path / "events" / "events_0.root"), "Events")
    with pytest.raises(em.errors.DatasetError) as branch:
        reader.read(["Muon_pT"], 0, 1)
    reader.close()
    hello = messages.Hello("worker", "w", python="3.12")
    lost = LostRange("bad.root", "Events", 0, None, "it is cut short")
    notices = Notices("dimuon", starts_workers=True)
    notices.lines = 3
    notices.ended()
    provoked = [
        caplog.messages[-1],
        *refusals(tmp_path),
        unfit(WORKER, hello, "3.11"),
        waiting(nobody_works()),
        str(branch.value),
        describe_account(Account(files=2, lost=[lost])),
    ]
    for text in quoted:
        pattern = ".*".join(re.escape(part.strip()) for part in text.split("…"))
        assert any(re.search(pattern, message) for message in provoked), text
    assert len(quoted) == len(provoked)


def refusals(folder: Path) -> list[str]:
    """What a session says when nobody listens, when somebody with another key does, and when its file is no secret."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.ROUTER) as stranger:
        stranger.set(zmq.CURVE_SERVER, 1)
        stranger.set(zmq.CURVE_SECRETKEY, zmq.curve_keypair()[1])
        stranger.set(zmq.LINGER, 0)
        stranger.bind("tcp://127.0.0.1:*")
        with socket.create_server(("127.0.0.1", 0)) as server:
            silent = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        said = [refusal(folder, address) for address in (silent, stranger.get_string(zmq.LAST_ENDPOINT))]
    (folder / "keys" / "client.json").chmod(0o644)
    with pytest.raises(em.errors.ConnectionFailed) as caught:
        em.connect(folder / "keys" / "client.json")
    return [*said, str(caught.value)]


def refusal(folder: Path, address: str) -> str:
    """What is known after two seconds."""
    keys = make_keys(folder / "keys", address)
    with pytest.raises(em.errors.ConnectionFailed) as caught:
        em.connect(keys.client, timeout=2.0)
    return str(caught.value)


# --- in a notebook --------------------------------------------------------------------------------------------------------


def test_lists_accounts_and_sessions_are_tables_in_a_notebook_in_which_no_name_is_markup() -> None:
    evil = "<script>alert(1)</script>"
    worker = WorkerInfo(evil, "node7", 12, 2, 1, 3, 4_000, 5.0)
    info = messages.QueryInfo("q1", evil, "somebody", "running", DONE, 4711.0)
    lost = [messages.LostRange(evil, "tree", at, at + 1, evil) for at in range(12)]
    account = ResultAccount(total=12, failed=12, files=1, files_opened=1, redone=7, lost=lost, notes=[evil])
    lists = types.SimpleNamespace(
        workers=lambda: WorkerList([worker]),
        queries=lambda: QueryList([info]),
        starts_workers=False,
        pools=lambda: PoolList(
            [messages.PoolInfo(evil, "slurm", 1, 9, [messages.LaunchInfo(evil, "failed", 1.0, evil)])]
        ),
    )
    forms = (
        WorkerList([worker])._repr_html_(), QueryList([info])._repr_html_(), account._repr_html_(),
        session_html(lists),  # type: ignore[arg-type]
    )  # fmt: skip
    for form in forms:
        assert "<script" not in form and "&lt;script&gt;" in form and form.count("<table") == form.count("</table>") > 0
    assert all(cell in forms[3] for cell in ("node7", "4,000", "somebody", "4711.0"))
    assert "0 of 12 entries (0.0%)" in forms[2] and "and 2 more" in forms[2] and ">7<" in forms[2]
    assert repr(WorkerList([worker])).splitlines()[1].split()[1:5] == ["node7", "12", "2", "1"]
    assert repr(WorkerList()) == "no workers" and "no queries" in QueryList()._repr_html_()


def test_no_display_of_a_session_of_its_own_tells_to_start_workers() -> None:
    """They start by themselves: line, widget, list, page, terminal and log say so; those of a standing master what to do."""
    wait = Progress("q1", Account(), 0, 0, 0, 0, 9.0, messages.Wait("workers"))
    info = messages.QueryInfo("q1", "MET", "ann", "running", Account(), 9.0, 9.0)
    for own in (True, False):
        history, clusters = QueryHistory("MET", own), ClusterHistory(own)
        history.heard(wait)
        clusters.heard(messages.Cluster(1, "c", True, False, 9.0, [], [], [], [info], [], [wait], {}))
        said = [
            line_of(history.view()).plain(), line_of(history.view()).html(), line_of(history.view()).words[0],
            clusters.view.queries["q1"].view.wait, query_line(clusters.view.queries["q1"], 150).plain, waiting(wait, own),
            headline("tcp://h:1", clusters.view, own, 150).plain,
        ]  # fmt: skip
        assert all(("the workers are starting" in text) == own for text in said), said
        assert not any("eventmill worker" in text for text in said) or not own


def test_a_session_of_its_own_says_that_its_workers_start_and_one_without_a_master_what_is_wrong() -> None:
    def refuses() -> WorkerList:
        raise em.errors.ConnectionFailed("nobody <answers>")

    own = types.SimpleNamespace(
        workers=WorkerList, queries=QueryList, pools=PoolList, starts_workers=True, cluster_feed=lambda: None
    )
    assert "the workers are starting" in session_html(own)  # type: ignore[arg-type]
    alone = types.SimpleNamespace(workers=refuses, queries=QueryList, starts_workers=False)
    assert "nobody &lt;answers&gt;" in session_html(alone)  # type: ignore[arg-type]


@pytest.mark.parametrize(("lines", "warnings", "words"), [(0, 0, ""), (1, 0, "1 line of output"), (5, 5, "5 warnings")])
def test_a_progress_line_says_that_the_analysis_has_said_something(lines: int, warnings: int, words: str) -> None:
    """In displays that do not show it themselves."""
    history = QueryHistory("MET")
    account = Account(total=100, files=1, files_opened=1)
    history.heard(Progress("q1", account, 10, 0, 2, 1, 5.0, lines=lines, warnings=warnings))
    line, plain = with_output(line_of(history.view()), history.view()), line_of(history.view())
    assert line.words == (*plain.words, *([f"{words}: query.logs()"] if words else []))
