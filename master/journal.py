"""The journal of a standing master: what it needs to go on where it was, after `kill -9` or a reboot.

One SQLite database (in WAL mode) keeps the queries that run, the files that were opened for them, the entries that are lost
and the results of queries that are over. The one promise that everything rests on:

    the total of a query and the ranges it holds are written in one transaction.

So whatever moment the master dies at, the total that is found again is exactly the sum over the done ranges that are found
with it, and everything else is to do again. The merger writes the journal: it does its tasks in order, and therefore knows
without asking which ranges the total at hand holds.

What is told between checkpoints waits in memory and is written with the next one. When the disk is full, or fails, a write
raises `Unwritten` and leaves the database as it was: what was to be written waits on. Done ranges are written with a total
only, never by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby
from operator import itemgetter, sub
from pathlib import Path
from typing import Any

import msgspec

from ..packetizer.ledger import Loss, OpenedFile
from ..packetizer.ranges import Ranges
from ..protocol.codec import Buffer, Frames
from ..protocol.errors import ConnectionFailed, QueryFailed
from ..protocol.messages import Account, Ended, Failure, Submit
from ..protocol.usage import WorkerInfo
from ..system.content_folder import ContentFolder
from ..system.locks import lock
from .saved import Saved

QUOTA = 10 * 2**30
"""Bytes that results of queries that are over may take."""
AGE = 30 * 86400.0
"""Seconds for which the result of a query that is over is kept."""
PIECE = 64 * 2**20
"""A frame is stored in pieces of this many bytes; SQLite has a limit, and copies each piece once."""
SCHEMA = 2
"""Since 2, a total counts the entries in it."""
MOST_UNUSED = 2**30
"""Bytes of attachments that no running query has, and that are kept for one that may come."""
APPLICATION = int.from_bytes(b"evml", "big")
"""What SQLite's header says of whose database it is."""

_PAGE = 16384
_VACUUM_PAGES = 256 * 2**20 // _PAGE
_WAL_KEPT = 64 * 2**20
"""Bytes of the write-ahead log that stay allocated: room for the small transactions when the disk is full."""

_TABLES = """
CREATE TABLE queries (
    number TEXT PRIMARY KEY, submit BLOB NOT NULL, started REAL NOT NULL,
    account BLOB, report BLOB, skipped BLOB,
    ended BLOB, ended_at REAL, bytes INTEGER
);
CREATE TABLE opened (
    query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE, file INTEGER NOT NULL,
    entries INTEGER NOT NULL, clusters BLOB NOT NULL, identity TEXT NOT NULL, listed BLOB,
    PRIMARY KEY (query, file)
) WITHOUT ROWID;
CREATE TABLE done (
    query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE, file INTEGER NOT NULL, ranges BLOB NOT NULL,
    PRIMARY KEY (query, file)
) WITHOUT ROWID;
CREATE TABLE losses (
    id INTEGER PRIMARY KEY, query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE,
    file INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER, reason TEXT NOT NULL
);
CREATE INDEX losses_of_query ON losses (query);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE,
    role TEXT NOT NULL, frame INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX frames_of_query ON frames (query, role);
"""
"""`role` of a frame: "submission", "total", "skipped" or "result"; pieces of one frame have the same number `frame`."""

_encode = msgspec.msgpack.Encoder().encode
_submit = msgspec.msgpack.Decoder(Submit)
_account = msgspec.msgpack.Decoder(Account)
_report = msgspec.msgpack.Decoder(list[WorkerInfo])
_failure = msgspec.msgpack.Decoder(Failure)
_ended = msgspec.msgpack.Decoder(Ended)
_numbers = msgspec.msgpack.Decoder(list[int])


class Unwritten(Exception):
    """The journal could not be written. Nothing is half-written, and what was to be written comes with the next write.

    The text is a note for the user: what happened, where, and that the query goes on.
    """


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    number: str
    total: Frames
    account: Account
    report: Sequence[WorkerInfo]


