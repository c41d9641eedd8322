"""The master's decisions, without any I/O.

`receive`, `disconnected`, `expire` and what the merger answers (`taken`, `written`, ...) take what happened and the time,
and answer with a list of effects (`master.effects`) in the order they must be carried out. The core reads no clock and owns
no socket, so that the same code runs under the poll loop (`master.serve`) and in a simulator. After an exception that leaves
one of these methods the state is unknown: the core is not to be asked again (`master.broken`).

Peers and their requests are dealt with here; `lifecycle` says how queries go on and end, `reports` what follows from what
workers say, `dispatcher` who gets the next lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import ParamSpec

import msgspec

from ..merge import entries_in
from ..packetizer.placement import domain
from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.counts import miscounted_total
from ..protocol.messages import Failure, Message
from ..protocol.values import some
from .attachments import Attachments
from .broken import Concerning, QueryBroken, failure_of
from .calls import Handlers
from .compactor import Compactor
from .dispatcher import Dispatcher
from .effects import Effect, Exit, Merge, Remove, Send, Tidy
from .layouts import Layouts
from .learnt import Learnt
from .lifecycle import Lifecycle
from .peers import Peer, Slot, Worker, unfit
from .queries import Queries
from .query import Query, Share
from .reports import Reports
from .saved import Saved

log = logging.getLogger(__name__)
P = ParamSpec("P")

HEARTBEAT = 1.0
SILENCE = 5.0
SESSION_SILENCE = 60.0
SUSPICION = 1.75
"""Seconds of silence, heartbeats coming every second, after which a worker's leases are done by others, if they are idle."""
KEPT_RESULTS = 100
KEPT_BYTES = 2**30
"""Results of queries that are over are kept for sessions that attach: the last ones, up to this much. A journal has limits
of its own."""
LONGEST_NAME = 200
LARGEST_CREDENTIALS = 2**20
TIDY_INTERVAL = 600.0
"""Results are looked through for those that are too old this often, and when a query ends."""
RETRY_INTERVAL = 10.0
"""What could not be written to the journal is tried again this soon."""


