"""The full-screen view of a master: queries, workers, slots, file servers, what is said, and a histogram that grows.

It shows what `ClusterView`, `QueryView` and `Logs` say, as all displays do, and asks for it once a second. Whatever waits
for the master runs in a thread, so that a master that is away stops nothing here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from ...protocol.errors import EventmillError
from ...protocol.messages import FINAL
from ..cluster_view import ClusterView, QueryRow, ServerView, WorkerView
from ..feeds import ClusterFeed, LogFeed
from ..logs import LogLine, Logs
from ..progress_line import duration
from ..waits import NO_WORKER, STARTING
from .picture import Picture, Watched
from .row_list import RowList
from .rows import (
    activity_bar,
    activity_words,
    headline,
    query_line,
    said,
    server_line,
    slot_cells,
    worker_line,
)

ASK_SECONDS = 1.0
"""How often the master is asked for what is new."""
DRAW_SECONDS = 0.25
AWAY_SECONDS = 4.0
"""Without an answer for so long, the master is said to be away."""


class Source(Protocol):
    """The session of who looks."""

    @property
    def address(self) -> str:
        """Where the master is."""

    @property
    def starts_workers(self) -> bool:
        """Whether its workers start by themselves."""

    @property
    def feed(self) -> ClusterFeed:
        """What goes on."""

    @property
    def said(self) -> LogFeed:
        """What is said."""

    def watch(self, query: str) -> Watched:
        """Have a query's snapshots come, and those of no other. Waits for the master; raises `EventmillError`."""

    def stop(self, query: str, keep: bool) -> None:
        """End a query. Waits for the master; raises `EventmillError`."""


class Confirmation(ModalScreen[bool]):
    """Asks before something is done that cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question, and how to answer."""
        yield Static(
            Text.assemble(self._question, "\n\n", ("y", "bold"), " yes    ", ("n", "bold"), " no"), id="question"
        )


