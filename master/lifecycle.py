"""How queries go on and end, what their sessions hear of that, and what the journal is told.

How a query goes:  running --all entries done or failed--> merging --last snapshot taken--> done
                   running --Stop(keep), leases over-->    merging ------------------------> stopped
                   running --Stop(drop)--> aborted         running --Failed--> merging ---> failed

A query that is stopped gets no more leases, and those it has end after the chunk at hand: what is done is not thrown away.
Slots that take longer for their chunk than `STOP_SECONDS`, or a second `Stop`, are not waited for.

A query that fails waits for no slot. What was merged before is taken as it is and offered, with all the rest in the account
as lost; unless what is wrong is its count, or the merging of objects. A partial result that does not fit is taken out again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import inf
from typing import TypeAlias

import msgspec

from ..merge import entries_in
from ..packetizer.files import OpenedFile
from ..packetizer.unmerged import take_out
from ..protocol import messages
from ..protocol.addresses import shown
from ..protocol.codec import Buffer, Frames
from ..protocol.counts import miscounted_total
from ..protocol.messages import Ended, Failure
from .calls import SendMessage
from .credit import Credits
from .effects import (
    Checkpoint,
    Drop,
    Effect,
    Merge,
    Replace,
    Retrieve,
    SaveEnd,
    SaveLosses,
    SaveOpened,
    SaveSkipped,
    SaveSubmission,
    Take,
)
from .intake import Intake
from .peers import Worker
from .progress import progress
from .queries import Queries
from .query import Query
from .query_account import Missing
from .query_state import Listener, Outcome
from .shares import Shares

log = logging.getLogger(__name__)

SNAPSHOT_INTERVAL = 0.5
SNAPSHOT_COST = 6e-9
"""Seconds of a core, a byte: to copy, encrypt, send and decode a total. One of a million bins takes 50 ms."""
SNAPSHOT_SHARE = 0.01
"""Of the slots' time that snapshots may take: large ones come less often where there are few slots to pay for them."""
PROGRESS_INTERVAL = 0.2
UNWRITTEN = (
    "the addresses of its data have a token or password in them, and are nowhere written down: if the master "
    "dies, it begins anew, and its result is there while the master is. em.Credentials(token=...) has no such limits"
)
STOP_SECONDS = 2.0
"""Seconds that the slots of a query that is stopped have to hand over what they have done."""
CHECKPOINT_INTERVAL = 2.0
"""Seconds of work that are done again at most when the master dies, beside what was not committed."""
CHECKPOINT_PAUSE = 20.0
"""Large totals are written less often: writing takes no more than one part in so many of the merger's time."""

TakenParts: TypeAlias = Mapping[bytes, Sequence[Buffer]]
"""Parts of a total, by the keys that sessions want."""


