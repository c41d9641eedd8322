"""Small databases that a master keeps beside its keys: private to its account, and whole after a crash."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..protocol.errors import ConnectionFailed

log = logging.getLogger(__name__)

Statement = tuple[str, tuple[Any, ...]]
"""Of SQL, and the values of its places."""
T = TypeVar("T")


class StateFile:
    """One of them.

    Args:
        path: of the file, which is made with the first thing that is written.
        table: the statements that make its tables, where they are not there.
        content: what is in it, as messages say it.

    Raises:
        ConnectionFailed: it is there and cannot be read, or others can have changed it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "notes.sqlite"
        ...     notes = StateFile(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT)", "notes")
        ...     notes.write([("INSERT INTO notes VALUES (?)", ("begun",))])
        ...     print(notes.load("SELECT text FROM notes", (), str), oct(path.stat().st_mode & 0o777))
        ...     notes.close()
        ['begun'] 0o600
    """

    def __init__(self, path: Path, table: str, content: str) -> None:
        self._path, self._table, self._content = path, table, content
        self._database: sqlite3.Connection | None = None
        self._waiting: list[Statement] = []
        if path.exists():
            mode = path.stat().st_mode
            if mode & 0o077:
                raise ConnectionFailed(
                    f"{path}, with {content}, is open to others (mode {mode & 0o777:04o}): `chmod 600 {path}` if nobody can "
                    "have changed it"
                )
            try:
                self._database = _opened(path, table)
            except sqlite3.Error as error:
                raise self._unreadable(error) from error

    def load(self, query: str, values: tuple[Any, ...], record: Callable[..., T]) -> list[T]:
        """What a query finds: a record is made of the columns of each row. Raises `ConnectionFailed`."""
        if self._database is None:
            return []
        try:
            return [record(*row) for row in self._database.execute(query, values)]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._unreadable(error) from error

    def write(self, statements: Sequence[Statement]) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        self._waiting += statements
        try:
            database = self._database = self._database or _opened(self._path, self._table)
            with database:
                for statement, values in self._waiting:
                    database.execute(statement, values)
        except (sqlite3.Error, OSError) as error:
            log.error(
                "%s, with %s, cannot be written, and what has changed is lost when the master ends: %s",
                self._path, self._content, error,
            )  # fmt: skip
        else:
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _unreadable(self, error: Exception) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self._path}, with {self._content}, cannot be read ({error}): move it away and start the master again, "
            "without them"
        )


def _opened(path: Path, table: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(table)
    except sqlite3.Error:
        database.close()
        raise
    return database
