"""What is in the tables of a journal: queries as rows, and rows as queries."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby
from operator import itemgetter, sub
from typing import Any

import msgspec

from ..packetizer.files import Loss, OpenedFile
from ..packetizer.ranges import Ranges
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Account, Ended, Failure, Submit
from ..protocol.usage import WorkerInfo
from ..system.content_folder import ContentFolder
from .saved import Saved

PIECE = 64 * 2**20
"""A frame is stored in pieces of this many bytes; SQLite has a limit, and copies each piece once."""

_encode = msgspec.msgpack.Encoder().encode
_submit = msgspec.msgpack.Decoder(Submit)
_account = msgspec.msgpack.Decoder(Account)
_report = msgspec.msgpack.Decoder(list[WorkerInfo])
_failure = msgspec.msgpack.Decoder(Failure)
_ended = msgspec.msgpack.Decoder(Ended)
_numbers = msgspec.msgpack.Decoder(list[int])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The total of a query, and the account and report as they are with it."""

    number: str
    total: Frames
    account: Account
    report: Sequence[WorkerInfo]


@dataclass(slots=True)
class Waiting:
    """What the journal was told of a query and has not written."""

    submission: tuple[Submit, Frames, float] | None = None
    attachments: Mapping[str, Buffer] = field(default_factory=dict)
    opened: dict[int, OpenedFile] = field(default_factory=dict)
    done: dict[int, Ranges] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    skipped: tuple[Failure, Frames] | None = None
    ended: tuple[Ended, Frames, float] | None = None
    removed: bool = False


class Tables:
    """The rows of a journal's database. It opens no transaction: whoever writes does, and says what belongs together.

    Args:
        database: with the tables of `journal_database.TABLES`.
        attachments: the folder with the large arrays of analyses.

    Example::

        with transaction(database):
            tables.write("q1", waiting)
            tables.checkpoint(Checkpoint("q1", total, account, report), waiting.done)
    """

    def __init__(self, database: sqlite3.Connection, attachments: ContentFolder) -> None:
        self._database = database
        self._attachments = attachments

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, number: str, waiting: Waiting) -> None:
        """Write what waits of a query; but for its done ranges, which come with a total."""
        execute = self._database.execute
        if waiting.removed:
            self.remove([number])
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
            row = (number, file, it.entries, _pack(it.clusters), it.identity, listed, it.place)
            execute("INSERT OR REPLACE INTO opened VALUES (?, ?, ?, ?, ?, ?, ?)", row)
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

    def remove(self, numbers: Sequence[str]) -> None:
        """Remove queries, and all that belongs to them."""
        self._database.executemany("DELETE FROM queries WHERE number = ?", [(number,) for number in numbers])

    def checkpoint(self, checkpoint: Checkpoint, done: Mapping[int, Ranges]) -> None:
        """Write a total in the place of the last one, with the ranges `done` that it holds beside those of the last one."""
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

    def running(self) -> set[str]:
        """The numbers of the queries that are not over."""
        return {number for (number,) in self._database.execute("SELECT number FROM queries WHERE ended_at IS NULL")}

    def is_over(self, number: str) -> bool:
        """Whether there is the end of this query."""
        found = self._database.execute("SELECT 1 FROM queries WHERE number = ? AND ended_at IS NOT NULL", (number,))
        return found.fetchone() is not None

    def ends(self) -> list[tuple[str, float, int]]:
        """The queries that are over, the last one first: number, when (seconds since 1970), and bytes of the result."""
        return self._database.execute(
            "SELECT number, ended_at, bytes FROM queries WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, rowid DESC"
        ).fetchall()

    def load(self) -> list[Saved]:
        """All queries, in the order of their submission. Raises what SQLite and decoders do, and `ValueError`."""
        query = "SELECT number, submit, started, account, report, skipped, ended, ended_at FROM queries ORDER BY rowid"
        return [self._saved(row) for row in self._database.execute(query).fetchall()]

    def _saved(self, row: tuple[Any, ...]) -> Saved:
        number, submit, started, account, report, skipped, ended, ended_at = row
        saved = Saved(number, _submit.decode(submit), started, ended_at=ended_at)
        if ended is not None:
            saved.ended = _ended.decode(ended)
            return saved
        select = self._database.execute
        saved.frames, saved.total = self.frames(number, "submission"), self.frames(number, "total")
        for digest in saved.submit.attachments:
            with contextlib.suppress(OSError):  # what becomes of a query without one, the master decides
                saved.attachments[digest] = self._attachments.content(digest)
        saved.opened = {
            file: OpenedFile(entries, _unpack(clusters), identity, None if listed is None else _unpack(listed), place)
            for file, entries, clusters, identity, listed, place in select(
                "SELECT file, entries, clusters, identity, listed, place FROM opened WHERE query = ?", (number,)
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
            saved.skipped = _failure.decode(skipped), self.frames(number, "skipped")
        return saved

    def frames(self, number: str, role: str) -> list[bytes]:
        """The frames that a query has in a role."""
        pieces = self._database.execute(
            "SELECT frame, data FROM frames WHERE query = ? AND role = ? ORDER BY id", (number, role)
        )
        return [b"".join(data for _, data in group) for _, group in groupby(pieces, key=itemgetter(0))]


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
