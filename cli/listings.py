"""`eventmill status`, `queries` and `workers`: what there is at a master, as tables, or as JSON for programs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..display.listings import WORDS, WORKERS, QueryList, WorkerList, query_cells, query_headings, worker_cells
from ..display.machine_lines import (
    launch_json,
    line,
    master_json,
    pool_json,
    query_json,
    server_json,
    wish_json,
    worker_json,
)  # fmt: skip
from ..display.pools import LAUNCHES, POOLS, WORDS_OF_LAUNCHES, WORDS_OF_POOLS, PoolList, launch_cells, pool_cells
from ..display.query_view import SHORTEST_SECONDS
from ..display.wishes import wish_line

if TYPE_CHECKING:
    from ..display.cluster_view import ClusterView
    from ..protocol.messages import PoolInfo, QueryInfo
    from ..session.cluster import ClusterFeed
    from ..session.session import Session

_SPARED = ("packets", "waited", "owner", "pid", "read", "host", "CPU/time", "seconds", "began")
"""Columns that a narrow terminal does without, in this order."""
_PIPE_COLUMNS = 200
"""What goes into a file or a pipe has no width to fit."""

Told = tuple[Callable[[Console], RenderableType], Callable[[], Iterator[dict[str, Any]]]]
"""What a master has told, as a table, and as objects for programs."""


def show(ask: Callable[[], Told], as_json: bool, watch: float | None) -> None:
    """Write what a master tells when it is asked; with `watch`, again and again until the user ends it."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal or "COLUMNS" in os.environ else _PIPE_COLUMNS)
    pause = threading.Event()
    if as_json:
        while True:
            for told in ask()[1]():
                click.echo(line(told))
            sys.stdout.flush()
            if watch is None:
                return
            pause.wait(watch)
    if watch is None or not terminal:
        while True:
            console.print(ask()[0](console))
            if watch is None:
                return
            pause.wait(watch)
    with Live(ask()[0](console), console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while not pause.wait(watch):
            live.update(ask()[0](console), refresh=True)


def rated(feed: ClusterFeed) -> ClusterView:
    """What goes on, with rates: those of a query take two looks, so that a first one lasts a second while something runs."""
    view = feed.now()
    if any(row.view.slots and not row.view.rate for row in view.queries.values() if not row.view.final):
        threading.Event().wait(SHORTEST_SECONDS)
        view = feed.now()
    return view


def status(session: Session, feed: ClusterFeed) -> Told:
    """All that there is."""
    workers, queries, found = session.workers(), session.queries(), session.pools()
    pools_too = pools(found)

    def table(console: Console) -> RenderableType:
        more = [pools_too[0](console)] if found else []
        return Group(_workers(session, workers, console), _queries(queries, console), *more)

    def objects() -> Iterator[dict[str, Any]]:
        view = rated(feed)
        yield master_json(session.address, view, workers, queries, session.starts_workers)
        yield from (worker_json(info, queries.at) for info in workers)
        yield from (_query(info, queries, view) for info in queries)
        yield from (server_json(server, queries.at) for server in view.servers.values())
        yield from pools_too[1]()

    return table, objects


def queries(session: Session, feed: ClusterFeed, **chosen: Any) -> Told:
    """The queries; which of them, as for `Session.queries`."""
    found = session.queries(**chosen)

    def objects() -> Iterator[dict[str, Any]]:
        view = rated(feed) if found else feed.view
        yield from (_query(info, found, view) for info in found)

    return lambda console: _queries(found, console), objects


def _query(info: QueryInfo, among: QueryList, view: ClusterView) -> dict[str, Any]:
    row = view.queries.get(info.query)  # it may have begun since
    return query_json(info, among.at, None if row is None else row.view)


def workers(session: Session) -> Told:
    """The workers."""
    found, at = session.workers(), datetime.now().astimezone()
    return lambda console: _workers(session, found, console), lambda: (worker_json(info, at) for info in found)


def pools(found: Sequence[PoolInfo]) -> Told:
    """Pools, the workers that they have started, and the wishes that they follow."""
    wishes = found.wishes if isinstance(found, PoolList) else []
    at = datetime.now().astimezone()

    def tables(console: Console) -> RenderableType:
        rows = [launch_cells(info.pool, launch) for info in found for launch in info.launches]
        first = _table("pools", POOLS, [pool_cells(info) for info in found], console, POOLS[:WORDS_OF_POOLS])
        more = [_table("workers of pools", LAUNCHES, rows, console, LAUNCHES[:WORDS_OF_LAUNCHES])] if rows else []
        return Group(first, *more, *(Text(wish_line(wish)) for wish in wishes))

    def objects() -> Iterator[dict[str, Any]]:
        for info in found:
            yield pool_json(info, at)
            yield from (launch_json(info.pool, launch, at) for launch in info.launches)
        yield from (wish_json(wish, at) for wish in wishes)

    return tables, objects


def _workers(session: Session, found: WorkerList, console: Console) -> RenderableType:
    return _table(f"workers of {session.address}", WORKERS, [worker_cells(info) for info in found], console)


def _queries(found: QueryList, console: Console) -> RenderableType:
    headings = query_headings(found)
    rows = [query_cells(info, found.at)[: len(headings)] for info in found]
    return _table("queries", headings, rows, console)


def _table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, words: Collection[str] = WORDS
) -> Table:
    """A table that fits: of the columns, as many as there is room for, with a line that names the others."""
    spared: list[str] = []
    for spare in (*(heading for heading in _SPARED if heading in headings), None):
        caption = f"in a wider terminal also: {', '.join(spared)}" if spared else None
        table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
        for heading in headings:
            if heading not in spared:
                table.add_column(heading, justify="left" if heading in words else "right")
        for row in rows:
            cells = (Text(cell) for heading, cell in zip(headings, row, strict=True) if heading not in spared)
            table.add_row(*cells)
        if spare is None or console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            break
        spared.append(spare)
    return table
