"""The merger: a thread that adds partial results up, so that merging never delays a lease.

Tasks are done in the order in which they come, so a snapshot holds exactly what was merged before it was asked for.
Answers are taken off `answers` by the loop, which polls `wakeup`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from dataclasses import dataclass

import zmq

from ..merge import Partial, Total
from ..protocol.codec import Buffer
from ..protocol.errors import MergeError, RemoteProtocolError
from ..protocol.messages import Failure
from .effects import Drop, Merge, MergerTask, Take

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of a query's total."""

    query: str
    frames: list[Buffer]
    final: bool


@dataclass(frozen=True, slots=True)
class Unmergeable:
    """Partial results of a query that do not fit together."""

    query: str
    failure: Failure


class Merger:
    """Holds the totals of all running queries.

    Args:
        context: for the socket that wakes the loop.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.answers: deque[Taken | Unmergeable] = deque()
        self._tasks: queue.SimpleQueue[MergerTask | None] = queue.SimpleQueue()
        self._totals: dict[str, Total] = {}
        self.wakeup = context.socket(zmq.PULL)
        self.wakeup.bind("inproc://merger")
        self._waker = context.socket(zmq.PUSH)
        self._waker.connect("inproc://merger")
        self._thread = threading.Thread(target=self._run, name="merger", daemon=True)
        self._thread.start()

    def ask(self, task: MergerTask) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def close(self) -> None:
        """Do what is queued, and end."""
        self._tasks.put(None)
        self._thread.join()
        self._waker.close()
        self.wakeup.close()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            answer: Taken | Unmergeable | None = None
            try:
                answer = self._do(task)
            except (MergeError, RemoteProtocolError) as error:
                answer = Unmergeable(task.query, Failure("analysis", type(error).__name__, str(error)))
            except Exception as error:
                log.exception("merging failed")
                text = f"merging failed in the master: {type(error).__name__}: {error}"
                answer = Unmergeable(task.query, Failure("analysis", "MergeError", text))
            if answer is not None:
                self.answers.append(answer)
                self._waker.send(b"")

    def _do(self, task: MergerTask) -> Taken | None:
        match task:
            case Merge():
                total = self._totals.setdefault(task.query, Total())
                total.add(Partial.from_frames(task.frames))
            case Take():
                total = self._totals.get(task.query, Total())
                return Taken(task.query, total.partial().to_frames(), task.final)
            case Drop():
                self._totals.pop(task.query, None)
        return None