class Lifecycle:
    """Ends queries, tells of them, and has them written down.

    Args:
        queries: the master's queries, by number.
        workers: the workers there are, by identity.
        credit: of their slots.
        intake: who may commit large results when.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
        journaled: there is a journal: effects that only it needs are wanted, and results of queries that are over are in it.
    """

    def __init__(
        self,
        queries: Queries,
        workers: dict[bytes, Worker],
        credit: Credits,
        intake: Intake,
        send: SendMessage,
        do: Callable[[Effect], None],
        journaled: bool,
    ) -> None:
        self.journaled = journaled
        self.intake = intake
        self._queries = queries
        self._workers = workers
        self._credit = credit
        self._send = send
        self._do = do

    # --- beginning ------------------------------------------------------------------------------------------------

    def begin(self, query: Query, frames: Frames, attachments: Mapping[str, Buffer], now: float) -> None:
        """A query was submitted, with attachments by their digests. Its session is told once it is written down: then it
        outlives a crash.
        """
        query.journal.next_checkpoint = now + CHECKPOINT_INTERVAL
        if self.journaled and query.submit.unwritten:
            query.journal.trouble = UNWRITTEN
        if self.keeps(query):
            query.journal.saving = True
            self._do(SaveSubmission(query.number, query.submit, list(frames), attachments))
        else:
            self.accept(query, now)

    def accept(self, query: Query, now: float) -> None:
        """Answer who submitted a query, if that was not done before."""
        if query.audience.asked is not None:
            identity, request = query.audience.asked
            query.audience.asked = None
            self.watch(query, identity, request, now)

    def watch(self, query: Query, identity: bytes, request: int, now: float) -> None:
        """A session listens to a query from now on; if it is over, there is its end to tell."""
        self._send(identity, messages.Accepted(request, query.number, query.journal.trouble), now=now)
        query.audience.subscribers[identity] = Listener()
        query.audience.next_snapshot = now
        query.audience.merged = query.ledger.processed > 0
        if query.over:
            self._tell_end(query, identity, now)

    # --- what is to be saved --------------------------------------------------------------------------------------

    def keeps(self, query: Query) -> bool:
        """Whether the journal is to have a query."""
        return self.journaled and not query.submit.unwritten

    def merge(self, query: Query, frames: Frames, parts: Sequence[tuple[int, int, int]], worker: str) -> None:
        """A commit of a worker was accepted: it is that of these parts (file, start, stop)."""
        self._do(self.intake.noted(Merge(query.number, frames, parts, worker, query.submit.unwritten)))
        query.audience.merged = query.journal.unsaved = True

    def opened(self, query: Query, file: int, listed: Sequence[int] | None, place: bytes) -> None:
        """A file was opened, and the ledger knows it."""
        if self.keeps(query):
            state = query.ledger.files[file]
            opened = OpenedFile(state.entries or 0, state.clusters, state.identity, listed, place)
            self._do(SaveOpened(query.number, file, opened))
            query.journal.unsaved = True

    def skip(self, query: Query, failure: Failure, frames: Frames) -> None:
        """A query passes over a failure; the first one is kept."""
        if query.outcome.skipped is None:
            query.outcome.skipped = (failure, list(frames))
            if self.keeps(query):
                self._do(SaveSkipped(query.number, *query.outcome.skipped))

    def lost(self, query: Query) -> None:
        """The ledger may have more losses than before."""
        if self.keeps(query) and query.journal.losses < len(query.ledger.losses):
            self._do(SaveLosses(query.number, query.ledger.losses[query.journal.losses :]))
            query.journal.losses = len(query.ledger.losses)
            query.journal.unsaved = True

    def checkpoint(self, query: Query) -> None:
        """Have all that is merged written, with what belongs to it."""
        if self.keeps(query) and query.journal.wants_checkpoint and not query.over:
            query.journal.saving, query.journal.unsaved = True, False
            self._do(Checkpoint(query.number, query.account(), query.shares.report()))

    def written(self, query: Query, seconds: float, note: str, now: float, ended: bool = False) -> None:
        """The journal was written, in so many seconds, or could not be: then `note` says what that means. If that was to
        have the end of the query, a line is all that is to be remembered of it."""
        query.journal.saving = False
        pause = CHECKPOINT_PAUSE * seconds * len(self._queries.live)
        query.journal.next_checkpoint = now + max(CHECKPOINT_INTERVAL, pause)
        query.journal.trouble = note
        query.journal.unsaved = query.journal.unsaved or bool(note)
        self.accept(query, now)
        if ended and not note and query.over and query.journal.kept:
            self._queries.written_down(query)

    # --- ending ---------------------------------------------------------------------------------------------------

    def end_if_complete(self, query: Query, now: float) -> None:
        """Take the result of a query of which nothing is left to do, that was stopped and has nothing at work, or that has
        lost more than it may."""
        stopped = query.stopping is not None and (not query.ledger.leases or now >= query.stopping)
        beyond = too_much_is_lost(query)
        if beyond is not None:
            self.fail(query, beyond, (), now, offer=True)
        if not (query.running and (query.ledger.complete or stopped)):
            return
        if query.ledger.complete and query.outcome.skipped is not None and query.ledger.processed == 0:
            # Nothing is left: what was skipped is no blemish of the data, it is the result.
            self.fail(query, *query.outcome.skipped, now)
        else:
            self._finish_merging(query, now)

    def stop(self, query: Query, keep: bool, now: float) -> bool:
        """End a query early: keep what is done, or drop it. Returns whether its leases are still to end."""
        if query.over:
            return False
        if not keep and query.outcome.failure is None:
            self.end(query, "aborted", now)
        elif not keep:
            self._list_missing(query, query.missing or Missing(query, "failed"), now)
        elif query.running:
            query.stopping = now if query.stopping is not None else now + STOP_SECONDS
            self.end_if_complete(query, now)
            return query.running
        elif query.compaction is not None:
            # Nobody may be there to merge its objects, or it takes for ever: the session does it.
            self._release(query, now)
            self._do(Replace(query.number, query.compaction.frames))
            self._do(Take(query.number, final=True, as_is=True))
            query.compaction = None
        return False

    def _finish_merging(self, query: Query, now: float) -> None:
        """Nothing more will be committed: take the result, once everything in it is merged."""
        self._release(query, now, merging=True)
        query.enter("merging")
        query.shares.merging = query.seconds(now)
        if query.compaction is None:
            self._do(Take(query.number, final=True))

    def fail(
        self, query: Query, failure: Failure, frames: Iterable[Buffer], now: float, *, offer: bool = False
    ) -> None:
        """A query has failed. With `offer`, what is in its total is right all the same: it is given, and the rest listed."""
        if query.over:
            return
        outcome = query.outcome
        if (
            outcome.failure is None or failure.kind == "count"
        ):  # the first error says what is wrong; a count, that we are
            outcome.failure, outcome.failure_frames = failure, list(frames)
            if offer and query.running:
                self._abandon(query, now)
                query.enter("merging")
                if query.ledger.processed:  # objects that nobody merged included
                    self._do(Take(query.number, final=True, as_is=True))
                else:
                    self._list_missing(query, Missing(query, "failed"), now)
                return
        self.end(query, "failed", now)

    def _abandon(self, query: Query, now: float) -> None:
        """Nothing more of a query that has failed will be done."""
        failure = query.outcome.failure
        assert failure is not None
        self._release(query, now, aborted=not query.ledger.processed)
        query.abandon(f"not processed when the query failed ({failure.error}: {failure.message})")

    def give_up(self, query: Query, failure: Failure, now: float) -> None:
        """An error of ours came in the way of a query: of what was known of it, nothing can be relied on."""
        query.begin_anew(failure.message)
        query.outcome = Outcome(failure)
        self.accept(query, now)
        self.end(query, "failed", now)

    def fail_count(self, query: Query, wrong: str, now: float) -> None:
        """A result does not count the entries that it is said to hold: there is none."""
        log.error("query %s: %s", query.number, wrong)
        self.fail(query, Failure("count", "CountError", f"query {query.number}: {wrong}"), (), now)

    def end(self, query: Query, state: messages.State, now: float) -> None:
        """Enter a final state and tell everybody. With a journal, the result is there and not in memory."""
        self._release(query, now, aborted=state == "aborted" or (state == "failed" and not query.outcome.result))
        query.enter(state)
        query.ended = now
        query.starts = self._queries.starts(query.shares)
        self._queries.end(query)
        query.settle()
        self._do(Drop(query.number))
        ended, frames = query.end()
        for peer in query.audience.subscribers:
            self._send(peer, ended, frames, now=now)
        if self.keeps(query):
            self._do(SaveEnd(query.number, ended, frames))
            query.store()
        else:
            self._queries.in_memory[query.number] = query
        log.info("query %s %s after %.2f s", query.number, state, query.seconds(now))

    def _tell_end(self, query: Query, peer: bytes, now: float) -> None:
        if query.journal.kept:
            self._do(Retrieve(query.number, peer))
        else:
            self._send(peer, *query.end(), now=now)

    def _release(self, query: Query, now: float, merging: bool = False, aborted: bool = False) -> None:
        """Take a query's leases from all workers, and let them forget it; unless it is `merging`, its compaction too."""
        for worker in self._workers.values():
            for key in [key for key in worker.leases if key[0] == query.number]:
                self._credit.free(worker.leases.pop(key), key)
        query.leases = 0
        self.intake.ended(query.number)
        if not merging and query.compaction is not None and query.compaction.holder is not None:
            query.set_up[query.compaction.holder[0]] = None
        for identity in query.set_up:
            self._send(identity, messages.Release(query.number, merging, aborted), now=now)
        query.set_up.clear()

    # --- telling --------------------------------------------------------------------------------------------------

    def expire(self, query: Query, now: float) -> None:
        """Do what is due for a query that is not over."""
        if query.missing is not None:
            self._list_missing(query, query.missing, now)
            if query.over:
                return
        if query.running and query.audience.wants_snapshot and now >= query.audience.next_snapshot:
            query.audience.merged, query.audience.taking = False, True
            query.audience.next_snapshot = now + SNAPSHOT_INTERVAL
            self._do(_wanted(query))
        if now >= query.audience.next_progress:
            self._tell_progress(query, now)
        if now >= query.journal.next_checkpoint:
            self.checkpoint(query)
        if query.retrying:
            query.release_held(now)
            self.end_if_complete(query, now)
        if query.stopping is not None:
            self.end_if_complete(query, now)

    def taken(
        self, query: Query, frames: Sequence[Buffer], final: bool, now: float, parts: TakenParts | None = None
    ) -> None:
        """The merger has taken a snapshot of the total: it is to count what the ledger has as processed, or had when a
        snapshot was asked for. Of a large one, there are `parts`, by the keys that sessions want."""
        query.audience.taking = False
        if query.over or query.missing is not None or not (final or query.running):
            return
        parts = parts or {}
        counted, processed = entries_in(frames or next(iter(parts.values()))), query.ledger.processed
        if counted > processed or (final and counted < processed):
            self.fail_count(query, miscounted_total(counted, processed), now)
        elif final:
            query.outcome.result = frames
            complete: messages.State = "done" if query.ledger.complete else "stopped"
            self._list_missing(query, Missing(query, complete if query.outcome.failure is None else "failed"), now)
        else:
            slots = max(1, sum(len(worker.slots) for worker in self._workers.values()))
            pause = SNAPSHOT_COST * sum(map(len, chain(frames, *parts.values()))) / (SNAPSHOT_SHARE * slots)
            query.audience.next_snapshot = max(query.audience.next_snapshot, now + pause)
            account = msgspec.structs.replace(query.account(), processed=counted)
            snapshot = messages.Snapshot(query.number, account, query.seconds(now))
            for peer, told, taken in _addressed(query, snapshot, frames, parts):
                self._send(peer, told, taken, now=now)

    def _list_missing(self, query: Query, missing: Missing, now: float) -> None:
        """Go on with the list of what is not in the result of a query, which is over when it is whole."""
        query.missing = missing
        if missing.go_on():
            self.end(query, missing.state, now)

    def _tell_progress(self, query: Query, now: float) -> None:
        query.audience.next_progress = now + PROGRESS_INTERVAL
        message = progress(query, self._workers.values(), self._queries.expected, now)
        for peer in query.audience.subscribers:
            self._send(peer, message, now=now)


