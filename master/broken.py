"""Errors of ours in the master: what they may have left half changed, and who pays for it.

An exception that nobody expected leaves behind whatever it was in the middle of. While the master works for one query, only
what it knows of this query can be half changed, and the credit of slots, which can be counted anew from their leases: the
query fails in words, what is its own is dropped, and the others go on (`MasterCore`). Everywhere else, with peers and with
slots that queries share, nobody can tell: the exception leaves the core, which is not asked any more, and its loop begins
anew with what the journal has (`serve.Master`), as after `kill -9`.
"""

from __future__ import annotations

from types import TracebackType

from ..protocol.messages import Failure
from .query import Query


class QueryBroken(Exception):
    """Something unexpected was raised while the master worked for a query; `__cause__` says what."""

    def __init__(self, query: Query) -> None:
        super().__init__(query.number)
        self.query = query


class Concerning:
    """What goes wrong in this context concerns one query, and raises `QueryBroken`.

    Example::

        with Concerning(query):
            packet = query.packetizer.next(slot, now)
    """

    __slots__ = ("_query",)

    def __init__(self, query: Query) -> None:
        self._query = query

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, QueryBroken):
            raise QueryBroken(self._query) from error


def failure_of(number: str, at: str, error: BaseException) -> Failure:
    """What a query ends with when an error of ours came in its way, `at` work on what.

    Example:
        >>> failure_of("q1", "Commit", KeyError(7)).message.partition(";")[0]
        'query q1: the master failed at Commit: KeyError: 7'
    """
    what = f"query {number}: the master failed at {at}: {type(error).__name__}: {error}"[:1000]
    then = (
        "no result is given, it might be wrong: this is a fault of eventmill's, please report it with the master's log"
    )
    return Failure("count", "QueryFailed", f"{what}; {then}")
