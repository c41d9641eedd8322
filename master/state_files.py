"""Small databases that a master keeps beside its keys: private to its account, and whole after a crash."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path


def opened(path: Path, table: str) -> sqlite3.Connection:
    """A database with a table, which is made if it is not there.

    Args:
        path: of its file.
        table: the statement that makes the table.

    Raises:
        sqlite3.Error: it is no database, or cannot be read or written; so does `OSError` say.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "notes.sqlite"
        ...     opened(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT)").close()
        ...     oct(path.stat().st_mode & 0o777)
        '0o600'
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(table)
    except sqlite3.Error:
        database.close()
        raise
    return database
