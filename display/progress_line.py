"""How far a query is, in one line that is drawn again and again: in a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import math
import threading
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..protocol.messages import Account, Progress, State
from .account_text import counted, losses
from .waits import doing, waiting

_RECENT_SECONDS = 3.0
"""The rate is that of so many last seconds, because the first ones go into compiling and opening files."""
_SHORTEST_SECONDS = 1.0
"""It takes so many to say a rate: what is done within moments of the first entries says nothing of the others."""
_REDRAWS_PER_SECOND = 8
_BAR = 8
"""Columns that the bar takes, or two or three times as many: with any other number it would jitter with the words."""
_NOTEBOOK_COLUMNS = 100
_LONGEST_NAME = 16
_GAP = "  "


class Merged(Protocol):
    """What is merged of a query: what of it is shown."""

    @property
    def account(self) -> Account:
        """What became of the entries so far."""

    @property
    def seconds(self) -> float:
        """Since the query began."""

    @property
    def state(self) -> State:
        """Of the query."""

    @property
    def fraction(self) -> float:
        """Of the entries, from 0 to 1."""

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""


class Watched(Protocol):
    """A query whose progress is shown."""

    @property
    def name(self) -> str:
        """What it is called in displays."""

    @property
    def progress(self) -> Progress | None:
        """What the master said last."""

    @property
    def snapshot(self) -> Merged | None:
        """What is merged so far."""

    @property
    def starts_workers(self) -> bool:
        """Whether its workers start by themselves: there are none that the user should start."""


class ProgressDisplay:
    """Shows a query's progress until the context ends, and leaves one last line if it ended well.

    Args:
        query: what to show; one that is over already is not.
        wanted: show it or not; None shows it when there is somebody to see it (a terminal or a notebook).
    """

    def __init__(self, query: Watched, wanted: bool | None) -> None:
        console = Console(stderr=True, highlight=False)
        over = query.snapshot is not None and query.snapshot.final
        self._view: _Terminal | _Notebook | None = None
        if over or wanted is False:
            return
        if console.is_jupyter:
            self._view = _Notebook(Meter(query))
        elif wanted or console.is_terminal:
            self._view = _Terminal(Meter(query), console)

    @property
    def shown(self) -> bool:
        """Whether anybody sees it."""
        return self._view is not None

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

    def html(self) -> str:
        """The line for a notebook."""
        bar = "" if self.fraction is None else f'<progress value="{self.fraction:.4f}" max="1"></progress> '
        percent = "" if self.fraction is None else f"{self.fraction:.0%} &ensp;"
        return f"<b>{html.escape(self.name)}</b> {bar}{percent}{html.escape(' · '.join(self.words))}"


def _bar(fraction: float, columns: int) -> str:
    done = min(columns, int(fraction * columns))
    return "━" * done + "─" * (columns - done)


class Meter:
    """Makes the line from the reports that a query gets."""

    def __init__(self, query: Watched) -> None:
        self._query = query
        self._marks: deque[tuple[float, int, int]] = deque()  # seconds, entries reached, bytes read

    def line(self) -> Line:
        """What is to be shown now."""
        snapshot, report = self._query.snapshot, self._query.progress
        if snapshot is not None and snapshot.final:
            return self._last(snapshot)
        if report is None:
            return Line(self._query.name, None, ("submitted",))
        total = report.account.total
        reached = min(report.reached, total)
        fraction = reached / total if total else None
        wait = waiting(report, self._query.starts_workers)
        if wait:
            return Line(self._query.name, fraction, (wait, f"{report.seconds:.0f} s"))
        slots = f"{report.slots} slot{'' if report.slots == 1 else 's'}"
        if not reached:
            return Line(self._query.name, None, (doing(report) or "opening files", f"{report.seconds:.0f} s", slots))
        words = [f"{reached:,} of {'~' if report.account.estimated else ''}{total:,} {counted(report.account)}"]
        if report.account.failed:
            words.append(losses(report.account))
        rate, bytes_rate = self._recent(report)
        if rate:
            words += [f"{_duration((total - reached) / rate)} left", _per_second(rate)]
        words.append(slots)
        if bytes_rate >= 1e6:
            words.append(f"{bytes_rate / 1e6:,.0f} MB/s")
        if doing(report):
            words.append(doing(report))
        return Line(self._query.name, fraction, tuple(words))

    def _recent(self, report: Progress) -> tuple[float, float]:
        """Entries and bytes a second, of late."""
        if report.reached and (not self._marks or report.seconds > self._marks[-1][0]):
            self._marks.append((report.seconds, report.reached, report.bytes_read))
        while len(self._marks) > 2 and self._marks[1][0] < report.seconds - _RECENT_SECONDS:
            self._marks.popleft()
        if not self._marks:
            return 0.0, 0.0
        (begin, entries, size), (now, more_entries, more_size) = self._marks[0], self._marks[-1]
        if now - begin < _SHORTEST_SECONDS:
            return 0.0, 0.0
        return max(0, more_entries - entries) / (now - begin), max(0, more_size - size) / (now - begin)

    def _last(self, result: Merged) -> Line:
        account, seconds = result.account, result.seconds
        about = "~" if account.estimated else ""
        done = result.state == "done"
        words: list[str] = [] if done else [result.state]
        if account.total or done:
            words.append(f"{account.processed:,} of {about}{account.total:,} {counted(account)}")
        if lost := losses(account):
            words.append(lost)
        words.append(f"{seconds:,.1f} s")
        if account.processed and seconds:
            words.append(_per_second(account.processed / seconds))
        return Line(self._query.name, result.fraction if account.total or done else None, tuple(words))


def _per_second(rate: float) -> str:
    """A rate with two digits that mean something: more of them would only flicker."""
    return f"{float(f'{rate:.2g}'):,.0f}/s"


def _duration(seconds: float) -> str:
    """
    Example:
        >>> _duration(0.4), _duration(75), _duration(4000)
        ('1 s', '1 min 15 s', '1 h 06 min')
    """
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole // 60 % 60:02} min"


# --- where it is shown ----------------------------------------------------------------------------------------------------


class _Terminal:
    def __init__(self, meter: Meter, console: Console) -> None:
        self._meter = meter
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
        return Text(self._meter.line().fitted(self._console.width - 1), no_wrap=True, overflow="crop")


class _Notebook:
    """A line of HTML that is updated in place. It needs nothing but IPython, which is there in a notebook."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
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
        line = self._meter.line()
        return {"text/plain": line.fitted(_NOTEBOOK_COLUMNS), "text/html": line.html()}
