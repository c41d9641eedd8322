"""Writing to the journal beside merging: a large total on its way to a slow disk keeps nobody from a result.

What is to be written is done in the order in which the merger tells it, which is that of the core. A total is as it was when
the merger came to its checkpoint, and so are the ranges that go with it: they were told before.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from functools import partial

from ..protocol.codec import Frames
from .effects import Checkpoint, Merge, SaveEnd
from .recorder import Record, Recorder, Task

Told = Merge | Checkpoint | Task
Act = Callable[[], Record | None]


class RecordingThread:
    """Has a recorder do what it is told, one after the other, in a thread of its own.

    Args:
        recorder: with its journal, which nobody else uses until `close`.
        answered: is called with answers, in that thread.
        failed: the same with what was to be done, when an error of ours came in its way. Of a query whose total is concerned
            nothing more is written.
    """

    def __init__(
        self, recorder: Recorder, answered: Callable[[Record], None], failed: Callable[[Told, Exception], None]
    ) -> None:
        self._recorder = recorder
        self._answered = answered
        self._failed = failed
        self._told: queue.SimpleQueue[tuple[Told, Act] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def merged(self, query: str, parts: Collection[tuple[int, int, int]]) -> None:
        """As `Recorder.merged`."""
        if parts:
            self._told.put((Merge(query, (), list(parts)), partial(self._recorder.merged, query, parts)))

    def checkpoint(self, task: Checkpoint, total: Frames) -> Record | None:
        """As `Recorder.checkpoint`, but the answer comes later; `total` is held until it is written."""
        self._told.put((task, partial(self._recorder.checkpoint, task, total)))
        return None

    def do(self, task: Task) -> Record | None:
        """As `Recorder.do`, but the answer comes later."""
        self._told.put((task, partial(self._recorder.do, task)))
        return None

    def close(self) -> None:
        """Do what was told, and close the journal."""
        self._told.put(None)
        self._thread.join()
        self._recorder.close()

    def _run(self) -> None:
        broken: set[str] = set()
        while (told := self._told.get()) is not None:
            task, act = told
            if not (isinstance(task, Merge | Checkpoint) and task.query in broken):
                try:
                    answer = act()
                except Exception as error:
                    if isinstance(task, Merge | Checkpoint):
                        broken.add(task.query)
                    self._failed(task, error)
                else:
                    if answer is not None:
                        self._answered(answer)
            if isinstance(task, SaveEnd):
                broken.discard(task.query)
            del told, task, act  # who waits holds no total
