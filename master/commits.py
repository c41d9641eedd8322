"""What workers commit: the ledger accepts it, or says why not, and what it accepts is merged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..merge import entries_in
from ..packetizer.leases import Gap, StaleLease
from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.errors import CountError, RemoteProtocolError
from ..protocol.messages import Failure, Part
from .calls import Handlers, SendMessage
from .dispatcher import Dispatcher
from .lifecycle import Lifecycle
from .peers import Worker
from .queries import Queries
from .query import Query
from .shares import Share

log = logging.getLogger(__name__)


class Commits:
    """The part of `Reports` that is about commits; all of its arguments are as there."""

    def __init__(self, queries: Queries, dispatcher: Dispatcher, lifecycle: Lifecycle, send: SendMessage) -> None:
        self._queries = queries
        self._dispatcher = dispatcher
        self._lifecycle = lifecycle
        self._send = send

    def add_to(self, handlers: Handlers[Worker]) -> None:
        """Have its messages come here."""
        handlers.add(messages.Commit, self._commit)

    def _commit(self, worker: Worker, message: messages.Commit, frames: Frames, now: float) -> None:
        self._lifecycle.intake.came(worker.identity, message.query, now)
        query = self._queries.get(message.query)
        if query is None or not query.running:
            reason = f"query {message.query} is not running"
        elif not all((message.query, part.lease) in worker.leases for part in message.parts):
            reason = "a lease is not this worker's"
        else:
            reason = self._accept(worker, query, message.parts, frames, now)
        if reason and query is not None:
            query.counters.refused += 1
            # The result cannot be taken apart: whatever else is in it is to do again.
            for part in message.parts if query.running else ():
                if (query.number, part.lease) in worker.leases:
                    self._dispatcher.give_back(worker, (query.number, part.lease), now)
            log.warning("refused commit %d of %s: %s", message.commit, worker.name, reason)
        self._send(worker.identity, messages.Committed(message.commit, not reason, reason), now=now)
        if query is not None:
            self._lifecycle.end_if_complete(query, now)

    def _accept(self, worker: Worker, query: Query, parts: Sequence[Part], frames: Frames, now: float) -> str:
        """Have the ledger accept a commit of leases that are this worker's, and what is in it merged; or say why not."""
        leases = [query.ledger.leases[part.lease] for part in parts]
        duplicates = [query.ledger.leases[it.duplicate] for it in leases if it.duplicate is not None]
        gaps = [Gap(part.lease, gap.start, gap.stop, gap.reason) for part in parts for gap in part.gaps]
        spans = [(part.lease, part.start, part.stop) for part in parts]
        try:
            processed = query.ledger.commit(spans, gaps, entries_in(frames))
        except StaleLease as error:
            return str(error)
        except (CountError, RemoteProtocolError) as error:
            reason = f"query {query.number}, worker {worker.name}: {error}"
            self._lifecycle.fail(query, Failure("count", type(error).__name__, reason), (), now)
            return reason
        if query.first_commit is None and query.ledger.processed:
            query.first_commit = now
        done = [it for lease, part in zip(leases, parts, strict=True) for it in _without_gaps(lease.file, part)]
        self._lifecycle.merge(query, frames, done, worker.name)
        self._lifecycle.lost(query)
        worker.total.processed += processed
        share_of(query, worker).processed += processed
        query.packetizer.kills.committed()
        for lease, part in zip(leases, parts, strict=True):
            query.packetizer.kills.clear(lease.file, part.start, part.stop)
            self._dispatcher.close_if_gone(worker, query, part.lease, now)
        for lost in duplicates:
            self._dispatcher.revoke(query, lost, now)
        return ""


def share_of(query: Query, worker: Worker) -> Share:
    """What a worker does for a query, which it has to do with from now on."""
    share = query.shares.get(worker.name)
    if share is None:
        joined = max(0.0, worker.joined - query.started)
        share = Share(worker.host, worker.pid, len(worker.slots), site=worker.total.site, joined=joined)
        query.shares[worker.name] = share
    share.left = None  # it may have come back
    return share


def _without_gaps(file: int, part: Part) -> list[tuple[int, int, int]]:
    """What is done of a file by a part of a commit; of a file without entries, nothing, which is not the same as nowhere."""
    at, done = part.start, []
    for gap in part.gaps:
        if at < gap.start:
            done.append((file, at, gap.start))
        at = gap.stop
    if at < part.stop or part.start == part.stop:
        done.append((file, at, part.stop))
    return done
