"""The kernel's half of the notebook widget: what is sent to a browser, and when; and what stays for those without one."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import pytest
from eventmill.display import notebook
from eventmill.display.choice import MOST_ITEMS
from eventmill.display.logs import LogLine, Logs
from eventmill.display.notebook import QueryWidget
from eventmill.display.query_view import QueryHistory, QueryView
from eventmill.merge import encode
from eventmill.protocol.messages import Account, LogSource, Progress
from eventmill.session.result import Result, Snapshot
from hist import Hist

NOW = datetime(2026, 11, 29)


class Feed:
    """What an analysis has said."""

    def __init__(self) -> None:
        self.version, self.logs, self.asked = 0, Logs(), 0

    def poll(self) -> None:
        self.asked += 1

    def says(self, text: str, count: int, source: LogSource) -> None:
        line = LogLine(text, source, NOW, NOW, count, level="RuntimeWarning")
        self.logs, self.version = Logs([*self.logs, line]), self.version + 1


class LiveQuery:
    """A query whose snapshots the test makes."""

    def __init__(self) -> None:
        self.history = QueryHistory("<script>alert(1)</script>")
        self.snapshot: Snapshot | None = None
        self.ended: list[str] = []
        self.feed = Feed()

    @property
    def view(self) -> QueryView:
        return self.history.view()

    def result_feed(self) -> LiveQuery:
        return self

    def look(self, names: Any, windows: Any) -> None:
        self.looked = names, windows

    def small(self, names: Any, windows: Any) -> Snapshot:
        assert self.snapshot is not None
        return self.snapshot.small(names, windows)

    def poll(self) -> None:
        """They come by themselves."""

    def log_feed(self) -> Feed:
        return self.feed

    def stop(self) -> None:
        self.ended.append("stop")

    def abort(self) -> None:
        self.ended.append("abort")

    def merged(self, value: Any, processed: int = 10) -> None:
        """There is a snapshot."""
        account = Account(total=100, processed=processed, files=1, files_opened=1)
        self.history.heard(Progress("q1", account, processed, 0, 2, 1, float(processed)))
        self.snapshot = Snapshot(encode(value, processed).to_frames(), account, 1.0, "running")

    def over(self, value: Any) -> None:
        """It is done."""
        account = Account(total=100, processed=100, files=1, files_opened=1)
        self.snapshot = result = Result(encode(value, 100).to_frames(), account, 2.0, "done")
        self.history.ended(result)


class Shown(QueryWidget):
    """Keeps what it would send to a browser."""

    def __init__(self, query: LiveQuery) -> None:
        self.sent: list[tuple[Any, list[memoryview]]] = []
        super().__init__(query)

    def send(self, content: Any, buffers: Any = None) -> None:
        self.sent.append((content, list(buffers or [])))

    def pictures(self) -> list[tuple[int, list[str]]]:
        """The entries of each picture that was sent, and what was in it."""
        return [
            (content["entries"], [picture["name"] for picture in content["pictures"]])
            for content, _ in self.sent
            if content["what"] == "pictures"
        ]


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the last look took; one test has it as it is."""
    monkeypatch.setattr(notebook, "MOST_OF_A_CORE", 1e9)


def mass(*values: float) -> Any:
    return Hist.new.Reg(2, 0, 2, name="m").Double().fill(list(values))


def test_the_next_picture_waits_until_the_last_one_has_been_seen() -> None:
    """What nobody looks at costs nothing, and a slow browser gets the latest, not all of them."""
    query = LiveQuery()
    widget = Shown(query)
    for processed in (10, 20, 30):
        query.merged({"mass": mass(0.5)}, processed)
        widget._refresh()
    assert widget.pictures() == [(10, ["mass"])]
    widget._asked(None, {"seen": 1}, [])
    widget._refresh()
    assert widget.pictures() == [(10, ["mass"]), (30, ["mass"])]
    assert [memoryview(array).tolist() for array in widget.sent[-1][1]] == [[0.0, 1.0, 0.0, 0.0]]
    widget._asked(None, {"seen": 2}, [])
    widget._refresh()
    assert len(widget.pictures()) == 2, "the same is not sent twice"
    widget._asked(None, {"want": "pictures"}, [])
    widget._refresh()
    assert len(widget.pictures()) == 3, "but to who asks for it: a page that was loaded again"


def test_the_user_chooses_and_what_was_chosen_stays() -> None:
    query = LiveQuery()
    widget = Shown(query)
    query.merged({"a": mass(0.5), "b": mass(1.5), "c": mass(), "cutflow": {"all": 12}})
    widget._refresh()
    assert widget.shown == ["a", "b"] and [item["name"] for item in widget.items] == ["a", "b", "c", "cutflow/all"]
    widget.shown = ["c", "a"]
    widget.together = True
    assert widget.pictures()[-1] == (10, ["c and a"])
    query.merged({"a": mass(0.5), "b": mass(1.5), "c": mass()}, 20)
    widget._asked(None, {"seen": 99}, [])
    widget._refresh()
    assert widget.shown == ["c", "a"] and widget.pictures()[-1] == (20, ["c and a"])
    widget.shown = []
    widget._refresh()
    assert widget.shown == []


def test_histograms_that_come_late_are_shown_until_there_are_two() -> None:
    """Of several datasets, some have not begun when the first snapshot comes."""
    query = LiveQuery()
    widget = Shown(query)
    query.merged({"data": {"ht": mass(0.5)}})
    widget._refresh()
    assert widget.shown == ["data/ht"]
    widget._asked(None, {"seen": 99}, [])
    query.merged({"simulation": {"ht": mass(0.5)}, "data": {"ht": mass(0.5)}, "more": mass()}, 20)
    widget._refresh()
    assert widget.shown == ["data/ht", "simulation/ht"]
    widget._asked(None, {"seen": 99}, [])
    query.merged({"simulation": {"ht": mass(0.5)}, "more": mass()}, 30)
    widget._refresh()
    assert widget.shown == ["data/ht", "simulation/ht"], "what is drawn stays where it is"


