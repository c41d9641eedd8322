"""The pipes of slots' standard output and error, at the agent's end."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
from dataclasses import dataclass, field
from typing import TextIO

from ...protocol.messages import LogSource
from ...system.descriptors import allow_descriptors
from ..slot_output import Mark, OutputStream
from ..slot_status import SlotStatuses
from .said import Said, Where
from .states import WorkerState

log = logging.getLogger(__name__)

_READ = 64 * 2**10
"""Bytes of a pipe, and of one look into it."""
_FEW = 4096
"""Whoever says less than this at once is looked at again only after `REST`: a print is not to wake the agent each time."""
REST = 0.05
_MOST_READS = 16
"""Of what a slot has said before it reports: whatever it said goes with it, unless there is no end of it."""
_SPARE = 256
"""Descriptors for everything else."""


class Sight:
    """Sees what slots are at.

    Args:
        statuses: of the slots.
        state: of the worker, which knows the files of leases.
    """

    def __init__(self, statuses: SlotStatuses, state: WorkerState) -> None:
        self._statuses = statuses
        self._state = state
        self._last: dict[int, str] = {}
        self._met: dict[int, set[str]] = {}

    def renew(self, slot: int) -> None:
        """A slot has a fresh process, which has worked for nobody."""
        self._last.pop(slot, None)
        self._met.pop(slot, None)

    def look(self, slot: int, mark: Mark | None = None) -> Where:
        """What a slot is at, or was by a mark of its own. At nothing, it is still in the hands of the last query's code.

        A process may name queries only that it was given: others are perhaps another owner's, whose logs it is not to write.
        """
        at = mark or self._statuses.at_work(slot, whole=True)
        if self._state.slots[slot].met:  # of one that is being replaced, its last words are still to come
            self._met[slot] = self._state.slots[slot].met
        if at is None:
            return Where(self._last.get(slot, ""))
        if slot in self._met and at.query not in self._met[slot]:
            return Where()
        self._last[slot] = at.query
        lease = self._state.slots[slot].leases.get((at.query, at.lease))
        if lease is None or at.start == at.stop:
            return Where(at.query, "" if lease is None else lease.file.path)
        return Where(at.query, lease.file.path, at.start, at.stop)


@dataclass(slots=True)
class _Pipe:
    descriptor: int
    slot: int | None
    source: LogSource
    stream: OutputStream = field(default_factory=OutputStream)
    where: Where = field(default_factory=Where)
    rests: float | None = None


class OutputPipes:
    """Reads what slots write, and never waits.

    Args:
        slots: how many there are.
        said: where it goes.
        sight: tells what a slot is at.
    """

    def __init__(self, slots: int, said: Said, sight: Sight) -> None:
        self._said = said
        self._sight = sight
        self._pipes: dict[int, _Pipe] = {}
        self._epoll = select.epoll()
        allow_descriptors(3 * slots + _SPARE)

    def fileno(self) -> int:
        """To poll: there is something to read."""
        return self._epoll.fileno()

    @property
    def due(self) -> float:
        """When `read` is to be called although nothing is there to read; infinity when it need not be."""
        return min((pipe.rests for pipe in self._pipes.values() if pipe.rests is not None), default=float("inf"))

    def open(self, slot: int) -> list[int]:
        """Make the pipes of a new process of a slot: the ends for it, its standard output and error, to be closed here.
        None when there are no descriptors left: the process writes to where its forkserver writes then.
        """
        self._sight.renew(slot)
        ends: list[int] = []
        try:
            for source in ("stdout", "stderr"):
                ours, theirs = os.pipe()
                ends.append(theirs)
                self.add(ours, slot, "stdout" if source == "stdout" else "stderr")
        except OSError as error:
            log.warning("what slot %d says is not told apart: %s", slot, error)
            for end in ends:
                os.close(end)
            self.close(slot, 0.0)
            return []
        return ends

    def add(self, descriptor: int, slot: int | None, source: LogSource) -> None:
        """Read this one too, and close it in the end."""
        os.set_blocking(descriptor, False)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._pipes[descriptor] = _Pipe(descriptor, slot, source)

    def read(self, now: float) -> None:
        """Take in what is there."""
        for pipe in self._pipes.values():
            if pipe.rests is not None and now >= pipe.rests:
                pipe.rests = None
                self._epoll.modify(pipe.descriptor, select.EPOLLIN)
        for descriptor in sorted(descriptor for descriptor, _ in self._epoll.poll(0)):  # output before errors
            pipe = self._pipes[descriptor]
            size = self._read(pipe, now)
            if size == 0:
                self._end(pipe, now)
            elif size is not None and size < _FEW:
                pipe.rests = now + REST
                self._epoll.modify(descriptor, 0)

    def drain(self, slot: int | None, now: float) -> None:
        """Take in what a slot has said so far."""
        for pipe in [pipe for pipe in self._pipes.values() if pipe.slot == slot]:
            for _ in range(_MOST_READS):
                if not self._read(pipe, now):
                    break
            if pipe.stream.holds_text and self._where(pipe, None) != pipe.where:
                self._flush(pipe, now)

    def close(self, slot: int | None, now: float) -> None:
        """The process is gone: take in its last words."""
        self.drain(slot, now)
        for pipe in [pipe for pipe in self._pipes.values() if pipe.slot == slot]:
            self._end(pipe, now)
        if slot is not None:
            self._said.forget(slot)

    def close_all(self, now: float) -> None:
        """All processes are gone."""
        for slot in {pipe.slot for pipe in self._pipes.values()}:
            self.close(slot, now)

    def end(self) -> None:
        """Nothing is read any more."""
        self.close_all(0.0)
        self._epoll.close()

    def _read(self, pipe: _Pipe, now: float) -> int | None:
        """Read once; how many bytes came: none when nothing will come any more, None when nothing is there now."""
        before = self._where(pipe, None)
        try:
            data = os.read(pipe.descriptor, _READ)
        except BlockingIOError:
            return None
        if pipe.stream.holds_text and before != pipe.where:  # the end of that line would have come by now
            self._flush(pipe, now)
        pipe.where = self._where(pipe, None)  # what is of before, and was unread when that ended, is marked
        for token, mark in pipe.stream.feed(data):
            self._said.add(pipe.slot, pipe.source, self._where(pipe, mark) if mark else pipe.where, token, now)
        return len(data)

    def _flush(self, pipe: _Pipe, now: float) -> None:
        """What waits for the end of its line is all of it."""
        for token, _ in pipe.stream.feed(b"", last=True):
            self._said.add(pipe.slot, pipe.source, pipe.where, token, now)

    def _end(self, pipe: _Pipe, now: float) -> None:
        self._flush(pipe, now)
        del self._pipes[pipe.descriptor]
        self._epoll.unregister(pipe.descriptor)
        os.close(pipe.descriptor)

    def _where(self, pipe: _Pipe, mark: Mark | None) -> Where:
        return Where() if pipe.slot is None else self._sight.look(pipe.slot, mark)


def echo(said: Said) -> None:
    """Write what was said to the worker's own output, as much as that takes without waiting."""
    if not said.echo:
        return
    lines, said.echo = said.echo, []
    for to, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if text := "".join(f"{line}\n" for where, line in lines if where == to):
            _write(stream, text.encode(errors="backslashreplace"))


def _write(stream: TextIO, data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there is none, or it is full
        stream.flush()
        number = stream.fileno()
        writable = select.poll()
        writable.register(number, select.POLLOUT)
        while data and any(events & select.POLLOUT for _, events in writable.poll(0)):
            data = data[os.write(number, data[: select.PIPE_BUF]) :]
