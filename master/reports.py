"""What workers report of their leases and slots, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from ..packetizer.leases import Lease, StaleLease
from ..packetizer.listed_entries import EntryList
from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.column_types import changed_type
from ..protocol.messages import Failure
from ..protocol.usage import Usage
from .calls import Handlers, SendMessage
from .cluster_book import ClusterBook
from .commits import Commits, share_of
from .compactor import Compactor
from .dispatcher import Dispatcher
from .effects import Effect
from .layouts import Layouts
from .learnt import Learnt
from .lifecycle import Lifecycle
from .log_book import said_by_users
from .peers import Slot, Worker
from .queries import Queries
from .query import Query
from .slot_reports import SlotReports, blame, from_worker

log = logging.getLogger(__name__)


class Reports:
    """Takes in what workers say; `handlers` tells which message goes where.

    Args:
        queries: the master's queries, by number.
        learnt: what is known of analyses.
        cluster: what displays of the whole master are told.
        dispatcher: takes leases back.
        compactor: has totals compacted.
        lifecycle: ends queries.
        layouts: what slots have told of files.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self,
        queries: Queries,
        learnt: Learnt,
        cluster: ClusterBook,
        dispatcher: Dispatcher,
        compactor: Compactor,
        lifecycle: Lifecycle,
        layouts: Layouts,
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._queries = queries
        self._learnt = learnt
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._compactor = compactor
        self._lifecycle = lifecycle
        self._layouts = layouts
        self._send = send
        self._do = do
        self.handlers = Handlers[Worker]()
        self.handlers.add(messages.Draining, self._draining)
        self.handlers.add(messages.Opened, self._opened)
        self.handlers.add(messages.Described, self._described)
        self.handlers.add(messages.Columns, self._columns)
        self.handlers.add(messages.Reached, self._reached)
        self.handlers.add(messages.Doing, self._doing)
        self.handlers.add(messages.Truncated, self._truncated)
        self.handlers.add(messages.Finished, self._finished)
        self.handlers.add(messages.Failed, self._failed)
        self.handlers.add(messages.Skipped, self._skipped)
        self.handlers.add(messages.Output, self._output)
        Commits(queries, dispatcher, lifecycle, send).add_to(self.handlers)
        lifecycle.intake.add_to(self.handlers)
        SlotReports(queries, dispatcher, compactor, lifecycle, send, do).add_to(self.handlers)

    # --- leases ---------------------------------------------------------------------------------------------------

    def _draining(self, worker: Worker, message: messages.Draining, frames: Frames, now: float) -> None:
        log.info("worker %s leaves in %.0f s", worker.name, message.seconds)
        self._dispatcher.leave(worker, now + message.seconds, now)

    def _opened(self, worker: Worker, message: messages.Opened, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        file = query.ledger.leases[message.lease].file
        try:
            entry_list = query.listings.get(file) if message.listed is None else EntryList(message.listed)
            if entry_list is not None and len(entry_list) != message.entries:
                raise ValueError(f"lease {message.lease}: {len(entry_list)} entries are listed, not {message.entries}")
            query.ledger.opened(message.lease, message.entries, message.stop, tuple(message.clusters), message.identity)
        except (StaleLease, ValueError) as error:
            self._blame(worker, error, now)
            return
        if entry_list is not None:
            query.listings[file] = entry_list
        self._lifecycle.opened(query, file, message.listed, message.place)
        query.packetizer.opened(worker.leases[query.number, message.lease], message.lease, now)
        if wrong := query.places.meet(query.files, file, message.place):
            it = query.files[file]
            failure = from_worker(Failure("data", "DatasetError", wrong, path=it.path, tree=it.tree), worker)
            self._queries.logs.add_failure(query.number, failure, now)
            self._lifecycle.fail(query, failure, (), now, offer=True)
        self._lifecycle.end_if_complete(query, now)

    def _described(self, worker: Worker, message: messages.Described, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None or len(frames) != 1:
            return
        file = query.files[query.ledger.leases[message.lease].file]
        if message.path == file.path or message.path in file.replicas:
            slot = worker.leases[query.number, message.lease]
            self._layouts.tell(slot, (*query.submit.whose, message.path, file.tree), frames[0])

    def _columns(self, worker: Worker, message: messages.Columns, frames: Frames, now: float) -> None:
        """A slot tells of the columns it reads. Files that do not agree on their types are not merged with each other."""
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        lease = query.ledger.leases[message.lease]
        for name in message.filled:
            query.counters.filled.setdefault(name, set()).add(lease.file)
        changed = {name: query.types.setdefault(name, seen) for name, seen in message.types.items()}
        changed = {name: first for name, first in changed.items() if first.kind != message.types[name].kind}
        if not changed:
            return
        name, first = next(iter(changed.items()))
        file = query.files[lease.file]
        text = changed_type(name, first, message.types[name])
        failure = from_worker(Failure("data", "DatasetError", text, path=file.path, tree=file.tree), worker)
        self._queries.logs.add_failure(query.number, failure, now)
        if query.submit.on_error != "skip":
            self._lifecycle.fail(query, failure, (), now, offer=True)
            return
        self._lifecycle.skip(query, failure, ())
        self._give_up(worker, query, lease, f"DatasetError: {text}", now)
        slot = message.slot
        self._send(worker.identity, messages.Columns(query.number, message.lease, changed, slot=slot), now=now)
        self._lifecycle.end_if_complete(query, now)

    def _give_up(self, worker: Worker, query: Query, lease: Lease[Slot], reason: str, now: float) -> None:
        """A slot worked on a file that does not fit: what it has of it is lost, what it has of others is to do again."""
        for key in list(lease.holder.leases):
            if key[0] != query.number:
                continue
            other = query.ledger.leases[key[1]]
            if other.file == lease.file:
                query.ledger.fail(key[1], reason)
                self._lifecycle.lost(query)
                self._dispatcher.revoke(query, other, now)
            else:
                self._dispatcher.recall(query, other, now)

    def _reached(self, worker: Worker, message: messages.Reached, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is not None:
            slot = worker.leases[query.number, message.lease]
            query.packetizer.reached(slot, message.lease, message.entry, now)

    def _doing(self, worker: Worker, message: messages.Doing, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is not None:
            query.audience.activities.said(message, query.ledger.leases, now)

    def _truncated(self, worker: Worker, message: messages.Truncated, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        slot = worker.leases[query.number, message.lease]
        try:
            query.ledger.truncate(message.lease, message.stop)
        except StaleLease as error:
            self._blame(worker, error, now)
            return
        query.packetizer.truncated(slot, message.lease, now)
        self._dispatcher.close_if_gone(worker, query, message.lease, now)
        self._lifecycle.end_if_complete(query, now)

    def _finished(self, worker: Worker, message: messages.Finished, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        slot = worker.leases[query.number, message.lease]
        start = query.ledger.leases[message.lease].start
        entries = message.stop - start
        try:
            query.ledger.finished(message.lease, message.stop)
        except StaleLease as error:
            self._blame(worker, error, now)
            return
        server = query.packetizer.server(slot, message.lease)
        took = message.seconds, now, message.calls, message.elapsed
        query.packetizer.finished(slot, message.lease, start, message.stop, *took)
        self._learnt.keep(query.submit.digest, query.dataset, query.packetizer.rate, query.packetizer.calls)
        query.counters.bytes_read += message.bytes_read
        usage = Usage(
            1, entries, message.elapsed, message.cpu, message.waited, message.bytes_read, message.requests,
            message.latency, message.made, min(message.elapsed, message.made * query.packetizer.overhead),
            message.opening, message.late, message.compiling,
        )  # fmt: skip
        slot.since = now
        ended = query.seconds(now)
        worker.total.add(usage, message.seconds, slot.index, server)
        self._cluster.packet(slot, query.number, server, usage, now)
        share_of(query, worker).add(usage, message.seconds, slot.index, server, ended)
        query.shares.timeline.add(usage, ended)
        self._dispatcher.credit.free(slot, (query.number, message.lease))
        self._dispatcher.close_if_gone(worker, query, message.lease, now)
        self._lifecycle.end_if_complete(query, now)

    def _failed(self, worker: Worker, message: messages.Failed, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        lease = query.ledger.leases[message.lease]
        failure = from_worker(message.failure, worker)
        self._queries.logs.add_failure(query.number, failure, now)
        if failure.everywhere:
            self._lifecycle.fail(query, failure, frames, now, offer=True)
        elif query.credentials.will_be_renewed(failure.denied, now):
            log.warning("query %s: %s; it goes on with others", query.number, failure.message)
            self._dispatcher.give_back(worker, (query.number, message.lease), now)
        elif failure.kind == "data" and query.try_again(lease, message.failure.path, failure, now):
            log.warning("query %s: %s; it will be tried again", query.number, failure.message)
            self._dispatcher.give_back(worker, (query.number, message.lease), now)
        elif query.submit.on_error == "skip" and failure.kind != "count":
            self._lifecycle.skip(query, failure, frames)
            reason = f"{failure.error}: {failure.message}"
            query.ledger.fail(message.lease, reason, *query.at_fault(lease, failure))
            self._lifecycle.lost(query)
            self._dispatcher.close_if_gone(worker, query, message.lease, now)
            self._lifecycle.end_if_complete(query, now)
        else:
            self._lifecycle.fail(query, failure, frames, now, offer=failure.kind != "count")

    def _skipped(self, worker: Worker, message: messages.Skipped, frames: Frames, now: float) -> None:
        """A slot has passed over an error for the first time: the entries are named in its commits."""
        query = self._queries.get(message.query)
        if query is not None and query.running:
            failure = from_worker(message.failure, worker)
            self._queries.logs.add_failure(query.number, failure, now)
            self._lifecycle.skip(query, failure, frames)

    def _output(self, worker: Worker, message: messages.Output, frames: Frames, now: float) -> None:
        """What user code has said there, and the worker itself. What names a query that is gone belongs to none."""
        logs = self._queries.logs
        for line in message.lines:
            query = self._queries.get(line.query)
            if query is None and line.query:
                line = msgspec.structs.replace(line, query="")
            logs.add(line, worker.name, now)
            if query is not None:
                query.counters.lines += said_by_users([line])
                query.counters.warnings += line.count if line.source == "warning" else 0
        for unkept in message.unkept:
            query = self._queries.get(unkept.query)
            logs.lose(unkept.query if query is not None else "", unkept.lines, unkept.size)
            if query is not None:
                query.counters.lines += unkept.lines

    # --- inside ---------------------------------------------------------------------------------------------------

    def _holds(self, worker: Worker, lease: int, number: str) -> Query | None:
        """The query of a lease that this worker holds; None for a lease that is dead, which a late message may name."""
        return self._queries[number] if (number, lease) in worker.leases else None

    def _blame(self, worker: Worker, reason: Any, now: float) -> None:
        blame(self._send, worker, reason, now)
