"""The life of a journal: how often it was written, which tells what is missing of it, and for how long masters have run.

A write-ahead log that was cut off, or removed, takes its transactions with it, and SQLite says nothing: what is left is
whole. So each transaction is counted, in the database and, once it is in there, in the file of the lock.

Results are kept for so many days of masters that run: no clock that was set wrong, at a start or while one runs, makes any
of them old.
"""

from __future__ import annotations

import secrets
import sqlite3

from .journal_lock import JournalLock
from .journal_sums import is_whole, row_sum

TABLE = "CREATE TABLE life (journal TEXT NOT NULL, writes INTEGER NOT NULL, ran REAL NOT NULL, sum INTEGER NOT NULL)"


def begin(database: sqlite3.Connection) -> None:
    """A new journal begins: with the table, in the transaction that makes all tables."""
    values = secrets.token_hex(8), 0, 0.0
    database.execute("INSERT INTO life VALUES (?, ?, ?, ?)", (*values, row_sum(values)))


class Life:
    """What the row of the table `life` says.

    Args:
        database: of the journal.
        lock: on it.

    Attributes:
        ran: seconds for which masters have run with the journal, as far as that is written.
        missing: what was written to the journal and is not in it, in words; empty if all is.
    """

    def __init__(self, database: sqlite3.Connection, lock: JournalLock) -> None:
        self._database = database
        self._lock = lock
        *values, written = database.execute("SELECT journal, writes, ran, sum FROM life").fetchone()
        sound = is_whole(written, values)
        self._journal: str = values[0] if sound else secrets.token_hex(8)
        self._writes: int = values[1] if sound else 0
        self.ran: float = values[2] if sound else 0.0
        self.missing = self._lacks() if sound else "how often it was written is damaged in it"

    def _lacks(self) -> str:
        if self._lock.told is None:
            return ""
        journal, writes = self._lock.told
        if journal != self._journal:
            return f"the one that was written to before, {writes} times, is not in its place any more"
        lost = writes - self._writes
        if lost <= 0:
            return ""
        last = "the last write is" if lost == 1 else f"the last {lost} writes are"
        return f"{last} not in it: its write-ahead log was removed, cut off or damaged"

    def write(self) -> None:
        """Count the transaction that is being written."""
        values = self._journal, self._writes + 1, self.ran
        self._database.execute("UPDATE life SET journal = ?, writes = ?, ran = ?, sum = ?", (*values, row_sum(values)))

    def written(self) -> None:
        """It is in the database."""
        self._writes += 1
        self._lock.tell(self._journal, self._writes)
