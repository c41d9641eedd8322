"""The master's decisions, without any I/O.

`receive`, `disconnected`, `expire` and what the merger answers (`taken`, `written`, ...) take what happened and the time,
and answer with a list of effects (`master.effects`) in the order they must be carried out. The core reads no clock and owns
no socket, so that the same code runs under the poll loop (`master.serve`) and in a simulator. After an exception that leaves
one of these methods the state is unknown: the core is not to be asked again (`master.broken`).

What happens comes in here and goes to one of the parts: `roster` knows who is there, `requests` takes what sessions ask and
`reports` what workers say, `lifecycle` says how queries go on and end, `dispatcher` who gets the next lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import ParamSpec

from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Failure, Message
from .access import Access
from .admission import Admission
from .attachments import Attachments
from .autoscaling import Autoscaling
from .broken import Concerning, QueryBroken, failure_of
from .catalogue import Catalogue, Kept
from .compactor import Compactor
from .dispatcher import Dispatcher
from .effects import Effect, Merge, Send, Tidy
from .finished import Finished
from .intake import Intake, Merged
from .layouts import Layouts
from .learnt import Learnt
from .lifecycle import Lifecycle, TakenParts, deadline, merge_failed, retrieved, unsendable
from .listening import HEARTBEAT
from .miniatures import Shrunk
from .numbering import Numbering
from .parts import Picked
from .peers import Peer, Slot, Worker
from .queries import Queries
from .query import Query
from .reports import Reports
from .requests import Requests
from .restart import take_up
from .roster import Roster
from .saved import Saved

log = logging.getLogger(__name__)
P = ParamSpec("P")

Request = (
    messages.Submit
    | messages.Attach
    | messages.Ask
    | messages.AskLogs
    | messages.AskCluster
    | messages.AskMiniature
    | messages.AskPart
    | messages.PutDataset
    | messages.AskDatasets
    | messages.GetDataset
    | messages.RemoveDataset
)
"""That are refused when the master fails on them."""
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
        access: whose keys are let in.
        datasets: those of the catalogue, from the master before.

    Attributes:
        queries: all of them, by number; `sessions` and `workers`, by identity.
        errors: errors of ours that queries have failed with.
    """

    def __init__(
        self, version: str, python: str, tag: str = "", journaled: bool = False, access: Access | None = None,
        datasets: Iterable[Kept] = (),
    ) -> None:  # fmt: skip
        self.queries = Queries(tag)
        self.errors = 0
        self._next_check = 0.0
        self._next_tidy = 0.0 if journaled else inf
        self._effects: list[Effect] = []
        self._following = False
        self._numbering = Numbering()
        layouts, learnt = Layouts(), Learnt()
        self._attachments = Attachments(self._send)
        self._dispatcher = Dispatcher(self.queries, layouts, self._attachments, self._send)
        self._compactor = Compactor(self.queries, self._send)
        self._access = access or Access()
        self._intake = Intake(self.queries, self._send)
        self._roster = Roster(
            version, python, tag, self._numbering, self._access, self.queries, self._dispatcher, self._compactor,
            self._intake, self._send,
        )  # fmt: skip
        self.sessions, self.workers = self._roster.sessions, self._roster.workers
        self._lifecycle = Lifecycle(
            self.queries, self.workers, self._dispatcher.credit, self._intake, self._send, self._do, journaled
        )
        self._reports = Reports(
            self.queries, learnt, self._roster.cluster, self._dispatcher, self._compactor, self._lifecycle, layouts,
            self._send, self._do,
        )  # fmt: skip
        self._admission = Admission(self._access, self._roster, self.queries, self._lifecycle, self._send, self._do)
        self._requests = Requests(
            tag, self._numbering, self.queries, learnt, self._access, self._attachments, self._roster, self._dispatcher,
            self._lifecycle, self._send, self._do,
        )  # fmt: skip
        self._admission.add_to(self._requests.handlers)
        self._roster.pools.add_to(self._requests.handlers)
        Catalogue(datasets, layouts, self._access, self._send, self._do).add_to(self._requests.handlers)
        self._autoscaling = Autoscaling(self.queries, self._roster.pools, self._access, self._send, self._do)
        self._autoscaling.add_to(self._requests.handlers)

    # --- what happens ---------------------------------------------------------------------------------------------

    def receive(
        self, identity: bytes, key: str, message: Message, frames: Frames, now: float, more: bool = False
    ) -> list[Effect]:
        """A message came from a peer with this key. Where `more` may come, what follows is left to `expire`, due at once."""
        peer = self._roster.find(identity)
        who = self._admission.who(peer, key, now)
        if who is None:
            self._send(identity, messages.Fault("this key is let in no more", fatal=True), now=now)
            self._roster.lose(identity, "has a key that is let in no more", now)
        elif type(message) not in messages.FROM[who.role]:
            kind = type(message).__name__
            self._send(identity, messages.Fault(f"a peer with a {who.role} key may not say {kind}"), now=now)
        elif isinstance(message, messages.Hello):
            self._roster.hello(identity, key, who, message, now)
        elif isinstance(message, messages.Enrol):
            self._admission.enrol(identity, key, message, who.owner, now)
        elif isinstance(message, messages.Stage):
            self._roster.pools.reached(message, who.owner, now)
        elif peer is None or peer.key != key:
            self._roster.unknown(identity, message, now)
        else:
            self._heard(peer, message, frames, now)
        self._following = True
        return self._told() if more else self._done(now)

    def _heard(self, peer: Peer, message: Message, frames: Frames, now: float) -> None:
        """A peer that has said hello says something that it may say."""
        self._roster.heard(peer, message)
        if isinstance(message, messages.Bye):
            how = f"left: {message.reason}" if message.reason else "left"
            self._roster.lose(peer.identity, how, now, said_so=True)
            self._admission.left(peer)
        elif not isinstance(message, messages.Heartbeat):
            self._handle(peer, message, frames, now)

    def _handle(self, peer: Peer, message: Message, frames: Frames, now: float) -> None:
        """An error of ours costs the query that a message is about. A request that has changed nothing yet is refused."""
        try:
            if isinstance(peer, Worker):
                self._roster.cluster.changed(peer, now)
                self._reports.handlers.handle(peer, message, frames, now)
            else:
                self._requests.handlers.handle(peer, message, frames, now)
        except Exception as error:
            at, query = type(message).__name__, self.queries.get(getattr(message, "query", ""))
            if isinstance(error, QueryBroken) or (query is not None and not query.over):
                self._give_up(query, error, at, now)
            elif isinstance(message, Request):
                self.errors += 1
                self._send(peer.identity, refusal_of(message, error), now=now)
            else:
                raise
            if isinstance(message, messages.Commit):  # its worker waits for an answer
                self._send(peer.identity, messages.Committed(message.commit, False, "the master failed on it"), now=now)

    def _take_submissions(self, now: float) -> None:
        """Go on with a submission that has many files; see `_handle`."""
        submissions = self._requests.submissions
        try:
            submissions.go_on(now)
        except QueryBroken as broken:
            self._give_up(broken.query, broken, "Submit", now)
        except Exception as error:
            self.errors += 1
            self._send(submissions.at_work.identity, refusal_of(submissions.at_work.submit, error), now=now)

    def disconnected(self, identity: bytes, now: float) -> list[Effect]:
        """The connection to a peer is gone."""
        self._roster.lose(identity, "lost its connection", now)
        return self._done(now)

    def unsendable(
        self, number: str, reason: str, now: float, peer: bytes = b"", end: messages.Ended | None = None
    ) -> list[Effect]:
        """A result of this query, or what a worker needs for it, cannot be sent: it is over, and says why. If it was over
        before, this was the `end` for a peer."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, unsendable, self._lifecycle, query, reason, now, peer, end)
        return self._done(now)

    def deadline(self) -> float:
        """When `expire` is to be called at the latest."""
        if self._requests.submissions.waiting or self._following:
            return -inf
        others = self._admission, self._autoscaling, self._intake, self._dispatcher
        times = [self._next_check, self._next_tidy, *(it.deadline() for it in others)]
        times += [deadline(query, self._lifecycle.journaled) for query in self.queries.live.values()]
        return min(times)

    def expire(self, now: float, heard_all: bool = True) -> list[Effect]:
        """Do what is due: snapshots, progress, checkpoints, heartbeats, and peers that have been silent for too long; unless
        not all was heard that peers had said by now."""
        self._roster.listening.looked(now, heard_all)
        self._take_submissions(now)
        for query in list(self.queries.live.values()):
            self._work_for(query, now, self._lifecycle.expire, query, now)
        if now >= self._next_tidy:
            self._next_tidy = inf
            self._do(Tidy())
        if now >= self._next_check:
            self._next_check = now + HEARTBEAT / 2
            self._roster.expire(now)
        self._admission.expire(now)
        self._autoscaling.expire(now)
        return self._done(now)

    def check(self) -> None:
        """Assert the invariants: a lease has one holder, who knows it, a slot has leases of one owner, ledgers add up."""
        self._dispatcher.check(check_leases(self.queries, self.workers))
        self._intake.check(self.workers)

    # --- what the merger answers ----------------------------------------------------------------------------------

    def taken(
        self, number: str, frames: Frames, final: bool, now: float, parts: TakenParts | None = None
    ) -> list[Effect]:
        """The merger has taken a snapshot of a query's total."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.taken, query, frames, final, now, parts)
        return self._done(now)

    def made(self, made: Shrunk | Picked | Merged, now: float) -> list[Effect]:
        """The merger has made a miniature or a part of a query's total, or has merged a large result."""
        _take_in(made, self._lifecycle, self._requests, now)
        return self._done(now)

    def crowded(self, number: str, frames: Sequence[Buffer], now: float) -> list[Effect]:
        """A query's total holds objects that only a slot can merge."""
        query = self.queries.get(number)
        if query is not None and not query.over and query.outcome.failure is None:
            self._compactor.set_aside(query, frames)
        return self._done(now)

    def merge_failed(self, number: str, failure: Failure, now: float, left_out: Merge | None = None) -> list[Effect]:
        """Partial results of a query do not fit together. All but this one is in its total; None: nobody knows what is."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, merge_failed, self._lifecycle, query, failure, left_out, self._do, now)
        return self._done(now)

    def written(self, number: str, seconds: float, note: str, now: float, ended: bool = False) -> list[Effect]:
        """The journal was written for a query, in so many seconds; or could not be, and what that means to its user. That
        was its end, if it `ended`."""
        query = self.queries.get(number)
        if query is not None:
            self._work_for(query, now, self._lifecycle.written, query, seconds, note, now, ended)
        if note or (query is not None and query.over):
            self._next_tidy = min(self._next_tidy, now + RETRY_INTERVAL)
        return self._done(now)

    def retrieved(
        self, number: str, peer: bytes, end: messages.Ended | None, frames: Frames, problem: str, now: float
    ) -> list[Effect]:
        """How a query ended has been read for a peer, with the frames; or could not be, and why."""
        query = self.queries.get(number)
        if query is not None:
            retrieved(query, peer, end, frames, problem, self._send, now)
        return self._done(now)

    def tidied(self, removed: Iterable[str], written: bool, now: float) -> list[Effect]:
        """The journal has removed queries that were too old or too large, and has written all that waited, or not."""
        for number in removed:
            self.queries.remove(number)
        self._next_tidy = now + (TIDY_INTERVAL if written else RETRY_INTERVAL)
        return self._done(now)

    # --- from one master to the next ------------------------------------------------------------------------------

    def restore(self, saved: Iterable[Saved | Finished], now: float, wall: float) -> list[Effect]:
        """Take up what an earlier master has left in the journal, at `wall` in seconds since 1970.

        Queries that were running run on: what is not in their totals is to do.

        Raises:
            ValueError, `msgspec.MsgspecError`, UnicodeDecodeError: what is there of a query does not fit together.
        """
        take_up(
            saved, self.queries, self._numbering, self._attachments, self._access, self._lifecycle, self._do, now, wall
        )
        return self._done(now)

    def suspend(self) -> list[Effect]:
        """The master ends: what is merged of queries that are not over is written down."""
        for query in self.queries.live.values():
            self._lifecycle.checkpoint(query)
        return self._told()

    # --- out ------------------------------------------------------------------------------------------------------

    def _send(self, identity: bytes, message: Message, frames: Iterable[Buffer] = (), *, now: float) -> None:
        self._roster.told(identity, message, now)
        self._effects.append(Send(identity, message, list(frames)))

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _done(self, now: float) -> list[Effect]:
        while True:
            try:
                self._follow(now)
                return self._told()
            except QueryBroken as broken:
                self._give_up(broken.query, broken, "what follows", now)

    def _told(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _follow(self, now: float) -> None:
        """Do what follows from what has happened."""
        self._following = False
        self._roster.strangers.clear()
        for number in self._dispatcher.given_back:
            query = self.queries[number]
            with Concerning(query):
                self._lifecycle.end_if_complete(query, now)
        self._dispatcher.given_back.clear()
        self._dispatcher.feed(now)
        self._intake.give_turns(now)
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


def refusal_of(message: Request, error: Exception) -> messages.Refused:
    """What is said to who asked for something that has changed nothing yet, when an error of ours came in the way."""
    log.error("error while dealing with %s", type(message).__name__, exc_info=error)
    return messages.Refused(message.request, f"the master failed on it: {type(error).__name__}: {error}"[:1000])


def check_leases(queries: Queries, workers: Mapping[bytes, Worker]) -> list[Slot]:
    """Assert that a lease has one holder, who knows it, and that a slot has leases of one owner. Returns all slots."""
    held = {lease: slot for worker in workers.values() for lease, slot in worker.leases.items()}
    slots = [slot for worker in workers.values() for slot in worker.slots]
    assert {lease for slot in slots for lease in slot.leases} <= held.keys()
    for number, query in queries.items():
        query.ledger.check()
        if query.running:
            live = {(number, lease) for lease in query.ledger.leases}
            assert live == {lease for lease in held if lease[0] == number}
            assert not query.ledger.complete
    for slot in slots:
        owners = {queries[number].submit.whose for number, _ in slot.leases}
        assert owners <= {slot.whose}, "leases of two owners in a slot"
    return slots


def _take_in(made: Shrunk | Picked | Merged, lifecycle: Lifecycle, requests: Requests, now: float) -> None:
    """What the merger has made goes to who has asked for it."""
    if isinstance(made, Merged):
        lifecycle.intake.merged(made.size)
    elif isinstance(made, Picked):
        requests.parts.made(made, now)
    else:
        requests.miniatures.made(made, now)
