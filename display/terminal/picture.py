"""The histogram of a query that grows, in a terminal: drawn in a thread, as often as there is something new."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from rich.text import Text
from textual.widgets import Static

from ...protocol.messages import State
from ..drawings import Item, drawings, find, items
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
    every = list(items(value))
    pictures = [item for item in every if item.kind == "histogram"]
    if not pictures:
        return "", _rows(every, lines)
    chosen = pictures[wanted % len(pictures)]
    title = chosen.name + (f" ({wanted % len(pictures) + 1} of {len(pictures)}: n, p)" if len(pictures) > 1 else "")
    return title, histogram(drawings(chosen.name, find(value, chosen.name)), lines, columns)


def _rows(every: list[Item], lines: int) -> Text:
    width = max((len(item.name) for item in every), default=0)
    rows = [shown(f"{item.name:<{width}}  {item.text}".strip()) for item in every[:lines]]
    return Text("\n".join(rows), no_wrap=True) if rows else Text("(an empty result)", style="dim")
