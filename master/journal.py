"""The journal of a standing master: what it needs to go on where it was, after `kill -9` or a reboot.

One SQLite database (in WAL mode) keeps the queries that run, the files that were opened for them, the entries that are lost
and the results of queries that are over. The one promise that everything rests on:

    the total of a query and the ranges it holds are written in one transaction.

So whatever moment the master dies at, the total that is found again is exactly the sum over the done ranges that are found
with it, and everything else is to do again. All that is told comes from the merger, which does its tasks in order, and
therefore knows without asking which ranges the total at hand holds.

What is told between checkpoints waits in memory and is written with the next one. When the disk is full, or fails, a write
raises `Unwritten` and leaves the database as it was: what was to be written waits on. Done ranges are written with a total
only, never by themselves.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from ..packetizer.files import Loss, OpenedFile
from ..packetizer.ranges import Ranges
from ..protocol.codec import Buffer, Frames
from ..protocol.errors import QueryFailed
from ..protocol.messages import Account, Ended, Failure, Submit
from ..protocol.usage import WorkerInfo
from ..system.content_folder import ContentFolder
from .finished import Finished
from .journal_database import PAGE, damaged, open_database, transaction
from .journal_life import Life
from .journal_lock import JournalLock
from .journal_rows import DamagedFrames
from .journal_tables import Checkpoint, Tables, Waiting
from .saved import Saved

log = logging.getLogger(__name__)

QUOTA = 10 * 2**30
"""Bytes that results of queries that are over may take."""
AGE = 30 * 86400.0
"""Seconds for which the result of a query that is over is kept."""
MOST_UNUSED = 2**30
"""Bytes of attachments that no running query has, and that are kept for one that may come."""
_VACUUM_PAGES = 256 * 2**20 // PAGE


class Unwritten(Exception):
    """The journal could not be written. Nothing is half-written, and what was to be written comes with the next write.

    The text is a note for the user: what happened, where, and that the query goes on.
    """


class Vanished(Unwritten):
    """So it is because the file is not in its place any more: what is in it, the next master will not find."""


class Journal:
    """The journal in the file `path`, which is made when it is not there; nobody else can use it before `close`.

    Any thread may call, one at a time. Large arrays of analyses lie beside it, each in a file that its content gives its
    name, so that one that many queries have is written once.

    Args:
        path: the database. Beside it lie the write-ahead log, `-wal`, the lock, `.lock`, and the folder `.attachments`.
        quota: bytes that results of queries that are over may take, see `trim`.
        age: seconds for which they are kept, of time for which masters run.
        durable: for a machine that goes down, too; false: for a process that is killed, which takes no time of the disk.

    Raises:
        ConnectionFailed: another master uses it, others may read it, or it is damaged or no journal.

    Example::

        journal = Journal(folder / "journal.sqlite")
        for saved in journal.load():
            ...                                             # go on with each query
        journal.submitted("q1", submit, [analysis, files], started=time.time())
        journal.opened("q1", 0, OpenedFile(entries=1000))
        journal.merged("q1", [(0, 0, 400)])                 # its partial result is in the total from now on
        journal.checkpoint("q1", total.partial().to_frames(), account, report)
    """

    def __init__(self, path: Path, quota: int = QUOTA, age: float = AGE, durable: bool = True) -> None:
        self.path, self.quota, self.age = path, quota, age
        self._waiting: dict[str, Waiting] = {}
        self._attachments = ContentFolder(path.with_name(f"{path.name}.attachments"), durable)
        self._used: dict[str, list[str]] | None = None
        """The attachments of running queries; None while nobody knows what is in the journal."""
        self._kept: tuple[int, float] | None = None
        """Bytes of all results and when the first query was over, at most and at the earliest; None while nobody knows."""
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(contextlib.closing(JournalLock(path)))
            self._database = stack.enter_context(contextlib.closing(open_database(path, durable)))
            self._durable, self._synchronous = durable, "NORMAL" if durable else "OFF"
            self._file = _file_at(path)
            self._tables = Tables(self._database, self._attachments)
            self._life = Life(self._database, lock)
            self._running = self._tables.running()
            self._stack = stack.pop_all()
        if self._life.missing:
            log.error("the journal %s: %s", path, self._life.missing)

    @property
    def ran(self) -> float:
        """Seconds for which masters have run with it, as far as they have said so with `ended` and `trim`."""
        return self._life.ran

    def reopened(self) -> Journal:
        """The journal as the next master finds it, after `close`: with what was written, and nothing else."""
        return Journal(self.path, self.quota, self.age, self._durable)

    def close(self) -> None:
        """Give the database back to whoever comes next. What waits for a checkpoint is not written."""
        self._stack.close()

    # --- what happened --------------------------------------------------------------------------------------------

    def submitted(
        self,
        number: str,
        submit: Submit,
        frames: Frames,
        started: float,
        attachments: Mapping[str, Buffer] | None = None,
    ) -> None:
        """A query was submitted, with these frames and attachments, at `started` (seconds since 1970). Written at once.

        Raises:
            Unwritten: see there; so for all methods that write.
        """
        self._running.add(number)
        self._waiting[number] = Waiting(submission=(submit, frames, started), attachments=attachments or {})
        if self._used is not None:
            self._used[number] = submit.attachments
        self.flush()

    def opened(self, number: str, file: int, opened: OpenedFile) -> None:
        """File number `file` of a query has been opened; the last word counts. Waits for the next write."""
        self._of(number).opened[file] = opened

    def lost(self, number: str, loss: Loss) -> None:
        """Entries of a query will not be in the result. Waits for the next write."""
        self._of(number).losses.append(loss)

    def skipped(self, number: str, failure: Failure, frames: Frames) -> None:
        """The first failure that a query passed over, and the pickled exception. Waits for the next write."""
        self._of(number).skipped = (failure, frames)

    def merged(self, number: str, parts: Iterable[tuple[int, int, int]]) -> None:
        """The total of a query holds these parts (file, start, stop) from now on. Waits for the next checkpoint."""
        done = self._of(number).done
        for file, start, stop in parts:
            done.setdefault(file, Ranges()).add(start, stop)

    def checkpoint(self, number: str, total: Frames, account: Account, report: Sequence[WorkerInfo] = ()) -> None:
        """Write the total of a query, and all that was told of it, in one transaction.

        Args:
            total: frames of the partial result; it holds what `merged` was told, no more and no less.
            account: as it is with this total; so is `report`.
        """
        self._of(number)
        self._write(Checkpoint(number, total, account, report))

    def ended(self, number: str, ended: Ended, frames: Frames, now: float) -> None:
        """A query is over at `now`, as `ran` counts: keep its end with its frames, and nothing else. Written at once.

        A query that is over can end once more, when it turns out that its result cannot be sent: the last word counts.
        """
        again = number not in self._running and self._is_over(number)
        waiting = self._waiting.get(number, Waiting()) if again else self._of(number)
        self._waiting[number] = Waiting(submission=waiting.submission, ended=(ended, frames, now))
        self._running.discard(number)
        self._life.ran = max(now, self._life.ran)
        if self._kept is not None:
            size, first = self._kept
            self._kept = size + len(msgspec.msgpack.encode(ended)) + sum(map(len, frames)), min(first, now)
        self.flush()

    def remove(self, number: str) -> None:
        """Forget a query, if there is one of this number. Written at once; `shrink` gives the room back."""
        self._running.discard(number)
        self._waiting[number] = Waiting(removed=True)
        self.flush()

    def flush(self) -> None:
        """Write what waits, but for done ranges, which wait for their total. Call it now and then after `Unwritten`."""
        self._write(None)

    def trim(self, now: float) -> list[str]:
        """Remove results that are too old at `now`, as `ran` counts, then the oldest until the others fit the quota.

        The last query to end stays, however large its result is, until it is too old. `shrink` gives the room back.

        Returns:
            The numbers of the queries removed.
        """
        self._life.ran = max(now, self._life.ran)
        with self._writing():
            over = self._too_many(now)
            self._tables.remove(over)
            if self._used is not None:
                self._used = {number: used for number, used in self._used.items() if number in self._running}
                self._attachments.trim({digest for used in self._used.values() for digest in used}, MOST_UNUSED)
        return over

    def _too_many(self, now: float) -> list[str]:
        """The queries that `trim` removes. All are looked through only when there are some, since there may be many."""
        over: list[str] = []
        size, first = self._kept = self._kept or self._tables.kept()
        if size > self.quota or now - first > self.age:
            kept, self._kept = 0, None
            for position, (number, ended_at, size) in enumerate(self._tables.ends()):
                kept += size
                if now - ended_at > self.age or (kept > self.quota and position > 0):
                    over.append(number)
        return over

    def shrink(self) -> None:
        """Give room that is free in the database back to the disk: 256 MB a call, so that merging waits a moment only."""
        with self._reporting():
            # `execute` would stop after the first page.
            self._database.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    # --- what is there --------------------------------------------------------------------------------------------

    def load(self) -> list[Saved | Finished]:
        """All queries in the database, in the order of their submission; of those that are over, what lists tell of them.

        Raises:
            ConnectionFailed: something in it cannot be read.
        """
        try:
            found, damage = self._tables.load()
            for what in damage:
                log.error("the journal %s is damaged in %s", self.path, what)
            self._used = {saved.number: saved.submit.attachments for saved in found if isinstance(saved, Saved)}
            self._running = set(self._used)
            return found
        except (sqlite3.DatabaseError, msgspec.MsgspecError, zlib.error, ValueError) as error:
            raise damaged(self.path, error) from error

    def end(self, number: str) -> tuple[Ended, list[Buffer]]:
        """How a query ended, with the frames, as `ended` was given them.

        Raises:
            QueryFailed: there is no such result, or it cannot be read.
        """
        waiting = self._waiting.get(number, Waiting())
        if waiting.ended is not None:
            return waiting.ended[0], list(waiting.ended[1])
        try:
            if self._is_over(number):
                ended, frames = self._tables.end(number)
                return ended, list(frames)
        except DamagedFrames:
            raise QueryFailed(
                f"the result of query {number} in the journal {self.path} is damaged: submit it again"
            ) from None
        except sqlite3.DatabaseError as error:
            raise QueryFailed(
                f"the result of query {number} cannot be read from the journal {self.path}: {error}; submit it again"
            ) from error
        raise QueryFailed(f"the journal {self.path} has no result of query {number}: it was removed, or never ended")

    # --- writing --------------------------------------------------------------------------------------------------

    def _of(self, number: str) -> Waiting:
        """What waits of a running query. `KeyError` for any other: let it hurt its caller, not the next write of all."""
        if number not in self._running:
            raise KeyError(f"query {number} is not running in the journal {self.path}")
        return self._waiting.setdefault(number, Waiting())

    def _is_over(self, number: str) -> bool:
        """Whether the journal has the end of a query, or is to write it."""
        waiting = self._waiting.get(number, Waiting())
        if waiting.ended is not None or waiting.removed:
            return not waiting.removed
        return self._tables.is_over(number)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Failures of the disk become `Unwritten`; what SQLite has against our statements stays what it is."""
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, sqlite3.Error) and type(error) not in (
                sqlite3.DatabaseError,
                sqlite3.OperationalError,
            ):
                raise
            kind = Vanished if isinstance(error, FileNotFoundError) else Unwritten
            raise kind(
                f"the journal {self.path} cannot be written: {error}. Queries go on, and it is tried again later; "
                "should the master end before, it does again what the journal does not have"
            ) from error

    @contextlib.contextmanager
    def _writing(self, at_once: bool = False) -> Iterator[None]:
        """One transaction: all of it or nothing.

        Without `at_once` it may be the machine's end that it is not on the disk yet: ranges are done again then. What a
        session was told, that its query was taken or how it ended, has to be.
        """
        with self._reporting():
            wanted = "FULL" if at_once else "NORMAL"
            if self._durable and self._synchronous != wanted:
                self._database.execute(f"PRAGMA synchronous = {wanted}")
                self._synchronous = wanted
            if _file_at(self.path) != self._file:
                raise FileNotFoundError(f"{self.path} was removed, or another file is in its place")
            with transaction(self._database):
                yield
                self._life.write()
            self._life.written()
            if _file_at(self.path.with_name(f"{self.path.name}-wal")) is None:
                log.error("the journal %s: its write-ahead log was removed", self.path)
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _write(self, checkpoint: Checkpoint | None) -> None:
        number, total = None if checkpoint is None else checkpoint.number, None
        promised = any(it.submission is not None or it.ended is not None for it in self._waiting.values())
        with self._writing(at_once=promised):
            for other, waiting in self._waiting.items():
                self._tables.write(other, waiting)
            if checkpoint is not None:
                total = self._tables.checkpoint(checkpoint, self._of(checkpoint.number).done)
        if total is not None:
            self._tables.totals.written(total)
        self._waiting = {
            other: Waiting(done=waiting.done)
            for other, waiting in self._waiting.items()
            if waiting.done and other != number
        }


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file has this name; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
