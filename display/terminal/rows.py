"""What a line of `eventmill top` says of a query, a worker, a file server, or all slots: text with colours, no widgets."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..cluster_view import ClusterView, QueryRow, ServerView, WorkerView
from ..logs import shown
from ..progress_line import duration, line_of, per_second
from ..waits import NO_WORKER, STARTING

COLOURS = {
    "running": "green",
    "reading": "bright_blue",
    "opening": "cyan",
    "compiling": "magenta",
    "loading": "bright_magenta",
    "committing": "yellow",
    "leaving": "bright_yellow",
    "down": "red",
    "idle": "bright_black",
}
"""Of what a slot is at, in the order of a bar; the terminal's own colours, which are readable on its own background."""
_STATES = {"done": "green", "stopped": "yellow", "aborted": "red", "failed": "red"}
_SLOT, _BAR = "■", "━"
_GAP = "  "
_NAME = 16
"""Columns for the name of a query, as in its progress line."""


def query_line(row: QueryRow, width: int) -> Text:
    """A query: its number and owner, and the words that its own session shows."""
    text = Text(no_wrap=True)
    text.append(f"{_fitted(row.number, 8)} {_fitted(row.owner, 8)} ")
    room = max(20, width - text.cell_len)
    line = line_of(row.view)
    line = dataclasses.replace(line, name=_fitted(line.name, max(8, min(_NAME, room // 6))))
    text.append(shown(line.fitted(room)))
    done = text.plain.rfind(_BAR) + 1
    if done:
        text.stylize(_STATES.get(row.view.state, "cyan"), text.plain.find(_BAR), done)
    elif row.view.final:
        text.stylize(_STATES[row.view.state], 0, 9)
    return text


def worker_line(worker: WorkerView, width: int) -> Text:
    """A worker: who and where, its slots, what they are at, and what they have done."""
    name = min(28, max(10, width - 56))
    text = Text(no_wrap=True)
    text.append(f"{_fitted(worker.name, name)} {_fitted(worker.site or worker.host, 12)} ")
    text.append(f"{worker.busy:>3}/{worker.width:<3} ")
    text.append_text(activity_bar(Counter(worker.slots), 10)).append(_GAP)
    if worker.leaves is not None:
        text.append(f"leaves{_GAP}", COLOURS["leaving"])
    text.append(
        f"{_short(worker.total.entries):>7} {_short(worker.total.bytes_read):>8}B {worker.total.efficiency:>4.0%}"
    )
    return text


def server_line(server: ServerView, width: int) -> Text:
    """A file server: how fast it is of late, and how long its slots wait for it."""
    latency = "-" if server.latency is None else f"{server.latency * 1000:,.1f} ms"
    text = Text(no_wrap=True)
    text.append(f"{_fitted(server.name or 'no file', min(40, max(12, width - 51)))} ")
    text.append(f"{server.rate / 1e6:>8,.1f} MB/s{_GAP}{latency:>10}{_GAP}")
    text.append(f"waiting {server.waiting:>4.0%}", "red" if server.waiting > 0.5 else "")
    text.append(f"{_GAP}{_short(server.total.bytes_read)}B")
    return text


def said(text: str, source: str) -> Text:
    """A line of what was said, in the colour of its kind."""
    return Text(text, style={"error": "red", "stderr": "", "stdout": ""}.get(source, "yellow"), no_wrap=True)


def slot_cells(worker: WorkerView) -> Text:
    """A cell for each slot of a worker, in the order of their numbers."""
    text = Text().append(f"{shown(worker.name)} ", "dim")
    for slot in worker.slots:
        text.append(_SLOT, COLOURS.get(slot, ""))
    return text


def activity_bar(slots: Mapping[str, int], columns: int) -> Text:
    """All slots as a bar: what part of them is at what; who is at something at all has a column.

    Example:
        >>> bar = activity_bar({"running": 6, "reading": 1, "idle": 1}, 8)
        >>> bar.plain, [(span.style, span.end - span.start) for span in bar.spans]
        ('━━━━━━━━', [('green', 6), ('bright_blue', 1), ('bright_black', 1)])
    """
    there = {name: slots[name] for name in COLOURS if slots.get(name)}
    text = Text(no_wrap=True)
    total = sum(there.values())
    left = columns
    for at, (name, count) in enumerate(there.items()):
        others = len(there) - at - 1
        size = left if not others else max(1, min(left - others, round(columns * count / total)))
        text.append(_BAR * max(0, size), COLOURS[name])
        left -= size
    return text if total else Text("─" * columns, style="dim")


def activity_words(slots: Mapping[str, int]) -> Text:
    """How many slots are at what."""
    text = Text(no_wrap=True)
    for name, colour in COLOURS.items():
        if count := slots.get(name, 0):
            text.append(f"{_SLOT} ", colour).append(f"{name} {count:,}{_GAP}")
    return text


def headline(address: str, view: ClusterView, starts_workers: bool, width: int) -> Text:
    """The cluster in a line: as much of it as there is room for."""
    workers = f"{len(view.workers):,} worker{'' if len(view.workers) == 1 else 's'}"
    words = [workers, f"{view.slots:,} slots, {view.busy:,} busy"]
    if not view.workers:
        words = [STARTING if starts_workers else NO_WORKER.partition(":")[0]]
    if view.rate:
        words.append(per_second(view.rate))
    if view.bytes_rate >= 1e6:
        words.append(f"{view.bytes_rate / 1e6:,.0f} MB/s")
    words.append(f"up {duration(view.now)}")
    while len(words) > 1 and len(address) + len(" · ".join(words)) + len("eventmill   ") > width:
        words.pop()
    return Text.assemble(("eventmill ", "bold"), address, _GAP, " · ".join(words), no_wrap=True)


def _short(number: float) -> str:
    """A number in four or five columns.

    Example:
        >>> _short(999), _short(12_345), _short(999_999), _short(4e12)
        ('999 ', '12.3 k', '1.0 M', '4.0 T')
    """
    for unit in ("", "k", "M", "G", "T"):
        if number < 999.95 or unit == "T":
            return f"{number:,.0f} " if not unit else f"{number:,.1f} {unit}"
        number /= 1000
    raise AssertionError


def _fitted(text: str, columns: int) -> str:
    text = shown(text)
    return set_cell_size(text if cell_len(text) <= columns else f"{text[: columns - 1]}…", columns)
