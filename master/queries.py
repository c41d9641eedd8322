"""The master's queries, those that go on and those that are over apart: a master keeps results for weeks, and is not to look
through them with each message. Of those whose end is in the journal it remembers a line (`Finished`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from ..protocol.messages import LaunchInfo, QueryInfo
from .finished import Finished
from .log_book import LogBook
from .query import Query
from .ring import Ring

MOST_CHANGES = 2000


class Queries(Mapping[str, Query]):
    """All queries by number, in the order of their submission. Of a query that is only remembered a copy is given, with what
    is known of it; its end is in the journal.

    Args:
        tag: of this master; no earlier one had it.

    Attributes:
        live: those that are not over, in the same order.
        in_memory: those that are over and in no journal, as they ended.
        logs: what was said for them.
        changes: numbers of those that came, ended or went.
        expected: what has become of workers that are on their way and serve one of some owners, in words.
        starts: how workers of these names came to be that pools have started, by pool.
    """

    def __init__(self, tag: str = "") -> None:
        self.logs = LogBook(tag)
        self.changes: Ring[str] = Ring(MOST_CHANGES)
        self.expected: Callable[[frozenset[str]], str] = lambda _owners: ""
        self.starts: Callable[[Collection[str]], dict[str, list[LaunchInfo]]] = lambda _workers: {}
        self.live: dict[str, Query] = {}
        self.in_memory: dict[str, Query] = {}
        self._all: dict[str, Query | Finished] = {}
        self._by_token: dict[str, str] = {}

    def __getitem__(self, number: str) -> Query:
        query = self._all[number]
        return query.query() if isinstance(query, Finished) else query

    def __contains__(self, number: object) -> bool:
        return number in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def submitted_with(self, token: str) -> Query | None:
        """The query that was submitted with a token of its session's, if there is one."""
        return self.get(self._by_token.get(token, ""))

    def info(self, number: str, now: float) -> QueryInfo:
        """The line of a query in a list."""
        return self._all[number].info(now)

    def add(self, query: Query) -> None:
        """A query was submitted, or is there again."""
        self._all[query.number] = query
        self.changes.add(query.number)
        if not query.over:
            self.live[query.number] = query
        if query.submit.token:
            self._by_token[query.submit.token] = query.number

    def end(self, query: Query) -> None:
        """A query is over, perhaps once more."""
        self.live.pop(query.number, None)
        self._all[query.number] = query
        self.changes.add(query.number)

    def written_down(self, query: Query) -> None:
        """The end of a query is in the journal: a line of it is remembered here."""
        if query.number in self._all:
            self._all[query.number] = Finished.of(query)

    def remember(self, finished: Finished) -> None:
        """A query of an earlier master is over, and its end is in the journal."""
        self._all[finished.number] = finished
        if finished.token:
            self._by_token[finished.token] = finished.number

    def remove(self, number: str) -> None:
        """Forget a query, if there is one of this number."""
        query = self._all.pop(number, None)
        self.live.pop(number, None)
        self.in_memory.pop(number, None)
        self.logs.forget(number)
        self.changes.add(number)
        if query is not None:
            token = query.token if isinstance(query, Finished) else query.submit.token
            self._by_token.pop(token, None)
