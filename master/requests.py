"""What sessions ask of a master: to start, watch, stop and forget queries, what there is, and that workers or all leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.messages import Message
from ..protocol.values import some
from .access import Access
from .attachments import Attachments
from .calls import Handlers, SendMessage
from .dispatcher import Dispatcher
from .effects import Effect, Exit, Remove
from .learnt import Learnt
from .lifecycle import Lifecycle
from .miniatures import Miniatures
from .numbering import Numbering
from .parts import Parts
from .peers import Peer
from .pools import shortened
from .queries import Queries
from .query import Query
from .query_state import Listener
from .roster import Roster
from .submissions import Submissions

log = logging.getLogger(__name__)

KEPT_RESULTS = 100
KEPT_BYTES = 2**30
"""Results of queries that are over are kept for sessions that attach: the last ones, up to this much. A journal has limits
of its own."""
LARGEST_CREDENTIALS = 2**20
MOST_LAUNCHES = 100
"""Of a pool, at each stage, that displays of the whole master are told."""

Some: TypeAlias = messages.AskMiniature | messages.AskPart


class Requests:
    """Takes in what sessions say; `handlers` tells which message goes where.

    Args:
        tag: goes into the numbers of queries; `numbering` gives the rest.
        queries: the master's queries, by number.
        learnt: what is known of analyses.
        access: the users there are.
        attachments: large arrays that sessions send.
        roster: who is there.
        dispatcher: lets leases of a query that is stopped end.
        lifecycle: begins and ends queries.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self,
        tag: str,
        numbering: Numbering,
        queries: Queries,
        learnt: Learnt,
        access: Access,
        attachments: Attachments,
        roster: Roster,
        dispatcher: Dispatcher,
        lifecycle: Lifecycle,
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._queries = queries
        self._access = access
        self._attachments = attachments
        self._roster = roster
        self._dispatcher = dispatcher
        self._lifecycle = lifecycle
        self._send = send
        self._do = do
        self.submissions = Submissions(
            tag, numbering, queries, learnt, access, attachments, lifecycle, send, self._forget_old
        )
        self.miniatures = Miniatures(queries, roster.workers, send, do)
        self.parts = Parts(queries, send, do)
        self.handlers = Handlers[Peer]()
        self.handlers.add(messages.Submit, self.submissions.take)
        self.handlers.add(messages.Stop, self._stop)
        self.handlers.add(messages.Credentials, self._credentials)
        self.handlers.add(messages.Attach, self._attach)
        self.handlers.add(messages.Leave, self._leave)
        self.handlers.add(messages.Seen, self._seen)
        self.handlers.add(messages.Ask, self._ask)
        self.handlers.add(messages.AskLogs, self._ask_logs)
        self.handlers.add(messages.AskCluster, self._ask_cluster)
        self.handlers.add(messages.AskMiniature, self._ask_miniature)
        self.handlers.add(messages.AskPart, self._ask_part)
        self.handlers.add(messages.Remove, self._remove)
        self.handlers.add(messages.Shutdown, self._shutdown)
        self.handlers.add(messages.Drain, self._drain)

    def _attach(self, peer: Peer, message: messages.Attach, frames: Frames, now: float) -> None:
        query = self._readable(peer, message, now)
        if query is None:
            return
        self._lifecycle.watch(query, peer.identity, message.request, now)

    def _ask_miniature(self, peer: Peer, message: messages.AskMiniature, frames: Frames, now: float) -> None:
        self.miniatures.asked(self._readable(peer, message, now), peer.identity, message, now)

    def _ask_part(self, peer: Peer, message: messages.AskPart, frames: Frames, now: float) -> None:
        self.parts.asked(self._readable(peer, message, now), peer.identity, message, now)

    def _readable(self, peer: Peer, message: messages.Attach | messages.AskLogs | Some, now: float) -> Query | None:
        """The query that a session asks for, if there is one whose results are its business; else it is told why not."""
        query = self._queries.get(message.query)
        if query is None:
            reason = f"no query {message.query} on this master; there are: {some(self._queries)}"
        elif not peer.who.may_read(query.submit):
            reason = (
                f"query {query.number} is {_whose(query)}, who has not shared it: its results and logs are for who may "
                "read them (process(..., share=...))"
            )
        else:
            return query
        self._send(peer.identity, messages.Refused(message.request, reason), now=now)
        return None

    def _ask(self, peer: Peer, message: messages.Ask, frames: Frames, now: float) -> None:
        answer: Message
        if message.what == "queries":
            infos = [self._info_for(peer, self._queries.info(number, now)) for number in self._queries]
            answer = messages.Queries(message.request, infos)
        else:
            answer = messages.Workers(message.request, [worker.info() for worker in self._roster.workers.values()])
        self._send(peer.identity, answer, now=now)

    def _ask_logs(self, peer: Peer, message: messages.AskLogs, frames: Frames, now: float) -> None:
        if message.query and self._readable(peer, message, now) is None:
            return
        logs = self._queries.logs
        entries, cursor, more = logs.since(message.query, message.cursor, now)
        if not peer.who.is_masters:
            entries = [entry for entry in entries if self._said_for(peer, entry)]
        answer = messages.Logs(message.request, entries, cursor, more, logs.unkept(message.query))
        self._send(peer.identity, answer, now=now)

    def _said_for(self, peer: Peer, entry: messages.LogEntry) -> bool:
        """Whether a user may read a line: of a query of hers, or of workers that serve her."""
        query = self._queries.get(entry.line.query)
        if query is not None:
            return peer.who.may_read(query.submit)
        serving = self._access.served_by(peer.who.user)
        workers = self._roster.workers.values()
        return any(worker.name in entry.workers and worker.owner in serving for worker in workers)

    def _ask_cluster(self, peer: Peer, message: messages.AskCluster, frames: Frames, now: float) -> None:
        pools = [shortened(info, MOST_LAUNCHES) for info in self._roster.pools.seen_by(peer.who, now)]
        answer = self._roster.cluster.answer(message.request, message.cursor, now)
        answer = msgspec.structs.replace(answer, pools=pools, wishes=self._roster.pools.wishes(peer.who, now))
        if not peer.who.is_masters:
            answer = self._for_others(peer, answer, now)
        self._send(peer.identity, answer, now=now)

    def _for_others(self, peer: Peer, answer: messages.Cluster, now: float) -> messages.Cluster:
        """What a user is told of queries whose results are not her business: that they are there, and how far they are."""
        told = []
        for progress in answer.progress:
            query = self._queries.get(progress.query)
            if query is not None and not peer.who.may_read(query.submit):
                waits = None if progress.waits is None else messages.Wait(progress.waits.what)
                account = msgspec.structs.replace(progress.account, notes=[], lost=[])
                progress = msgspec.structs.replace(progress, waits=waits, account=account, credentials=None)
            told.append(progress)
        infos = [self._info_for(peer, info) for info in answer.queries]
        return msgspec.structs.replace(answer, progress=told, queries=infos)

    def _info_for(self, peer: Peer, info: messages.QueryInfo) -> messages.QueryInfo:
        """A query's line, as it is told to this session."""
        if info.credentials is None or peer.who.may_read(self._queries[info.query].submit):
            return info
        return msgspec.structs.replace(info, credentials=None)

    def _stop(self, peer: Peer, message: messages.Stop, frames: Frames, now: float) -> None:
        query = self._queries.get(message.query)
        if query is None:
            self._answer(peer, message.request, f"no query {message.query} on this master", now)
        elif not peer.who.may_stop(query.submit):
            self._answer(
                peer, message.request, f"query {query.number} is {_whose(query)}, and is not stopped by others", now
            )
        else:
            if self._lifecycle.stop(query, message.keep, now):
                self._dispatcher.end_soon(query, now)
            self._answer(peer, message.request, "", now)

    def _answer(self, peer: Peer, request: int, refusal: str, now: float) -> None:
        """Something was done, which is told if somebody waits for it; or is refused, which is told in any case."""
        if refusal:
            log.warning("%s is refused: %s", peer.name, refusal)
            self._send(peer.identity, messages.Refused(request, refusal), now=now)
        elif request:
            self._send(peer.identity, messages.Done(request), now=now)

    def _credentials(self, peer: Peer, message: messages.Credentials, frames: Frames, now: float) -> None:
        query = self._queries.get(message.query)
        if len(frames) > 1 or any(len(frame) > LARGEST_CREDENTIALS for frame in frames):
            reason = f"credentials are one frame of at most {LARGEST_CREDENTIALS} bytes"
            self._send(peer.identity, messages.Fault(reason), now=now)
            return
        refusal = self._no_credentials_for(peer, query, message)
        if query is not None and not refusal:
            for frame in frames:
                query.credentials.bring(frame)
                for identity in query.set_up:
                    self._send(identity, messages.Credentials(query.number), frames, now=now)
            if message.info is not None:
                query.credentials.tell(peer.identity, message.info, now)
        if message.request:
            self._answer(peer, message.request, refusal, now)

    def _no_credentials_for(self, peer: Peer, query: Query | None, message: messages.Credentials) -> str:
        """Why a query gets none from this session; empty if it does."""
        if query is None or not query.running:
            return f"query {message.query} does not run on this master"
        if not peer.who.may_change(query.submit):
            return f"query {query.number} is {_whose(query)}, and gets no credentials of others"
        return ""

    def _remove(self, peer: Peer, message: messages.Remove, frames: Frames, now: float) -> None:
        """Forget a query and its result. One that runs on is to be stopped first."""
        query = self._queries.get(message.query)
        if query is None or not query.over:
            self._answer(peer, message.request, f"query {message.query} is not over, or not here", now)
            return
        if not peer.who.may_change(query.submit):
            self._answer(
                peer, message.request, f"query {query.number} is {_whose(query)}, and is not removed by others", now
            )
            return
        log.info("%s removes query %s", peer.name, query.number)
        self._queries.remove(query.number)
        if self._lifecycle.journaled:
            self._do(Remove(query.number))
        self._answer(peer, message.request, "", now)

    def _forget_old(self, now: float) -> None:
        """Keep the results of the last queries only, where no journal keeps them, and the attachments used last."""
        live = (query.submit for query in self._queries.live.values())
        self._attachments.trim(live, list(self._roster.workers.values()), now)
        over = list(self._queries.in_memory)
        kept = sum(query.outcome.kept_bytes for query in self._queries.in_memory.values())
        while over and (len(over) > KEPT_RESULTS or kept > KEPT_BYTES):
            number = over.pop(0)
            kept -= self._queries[number].outcome.kept_bytes
            self._queries.remove(number)

    def _leave(self, peer: Peer, message: messages.Leave, frames: Frames, now: float) -> None:
        query = self._queries.get(message.query)
        if query is not None:
            query.audience.subscribers.pop(peer.identity, None)

    def _seen(self, peer: Peer, message: messages.Seen, frames: Frames, now: float) -> None:
        query = self._queries.get(message.query)
        if query is not None and peer.identity in query.audience.subscribers:
            query.audience.subscribers[peer.identity] = Listener(False, message.keys, message.whole)

    def _drain(self, peer: Peer, message: messages.Drain, frames: Frames, now: float) -> None:
        """Pass on that a worker is to leave."""
        worker = next((it for it in self._roster.workers.values() if it.name == message.worker), None)
        if worker is None:
            self._answer(peer, message.request, f"no worker {message.worker} on this master", now)
        elif not peer.who.may_drain(worker.owner):
            whose = f"works for {worker.owner}" if worker.owner else "works for everybody"
            self._answer(
                peer, message.request, f"worker {worker.name} {whose}, and is not sent away by {peer.who.user}", now
            )
        else:
            log.info("%s asks worker %s to leave", peer.name, worker.name)
            self._send(worker.identity, message, now=now)
            self._answer(peer, message.request, "", now)

    def _shutdown(self, peer: Peer, message: messages.Shutdown, frames: Frames, now: float) -> None:
        if not peer.who.is_masters:
            self._answer(peer, message.request, "only the owner of the master ends it", now)
            return
        log.info("%s asks the master to end", peer.name)
        self._answer(peer, message.request, "", now)
        for other in self._roster.peers:
            self._send(other.identity, messages.Bye(), now=now)
        self._do(Exit())


def _whose(query: Query) -> str:
    """Whose a query is, in words."""
    return f"{query.submit.user}'s" if query.submit.user else "of the owner of the master"