def test_of_ten_thousand_histograms_some_are_listed_and_the_others_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not shown are not even made."""
    count: list[int] = []
    module = sys.modules["eventmill.merge.encode"]
    make = module.histogram
    monkeypatch.setattr(module, "histogram", lambda node: count.append(1) or make(node))
    query, one = LiveQuery(), mass()  # to make one takes longer than to encode it
    widget = Shown(query)
    query.merged({f"h{number}": one for number in range(10_000)})
    widget._refresh()
    assert len(widget.items) == MOST_ITEMS and widget.more == 10_000 - MOST_ITEMS
    widget.filter = "H9998"
    assert [item["name"] for item in widget.items] == ["h9998"] and widget.more == 0
    widget.shown = ["h9998"]
    assert widget.pictures()[-1] == (10, ["h9998"])
    assert len(count) <= 10, "each of the three that were shown, for its menus and its picture"


def test_menus_are_those_of_what_is_shown() -> None:
    query = LiveQuery()
    widget = Shown(query)
    by_process = Hist.new.StrCat(["top", "W"], name="process").Reg(2, 0, 2, name="x").Double()
    query.merged({"a": mass(), "b": mass(), "c": by_process})
    widget._refresh()
    assert [item["menus"] for item in widget.items] == [{}, {}, {}]
    widget.shown = ["c"]
    assert widget.items[2]["menus"] == {"process": ("top", "W")}


def test_a_result_that_takes_long_to_look_at_is_looked_at_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user picks something, or it is the last one."""
    now = [100.0, 0.0]
    monkeypatch.setattr(notebook, "MOST_OF_A_CORE", 0.04)
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(notebook.time, "thread_time", lambda: now.__setitem__(1, now[1] + 0.1) or now[1])
    query = LiveQuery()
    widget = Shown(query)
    for second in (0.0, 1.0, 2.0, 3.0):
        now[0] = 100.0 + second
        query.merged({"mass": mass(0.5)}, 10 + int(second))
        widget._asked(None, {"seen": 99}, [])
        widget._refresh()
    assert [entries for entries, _ in widget.pictures()] == [10, 13], "0.1 s are 4 % of 2.5 s"
    now[0] = 103.1
    query.merged({"mass": mass(0.5)}, 14)
    widget.log = True
    assert [entries for entries, _ in widget.pictures()] == [10, 13, 14]


def test_what_the_analysis_says_is_shown_once_with_a_count() -> None:
    query = LiveQuery()
    widget = Shown(query)
    query.feed.says("hello <b>", 1, "stdout")
    query.feed.says("overflow", 1200, "warning")
    widget._refresh()
    assert widget.output == [
        {"text": "hello <b>", "kind": ""},
        {"text": "RuntimeWarning: overflow [1,200 times]", "kind": "warning"},
    ]
    widget._refresh()
    assert query.feed.asked == 1, "not at each drawing"


def test_buttons_end_the_query() -> None:
    query = LiveQuery()
    widget = Shown(query)
    widget._asked(None, {"do": "stop"}, [])
    widget._asked(None, {"do": "abort"}, [])
    widget._asked(None, {"do": "something else"}, [])
    assert query.ended == ["stop", "abort"]


def test_a_saved_notebook_keeps_words_a_table_and_a_picture_and_runs_no_script_of_theirs() -> None:
    query = LiveQuery()
    widget = Shown(query)
    assert "submitted" in widget._bundle()["text/html"]
    query.over({"mass": mass(0.5, 1.5), "cuts <img src=x>": 1234})
    widget._refresh()
    kept = widget._bundle()
    assert "100 of 100 entries" in kept["text/plain"]
    assert "1,234" in kept["text/html"] and 'src="data:image/png;base64,' in kept["text/html"]
    assert "<script" not in kept["text/html"] and "<img src=x>" not in kept["text/html"]


def test_an_analysis_that_returns_one_histogram_is_drawn_too() -> None:
    query = LiveQuery()
    widget = Shown(query)
    query.merged(mass(0.5))
    widget._refresh()
    assert widget.shown == [""] and widget.pictures() == [(10, [""])]


def test_of_a_million_bins_those_are_sent_that_a_screen_shows_and_the_others_where_somebody_looks() -> None:
    query = LiveQuery()
    widget = Shown(query)
    large = Hist.new.Reg(10**6, 0, 1, name="x").Double().fill([0.2001, 0.2002, 0.9])
    query.over({"large": large, "other": large, "third": large})
    query.snapshot = query.small(widget.shown, {})
    widget._refresh()
    (content, (contents, _)) = widget.sent[-1]
    drawing = content["pictures"][0]["drawings"][0]
    assert drawing["reduced"] and drawing["axes"][0]["bins"] == len(contents) - 2 == 2000
    assert "1,000,000 bins are drawn as 2,000" in drawing["notes"][0]
    assert [item["name"] for item in widget.items] == ["large", "other", "third"], "also what is not in it"
    widget.windows = {"large": [0.2, 0.2004]}
    assert query.looked == (["large", "other"], {"large": (0.2, 0.2004)})


@pytest.mark.parametrize("value", [None, {}, 5, {"a": "text"}])
def test_what_has_no_histogram_is_no_picture(value: Any) -> None:
    query = LiveQuery()
    widget = Shown(query)
    query.merged(value)
    widget._refresh()
    assert widget.pictures() == []