def _wanted(query: Query) -> Take:
    """The snapshot that those who have seen the last one want."""
    listeners = [it for it in query.audience.subscribers.values() if not it.unseen]
    keys = tuple(dict.fromkeys(it.keys for it in listeners if not it.whole))
    return Take(query.number, final=False, keys=keys, whole=any(it.whole for it in listeners))


def _addressed(
    query: Query, snapshot: messages.Snapshot, frames: Sequence[Buffer], parts: TakenParts
) -> Iterator[tuple[bytes, messages.Snapshot, Sequence[Buffer]]]:
    """A snapshot for each session that has seen the last one: with its part, where there are parts and it wants one."""
    for peer, listener in query.audience.subscribers.items():
        of_it = None if listener.whole or not parts else parts.get(listener.keys)
        taken = frames if of_it is None else of_it
        if not listener.unseen and taken:
            listener.unseen = True
            yield peer, msgspec.structs.replace(snapshot, part=of_it is not None), taken


def unsendable(
    lifecycle: Lifecycle, query: Query, reason: str, now: float, peer: bytes = b"", end: Ended | None = None
) -> None:
    """Something of a query cannot be sent to a peer, of one that is over its `end`: it has no result. What a failed one
    offers is not why it failed."""
    outcome = query.outcome
    offered = query.state == "failed" and bool(outcome.result or (end is not None and end.result_frames))
    outcome.result, query.journal.kept = (), False
    if end is not None:
        query.audience.subscribers.setdefault(peer, Listener())
        outcome.failure, query.shares = end.failure, query.shares or Shares.of(end.report)
    if not offered:
        outcome.failure, outcome.failure_frames = Failure("analysis", "QueryFailed", reason), ()
    lifecycle.end(query, "failed", now)