@dataclass(slots=True)
class _Waiting:
    """What the journal was told of a query and has not written."""

    submission: tuple[Submit, Frames, float] | None = None
    attachments: Mapping[str, Buffer] = field(default_factory=dict)
    opened: dict[int, OpenedFile] = field(default_factory=dict)
    done: dict[int, Ranges] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    skipped: tuple[Failure, Frames] | None = None
    ended: tuple[Ended, Frames, float] | None = None
    removed: bool = False


class Journal:
    """The journal in the file `path`, which is made when it is not there; nobody else can use it before `close`.

    Any thread may call, one at a time. Large arrays of analyses lie beside it, each in a file that its content gives its
    name, so that one that many queries have is written once.

    Args:
        path: the database. Beside it lie the write-ahead log, `-wal`, the lock, `.lock`, and the folder `.attachments`.
        quota: bytes that results of queries that are over may take, see `trim`.
        age: seconds for which they are kept.
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
        self._waiting: dict[str, _Waiting] = {}
        self._attachments = ContentFolder(path.with_name(f"{path.name}.attachments"), durable)
        self._used: dict[str, list[str]] | None = None
        """The attachments of running queries; None while nobody knows what is in the journal."""
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, _lock(path))
            self._database = stack.enter_context(contextlib.closing(_connect(path, durable)))
            self._durable, self._synchronous = durable, "NORMAL" if durable else "OFF"
            running = self._database.execute("SELECT number FROM queries WHERE ended_at IS NULL").fetchall()
            self._running = {number for (number,) in running}
            self._stack = stack.pop_all()

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
        self._waiting[number] = _Waiting(submission=(submit, frames, started), attachments=attachments or {})
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
        self._write(_Checkpoint(number, total, account, report))

    def ended(self, number: str, ended: Ended, frames: Frames, now: float) -> None:
        """A query is over at `now` (seconds since 1970): keep its end with its frames, and nothing else. Written at once.

        A query that is over can end once more, when it turns out that its result cannot be sent: the last word counts.
        """
        again = number not in self._running and self._is_over(number)
        waiting = self._waiting.get(number, _Waiting()) if again else self._of(number)
        self._waiting[number] = _Waiting(submission=waiting.submission, ended=(ended, frames, now))
        self._running.discard(number)
        self.flush()

    def remove(self, number: str) -> None:
        """Forget a query, if there is one of this number. Written at once; `shrink` gives the room back."""
        self._running.discard(number)
        self._waiting[number] = _Waiting(removed=True)
        self.flush()

    def flush(self) -> None:
        """Write what waits, but for done ranges, which wait for their total. Call it now and then after `Unwritten`."""
        self._write(None)

    def trim(self, now: float) -> list[str]:
        """Remove results that are too old at `now` (seconds since 1970), then the oldest until the others fit the quota.

        The last query to end stays, however large its result is, until it is too old. `shrink` gives the room back.

        Returns:
            The numbers of the queries removed.
        """
        over, kept = [], 0
        query = (
            "SELECT number, ended_at, bytes FROM queries WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, rowid DESC"
        )
        with self._writing():
            for position, (number, ended_at, size) in enumerate(self._database.execute(query).fetchall()):
                kept += size
                if now - ended_at > self.age or (kept > self.quota and position > 0):
                    over.append(number)
            self._database.executemany("DELETE FROM queries WHERE number = ?", [(number,) for number in over])
            if self._used is not None:
                self._used = {number: used for number, used in self._used.items() if number in self._running}
                self._attachments.trim({digest for used in self._used.values() for digest in used}, MOST_UNUSED)
        return over

    def shrink(self) -> None:
        """Give room that is free in the database back to the disk: 256 MB a call, so that merging waits a moment only."""
        with self._reporting():
            # `execute` would stop after the first page.
            self._database.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    # --- what is there --------------------------------------------------------------------------------------------

    def load(self) -> list[Saved]:
        """All queries in the database, in the order of their submission.

        Raises:
            ConnectionFailed: something in it cannot be read.
        """
        query = "SELECT number, submit, started, account, report, skipped, ended, ended_at FROM queries ORDER BY rowid"
        try:
            found = [self._saved(row) for row in self._database.execute(query).fetchall()]
            self._used = {saved.number: saved.submit.attachments for saved in found if saved.ended is None}
            return found
        except (sqlite3.DatabaseError, msgspec.MsgspecError, zlib.error, ValueError) as error:
            raise _damaged(self.path, error) from error

    def result(self, number: str) -> list[Buffer]:
        """The frames with which a query ended, as `ended` was given them.

        Raises:
            QueryFailed: there is no such result, or it cannot be read.
        """
        waiting = self._waiting.get(number, _Waiting())
        if waiting.ended is not None:
            return list(waiting.ended[1])
        try:
            if self._is_over(number):
                return list(self._frames(number, "result"))
        except sqlite3.DatabaseError as error:
            raise QueryFailed(
                f"the result of query {number} cannot be read from the journal {self.path}: {error}; submit it again"
            ) from error
        raise QueryFailed(f"the journal {self.path} has no result of query {number}: it was removed, or never ended")

    # --- writing --------------------------------------------------------------------------------------------------

    def _of(self, number: str) -> _Waiting:
        """What waits of a running query. `KeyError` for any other: let it hurt its caller, not the next write of all."""
        if number not in self._running:
            raise KeyError(f"query {number} is not running in the journal {self.path}")
        return self._waiting.setdefault(number, _Waiting())

    def _is_over(self, number: str) -> bool:
        """Whether the journal has the end of a query, or is to write it."""
        waiting = self._waiting.get(number, _Waiting())
        if waiting.ended is not None or waiting.removed:
            return not waiting.removed
        found = self._database.execute("SELECT 1 FROM queries WHERE number = ? AND ended_at IS NOT NULL", (number,))
        return found.fetchone() is not None

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
            raise Unwritten(
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
            with _transaction(self._database):
                yield

    def _write(self, checkpoint: _Checkpoint | None) -> None:
        number = None if checkpoint is None else checkpoint.number
        promised = any(it.submission is not None or it.ended is not None for it in self._waiting.values())
        with self._writing(at_once=promised):
            for other, waiting in self._waiting.items():
                self._write_query(other, waiting)
            if checkpoint is not None:
                self._write_checkpoint(checkpoint, self._of(checkpoint.number).done)
        self._waiting = {
            other: _Waiting(done=waiting.done)
            for other, waiting in self._waiting.items()
            if waiting.done and other != number
        }

    def _write_query(self, number: str, waiting: _Waiting) -> None:
        execute = self._database.execute
        if waiting.removed:
            execute("DELETE FROM queries WHERE number = ?", (number,))
            return
        if waiting.submission is not None:
            submit, frames, started = waiting.submission
            for digest, content in waiting.attachments.items():
                self._attachments.add(digest, content)
            values = (number, _encode(submit), started)
            execute("INSERT INTO queries (number, submit, started) VALUES (?, ?, ?)", values)
            self._store(number, "submission", frames)
        for file, it in waiting.opened.items():
            listed = None if it.listed is None else _pack(it.listed)
            row = (number, file, it.entries, _pack(it.clusters), it.identity, listed)
            execute("INSERT OR REPLACE INTO opened VALUES (?, ?, ?, ?, ?, ?)", row)
        self._database.executemany(
            "INSERT INTO losses (query, file, start, stop, reason) VALUES (?, ?, ?, ?, ?)",
            ((number, loss.file, loss.start, loss.stop, loss.reason) for loss in waiting.losses),
        )
        if waiting.skipped is not None:
            failure, frames = waiting.skipped
            execute("UPDATE queries SET skipped = ? WHERE number = ?", (_encode(failure), number))
            self._store(number, "skipped", frames)
        if waiting.ended is not None:
            self._write_end(number, *waiting.ended)

    def _write_checkpoint(self, checkpoint: _Checkpoint, done: Mapping[int, Ranges]) -> None:
        number = checkpoint.number
        self._store(number, "total", checkpoint.total)
        self._database.executemany(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?)",
            [(number, file, _pack_ranges(self._with_written(number, file, new))) for file, new in done.items()],
        )
        self._database.execute(
            "UPDATE queries SET account = ?, report = ? WHERE number = ?",
            (_encode(checkpoint.account), _encode(list(checkpoint.report)), number),
        )

    def _with_written(self, number: str, file: int, new: Ranges) -> Ranges:
        """The done ranges of a file: those in the database and the new ones."""
        row = self._database.execute("SELECT ranges FROM done WHERE query = ? AND file = ?", (number, file)).fetchone()
        return new if row is None else Ranges(chain(_unpack_ranges(row[0]), new))

    def _write_end(self, number: str, ended: Ended, frames: Frames, now: float) -> None:
        for table in ("opened", "done", "losses", "frames"):
            self._database.execute(f"DELETE FROM {table} WHERE query = ?", (number,))  # noqa: S608 - names of ours
        message = _encode(ended)
        self._database.execute(
            "UPDATE queries SET account = NULL, report = NULL, skipped = NULL, ended = ?, ended_at = ?, bytes = ? "
            "WHERE number = ?",
            (message, now, len(message) + sum(map(len, frames)), number),
        )
        self._store(number, "result", frames)

    def _store(self, number: str, role: str, frames: Frames) -> None:
        """Put frames in the place of those that the query has in this role."""
        self._database.execute("DELETE FROM frames WHERE query = ? AND role = ?", (number, role))
        self._database.executemany(
            "INSERT INTO frames (query, role, frame, data) VALUES (?, ?, ?, ?)",
            ((number, role, index, piece) for index, piece in _pieces(frames)),
        )

    # --- reading --------------------------------------------------------------------------------------------------

    def _saved(self, row: tuple[Any, ...]) -> Saved:
        number, submit, started, account, report, skipped, ended, ended_at = row
        saved = Saved(number, _submit.decode(submit), started, ended_at=ended_at)
        if ended is not None:
            saved.ended = _ended.decode(ended)
            return saved
        select = self._database.execute
        saved.frames, saved.total = self._frames(number, "submission"), self._frames(number, "total")
        for digest in saved.submit.attachments:
            with contextlib.suppress(OSError):  # what becomes of a query without one, the master decides
                saved.attachments[digest] = self._attachments.content(digest)
        saved.opened = {
            file: OpenedFile(entries, _unpack(clusters), identity, None if listed is None else _unpack(listed))
            for file, entries, clusters, identity, listed in select(
                "SELECT file, entries, clusters, identity, listed FROM opened WHERE query = ?", (number,)
            )
        }
        saved.done = {
            file: Ranges(_unpack_ranges(ranges))
            for file, ranges in select("SELECT file, ranges FROM done WHERE query = ?", (number,))
        }
        saved.losses = [
            Loss(*row)
            for row in select("SELECT file, start, stop, reason FROM losses WHERE query = ? ORDER BY id", (number,))
        ]
        if account is not None:
            saved.account, saved.report = _account.decode(account), _report.decode(report)
        if skipped is not None:
            saved.skipped = _failure.decode(skipped), self._frames(number, "skipped")
        return saved

    def _frames(self, number: str, role: str) -> list[bytes]:
        pieces = self._database.execute(
            "SELECT frame, data FROM frames WHERE query = ? AND role = ? ORDER BY id", (number, role)
        )
        return [b"".join(data for _, data in group) for _, group in groupby(pieces, key=itemgetter(0))]


# --- numbers and frames as they are stored ----------------------------------------------------------------------------


def _pack(numbers: Sequence[int]) -> bytes:
    """Numbers that mostly ascend: their differences, deflated. A thousand equal clusters take 30 bytes."""
    return zlib.compress(_encode(list(map(sub, numbers, chain((0,), numbers)))), 1)


def _unpack(packed: bytes) -> array[int]:
    return array("q", accumulate(_numbers.decode(zlib.decompress(packed))))


def _pack_ranges(ranges: Ranges) -> bytes:
    return _pack(list(chain.from_iterable(ranges)))


def _unpack_ranges(packed: bytes) -> Iterator[tuple[int, int]]:
    numbers = _unpack(packed)
    return zip(numbers[::2], numbers[1::2], strict=True)


def _pieces(frames: Frames) -> Iterator[tuple[int, Buffer]]:
    """The frames in pieces, each with the number of its frame; one without bytes is one piece."""
    for index, frame in enumerate(frames):
        view = memoryview(frame)
        for start in range(0, max(1, len(view)), PIECE):
            yield index, view[start : start + PIECE] or b""


# --- the file -------------------------------------------------------------------------------------------------------


def _lock(path: Path) -> int:
    """Lock a journal for this process, until the descriptor is closed or the process ends, however it does."""
    file = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        if not lock(descriptor):
            holder = _holder(os.read(descriptor, 10_000))
            os.close(descriptor)
            raise ConnectionFailed(
                f"another master uses the journal {path}: {holder}; stop that one, or give this one another name"
            )
        content = os.pread(descriptor, 10_000, 0)
        if content and not content.startswith(b'{"host"'):
            os.close(descriptor)
            raise ConnectionFailed(f"{file} is not the lock of a journal: give the journal {path} another name")
        os.ftruncate(
            descriptor, os.write(descriptor, json.dumps({"host": platform.node(), "pid": os.getpid()}).encode())
        )
    except OSError as error:
        os.close(descriptor)
        raise _unusable(path, error) from None
    return descriptor


def _holder(content: bytes) -> str:
    """Who holds a lock, by what stands in the lock's file."""
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, LookupError, TypeError):
        return "a process that has only just started"


