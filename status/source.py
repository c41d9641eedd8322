"""What a page shows is what a session tells: as much of a session, and of its queries, as a page needs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..display.feeds import ClusterFeed, LogFeed
from ..display.query_view import QueryView
from ..display.report.report import Report
from ..protocol.errors import EventmillError
from ..protocol.messages import Account, Failure, State


class Merged(Protocol):
    """What is merged of a query so far."""

    account: Any

    @property
    def plain(self) -> Any:
        """The result, with nothing unpickled."""

    def small(self, names: Sequence[str], windows: Mapping[str, tuple[float, float]]) -> Merged:
        """The same for who looks at these histograms, and at some from where to where."""


class Watched(Protocol):
    """A query that is looked at."""

    @property
    def state(self) -> State:
        """Of the query."""

    @property
    def view(self) -> QueryView:
        """Where it stands."""

    @property
    def account(self) -> Account:
        """What became of its entries."""

    @property
    def snapshot(self) -> Merged | None:
        """What is merged of it."""

    @property
    def failure(self) -> Failure | None:
        """What ended it."""

    def report(self) -> Report:
        """What held it back, once it is over."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what is looked at is as wanted. Raises EventmillError when nothing more will come."""

    def wants_all(self) -> None:
        """Have all of its result in each snapshot."""

    def leave(self) -> None:
        """Hear no more of it."""


class Source(Protocol):
    """A session."""

    @property
    def address(self) -> str:
        """Where the master is."""

    def cluster_feed(self, answered: Callable[[], None]) -> ClusterFeed:
        """What is going on; `answered` is called when the master has told of it, in another thread."""

    def log_feed(self) -> LogFeed:
        """What is said."""

    def attach(self, query: str) -> Watched:
        """Look at a query. Raises EventmillError when there is none of this number, or nobody answers."""

    def stop(self, query: str, *, keep: bool = True) -> None:
        """End a query. Raises as `attach`."""


class Beside:
    """A session that lives no longer for the page that is beside it: who shows it does not keep it.

    Example:
        >>> class Session:
        ...     address = "tcp://127.0.0.1:8786"
        >>> session = Session()
        >>> beside = Beside(session)
        >>> beside.address
        'tcp://127.0.0.1:8786'
        >>> del session
        >>> beside.address
        Traceback (most recent call last):
        eventmill.protocol.errors.EventmillError: the session of this page is closed
    """

    def __init__(self, session: Any) -> None:
        self._session = weakref.ref(session)

    @property
    def address(self) -> str:
        """Where the master is."""
        return self._there.address

    def cluster_feed(self, answered: Callable[[], None]) -> ClusterFeed:
        """What is going on; it does not refer to the session."""
        return self._there.cluster_feed(answered)

    def log_feed(self) -> LogFeed:
        """What is said; it does not refer to the session either."""
        return self._there.log_feed()

    def attach(self, query: str) -> Watched:
        """Look at a query, which keeps the session until it is left."""
        return self._there.attach(query)

    def stop(self, query: str, *, keep: bool = True) -> None:
        """End a query."""
        self._there.stop(query, keep=keep)

    @property
    def _there(self) -> Source:
        session: Source | None = self._session()
        if session is None:
            raise EventmillError("the session of this page is closed")
        return session
