"""The master's poll loop: moves messages between sockets and the core, and decides nothing.

Everything comes through one ROUTER socket on one TCP port, encrypted and authenticated by CURVE. The loop waits until the
core's deadline, takes in all that is there, hands it to the core, and carries out the effects.

An exception in here, or out of the core, leaves unknown state behind (`master.broken`). The master begins anew then, with a
new core, a new merger and what is in the journal: peers are told that they are not known, and come again.
"""

from __future__ import annotations

import logging
import platform
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import msgspec
import zmq

from ..protocol import codec, messages
from ..protocol.connection import KeyFolder, load_master_keys, set_address
from ..protocol.errors import ConnectionFailed, LocalProtocolError, RemoteProtocolError
from ..protocol.version import __version__, shown_version
from ..system.lifeline import EndSignals, Lifeline, Owner
from ..system.restarts import Restarts
from .access import Access, Identity
from .access_records import AccessRecords
from .authenticator import Authenticator
from .catalogue_records import CatalogueRecords
from .core import MasterCore
from .door import Door
from .effects import Effect, Exit, SaveAccess, SaveDataset, Send
from .finished import Finished
from .intake import Merged
from .journal import Journal
from .listening import Hearing
from .merger import Answer, Crowded, Merger, Taken, Unmergeable
from .miniatures import Shrunk
from .parts import Picked
from .post import Post
from .recorder import Retrieved, Tidied, Written
from .rooms import Rooms
from .saved import Saved

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long another thread may keep the loop from going on, where merging takes Python: each call of a socket lets it, and
with Python's 5 ms the loop would take in 200 messages a second."""
TURN_SECONDS = 0.0025
"""How long messages are taken in before new connections, deadlines and answers of the merger get their turn."""
_UNFINISHED: list[tuple[messages.Message, list[codec.Buffer]]] = [(messages.Heartbeat(), [])]
"""What a peer says as long as its message has not come as a whole."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a master listens.

    Args:
        interface: address of a network interface, "*" for all.
        port: the port, 0 for any free one.
        host: name of this machine as peers reach it.
        descriptor: a socket that listens there already, from the process that started this one.
    """

    interface: str = "*"
    port: int = 0
    host: str = ""
    descriptor: int | None = None


