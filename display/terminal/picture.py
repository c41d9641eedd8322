"""The histogram of a query that grows, in a terminal: drawn in a thread, as often as there is something new."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from rich.text import Text
from textual.widgets import Static

from ...protocol.messages import State
from ..choice import listed, pictures
from ..drawings import is_histogram, named
from ..logs import shown
from .histogram import histogram


class Snapshot(Protocol):
    """What is merged of a query."""

    @property
    def plain(self) -> Any:
        """What the analysis returned, with nothing unpickled: the query may be anybody's."""


class Watched(Protocol):
    """A query whose snapshots come (`session.query.Query`)."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The latest one."""

    @property
    def state(self) -> State:
        """Of the query."""


class Picture(Static):
    """The histogram itself, one at a time; what else the result has, as rows."""

    def __init__(self, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self.watched: Watched | None = None
        self.opening = False
        self._name = ""
        self._wanted = 0
        self._drawn: tuple[Any, ...] = ()

    def begin(self, name: str) -> None:
        """Another query is going to be watched."""
        self._name, self._wanted, self._drawn, self.opening = name, 0, (), True
        self.watched = None
        self._say("…")

    def follow(self, watched: Watched) -> None:
        """It is watched."""
        self.watched, self.opening = watched, False
        self.refresh_if_new()

    def fail(self, reason: str) -> None:
        """It cannot be watched."""
        self._say(reason)

    def turn(self, by: int) -> None:
        """Another histogram of the same result."""
        self._wanted += by
        self.refresh_if_new()

    def refresh_if_new(self) -> None:
        """Draw what has changed: the result, which of it is shown, or the room that there is."""
        if self.watched is None or not self.size.width or not self.display:
            return
        snapshot = self.watched.snapshot
        if snapshot is None:
            self._say(
                "nothing is merged yet" if self.watched.state == "running" else f"{self.watched.state}: no result"
            )
            return
        now = (snapshot, self._wanted, self.size)
        if now != self._drawn:
            self._drawn = now
            self.run_worker(partial(self._draw, *now), thread=True, exclusive=True, group="picture")

    def _draw(self, snapshot: Snapshot, wanted: int, size: Any) -> None:
        """In a thread: a result may be large."""
        try:
            title, text = drawn(snapshot.plain, wanted, size.height, size.width)
        except Exception as error:  # the result may hold whatever an analysis returns
            title, text = "", Text(shown(f"cannot be drawn: {type(error).__name__}: {error}"))
        self.app.call_from_thread(self._show, title, text)

    def _show(self, title: str, text: Text) -> None:
        self.border_title = Text(shown(f" {f'{self._name} {title}'.strip()} "))
        self.update(text)

    def _say(self, words: str) -> None:
        self._show("", Text(shown(words), style="dim"))


def drawn(value: Any, wanted: int, lines: int, columns: int) -> tuple[str, Text]:
    """One of the histograms of a result, and its name; of a result without any, all that it has in words.

    Example:
        >>> title, text = drawn({"events": 100, "note": "x"}, 0, 10, 40)
        >>> title, text.plain
        ('', 'events  100\\nnote    x')
    """
    names = [name for name, inner in named(value) if is_histogram(inner)]  # none of them is made
    if not names:
        return "", _rows(value, lines)
    chosen = names[wanted % len(names)]
    title = chosen + (f" ({wanted % len(names) + 1} of {len(names):,}: n, p)" if len(names) > 1 else "")
    ((_, parts),) = pictures(value, [chosen], {})
    return title, histogram(parts, lines, columns)


def _rows(value: Any, lines: int) -> Text:
    every, more = listed(value)
    width = max((len(item.name) for item in every), default=0)
    told = [shown(f"{item.name:<{width}}  {item.text}".strip()) for item in every[:lines]]
    if more := more + len(every) - len(told):
        told[-1:] = [f"and {more + 1:,} more"]
    return Text("\n".join(told), no_wrap=True) if told else Text("(an empty result)", style="dim")
