"""The file of a journal: whose it is, whether it is whole, and its tables when it is new."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..protocol.errors import ConnectionFailed
from . import journal_life
from .journal_lock import unusable
from .journal_sums import as_text

SCHEMA = 4
"""Since 2, a total counts the entries in it; since 3, it is known where files lie, each row has its checksum, and small
arrays of a total share frames; since 4, there are lines of the queries that are over."""
APPLICATION = int.from_bytes(b"evml", "big")
"""What SQLite's header says of whose database it is."""
PAGE = 16384
"""Bytes of a page of the database."""

_WAL_PAGES = 64
"""Pages in the write-ahead log from which on they are put in their places: what is lost with the log is little."""
_WAL_KEPT = 64 * 2**20
"""Bytes of the write-ahead log that stay allocated: room for the small transactions when the disk is full."""

FINISHED = """
CREATE TABLE finished (
    id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE REFERENCES queries ON DELETE CASCADE,
    ended_at REAL NOT NULL, bytes INTEGER NOT NULL, line BLOB NOT NULL, sum INTEGER NOT NULL
)"""
"""What a master remembers of the queries that are over, so that it starts without reading how they ended. Each `id` is the
`rowid` of its query. A line that is not there is made of what the table `queries` has."""
TABLES = f"""
CREATE TABLE queries (
    number TEXT PRIMARY KEY, submit BLOB NOT NULL, started REAL NOT NULL,
    account BLOB, report BLOB, skipped BLOB,
    ended BLOB, ended_at REAL, bytes INTEGER, frames INTEGER, sum INTEGER
);
CREATE TABLE opened (
    query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE, file INTEGER NOT NULL,
    entries INTEGER NOT NULL, clusters BLOB NOT NULL, identity TEXT NOT NULL, listed BLOB, place BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (query, file)
) WITHOUT ROWID;
CREATE TABLE done (
    query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE, file INTEGER NOT NULL, ranges BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (query, file)
) WITHOUT ROWID;
CREATE TABLE losses (
    id INTEGER PRIMARY KEY, query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE,
    file INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER, reason TEXT NOT NULL, sum INTEGER NOT NULL
);
CREATE INDEX losses_of_query ON losses (query);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE,
    role TEXT NOT NULL, frame INTEGER NOT NULL, piece INTEGER NOT NULL, sum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX frames_of_query ON frames (query, role);
{FINISHED};
{journal_life.TABLE};
"""
"""`role` of a frame: "submission", "total", "skipped" or "result"; pieces of one frame have the same number `frame`.
Each row has its checksum (`journal_sums`). `frames` of a query: of its submission, or of its result once it is over."""


def open_database(path: Path, durable: bool) -> sqlite3.Connection:
    """The database, checked, or made."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        mode = os.fstat(descriptor).st_mode
        os.close(descriptor)
    except OSError as error:
        raise unusable(path, error) from None
    if mode & 0o077:
        raise ConnectionFailed(
            f"the journal {path} is open to others (mode {mode & 0o777:04o}), and what is in it is run by workers: "
            f"move it away, or `chmod 600 {path}` if nobody can have changed it"
        )
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    database.text_factory = as_text
    try:
        _prepare(database, path)
        database.execute(f"PRAGMA synchronous = {'NORMAL' if durable else 'OFF'}")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # so is what SQLite quotes of damaged names
        database.close()
        if type(error) is sqlite3.OperationalError:  # the disk's fault, not that of what is on it
            raise unusable(path, error) from error
        raise damaged(path, error) from error
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
    if not new and schema == SCHEMA - 1:
        with transaction(database):
            database.execute(FINISHED)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
    elif not new and schema != SCHEMA:
        raise ConnectionFailed(
            f"the journal {path} has layout {schema}, this version of eventmill reads layout {SCHEMA}: "
            "use the version that wrote it, or move it away"
        )
    if not new:
        _check(database, path)
    database.execute(f"PRAGMA page_size = {PAGE}")
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if pragma("journal_mode = WAL") != "wal":
        raise ConnectionFailed(f"the file system of the journal {path} cannot hold it: choose a folder on a local disk")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    pragma(f"journal_size_limit = {_WAL_KEPT}")
    if new:
        with transaction(database):
            for statement in TABLES.split(";"):
                database.execute(statement)
            journal_life.begin(database)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {SCHEMA}")
        pragma("wal_checkpoint(TRUNCATE)")  # whoever removes the log leaves a journal


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Raise `ConnectionFailed` unless the database holds the tables that we make, and is whole. An index is made again from
    its table if need be."""
    made = contextlib.closing(sqlite3.connect(":memory:"))
    with made as own:
        own.executescript(TABLES)
        if _statements(own) != _statements(database):
            raise damaged(path, "its tables are not those of a journal")
    for attempt in (1, 2):
        found = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
        if found == "ok":
            return
        if attempt == 1:
            with contextlib.suppress(sqlite3.DatabaseError):  # what is wrong, the next look says
                database.execute("REINDEX")
    raise damaged(path, " ".join(found.split()))


def _statements(database: sqlite3.Connection) -> list[Any]:
    return database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written meanwhile is written, or none of it when something is raised."""
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def damaged(path: Path, what: object) -> ConnectionFailed:
    """The error that says what is wrong with a journal, and what to do."""
    return ConnectionFailed(
        f"the journal {path} is damaged or no journal ({what}): move it and {path.name}-wal away and start the master "
        "again, without the queries in it"
    )
