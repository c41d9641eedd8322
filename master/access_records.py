"""Where a master writes down its users, tokens and the keys of workers: `access.sqlite` beside its own keys.

It holds public keys only; and what users wish of pools, with what was learnt of these. It is apart from the journal, since
users stay when old queries are moved away.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..protocol.errors import ConnectionFailed
from .access import Change, Enrolled, Record, Token, User, Wish
from .state_files import opened
from .wishes import Starts, Wished

log = logging.getLogger(__name__)

Kept = Record | Wish
_KINDS: dict[str, type[Kept]] = {"user": User, "token": Token, "worker": Enrolled, "wish": Wished, "starts": Starts}
_TABLE = """
CREATE TABLE IF NOT EXISTS access (
    kind TEXT NOT NULL, name TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID
"""


class AccessRecords:
    """The file, open.

    Args:
        path: of the file, which is made with the first thing that is written.

    Raises:
        ConnectionFailed: it is there and cannot be read, or others can write it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._waiting: list[Change] = []
        if path.exists():
            mode = path.stat().st_mode
            if mode & 0o077:
                raise ConnectionFailed(
                    f"{path} is open to others (mode {mode & 0o777:04o}), and says who may use this master: "
                    f"`chmod 600 {path}` if nobody can have changed it"
                )
            try:
                self._database = opened(path, _TABLE)
            except sqlite3.Error as error:
                raise ConnectionFailed(self._unreadable(error)) from error

    def load(self) -> list[Kept]:
        """What is written down: users and tokens before the workers that came with these. Raises `ConnectionFailed`."""
        if self._database is None:
            return []
        records: list[Kept] = []
        try:
            for kind, of in _KINDS.items():
                rows = self._database.execute("SELECT record FROM access WHERE kind = ?", (kind,))
                records += [msgspec.msgpack.decode(row, type=of) for (row,) in rows]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise ConnectionFailed(self._unreadable(error)) from error
        return records

    def write(self, changes: Sequence[Change]) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        self._waiting += changes
        try:
            database = self._database = self._database or opened(self._path, _TABLE)
            with database:
                for kind, name, record in self._waiting:
                    if record is None:
                        database.execute("DELETE FROM access WHERE kind = ? AND name = ?", (kind, name))
                    else:
                        row = (kind, name, msgspec.msgpack.encode(record))
                        database.execute("INSERT OR REPLACE INTO access VALUES (?, ?, ?)", row)
        except (sqlite3.Error, OSError) as error:
            log.error(
                "who may use this master cannot be written into %s, and is lost when it ends: %s", self._path, error
            )
        else:
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _unreadable(self, error: Exception) -> str:
        return (
            f"{self._path}, which says who may use this master, cannot be read ({error}): move it away and start the master "
            "again, without its users and tokens"
        )
