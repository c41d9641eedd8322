"""The dataset catalogue on disk, in a file of the master's own: it is there for the next master."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..protocol.messages import DatasetInfo
from .catalogue import Kept
from .effects import SaveDataset
from .state_files import StateFile

_TABLE = "CREATE TABLE IF NOT EXISTS datasets (name TEXT PRIMARY KEY, info BLOB NOT NULL, files BLOB NOT NULL)"


class CatalogueRecords:
    """The file, open.

    Args:
        path: of the file, which is made with the first dataset.

    Raises:
        ConnectionFailed: it is there and cannot be read, or others can write it.
    """

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, _TABLE, "the catalogue of datasets")
        self.close = self._file.close

    def load(self) -> list[Kept]:
        """What is written down. Raises `ConnectionFailed`."""
        return self._file.load("SELECT info, files FROM datasets ORDER BY name", (), _kept)

    def write(self, change: SaveDataset) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        if change.kept is None:
            self._file.write([("DELETE FROM datasets WHERE name = ?", (change.name,))])
        else:
            info, files = change.kept
            row = (change.name, msgspec.msgpack.encode(info), files)
            self._file.write([("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)", row)])


def _kept(info: bytes, files: bytes) -> Kept:
    return msgspec.msgpack.decode(info, type=DatasetInfo), files
