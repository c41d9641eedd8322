"""The file of a journal: its lock, whose it is, whether it is whole, and its tables when it is new."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..protocol.errors import ConnectionFailed
from ..system.locks import lock
from ..system.private_folders import make_private

SCHEMA = 3
"""Since 2, a total counts the entries in it; since 3, it is known where files lie, each row has its checksum, and small
arrays of a total share frames."""
APPLICATION = int.from_bytes(b"evml", "big")
"""What SQLite's header says of whose database it is."""
PAGE = 16384
"""Bytes of a page of the database."""

_WAL_KEPT = 64 * 2**20
"""Bytes of the write-ahead log that stay allocated: room for the small transactions when the disk is full."""

TABLES = """
CREATE TABLE queries (
    number TEXT PRIMARY KEY, submit BLOB NOT NULL, started REAL NOT NULL,
    account BLOB, report BLOB, skipped BLOB,
    ended BLOB, ended_at REAL, bytes INTEGER
);
CREATE TABLE opened (
    query TEXT NOT NULL REFERENCES queries ON DELETE CASCADE, file INTEGER NOT NULL,
    entries INTEGER NOT NULL, clusters BLOB NOT NULL, identity TEXT NOT NULL, listed BLOB, place BLOB NOT NULL,
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


def lock_journal(path: Path) -> int:
    """Lock a journal for this process, until the descriptor is closed or the process ends, however it does."""
    file = path.with_name(f"{path.name}.lock")
    try:
        make_private(path.parent)
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


def open_database(path: Path, durable: bool) -> sqlite3.Connection:
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
    if not new and schema != SCHEMA:
        raise ConnectionFailed(
            f"the journal {path} has layout {schema}, this version of eventmill reads layout {SCHEMA}: "
            "use the version that wrote it, or move it away"
        )
    found = "ok" if new else pragma("quick_check(1)")
    if found != "ok":
        raise damaged(path, " ".join(found.split()))
    database.execute(f"PRAGMA page_size = {PAGE}")
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if pragma("journal_mode = WAL") != "wal":
        raise ConnectionFailed(f"the file system of the journal {path} cannot hold it: choose a folder on a local disk")
    database.execute("PRAGMA foreign_keys = ON")
    pragma(f"journal_size_limit = {_WAL_KEPT}")
    if new:
        with transaction(database):
            for statement in TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {SCHEMA}")


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


def _unusable(path: Path, error: Exception) -> ConnectionFailed:
    reason = error.strerror if isinstance(error, OSError) else error
    return ConnectionFailed(
        f"the journal {path} cannot be used: {reason}; mend that, or let the master have another folder"
    )


def damaged(path: Path, what: object) -> ConnectionFailed:
    """The error that says what is wrong with a journal, and what to do."""
    return ConnectionFailed(
        f"the journal {path} is damaged or no journal ({what}): move it and {path.name}-wal away and start the master "
        "again, without the queries in it"
    )
