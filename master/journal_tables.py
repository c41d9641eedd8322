"""What is in the tables of a journal: queries as rows, and rows as queries."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from math import inf
from operator import sub
from typing import Any

import msgspec

from ..packetizer.files import Loss, OpenedFile
from ..packetizer.ranges import Ranges
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Account, Ended, Failure, Submit
from ..protocol.usage import WorkerInfo
from ..system.content_folder import ContentFolder, digest_of
from .finished import Finished
from .journal_database import transaction
from .journal_frames import StoredTotal, Totals, store, stored
from .journal_rows import DamagedFrames, Rows
from .journal_sums import is_theirs, is_whole, row_sum
from .saved import Saved

_QUERY = "number, submit, started, account, report, skipped, ended, ended_at, bytes, frames"
_OWN = 3
"""Columns of the row of a query, of which the first ones say what it is, and never change."""

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

    Attributes:
        totals: those of running queries.

    Example::

        with transaction(database):
            tables.write("q1", waiting)
            total = tables.checkpoint(Checkpoint("q1", total, account, report), waiting.done)
        tables.totals.written(total)
    """

    def __init__(self, database: sqlite3.Connection, attachments: ContentFolder) -> None:
        self._database = database
        self._attachments = attachments
        self.totals = Totals(database)

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
            values = (number, _encode(submit), started, len(frames))
            execute("INSERT INTO queries (number, submit, started, frames) VALUES (?, ?, ?, ?)", values)
            store(self._database, number, "submission", frames)
            self._seal(number)
        for file, it in waiting.opened.items():
            listed = None if it.listed is None else _pack(it.listed)
            told = (it.entries, _pack(it.clusters), it.identity, listed, it.place)
            row = (number, file, *told, row_sum((number, file), told))
            execute("INSERT OR REPLACE INTO opened VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        rows = (((number,), (loss.file, loss.start, loss.stop, loss.reason)) for loss in waiting.losses)
        self._database.executemany(
            "INSERT INTO losses (query, file, start, stop, reason, sum) VALUES (?, ?, ?, ?, ?, ?)",
            ((*key, *values, row_sum(key, values)) for key, values in rows),
        )
        if waiting.skipped is not None:
            failure, frames = waiting.skipped
            execute("UPDATE queries SET skipped = ? WHERE number = ?", (_encode(failure), number))
            store(self._database, number, "skipped", frames)
            self._seal(number)
        if waiting.ended is not None:
            self._write_end(number, *waiting.ended)

    def remove(self, numbers: Sequence[str]) -> None:
        """Remove queries, and all that belongs to them."""
        for number in numbers:
            self.totals.forget(number)
        self._database.executemany("DELETE FROM queries WHERE number = ?", [(number,) for number in numbers])

    def checkpoint(self, checkpoint: Checkpoint, done: Mapping[int, Ranges]) -> StoredTotal:
        """Write a total in the place of the last one, with the ranges `done` that it holds beside those of the last one.
        Once that is written, `totals` is to be told."""
        number = checkpoint.number
        total = self.totals.store(number, checkpoint.total)
        packed = ((file, _pack_ranges(self._with_written(number, file, new))) for file, new in done.items())
        self._database.executemany(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)",
            [(number, file, ranges, row_sum((number, file), (ranges,))) for file, ranges in packed],
        )
        self._database.execute(
            "UPDATE queries SET account = ?, report = ? WHERE number = ?",
            (_encode(checkpoint.account), _encode(list(checkpoint.report)), number),
        )
        self._seal(number)
        return total

    def _seal(self, number: str) -> None:
        """Write the checksum of the row of a query, which has been changed."""
        row = self._database.execute(f"SELECT {_QUERY} FROM queries WHERE number = ?", (number,)).fetchone()  # noqa: S608
        if row is not None:
            values = row_sum(row[:_OWN], row[_OWN:])
            self._database.execute("UPDATE queries SET sum = ? WHERE number = ?", (values, number))

    def _with_written(self, number: str, file: int, new: Ranges) -> Ranges:
        """The done ranges of a file: those in the database and the new ones."""
        row = self._database.execute("SELECT ranges FROM done WHERE query = ? AND file = ?", (number, file)).fetchone()
        return new if row is None else Ranges(chain(_unpack_ranges(row[0]), new))

    def _write_end(self, number: str, ended: Ended, frames: Frames, now: float) -> None:
        self.totals.forget(number)
        for table in ("opened", "done", "losses", "frames"):
            self._database.execute(f"DELETE FROM {table} WHERE query = ?", (number,))  # noqa: S608 - names of ours
        message, size = _encode(ended), sum(map(len, frames))
        self._database.execute(
            "UPDATE queries SET account = NULL, report = NULL, skipped = NULL, ended = ?, ended_at = ?, bytes = ?, "
            "frames = ? WHERE number = ?",
            (message, now, len(message) + size, len(frames), number),
        )
        store(self._database, number, "result", frames)
        self._seal(number)
        self._write_line(number)

    def _write_line(self, number: str) -> Finished:
        """Write what is remembered of a query that is over."""
        row = self._database.execute(
            "SELECT rowid, submit, started, ended, ended_at, bytes FROM queries WHERE number = ?", (number,)
        )
        place, submit, started, ended, *when_and_size = row.fetchone()
        finished = Finished.stored(number, submit, started, ended)
        values = *when_and_size, finished.packed()
        self._database.execute(
            "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?, ?, ?)",
            (place, number, *values, row_sum((place, number), values)),
        )
        return finished

    # --- reading --------------------------------------------------------------------------------------------------

    def running(self) -> set[str]:
        """The numbers of the queries that are not over."""
        return {number for (number,) in self._database.execute("SELECT number FROM queries WHERE ended_at IS NULL")}

    def is_over(self, number: str) -> bool:
        """Whether there is the end of this query."""
        found = self._database.execute("SELECT 1 FROM queries WHERE number = ? AND ended_at IS NOT NULL", (number,))
        return found.fetchone() is not None

    def kept(self) -> tuple[int, float]:
        """Bytes of all results, and when the first of their queries was over."""
        size, first = self._database.execute("SELECT total(bytes), min(ended_at) FROM finished").fetchone()
        return int(size), inf if first is None else first

    def ends(self) -> list[tuple[str, float, int]]:
        """The queries that are over, the last one first: number, when (seconds since 1970), and bytes of the result."""
        return self._database.execute(
            "SELECT number, ended_at, bytes FROM finished ORDER BY ended_at DESC, id DESC"
        ).fetchall()

    def load(self) -> tuple[list[Saved | Finished], list[str]]:
        """All queries, in the order of their submission, and what is damaged, in words. Raises what SQLite and decoders do,
        and `ValueError`.

        A query whose progress is damaged is as it was submitted; one of which that is not known, or not how it ended, is
        not there any more.
        """
        rows, found = Rows.of(self._database), self._lines()
        without = f"SELECT rowid, {_QUERY}, sum FROM queries WHERE number NOT IN (SELECT number FROM finished)"  # noqa: S608
        for row in self._database.execute(without).fetchall():
            saved = self._saved(row, rows)
            if saved is not None:
                found[row[0]] = saved
        if rows.damage:
            with transaction(self._database):
                rows.remove(self._database)
                for saved in found.values():
                    if isinstance(saved, Saved) and saved.damage:
                        self._forget_progress(saved.number)
        return [saved for _, saved in sorted(found.items())], list(rows.damage)

    def _lines(self) -> dict[int, Saved | Finished]:
        """The queries that are over, by their places. Lines that are damaged or of no query are removed, and come from how
        the query ended."""
        found: dict[int, Saved | Finished] = {}
        unsound = self._database.execute(
            "SELECT id FROM finished WHERE number NOT IN (SELECT number FROM queries)"
        ).fetchall()
        for place, number, when, size, line, written in self._database.execute("SELECT * FROM finished"):
            if is_whole(written, (place, number), (when, size, line)):
                found[place] = Finished.unpacked(number, line)
            else:
                unsound.append((place,))
        if unsound:
            with transaction(self._database):
                self._database.executemany("DELETE FROM finished WHERE id = ?", unsound)
            for (place,) in unsound:
                found.pop(place, None)
        return found

    def _saved(self, row: tuple[Any, ...], rows: Rows) -> Saved | Finished | None:
        """A query by its row, if it can go on, or is over; `rows` are those of all."""
        rowid, number, submit, started, account, report, skipped, ended, _, _, count, written = row
        whole = is_whole(written, row[1 : 1 + _OWN], row[1 + _OWN : -1])
        if not whole and (ended is not None or not is_theirs(written, row[1 : 1 + _OWN])):
            rows.give_up(rowid, f"query {number!a}: what it is, or how it ended, cannot be read; submit it again")
            return None
        if ended is not None:
            with transaction(self._database):
                return self._write_line(number)
        saved = Saved(number, _submit.decode(submit), started)
        try:
            saved.frames = stored(self._database, number, "submission", count if whole else None)
        except DamagedFrames:
            rows.give_up(rowid, f"query {number!a}: its analysis or its files cannot be read; submit it again")
            return None
        for digest in saved.submit.attachments:
            with contextlib.suppress(OSError):  # what becomes of a query without one, the master decides
                content = self._attachments.content(digest)
                if digest_of(content) == digest:
                    saved.attachments[digest] = content
                else:
                    rows.damage.append(f"query {number}: an array of its analysis, {digest}")
                    self._attachments.remove(digest)
        try:
            if not whole or number in rows.damaged or rows.strangers:
                raise DamagedFrames
            saved.total = self.totals.load(number)
            if skipped is not None:
                saved.skipped = _failure.decode(skipped), stored(self._database, number, "skipped")
        except DamagedFrames:
            saved.total = []
            saved.damage = rows.do_again(number)
            return saved
        saved.opened = {
            file: OpenedFile(entries, _unpack(clusters), identity, None if listed is None else _unpack(listed), place)
            for file, entries, clusters, identity, listed, place in rows.opened.get(number, ())
        }
        saved.done = {file: Ranges(_unpack_ranges(ranges)) for file, ranges in rows.done.get(number, ())}
        saved.losses = [Loss(*values) for values in rows.losses.get(number, ())]
        if account is not None:
            saved.account, saved.report = _account.decode(account), _report.decode(report)
        return saved

    def _forget_progress(self, number: str) -> None:
        """A query is to be done again from its beginning."""
        for table in ("opened", "done", "losses"):
            self._database.execute(f"DELETE FROM {table} WHERE query = ?", (number,))  # noqa: S608 - names of ours
        self._database.execute("DELETE FROM frames WHERE query = ? AND role != 'submission'", (number,))
        self._database.execute(
            "UPDATE queries SET account = NULL, report = NULL, skipped = NULL WHERE number = ?", (number,)
        )
        self._seal(number)

    def end(self, number: str) -> tuple[Ended, list[bytes]]:
        """How a query ended, with the frames. Raises as `stored`."""
        row = self._database.execute(f"SELECT {_QUERY}, sum FROM queries WHERE number = ?", (number,)).fetchone()  # noqa: S608
        *_, ended, _, _, count, written = row
        if not is_whole(written, row[:_OWN], row[_OWN:-1]):
            raise DamagedFrames
        return _ended.decode(ended), stored(self._database, number, "result", count)


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
