"""The lists of workers and queries that a master gives, as tables in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import get_args

from ..protocol.errors import QueryFailed
from ..protocol.messages import QueryInfo, State
from ..protocol.usage import WorkerInfo, summed
from ..protocol.values import some
from .credentials import brief
from .logs import compiled, shown
from .tables import html_table, text_table

WORKERS = ("worker", "host", "pid", "slots", "busy", "packets", "entries", "CPU/time", "waited", "read")
QUERIES = ("query", "name", "owner", "state", "began", "entries", "of", "seconds")
CREDENTIALS = "credentials"
"""The heading of one more column, where a query has some: until when they are good."""
WORDS = ("worker", "host", "query", "name", "owner", "state", "began", CREDENTIALS)
"""Of these headings, those above words; below the others are numbers."""
STATES: tuple[State, ...] = get_args(State)


def worker_cells(info: WorkerInfo) -> list[str]:
    """A worker under the headings `WORKERS`."""
    usage = summed(info.by_slot.values())
    counts = (info.slots, info.busy, info.packets, info.entries)
    costs = (f"{usage.efficiency:.0%}", f"{usage.waited:.1f} s", f"{usage.bytes_read / 1e6:,.0f} MB")
    return [shown(info.worker), shown(info.host), str(info.pid), *(f"{count:,}" for count in counts), *costs]


def query_headings(infos: Iterable[QueryInfo]) -> tuple[str, ...]:
    """Those of a list of queries."""
    return (*QUERIES, CREDENTIALS) if any(info.credentials for info in infos) else QUERIES


def query_cells(info: QueryInfo, at: datetime) -> list[str]:
    """A query under the headings `QUERIES` and `CREDENTIALS`, as it was `at` a time."""
    account = info.account
    counts = (f"{account.processed:,}", f"{'~' if account.estimated else ''}{account.total:,}")
    words = (info.query, shown(info.name), shown(info.owner), info.state, moment(info.ago, at))
    return [*words, *counts, f"{info.seconds:.1f}", brief(info.credentials)]


def moment(ago: float, at: datetime) -> str:
    """The time of day so many seconds before `at`, with the date where that is another one.

    Example:
        >>> at = datetime(2026, 3, 1, 12, 0, 0)
        >>> moment(75.0, at), moment(86400.0, at), moment(1e8, at)
        ('11:58:45', '28 Feb 12:00', '2022-12-30 02:13')
    """
    then = at - timedelta(seconds=ago)
    if then.date() == at.date():
        return f"{then:%H:%M:%S}"
    return f"{then.day} {then:%b %H:%M}" if then.year == at.year else f"{then:%Y-%m-%d %H:%M}"


class WorkerList(list[WorkerInfo]):
    """The workers of a master: a list that is shown as a table.

    Example:
        >>> WorkerList()
        no workers
        >>> print(str(WorkerList([WorkerInfo("w-1", "node7", 12, 2, 1, 3, 4000, 5.0)])).splitlines()[1])
        w-1     node7   12      2     1        3    4,000        0%   0.0 s  0 MB
    """

    def __repr__(self) -> str:
        return text_table(WORKERS, [worker_cells(info) for info in self], words=2) if self else "no workers"

    def _repr_html_(self) -> str:
        return html_table(WORKERS, [worker_cells(info) for info in self], 2, "workers") if self else "<p>no workers</p>"


class QueryList(list[QueryInfo]):
    """The queries of a master, oldest first: a list that is shown as a table.

    Args:
        infos: what the master says of them.
        at: when it said so; now by default.

    Example:
        >>> QueryList()
        no queries
    """

    def __init__(self, infos: Iterable[QueryInfo] = (), at: datetime | None = None) -> None:
        super().__init__(infos)
        self.at = at or datetime.now().astimezone()

    def selected(
        self,
        state: State | Collection[State] | None = None,
        owner: str | None = None,
        grep: str | None = None,
        last: int | None = None,
    ) -> QueryList:
        """Some of them: of one or several states, of one owner, with this regular expression in the name, the last ones.

        Raises:
            ValueError: there is no such state, `grep` is no regular expression, or `last` is negative.

        Example:
            >>> from eventmill.protocol.messages import Account
            >>> infos = [QueryInfo(f"q{n}", "MET", "me", "done", Account(), 1.0) for n in range(3)]
            >>> [info.query for info in QueryList(infos).selected(state="done", grep="M.T", last=2)]
            ['q1', 'q2']
        """
        states = {state} if isinstance(state, str) else state
        if unknown := [it for it in states or () if it not in STATES]:
            raise ValueError(f"state={unknown[0]!r}: the states of a query are {', '.join(STATES)}")
        if last is not None and last < 0:
            raise ValueError(f"last={last}: it must be 0 or more")
        pattern = None if grep is None else compiled(grep)
        found = [
            info
            for info in self
            if (states is None or info.state in states)
            and (owner is None or info.owner == owner)
            and (pattern is None or pattern.search(info.name))
        ]
        return QueryList(found if last is None else found[len(found) - min(last, len(found)) :], self.at)

    def numbered(self, number: str) -> QueryInfo:
        """The query of this number.

        Raises:
            QueryFailed: there is none.
        """
        for info in self:
            if info.query == number:
                return info
        raise QueryFailed(f"no query {number} on this master; there are: {some([info.query for info in self])}")

    def named(self, query: str) -> QueryInfo:
        """The query of this number, or else the only one of this name.

        The beginning of a number is not enough: they count, and q1 would be q12 as soon as q1 is removed.

        Raises:
            QueryFailed: there is none, or there are several of this name; the text lists what there is.
        """
        found = [info for info in self if info.query == query] or [info for info in self if info.name == query]
        if len(found) == 1:
            return found[0]
        if not found:
            there = some([f"{info.query} ({shown(info.name)})" for info in self], most=8)
            raise QueryFailed(f"no query {query} on this master, by number or name; there are: {there}")
        begun = [f"{it.query} ({it.state}, {it.owner or 'somebody'}, {moment(it.ago, self.at)})" for it in found]
        raise QueryFailed(f"{len(found)} queries are called {query}; take one by its number: {some(begun, most=8)}")

    def __repr__(self) -> str:
        return text_table(query_headings(self), self._rows(), words=5) if self else "no queries"

    def _repr_html_(self) -> str:
        return html_table(query_headings(self), self._rows(), 5, "queries") if self else "<p>no queries</p>"

    def _rows(self) -> list[list[str]]:
        columns = len(query_headings(self))
        return [query_cells(info, self.at)[:columns] for info in self]
