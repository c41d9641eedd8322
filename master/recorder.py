"""What the merger has to do with the journal: tells it what happens, and tells the core how that went.

A master of a session's own has no journal; then nothing is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ..protocol.codec import Buffer, Frames
from ..protocol.errors import QueryFailed
from ..protocol.messages import Ended
from .effects import Checkpoint, Remove, Retrieve, SaveEnd, SaveLosses, SaveOpened, SaveSkipped, SaveSubmission, Tidy
from .journal import Journal, Unwritten, Vanished

log = logging.getLogger(__name__)

Task = SaveSubmission | SaveOpened | SaveLosses | SaveSkipped | SaveEnd | Retrieve | Remove | Tidy


@dataclass(frozen=True, slots=True)
class Written:
    """The journal was written, in so many seconds; or could not be: then `note` says to the query's user what that means.
    It was to have the end of the query, if that has `ended`."""

    query: str
    seconds: float
    note: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Retrieved:
    """How a query ended, for a peer; or why nobody knows."""

    query: str
    peer: bytes
    end: Ended | None
    frames: list[Buffer]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tidied:
    """The queries whose results were removed, and whether all is written that was to be."""

    removed: list[str]
    written: bool


Record = Written | Retrieved | Tidied


class Recorder:
    """Writes the journal, when there is one.

    Args:
        journal: where to; closed by `close`.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._started = time.time()
        self._before = (0.0 if journal is None else journal.ran) - time.monotonic()
        """What makes of a moment the time for which masters have run: no clock that is set has a part in it."""
        self._saved_at: dict[str, float | None] = {}
        """When the total of a query was written last; None while not even its submission is."""

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def merged(self, query: str, parts: Collection[tuple[int, int, int]]) -> None:
        """The total of a query, which the journal has, holds these parts from now on."""
        if self._journal is not None and parts:
            self._journal.merged(query, parts)

    def checkpoint(self, task: Checkpoint, total: Frames) -> Written | None:
        """Write the total of a query."""
        journal = self._journal
        if journal is None:
            return None
        written = self._write(task.query, lambda: journal.checkpoint(task.query, total, task.account, task.report))
        if not written.note:
            self._saved_at[task.query] = time.time()
        return written

    def do(self, task: Task) -> Record | None:
        """Do a task that has nothing to do with totals."""
        journal, now, ran = self._journal, time.time(), self._before + time.monotonic()
        if journal is None:
            return None
        match task:
            case SaveSubmission(query, submit, frames, attachments):
                self._saved_at[query] = None
                written = self._write(query, lambda: journal.submitted(query, submit, frames, now, attachments))
                if not written.note:
                    self._saved_at[query] = now
                return written
            case SaveOpened():
                journal.opened(task.query, task.file, task.opened)
            case SaveLosses():
                for loss in task.losses:
                    journal.lost(task.query, loss)
            case SaveSkipped():
                journal.skipped(task.query, task.failure, task.frames)
            case SaveEnd(query, ended, frames):
                self._saved_at.pop(query, None)
                return replace(self._write(query, lambda: journal.ended(query, ended, frames, ran)), ended=True)
            case Remove(query):
                return self._write(query, lambda: journal.remove(query))
            case Retrieve():
                return self._retrieve(journal, task)
            case Tidy():
                return self._tidy(journal, ran)
        return None

    def _write(self, query: str, write: Callable[[], None]) -> Written:
        before = time.monotonic()
        try:
            write()
        except Unwritten as error:
            log.error("%s", error)
            return Written(query, time.monotonic() - before, self._note(query, error))
        return Written(query, time.monotonic() - before)

    def _note(self, query: str, error: Unwritten) -> str:
        """What it means to the user of a query that the journal cannot be written."""
        since = self._saved_at.get(query, self._started)
        lost = "this query is lost"
        if since is not None and not isinstance(error, Vanished):
            lost = f"work since {time.strftime('%H:%M:%S', time.localtime(since))} is done again"
        return f"the journal cannot be written ({error.__cause__}): if the master dies now, {lost}"

    @staticmethod
    def _retrieve(journal: Journal, task: Retrieve) -> Retrieved:
        try:
            return Retrieved(task.query, task.peer, *journal.end(task.query))
        except QueryFailed as error:
            return Retrieved(task.query, task.peer, None, [], str(error))

    @staticmethod
    def _tidy(journal: Journal, ran: float) -> Tidied:
        removed: list[str] = []
        try:
            journal.flush()
            removed = journal.trim(ran)
            journal.shrink()
        except Unwritten as error:
            log.error("%s", error)
            return Tidied(removed, written=False)
        return Tidied(removed, written=True)