def _connect(path: Path, durable: bool) -> sqlite3.Connection:
    """The database, checked, or made."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        mode = os.fstat(descriptor).st_mode
        os.close(descriptor)
    except OSError as error:
        raise _unusable(path, error) from None
    if mode & 0o077:
        raise ConnectionFailed(
            f"the journal {path} is open to others (mode {mode & 0o777:04o}), and what is in it is run by workers: "
            f"move it away, or `chmod 600 {path}` if nobody can have changed it"
        )
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(database, path)
        database.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")
    except sqlite3.DatabaseError as error:
        database.close()
        if type(error) is sqlite3.OperationalError:  # the disk's fault, not that of what is on it
            raise _unusable(path, error) from error
        raise _damaged(path, error) from error
    except ConnectionFailed:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Check whose database it is and that it is whole, and set it up. With an exclusive lock SQLite needs no memory that
    processes share, which network file systems do not have."""

    def pragma(text: str) -> Any:
        return database.execute(f"PRAGMA {text}").fetchone()[0]

    pragma("locking_mode = EXCLUSIVE")
    new = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    application, schema = pragma("application_id"), pragma("user_version")
    if application != APPLICATION and not (new and application == 0):
        raise ConnectionFailed(f"{path} is a database of another program, no journal of eventmill: move it away")
    if not new and schema != SCHEMA:
        raise ConnectionFailed(
            f"the journal {path} has layout {schema}, this version of eventmill reads layout {SCHEMA}: "
            "use the version that wrote it, or move it away"
        )
    found = "ok" if new else pragma("quick_check(1)")
    if found != "ok":
        raise _damaged(path, " ".join(found.split()))
    database.execute(f"PRAGMA page_size = {_PAGE}")
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if pragma("journal_mode = WAL") != "wal":
        raise ConnectionFailed(f"the file system of the journal {path} cannot hold it: choose a folder on a local disk")
    database.execute("PRAGMA foreign_keys = ON")
    pragma(f"journal_size_limit = {_WAL_KEPT}")
    if new:
        with _transaction(database):
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {SCHEMA}")


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _unusable(path: Path, error: Exception) -> ConnectionFailed:
    reason = error.strerror if isinstance(error, OSError) else error
    return ConnectionFailed(
        f"the journal {path} cannot be used: {reason}; mend that, or let the master have another folder"
    )


def _damaged(path: Path, what: object) -> ConnectionFailed:
    return ConnectionFailed(
        f"the journal {path} is damaged or no journal ({what}): move it and {path.name}-wal away and start the master "
        "again, without the queries in it"
    )
