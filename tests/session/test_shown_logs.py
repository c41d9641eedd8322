"""Lines that were said, as users see them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from eventmill.display.logs import LogLine, Logs, shown
from eventmill.protocol.messages import LogEntry, OutputLine, Unkept

NOON = datetime(2026, 1, 1, 12, 0, 0)


def line(text: str, number: int = 0, worker: str = "node7-2", **changes: object) -> LogLine:
    said = OutputLine("stdout", text, "q1", ago=60.0, slot=0, path="f.root", start=5, stop=6)
    entry = LogEntry(number, said, 1.0, {worker: 1})
    return LogLine.of(entry, NOON) if not changes else LogLine(text, "stdout", NOON, NOON, number=number, **changes)


def test_lines_say_when_who_and_what() -> None:
    first = line("hello")
    assert (first.time, first.last) == (NOON - timedelta(seconds=60), NOON - timedelta(seconds=1))
    assert str(first) == "11:59:00 node7-2:0  hello"
    many = LogLine("a\nb", "error", NOON, NOON, 3, "w1", 0, "q1", "f.root", 5, 6, workers=(("w1", 1), ("w2", 2)))
    assert str(many) == "12:00:00 w1 and 1 more  a [3 times]\n         b\n         in f.root, entry 5"
    warning = LogLine("divide by zero", "warning", NOON, NOON, level="RuntimeWarning", place="a.py:3")
    assert warning.words == "RuntimeWarning: divide by zero (a.py:3)"
    assert first.as_json()["file"] == "f.root" and first.as_json()["time"].startswith("2026-01-01T11:59:00.000")


def test_nothing_that_is_said_steers_a_terminal_or_a_page() -> None:
    """A print can have escape sequences, an injected script, or characters that turn the text around."""
    logs = Logs([line("\x1b[2J\r\x9b31m<script>alert(1)</script>\u202e\x00\ttab")])
    assert "\x1b" not in repr(logs) and "\\x1b[2J\\r\\x9b31m" in repr(logs) and "\\u202e\\x00\ttab" in repr(logs)
    assert "<script>" not in logs._repr_html_() and "&lt;script&gt;" in logs._repr_html_()
    assert "\x1b" not in logs._repr_html_() and shown("ü ∑") == "ü ∑"


def test_logs_are_a_list_that_can_be_searched() -> None:
    logs = Logs([line("b", 2), line("a", 1, "node8-3"), line("abc", 3)], Unkept("q1", 10, 2_000_000))
    assert [it.text for it in logs] == ["a", "b", "abc"] and len(logs[1:]) == 2 and logs[-1].text == "abc"
    assert [it.text for it in logs.selected(worker="node7")] == ["b", "abc"]
    assert [it.text for it in logs.selected(grep="^a", tail=1)] == ["abc"]
    assert len(logs.selected(tail=0)) == 0
    assert repr(logs).endswith("(10 more lines, 2.0 MB, were too much to keep)")
    with pytest.raises(ValueError, match="no regular expression"):
        logs.selected(grep="(")
    assert repr(Logs()) == "(nothing was said)"
    again = logs.updated(Logs([line("b", 2, count=7), line("new", 9, count=1)], cursor="c"))
    assert [(it.text, it.count) for it in again] == [("a", 1), ("b", 7), ("abc", 1), ("new", 1)] and again.cursor == "c"
