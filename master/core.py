"""The master's decisions, without any I/O.

`receive`, `disconnected`, `taken`, `merge_failed` and `expire` take what happened and the time, and answer with a list of
effects (`master.effects`) in the order they must be carried out. The core reads no clock and owns no socket, so that the
same code runs under the poll loop (`master.serve`) and in a simulator.

How a query goes:  running --all entries done or failed--> merging --last snapshot taken--> done
                   running --Stop(keep)-->                 merging ------------------------> stopped
                   running --Stop(drop)--> aborted         running --Failed-->              failed
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ..packetizer.ledger import Gap, StaleLease
from ..packetizer.listing import Listing
from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Failure, File, Message
from .compactor import Compactor
from .dispatcher import Dispatcher
from .effects import Drop, Effect, Exit, Merge, Replace, Send, Take
from .peers import Peer, Slot, Worker, unfit
from .query import MAX_KILLS, Query, Share, public_path

log = logging.getLogger(__name__)

HEARTBEAT = 1.0
SILENCE = 5.0
SESSION_SILENCE = 60.0
SNAPSHOT_INTERVAL = 0.5
PROGRESS_INTERVAL = 0.2
SUSPICION = 1.75
"""Seconds of silence, heartbeats coming every second, after which a worker's leases are done by others, if they are idle."""
KEPT_RESULTS = 100
KEPT_BYTES = 2**30
"""Results of queries that are over are kept for sessions that attach: the last ones, up to this much."""
LONGEST_NAME = 200

_files = msgspec.msgpack.Decoder(list[File])


