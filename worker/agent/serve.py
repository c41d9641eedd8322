"""The agent's poll loop: moves messages between the master, the slots and the forkserver, and decides nothing.

One agent runs per worker. It holds one connection outward to the master, an ipc socket in a private folder for its slots,
and a socket pair to the forkserver that forks them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from math import inf
from pathlib import Path

import zmq

from ...protocol import codec, messages
from ...protocol.codec import Frames
from ...protocol.connection import Connection
from ...protocol.dial import COMPLAINT_SECONDS, Dial, hello_of
from ...protocol.errors import ConnectionFailed, EventmillError, LocalProtocolError, RemoteProtocolError
from ...protocol.messages import Message
from ...system.account import account_name
from ...system.content_folder import ContentFolder, digest_of
from ...system.lifeline import EndSignals, Lifeline, Owner
from ...system.logs import keep_within
from ...system.restarts import Restarts
from ..allocation.memory import limit_a_slot
from ..slot_status import SlotStatuses
from .core import AgentCore
from .effects import Discard, Effect, Fork, Kill, Leave, Order, Store, ToMaster, ToSlot
from .forkserver_client import ForkserverClient, attachments_beside
from .leaving import GRACE
from .places import Places
from .worker_output import WorkerOutput

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often slots are looked at: what they are at, and how much memory they take."""
MOST_WAITING = 8
"""Messages of a slot that wait here at most; behind them it waits itself."""
REPORTS = (messages.Finished, messages.Failed, messages.Skipped, messages.Commit, messages.Compacted)
"""Of slots: what they have said before is taken in first."""
ALONE = (messages.Hello, messages.Bye)
"""What the master is told by itself and at once: one of another version is to understand it, and nothing follows. All else
goes out together at the end of a turn."""
PATIENCE = 600.0
"""Seconds for which a worker tries to reach its master: long enough to boot the master's machine."""
_LONGEST_NOTICE = 500


