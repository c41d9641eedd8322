"""The lists of workers and queries that a master gives, as tables in a terminal and in a notebook."""

from __future__ import annotations

from ..protocol.messages import QueryInfo
from ..protocol.usage import Usage, WorkerInfo
from .tables import html_table, text_table

WORKERS = ("worker", "host", "pid", "slots", "busy", "packets", "entries", "CPU/time", "waited", "read")
QUERIES = ("query", "name", "owner", "state", "entries", "of", "seconds")
WORDS = ("worker", "host", "query", "name", "owner", "state")
"""Of these headings, those above words; below the others are numbers."""


def worker_cells(info: WorkerInfo) -> list[str]:
    """A worker under the headings `WORKERS`."""
    usage = sum(info.by_slot.values(), start=Usage())
    counts = (info.slots, info.busy, info.packets, info.entries)
    costs = (f"{usage.efficiency:.0%}", f"{usage.waited:.1f} s", f"{usage.bytes_read / 1e6:,.0f} MB")
    return [info.worker, info.host, str(info.pid), *(f"{count:,}" for count in counts), *costs]


def query_cells(info: QueryInfo) -> list[str]:
    """A query under the headings `QUERIES`."""
    account = info.account
    counts = (f"{account.processed:,}", f"{'~' if account.estimated else ''}{account.total:,}")
    return [info.query, info.name, info.owner, info.state, *counts, f"{info.seconds:.1f}"]


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
    """The queries of a master: a list that is shown as a table.

    Example:
        >>> QueryList()
        no queries
    """

    def __repr__(self) -> str:
        return text_table(QUERIES, [query_cells(info) for info in self], words=4) if self else "no queries"

    def _repr_html_(self) -> str:
        return html_table(QUERIES, [query_cells(info) for info in self], 4, "queries") if self else "<p>no queries</p>"
