"""Virtual time, and lines between peers and a master that break in all the ways that TCP and ZeroMQ let them.

On one line messages arrive in the order in which they were sent, or not at all: what breaks a line loses the end of what
was on its way, in each direction. A line can be open in one direction only, or at one end only.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol

from eventmill.protocol import codec
from eventmill.protocol import messages as m
from eventmill.protocol.codec import Buffer, Frames
from eventmill.protocol.errors import RemoteProtocolError

PONG_SECONDS = 10.0
"""After so long a peer gives up a line that says nothing (`protocol.dial`)."""


class Clock:
    """Virtual time, and what is due when; with `trace`, notes are printed."""

    def __init__(self, trace: bool = False) -> None:
        self.now = 0.0
        self._trace = trace
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()

    def at(self, time: float, act: Callable[..., None], *arguments: Any) -> None:
        heappush(self._heap, (max(time, self.now), next(self._count), act, arguments))

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        heappush(self._heap, (self.now + seconds, next(self._count), act, arguments))

    def step(self) -> None:
        """Let the next thing happen."""
        time, _, act, arguments = heappop(self._heap)
        self.now = time
        act(*arguments)

    def note(self, who: str, what: object) -> None:
        """Something for the trace."""
        if self._trace:
            print(f"{self.now:10.4f}  {who:<24} {what}")


class Stopped:
    """What a process has before it that was stopped (SIGSTOP) and will be continued: it does it later, in the same order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def stop(self, seconds: float) -> None:
        """The process is stopped for so long from now, or longer if it was anyway."""
        if not self._waiting and self._clock.now >= self._until:
            self._clock.after(seconds, self._continue)
        self._until = max(self._until, self._clock.now + seconds)

    def postpones(self, act: Callable[..., None], *arguments: Any) -> bool:
        """Whether the process is stopped: then it will do this later."""
        if self._clock.now >= self._until and not self._waiting:
            return False
        self._waiting.append((act, arguments))
        return True

    def forget(self) -> None:
        """The process is gone."""
        self._waiting.clear()

    def _continue(self) -> None:
        if self._clock.now < self._until:
            self._clock.at(self._until, self._continue)
            return
        waiting, self._waiting = self._waiting, deque()
        for act, arguments in waiting:
            act(*arguments)


class Caller(Protocol):
    """Who owns a dial: an agent or a session."""

    name: str
    role: m.Role

    def connected(self, again: bool) -> None:
        """There is a line to the master, a new one if not the first."""

    def told(self, message: m.Message, frames: Frames) -> None:
        """The master has said something."""


class Listener(Protocol):
    """The master's end of all lines."""

    listening: bool

    def accept(self, line: Line) -> None:
        """Somebody calls."""

    def arrive(self, line: Line, frames: list[Buffer]) -> None:
        """Something has come."""

    def hung_up(self, line: Line) -> None:
        """The end of a line has been noticed."""


class Line:
    """One connection of a caller.

    Attributes:
        identity: what the master calls it.
        up: what the caller says arrives.
        down: what the master says arrives.
        known: the master's end has not noticed that it is broken, if it is.
    """

    def __init__(self, clock: Clock, random: Random, identity: bytes, dial: Dial, listener: Listener) -> None:
        self.identity = identity
        self.dial = dial
        self.up = self.down = self.known = True
        self._clock = clock
        self._random = random
        self._listener = listener
        self._last_up = self._last_down = 0.0
        self._stalled_until = 0.0
        listener.accept(self)

    def say(self, frames: list[Buffer]) -> None:
        """From the caller to the master."""
        if self.up:
            self._last_up = self._arrival(self._last_up)
            self._clock.at(self._last_up, self._arrive, frames)

    def tell(self, frames: list[Buffer]) -> None:
        """From the master to the caller."""
        if self.down:
            self._last_down = self._arrival(self._last_down)
            self._clock.at(self._last_down, self._deliver, frames)

    def stall(self, seconds: float) -> None:
        """Nothing gets through for so long; then all of it does."""
        self._stalled_until = max(self._stalled_until, self._clock.now + seconds)

    def notice(self) -> None:
        """The master's end notices that the line is broken."""
        if self.known:
            self.known = self.up = False
            self._listener.hung_up(self)

    def twist(self, frames: list[Buffer]) -> None:
        """Something arrives at the master that the caller has not said like this, if it is a message at all."""
        with contextlib.suppress(RemoteProtocolError):
            codec.decode(frames)
            self._arrive(frames)

    def _arrival(self, last: float) -> float:
        return max(last, self._stalled_until, self._clock.now) + self._random.choice((0.0001, 0.001, 0.001, 0.02))

    def _arrive(self, frames: list[Buffer]) -> None:
        if self.up:
            self._clock.note(f"{self.identity.decode()} ->", _Shown(frames))
            self._listener.arrive(self, frames)

    def _deliver(self, frames: list[Buffer]) -> None:
        if self.down and self.dial.line is self:
            self._clock.note(f"-> {self.identity.decode()}", _Shown(frames))
            self.dial.take(frames)