class MasterCore:
    """State of a master.

    Args:
        version: version of eventmill here, told to peers.
        python: "major.minor" here; peers must have the same, because analyses travel as bytecode.
        tag: goes into the numbers of queries, so that those of a master that was started again are not mistaken for these.
        journaled: there is a journal, for which effects are to be.

    Attributes:
        errors: errors of ours that queries have failed with.
    """

    def __init__(self, version: str, python: str, tag: str = "", journaled: bool = False) -> None:
        self.version = version
        self.python = python
        self.tag = tag
        self.sessions: dict[bytes, Peer] = {}
        self.workers: dict[bytes, Worker] = {}
        self.queries = Queries()
        self.errors = 0
        self._learnt = Learnt()
        self._counter = 0
        self._next_check = 0.0
        self._next_tidy = 0.0 if journaled else inf
        self._effects: list[Effect] = []
        layouts = Layouts()
        self._attachments = Attachments(self._send)
        self._dispatcher = Dispatcher(self.queries, layouts, self._attachments, self._send)
        self._compactor = Compactor(self.queries, self._send)
        credit = self._dispatcher.credit
        self._lifecycle = Lifecycle(self.queries, self.workers, credit, self._send, self._do, journaled)
        self._reports = Reports(
            self.queries,
            self._learnt,
            self._dispatcher,
            self._compactor,
            self._lifecycle,
            layouts,
            self._send,
            self._do,
        )
        self._handlers = Handlers[Peer]()
        self._handlers.add(messages.Submit, self._submit)
        self._handlers.add(messages.Stop, self._stop)
        self._handlers.add(messages.Credentials, self._credentials)
        self._handlers.add(messages.Attach, self._attach)
        self._handlers.add(messages.Seen, self._seen)
        self._handlers.add(messages.Ask, self._ask)
        self._handlers.add(messages.Remove, self._remove)
        self._handlers.add(messages.Shutdown, self._shutdown)
        self._handlers.add(messages.Drain, self._drain)

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
        peer = self.sessions.get(identity) if role == "session" else self.workers.get(identity)
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
            self._handle(peer, message, frames, now)
        return self._done(now)

    def _handle(self, peer: Peer, message: Message, frames: Frames, now: float) -> None:
        """An error of ours costs the query that a message is about. A request that has changed nothing yet is refused."""
        try:
            if isinstance(peer, Worker):
                self._reports.handlers.handle(peer, message, frames, now)
            else:
                self._handlers.handle(peer, message, frames, now)
        except Exception as error:
            at, query = type(message).__name__, self.queries.get(getattr(message, "query", ""))
            if isinstance(error, QueryBroken) or (query is not None and not query.over):
                self._give_up(query, error, at, now)
            elif isinstance(message, messages.Submit | messages.Attach | messages.Ask):
                log.exception("error while dealing with %s of %s", at, peer.name)
                self.errors += 1
                reason = f"the master failed on it: {type(error).__name__}: {error}"[:1000]
                self._send(peer.identity, messages.Refused(message.request, reason), now=now)
            else:
                raise
            if isinstance(message, messages.Commit):  # its worker waits for an answer
                self._send(peer.identity, messages.Committed(message.commit, False, "the master failed on it"), now=now)

    def disconnected(self, identity: bytes, now: float) -> list[Effect]:
        """The connection to a peer is gone."""
        self._lose(identity, "lost its connection", now)
        return self._done(now)

    def unsendable(self, number: str, reason: str, now: float) -> list[Effect]:
        """A result of this query, or what a worker needs for it, cannot be sent: it is over, and says why."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.unsendable, query, reason, now)
        return self._done(now)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest."""
        times = [self._next_check, self._next_tidy]
        if self._dispatcher.credit.idle and any(query.ready and query.leases for query in self.queries.live.values()):
            times.append(self._dispatcher.next_help)
        times += map(self._lifecycle.deadline, self.queries.live.values())
        return min(times)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due: snapshots, progress, checkpoints, heartbeats, and peers that have been silent for too long."""
        for query in list(self.queries.live.values()):
            self._work_for(query, now, self._lifecycle.expire, query, now)
        if now >= self._next_tidy:
            self._next_tidy = inf
            self._do(Tidy())
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

    # --- what the merger answers ----------------------------------------------------------------------------------

    def taken(self, number: str, frames: Sequence[Buffer], final: bool, now: float) -> list[Effect]:
        """The merger has taken a snapshot of a query's total."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.taken, query, frames, final, now)
        return self._done(now)

    def crowded(self, number: str, frames: Sequence[Buffer], now: float) -> list[Effect]:
        """A query's total holds objects that only a slot can merge."""
        query = self.queries.get(number)
        if query is not None and not query.over and query.outcome.failure is None:
            self._compactor.set_aside(query, frames)
        return self._done(now)

    def merge_failed(self, number: str, failure: Failure, now: float) -> list[Effect]:
        """Partial results of a query do not fit together."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.merge_failed, query, failure, now)
        return self._done(now)

    def written(self, number: str, seconds: float, note: str, now: float) -> list[Effect]:
        """The journal was written for a query, in so many seconds; or could not be, and what that means to its user."""
        if note:
            self._next_tidy = min(self._next_tidy, now + RETRY_INTERVAL)
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.written, query, seconds, note, now)
            if query.over:
                self._next_tidy = min(self._next_tidy, now + RETRY_INTERVAL)
        return self._done(now)

    def retrieved(self, number: str, peer: bytes, frames: Frames, problem: str, now: float) -> list[Effect]:
        """The frames with which a query ended have been read for a peer; or could not be, and why."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.retrieved, query, peer, frames, problem, now)
        return self._done(now)

    def tidied(self, removed: Iterable[str], written: bool, now: float) -> list[Effect]:
        """The journal has removed queries that were too old or too large, and has written all that waited, or not."""
        for number in removed:
            self.queries.remove(number)
        self._next_tidy = now + (TIDY_INTERVAL if written else RETRY_INTERVAL)
        return self._done(now)

    # --- from one master to the next ------------------------------------------------------------------------------

    def restore(self, saved: Iterable[Saved], now: float, wall: float) -> list[Effect]:
        """Take up what an earlier master has left in the journal, at `wall` in seconds since 1970.

        Queries that were running run on: what is not in their totals is to do.

        Raises:
            ValueError: what is there of a query does not fit together; so do `msgspec.MsgspecError` and
                `UnicodeDecodeError` say.
        """
        for it in saved:
            query = Query.restored(it, now, wall)
            self.queries.add(query)
            self._attachments.keep(it.attachments)
            # Workers count on from those that are in a report: two of one name would be taken for one.
            self._counter = max(self._counter, *(_number(name) for name in (it.number, *query.shares)))
            if query.running and self._attachments.lacking(it.submit):
                lost = "an array of its analysis is not in the journal's folder any more: submit it again"
                self._lifecycle.fail(query, messages.Failure("slot", "QueryFailed", lost), (), now)
            elif query.running:
                counted = entries_in(it.total) if it.total else 0
                if wrong := miscounted_total(counted, query.ledger.processed):
                    self._lifecycle.fail_count(query, f"in the journal, {wrong}", now)
                elif it.total:
                    self._do(Merge(it.number, it.total, ()))
            self._lifecycle.end_if_complete(query, now)
            log.info("query %s is there again: %s", it.number, query.state)
        return self._done(now)

    def suspend(self) -> list[Effect]:
        """The master ends: what is merged of queries that are not over is written down."""
        for query in self.queries.live.values():
            self._lifecycle.checkpoint(query)
        effects, self._effects = self._effects, []
        return effects

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
            share = Share(hello.host, hello.pid, hello.slots, site=hello.site or domain(hello.host))
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
        for query in self.queries.live.values():
            query.audience.subscribers.pop(identity, None)
            query.set_up.pop(identity, None)
        if session is not None:
            log.info("session %s %s", session.name, how)
        if worker is None:
            return
        self._compactor.lost(identity)
        log.info("worker %s %s with %d leases", worker.name, how, len(worker.leases))
        for number in dict.fromkeys(number for number, _ in worker.leases):
            self.queries[number].counters.workers_lost += not said_so
        for lease in list(worker.leases):
            self._dispatcher.give_back(worker, lease, now)
        for slot in worker.slots:
            self._dispatcher.credit.withdraw(slot)
            for query in self.queries.live.values():
                query.packetizer.forget(slot)

    def _suspect(self, worker: Worker, suspected: bool) -> None:
        """A worker is silent, or has been heard of again."""
        for query in self.queries.live.values():
            for slot in worker.slots if query.running else ():
                query.packetizer.suspect(slot, suspected)

    # --- sessions -------------------------------------------------------------------------------------------------

    def _submit(self, peer: Peer, message: messages.Submit, frames: Frames, now: float) -> None:
        if self._submitted_before(peer, message, now):
            return
        number = f"q{self.tag}{self._counter + 1}"
        try:
            message, frames = self._attachments.take(message, frames)
            if lacking := self._attachments.lacking(message):
                self._send(peer.identity, messages.Lacking(message.request, lacking), now=now)
                return
            query = Query.submitted(number, message, frames, now, self._learnt)
        except (ValueError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._send(peer.identity, messages.Refused(message.request, f"malformed submission: {error}"), now=now)
            return
        self._counter += 1
        self.queries.add(query)
        query.audience.asked = (peer.identity, message.request)
        self._forget_old(now)
        log.info("query %s: %s over %d files for %s", number, message.name, len(query.files), peer.name)
        with Concerning(query):
            kept = frames[:-1] if message.credentials else frames
            self._lifecycle.begin(query, kept, self._attachments.of(message), now)
            self._lifecycle.end_if_complete(query, now)

    def _submitted_before(self, peer: Peer, message: messages.Submit, now: float) -> bool:
        """Whether a session submits again, since it could not know that its query was taken: then it goes on with that."""
        query = self.queries.submitted_with(message.token)
        if query is None:
            return False
        if query.audience.asked is not None:
            query.audience.asked = (peer.identity, message.request)
        else:
            self._lifecycle.watch(query, peer.identity, message.request, now)
        return True

    def _attach(self, peer: Peer, message: messages.Attach, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is None:
            reason = f"no query {message.query} on this master; there are: {some(self.queries)}"
            self._send(peer.identity, messages.Refused(message.request, reason), now=now)
            return
        self._lifecycle.watch(query, peer.identity, message.request, now)

    def _ask(self, peer: Peer, message: messages.Ask, frames: Frames, now: float) -> None:
        answer: Message
        if message.what == "queries":
            answer = messages.Queries(message.request, [query.info(now) for query in self.queries.values()])
        else:
            answer = messages.Workers(message.request, [worker.info() for worker in self.workers.values()])
        self._send(peer.identity, answer, now=now)

    def _stop(self, peer: Peer, message: messages.Stop, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is not None and self._lifecycle.stop(query, message.keep, now):
            self._dispatcher.end_soon(query, now)

    def _credentials(self, peer: Peer, message: messages.Credentials, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if len(frames) != 1 or len(frames[0]) > LARGEST_CREDENTIALS:
            reason = f"credentials are one frame of at most {LARGEST_CREDENTIALS} bytes"
            self._send(peer.identity, messages.Fault(reason), now=now)
        elif query is not None and query.running:
            query.credentials = frames[0]
            for identity in query.set_up:
                self._send(identity, message, frames, now=now)

    def _remove(self, peer: Peer, message: messages.Remove, frames: Frames, now: float) -> None:
        """Forget a query and its result. One that runs on is to be stopped first."""
        query = self.queries.get(message.query)
        if query is None or not query.over:
            log.warning("%s asks to remove query %s, which is not over", peer.name, message.query)
            return
        log.info("%s removes query %s", peer.name, query.number)
        self.queries.remove(query.number)
        if self._lifecycle.journaled:
            self._do(Remove(query.number))

    def _forget_old(self, now: float) -> None:
        """Keep the results of the last queries only, where no journal keeps them, and the attachments used last."""
        live = (query.submit for query in self.queries.live.values())
        self._attachments.trim(live, list(self.workers.values()), now)
        if self._lifecycle.journaled:
            return
        over = [number for number, query in self.queries.items() if query.over]
        kept = sum(self.queries[number].kept_bytes for number in over)
        while over and (len(over) > KEPT_RESULTS or kept > KEPT_BYTES):
            number = over.pop(0)
            kept -= self.queries[number].kept_bytes
            self.queries.remove(number)

    def _seen(self, peer: Peer, message: messages.Seen, frames: Frames, now: float) -> None:
        query = self.queries.get(message.query)
        if query is not None and peer.identity in query.audience.subscribers:
            query.audience.subscribers[peer.identity] = False

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

    # --- out ------------------------------------------------------------------------------------------------------

    def _send(self, identity: bytes, message: Message, frames: Iterable[Buffer] = (), *, now: float) -> None:
        peer = self.sessions.get(identity) or self.workers.get(identity)
        if peer is not None:
            peer.spoken = now
        self._effects.append(Send(identity, message, list(frames)))

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _done(self, now: float) -> list[Effect]:
        while True:
            try:
                self._follow(now)
                break
            except QueryBroken as broken:
                self._give_up(broken.query, broken, "what follows", now)
        effects, self._effects = self._effects, []
        return effects

    def _follow(self, now: float) -> None:
        """Do what follows from what has happened."""
        for number in self._dispatcher.given_back:
            query = self.queries[number]
            with Concerning(query):
                self._lifecycle.end_if_complete(query, now)
        self._dispatcher.given_back.clear()
        self._dispatcher.feed(now)
        self._compactor.assign(self.workers.values(), now)

    # --- errors of ours -------------------------------------------------------------------------------------------

    def _work_for(self, query: Query, now: float, act: Callable[P, None], *given: P.args, **named: P.kwargs) -> None:
        """Do something for a query, which an error of ours in it costs this query."""
        try:
            act(*given, **named)
        except Exception as error:
            self._give_up(query, error, act.__name__, now)

    def _give_up(self, query: Query | None, error: Exception, at: str, now: float) -> None:
        """An error of ours came in the way of a query: nobody knows how much of it is half changed."""
        if isinstance(error, QueryBroken):
            query, error = error.query, error.__cause__ if isinstance(error.__cause__, Exception) else error
        if query is None or query.over:
            raise error
        log.error("query %s: error at %s", query.number, at, exc_info=error)
        self.errors += 1
        self._lifecycle.give_up(query, failure_of(query.number, at, error), now)
        self._dispatcher.drop(query.number, self.workers.values())


def _number(name: str) -> int:
    """The number that a name ends with, 0 if with none.

    Example:
        >>> _number("node7.cern.ch-12"), _number("qab12-3"), _number("worker")
        (12, 3, 0)
    """
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0