class Master:
    """A running master.

    Args:
        keys: its key folder; the connection files in it get the address it listens at.
        binding: where to listen.
        owner: process to end with, for a master that belongs to one session: told to end, it ends for good.
        journal: where queries are written down, and what is in there goes on; closed at the end. None for a master whose
            queries end with it.

    Attributes:
        comes_back: it has ended, and its peers wait for the next one.

    Raises:
        ConnectionFailed: the port is taken, or the keys or the journal cannot be read.
    """

    def __init__(
        self, keys: KeyFolder, binding: Binding, owner: Owner | None = None, journal: Journal | None = None
    ) -> None:
        own = load_master_keys(keys)
        self.journal = journal
        self.owned = owner is not None
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._keys = {key: Identity("session" if role == "session" else "worker") for key, role in own.peers.items()}
        self._records = AccessRecords(keys.access)
        self._datasets = CatalogueRecords(keys.catalogue)
        self.authenticator = Authenticator(self.context, lambda key: bool(self.access.role(key)))
        self.door = Door(self.context, own)
        self.router = self.door.router
        self._post = Post(self.router)
        self._rooms = Rooms()
        self._joiners = codec.joiners(self._rooms.take)
        self._poller = zmq.Poller()
        self._restarts = Restarts()
        self._gone: dict[bytes, None] = {}
        self._hearing = Hearing()
        self._running = True
        self.comes_back = False
        effects = self._begin()
        self.address = self._bind(binding)
        set_address(keys, self.address)
        self._carry_out(effects)
        self.lifeline = Lifeline(owner) if owner is not None else None

    def _begin(self) -> list[Effect]:
        """Begin with what is in the journal, or with nothing."""
        journal = self.journal
        saved = journal.load() if journal is not None else []
        self.merger = Merger(self.context, journal)
        self._poller.register(self.merger.wakeup, zmq.POLLIN)
        python = ".".join(platform.python_version_tuple()[:2])
        self.access = Access(self._keys, self._records.load(), time.time() - time.monotonic())
        self.core = MasterCore(
            __version__, python, _new_tag(saved), journal is not None, self.access, self._datasets.load()
        )
        return [] if journal is None else self._restored(saved, journal)

    def _begin_anew(self, error: Exception) -> None:
        """What the core knows may be half changed: ask it nothing more, and go on from the journal."""
        log.critical("error of ours: beginning anew from what is in the journal", exc_info=error)
        if not self._restarts.allowed(time.monotonic()):
            log.critical("this has happened too often")
            raise error
        known = [*self.core.workers, *self.core.sessions]
        self._poller.unregister(self.merger.wakeup)
        self.merger.close()
        if self.journal is not None:
            self.journal = self.journal.reopened()
        effects = self._begin()
        self._carry_out([*effects, *(Send(peer, messages.Unknown()) for peer in known)])

    def _bind(self, binding: Binding) -> str:
        port = binding.port
        if binding.descriptor is not None:
            self.router.set(zmq.USE_FD, binding.descriptor)
        try:
            self.router.bind(f"tcp://{binding.interface}:{port or '*'}")
        except zmq.ZMQError as error:
            raise ConnectionFailed(
                f"cannot listen at {binding.interface}:{port}: {error.strerror}; choose another --port"
            ) from None
        bound = bytes(self.router.get(zmq.LAST_ENDPOINT)).decode().rstrip("\0")
        host = binding.host or ("127.0.0.1" if binding.interface == "127.0.0.1" else platform.node())
        return f"tcp://{host}:{bound.rpartition(':')[2]}"

    def _restored(self, saved: Sequence[Saved | Finished], journal: Journal) -> list[Effect]:
        """Take up the queries that are in the journal."""
        try:
            return self.core.restore(saved, time.monotonic(), time.time())
        except (ValueError, IndexError, msgspec.MsgspecError) as error:
            raise ConnectionFailed(
                f"what the journal {journal.path} has of a query does not fit together ({error}): move it away and start "
                "the master again, without the queries in it"
            ) from error

    def run(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until told to end, by a session or a signal, or the owner is gone."""
        signals, poller = EndSignals(), self._poller
        poller.register(signals.fileno(), zmq.POLLIN)
        for socket in (self.router, self.authenticator.socket, self.door.monitor):
            poller.register(socket, zmq.POLLIN)
        if self.lifeline is not None:
            poller.register(self.lifeline.fileno(), zmq.POLLIN)
        log.info("%s, listening at %s, for up to %d connections", shown_version(), self.address, self.door.room)
        if on_ready is not None:
            on_ready(self.address)
        broken, before = True, sys.getswitchinterval()
        try:
            sys.setswitchinterval(SWITCH_SECONDS)
            while self._running:
                try:
                    self._turn(signals)
                except Exception as error:
                    self._begin_anew(error)
            broken = False
        finally:
            try:
                self._close(broken)
            finally:
                signals.close()  # until now, one more does not come in between
                sys.setswitchinterval(before)

    def _turn(self, signals: EndSignals) -> None:
        """Wait for what happens next, and deal with it."""
        at_once = self._gone or self._post.waiting or self._rooms.leaving
        wait = 0.0 if at_once else max(0.0, self.core.deadline() - time.monotonic())
        ready = dict(self._poller.poll(int(wait * 1000) + (wait > 0)))
        if not (ready or self.core.queries.live):
            self._rooms.clear()
        self._rooms.go_on()
        if self.authenticator.socket in ready:
            self.authenticator.answer()
        heard_all = self._receive() if self.router in ready else True
        if self.door.monitor in ready:
            self._notice_disconnections()
        if self.merger.wakeup in ready or self.merger.answers:
            self._collect()
        if self.lifeline is not None and self.lifeline.fileno() in ready:
            log.info("the session is gone: ending")
            self._running = False
        elif signals.fileno() in ready:
            self._end(signals.take())
            self._running = False
        else:
            self._carry_out(self.core.expire(time.monotonic(), heard_all))
        self._gone.update(dict.fromkeys(self._post.go_on(time.monotonic() + TURN_SECONDS)))
        if self._gone:
            self._lose_gone(list(self._gone))

    def _end(self, told: signal.Signals) -> None:
        """Let nobody wait for a master that was told to end; unless its queries are in a journal and the machine ends it
        (as before it boots anew): then everybody waits for the next one."""
        if self.journal is not None and not self.owned and told == signal.SIGTERM:
            log.info("told to end: queries, workers and sessions wait for the next master")
            self.comes_back = True
            return
        log.info("told to end: %d workers and %d sessions hear of it", len(self.core.workers), len(self.core.sessions))
        for peer in (*self.core.workers, *self.core.sessions):
            self._send(Send(peer, messages.Bye()))

    # --- in -------------------------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Take in what peers have said, for a turn's time. Returns whether everybody has been heard."""
        taken, now = 0, time.monotonic()
        ends = now + TURN_SECONDS
        effects: list[Effect] = []
        try:
            while now < ends:
                try:
                    identity, *frames = self.door.take()
                except zmq.Again:
                    return self._hearing.took(taken, self.door.connections, more=False)
                taken, now = taken + 1, time.monotonic()
                key = str(frames[0].get("User-Id"))
                for message, buffers in self._said(identity, frames):
                    effects += self.core.receive(identity.bytes, key, message, buffers, now, more=True)
            return self._hearing.took(taken, self.door.connections, more=True)
        finally:  # not before: the merger's thread would ask for its turn at each message
            self._carry_out(effects)

    def _said(self, identity: zmq.Frame, frames: list[zmq.Frame]) -> list[tuple[messages.Message, list[codec.Buffer]]]:
        """What a peer has said."""
        peer = identity.bytes
        said = _UNFINISHED
        try:
            whole = self._joiners.add(peer, [frame.buffer for frame in frames])
            if whole is not None:
                said = codec.decode_all(whole)
            elif peer not in self._joiners or not (peer in self.core.workers or peer in self.core.sessions):
                return []
        except RemoteProtocolError as error:
            log.warning("refused a message: %s", error)
            self._send(Send(peer, messages.Fault(str(error)[:1000], fatal=True)))
            return []
        self.door.heard(identity.get(zmq.SRCFD), peer)
        return said

    def _notice_disconnections(self) -> None:
        """A TCP connection has ended: if the peer we last heard on it cannot be reached any more, it is gone."""
        for peer in self.door.take_events():
            self._carry_out([Send(peer, messages.Heartbeat())])

    def _lose_gone(self, gone: list[bytes]) -> None:
        """Their last words, or commits, lie here already, and come first. Of thousands, some are lost in each turn."""
        if self._receive():  # or in a later turn, when they have been heard
            ends = time.monotonic() + TURN_SECONDS
            for peer in gone:
                del self._gone[peer]
                self._joiners.forget(peer)
                self._carry_out(self.core.disconnected(peer, time.monotonic()))
                if time.monotonic() >= ends:
                    break

    def _collect(self) -> None:
        while self.merger.wakeup.poll(0):
            self.merger.wakeup.recv()
        while self.merger.answers:
            self._carry_out(self._answered(self.merger.answers.popleft(), time.monotonic()))

    def _answered(self, answer: Answer, now: float) -> list[Effect]:
        """What the core makes of an answer of the merger."""
        match answer:
            case Taken():
                return self.core.taken(answer.query, answer.frames, answer.final, now, answer.parts)
            case Shrunk() | Picked() | Merged():
                return self.core.made(answer, now)
            case Crowded():
                return self.core.crowded(answer.query, answer.frames, now)
            case Unmergeable():
                return self.core.merge_failed(answer.query, answer.failure, now, answer.left_out)
            case Written():
                return self.core.written(answer.query, answer.seconds, answer.note, now, answer.ended)
            case Retrieved():
                return self.core.retrieved(answer.query, answer.peer, answer.end, answer.frames, answer.problem, now)
            case Tidied():
                return self.core.tidied(answer.removed, answer.written, now)

    # --- out ------------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        """Carry out effects in their order. Peers that turn out to be gone meanwhile are lost at the end of the turn."""
        waiting = deque(effects)
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Exit):
                self._running = False
            elif isinstance(effect, SaveAccess):
                self._records.write(effect.changes)
            elif isinstance(effect, SaveDataset):
                self._datasets.write(effect)
            elif not isinstance(effect, Send):
                self.merger.ask(effect)
            else:
                try:
                    reachable = self._send(effect)
                except LocalProtocolError as error:
                    waiting.extend(self._explain(effect, error))
                else:
                    if not reachable:
                        self._gone[effect.peer] = None

    def _send(self, effect: Send) -> bool:
        """Send a message; false when the peer cannot be reached any more."""
        return self._post.send(effect.peer, codec.encode(effect.message, effect.frames))

    def _explain(self, effect: Send, error: LocalProtocolError) -> list[Effect]:
        """A message cannot be sent: nobody may wait for it for ever."""
        message, kind = effect.message, type(effect.message).__name__
        log.error("cannot send %s: %s", kind, error)
        if isinstance(message, messages.Ended):
            reason = f"the result cannot be sent: {error}"
            return self.core.unsendable(message.query, reason, time.monotonic(), effect.peer, message)
        if isinstance(message, messages.Snapshot):
            return self.core.unsendable(message.query, f"the result cannot be sent: {error}", time.monotonic())
        if isinstance(message, messages.Setup | messages.Lease | messages.Compact):
            reason = f"a worker cannot be sent its {kind}: {error}"
            return self.core.unsendable(message.query, reason, time.monotonic())
        if isinstance(
            message, messages.Queries | messages.Workers | messages.Logs | messages.Cluster | messages.Datasets
        ):
            return [Send(effect.peer, messages.Refused(message.request, f"the answer cannot be sent: {error}"[:1000]))]
        return []

    def _close(self, broken: bool) -> None:
        if self.lifeline is not None:
            self.lifeline.close()
        self._post.go_on(inf)
        self.door.close()
        if not (self.owned or broken):
            try:
                self._carry_out(self.core.suspend())
            except Exception:
                log.exception("error of ours: what was merged last is not written down, and will be done again")
        self.merger.close()
        self._records.close()
        self._datasets.close()
        self.authenticator.close()
        self.context.term()


def _new_tag(saved: Sequence[Saved | Finished]) -> str:
    """A tag for the numbers of new queries that no query in the journal has."""
    while True:
        tag = f"{secrets.token_hex(2)}-"
        if not any(it.number.startswith(f"q{tag}") for it in saved):
            return tag
