"""How far a query is: what its sessions are told between snapshots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from ..protocol import messages
from ..protocol.messages import Activity, Wait
from ..protocol.values import MOST
from .peers import Worker
from .query import Query

Expected = Callable[[frozenset[str]], str]
"""What has become of workers that serve one of these owners and are on their way, in words."""
MOST_SITES = 12
"""That are told of: those with the most slots."""


def progress(query: Query, workers: Collection[Worker], expected: Expected, now: float) -> messages.Progress:
    """What is told of a query now, on a master with these workers; if there are none, with what is `expected`."""
    at_work = query.packetizer.at_work() if query.running else []
    sites = Counter([slot.worker.total.site for slot in at_work])
    slots, busy = len(at_work), len({id(slot.worker) for slot in at_work})
    there = any(worker.owner in query.served_by for worker in workers)
    told = _doing(query, now) if slots else (_waiting(query, there, expected), None)
    return messages.Progress(
        query.number, query.account(), query.ledger.reached, query.counters.bytes_read, slots, busy,
        query.seconds(now), *told, min(MOST, query.counters.lines),
        dict(sites.most_common(MOST_SITES)), query.credentials.info(now),
        min(MOST, query.counters.warnings),
    )  # fmt: skip


def _doing(query: Query, now: float) -> tuple[Wait | None, Activity | None]:
    """The server that slots of a query wait for; if they do not, what they begin with."""
    wait = query.audience.activities.wait(query.ledger.leases, now)
    if wait is not None or query.ledger.reached:
        return wait, None
    usual: Activity = "compiling" if query.submit.kind == "kernel" else "running"
    otherwise = usual if query.ledger.opened_files else "opening"
    return None, query.audience.activities.beginning(query.ledger.leases, otherwise)


def _waiting(query: Query, there: bool, expected: Expected) -> Wait:
    """What a query waits for of which nothing is at work; workers are there, or not."""
    if query.outcome.failure is not None:
        return Wait("failure")
    if query.state == "merging":
        return Wait("merging")
    if query.running and not query.credentials.there:
        return Wait("credentials")
    if not there:
        return Wait("workers", reason=expected(query.served_by))
    return Wait("retry", reason=query.counters.trouble) if query.ledger.held else Wait("slots")
