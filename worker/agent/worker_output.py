"""What a worker's slots and it itself say: read from their pipes, told to the master, written to the worker's own output."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from ...protocol.dial import Dial
from ...protocol.messages import Message, Stage
from ..slot_status import SlotStatuses
from .output_pipes import OutputPipes, Sight, echo
from .said import Said
from .states import WorkerState

LAST_SECONDS = 2.0
"""Seconds to reach the master for a last word."""
_package = logging.getLogger("eventmill.worker")


class WorkerOutput:
    """Of one worker.

    Args:
        state: of the worker.
        statuses: of its slots.
        send: sends a message to the master.

    Attributes:
        pipes: those of its slots.
    """

    def __init__(self, state: WorkerState, statuses: SlotStatuses, send: Callable[[Message], None]) -> None:
        self._state = state
        self._send = send
        self._said = Said()
        self._own_words = _OwnWords(self._said)
        self.pipes = OutputPipes(len(state.slots), self._said, Sight(statuses, state))

    def begin(self) -> None:
        """From now on the master is told what the worker itself warns of, too."""
        _package.addHandler(self._own_words)

    @property
    def due(self) -> float:
        """When `turn` is to be called at the latest."""
        return min(self.pipes.due, self._said.due if self._is_welcome else float("inf"))

    def turn(self, now: float) -> None:
        """Write and tell what is there, if it is time to."""
        if now >= self._said.due:
            self.tell(now)
        echo(self._said)

    def tell(self, now: float) -> None:
        """Tell the master what was said, if it listens."""
        if self._is_welcome and (said := self._said.take(now)) is not None:
            self._send(said)

    def say_why(self, reason: str, dial: Dial) -> None:
        """The worker gives up. One that has never got to work says so to the master all the same, where that is reached."""
        self._said.note(f"the worker ends: {reason}", "ERROR", time.monotonic())
        if self._state.said_hello:
            return
        late = time.monotonic() + LAST_SECONDS
        while not (dial.connected or dial.refused) and (left := late - time.monotonic()) > 0:
            if dial.monitor.poll(int(left * 1000)):
                dial.take_events()
        said = self._said.take(time.monotonic())
        if dial.connected and said is not None:
            hello = self._state.hello
            self._send(msgspec.structs.replace(hello, slots=0))
            self._send(said)
            if hello.pool:
                self._send(Stage("failed", 0.0, reason, hello.pool, hello.job, hello.host))

    def forkserver_ended(self, now: float) -> None:
        """All processes have said their last words."""
        self.pipes.close_all(now)
        echo(self._said)

    def end(self) -> None:
        """Nothing is read or told any more."""
        self.pipes.end()
        echo(self._said)
        _package.removeHandler(self._own_words)

    @property
    def _is_welcome(self) -> bool:
        return self._state.welcome is not None


class _OwnWords(logging.Handler):
    """Has the master told what the worker itself warns of."""

    def __init__(self, said: Said) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        self._said.note(record.getMessage(), record.levelname, time.monotonic())
