"""A session: the user's line to a master."""

from __future__ import annotations

import atexit
import getpass
import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from ..packetizer.dataset import Dataset
from ..protocol import messages
from ..protocol.analysis import pack
from ..protocol.codec import Buffer, Frames
from ..protocol.connection import find_connection
from ..protocol.errors import QueryFailed
from ..protocol.messages import Message, QueryInfo, WorkerInfo
from .embedded import Embedded
from .link import Link
from .listing import list_files
from .query import Query

CONNECT_SECONDS = 5.0
EMBEDDED_SECONDS = 30.0


def connect(
    target: str | os.PathLike[str] | None = None, *, slots: int | None = None, timeout: float = CONNECT_SECONDS
) -> Session:
    """Connect to a master, or start one on this machine.

    Args:
        target: a connection file, the name of a master, or its address ("tcp://host:8786", when its connection file lies
            in the state folder). None starts a master and a worker as processes of this session's own; they end with it.
        slots: worker slots to start on this machine (only without a target); one a core by default.
        timeout: seconds to wait for the master's answer.

    Raises:
        ConnectionFailed: no master answers, it refuses the key, or versions do not fit.

    Example:
        >>> import eventmill as em
        >>> with em.connect(slots=1) as session:
        ...     session
        <Session of an embedded master>
    """
    if target is None:
        return Session(Embedded(slots), EMBEDDED_SECONDS)
    if slots is not None:
        raise ValueError(
            "slots= is for a master of this session's own; start workers of a standing one with `eventmill worker`"
        )
    return Session(os.fspath(target), timeout)


class Session:
    """A connection to a master; `connect` makes it. Usable as a context manager."""

    def __init__(self, master: Embedded | str, patience: float) -> None:
        self._embedded = master if isinstance(master, Embedded) else None
        self._queries: dict[str, Query] = {}
        self._names = itertools.count(1)
        connection = master.connection if isinstance(master, Embedded) else find_connection(master)
        self.address = connection.address
        try:
            self._link = Link(connection, patience, self._receive, self._rejoined, self._lose)
        except BaseException:
            if self._embedded is not None:
                self._embedded.close()
            raise
        atexit.register(self.close)

    def process(
        self,
        dataset: Dataset | str | os.PathLike[str] | list[str] | dict[str, Any],
        analysis: Callable[..., Any] | Any,
        *,
        name: str | None = None,
        on_error: Literal["fail", "skip"] = "fail",
    ) -> Query:
        """Start an analysis over a dataset; returns at once.

        Args:
            dataset: a `Dataset`, or what makes one: a path, glob, list, or dict of lists.
            analysis: a kernel (`em.kernel`), a function of an array of events, or a coffea processor.
            name: what the query is called in displays; the analysis' name by default.
            on_error: "fail" ends the query at the first error; "skip" goes on and lists what is lost in the account.

        Raises:
            DatasetError: there are no such files.
            AnalysisError: the analysis cannot travel to a worker.
        """
        if not isinstance(dataset, Dataset):
            dataset = Dataset(dataset)
        packed = pack(analysis)
        expanded = dataset.expanded(list_files)
        files = msgspec.msgpack.encode(list(expanded.files))
        accepted = self._link.request(
            lambda request: messages.Submit(
                request,
                name=name or packed.name,
                kind=packed.kind,
                digest=packed.digest,
                owner=getpass.getuser(),
                branches=None if packed.branches is None else list(packed.branches),
                on_error=on_error,
                limit=expanded.max_entries,
            ),
            messages.Accepted,
            [packed.blob, files],
        )
        query = self._query(accepted.query)
        query.name = name or packed.name
        return query

    def queries(self) -> list[QueryInfo]:
        """All queries that the master knows, of all sessions, oldest first."""
        return self._link.request(lambda request: messages.Ask(request, "queries"), messages.Queries).queries

    def workers(self) -> list[WorkerInfo]:
        """The workers that are there now, and what they have done."""
        return self._link.request(lambda request: messages.Ask(request, "workers"), messages.Workers).workers

    def attach(self, query: str) -> Query:
        """Watch a query that was started earlier, by this session or another.

        Raises:
            QueryFailed: the master knows no such query.
        """
        self._link.request(lambda request: messages.Attach(request, query), messages.Accepted)
        return self._query(query)

    def shutdown(self) -> None:
        """End the master and all its workers."""
        self._send(messages.Shutdown())

    def close(self) -> None:
        """Leave. A master of this session's own ends; queries on a standing master go on and can be attached to."""
        atexit.unregister(self.close)
        self._link.close()
        if self._embedded is not None:
            self._embedded.close()
        for query in self._queries.values():
            query._lose("the session was closed before the query was over")

    @property
    def log(self) -> Path | None:
        """The log file of a master and worker of this session's own; the prints of the analysis are in it too."""
        return self._embedded.log if self._embedded is not None else None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "an embedded master" if self._embedded is not None else f"the master at {self.address}"
        return f"<Session of {where}{', closed' if self._link.closed else ''}>"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _send(self, message: Message, frames: Frames = ()) -> None:
        self._link.send(message, frames)

    def _query(self, number: str) -> Query:
        """The query of this number; whoever hears of it first makes it, the link's thread or the user's."""
        return self._queries.setdefault(number, Query(self, number))

    def _receive(self, message: Message, frames: list[Buffer]) -> None:
        """Take in a message that is no answer; called in the link's thread."""
        if isinstance(message, messages.Progress | messages.Snapshot | messages.Ended):
            self._query(message.query)._receive(message, frames)
        if isinstance(message, messages.Snapshot):
            self._send(messages.Seen(message.query))

    def _rejoined(self) -> None:
        """The connection broke and is there again: watch again what is not over; called in the link's thread."""
        for query in list(self._queries.values()):
            if query.state == "running":
                attach = partial(messages.Attach, query=query.id)
                self._link.ask(attach, partial(self._attached_again, query))

    def _attached_again(self, query: Query, answer: Message) -> None:
        if isinstance(answer, messages.Refused):
            query._lose(f"the master was started again: {answer.reason}")

    def _lose(self, reason: str) -> None:
        """The master is out of reach; called in the link's thread."""
        for query in list(self._queries.values()):
            query._lose(reason)

    def _check(self) -> None:
        """Raise when the master is known to be gone: a wait for it would never end."""
        if self._link.lost:
            raise QueryFailed(self._link.lost)
        if self._embedded is not None:
            self._embedded.check()
