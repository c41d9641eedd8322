"""The dataset catalogue on disk, in a file of the master's own: it is there for the next master."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..protocol.messages import DatasetInfo
from .catalogue import Kept
from .effects import SaveDataset
from .layouts import MOST_BYTES
from .peers import Whose
from .state_files import StateFile, Statement

_TABLES = """
CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, info BLOB NOT NULL, files BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS layouts (name TEXT PRIMARY KEY, user TEXT NOT NULL, owner TEXT NOT NULL, layouts BLOB NOT NULL);
"""


class CatalogueRecords:
    """The file, open.

    Args:
        path: of the file, which is made with the first dataset.

    Raises:
        ConnectionFailed: it is there and cannot be read, or others can write it.
    """

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, _TABLES, "the catalogue of datasets")
        self.close = self._file.close

    def load(self) -> list[Kept]:
        """What is written down, with as many layouts as a master keeps. Raises `ConnectionFailed`."""
        sizes = self._file.load("SELECT name, length(layouts) FROM layouts ORDER BY rowid DESC", (), _named)
        left, layouts = MOST_BYTES, dict[str, tuple[Whose, bytes]]()
        for name, size in sizes:
            left -= size
            if left >= 0:
                query = "SELECT user, owner, layouts FROM layouts WHERE name = ?"
                (layouts[name],) = self._file.load(query, (name,), _told)
        kept = self._file.load("SELECT info, files FROM datasets ORDER BY name", (), _kept)
        return [(info, files, layouts.get(info.name)) for info, files in kept]

    def write(self, change: SaveDataset) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        statements: list[Statement] = [
            ("DELETE FROM datasets WHERE name = ?", (change.name,)),
            ("DELETE FROM layouts WHERE name = ?", (change.name,)),
        ]
        if change.kept is not None:
            info, files = change.kept
            statements.append(
                ("INSERT INTO datasets VALUES (?, ?, ?)", (change.name, msgspec.msgpack.encode(info), files))
            )
        if change.layouts is not None:
            (user, owner), layouts = change.layouts
            statements.append(("INSERT INTO layouts VALUES (?, ?, ?, ?)", (change.name, user, owner, layouts)))
        self._file.write(statements)


def _kept(info: bytes, files: bytes) -> tuple[DatasetInfo, bytes]:
    return msgspec.msgpack.decode(info, type=DatasetInfo), files


def _named(name: str, size: int) -> tuple[str, int]:
    return name, size


def _told(user: str, owner: str, layouts: bytes) -> tuple[Whose, bytes]:
    return (user, owner), layouts
