"""What of a large result is still at the master: it comes when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ..merge.nodes import Key
from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.errors import ConnectionFailed, QueryFailed

if TYPE_CHECKING:
    from .query import Query
    from .result import Result

ENDING_SECONDS = 60.0
"""How long the end of a query is awaited once it is told that there are no more snapshots."""


class Nowhere:
    """The rest of a snapshot that was pickled or copied: nobody has it."""

    def fetch(self, keys: Sequence[Key] | None, entries: int) -> NoReturn:
        """Raise QueryFailed."""
        raise QueryFailed("of this copy of a snapshot there is what had been read of it before, and no more")


class Remainder:
    """The rest of the snapshots of a query.

    Args:
        query: whose they are.
    """

    def __init__(self, query: Query) -> None:
        self._query = query

    def fetch(self, keys: Sequence[Key] | None, entries: int) -> tuple[messages.PartIs, Sequence[Buffer]] | Result:
        """What is under these keys and all that were read before, or, if they are None, the whole; from now on, each
        snapshot has it. If the query is over, its result.

        Args:
            entries: of which it is to be, if it is to fit what was read before; else 0.

        Raises:
            QueryFailed: the master has no more what was in these entries.
            ConnectionFailed: it does not answer.
        """
        query = self._query
        query._demand.wants(keys)
        answer, frames = self._ask(entries)
        if answer is None:
            query._wait(lambda: query._result is not None, ENDING_SECONDS)
            result = query._final()
            if entries:
                raise QueryFailed(
                    "the query is over, and what else was in this snapshot of it is not known any more: take query.result()"
                )
            return result
        if entries and answer.account.processed != entries:
            raise QueryFailed(
                f"the query has gone on since this snapshot, of {entries:,} entries, and what else was in it is not known "
                "any more: read what you compare soon after each other, or in the next snapshot, which has all that was read"
            )
        return answer, frames

    def _ask(self, entries: int) -> tuple[messages.PartIs | None, Sequence[Buffer]]:
        query = self._query
        if query._result is not None:
            return None, ()
        try:
            return query._session._watch.part(query, entries)
        except ConnectionFailed:
            raise
        except QueryFailed:
            return None, ()
