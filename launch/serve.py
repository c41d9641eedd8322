"""The launcher's poll loop: moves messages between the master, the core and the threads of pools, and decides nothing.

It connects outward to the master's one port, with a session's key: its pools are for whom that key is. It may run
where the commands of a batch system are, and need not be where the master is.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import zmq

from ..protocol import codec, messages
from ..protocol.connection import Connection
from ..protocol.dial import LOOK_SECONDS, Dial, hello_of
from ..protocol.errors import ConnectionFailed, LocalProtocolError
from ..protocol.messages import Message
from ..protocol.tokens import new_token, write_token
from ..system.lifeline import EndSignals, Lifeline, Owner
from .core import LauncherCore
from .effects import Answer, Effect, ForgetJobs, SaveCall, SaveJobs, SaveWanted, Stop, Tell
from .enrolment import Enrolment
from .launches import Launch
from .pool_thread import Answers, PoolThread
from .pools.pool import Pool
from .reconciler import Terms
from .record import Record

log = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds to try to reach a master that is gone."""
END_SECONDS = 30.0
"""Seconds that systems have to be told to end all jobs, when the launcher ends and they are to end with it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a launcher ends, and what of its workers ends with it.

    Args:
        owner: a process to end with.
        with_owner: workers are to end, too, when the owner has, or the launcher is told to (SIGTERM). Else they stay,
        and the next launcher of the same record finds them. Ctrl-C, and a master that ends for good, always end them.
        patience: seconds to try to reach a master that is gone.
    """

    owner: Owner | None = None
    with_owner: bool = False
    patience: float = PATIENCE