class MasterCore:
    """State of a master.

    Args:
        version: version of eventmill here, told to peers.
        python: "major.minor" here; peers must have the same, because analyses travel as bytecode.
        tag: goes into the numbers of queries, so that those of a master that was started again are not mistaken for these.
    """

    def __init__(self, version: str, python: str, tag: str = "") -> None:
        self.version = version
        self.python = python
        self.tag = tag
        self.sessions: dict[bytes, Peer] = {}
        self.workers: dict[bytes, Worker] = {}
        self.queries: dict[str, Query] = {}
        self._dispatcher = Dispatcher(self.queries, self._send)
        self._compactor = Compactor(self.queries, self._send)
        self._rates: dict[str, float] = {}
        self._counter = 0
        self._next_check = 0.0
        self._effects: list[Effect] = []
        self._handlers: dict[type[Message], Callable[..., None]] = {
            messages.Submit: self._submit,
            messages.Stop: self._stop,
            messages.Attach: self._attach,
            messages.Seen: self._seen,
            messages.Ask: self._ask,
            messages.Shutdown: self._shutdown,
            messages.Drain: self._drain,
            messages.Draining: self._draining,
            messages.Opened: self._opened,
            messages.Reached: self._reached,
            messages.Truncated: self._truncated,
            messages.Finished: self._finished,
            messages.Commit: self._commit,
            messages.Failed: self._failed,
            messages.Skipped: self._skipped,
            messages.Compacted: self._compacted,
            messages.SlotDown: self._slot_down,
            messages.SlotUp: self._slot_up,
        }

    # --- what happens ---------------------------------------------------------------------------------------------

    def receive(self, identity: bytes, role: str, message: Message, frames: Frames, now: float) -> list[Effect]:
        """A message came from a peer whose key has `role`."""
        allowed = messages.FROM_SESSION if role == "session" else messages.FROM_WORKER
        if not isinstance(message, allowed):
            kind = type(message).__name__
            self._send(identity, messages.Fault(f"a peer with a {role} key may not say {kind}"), now=now)
            return self._done(now)
        if isinstance(message, messages.Hello):
            self._hello(identity, role, message, now)
            return self._done(now)
        peer = self.sessions.get(identity) or self.workers.get(identity)
        if peer is None:
            if not isinstance(message, messages.Bye):
                self._send(identity, messages.Unknown(), now=now)
            return self._done(now)
        if isinstance(peer, Worker) and now - peer.heard > SUSPICION:
            self._suspect(peer, False)
        peer.heard = now
        if isinstance(message, messages.Bye):
            self._lose(identity, "left", now, said_so=True)
        elif not isinstance(message, messages.Heartbeat):
            self._handlers[type(message)](peer, message, frames, now)
        return self._done(now)

    def disconnected(self, identity: bytes, now: float) -> list[Effect]:
        """The connection to a peer is gone."""
        self._lose(identity, "lost its connection", now)
        return self._done(now)

    def taken(self, number: str, frames: Sequence[Buffer], final: bool, now: float) -> list[Effect]:
        """The merger has taken a snapshot of a query's total."""
        query = self.queries.get(number)
        if query is None:
            return []
        query.taking = False
        if final and not query.over:
            query.result = frames
            self._end(query, "done" if query.ledger.complete else "stopped", now)
        elif query.running:
            snapshot = messages.Snapshot(number, query.account(), query.seconds(now))
            for peer, unseen in query.subscribers.items():
                if not unseen:
                    query.subscribers[peer] = True
                    self._send(peer, snapshot, frames, now=now)
        return self._done(now)

    def crowded(self, number: str, frames: Sequence[Buffer], now: float) -> list[Effect]:
        """A query's total holds objects that only a slot can merge."""
        query = self.queries.get(number)
        if query is not None and not query.over:
            self._compactor.set_aside(query, frames)
        return self._done(now)

    def merge_failed(self, number: str, failure: Failure, now: float) -> list[Effect]:
        """Partial results of a query do not fit together."""
        query = self.queries.get(number)
        if query is not None and not query.over:
            self._fail(query, failure, (), now)
        return self._done(now)

    def unsendable(self, number: str, reason: str, now: float) -> list[Effect]:
        """A result of this query cannot be sent: it is over, and says why."""
        query = self.queries.get(number)
        if query is not None:
            query.result, query.failure_frames = (), ()
            query.failure = Failure("analysis", "QueryFailed", f"the result cannot be sent: {reason}")
            self._end(query, "failed", now)
        return self._done(now)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest."""
        times = [self._next_check]
        if self._dispatcher.credit.idle and any(query.running and query.leases for query in self.queries.values()):
            times.append(self._dispatcher.next_help)
        for query in self.queries.values():
            if not query.over:
                times.append(query.next_progress)
                if self._wants_snapshot(query):
                    times.append(query.next_snapshot)
                if query.retrying:
                    times.append(query.retrying[0][0])
        return min(times)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due: snapshots, progress, heartbeats, and peers that have been silent for too long."""
        for query in self.queries.values():
            if not query.over:
                self._report_progress(query, now)
                if query.retrying:
                    query.release_held(now)
                    self._end_if_complete(query, now)
        if now >= self._next_check:
            self._next_check = now + HEARTBEAT / 2
            for worker in list(self.workers.values()):
                if now - worker.heard > SILENCE:
                    self._lose(worker.identity, f"was silent for {SILENCE:g} s", now)
                elif now - worker.heard > SUSPICION:
                    self._suspect(worker, True)
            for session in list(self.sessions.values()):
                if now - session.heard > SESSION_SILENCE:
                    self._lose(session.identity, f"was silent for {SESSION_SILENCE:g} s", now)
            for peer in (*self.sessions.values(), *self.workers.values()):
                if now - peer.spoken >= HEARTBEAT:
                    self._send(peer.identity, messages.Heartbeat(), now=now)
        return self._done(now)

    def check(self) -> None:
        """Assert the invariants: every lease has one holder, who knows it, and every ledger adds up."""
        held = {lease: slot for worker in self.workers.values() for lease, slot in worker.leases.items()}
        in_slots = {lease for worker in self.workers.values() for slot in worker.slots for lease in slot.leases}
        assert in_slots <= held.keys()
        for number, query in self.queries.items():
            query.ledger.check()
            if query.running:
                live = {(number, lease) for lease in query.ledger.leases}
                assert live == {lease for lease in held if lease[0] == number}
                assert not query.ledger.complete
        self._dispatcher.credit.check()

    # --- peers ----------------------------------------------------------------------------------------------------

    def _hello(self, identity: bytes, role: str, hello: messages.Hello, now: float) -> None:
        reason = unfit(role, hello, self.python)
        if reason:
            log.warning("refused %s %s: %s", hello.role, hello.name, reason)
            self._send(identity, messages.Fault(reason, fatal=True), now=now)
            return
        self._lose(identity, "said hello again", now)
        self._counter += 1
        name = f"{(hello.name or hello.host or hello.role)[:LONGEST_NAME]}-{self._counter}"
        if hello.role == "session":
            self.sessions[identity] = Peer(identity, name, heard=now, spoken=now)
        else:
            share = Share(hello.host, hello.pid, hello.slots)
            worker = Worker(identity, name, now, now, host=hello.host, site=hello.site, pid=hello.pid, total=share)
            worker.slots = [Slot(worker, index) for index in range(hello.slots)]
            self.workers[identity] = worker
            for slot in worker.slots:
                self._dispatcher.credit.offer(slot)
        log.info("%s %s joined from %s, pid %s", hello.role, name, hello.host, hello.pid)
        self._send(identity, messages.Welcome(name, self.version, HEARTBEAT, SILENCE, hello.incarnation), now=now)

    def _lose(self, identity: bytes, how: str, now: float, said_so: bool = False) -> None:
        """A peer is gone. What a worker has not committed is to do again; a session's queries go on.

        A worker that `said_so` is not counted as lost.
        """
        session = self.sessions.pop(identity, None)
        worker = self.workers.pop(identity, None)
        for query in self.queries.values():
            query.subscribers.pop(identity, None)
            query.set_up.pop(identity, None)
        if session is not None:
            log.info("session %s %s", session.name, how)
        if worker is None:
            return
        self._compactor.lost(identity)
        log.info("worker %s %s with %d leases", worker.name, how, len(worker.leases))
        for number in dict.fromkeys(number for number, _ in worker.leases):
            self.queries[number].workers_lost += not said_so
        for lease in list(worker.leases):
            self._dispatcher.give_back(worker, lease, now)
        for slot in worker.slots:
            self._dispatcher.credit.withdraw(slot)
            for query in self.queries.values():
                query.packetizer.forget(slot)

    def _suspect(self, worker: Worker, suspected: bool) -> None:
        """A worker is silent, or has been heard of again."""
        for query in self.queries.values():
            for slot in worker.slots if query.running else ():
                query.packetizer.suspect(slot, suspected)

    # --- sessions -------------------------------------------------------------------------------------------------

    def _submit(self, peer: Peer, message: messages.Submit, frames: Frames, now: float) -> None:
        try:
            analysis, files, *supply = frames
            decoded = _files.decode(files)
            number = f"q{self.tag}{self._counter + 1}"
            rate = self._rates.get(message.digest, 0.0)
            query = Query(number, message, analysis, decoded, now, rate, supply)
        except (ValueError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._send(peer.identity, messages.Refused(message.request, f"malformed submission: {error}"), now=now)
            return
        self._counter += 1
        query.subscribers[peer.identity] = False
        self.queries[number] = query
        self._forget_old()
        log.info("query %s: %s over %d files for %s", number, message.name, len(decoded), peer.name)
        self._send(peer.identity, messages.Accepted(message.request, number), now=now)
        self._end_if_complete(query, now)

    def _attach(self, peer: Peer, message: messages.Attach, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is None:
            known = ", ".join(self.queries) or "none"
            reason = f"no query {message.query} on this master; there are: {known}"
            self._send(peer.identity, messages.Refused(message.request, reason), now=now)
            return
        self._send(peer.identity, messages.Accepted(message.request, query.number), now=now)
        query.subscribers[peer.identity] = False
        query.next_snapshot = now
        query.merged = query.ledger.processed > 0
        if query.over:
            self._send(peer.identity, *self._ended(query, now), now=now)

    def _ask(self, peer: Peer, message: messages.Ask, frames: Frames, now: float) -> None:
        answer: Message
        if message.what == "queries":
            answer = messages.Queries(message.request, [query.info(now) for query in self.queries.values()])
        else:
            answer = messages.Workers(message.request, [worker.info() for worker in self.workers.values()])
        self._send(peer.identity, answer, now=now)

    def _stop(self, peer: Peer, message: messages.Stop, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is None or query.over:
            return
        if not message.keep:
            self._end(query, "aborted", now)
        elif query.running:
            self._finish_merging(query, now)
        elif query.compaction is not None:
            # Nobody may be there to merge its objects, or it takes for ever: the session does it.
            self._release(query, now)
            self._effects.append(Replace(query.number, query.compaction.frames))
            self._effects.append(Take(query.number, final=True, as_is=True))
            query.compaction = None

    def _seen(self, peer: Peer, message: messages.Seen, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is not None and peer.identity in query.subscribers:
            query.subscribers[peer.identity] = False

    def _drain(self, peer: Peer, message: messages.Drain, frames: Frames, now: float) -> None:
        """Pass on that a worker is to leave."""
        for worker in self.workers.values():
            if worker.name == message.worker:
                log.info("%s asks worker %s to leave", peer.name, worker.name)
                self._send(worker.identity, message, now=now)

    def _shutdown(self, peer: Peer, message: messages.Shutdown, frames: Frames, now: float) -> None:
        log.info("%s asks the master to end", peer.name)
        for worker in self.workers:
            self._send(worker, messages.Bye(), now=now)
        for session in self.sessions:
            self._send(session, messages.Bye(), now=now)
        self._effects.append(Exit())

    # --- workers --------------------------------------------------------------------------------------------------

    def _draining(self, worker: Worker, message: messages.Draining, frames: Frames, now: float) -> None:
        log.info("worker %s leaves in %.0f s", worker.name, message.seconds)
        self._dispatcher.leave(worker, now + message.seconds, now)

    def _opened(self, worker: Worker, message: messages.Opened, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        try:
            query.ledger.opened(message.lease, message.entries, message.stop, tuple(message.clusters), message.identity)
        except StaleLease as error:
            self._blame(worker, error, now)
            return
        if message.listed is not None:
            query.listings[query.ledger.leases[message.lease].file] = Listing(message.listed)
        query.packetizer.opened(worker.leases[query.number, message.lease], message.lease, now)
        self._end_if_complete(query, now)

    def _reached(self, worker: Worker, message: messages.Reached, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is not None:
            slot = worker.leases[query.number, message.lease]
            query.packetizer.reached(slot, message.lease, message.entry, now)

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
        self._end_if_complete(query, now)

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
        query.packetizer.finished(slot, message.lease, start, message.stop, message.seconds, now)
        self._rates[query.submit.digest] = query.packetizer.rate
        query.reached += entries
        query.bytes_read += message.bytes_read
        for share in (worker.total, self._share(query, worker)):
            share.packets += 1
            share.entries += entries
            share.seconds += message.seconds
        self._dispatcher.credit.free(slot, (query.number, message.lease))
        self._dispatcher.close_if_gone(worker, query, message.lease, now)
        self._end_if_complete(query, now)

    def _commit(self, worker: Worker, message: messages.Commit, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        reason = "" if query is not None and query.running else f"query {message.query} is not running"
        if not reason and not all((message.query, part.lease) in worker.leases for part in message.parts):
            reason = "a lease is not this worker's"
        if query is not None and not reason:
            leases = query.ledger.leases
            twins = [leases[twin] for part in message.parts if (twin := leases[part.lease].twin) is not None]
            gaps = [Gap(part.lease, gap.start, gap.stop, gap.reason) for part in message.parts for gap in part.gaps]
            files = [leases[part.lease].file for part in message.parts]
            try:
                entries = query.ledger.commit([(part.lease, part.start, part.stop) for part in message.parts], gaps)
            except StaleLease as error:
                reason = str(error)
            else:
                self._effects.append(Merge(query.number, frames, entries))
                query.merged = True
                query.packetizer.kills.committed()
                for file, part in zip(files, message.parts, strict=True):
                    query.packetizer.kills.clear(file, part.start, part.stop)
                    self._dispatcher.close_if_gone(worker, query, part.lease, now)
                for lost in twins:
                    self._dispatcher.revoke(query, lost, now)
        if reason and query is not None:
            query.refused += 1
            # The result cannot be taken apart: whatever else is in it is to do again.
            for part in message.parts if query.running else ():
                if (query.number, part.lease) in worker.leases:
                    self._dispatcher.give_back(worker, (query.number, part.lease), now)
            log.warning("refused commit %d of %s: %s", message.commit, worker.name, reason)
        self._send(worker.identity, messages.Committed(message.commit, not reason, reason), now=now)
        if query is not None:
            self._end_if_complete(query, now)

    def _failed(self, worker: Worker, message: messages.Failed, frames: Frames, now: float) -> None:
        query = self._holds(worker, message.lease, message.query)
        if query is None:
            return
        lease = query.ledger.leases[message.lease]
        failure = self._from_worker(message.failure, worker)
        if failure.kind == "data" and query.try_again(lease, message.failure.path, failure, now):
            log.warning("query %s: %s; it will be tried again", query.number, failure.message)
            self._dispatcher.give_back(worker, (query.number, message.lease), now)
        elif query.submit.on_error == "skip":
            query.skipped = query.skipped or (failure, list(frames))
            reason = f"{failure.error}: {failure.message}"
            query.ledger.fail(message.lease, reason, *query.at_fault(lease, failure))
            self._dispatcher.close_if_gone(worker, query, message.lease, now)
            self._end_if_complete(query, now)
        else:
            self._fail(query, failure, frames, now)

    def _skipped(self, worker: Worker, message: messages.Skipped, frames: Frames, now: float) -> None:
        """A slot has passed over an error for the first time: the entries are named in its commits."""
        query = self.queries.get(message.query)
        if query is not None and query.running:
            query.skipped = query.skipped or (self._from_worker(message.failure, worker), list(frames))

    def _slot_down(self, worker: Worker, message: messages.SlotDown, frames: Frames, now: float) -> None:
        if message.slot >= len(worker.slots):
            self._blame(worker, f"no slot {message.slot}", now)
            return
        slot = worker.slots[message.slot]
        slot.up = False
        self._compactor.lost(worker.identity, slot.index)
        self._dispatcher.credit.withdraw(slot)
        self._take_down_compaction(worker, message, now)
        log.warning("slot %d of %s went down: %s", message.slot, worker.name, message.reason)
        lost = [(key.query, key.lease) for key in message.leases if (key.query, key.lease) in worker.leases]
        working = message.working
        if working is not None and (working.query, working.lease) in worker.leases:
            self._count_kill(worker, message, now)
        for key in lost:
            if key in worker.leases:
                self._dispatcher.give_back(worker, key, now)

    def _count_kill(self, worker: Worker, message: messages.SlotDown, now: float) -> None:
        """A slot went down while it worked on a lease: entries that this happens to again and again are the cause."""
        assert message.working is not None
        query = self.queries[message.working.query]
        lease = query.ledger.leases[message.working.lease]
        span = (lease.start, lease.stop)
        if message.start is not None and message.stop is not None and lease.start <= message.start < message.stop:
            span = (message.start, message.stop)
        culprit = query.packetizer.kills.add(lease.file, span)
        if culprit is None:
            return
        start, stop = query.entries(lease.file, *culprit)
        which = f"entry {start}" if stop == start + 1 else f"something in the entries {start} to {stop}"
        text = f"{which} took down its slot again and again; the last time it was {message.reason}"
        log.error("query %s: %s", query.number, text)
        if query.submit.on_error == "skip":
            query.ledger.fail(lease.number, text, *culprit)
            self._dispatcher.close_if_gone(worker, query, lease.number, now)
            self._end_if_complete(query, now)
            return
        file = query.files[lease.file]
        failure = Failure(
            "slot", "AnalysisError", text, path=file.path, tree=file.tree, start=start,
            stop=None if lease.opening else stop,
        )  # fmt: skip
        self._fail(query, self._from_worker(failure, worker), (), now)

    def _take_down_compaction(self, worker: Worker, message: messages.SlotDown, now: float) -> None:
        """A slot may have gone down because of the objects that it merged."""
        query = self._compactor.took_down(message.compacting)
        if query is not None:
            text = (
                f"merging the objects that the analysis returned took down a slot {MAX_KILLS} times: {message.reason}"
            )
            self._fail(query, self._from_worker(Failure("slot", "AnalysisError", text), worker), (), now)

    def _compacted(self, worker: Worker, message: messages.Compacted, frames: Frames, now: float) -> None:
        query = self._compactor.done(message.query, worker.identity, message.slot)
        if query is None:
            return
        if message.failure is not None:
            self._fail(query, self._from_worker(message.failure, worker), frames, now)
            return
        self._effects.append(Replace(query.number, frames))
        if query.state == "merging":
            self._effects.append(Take(query.number, final=True))

    def _slot_up(self, worker: Worker, message: messages.SlotUp, frames: Frames, now: float) -> None:
        if message.slot < len(worker.slots):
            slot = worker.slots[message.slot]
            slot.up = True
            self._dispatcher.credit.offer(slot)

    # --- leases ---------------------------------------------------------------------------------------------------

    def _holds(self, worker: Worker, lease: int, number: str) -> Query | None:
        """The query of a lease that this worker holds; None for a lease that is dead, which a late message may name."""
        return self.queries[number] if (number, lease) in worker.leases else None

    def _share(self, query: Query, worker: Worker) -> Share:
        return query.shares.setdefault(worker.name, Share(worker.host, worker.pid, len(worker.slots)))

    # --- the end of a query ---------------------------------------------------------------------------------------

    def _end_if_complete(self, query: Query, now: float) -> None:
        if not (query.running and query.ledger.complete):
            return
        if query.skipped is not None and query.ledger.processed == 0:
            # Nothing is left: what was skipped is no blemish of the data, it is the result.
            self._fail(query, *query.skipped, now)
        else:
            self._finish_merging(query, now)

    def _finish_merging(self, query: Query, now: float) -> None:
        """Nothing more will be committed: take the result, once everything in it is merged."""
        self._release(query, now, merging=True)
        query.state = "merging"
        if query.compaction is None:
            self._effects.append(Take(query.number, final=True))

    def _fail(self, query: Query, failure: Failure, frames: Frames, now: float) -> None:
        if query.over:
            return
        query.failure, query.failure_frames = failure, list(frames)
        self._end(query, "failed", now)

    def _end(self, query: Query, state: messages.State, now: float) -> None:
        """Enter a final state and tell everybody."""
        self._release(query, now)
        query.state, query.ended = state, now
        query.settle()
        self._effects.append(Drop(query.number))
        for peer in query.subscribers:
            self._send(peer, *self._ended(query, now), now=now)
        log.info("query %s %s after %.2f s", query.number, state, query.seconds(now))

    def _ended(self, query: Query, now: float) -> tuple[Message, list[Buffer]]:
        frames = [*query.result, query.losses(), *query.failure_frames]
        message = messages.Ended(
            query.number, query.state, query.account(), query.seconds(now), query.report(), query.failure,
            len(query.result),
        )  # fmt: skip
        return message, frames

    def _release(self, query: Query, now: float, merging: bool = False) -> None:
        """Take a query's leases from all workers, and let them forget it; unless it is `merging`, its compaction too."""
        for worker in self.workers.values():
            for key in [key for key in worker.leases if key[0] == query.number]:
                self._dispatcher.credit.free(worker.leases.pop(key), key)
        query.leases = 0
        if not merging and query.compaction is not None and query.compaction.holder is not None:
            query.set_up[query.compaction.holder[0]] = None
        for identity in query.set_up:
            self._send(identity, messages.Release(query.number, merging), now=now)
        query.set_up.clear()

    def _forget_old(self) -> None:
        """Keep the results of the last queries only."""
        over = [number for number, query in self.queries.items() if query.over]
        kept = sum(self.queries[number].kept_bytes for number in over)
        while over and (len(over) > KEPT_RESULTS or kept > KEPT_BYTES):
            number = over.pop(0)
            kept -= self.queries.pop(number).kept_bytes

    # --- telling --------------------------------------------------------------------------------------------------

    def _report_progress(self, query: Query, now: float) -> None:
        if self._wants_snapshot(query) and now >= query.next_snapshot:
            query.merged, query.taking = False, True
            query.next_snapshot = now + SNAPSHOT_INTERVAL
            self._effects.append(Take(query.number, final=False))
        if now >= query.next_progress:
            query.next_progress = now + PROGRESS_INTERVAL
            busy = [worker for worker in self.workers.values() if any(key[0] == query.number for key in worker.leases)]
            slots = sum(any(key[0] == query.number for key in slot.leases) for w in busy for slot in w.slots)
            message = messages.Progress(
                query.number, query.account(), query.reached, query.bytes_read, slots, len(busy), query.seconds(now),
                "" if slots else self._waiting(query),
            )  # fmt: skip
            for peer in query.subscribers:
                self._send(peer, message, now=now)

    def _wants_snapshot(self, query: Query) -> bool:
        """Something new has been merged, and somebody has seen the last snapshot."""
        return query.running and query.merged and not query.taking and not all(query.subscribers.values())

    @staticmethod
    def _from_worker(failure: Failure, worker: Worker) -> Failure:
        return msgspec.structs.replace(failure, path=public_path(failure.path), worker=worker.name)

    def _waiting(self, query: Query) -> str:
        if query.state == "merging":
            return "all events are processed; what they gave is being merged"
        if not self.workers:
            return "no worker has joined yet: start one with `eventmill worker`"
        if query.ledger.held:
            return f"{query.trouble}; it will be tried again"
        return "all slots are busy with other queries"

    def _send(self, identity: bytes, message: Message, frames: Iterable[Buffer] = (), *, now: float) -> None:
        peer = self.sessions.get(identity) or self.workers.get(identity)
        if peer is not None:
            peer.spoken = now
        self._effects.append(Send(identity, message, list(frames)))

    def _blame(self, worker: Worker, reason: Any, now: float) -> None:
        log.warning("protocol error of %s: %s", worker.name, reason)
        self._send(worker.identity, messages.Fault(str(reason)), now=now)

    def _done(self, now: float) -> list[Effect]:
        for number in self._dispatcher.given_back:
            self._end_if_complete(self.queries[number], now)
        self._dispatcher.given_back.clear()
        self._dispatcher.feed(now)
        self._compactor.assign(self.workers.values(), now)
        effects, self._effects = self._effects, []
        return effects
