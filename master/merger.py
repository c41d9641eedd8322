"""The merger: a thread that adds partial results up, so that merging never delays a lease.

Tasks are done in the order in which they come, so a snapshot holds exactly what was merged before it was asked for. So does
what is written to the journal, by another thread that this one tells in the same order (`recording.py`).
Answers are taken off `answers` by the loop, which polls `wakeup`. For one that nobody waits for it is not woken: it finds
that in its next turn.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import zmq

from ..merge import Partial, Total, dense_sizes, keys_in, miniature
from ..protocol.codec import MAX_FRAME, MAX_FRAMES, Buffer, Frames
from ..protocol.counts import FAULT
from ..protocol.errors import CountError, MergeError, RemoteProtocolError
from ..protocol.messages import AskPart, Failure
from ..system.free_memory import free_memory
from .broken import failure_of
from .effects import Checkpoint, Drop, Merge, MergerTask, Pick, Replace, Retrieve, Shrink, Take, Tidy
from .intake import Merged
from .journal import Journal
from .miniatures import Shrunk
from .parts import Picked
from .recorder import Record, Recorder, Retrieved, Tidied, Written
from .recording import RecordingThread, Told

log = logging.getLogger(__name__)

MOST_OBJECTS = 32
"""Pickled objects that a total may hold side by side before a slot is asked to merge them."""
LARGEST = MAX_FRAME * 3 // 4
"""Bytes of an array from which on it may not grow: what is on its way to be merged is to have room, too."""
MOST_FRAMES = MAX_FRAMES * 3 // 4
"""The same of the number of arrays."""
MOST_UNSEEN = 64 << 20
"""Bytes that are merged between two looks, at least."""
COPIES = 2
"""Of a total for which there is to be memory while it grows: one that is on its way while more is added, and one for who
gets it, who may be on the same machine."""
LARGE_RESULT = 2**20
"""Bytes of a result from which on sessions get what they look at."""
PINNED_SECONDS = 60.0
"""How long who has read one thing of a result can read another one of the same entries."""
_INSTEAD = "write rows to files (em.write), fill histograms, or process the rest as a query of its own"


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of a query's total; of a large one that goes on `parts` by the keys that are wanted, and no frames if
    nobody wants the whole."""

    query: str
    frames: list[Buffer]
    final: bool
    parts: Mapping[bytes, list[Buffer]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crowded:
    """A total holds so many pickled objects that a slot must merge them; it is set aside until `Replace`."""

    query: str
    frames: list[Buffer]


@dataclass(frozen=True, slots=True)
class Unmergeable:
    """Partial results of a query that do not fit together. The total holds all but what was `left_out`; None: what it holds,
    nobody knows."""

    query: str
    failure: Failure
    left_out: Merge | None = None


Answer = Taken | Merged | Shrunk | Picked | Crowded | Unmergeable | Record


@dataclass(slots=True)
class Growth:
    """Watches whether a total becomes too large to be sent, or for the memory that there is. It is measured now and then:
    lists are joined for that.

    Attributes:
        size, frames: that were merged since the last look.
        whole: bytes of the total then; so `largest`, those of its largest array, and how `many` frames it had.
    """

    size: int = 0
    frames: int = 0
    whole: int = 0
    largest: int = 0
    many: int = 0

    def look(self, total: Total, frames: Frames, free: Callable[[], int] = free_memory) -> str:
        """After these were added: what grows and should grow no more, in words; empty if nothing does. `free` tells the
        bytes that there are still."""
        self.size += dense_sizes(frames)
        self.frames += len(frames)
        if self.size < max(MOST_UNSEEN, self.whole // 16) and self.frames < MOST_FRAMES // 8:
            return ""
        whole, before, many = self.whole, self.largest, self.many
        lengths = total.frame_sizes
        self.size, self.frames, self.whole = 0, 0, sum(lengths)
        self.largest, self.many = max(lengths), len(lengths)
        if self.largest > LARGEST and 0 < before < self.largest:
            return (
                f"an array of {self.largest / 2**30:.1f} GiB, and one of {MAX_FRAME / 2**30:.0f} GiB could not be sent"
            )
        if self.many > MOST_FRAMES and 0 < many < self.many:
            return f"{self.many:,} objects and large arrays, and {MAX_FRAMES:,} could not be sent"
        if 0 < whole < self.whole and (left := free()) < COPIES * self.whole:
            return f"{self.whole / 2**30:.1f} GiB, and the master's machine has {left / 2**30:.1f} GiB of memory left"
        return ""


@dataclass(slots=True)
class Sum:
    """The total of a query, and the part of it that a slot is compacting."""

    total: Total = field(default_factory=Total)
    aside: Partial | None = None
    growth: Growth = field(default_factory=Growth)
    pinned: Total | None = None
    pinned_until: float = 0.0

    def parts(self, keys: Iterable[bytes]) -> dict[bytes, list[Buffer]]:
        """What is under each of these keys, if it is large and has parts."""
        if self.aside is not None or self.total.nbytes <= LARGE_RESULT:
            return {}
        taken = {it: self.total.part(keys_in(it)) for it in keys}
        return {it: part.to_frames(thin=True) for it, part in taken.items() if part is not None}

    def pick(self, asked: AskPart, now: float) -> tuple[list[Buffer], bool]:
        """What is asked for, and whether it is a part. Who asks for more of the same before long is to get it."""
        if self.aside is not None:
            return self.partial().to_frames(thin=True), False
        if self.pinned is None or not asked.entries or self.pinned.entries != asked.entries:
            self.pinned = self.total.copy()
        self.pinned_until = now + PINNED_SECONDS
        part = None if asked.whole else self.pinned.part(keys_in(asked.keys))
        return (self.pinned if part is None else part).to_frames(thin=True), part is not None

    def unpin(self, now: float) -> None:
        """Nobody has asked for more of the same."""
        if now > self.pinned_until:
            self.pinned = None

    def partial(self) -> Partial:
        """All of it, the part that is set aside included."""
        if self.aside is None:
            return self.total.partial()
        whole = Total()
        whole.add(self.aside)
        whole.add(self.total.partial())
        return whole.partial()

    def to_frames(self) -> list[Buffer]:
        """The same as frames, in which large arrays that are nearly empty take little."""
        return (self.total if self.aside is None else self.partial()).to_frames(thin=True)


class Merger:
    """Holds the totals of all running queries.

    Args:
        context: for the socket that wakes the loop.
        journal: where they are written, and closed at the end; None when they need not outlive the master.
        free: tells the bytes of memory that there are still.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        journal: Journal | None = None,
        free: Callable[[], int] = free_memory,
    ) -> None:
        self._free = free
        self.answers: deque[Answer] = deque()
        self._tasks: queue.SimpleQueue[MergerTask | None] = queue.SimpleQueue()
        self._sums: dict[str, Sum] = {}
        self._broken: set[str] = set()
        self.wakeup = context.socket(zmq.PULL)
        address = f"inproc://merger-{id(self)}"  # the one of before may be closed, and its address still taken
        self.wakeup.bind(address)
        self._wakers = [context.socket(zmq.PUSH) for _ in range(2)]
        for waker in self._wakers:
            waker.connect(address)
        self._recorder: Recorder | RecordingThread = Recorder(journal)
        if journal is not None:
            self._recorder = RecordingThread(self._recorder, partial(self._say, waker), partial(self._unwritten, waker))
        self._thread = threading.Thread(target=self._run, name="merger", daemon=True)
        self._thread.start()

    def ask(self, task: MergerTask) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def close(self) -> None:
        """Do what is queued, and end."""
        self._tasks.put(None)
        self._thread.join()
        self._recorder.close()
        for waker in self._wakers:
            waker.close()
        self.wakeup.close()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            answers = [self._answer(task)]
            if isinstance(task, Merge) and task.is_large:
                answers.append(Merged(task.query, task.size))
            for answer in answers:
                if answer is not None:
                    self._say(self._wakers[0], answer)
            del task, answer, answers  # who waits holds no result

    def _say(self, waker: zmq.Socket[bytes], answer: Answer) -> None:
        self.answers.append(answer)
        if not (isinstance(answer, Written) and answer.ended):  # its sessions have been told of the end before
            waker.send(b"")

    def _unwritten(self, waker: zmq.Socket[bytes], told: Told, error: Exception) -> None:
        self._say(waker, self._failed_at(told, error))

    def _answer(self, task: MergerTask) -> Answer | None:
        """Do a task. After an error of ours in it nobody knows what its query's total holds: nothing more is made of it,
        and nothing of it is written."""
        if isinstance(task, Merge | Take | Replace | Drop | Checkpoint) and task.query in self._broken:
            if isinstance(task, Drop):
                self._broken.discard(task.query)
            return None
        try:
            return self.do(task)
        except Exception as error:
            return self._failed_at(task, error)

    def _failed_at(self, task: MergerTask, error: Exception) -> Answer:
        """What is answered after an error of ours, in either thread."""
        log.error("%s failed", type(task).__name__, exc_info=error)
        if isinstance(task, Tidy):
            return Tidied([], written=False)
        if isinstance(task, Pick):
            return Picked(task.query, task.peer, task.asked.request, [], False)
        if isinstance(task, Shrink):
            return Shrunk(task.query, task.peer, task.asked.request, [], 0)
        failure = failure_of(task.query, type(task).__name__, error)
        if isinstance(task, Retrieve):
            return Retrieved(task.query, task.peer, None, [], failure.message)
        if isinstance(task, Merge | Take | Replace | Checkpoint):
            self._broken.add(task.query)
            self._sums.pop(task.query, None)
        return Unmergeable(task.query, failure)

    def do(self, task: MergerTask) -> Answer | None:
        """Do one task. An error of ours leaves it; that partial results do not fit together is an answer."""
        try:
            return self._do(task)
        except (CountError, MergeError, RemoteProtocolError) as error:
            if isinstance(task, Tidy):
                raise
            left_out = task if isinstance(task, Merge) and isinstance(error, MergeError) else None
            return Unmergeable(task.query, Failure("analysis", type(error).__name__, str(error)), left_out)

    def _do(self, task: MergerTask) -> Answer | None:
        match task:
            case Merge():
                sum_ = self._sums.setdefault(task.query, Sum())
                sum_.unpin(time.monotonic())
                sum_.total.add_frames(task.frames)
                if not task.unwritten:
                    self._recorder.merged(task.query, task.parts)
                if grown := sum_.growth.look(sum_.total, task.frames, self._free):
                    failure = Failure("analysis", "MergeError", f"the result has {grown}; {_INSTEAD}")
                    return Unmergeable(task.query, failure, Merge(task.query, (), ()))
                return self._set_aside(task.query, sum_, MOST_OBJECTS)
            case Take():
                sum_ = self._sums.get(task.query, Sum())
                if not task.final and (parts := sum_.parts(task.keys)):
                    return Taken(task.query, sum_.to_frames() if task.whole else [], task.final, parts)
                crowded = self._set_aside(task.query, sum_, 1) if task.final and not task.as_is else None
                return crowded or Taken(task.query, sum_.to_frames(), task.final)
            case Pick(query, peer, asked):
                picked = self._sums.get(query, Sum()).pick(asked, time.monotonic())
                return Picked(query, peer, asked.request, *picked)
            case Shrink(query, peer, asked):
                sum_ = self._sums.get(query, Sum())
                whole = sum_.partial()
                small = Partial(miniature(whole.tree, asked.names, asked.windows), whole.entries)
                return Shrunk(query, peer, asked.request, small.to_frames(), sum_.total.nbytes)
            case Replace():
                sum_ = self._sums[task.query]
                compacted = Total()
                compacted.add_frames(task.frames)
                aside = 0 if sum_.aside is None else sum_.aside.entries
                if compacted.entries != aside:
                    raise CountError(
                        f"query {task.query}: a slot was given a total of {aside:,} entries, to merge the objects in it, "
                        f"and gave back one of {compacted.entries:,}: {FAULT}"
                    )
                compacted.add(sum_.total.partial())
                self._sums[task.query] = Sum(compacted)
            case Drop():
                self._sums.pop(task.query, None)
            case Checkpoint():
                return self._recorder.checkpoint(task, self._sums.get(task.query, Sum()).to_frames())
            case _:
                return self._recorder.do(task)
        return None

    def _set_aside(self, query: str, sum_: Sum, most: int) -> Crowded | None:
        """Set the total aside for compaction when it holds more than `most` pickled objects of one kind."""
        if sum_.aside is not None:
            return None
        if sum_.total.pickled_parts <= most:
            return None
        partial = sum_.total.partial()
        sum_.aside, sum_.total = partial, Total()
        return Crowded(query, partial.to_frames())