class Worker:
    """A running worker.

    Args:
        connection: the master to work for.
        slots: number of slot processes.
        name: what the master calls it; the host's name by default.
        patience: seconds to try to reach the master before giving up, at first and whenever it is gone.
        owner: process to end with, for a worker that belongs to one session.
        forkserver: a forkserver that has been started already; by default one of a process that does nothing but this.
        walltime: seconds after which this worker has to be gone; None: no limit.
        grace: seconds that it takes at most to leave in good order, when it is told to or its walltime ends; 0: it leaves
            at once, and what it has not committed is done again by others.
        file: where the connection is from; it tells where a master is that has moved.
        memory: bytes that a slot may take; None: a fair part of what the batch system, the control group and the machine
            have.
        log: the file that this worker and its slots write to, to be kept from growing without end.
        site: where it runs, as reports and displays call it; the domain of its host by default.
        through: address of a relay or tunnel to call in the place of the master's.
        idle: seconds without anything to do after which it leaves.
        launch: the pool that has started it, and what its system calls the job.
        notice: file in which stands, when it is told to end, why.
    """

    def __init__(
        self,
        connection: Connection,
        slots: int,
        name: str = "",
        patience: float = PATIENCE,
        owner: Owner | None = None,
        forkserver: ForkserverClient | None = None,
        walltime: float | None = None,
        grace: float = GRACE,
        file: Path | None = None,
        memory: int | None = None,
        log: Path | None = None,
        site: str = "",
        through: str = "",
        idle: float = inf,
        launch: tuple[str, str] = ("", ""),
        notice: str = "",
    ) -> None:
        self.connection = connection
        self.patience = patience
        self.hello = hello_of("worker", name, site=site, slots=slots, pool=launch[0], job=launch[1])
        self.walltime, self._notice = walltime, notice
        places = Places(account_name(), connection.server_key, owner is not None)
        self.core = AgentCore(self.hello, grace, memory or limit_a_slot(slots), idle, places)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.forkserver = forkserver or ForkserverClient(alone=True)
        self.statuses = SlotStatuses(self.forkserver.statuses, slots)
        self._output = WorkerOutput(self.core.state, self.statuses, self._send_to_master)
        self._pipes = self._output.pipes
        self._pipes.add(self.forkserver.output, None, "stderr")
        self._attachments = ContentFolder(attachments_beside(self.forkserver.statuses))
        self._poller = zmq.Poller()
        self._restarts = Restarts()
        self._looked = 0.0
        self._log = log
        self.slots = self.context.socket(zmq.ROUTER)
        self.slots.set(zmq.LINGER, 0)
        self.slots.set(zmq.ROUTER_MANDATORY, 1)
        self.slots.set(zmq.RCVHWM, MOST_WAITING)
        self.slots.set(zmq.SNDHWM, 0)  # a slot in an endless loop reads nothing: that must not stop us
        self.dial = Dial(self.context, connection, file, through)
        self.lifeline = Lifeline(owner) if owner is not None else None
        self.identities: dict[int, bytes] = {}
        self._leave: Leave | None = None
        self._in_touch = time.monotonic()
        self._complained = False

    def run(self) -> None:
        """Work until the master ends, the owner is gone, or this worker is told to leave: by a signal, the master, or its
        walltime. It drains then, unless a second signal tells it to be quick.

        Raises:
            ConnectionFailed: the master cannot be reached, or refuses this worker; the text says why.
            EventmillError: the forkserver could not be started, has ended by itself, or is killed again and again.
        """
        self.slots.bind(self.forkserver.endpoint)
        signals = EndSignals()
        self._output.begin()
        try:
            self._loop(signals)
            if self._leave is not None and self._leave.error:
                self._output.say_why(self._leave.reason, self.dial)
        except EventmillError as error:
            if not isinstance(error, ConnectionFailed):
                self._output.say_why(str(error), self.dial)
            raise
        finally:
            try:
                self._close()
            finally:
                signals.close()  # until now, one more does not come in between
        if self._leave is not None and self._leave.error:
            raise ConnectionFailed(self._leave.reason)

    # --- the loop -------------------------------------------------------------------------------------------------

    def _loop(self, signals: EndSignals) -> None:
        poller, dial = self._poller, self.dial
        for item in (dial.socket, dial.monitor, self.slots, self.forkserver.link, self._pipes):
            poller.register(item, zmq.POLLIN)
        poller.register(signals.fileno(), zmq.POLLIN)
        if self.lifeline is not None:
            poller.register(self.lifeline.fileno(), zmq.POLLIN)
        told, known = False, 0
        self._in_touch = time.monotonic()
        if self.walltime is not None:
            self._carry_out(self.core.drain(self.walltime, self._in_touch, "its walltime ends"))
        while self._leave is None:
            dial.flush()
            now = time.monotonic()
            wait = min(self.core.deadline() - now, self._output.due - now, LOOK_SECONDS)
            poller.modify(self.slots, 0 if self.core.choked else zmq.POLLIN)
            ready = dict(poller.poll(int(max(0.0, wait) * 1000) + 1))
            if dial.monitor in ready:
                dial.take_events()
                if dial.connections > known:
                    self._carry_out(self.core.reconnected(time.monotonic()) if known else [])
                    known = dial.connections
            if dial.socket in ready:
                self._receive_from_master()
            self._pipes.read(time.monotonic())
            if self.slots in ready:
                self._receive_from_slots()
            if self.forkserver.link.fileno() in ready:
                self._receive_from_forkserver()
            if self.lifeline is not None and self.lifeline.fileno() in ready:
                log.info("the session is gone: leaving")
                return
            if signals.fileno() in ready:
                signals.take()
                if told or not self.core.leaving.grace:
                    log.info("told to end: leaving at once")
                    return
                told, grace, why = True, self.core.leaving.grace, why_told(self._notice)
                log.info("%s: draining, for %g s at most; another signal ends it at once", why, grace)
                self._carry_out(self.core.drain(grace, time.monotonic(), why))
            self._look_at_slots()
            now = time.monotonic()
            self._carry_out(self.core.expire(now))
            self._output.turn(now)
            self._stay_in_touch(now)

    def _stay_in_touch(self, now: float) -> None:
        """While the master cannot be reached: look where else it may be, and give up in the end."""
        if self.dial.connected:
            self._in_touch, self._complained = now, False
            return
        self.dial.look_again()
        away = now - self._in_touch
        if self.dial.refused or away > self.patience:
            raise ConnectionFailed(self.dial.trouble())
        if away > COMPLAINT_SECONDS and not self._complained:
            self._complained = True
            log.warning("%s; trying for %.0f s more", self.dial.trouble(), self.patience - away)

    def _receive_from_master(self) -> None:
        for message, rest in self.dial.receive():
            self._carry_out(self.core.from_master(message, rest, time.monotonic()))
            if self._leave is not None:
                return

    def _look_at_slots(self) -> None:
        """See from time to time what each slot is at, and how much memory it takes."""
        now = time.monotonic()
        if now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        if self._log is not None:
            keep_within(self._log)
        self.forkserver.see_to_it(now)
        for slot in self.identities:
            size = self.forkserver.taken(slot, self.core.watch.memory)
            self._carry_out(self.core.look(slot, self.statuses.at_work(slot), size, now))

    def _receive_from_slots(self) -> None:
        while not self.core.choked:
            try:
                identity, *frames = self.slots.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            slot = next((slot for slot, known in self.identities.items() if known == identity.bytes), None)
            if slot is None:
                continue  # the last words of a process that has been replaced
            try:
                said = codec.decode_all([frame.buffer for frame in frames])
            except RemoteProtocolError as error:
                chunk = self.statuses.at_work(slot)
                self._carry_out(self.core.slot_misbehaved(slot, f"it sent nonsense: {error}", time.monotonic(), chunk))
                continue
            if any(isinstance(message, REPORTS) for message, _ in said):
                self._pipes.drain(slot, time.monotonic())
            for message, rest in said:
                self._carry_out(self.core.from_slot(slot, message, rest, time.monotonic()))

    def _receive_from_forkserver(self) -> None:
        word, *numbers = self.forkserver.receive()
        if word == "warm":
            self._carry_out(self.core.start())
        elif word == "exited":
            slot, status = map(int, numbers)
            self._receive_from_slots()  # what the slot said before its end comes first
            del self.identities[slot]
            self._pipes.close(slot, time.monotonic())
            chunk = self.statuses.at_work(slot)
            self._carry_out(self.core.slot_exited(slot, describe_exit(status), time.monotonic(), chunk))
        elif word == "ended":
            self._renew_forkserver()

    def _renew_forkserver(self) -> None:
        """The forkserver was killed, and all slots with it: start another."""
        now = time.monotonic()
        self._output.forkserver_ended(now)
        if not self._restarts.allowed(now):
            raise EventmillError(
                f"the process that starts slots was killed {self._restarts.most + 1} times within "
                f"{self._restarts.seconds:g} s: by whom? Perhaps the machine has too little memory"
            )
        log.warning("the process that starts slots was killed, perhaps for want of memory: starting another")
        self._poller.unregister(self.forkserver.link)
        self.forkserver.start_again()
        self._pipes.add(self.forkserver.output, None, "stderr")
        self._poller.register(self.forkserver.link, zmq.POLLIN)
        self._receive_from_slots()  # what slots said before their end comes first
        self.identities.clear()
        self._carry_out(self.core.forkserver_ended(now))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case ToMaster():
                    self._send_to_master(effect.message, effect.frames)
                case ToSlot():
                    self._send_to_slot(effect)
                case Store():
                    self._store(effect)
                case Discard():
                    with contextlib.suppress(OSError):  # it goes with the folder
                        self._attachments.remove(effect.digest)
                case Fork():
                    self.statuses.clear(effect.slot)
                    self.identities[effect.slot] = self.forkserver.fork(effect.slot, self._pipes.open(effect.slot))
                case Kill():
                    self.forkserver.kill(effect.slot)
                case Order():
                    self.statuses.order(effect.slot, effect.halvings, effect.retire)
                case Leave():
                    if not effect.error and self._leave is None:
                        log.info("leaving: %s", effect.reason)
                    self._leave = effect

    def _store(self, attachment: Store) -> None:
        """What cannot be stored, or is not what it says that it is, slots do not find, and say so to the user."""
        if digest_of(attachment.content) != attachment.digest:
            log.error("%d bytes came as %s, which they are not", len(attachment.content), attachment.digest)
            return
        try:
            self._attachments.add(attachment.digest, attachment.content)
        except OSError as error:
            log.error("an array of an analysis cannot be kept in %s: %s", self._attachments.path, error)

    def _send_to_master(self, message: Message, frames: Frames = ()) -> None:
        if isinstance(message, messages.Commit | messages.Failed | messages.SlotDown):
            self._output.tell(time.monotonic())
        try:
            encoded = codec.encode(message, frames)
        except LocalProtocolError as error:
            log.error("cannot send %s: %s", type(message).__name__, error)
            self._carry_out(self.core.unsendable(message, str(error), time.monotonic()))
        else:
            (self.dial.send if isinstance(message, ALONE) else self.dial.add)(encoded)

    def _send_to_slot(self, effect: ToSlot) -> None:
        frames = codec.encode(effect.message, effect.frames)
        try:
            self.slots.send_multipart([self.identities[effect.slot], *frames])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            # It has just ended, or closed its connection: once it has ended for sure, its leases are reported.
            self.forkserver.kill(effect.slot)

    def _close(self) -> None:
        now = time.monotonic()
        for slot in self.identities:
            self._pipes.drain(slot, now)
        if self.dial.connected:
            self._output.tell(now)
            self._send_to_master(messages.Bye(self.core.leaving.why))
        self.forkserver.close()
        self._output.end()
        self.slots.close()
        self.dial.close()
        if self.lifeline is not None:
            self.lifeline.close()
        self.context.term()


def why_told(notice: str) -> str:
    """Why this process is told to end, as who tells it has written into a file.

    Example:
        >>> why_told("")
        'it was told to'
    """
    try:
        return Path(notice).read_text()[:_LONGEST_NOTICE].strip() or "it was told to"
    except (OSError, ValueError):
        return "it was told to"


def describe_exit(status: int) -> str:
    """How a process ended, in words, from the status that `os.waitpid` gives.

    Example:
        >>> describe_exit(11)
        'killed by signal 11 (SIGSEGV)'
        >>> describe_exit(9)
        'killed by signal 9 (SIGKILL) from outside, or for want of memory'
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
    return f"killed by signal {-code} ({name}){' from outside, or for want of memory' * (-code == signal.SIGKILL)}"
