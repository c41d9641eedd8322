"""The master of a simulated world: the real core, the real merger without its thread, the real journal in memory.

It does what `master.serve` does, in virtual time, and can die between any two effects: then what was not written to the
journal is lost, and the next life goes on from what was.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from math import inf
from pathlib import Path
from random import Random

from eventmill.master import effects, journal_life
from eventmill.master import journal as journals
from eventmill.master.core import MasterCore
from eventmill.master.intake import Merged
from eventmill.master.journal import Journal
from eventmill.master.journal_database import TABLES, transaction
from eventmill.master.journal_life import Life
from eventmill.master.journal_tables import Tables
from eventmill.master.merger import Answer, Crowded, Merger, Taken, Unmergeable
from eventmill.master.miniatures import Shrunk
from eventmill.master.parts import Picked
from eventmill.master.recorder import Record, Recorder, Retrieved, Task, Tidied, Written
from eventmill.protocol import codec
from eventmill.protocol.codec import Buffer
from eventmill.system.content_folder import ContentFolder

from .clock import Clock, Line, Stopped

PYTHON = "3.11"


class _Memory(sqlite3.Connection):
    """A database that is closed when nobody has it any more: masters that are killed close nothing."""

    def __del__(self) -> None:
        self.close()


class MemoryFolder(ContentFolder):
    """The folder of attachments beside a journal, in memory."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))
        self._contents: dict[str, bytes] = {}

    def add(self, digest: str, content: bytes | memoryview) -> None:
        self._contents[digest] = self._contents.pop(digest, None) or bytes(content)

    def content(self, digest: str) -> memoryview:
        if digest not in self._contents:
            raise FileNotFoundError(digest)
        return memoryview(self._contents[digest])

    def trim(self, used: Collection[str], most: int) -> None:
        """Those that were added last stay, as far as they have room."""
        for digest in [digest for digest in reversed(self._contents) if digest not in used]:
            most -= len(self._contents[digest])
            if most < 0:
                del self._contents[digest]


class NoLock:
    """Of what nobody else can open."""

    told = None

    def tell(self, journal: str, writes: int) -> None:
        """There is no file to write it into."""


class MemoryJournal(Journal):
    """A journal whose database is in memory, and outlives the masters that use it.

    Args:
        database: what an earlier one has left.
        attachments: so it has, too.

    Attributes:
        full: so is its disk.
    """

    def __init__(self, database: sqlite3.Connection | None = None, attachments: MemoryFolder | None = None) -> None:
        self.quota, self.age, self.full = journals.QUOTA, journals.AGE, False
        self.path = None  # type: ignore[assignment]
        self._waiting = {}
        self._attachments, self._used, self._kept = attachments or MemoryFolder(), None, None
        if database is None:
            database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=_Memory)
            database.executescript(f"PRAGMA foreign_keys = ON; {TABLES}")
            journal_life.begin(database)
        self._database, self._durable = database, False
        self._tables = Tables(database, self._attachments)
        self._life = Life(database, NoLock())  # type: ignore[arg-type]
        self._running = self._tables.running()

    def next(self) -> MemoryJournal:
        """What the next master finds: what was written, and nothing else."""
        return MemoryJournal(self._database, self._attachments)

    def shrink(self) -> None:
        """There is no file."""

    def close(self) -> None:
        self._database.close()

    @contextlib.contextmanager
    def _writing(self, at_once: bool = False) -> Iterator[None]:
        """As there, but for the files."""
        with self._reporting(), transaction(self._database):
            yield
            self._life.write()
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
        self._life.written()


class StepMerger(Merger):
    """The merger, one task at a time when it is told to."""

    def __init__(self, journal: Journal | None) -> None:
        self._sums = {}
        self._free = lambda: 2**60
        self._recorder = self.recorder = StepRecorder(journal)


