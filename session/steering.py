"""What a session asks of its master that is not about one query of its own: who and what is there, and that it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from ..display.cluster_view import ClusterView
from ..display.listings import QueryList, WorkerList
from ..display.logs import Logs
from ..display.pools import PoolList
from ..protocol import messages
from ..protocol.errors import EventmillError, QueryFailed
from ..protocol.messages import FINAL, Message, QueryInfo, State
from ..protocol.values import some
from .cluster import ClusterFeed
from .logs import LogFeed
from .logs import ask as ask_logs
from .owner import ME, clipped
from .owner import owner as owner_here
from .session_html import session_html

if TYPE_CHECKING:
    from .watch import Watch


class Steering:
    """The part of a `Session` that looks at its master and steers it.

    Args:
        watch: the session's line to its master.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def starts_workers(self) -> bool:
        """Whether it has a worker of its own, which starts by itself and leaves with it."""
        return False

    def queries(
        self,
        *,
        state: State | Collection[State] | None = None,
        owner: str | None = None,
        grep: str | None = None,
        last: int | None = None,
    ) -> QueryList:
        """The queries that the master knows, of all sessions, oldest first: a list that is shown as a table.

        Args:
            state: only those that are "running", "merging", "done", "stopped", "aborted" or "failed"; one, or several.
            owner: only those of this user; "me" stands for who asks.
            grep: only those in whose names this regular expression is found.
            last: so many of them, those that began last.

        Raises:
            ConnectionFailed: the master does not answer.
            ValueError: there is no such state, or `grep` is no regular expression.

        Example:
            >>> query.result().state, query.id in [info.query for info in session.queries(owner="me")]
            ('done', True)
            >>> [info.query == query.id for info in session.queries(state=["done", "stopped"], last=1)]
            [True]
        """
        ask = partial(messages.Ask, what="queries")
        queries = QueryList(self._watch.request(ask, messages.Queries).queries)
        return queries.selected(state, owner_here() if owner == ME else owner, grep, last)

    def workers(self) -> WorkerList:
        """The workers that are there now, and what they have done: a list that is shown as a table.

        Raises:
            ConnectionFailed: the master does not answer.

        Example:
            >>> [info.slots for info in session.workers()]
            [2]
        """
        ask = partial(messages.Ask, what="workers")
        return WorkerList(self._watch.request(ask, messages.Workers).workers)

    def pools(self) -> PoolList:
        """The pools of the master's launchers: a list that is shown as a table.

        Users see their own pools, and those whose workers serve them.

        Raises:
            ConnectionFailed: the master does not answer.

        Example:
            >>> session.pools()
            no pools
        """
        answer = self._watch.request(messages.AskPools, messages.Pools)
        return PoolList(answer.pools, answer.wishes)

    def logs(self, worker: str | None = None, grep: str | None = None, tail: int | None = None) -> Logs:
        """What all analyses and workers have said: prints, warnings, log records and errors, as far as the master keeps it.

        Of a query: `Query.logs`. What was said again is there once, with a count.

        Args:
            worker: only what workers have said whose names begin like this.
            grep: only lines in which this regular expression is found.
            tail: so many of them, those that were said last.

        Raises:
            ConnectionFailed: the master does not answer.
            ValueError: `grep` is no regular expression.

        Example:
            >>> len(session.logs(grep="what nobody says"))
            0
        """
        return ask_logs(self._watch).selected(worker, grep, tail)

    def logs_since(self, cursor: str, query: str = "") -> Logs:
        """What was said, or said again, since an earlier answer, whose `cursor` it was; "" for everything.

        Args:
            cursor: `Logs.cursor`.
            query: the number of a query; by default of all.

        Raises:
            ConnectionFailed: the master does not answer.
            QueryFailed: it does not know the query.

        Example:
            >>> len(session.logs_since(session.logs().cursor))
            0
        """
        return ask_logs(self._watch, clipped(query), cursor)

    def cluster(self) -> ClusterView:
        """What is going on at the master: workers and what their slots are at, queries, file servers, and the recent past.

        Raises:
            ConnectionFailed: the master does not answer.

        Example:
            >>> view = session.cluster()
            >>> view.slots, query.id in view.queries
            (2, True)
        """
        return ClusterFeed(self._watch, self.starts_workers).now()

    def cluster_feed(self, answered: Callable[[], None] | None = None) -> ClusterFeed:
        """The same for a display that draws itself again and again: what is new is asked for, and not waited for.

        Args:
            answered: called when the master has answered, in another thread.
        """
        return ClusterFeed(self._watch, self.starts_workers, answered)

    def log_feed(self) -> LogFeed:
        """What all analyses and workers say, for a display that draws itself again and again."""
        return LogFeed(self._watch, lambda: "")

    def stop(self, query: str, *, keep: bool = True) -> None:
        """End a query by its number, without watching it: keep what is merged for those who do, or drop it.

        Raises:
            QueryFailed: the master knows no such query, or it is somebody else's.
        """
        self._info(query)
        self._ask_for(lambda number: messages.Stop(query, keep, number))

    def remove(self, query: str) -> None:
        """Have the master forget a query that is over, by its number, and its result, for everybody.

        Rows that a query which has failed had written, and that are in no files, are removed with it.

        Raises:
            QueryFailed: the master knows no such query, it is not over yet, or it is somebody else's.

        Example:
            >>> done = session.process("events.root", missing_energy)
            >>> _ = done.result()
            >>> session.remove(done.id)
            >>> done.id in [info.query for info in session.queries()]
            False
        """
        info = self._info(query)
        if info.state not in FINAL:
            raise QueryFailed(f"query {query} is {info.state}: stop it before it is removed")
        self._remove_what_is_left(info)
        self._ask_for(lambda number: messages.Remove(query, number))

    def _remove_what_is_left(self, info: QueryInfo) -> None:
        raise NotImplementedError

    def drain(self, worker: str) -> None:
        """Let a worker leave in good order: it gets nothing more, hands on what it has not begun, commits, and goes.

        Raises:
            EventmillError: the master has no such worker, it works for somebody else, or it belongs to this session and goes
                with it.

        Example:
            >>> session.drain("a worker")
            Traceback (most recent call last):
            eventmill.protocol.errors.EventmillError: the worker of a session's own master leaves with it: close the session
        """
        if self.starts_workers:
            raise EventmillError("the worker of a session's own master leaves with it: close the session")
        known = [info.worker for info in self.workers()]
        if worker not in known:
            raise EventmillError(f"no worker {clipped(worker)} here; there are: {some(known)}")
        self._ask_for(lambda number: messages.Drain(worker, number))

    def shutdown(self) -> None:
        """End the master and all its workers.

        Raises:
            QueryFailed: only the owner of the master ends it.

        Example:
            >>> with em.connect(slots=1) as other:
            ...     other.shutdown()
        """
        self._ask_for(messages.Shutdown)

    def _repr_html_(self) -> str:
        return session_html(self)

    def _info(self, query: str) -> QueryInfo:
        """What the master says of a query; `QueryFailed` when it knows none of this number."""
        return self.queries().numbered(clipped(query))

    def _ask_for(self, make: Callable[[int], Message]) -> None:
        """Have the master do something, and wait until it has. Raises `QueryFailed` when it does not want to."""
        self._watch.request(make, messages.Done)

    def _send(self, message: Message) -> None:
        self._watch.link.send(message)