class Top(App[None]):
    """The view itself.

    Args:
        source: where it comes from.
        clock: seconds, of any origin.
    """

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (110, "-wide"),
    ]
    TITLE = "eventmill top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop(True)", "stop"),
        Binding("a", "stop(False)", "abort"),
        Binding("h", "only('histogram')", "histogram"),
        Binding("l", "only('said')", "logs"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("n", "turn(1)", "next", show=False),
        Binding("p", "turn(-1)", "previous", show=False),
        Binding("t", "theme", "light/dark", show=False),
        Binding("escape", "everything", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.theme = "ansi-light" if _is_light(os.environ.get("COLORFGBG", "")) else "ansi-dark"
        self._source, self._clock = source, clock
        self._view: ClusterView | None = None
        self._said = -1
        self._answers, self._answered = 0, clock()
        self._away = False
        self._filtered: RowList[Any] | None = None
        self.query_list = RowList[QueryRow](
            "queries", lambda row: row.number, query_line, "no query yet", _query_words, widget_id="queries"
        )
        self.worker_list = RowList[WorkerView](
            "workers",
            lambda it: it.name,
            worker_line,
            "",
            _worker_words,
            widget_id="workers",
        )
        self.server_list = RowList[ServerView](
            "servers", _name, server_line, "no server was read from", widget_id="servers"
        )
        self.said_list = RowList[tuple[str, str, LogLine]](
            "said", lambda it: it[0], _said_line, "(nothing was said)", lambda it: it[1], follows=True, widget_id="said"
        )
        self.picture = Picture(widget_id="histogram")
        self._headline, self._activities = Static(id="headline"), Static(id="activities")
        self._slots = Static(id="slots")

    def compose(self) -> ComposeResult:
        """Everything there is to see."""
        yield self._headline
        yield self._activities
        yield self.query_list
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield self.worker_list
                yield self._slots
                yield self.server_list
            yield self.picture
        yield self.said_list
        yield Input(placeholder="words to look for", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask and to draw."""
        self.query_list.focus()
        self._ask()
        self._draw()
        self.set_interval(ASK_SECONDS, self._ask)
        self.set_interval(DRAW_SECONDS, self._draw)

    # --- what is new ------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._source.feed.poll()
        self._source.said.poll()

    def _draw(self) -> None:
        """Show what is new."""
        feed, said = self._source.feed, self._source.said
        self._look_whether_away(feed.answers)
        if said.version != self._said:
            self._said = said.version
            self.said_list.show(_lines(said.logs))
        if feed.view is not self._view:
            self._view = view = feed.view
            lost = sum(worker.lost for worker in view.gone)
            self.worker_list.note = " · ".join(
                [f"{lost:,} lost"] * bool(lost) + ["busy of slots, entries, read, CPU/time"]
            )
            self.worker_list.empty = STARTING if self._source.starts_workers else NO_WORKER
            self.query_list.show(list(view.queries.values())[::-1])
            self.worker_list.show(list(view.workers.values()))
            self.server_list.show(list(view.servers.values()))
            if self.picture.watched is None and self.query_list.rows and not self.picture.opening:
                self._watch(next((row for row in self.query_list.rows if not row.view.final), self.query_list.rows[0]))
            self._draw_heads()
        self.picture.refresh_if_new()

    def _draw_heads(self) -> None:
        view = self._view or ClusterView()
        line = headline(self._source.address, view, self._source.starts_workers, self.size.width - 2)
        if self._away:
            silent = self._clock() - self._answered
            line = Text(f"the master at {self._source.address} has not answered for {duration(silent)}; waiting for it")
        self._headline.set_class(self._away, "away")
        self._headline.update(line)
        counts = view.activities
        words = activity_words(counts)
        room = max(0, self.size.width - words.cell_len - 2)
        self._activities.update(Text.assemble(words, activity_bar(counts, room), no_wrap=True))
        worker = self.worker_list.row
        self._slots.update("" if worker is None else slot_cells(worker))

    def _look_whether_away(self, answers: int) -> None:
        if answers != self._answers:
            was_away, self._away = self._away, False
            self._answers, self._answered = answers, self._clock()
            if was_away:
                self.notify("the master is there again")
                self._draw_heads()
        elif self._clock() - self._answered > AWAY_SECONDS:
            self._away = True
            self._draw_heads()

    # --- keys -------------------------------------------------------------------------------------------------------

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """Enter on a query: its histograms are shown from now on."""
        if isinstance(event.row, QueryRow):
            self._watch(event.row)

    def on_row_list_moved(self) -> None:
        """Another worker's slots are shown."""
        self._draw_heads()

    def on_resize(self) -> None:
        """The bar is as wide as there is room."""
        if self.is_running and self._view is not None:
            self.call_after_refresh(self._draw_heads)

    def action_stop(self, keep: bool) -> None:
        """Stop or abort the query under the cursor, if the user means it."""
        row = self.query_list.row
        if row is None or row.view.state in FINAL:
            self.notify(
                "no query here that goes on" if row is None else f"query {row.number} is over: {row.view.state}"
            )
            return
        what = "stop it, and keep what is done" if keep else "abort it, and drop what is done"
        question = f"query {row.number}, {row.view.name}, of {row.owner or 'somebody'}: {what}?"

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(partial(self._stop, row.number, keep), thread=True, group="stop")

        self.push_screen(Confirmation(question), answered)

    def action_only(self, what: str) -> None:
        """Show the histogram, or what is said, on the whole screen, or everything again."""
        shows = not self.screen.has_class(f"-{what}")
        self.action_everything()
        self.screen.set_class(shows, f"-{what}")
        (self.said_list if shows and what == "said" else self.query_list).focus()

    def action_everything(self) -> None:
        """Everything is shown again, and all of it."""
        field = self.query_one("#filter", Input)
        if field.display and self._filtered is not None:
            self._filtered.filter("")
            self._end_filter()
            return
        for name in ("-histogram", "-said"):
            self.screen.remove_class(name)

    def action_filter(self) -> None:
        """Ask for words; of the list in focus, only rows with them are shown."""
        focused = self.focused
        self._filtered = focused if isinstance(focused, RowList) else self.query_list
        field = self.query_one("#filter", Input)
        field.value = self._filtered.wanted
        self.screen.add_class("-filtering")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Already while the words are written."""
        if self._filtered is not None:
            self._filtered.filter(event.value)

    def on_input_submitted(self) -> None:
        """They are written."""
        self._end_filter()

    def action_turn(self, by: int) -> None:
        """Draw another histogram of the query."""
        self.picture.turn(by)

    def action_theme(self) -> None:
        """Colours for a light terminal instead of a dark one, or the other way round."""
        self.theme = "ansi-light" if self.theme == "ansi-dark" else "ansi-dark"

    # --- inside -----------------------------------------------------------------------------------------------------

    def _end_filter(self) -> None:
        self.screen.remove_class("-filtering")
        (self._filtered or self.query_list).focus()

    def _watch(self, row: QueryRow) -> None:
        self.picture.begin(f"{row.number} {row.view.name}")
        self.run_worker(partial(self._open, row.number), thread=True, exclusive=True, group="watch")

    def _open(self, number: str) -> None:
        """In a thread: the master is waited for."""
        try:
            watched = self._source.watch(number)
        except EventmillError as error:
            self.call_from_thread(self.picture.fail, str(error))
        else:
            self.call_from_thread(self.picture.follow, watched)

    def _stop(self, number: str, keep: bool) -> None:
        """In a thread."""
        try:
            self._source.stop(number, keep)
        except EventmillError as error:
            self.call_from_thread(self.notify, str(error), severity="error", markup=False)
        else:
            self.call_from_thread(self.notify, f"told query {number} to {'stop' if keep else 'abort'}", markup=False)


def _query_words(row: QueryRow) -> str:
    return f"{row.number} {row.owner} {row.view.name} {row.view.state}"


def _worker_words(worker: WorkerView) -> str:
    return f"{worker.name} {worker.host} {worker.site}"


def _name(it: WorkerView | ServerView) -> str:
    return it.name


def _lines(logs: Logs) -> list[tuple[str, str, LogLine]]:
    """Lines as they are shown, with what tells them from others."""
    return [(f"{it.number}.{at}", text, it) for it in logs for at, text in enumerate(str(it).split("\n"))]


def _said_line(line: tuple[str, str, LogLine], _width: int) -> Text:
    return said(line[1], line[2].source)


def _is_light(colours: str) -> bool:
    """Whether a terminal that tells its colours (rxvt, konsole and others) has a light background.

    Example:
        >>> _is_light("0;15"), _is_light("15;default;0"), _is_light("")
        (True, False, False)
    """
    return colours.rpartition(";")[2] in ("7", "15")
