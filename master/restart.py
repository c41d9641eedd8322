"""What an earlier master has left in the journal, taken up by the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .access import Access
from .attachments import Attachments
from .effects import Effect
from .finished import Finished
from .lifecycle import Lifecycle, go_on
from .numbering import Numbering
from .queries import Queries
from .query import Query
from .saved import Saved


def take_up(
    saved: Iterable[Saved | Finished], queries: Queries, numbering: Numbering, attachments: Attachments, access: Access,
    lifecycle: Lifecycle, do: Callable[[Effect], None], now: float, wall: float,
) -> None:  # fmt: skip
    """Have queries go on as they are in the journal, at `wall` in seconds since 1970, and remember those that are over.

    Raises:
        ValueError, `msgspec.MsgspecError`, UnicodeDecodeError: what is there of a query does not fit together.
    """
    for it in saved:
        if isinstance(it, Finished):
            numbering.last = max(numbering.last, it.last)
            queries.remember(it.since(wall, now))
            continue
        query = Query.restored(it, now, wall)
        query.served_by = access.served_by(it.submit.user)
        queries.add(query)
        attachments.keep(it.attachments)
        for name in (it.number, *query.shares):
            numbering.taken(name)
        go_on(lifecycle, query, it.total, attachments.lacking(it.submit), do, now)
