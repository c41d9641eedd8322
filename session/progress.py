"""The progress bar of a waiting `result()`: entries, events/s, MB/s, slots, time left."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from .query import Query

_INTERVAL = 0.1


class ProgressDisplay:
    """Shows a query's progress until the context ends.

    Args:
        query: what to show.
        wanted: show it or not; None shows it when there is somebody to see it (a terminal or a notebook).
    """

    def __init__(self, query: Query, wanted: bool | None) -> None:
        console = Console(stderr=True)
        shown = wanted if wanted is not None else (console.is_terminal or console.is_jupyter) and sys.stderr is not None
        self._query = query
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Progress | None = None
        if shown:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                console=console,
            )

    def __enter__(self) -> ProgressDisplay:
        if self._bar is not None:
            self._bar.start()
            task = self._bar.add_task(self._query.name, total=None, text="")
            self._thread = threading.Thread(target=self._run, args=(task,), name="eventmill progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None and self._thread is not None:
            self._over.set()
            self._thread.join()
            self._bar.stop()

    def _run(self, task: TaskID) -> None:
        while not self._over.wait(_INTERVAL):
            self._update(task)
        self._update(task)

    def _update(self, task: TaskID) -> None:
        assert self._bar is not None
        fields = describe(self._query)
        if fields:
            self._bar.update(task, **fields)


def describe(query: Query) -> dict[str, Any]:
    """Fields of the bar for a query's latest report; empty before the first."""
    snapshot = query.snapshot
    if query.state != "running" and snapshot is not None:
        account, reached, seconds, slots = snapshot.account, snapshot.account.processed, snapshot.seconds, 0
        read, waiting = (query.progress.bytes_read if query.progress else 0), ""
    elif query.progress is not None:
        report = query.progress
        account, reached, seconds = report.account, report.reached, report.seconds
        slots, read, waiting = report.slots, report.bytes_read, report.waiting
    else:
        return {}
    reached = min(reached, account.total)
    if waiting:
        return {"text": waiting, "total": account.total or None, "completed": reached}
    rate = reached / seconds if seconds > 0 else 0.0
    words = [f"{'~' if account.estimated else ''}{account.total:,} entries", f"{rate:,.0f}/s"]
    if read:
        words.append(f"{read / 1e6 / max(seconds, 1e-9):,.0f} MB/s")
    if slots:
        words.append(f"{slots} slot{'s' if slots > 1 else ''}")
        if rate > 0:
            words.append(f"{max(0.0, (account.total - reached) / rate):.0f} s left")
    return {"text": "  ".join(words), "total": account.total or None, "completed": reached}