class StepRecorder(Recorder):
    """The recorder, beside the merger: what it was told is done one after the other, when it is told to."""

    def __init__(self, journal: Journal | None) -> None:
        super().__init__(journal)
        self.told: deque[Callable[[], Record | None]] = deque()

    def merged(self, query: str, parts: Collection[tuple[int, int, int]]) -> None:
        if parts:
            self.told.append(partial(super().merged, query, list(parts)))  # type: ignore[arg-type]

    def checkpoint(self, task: effects.Checkpoint, total: codec.Frames) -> None:
        self.told.append(partial(super().checkpoint, task, total))

    def do(self, task: Task) -> None:
        self.told.append(partial(super().do, task))


class Master:
    """Lives one after the other.

    Args:
        journaled: it has a journal.
        may_die: asked between effects.
    """

    def __init__(self, clock: Clock, random: Random, journaled: bool, may_die: Callable[[], bool]) -> None:
        self.listening = False
        self.core = MasterCore("test", PYTHON)
        self.journal = MemoryJournal() if journaled else None
        self.lives = 0
        self._messages = 0
        self._clock = clock
        self._random = random
        self._may_die = may_die
        self._lines: dict[bytes, Line] = {}
        self._accepted: dict[Line, None] = {}
        self._merger = StepMerger(self.journal)
        self._tasks: deque[effects.MergerTask] = deque()
        self._merging = self._recording = False
        self._stopped = Stopped(clock)
        self._ahead = 0.0
        self._wall = 0.0
        self._due = inf
        self.start()

    @property
    def now(self) -> float:
        """Its clock."""
        return self._clock.now + self._ahead

    # --- what happens to it -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life: with a clock that starts anywhere, and goes on from the journal."""
        self.lives += 1
        self._ahead = self._random.uniform(0.0, 1000.0)
        self.listening, self._stopped, self._due = True, Stopped(self._clock), inf
        if self.journal is not None:
            self.journal = self.journal.next()
        self._merger, self._merging, self._recording = StepMerger(self.journal), False, False
        self.core = MasterCore("test", PYTHON, f"{self.lives}-", self.journal is not None)
        saved = self.journal.load() if self.journal is not None else []
        self._carry_out(self.core.restore(saved, self.now, time.time() + self._wall))

    def die(self, seconds: float, notice: Callable[[], float | None]) -> None:
        """The process is killed, and started again after a while; `notice` says when callers hear of it."""
        if not self.listening:
            return
        self.listening = False
        self._stopped.forget()
        self._tasks.clear()
        lines, self._accepted, self._lines = self._accepted, {}, {}
        for line in lines:
            line.known = False
            line.dial.cut(notice(), None)
        self._clock.after(seconds, self.start)

    def end(self, seconds: float) -> None:
        """The process is told to end: it writes down what it has, and is started again after a while."""
        if self.listening:
            for effect in self.core.suspend():
                assert not isinstance(effect, effects.Send | effects.Exit)
                self._tasks.append(effect)
            while self._tasks:
                self._merger.do(self._tasks.popleft())
            while self._merger.recorder.told:
                self._merger.recorder.told.popleft()()
            self.die(seconds, lambda: self._random.uniform(0.0, 0.1))

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        if self.listening:
            self._stopped.stop(seconds)

    def jump(self, seconds: float) -> None:
        """Its clock jumps ahead."""
        self._ahead += seconds
        self._plan()

    def jump_wall(self, seconds: float) -> None:
        """The clock on the wall jumps, to where it likes."""
        self._wall += seconds

    # --- its lines --------------------------------------------------------------------------------------------------

    def accept(self, line: Line) -> None:
        """Somebody calls; who it is, the first message tells."""
        self._accepted[line] = None

    def arrive(self, line: Line, frames: list[Buffer]) -> None:
        """A message has come."""
        if self._absent(self.arrive, line, frames):
            return
        if line.known:
            self._lines[line.identity] = line
            message, rest = codec.decode(frames)
            self._messages += 1  # what follows from every second one comes later, as from those that come together
            more = self._messages % 2 == 0
            self._carry_out(self.core.receive(line.identity, line.dial.role, message, rest, self.now, more))

    def hung_up(self, line: Line) -> None:
        """A line has ended: if there is no other to that peer, it is gone."""
        if self._absent(self.hung_up, line):
            return
        self._accepted.pop(line, None)
        if self._lines.get(line.identity) is line:
            del self._lines[line.identity]
            self._carry_out(self.core.disconnected(line.identity, self.now))

    def _absent(self, act: Callable[..., None], *arguments: object) -> bool:
        """Whether it is dead, or has been stopped: then it will do this later."""
        return not self.listening or self._stopped.postpones(act, *arguments)

    # --- effects ----------------------------------------------------------------------------------------------------

    def _carry_out(self, todo: list[effects.Effect]) -> None:
        waiting = deque(todo)
        gone: dict[bytes, None] = {}
        while (waiting or gone) and self.listening:
            if not waiting:
                peer = next(iter(gone))
                del gone[peer]
                waiting.extend(self.core.disconnected(peer, self.now))
                continue
            effect = waiting.popleft()
            if isinstance(effect, effects.Send):
                line = self._lines.get(effect.peer)
                if line is None or not line.known:
                    gone[effect.peer] = None
                else:
                    line.tell(codec.encode(effect.message, effect.frames))
            else:
                assert not isinstance(effect, effects.Exit)
                self._tasks.append(effect)
            if self._may_die():
                self.die(self._random.uniform(0.1, 10.0), lambda: self._random.uniform(0.0, 0.2))
        if self.listening:
            self._plan()
            if self._tasks and not self._merging:
                self._merging = True
                self._clock.after(self._random.choice((0.0, 0.002, 0.02)), self._merge, self.lives)
            if self._merger.recorder.told and not self._recording:
                self._recording = True
                self._clock.after(self._random.choice((0.0, 0.002, 0.5)), self._record, self.lives)

    def _merge(self, life: int) -> None:
        """The merger does its next task."""
        if life != self.lives or self._absent(self._merge, life):
            return
        self._merging = False
        if self._tasks:
            answer = self._merger.do(self._tasks.popleft())
            if answer is not None:
                self._clock.after(0.003, self._collect, life, answer)
            self._carry_out([])

    def _record(self, life: int) -> None:
        """The recorder does the next thing that it was told."""
        if life != self.lives or self._absent(self._record, life):
            return
        self._recording = False
        if self._merger.recorder.told:
            answer = self._merger.recorder.told.popleft()()
            if answer is not None:
                self._clock.after(0.003, self._collect, life, answer)
            self._carry_out([])

    def _collect(self, life: int, answer: Answer) -> None:
        """The loop hears of what the merger has done."""
        if life == self.lives and not self._absent(self._collect, life, answer):
            self._carry_out(self._answered(answer))

    def _answered(self, answer: Answer) -> list[effects.Effect]:
        core, now = self.core, self.now
        match answer:
            case Taken():
                return core.taken(answer.query, answer.frames, answer.final, now, answer.parts)
            case Shrunk() | Picked() | Merged():
                return core.made(answer, now)
            case Crowded():
                return core.crowded(answer.query, answer.frames, now)
            case Unmergeable():
                return core.merge_failed(answer.query, answer.failure, now, answer.left_out)
            case Written():
                return core.written(answer.query, 0.0, answer.note, now, answer.ended)
            case Retrieved():
                return core.retrieved(answer.query, answer.peer, answer.end, answer.frames, answer.problem, now)
            case Tidied():
                return core.tidied(answer.removed, answer.written, now)

    # --- timers -----------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Be woken at the core's deadline; a poll takes whole milliseconds."""
        due = self.core.deadline() - self._ahead + 0.001
        if due < self._due:
            self._due = due
            self._clock.at(due, self._expire, self.lives, due)

    def _expire(self, life: int, due: float) -> None:
        if life != self.lives or due != self._due or self._absent(self._expire, life, due):
            return
        self._due = inf
        if self.now >= self.core.deadline():
            self._carry_out(self.core.expire(self.now))
        else:
            self._plan()
