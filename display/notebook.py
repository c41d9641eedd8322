"""A query in a notebook: a widget that lives while the query does, and a picture for those who look at it later.

The browser's half is in `assets/`: `widget.js`, with `board.js`, where one chooses what to see, and `histograms.js`, which
draws it by JSROOT. The kernel's half sends the view of the query as it changes, and pictures of what is looked at. There is
one picture on its way at a time; the next one waits until it has been seen, so that what nobody looks at is not made, and a
slow browser sees fewer of them.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import html
import importlib
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any, Protocol

import anywidget
import numpy as np
import traitlets

from .choice import FIRST_SHOWN, MOST_ITEMS, Pictures, listed, pictures
from .drawings import in_words, is_histogram, named
from .feeds import LogFeed, ResultFeed
from .logs import LogLine
from .progress_line import line_of
from .query_view import Merged, QueryView
from .share import Share
from .tables import html_table

REFRESH_SECONDS = 0.2
"""How often is looked whether there is something new to show."""
MOST_OF_A_CORE = 0.04
"""That listing and drawing a result may take, of the kernel's: where there is much to draw, it is drawn less often."""
LOG_SECONDS = 1.0
"""How often is asked for what the analysis has said."""
MOST_LINES = 50
"""Of them that are shown, the last ones."""
SETTLE_SECONDS = 20.0
"""For which a cell that waits for a result waits for its picture at most."""
_NOTEBOOK_COLUMNS = 100


class Snapshot(Merged, Protocol):
    """What is merged of a query, and what that is."""

    @property
    def opened(self) -> Any:
        """What the analysis returned, merged: each value of a dict is made when it is taken."""


class Live(Protocol):
    """A query that is shown while it runs."""

    @property
    def view(self) -> QueryView:
        """Where it stands."""

    def result_feed(self) -> ResultFeed[Snapshot]:
        """What is merged so far."""

    def log_feed(self) -> LogFeed:
        """What its analysis says."""

    def stop(self) -> None:
        """End it, and keep what is merged."""

    def abort(self) -> None:
        """End it, and drop what is merged."""


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text("utf-8")


@cache
def _jsroot() -> bytes:
    return gzip.compress(_asset("jsroot.min.js").encode())


