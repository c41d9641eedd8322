"""The master's poll loop: moves messages between sockets and the core, and decides nothing.

Everything comes through one ROUTER socket on one TCP port, encrypted and authenticated by CURVE. The loop waits until the
core's deadline, takes in all that is there, hands it to the core, and carries out the effects.
"""

from __future__ import annotations

import logging
import platform
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import zmq

from ..protocol import codec, messages
from ..protocol.codec import Buffer
from ..protocol.connection import KeyFolder, load_master_keys, set_address
from ..protocol.dial import receive_event
from ..protocol.errors import ConnectionFailed, LocalProtocolError, RemoteProtocolError
from ..protocol.messages import Message
from ..protocol.version import __version__
from ..system.lifeline import EndSignals, Lifeline
from .authenticator import DOMAIN, Authenticator
from .core import MasterCore
from .effects import Effect, Exit, Send
from .journal import Journal
from .merger import Answer, Crowded, Merger, Taken, Unmergeable
from .recorder import Retrieved, Tidied, Written
from .saved import Saved

log = logging.getLogger(__name__)

BATCH = 1000
"""Messages taken in before deadlines and effects get their turn."""


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

    Raises:
        ConnectionFailed: the port is taken, or the keys or the journal cannot be read.
    """

    def __init__(
        self, keys: KeyFolder, binding: Binding, owner: int | None = None, journal: Journal | None = None
    ) -> None:
        own = load_master_keys(keys)
        saved = journal.load() if journal is not None else []
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.authenticator = Authenticator(self.context, own.peers)
        self.merger = Merger(self.context, journal)
        self.journaled = journal is not None
        python = ".".join(platform.python_version_tuple()[:2])
        self.core = MasterCore(__version__, python, _new_tag(saved), self.journaled)
        self.router = self.context.socket(zmq.ROUTER)
        self._configure(own.public_key, own.secret_key)
        self.monitor = self.router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.address = self._bind(binding)
        set_address(keys, self.address)
        if journal is not None:
            self._carry_out(self._restored(saved, journal))
        self.owned = owner is not None
        self.lifeline = Lifeline(owner) if owner is not None else None
        self._by_descriptor: dict[int, bytes] = {}
        self._running = True

    def _configure(self, public_key: str, secret_key: str) -> None:
        router = self.router
        router.set(zmq.ROUTER_MANDATORY, 1)
        router.set(zmq.LINGER, 1000)
        router.set(zmq.SNDHWM, 0)
        router.set(zmq.RCVHWM, 0)
        router.set(zmq.BACKLOG, 4096)
        router.set(zmq.MAXMSGSIZE, codec.MAX_FRAME)
        router.set(zmq.HANDSHAKE_IVL, 10_000)
        router.set(zmq.CURVE_SERVER, 1)
        router.set(zmq.CURVE_PUBLICKEY, public_key.encode())
        router.set(zmq.CURVE_SECRETKEY, secret_key.encode())
        router.set(zmq.ZAP_DOMAIN, DOMAIN.encode())

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

    def _restored(self, saved: Sequence[Saved], journal: Journal) -> list[Effect]:
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
        signals = EndSignals()
        poller = zmq.Poller()
        poller.register(signals.fileno(), zmq.POLLIN)
        for socket in (self.router, self.authenticator.socket, self.merger.wakeup, self.monitor):
            poller.register(socket, zmq.POLLIN)
        if self.lifeline is not None:
            poller.register(self.lifeline.fileno(), zmq.POLLIN)
        log.info("listening at %s", self.address)
        if on_ready is not None:
            on_ready(self.address)
        try:
            while self._running:
                wait = max(0.0, self.core.deadline() - time.monotonic())
                ready = dict(poller.poll(int(wait * 1000) + 1))
                if self.authenticator.socket in ready:
                    self.authenticator.answer()
                if self.router in ready:
                    self._receive()
                if self.monitor in ready:
                    self._notice_disconnections()
                if self.merger.wakeup in ready:
                    self._collect()
                if self.lifeline is not None and self.lifeline.fileno() in ready:
                    log.info("the session is gone: ending")
                    return
                if signals.fileno() in ready:
                    self._end(signals.take())
                    return
                self._carry_out(self.core.expire(time.monotonic()))
        finally:
            signals.close()
            self._close()

    def _end(self, told: signal.Signals) -> None:
        """Let nobody wait for a master that was told to end; unless its queries are in a journal and the machine ends it
        (as before it boots anew): then everybody waits for the next one."""
        if self.journaled and not self.owned and told == signal.SIGTERM:
            log.info("told to end: queries, workers and sessions wait for the next master")
            return
        log.info("told to end: %d workers and %d sessions hear of it", len(self.core.workers), len(self.core.sessions))
        for peer in (*self.core.workers, *self.core.sessions):
            self._send(Send(peer, messages.Bye()))

    # --- in -------------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                identity, *frames = self.router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            peer = identity.bytes
            try:
                message, buffers = codec.decode([frame.buffer for frame in frames])
            except RemoteProtocolError as error:
                log.warning("refused a message: %s", error)
                self._carry_out([Send(peer, messages.Fault(str(error)[:1000], fatal=True))])
                continue
            self._by_descriptor[identity.get(zmq.SRCFD)] = peer
            role = str(frames[0].get("User-Id"))
            self._carry_out(self._decide(peer, role, message, buffers))

    def _decide(self, peer: bytes, role: str, message: Message, buffers: list[Buffer]) -> list[Effect]:
        """The core's answer to a message. An error of ours in it costs the peer that sent it, not the master."""
        now = time.monotonic()
        try:
            return self.core.receive(peer, role, message, buffers, now)
        except Exception as error:
            log.exception("error while dealing with %s", type(message).__name__)
            reason = f"the master failed on {type(message).__name__}: {type(error).__name__}: {error}"[:1000]
            return [Send(peer, messages.Fault(reason, fatal=True)), *self.core.disconnected(peer, now)]

    def _notice_disconnections(self) -> None:
        """A TCP connection has ended: if the peer we last heard on it cannot be reached any more, it is gone."""
        while self.monitor.poll(0):
            _, descriptor = receive_event(self.monitor)
            peer = self._by_descriptor.pop(descriptor, None)
            if peer is not None:
                self._carry_out([Send(peer, messages.Heartbeat())])

    def _collect(self) -> None:
        while self.wakeup_taken():
            self._carry_out(self._answered(self.merger.answers.popleft(), time.monotonic()))

    def _answered(self, answer: Answer, now: float) -> list[Effect]:
        """What the core makes of an answer of the merger."""
        match answer:
            case Taken():
                return self.core.taken(answer.query, answer.frames, answer.final, now)
            case Crowded():
                return self.core.crowded(answer.query, answer.frames, now)
            case Unmergeable():
                return self.core.merge_failed(answer.query, answer.failure, now)
            case Written():
                return self.core.written(answer.query, answer.seconds, answer.note, now)
            case Retrieved():
                return self.core.retrieved(answer.query, answer.peer, answer.frames, answer.problem, now)
            case Tidied():
                return self.core.tidied(answer.removed, answer.written, now)

    def wakeup_taken(self) -> bool:
        """Take one wake-up of the merger off its socket, if there is one."""
        try:
            self.merger.wakeup.recv(zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    # --- out ------------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        """Carry out effects in their order, then those of peers that turned out to be gone meanwhile."""
        waiting = deque(effects)
        gone: dict[bytes, None] = {}
        while waiting or gone:
            if not waiting:
                peer = next(iter(gone))
                del gone[peer]
                waiting.extend(self.core.disconnected(peer, time.monotonic()))
                continue
            effect = waiting.popleft()
            if isinstance(effect, Exit):
                self._running = False
            elif not isinstance(effect, Send):
                self.merger.ask(effect)
            else:
                try:
                    reachable = self._send(effect)
                except LocalProtocolError as error:
                    waiting.extend(self._explain(effect, error))
                else:
                    if not reachable:
                        gone[effect.peer] = None

    def _send(self, effect: Send) -> bool:
        """Send a message; false when the peer cannot be reached any more."""
        frames = codec.encode(effect.message, effect.frames)
        try:
            self.router.send_multipart([effect.peer, *frames], copy=sum(map(len, frames)) < 65536)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def _explain(self, effect: Send, error: LocalProtocolError) -> list[Effect]:
        """A message cannot be sent: nobody may wait for it for ever."""
        log.error("cannot send %s: %s", type(effect.message).__name__, error)
        if isinstance(effect.message, messages.Snapshot | messages.Ended):
            return self.core.unsendable(effect.message.query, str(error), time.monotonic())
        return []

    def _close(self) -> None:
        if self.lifeline is not None:
            self.lifeline.close()
        self.router.disable_monitor()
        self.monitor.close(0)
        self.router.close()
        if not self.owned:
            self._carry_out(self.core.suspend())
        self.merger.close()
        self.authenticator.close()
        self.context.term()


def _new_tag(saved: Sequence[Saved]) -> str:
    """A tag for the numbers of new queries that no query in the journal has."""
    while True:
        tag = f"{secrets.token_hex(2)}-"
        if not any(it.number.startswith(f"q{tag}") for it in saved):
            return tag
