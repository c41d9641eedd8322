"""Frames in the table of a journal, in pieces; of the total of a running query, those that have changed.

A large total, most of which stays as it was, as where there are hundreds of datasets of which a few are at work, is not
written as a whole each time. What was written is known by digests of its pieces, which are kept in memory: whoever does not
have them, after a start or a write that has failed, writes all of it. Pieces of two moments may meet on a disk, when the
write-ahead log is lost while it is put in its place; the seal of a total tells.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..protocol.codec import Buffer, Frames
from .journal_rows import DamagedFrames
from .journal_sums import is_whole, row_sum

PIECE = 64 * 2**20
"""A frame is stored in pieces of this many bytes; SQLite has a limit, and copies each piece once."""
PIECE_OF_TOTAL = 2**20
"""The same of a large total: what is written though only a byte of it has changed."""
LARGE_TOTAL = 2**20
"""Bytes of a total from which on it is looked through for what has changed."""
TOTAL, SEAL = "total", "seal"
"""The roles of the frames of a total, and of one with the checksums of all pieces of a large one."""

Place = tuple[int, int]
"""A frame, and a piece of it."""


def store(database: sqlite3.Connection, number: str, role: str, frames: Frames, size: int | None = None) -> None:
    """Put frames in the place of those that the query has in this role, in pieces of so many bytes."""
    database.execute("DELETE FROM frames WHERE query = ? AND role = ?", (number, role))
    keys = (((number, role, index, place), piece) for index, place, piece in _pieces(frames, size or PIECE))
    database.executemany(
        "INSERT INTO frames (query, role, frame, piece, sum, data) VALUES (?, ?, ?, ?, ?, ?)",
        ((*key, row_sum(key, (piece,)), piece) for key, piece in keys),
    )


def stored(database: sqlite3.Connection, number: str, role: str, count: int | None = None) -> list[bytes]:
    """The frames that a query has in a role; so many, where that is known.

    Raises:
        DamagedFrames: they are not what was written.
    """
    pieces = database.execute(
        "SELECT frame, piece, sum, data FROM frames WHERE query = ? AND role = ? ORDER BY id", (number, role)
    )
    found: list[list[bytes]] = []
    for frame, piece, written, data in pieces:
        if piece == 0:
            found.append([])
        expected = (number, role, len(found) - 1, len(found[-1]) if found else 0)
        if (number, role, frame, piece) != expected or not is_whole(written, expected, (data,)):
            raise DamagedFrames
        found[-1].append(data)
    if count not in (None, len(found)):
        raise DamagedFrames
    return [parts[0] if len(parts) == 1 else b"".join(parts) for parts in found]


@dataclass(frozen=True, slots=True)
class StoredTotal:
    """A total as it is when this transaction is written: digests of its pieces, if it is a large one."""

    query: str
    digests: Mapping[Place, bytes]


class Totals:
    """The totals of running queries in the table of frames. It opens no transaction.

    Args:
        database: the journal's.

    Example::

        with transaction(database):
            total = totals.store("q1", frames)
        totals.written(total)
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._known: dict[str, Mapping[Place, bytes]] = {}

    def store(self, number: str, frames: Frames) -> StoredTotal:
        """Put a total in the place of the last one. Until `written` is told of it, nobody knows what is there."""
        before = self._known.pop(number, {})
        if sum(map(len, frames)) < LARGE_TOTAL:
            store(self._database, number, TOTAL, frames)
            store(self._database, number, SEAL, ())
            return StoredTotal(number, {})
        pieces = {(index, place): piece for index, place, piece in _pieces(frames, PIECE_OF_TOTAL)}
        digests = {at: hashlib.sha256(piece).digest() for at, piece in pieces.items()}
        if before.keys() == digests.keys():
            self._update(number, {at: piece for at, piece in pieces.items() if digests[at] != before[at]})
        else:
            store(self._database, number, TOTAL, frames, PIECE_OF_TOTAL)
        store(self._database, number, SEAL, [self._seal(number)])
        return StoredTotal(number, digests)

    def written(self, total: StoredTotal) -> None:
        """The transaction with this total is written."""
        if total.digests:
            self._known[total.query] = total.digests

    def forget(self, number: str) -> None:
        """A query is over, and has no total any more."""
        self._known.pop(number, None)

    def load(self, number: str) -> list[bytes]:
        """The total of a query. Raises as `stored`."""
        seal = stored(self._database, number, SEAL)
        if seal and seal != [self._seal(number)]:
            raise DamagedFrames
        return stored(self._database, number, TOTAL)

    def _update(self, number: str, changed: Mapping[Place, Buffer]) -> None:
        """Put these pieces in the place of those that are there."""
        rows = self._database.execute(
            "SELECT frame, piece, id FROM frames WHERE query = ? AND role = ?", (number, TOTAL)
        ).fetchall()
        ids = {(index, place): row for index, place, row in rows}
        self._database.executemany(
            "UPDATE frames SET sum = ?, data = ? WHERE id = ?",
            ((row_sum((number, TOTAL, *at), (piece,)), piece, ids[at]) for at, piece in changed.items()),
        )

    def _seal(self, number: str) -> bytes:
        """Of the pieces that are there, each with its checksum in its row."""
        rows = self._database.execute(
            "SELECT id, sum FROM frames WHERE query = ? AND role = ? ORDER BY id", (number, TOTAL)
        )
        return hashlib.sha256(repr(rows.fetchall()).encode()).digest()


def _pieces(frames: Frames, size: int) -> Iterator[tuple[int, int, Buffer]]:
    """The frames in pieces, each with the number of its frame, and its own in that; one without bytes is one piece."""
    for index, frame in enumerate(frames):
        view = memoryview(frame)
        for place, start in enumerate(range(0, max(1, len(view)), size)):
            yield index, place, view[start : start + size] or b""
