"""The dataset catalogue on disk, in a file of the master's own: it is there for the next master."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import msgspec

from ..protocol.errors import ConnectionFailed
from ..protocol.messages import DatasetInfo
from .catalogue import Kept
from .effects import SaveDataset
from .state_files import opened

log = logging.getLogger(__name__)

_TABLE = "CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, info BLOB NOT NULL, files BLOB NOT NULL)"


class CatalogueRecords:
    """The file, open.

    Args:
        path: of the file, which is made with the first dataset.

    Raises:
        ConnectionFailed: it is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._waiting: dict[str, Kept | None] = {}
        if path.exists():
            try:
                self._database = opened(path, _TABLE)
            except sqlite3.Error as error:
                raise ConnectionFailed(self._unreadable(error)) from error

    def load(self) -> list[Kept]:
        """What is written down. Raises `ConnectionFailed`."""
        if self._database is None:
            return []
        try:
            rows = self._database.execute("SELECT info, files FROM datasets ORDER BY name")
            return [(msgspec.msgpack.decode(info, type=DatasetInfo), files) for info, files in rows]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise ConnectionFailed(self._unreadable(error)) from error

    def write(self, change: SaveDataset) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        self._waiting[change.name] = change.kept
        try:
            database = self._database = self._database or opened(self._path, _TABLE)
            with database:
                for name, kept in self._waiting.items():
                    if kept is None:
                        database.execute("DELETE FROM datasets WHERE name = ?", (name,))
                    else:
                        row = (name, msgspec.msgpack.encode(kept[0]), kept[1])
                        database.execute("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)", row)
        except (sqlite3.Error, OSError) as error:
            log.error(
                "datasets cannot be written into %s, and their registration is lost when the master ends: %s",
                self._path, error,
            )  # fmt: skip
        else:
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _unreadable(self, error: Exception) -> str:
        return (
            f"{self._path}, the catalogue of datasets, cannot be read ({error}): move it away and start the master again, "
            "without its datasets"
        )