class QueryWidget(anywidget.AnyWidget):
    """What a notebook shows of a query.

    Args:
        query: to be shown.

    Attributes:
        view: how far it is.
        items, more: what it holds, and how much more that is not listed.
        filter, shown, picks, log, together: what the user has chosen to see.
        windows: from where to where of a histogram's axis, by its name, as far as something was left out in its picture.
        output: what the analysis has said.
    """

    _esm = _asset("histograms.js") + _asset("board.js") + _asset("widget.js")
    _css = _asset("widget.css")

    view = traitlets.Dict().tag(sync=True)
    items: Any = traitlets.List().tag(sync=True)
    more = traitlets.Int().tag(sync=True)
    filter = traitlets.Unicode().tag(sync=True)
    shown: Any = traitlets.List().tag(sync=True)
    picks = traitlets.Dict().tag(sync=True)
    windows = traitlets.Dict().tag(sync=True)
    log = traitlets.Bool().tag(sync=True)
    together = traitlets.Bool().tag(sync=True)
    output: Any = traitlets.List().tag(sync=True)

    def __init__(self, query: Live) -> None:
        self._query = query
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._listed: Snapshot | None = None
        self._drawn: Snapshot | None = None
        self._sent, self._seen = 0, 0
        self._result = query.result_feed()
        self._said = query.log_feed()
        self._heard, self._asked_at = 0, -LOG_SECONDS
        self._share = Share(MOST_OF_A_CORE)
        self._chosen = False  # whether the user has
        self._ours: list[str] = []
        super().__init__(view=_told(query.view))
        self._answered_anywhere()
        self.on_msg(self._asked)
        self.observe(self._changed, ["filter", "shown", "picks", "windows", "log", "together"])
        self._thread = threading.Thread(target=self._run, name="eventmill notebook", daemon=True)
        self._handle: Any = None

    def show(self) -> None:
        """Put it below the cell that runs, and keep it alive."""
        display = importlib.import_module("IPython.display").display
        self._handle = display(self._bundle(), raw=True, display_id=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait until the end of the query is shown: its last picture, which takes a moment to draw."""
        self._wake.set()
        self._thread.join(SETTLE_SECONDS)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message to the browser."""
        super().send(content, buffers)
        self._answered_anywhere()

    def send_state(self, key: Any = None) -> None:
        """Send what has changed to the browser."""
        super().send_state(key)
        self._answered_anywhere()

    def _answered_anywhere(self) -> None:
        """Let what the browser says be heard while a cell waits for a result: in the subshell that the browser has for it.

        ipykernel from 7.4 on would have it heard by the loop that last said something, which is that of the cell. It notes
        that in an attribute of its own, and there is no other way to say so; without the attribute it does as before.
        """
        if self.comm is not None:  # it is opened by the first one
            self.comm.__dict__.pop("_reply_subshell_id", None)

    # --- what the browser says ------------------------------------------------------------------------------------

    def _asked(self, _: Any, message: Mapping[str, Any], buffers: Sequence[bytes]) -> None:
        match message:
            case {"want": "jsroot"}:
                self.send({"what": "jsroot"}, [_jsroot()])
            case {"want": "pictures"}:
                self._redraw()
            case {"seen": int(number)}:
                self._seen = min(self._sent, max(self._seen, number))
                self._wake.set()
            case {"do": "stop"}:
                self._query.stop()
            case {"do": "abort"}:
                self._query.abort()

    def _changed(self, change: Any) -> None:
        if change.name == "shown":
            if change.new is self._ours:
                return
            self._chosen = True
        if change.name in ("filter", "shown"):  # what is shown has menus to pick from
            self._listed = None
        self._redraw()

    def _redraw(self) -> None:
        """Draw once more, though the last picture may not have been seen: it was of something else, or elsewhere."""
        self._drawn, self._seen = None, self._sent
        self._share.forget()
        self._wake.set()
        if not self._thread.is_alive():
            self._refresh()

    # --- what the kernel says -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._refresh().final:
            self._wake.wait(REFRESH_SECONDS)
            self._wake.clear()
        self._seen = self._sent
        self._share.forget()
        self._refresh()
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)

    def _refresh(self) -> QueryView:
        """Send what is new of where the query stands, which is returned."""
        view = self._query.view
        with self._lock, self.hold_sync():
            self.view = _told(view)
            self._hear(view.final)
            self._result.look(self.shown, _windows(self.windows))
            if self._seen == self._sent:  # what nobody looks at is not asked for
                self._result.poll()
            snapshot = self._result.snapshot
            if snapshot is not None and self._seen == self._sent and self._share.allows(time.monotonic()):
                self._look(snapshot)
        return view

    def _look(self, snapshot: Snapshot) -> None:
        """List and draw a result, unless that has been done."""
        began = time.thread_time()
        if snapshot is not self._listed:
            self._list(snapshot)
        if snapshot is not self._drawn and self.shown:
            self._draw(snapshot)
        self._share.took(time.monotonic(), time.thread_time() - began)

    def _hear(self, last: bool) -> None:
        """Show what the analysis says: once a second, and its last words."""
        now = time.monotonic()
        if last or now - self._asked_at >= LOG_SECONDS:
            self._asked_at = now
            self._said.poll()
        if self._said.version != self._heard:
            self._heard = self._said.version
            self.output = [_line(line) for line in self._said.logs.selected(tail=MOST_LINES)]

    def _list(self, snapshot: Snapshot) -> None:
        self._listed = snapshot
        if not self._chosen and len(self.shown) < FIRST_SHOWN:  # some may come later than others
            drawn = (name for name, inner in named(snapshot.opened) if is_histogram(inner) and name not in self.shown)
            self._ours = [*self.shown, *islice(drawn, FIRST_SHOWN - len(self.shown))]
            self.shown = self._ours
        found, self.more = listed(snapshot.opened, self.filter, self.shown)
        self.items = [dataclasses.asdict(item) for item in found]

    def _draw(self, snapshot: Snapshot) -> None:
        self._drawn = snapshot
        drawn = self._pictures(snapshot)
        buffers = [np.ascontiguousarray(array).data for _, parts in drawn for part in parts for array in part.arrays]
        told = [{"name": name, "drawings": [part.description() for part in parts]} for name, parts in drawn if parts]
        self._sent += 1
        number = {"number": self._sent, "entries": snapshot.account.processed}
        self.send({"what": "pictures", "pictures": told, **number}, buffers)

    def _pictures(self, snapshot: Snapshot) -> Pictures:
        return pictures(snapshot.opened, self.shown, self.picks, self.together)

    def _bundle(self) -> dict[str, Any]:
        """What stands in the notebook: the widget, and beside it words and a picture for where no widgets are shown."""
        view = self._query.view
        line = line_of(view)
        text = line.html()
        snapshot = self._result.snapshot
        if view.final and snapshot is not None:
            text += _table(snapshot.opened) + self._picture(snapshot)
        widget, _ = self._repr_mimebundle_() or ({}, {})
        return {**widget, "text/plain": line.fitted(_NOTEBOOK_COLUMNS), "text/html": text}

    def _picture(self, snapshot: Snapshot) -> str:
        """What is shown, as an image; empty where there is nothing, or no library that draws it."""
        drawn = [parts for _, parts in self._pictures(snapshot)]
        try:
            figures = importlib.import_module(f"{__package__}.figures")
        except ImportError:
            return ""
        if not drawn:
            return ""
        image = base64.b64encode(figures.png(drawn, self.log)).decode()
        return f'<br><img alt="histograms of {html.escape(self.view["name"])}" src="data:image/png;base64,{image}">'


def _windows(told: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (float(low), float(high)) for name, (low, high) in told.items()}


def _told(view: QueryView) -> dict[str, Any]:
    return {
        "name": view.name,
        "state": view.state,
        "final": view.final,
        "fraction": view.fraction,
        "words": list(line_of(view).words),
    }


def _line(line: LogLine) -> dict[str, Any]:
    kind = {"warning": "warning", "error": "error"}.get(line.source, "")
    return {"text": line.words, "kind": kind}


def _table(result: Any) -> str:
    found = ((name, inner) for name, inner in named(result) if not is_histogram(inner))
    rows = [(name or "result", in_words(inner)) for name, inner in islice(found, MOST_ITEMS)]
    return html_table(("", ""), rows) if rows else ""
