"""Where a master writes down its users, tokens and the keys of workers: `access.sqlite` beside its own keys.

It holds public keys only; and what users wish of pools, with what was learnt of these. It is apart from the journal, since
users stay when old queries are moved away.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from .access import Change, Enrolled, Record, Token, User, Wish
from .state_files import StateFile, Statement
from .wishes import Starts, Wished

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
        self._file = StateFile(path, _TABLE, "the users and tokens of this master")
        self.close = self._file.close

    def load(self) -> list[Kept]:
        """What is written down: users and tokens before the workers that came with these. Raises `ConnectionFailed`."""
        records: list[Kept] = []
        for kind, of in _KINDS.items():
            decoded = partial(msgspec.msgpack.decode, type=of)
            records += self._file.load("SELECT record FROM access WHERE kind = ?", (kind,), decoded)
        return records

    def write(self, changes: Sequence[Change]) -> None:
        """Write down what has changed. What cannot be written is tried again with the next change."""
        self._file.write([_statement(change) for change in changes])


def _statement(change: Change) -> Statement:
    kind, name, record = change
    if record is None:
        return "DELETE FROM access WHERE kind = ? AND name = ?", (kind, name)
    return "INSERT OR REPLACE INTO access VALUES (?, ?, ?)", (kind, name, msgspec.msgpack.encode(record))
