"""How far a query is, in one line that is drawn again and again: in a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import math
import threading
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from .account_text import counted, losses
from .batch_lines import BatchLines
from .logs import shown
from .query_view import QueryView

_REDRAWS_PER_SECOND = 8
_BAR = 8
"""Columns that the bar takes, or two or three times as many: with any other number it would jitter with the words."""
_NOTEBOOK_COLUMNS = 100
_LONGEST_NAME = 16
_GAP = "  "
_LOOK_SECONDS = 1.0
"""How often a script without a terminal looks whether a line is due."""


class Watched(Protocol):
    """A query whose progress is shown."""

    @property
    def view(self) -> QueryView:
        """Where it stands."""

    def show(self) -> bool:
        """Show it in the notebook that runs, unless it is shown already; False where that can show no widgets."""

    def settle(self) -> None:
        """Wait until its end is shown."""


class ProgressDisplay:
    """Shows a query's progress until the context ends, and leaves one last line if it ended well.

    Args:
        query: what to show; one that is over already is not, but in a notebook, where it has a widget: there a picture is
            looked for where the query is waited for, and whether it came before its end is a matter of a moment.
        wanted: show it or not; None shows it in a terminal or a notebook. Elsewhere, as in a batch job, a query that
            takes long has a line now and then; with True it has one at the end in any case.
    """

    def __init__(self, query: Watched, wanted: bool | None) -> None:
        console = Console(stderr=True, highlight=False)
        self._view: _Terminal | _Notebook | _Widget | _Script | None = None
        if wanted is False:
            return
        if console.is_jupyter and query.show():
            self._view = _Widget(query)
        elif query.view.final:
            return
        elif console.is_jupyter:
            self._view = _Notebook(query)
        elif console.is_terminal:
            self._view = _Terminal(query, console)
        else:
            self._view = _Script(query, console, always=bool(wanted))

    @property
    def shown(self) -> bool:
        """Whether anybody sees it as it changes."""
        return not isinstance(self._view, _Script | None)

    def __enter__(self) -> ProgressDisplay:
        if self._view is not None:
            self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            self._view.stop(kept=error is None)


# --- what there is to say -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A query's name, how much of it is done (None: nobody knows), and words, the most important ones first."""

    name: str
    fraction: float | None
    words: tuple[str, ...]

    def fitted(self, width: int) -> str:
        """The line in at most `width` columns: as many of the words as there is room for.

        A bar comes after the first two words, and before the others.
        """
        longest = min(_LONGEST_NAME, max(8, width // 6))
        name = self.name if len(self.name) <= longest else self.name[: longest - 1] + "…"
        start = name if self.fraction is None else f"{name} {self.fraction:4.0%}"
        text = ""
        for position, word in enumerate(self.words):
            bar = _BAR + 1 if self.fraction is not None and position > 1 else 0
            if position and len(start + text + _GAP + word) + bar > width:
                break
            text += _GAP + word
        room = width - len(start + text) - 1
        if self.fraction is not None and room >= _BAR:
            start = f"{name} {_bar(self.fraction, _BAR * min(room // _BAR, 3))} {self.fraction:4.0%}"
        line = start + text
        return line if len(line) <= width else line[: width - 1] + "…"

    def plain(self) -> str:
        """All of the line, for a file."""
        percent = "" if self.fraction is None else f" {self.fraction:.0%}"
        return _GAP.join([self.name + percent, *self.words])

    def html(self) -> str:
        """The line for a notebook."""
        bar = "" if self.fraction is None else f'<progress value="{self.fraction:.4f}" max="1"></progress> '
        percent = "" if self.fraction is None else f"{self.fraction:.0%} &ensp;"
        return f"<b>{html.escape(self.name)}</b> {bar}{percent}{html.escape(' · '.join(self.words))}"


def _bar(fraction: float, columns: int) -> str:
    done = min(columns, int(fraction * columns))
    return "━" * done + "─" * (columns - done)


def line_of(view: QueryView) -> Line:
    """What is to be shown of a query."""
    if view.final:
        return _last_line(view)
    if not view.heard:
        return Line(view.name, None, ("submitted",))
    account, seconds = view.account, f"{view.seconds:.0f} s"
    soon = (view.credentials,) if view.credentials and view.credentials != view.wait else ()
    if view.wait:
        return Line(view.name, view.fraction, (view.wait, *soon, seconds))
    slots = f"{view.slots} slot{'' if view.slots == 1 else 's'}"
    if not view.reached:
        return Line(view.name, None, (*soon, view.doing or "opening files", seconds, slots))
    words = [f"{view.reached:,} of {'~' if account.estimated else ''}{account.total:,} {counted(account)}"]
    words += soon
    if account.failed:
        words.append(losses(account))
    if view.seconds_left is not None:
        words += [f"{duration(view.seconds_left)} left", per_second(view.rate)]
    words.append(slots)
    if view.bytes_rate >= 1e6:
        words.append(f"{view.bytes_rate / 1e6:,.0f} MB/s")
    if view.doing:
        words.append(view.doing)
    if len(view.sites) > 1:
        words.append(", ".join(f"{count:,} at {site or 'no site'}" for site, count in view.sites.items()))
    return Line(view.name, view.fraction, tuple(words))


def with_output(line: Line, view: QueryView) -> Line:
    """The line of a display that does not show what the analysis says: that it has said something, and where that is.

    Example:
        >>> with_output(Line("MET", None, ("opening files",)), QueryView("MET", lines=12, warnings=3)).words[-1]
        '9 lines of output, 3 warnings: query.logs()'
    """
    counts = {"line of output": view.lines - view.warnings, "warning": view.warnings}
    said = [f"{count:,} {name if count == 1 else _plural(name)}" for name, count in counts.items() if count > 0]
    return Line(line.name, line.fraction, (*line.words, f"{', '.join(said)}: query.logs()")) if said else line


def _plural(name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{first}s {rest}".strip()


def _last_line(view: QueryView) -> Line:
    account, done = view.account, view.state == "done"
    words: list[str] = [] if done else [view.state]
    known = bool(account.total or done)
    if known:
        about = "~" if account.estimated else ""
        words.append(f"{account.processed:,} of {about}{account.total:,} {counted(account)}")
    if lost := losses(account):
        words.append(lost)
    words.append(f"{view.seconds:,.1f} s")
    if account.processed and view.seconds:
        words.append(per_second(view.rate))
    return Line(view.name, (view.fraction or 0.0) if known else None, tuple(words))


def per_second(rate: float) -> str:
    """A rate with two digits that mean something: more of them would only flicker."""
    return f"{float(f'{rate:.2g}'):,.0f}/s"


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration(0.4), duration(75), duration(4000)
        ('1 s', '1 min 15 s', '1 h 06 min')
    """
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole // 60 % 60:02} min"


def _line(query: Watched) -> Line:
    """While it runs, it says that there is output; of one that is over, a session does (`session/notices.py`)."""
    view = query.view
    return line_of(view) if view.final else with_output(line_of(view), view)


# --- where it is shown ----------------------------------------------------------------------------------------------------


class _Terminal:
    def __init__(self, query: Watched, console: Console) -> None:
        self._query = query
        self._console = console
        self._live = Live(
            get_renderable=self._text, console=console, refresh_per_second=_REDRAWS_PER_SECOND, transient=True
        )

    def start(self) -> None:
        self._live.start()

    def stop(self, kept: bool) -> None:
        """Erase the line; leave a last one if `kept`."""
        self._live.stop()
        if kept:
            self._console.print(self._text())

    def _text(self) -> Text:
        # The last column stays free: some terminals wrap when it is written.
        line = _line(self._query)
        return Text(line.fitted(self._console.width - 1), no_wrap=True, overflow="crop")


class _Script:
    """Lines in the log of a script that has no terminal."""

    def __init__(self, query: Watched, console: Console, always: bool) -> None:
        self._query, self._console, self._always = query, console, always
        self._lines = BatchLines()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventmill progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, kept: bool) -> None:
        """A last line if `kept`, where there were others."""
        self._over.set()
        self._thread.join()
        if kept and (self._always or self._lines.said):
            self._say()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if self._lines.due(self._query.view):
                self._say()

    def _say(self) -> None:
        line = f"{datetime.now():%H:%M:%S} {shown(_line(self._query).plain())}"
        self._console.print(Text(line), soft_wrap=True)


class _Widget:
    """A widget that looks after itself (`display.notebook`)."""

    def __init__(self, query: Watched) -> None:
        self._query = query

    def start(self) -> None:
        """It has been started."""

    def stop(self, kept: bool) -> None:
        """It ends with its query, and stays: a notebook that a program runs is saved with its last picture."""
        if kept:
            self._query.settle()


class _Notebook:
    """A line of HTML that is updated in place. It needs nothing but IPython, which is there in a notebook."""

    def __init__(self, query: Watched) -> None:
        self._query = query
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventmill progress", daemon=True)
        self._handle: Any = None
        self._shown: dict[str, str] = {}

    def start(self) -> None:
        display = importlib.import_module("IPython.display").display
        self._shown = self._content()
        self._handle = display(self._shown, raw=True, display_id=True)
        self._thread.start()

    def stop(self, kept: bool) -> None:
        """Draw the last line. It stays in any case: notebooks cannot take back what they have shown."""
        self._over.set()
        self._thread.join()
        self._update()

    def _run(self) -> None:
        while not self._over.wait(1 / _REDRAWS_PER_SECOND):
            self._update()

    def _update(self) -> None:
        content = self._content()
        if content != self._shown:
            self._handle.update(content, raw=True)
            self._shown = content

    def _content(self) -> dict[str, str]:
        line = _line(self._query)
        return {"text/plain": line.fitted(_NOTEBOOK_COLUMNS), "text/html": line.html()}
