"""What workers report of their slots that go down and come up, and of objects that these have merged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from ..protocol import messages
from ..protocol.addresses import shown
from ..protocol.codec import Frames
from ..protocol.messages import Failure
from .calls import Handlers, SendMessage
from .compactor import Compactor
from .dispatcher import Dispatcher
from .effects import Effect, Replace, Take
from .lifecycle import Lifecycle
from .peers import Worker
from .queries import Queries
from .query import MAX_KILLS

log = logging.getLogger(__name__)


class SlotReports:
    """The part of `Reports` that is about slots; all of its arguments are as there."""

    def __init__(
        self,
        queries: Queries,
        dispatcher: Dispatcher,
        compactor: Compactor,
        lifecycle: Lifecycle,
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._queries = queries
        self._dispatcher = dispatcher
        self._compactor = compactor
        self._lifecycle = lifecycle
        self._send = send
        self._do = do

    def add_to(self, handlers: Handlers[Worker]) -> None:
        """Have its messages come here."""
        handlers.add(messages.Compacted, self._compacted)
        handlers.add(messages.SlotDown, self._slot_down)
        handlers.add(messages.SlotUp, self._slot_up)

    def _slot_down(self, worker: Worker, message: messages.SlotDown, frames: Frames, now: float) -> None:
        if message.slot >= len(worker.slots):
            blame(self._send, worker, f"no slot {message.slot}", now)
            return
        slot = worker.slots[message.slot]
        slot.up = False
        self._compactor.lost(worker.identity, slot.index)
        self._dispatcher.credit.withdraw(slot)
        self._take_down_compaction(worker, message, now)
        log.warning("slot %d of %s went down: %s", message.slot, worker.name, message.reason)
        self._note(worker, message, now)
        lost = [(key.query, key.lease) for key in message.leases if (key.query, key.lease) in worker.leases]
        working = message.working
        if working is not None and (working.query, working.lease) in worker.leases:
            self._count_kill(worker, message, now)
        for key in lost:
            if key in worker.leases:
                self._dispatcher.give_back(worker, key, now)

    def _note(self, worker: Worker, message: messages.SlotDown, now: float) -> None:
        """Keep that a slot went down with what is said for the query that it was at work for."""
        working, path = message.working, ""
        number = working.query if working is not None else message.compacting
        if working is not None and (working.query, working.lease) in worker.leases:
            query = self._queries[number]
            path = query.files[query.ledger.leases[working.lease].file].path
        line = messages.OutputLine(
            "worker", f"slot {message.slot} went down: {message.reason}"[: messages.LONGEST_TEXT],
            number if number in self._queries else "", slot=message.slot, path=path, start=message.start,
            stop=message.stop, level="WARNING",
        )  # fmt: skip
        self._queries.logs.add(line, worker.name, now)

    def _count_kill(self, worker: Worker, message: messages.SlotDown, now: float) -> None:
        """A slot went down while it worked on a lease: entries that this happens to again and again are the cause."""
        assert message.working is not None
        query = self._queries[message.working.query]
        lease = query.ledger.leases[message.working.lease]
        span = (lease.start, lease.stop)
        if message.start is not None and message.stop is not None and lease.start <= message.start < message.stop:
            span = (message.start, message.stop)
        culprit = query.packetizer.kills.add(lease.file, span)
        file, (start, stop) = query.files[lease.file], query.listings.entries(lease.file, *span)
        single = stop == start + 1
        which = f"entry {start}" if single else f"entries {start} to {stop}"
        again = f"{'it is' if single else 'they are'} done again in small chunks" if culprit is None else "given up"
        query.counters.downfall = f"{which} of {shown(file.path)}, {message.reason}: {again}"
        if culprit is None:
            return
        which = which if single else f"something in the {which}"
        text = f"{which} took down its slot again and again; the last time it was {message.reason}"
        log.error("query %s: %s", query.number, text)
        if query.submit.on_error == "skip":
            query.ledger.fail(lease.number, text, *culprit)
            self._lifecycle.lost(query)
            self._dispatcher.close_if_gone(worker, query, lease.number, now)
            self._lifecycle.end_if_complete(query, now)
            return
        failure = Failure(
            "slot", "AnalysisError", text, path=file.path, tree=file.tree, start=start,
            stop=None if lease.opening else stop,
        )  # fmt: skip
        self._lifecycle.fail(query, from_worker(failure, worker), (), now, offer=True)

    def _take_down_compaction(self, worker: Worker, message: messages.SlotDown, now: float) -> None:
        """A slot may have gone down because of the objects that it merged."""
        query = self._compactor.took_down(message.compacting)
        if query is not None:
            text = (
                f"merging the objects that the analysis returned took down a slot {MAX_KILLS} times: {message.reason}"
            )
            self._lifecycle.fail(query, from_worker(Failure("slot", "AnalysisError", text), worker), (), now)

    def _compacted(self, worker: Worker, message: messages.Compacted, frames: Frames, now: float) -> None:
        query = self._compactor.done(message.query, worker.identity, message.slot)
        if query is None:
            return
        if message.failure is not None:
            self._lifecycle.fail(query, from_worker(message.failure, worker), frames, now)
            return
        self._do(Replace(query.number, frames))
        if query.state == "merging":
            self._do(Take(query.number, final=True))

    def _slot_up(self, worker: Worker, message: messages.SlotUp, frames: Frames, now: float) -> None:
        if message.slot < len(worker.slots):
            slot = worker.slots[message.slot]
            slot.up = True
            slot.files.clear()
            if not slot.leases:
                slot.whose = None
            self._dispatcher.credit.offer(slot)


def from_worker(failure: Failure, worker: Worker) -> Failure:
    """A failure as others may see it, with the name of the worker."""
    return msgspec.structs.replace(failure, path=shown(failure.path), worker=worker.name)


def blame(send: SendMessage, worker: Worker, reason: Any, now: float) -> None:
    """Tell a worker that what it said cannot be."""
    log.warning("protocol error of %s: %s", worker.name, reason)
    send(worker.identity, messages.Fault(str(reason)), now=now)