def retrieved(
    query: Query, peer: bytes, end: Ended | None, frames: Frames, problem: str, send: SendMessage, now: float
) -> None:
    """The end of a query has been read from the journal for a peer, or could not be."""
    if end is not None:
        send(peer, end, frames, now=now)
        return
    account, seconds = query.account(), query.seconds(now)
    failure = Failure("analysis", "QueryFailed", problem)
    ended = Ended(query.number, "failed", account, seconds, query.shares.report(), failure)
    send(peer, ended, [query.losses()], now=now)


def merge_failed(
    lifecycle: Lifecycle,
    query: Query,
    failure: Failure,
    left_out: Merge | None,
    do: Callable[[Effect], None],
    now: float,
) -> None:
    """Partial results of a query do not fit together, or could not be written. If it is known which was `left_out`, all
    others are kept."""
    lifecycle.accept(query, now)
    if query.over or left_out is None:
        lifecycle.fail(query, failure, (), now)
        return
    entries = take_out(query.ledger.files, left_out.parts, f"{failure.error}: {failure.message}")
    if left_out.worker in query.shares:
        query.shares[left_out.worker].processed -= entries
    if query.running:
        lifecycle.fail(query, failure, (), now, offer=True)
    elif query.outcome.failure is None:  # one of the last: all was processed
        query.outcome.failure = failure
        lifecycle.stop(query, keep=True, now=now)  # waits for no slot that merges objects
        do(Take(query.number, final=True, as_is=True))