class Launcher:
    """A running launcher.

    Args:
        connection: the master to serve, with a session's key.
        pools: by name.
        folder: for its record, tokens, scripts and logs: of this user alone, and of no other launcher meanwhile.
        ending: when it ends.
        file: where the connection is from; it tells where a master is that has moved.
        watched: is told of the core after each turn of the loop.
        adopts: take over the jobs of these pools that are in no record, where the system can tell which they are. Another
            launcher of the same pools must not run.

    Raises:
        EventmillError: another launcher uses the folder, or it cannot be written.
    """

    def __init__(
        self,
        connection: Connection,
        pools: Mapping[str, Pool],
        folder: Path,
        ending: Ending | None = None,
        file: Path | None = None,
        watched: Callable[[LauncherCore], None] | None = None,
        adopts: bool = True,
    ) -> None:
        self._ending = ending or Ending()
        self._record = Record(folder)
        tag = f"{os.urandom(2).hex()}{self._record.number}"
        terms = {
            name: Terms(pool.system, pool.most, pool.owner, pool.idle, pool.has_tags and adopts, pool.terms)
            for name, pool in pools.items()
        }
        self.core = LauncherCore(terms, tag, self._record.saved, time.monotonic())
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dial = Dial(self._context, connection, file)
        self._enrolment = Enrolment(pools, tag, lambda: new_token(connection.address, connection.server_key))
        self._answers = Answers()
        self._pools = {
            name: PoolThread(name, pool, folder / name, self._answers.put, connection.facility)
            for name, pool in pools.items()
        }
        self._watched = watched
        self._signals: EndSignals | None = None
        self._lifeline = Lifeline(self._ending.owner) if self._ending.owner is not None else None
        self._hellos = self._greeted = 0
        self._user: str | None = None
        self._heartbeat, self._spoken = 1.0, 0.0
        self._in_touch = time.monotonic()
        self._ends = inf
        self._running = True
        self._error = ""

    def run(self) -> None:
        """Serve until told to end, the owner is gone or the master has ended.

        Raises:
            ConnectionFailed: the master refuses this launcher, or could not be reached for too long; the text says why.
            EventmillError: the record cannot be written.
        """
        self._signals = EndSignals()
        poller = zmq.Poller()
        for item in (self._dial.socket, self._dial.monitor, self._answers, self._signals):
            poller.register(item, zmq.POLLIN)
        if self._lifeline is not None:
            poller.register(self._lifeline, zmq.POLLIN)
        try:
            while self._running:
                self._turn(poller)
        finally:
            self._close()
        if self._error:
            raise ConnectionFailed(self._error)

    def want(self, pool: str, workers: int) -> None:
        """Have so many workers in a pool, as if the master had said so."""
        self._carry_out(self.core.want(pool, workers, time.monotonic()))

    def read_log(self, pool: str, launch: Launch) -> None:
        """Get what a job has said so far: it goes behind the reason of its launch, which is `explained` then."""
        self._carry_out(self.core.read_log(pool, launch.job, launch.call, time.monotonic()))

    def end(self, with_workers: bool) -> None:
        """End soon; workers stay where they are, or are told to end first."""
        if with_workers and self._ends == inf:
            self._ends = time.monotonic() + END_SECONDS
            self._carry_out(self.core.end(time.monotonic()))
        elif self._ends == inf:
            self._running = False

    # --- the loop -------------------------------------------------------------------------------------------------------

    def _turn(self, poller: zmq.Poller) -> None:
        now = time.monotonic()
        due = [self.core.deadline(now), self._spoken + self._heartbeat, now + LOOK_SECONDS, self._ends]
        due += [self._enrolment.deadline()] if self._user is not None else []
        ready = dict(poller.poll(int(max(0.0, min(due) - now) * 1000) + 1))
        if self._dial.monitor in ready:
            self._dial.take_events()
        self._greet()
        if self._dial.socket in ready:
            for message, _ in self._dial.receive():
                self._hear(message, time.monotonic())
        if self._answers.fileno() in ready:
            self._take_answers()
        if self._signals is not None and self._signals.fileno() in ready:
            told = self._signals.take()
            log.info("told to end")
            self.end(self._ending.with_owner or told == signal.SIGINT)
        if self._lifeline is not None and self._lifeline.fileno() in ready:
            poller.unregister(self._lifeline)
            log.info("the process that started this launcher is gone: ending")
            self.end(self._ending.with_owner)
        now = time.monotonic()
        self._enrol(now)
        self._carry_out(self.core.expire(now))
        self._stay_in_touch(now)
        if self._watched is not None:
            self._watched(self.core)
        if self._ends < inf and (now >= self._ends or not any(pool.open for pool in self._pools.values())):
            self._running = False

    def _greet(self) -> None:
        """Say hello on a new connection."""
        if self._dial.connected and self._greeted != self._dial.connections:
            self._greeted = self._dial.connections
            self._say_hello()
        elif not self._dial.connected:
            self._part()

    def _say_hello(self) -> None:
        self._part()
        self._dial.send(codec.encode(hello_of("launcher", incarnation=self._hellos)))
        self._hellos += 1

    def _part(self) -> None:
        if self._user is not None:
            self._user = None
            self._enrolment.parted()
            self._carry_out(self.core.parted(time.monotonic()))

    def _hear(self, message: Message, now: float) -> None:
        """The master says something."""
        match message:
            case messages.Welcome():
                if message.incarnation == self._hellos - 1:
                    self._user, self._heartbeat = message.user, message.heartbeat
                    self._carry_out(self.core.welcomed(now))
            case messages.Unknown():
                if self._user is not None:
                    self._say_hello()
            case messages.Done():
                self._token_made(message.request, now)
            case messages.Refused():
                pool = self._enrolment.refused(message.request, now)
                if pool is not None:
                    log.error("pool %s: the master lets its workers not enrol: %s", pool, message.reason)
                    self._carry_out(self.core.ready(pool, now, message.reason))
            case messages.Fault():
                if message.fatal or self._user is None:
                    self._give_up(message.reason)
                else:
                    log.error("the master refuses what this launcher said: %s", message.reason)
            case messages.Bye():
                log.info("the master has ended: so do all workers that it has not reached")
                self.end(with_workers=True)
            case _:
                self._carry_out(self.core.receive(message, now))

    def _enrol(self, now: float) -> None:
        """Ask for the tokens that are due."""
        if self._user is not None:
            for request in self._enrolment.requests(self._user, now):
                self._say(request)

    def _token_made(self, request: int, now: float) -> None:
        """The master knows a token: workers can come with it from now on."""
        made = self._enrolment.made(request, now)
        if made is not None:
            pool, text = made
            write_token(self._pools[pool].token, text)
            self._carry_out(self.core.ready(pool, now))

    def _take_answers(self) -> None:
        for answer in self._answers.take():
            now = time.monotonic()
            self._pools[answer.call.pool].open -= 1
            if isinstance(answer, Answer):
                self._carry_out(self.core.answered(answer, now))
            else:
                self._carry_out(self.core.failed(answer, now))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell():
                    self._say(effect.message)
                case SaveWanted() | SaveCall() | SaveJobs() | ForgetJobs():
                    self._record.write(effect)
                case _:
                    if self._ends == inf or isinstance(effect, Stop):  # at the end nobody asks anything any more
                        self._pools[effect.pool].ask(effect)

    def _say(self, message: Message) -> None:
        try:
            encoded = codec.encode(message)
        except LocalProtocolError as error:
            log.error("cannot send %s: %s", type(message).__name__, error)
            return
        if self._user is not None:
            self._spoken = time.monotonic()
            self._dial.send(encoded)

    def _stay_in_touch(self, now: float) -> None:
        """Let the master know that this launcher is there; or look where the master is, and give up in the end."""
        if self._user is not None:
            self._in_touch = now
            if now >= self._spoken + self._heartbeat:
                self._say(messages.Heartbeat())
            return
        self._spoken = now
        self._dial.look_again()
        if self._dial.refused or now - self._in_touch > self._ending.patience:
            self._give_up(self._dial.trouble())

    def _give_up(self, why: str) -> None:
        """There is no master for this launcher: its workers are of no use to anybody."""
        if not self._error:
            log.error("%s", why)
            self._error = why
            self.end(with_workers=True)

    def _close(self) -> None:
        for name, pool in self.core.pools.items():
            if self._ends < inf and self._pools[name].open:
                left = [launch.job for launch in pool.holdings.live]
                log.error("pool %s: its system was not told to end all jobs; there may be left: %s", name, left[:20])
            self._pools[name].close()
        if self._user is not None:
            self._dial.send(codec.encode(messages.Bye()))
        self._dial.close()
        self._context.term()
        self._record.close()
        if self._lifeline is not None:
            self._lifeline.close()
        if self._signals is not None:
            self._signals.close()