class _Shown:
    """Frames as the message that they are, once somebody wants to read it."""

    def __init__(self, frames: list[Buffer]) -> None:
        self._frames = frames

    def __repr__(self) -> str:
        return repr(codec.decode(self._frames)[0])[:200]


class Dial:
    """A caller's end: it calls again whenever its line is broken, and then says first what it had to say meanwhile.

    Args:
        same: it keeps its identity, which ZeroMQ's sockets here do not, but a master must be able to live with.
    """

    def __init__(self, clock: Clock, random: Random, caller: Caller, listener: Listener, same: bool) -> None:
        self.role = caller.role
        self.line: Line | None = None
        self.closed = False
        self.said: list[list[Buffer]] = []
        self.taken: list[list[Buffer]] = []
        self._clock = clock
        self._random = random
        self._caller = caller
        self._listener = listener
        self._same = same
        self._calls = 0
        self._waiting: list[list[Buffer]] = []
        self._clock.after(random.uniform(0.0, 0.05), self._call)

    def send(self, message: m.Message, frames: Frames = ()) -> None:
        """Say something to the master, now or on the next line."""
        encoded = codec.encode(message, frames)
        self.said.append(encoded)
        if self.line is None or not self.line.up:
            self._waiting.append(encoded)
        else:
            self.line.say(encoded)

    def take(self, frames: list[Buffer]) -> None:
        """Something has come from the master."""
        if not self.closed:
            self.taken.append(frames)
            self._caller.told(*codec.decode(frames))

    def cut(self, here: float | None, there: float | None) -> None:
        """The line breaks, and each end notices it after so many seconds: this one at the latest when it gets no answer
        any more, the other one perhaps never."""
        line = self.line
        if line is None:
            return
        line.up = line.down = False
        self._clock.after(PONG_SECONDS if here is None else here, self._lost, line)
        if there is not None:
            self._clock.after(there, line.notice)

    def half_open(self, up: bool) -> None:
        """One direction goes dead; this end notices after a while."""
        line = self.line
        if line is not None:
            line.up, line.down = (False, line.down) if up else (line.up, False)
            self._clock.after(PONG_SECONDS, self._lost, line)

    def close(self, there: float | None) -> None:
        """The process is gone; the other end notices that after a while, or never."""
        line = self.line
        self.closed, self.line = True, None
        if line is not None:
            line.down = False
            if there is None:
                line.up = False
            else:
                self._clock.after(there, line.notice)

    def _lost(self, line: Line) -> None:
        if self.line is line and not self.closed:
            if line.known:  # the other end hears of it too, unless nothing gets through
                line.down = False
                if line.up:
                    self._clock.after(self._random.uniform(0.0, 0.2), line.notice)
            self.line = None
            self._clock.after(self._random.uniform(0.05, 1.0), self._call)

    def _call(self) -> None:
        if self.closed or self.line is not None:
            return
        if not self._listener.listening:
            self._clock.after(self._random.uniform(0.05, 1.0), self._call)
            return
        again = self._calls > 0
        if not (self._same and again):
            self._calls += 1
        identity = f"{self._caller.name}.{self._calls}".encode()
        self.line = Line(self._clock, self._random, identity, self, self._listener)
        waiting, self._waiting, self.taken = self._waiting, [], []
        for frames in waiting:
            self.line.say(frames)
        self._clock.after(self._random.choice((0.0, 0.01)), self._connected, self.line, again)

    def _connected(self, line: Line, again: bool) -> None:
        if self.line is line and not self.closed:
            self._caller.connected(again)