def too_much_is_lost(query: Query) -> Failure | None:
    """Why a query fails that has lost more than it may; None: it has not. One in which nothing is left fails by itself."""
    allowed, losses = query.submit.tolerance, query.ledger.losses
    if allowed is None or not losses or not query.running or (query.ledger.complete and not query.ledger.processed):
        return None
    said = query.losses_so_far.beyond(allowed, query.ledger)
    if not said:
        return None
    first, path = query.outcome.skipped, shown(query.files[losses[0].file].path)
    failure = Failure("analysis", "QueryFailed", f"{said}; the first in {path}: {losses[0].reason}")
    if first is None:
        return failure
    return msgspec.structs.replace(first[0], kind="analysis", error=failure.error, message=failure.message)


def deadline(query: Query, journaled: bool) -> float:
    """When `Lifecycle.expire` is to be called for a query at the latest."""
    if query.missing is not None:
        return -inf
    times = [query.audience.next_progress]
    if query.running and query.audience.wants_snapshot:
        times.append(query.audience.next_snapshot)
    if query.retrying:
        times.append(query.retrying[0][0])
    if query.running and query.stopping is not None:
        times.append(query.stopping)
    if journaled and not query.submit.unwritten and query.journal.wants_checkpoint:
        times.append(query.journal.next_checkpoint)
    return min(times)


def go_on(
    lifecycle: Lifecycle, query: Query, total: Frames, lacking: Sequence[str], do: Callable[[Effect], None], now: float
) -> None:
    """A query is there again, with its total, from the journal of an earlier master; where this is `lacking` arrays of its
    analysis, it cannot go on."""
    if query.running and lacking:
        lost = "an array of its analysis is not in the journal's folder any more: submit it again"
        lifecycle.fail(query, Failure("slot", "QueryFailed", lost), (), now)
    elif query.running:
        if wrong := miscounted_total(entries_in(total) if total else 0, query.ledger.processed):
            lifecycle.fail_count(query, f"in the journal, {wrong}", now)
        elif total:
            do(Merge(query.number, total, ()))
    lifecycle.end_if_complete(query, now)
    log.info("query %s is there again: %s", query.number, query.state)
