"""The agent's poll loop: moves messages between the master, the slots and the nursery, and decides nothing.

One agent runs per worker. It holds one connection outward to the master, an ipc socket in a private folder for its slots,
and a socket pair to the nursery that forks them.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import time

import zmq

from ..protocol import codec, messages
from ..protocol.codec import Frames
from ..protocol.connection import Connection
from ..protocol.dial import Dial
from ..protocol.errors import ConnectionFailed, EventmillError, RemoteProtocolError
from ..protocol.lifeline import EndSignals, Lifeline
from ..protocol.messages import Message
from ..protocol.version import __version__
from .core import AgentCore, Effect, Fork, Kill, Leave, ToMaster, ToSlot
from .cradle import Cradle

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long a worker tries to reach a master that it has never reached."""


class Worker:
    """A running worker.

    Args:
        connection: the master to work for.
        slots: number of slot processes.
        name: what the master calls it; the host's name by default.
        patience: seconds to try to reach the master before giving up.
        owner: process to end with, for a worker that belongs to one session.
        cradle: a nursery that has been started already.
    """

    def __init__(
        self,
        connection: Connection,
        slots: int,
        name: str = "",
        patience: float = CONNECT_SECONDS,
        owner: int | None = None,
        cradle: Cradle | None = None,
    ) -> None:
        self.connection = connection
        self.patience = patience
        self.hello = messages.Hello(
            role="worker",
            name=name or platform.node(),
            version=__version__,
            python=".".join(platform.python_version_tuple()[:2]),
            host=platform.node(),
            pid=os.getpid(),
            slots=slots,
        )
        self.core = AgentCore(self.hello)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.cradle = cradle or Cradle()
        self.slots = self.context.socket(zmq.ROUTER)
        self.slots.set(zmq.LINGER, 0)
        self.slots.set(zmq.ROUTER_MANDATORY, 1)
        self.dial = Dial(self.context, connection)
        self.lifeline = Lifeline(owner) if owner is not None else None
        self.pids: dict[int, int] = {}
        self._leave: Leave | None = None

    def run(self) -> None:
        """Work until the master ends, a signal comes, or the owner is gone.

        Raises:
            ConnectionFailed: the master cannot be reached, or refuses this worker; the text says why.
            EventmillError: the nursery could not be started.
        """
        self.slots.bind(self.cradle.endpoint)
        signals = EndSignals()
        try:
            self._loop(signals)
        finally:
            signals.close()
            self._close()
        if self._leave is not None and self._leave.error:
            raise ConnectionFailed(self._leave.reason)

    # --- the loop -------------------------------------------------------------------------------------------------

    def _loop(self, signals: EndSignals) -> None:
        poller = zmq.Poller()
        dial = self.dial
        for item in (dial.socket, dial.monitor, self.slots, self.cradle.link):
            poller.register(item, zmq.POLLIN)
        poller.register(signals.fileno(), zmq.POLLIN)
        if self.lifeline is not None:
            poller.register(self.lifeline.fileno(), zmq.POLLIN)
        began = time.monotonic()
        while self._leave is None:
            now = time.monotonic()
            wait = min(self.core.deadline() - now, 1.0)
            ready = dict(poller.poll(int(max(0.0, wait) * 1000) + 1))
            if dial.monitor in ready:
                dial.take_events()
            if dial.socket in ready:
                self._receive_from_master()
            if self.slots in ready:
                self._receive_from_slots()
            if self.cradle.link.fileno() in ready:
                self._receive_from_nursery()
            if self.lifeline is not None and self.lifeline.fileno() in ready:
                log.info("the session is gone: leaving")
                return
            if signals.fileno() in ready:
                log.info("told to end: leaving")
                return
            now = time.monotonic()
            self._carry_out(self.core.expire(now))
            if dial.refused or (self.core.welcome is None and not dial.connected and now - began > self.patience):
                raise ConnectionFailed(dial.trouble())

    def _receive_from_master(self) -> None:
        while self._leave is None:
            try:
                frames = self.dial.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                message, rest = codec.decode([frame.buffer for frame in frames])
            except RemoteProtocolError as error:
                log.warning("the master sent nonsense: %s", error)
                continue
            self._carry_out(self.core.from_master(message, rest, time.monotonic()))

    def _receive_from_slots(self) -> None:
        while True:
            try:
                identity, *frames = self.slots.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            index, pid = map(int, identity.bytes.split(b":"))
            if self.pids.get(index, pid) == pid:
                message, rest = codec.decode([frame.buffer for frame in frames])
                self._carry_out(self.core.from_slot(index, message, rest, time.monotonic()))

    def _receive_from_nursery(self) -> None:
        word, *numbers = self.cradle.link.recv(4096).decode().split() or [""]
        if word == "warm":
            self._carry_out(self.core.start())
        elif word == "forked":
            self.pids[int(numbers[0])] = int(numbers[1])
        elif word == "exited":
            pid, status = map(int, numbers)
            for index in [index for index, known in self.pids.items() if known == pid]:
                del self.pids[index]
                # What the slot said before its end comes first.
                self._receive_from_slots()
                self._carry_out(self.core.slot_exited(index, describe_exit(status), time.monotonic()))
        else:
            raise EventmillError("the process that starts slots has ended: its error is in the lines above")

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case ToMaster():
                    self._send_to_master(effect.message, effect.frames)
                case ToSlot():
                    self._send_to_slot(effect)
                case Fork():
                    self.cradle.fork(effect.slot)
                case Kill():
                    if effect.slot in self.pids:
                        os.kill(self.pids[effect.slot], signal.SIGKILL)
                case Leave():
                    self._leave = effect

    def _send_to_master(self, message: Message, frames: Frames = ()) -> None:
        self.dial.socket.send_multipart(codec.encode(message, frames), copy=False)

    def _send_to_slot(self, effect: ToSlot) -> None:
        pid = self.pids.get(effect.slot)
        identity = f"{effect.slot}:{pid}".encode()
        try:
            self.slots.send_multipart([identity, *codec.encode(effect.message, effect.frames)])
        except zmq.ZMQError as error:
            # A slot that has just ended: the nursery will say so, and its leases are reported then.
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def _close(self) -> None:
        if self.dial.connected:
            self._send_to_master(messages.Bye())
        self.cradle.close()
        self.slots.close()
        self.dial.close()
        if self.lifeline is not None:
            self.lifeline.close()
        self.context.term()


def describe_exit(status: int) -> str:
    """How a process ended, in words, from the status that `os.waitpid` gives.

    Example:
        >>> describe_exit(11)
        'killed by signal 11 (SIGSEGV)'
        >>> describe_exit(256 * 3)
        'exited with code 3'
    """
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"killed by signal {-code} ({name})"
