"""The sessions and workers that a master knows: they join, are heard of, fall silent, and are lost."""

from __future__ import annotations

import logging

from ..packetizer.placement import domain
from ..protocol import messages
from ..protocol.messages import Message
from .access import Access, Identity
from .calls import SendMessage
from .cluster_book import ClusterBook
from .compactor import Compactor
from .dispatcher import Dispatcher
from .intake import Intake
from .listening import HEARTBEAT, IDLE_HEARTBEAT, Listening
from .numbering import Numbering, number_of
from .peers import Peer, Slot, Worker, unfit
from .pools import Pools
from .queries import Queries
from .shares import Share

log = logging.getLogger(__name__)

SILENCE = 5.0
SESSION_SILENCE = 60.0
"""Seconds in which the master has listened and heard nothing, after which a worker and a session are lost; of a worker that
has said that it is idle, so much more as it may be silent longer."""
SUSPICION = 1.75
"""Seconds of such silence, after which a worker's leases are done by others, if these are idle."""
LONGEST_NAME = 200


class Roster:
    """Who is there.

    Args:
        version: version of eventmill here, told to peers.
        python: "major.minor" here; peers must have the same, because analyses travel as bytecode.
        tag: of this master; no earlier one had it.
        numbering: for their names.
        access: the users there are.
        queries: the master's queries, by number.
        dispatcher: has the credit of slots, and takes the leases of lost workers back.
        compactor: hears of lost workers; so does `intake`.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.

    Attributes:
        sessions: by identity; so `workers`.
        cluster: what displays are told of them, and of all else that goes on.
        listening: the time in which peers are silent (`Peer.heard`).
        strangers: who was told in this turn that it is not known.
        pools: places where workers are started, and who has them.
    """

    def __init__(
        self,
        version: str,
        python: str,
        tag: str,
        numbering: Numbering,
        access: Access,
        queries: Queries,
        dispatcher: Dispatcher,
        compactor: Compactor,
        intake: Intake,
        send: SendMessage,
    ) -> None:
        self.sessions: dict[bytes, Peer] = {}
        self.workers: dict[bytes, Worker] = {}
        self.listening = Listening()
        self.strangers: set[bytes] = set()
        self._version = version
        self._python = python
        self._numbering = numbering
        self._queries = queries
        self._dispatcher = dispatcher
        self._compactor = compactor
        self._intake = intake
        self._send = send
        self.cluster = ClusterBook(tag, queries, self.workers)
        self.pools = Pools(self.workers, access, send)
        queries.expected, queries.starts = self.pools.expected, self.pools.starts

    @property
    def peers(self) -> list[Peer]:
        """All of them."""
        return [*self.sessions.values(), *self.workers.values()]

    def find(self, identity: bytes) -> Peer | None:
        """The peer of this identity, if there is one."""
        return self.workers.get(identity) or self.sessions.get(identity)

    def hello(self, identity: bytes, key: str, who: Identity, hello: messages.Hello, now: float) -> None:
        """A peer whose key lets in as `who` wants to join, perhaps once more: then it is another one."""
        reason = unfit(who, hello, self._python)
        if reason:
            log.warning("refused %s %s: %s", hello.role, hello.name, reason)
            if hello.pool:
                failed = messages.Stage("failed", 0.0, reason, hello.pool, hello.job, hello.host)
                self.pools.reached(failed, who.owner, now)
            self._send(identity, messages.Fault(reason, fatal=True), now=now)
            return
        self.strangers.discard(identity)
        self.lose(identity, "said hello again", now)
        name, heard = self._name(hello), self.listening.time
        if who.role == "session":
            self.sessions[identity] = Peer(identity, name, heard, now, key, who)
        else:
            share = Share(hello.host, hello.pid, hello.slots, site=hello.site or domain(hello.host))
            worker = Worker(
                identity, name, heard, now, key, who, host=hello.host, site=hello.site, pid=hello.pid, total=share
            )
            worker.joined, worker.pool, worker.job = now, hello.pool, hello.job
            worker.slots = [Slot(worker, index) for index in range(hello.slots)]
            self.workers[identity] = worker
            for slot in worker.slots:
                self._dispatcher.credit.offer(slot)
        log.info("%s %s joined from %s, pid %s", hello.role, name, hello.host, hello.pid)
        self._send(
            identity,
            messages.Welcome(name, self._version, HEARTBEAT, SILENCE, hello.incarnation, who.user, IDLE_HEARTBEAT),
            now=now,
        )
        if who.role == "worker" and hello.slots:  # one that has none is here to say why
            self.pools.joined(self.workers[identity], now)

    def _name(self, hello: messages.Hello) -> str:
        """A name that nobody else has. A worker that comes back keeps its own."""
        base = (hello.name or hello.host or hello.role)[:LONGEST_NAME]
        number = number_of(hello.was)
        is_its_own = hello.was == f"{base}-{number}" and 0 < number <= self._numbering.last
        if is_its_own and all(peer.name != hello.was for peer in self.peers):
            return hello.was
        return f"{base}-{self._numbering.next()}"

    def unknown(self, identity: bytes, message: Message, now: float) -> None:
        """Somebody who has not said hello, or was lost since, says something: it is told so, once for all that it has said
        by now. A worker whose master was started again has said a lot."""
        if not isinstance(message, messages.Bye) and identity not in self.strangers:
            self.strangers.add(identity)
            self._send(identity, messages.Unknown(), now=now)

    def heard(self, peer: Peer, message: Message) -> None:
        """A peer has said something."""
        if isinstance(peer, Worker) and self._overdue(peer) > SUSPICION:
            self._suspect(peer, False)
        peer.heard = self.listening.time
        peer.within = min(message.within, IDLE_HEARTBEAT) if isinstance(message, messages.Heartbeat) else HEARTBEAT

    def told(self, identity: bytes, message: Message, now: float) -> None:
        """A peer is told something."""
        peer = self.find(identity)
        if peer is not None:
            peer.spoken = now
            if isinstance(peer, Worker) and not isinstance(message, messages.Heartbeat):
                self.cluster.changed(peer, now)

    def _overdue(self, peer: Peer) -> float:
        """Seconds for which a peer has been silent; of an idle one, that was to be, so many fewer."""
        return self.listening.time - peer.heard - (peer.within - HEARTBEAT)

    def lose(self, identity: bytes, how: str, now: float, said_so: bool = False) -> None:
        """A peer is gone. What a worker has not committed is to do again; a session's queries go on.

        A worker that `said_so` is not counted as lost.
        """
        session = self.sessions.pop(identity, None)
        worker = self.workers.pop(identity, None)
        for query in self._queries.live.values():
            query.audience.subscribers.pop(identity, None)
            query.set_up.pop(identity, None)
            query.credentials.lose(identity)
        peer = session or worker
        if peer is not None:
            self.pools.left(peer, how, said_so, now)
        if session is not None:
            log.info("session %s %s", session.name, how)
        if worker is None:
            return
        self._compactor.lost(identity)
        self._intake.lost(identity, self._queries.live)
        self.cluster.left(worker, how, said_so, now)
        log.info("worker %s %s with %d leases", worker.name, how, len(worker.leases))
        for number in dict.fromkeys(number for number, _ in worker.leases):
            self._queries[number].counters.workers_lost += not said_so
        for lease in list(worker.leases):
            self._dispatcher.give_back(worker, lease, now)
        for query in self._queries.live.values():
            if worker.name in query.shares:
                query.shares[worker.name].left = query.seconds(now)
        for slot in worker.slots:
            self._dispatcher.credit.withdraw(slot)
            for query in self._queries.live.values():
                query.packetizer.forget(slot)

    def expire(self, now: float) -> None:
        """Lose peers that have been silent for too long, and let sessions know that the master is there."""
        for worker in list(self.workers.values()):
            if (overdue := self._overdue(worker)) > SILENCE:
                self.lose(worker.identity, f"was silent for {SILENCE - HEARTBEAT + worker.within:g} s", now)
            elif overdue > SUSPICION:
                self._suspect(worker, True)
        for session in list(self.sessions.values()):
            if self._overdue(session) > SESSION_SILENCE:
                self.lose(session.identity, f"was silent for {SESSION_SILENCE:g} s", now)
            elif now - session.spoken >= HEARTBEAT:  # a worker knows by its own that the line stands
                self._send(session.identity, messages.Heartbeat(), now=now)
        self.pools.expire(now)

    def _suspect(self, worker: Worker, suspected: bool) -> None:
        """A worker is silent, or has been heard of again."""
        for query in self._queries.live.values():
            for slot in worker.slots if query.running else ():
                query.packetizer.suspect(slot, suspected)
