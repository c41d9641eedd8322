"""The rows of all queries of a journal, each looked at: those that are damaged, and whose they were.

Of a row whose key is damaged nobody knows whose it was, so that every query may lack it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .journal_sums import is_theirs, is_whole


class DamagedFrames(Exception):
    """Frames are not what was written."""


_TABLES = {"opened": 2, "done": 2, "losses": 1}
"""How many columns the key of a row has; its checksum is the last of all."""


@dataclass(slots=True)
class Rows:
    """What the tables have, by the number of the query.

    Attributes:
        opened, done, losses: rows of these tables, without key and checksum; of `losses` as they came.
        damaged: queries of which a row is damaged.
        strangers: rows of which nobody knows whose they were: table, and the condition that finds one.
        lost: rows of queries that cannot go on.
        damage: in words.
    """

    opened: dict[str, list[Sequence[Any]]] = field(default_factory=lambda: defaultdict(list))
    done: dict[str, list[Sequence[Any]]] = field(default_factory=lambda: defaultdict(list))
    losses: dict[str, list[Sequence[Any]]] = field(default_factory=lambda: defaultdict(list))
    damaged: dict[str, str] = field(default_factory=dict)
    strangers: list[tuple[str, str, tuple[Any, ...]]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, database: sqlite3.Connection) -> Rows:
        """All of the queries that run. Large frames are not read: whoever wants them looks at them; so are results."""
        rows = cls()
        rows._take("opened", rows.opened, database.execute("SELECT * FROM opened"))
        rows._take("done", rows.done, database.execute("SELECT * FROM done"))
        losses = "SELECT query, file, start, stop, reason, sum, id FROM losses ORDER BY id"
        for *row, number in database.execute(losses):
            rows._take_row("losses", rows.losses, row, ("id = ?", (number,)))
        running = "SELECT id FROM frames WHERE role != 'result'"
        frames = f"SELECT query, role, frame, piece, sum, id FROM frames WHERE id IN ({running})"  # noqa: S608 - of ours
        for *key, written, number in database.execute(frames):
            if not is_theirs(written, key):
                rows._meet_stranger("frames", "id = ?", (number,))
        return rows

    def _take(self, table: str, into: dict[str, list[Sequence[Any]]], found: Any) -> None:
        for row in found:
            self._take_row(table, into, row, ("query = ? AND file = ?", row[:2]))

    def _take_row(
        self, table: str, into: dict[str, list[Sequence[Any]]], row: Sequence[Any], place: tuple[str, Sequence[Any]]
    ) -> None:
        width = _TABLES[table]
        key, values, written = row[:width], row[width:-1], row[-1]
        if is_whole(written, key, values):
            into[key[0]].append(values if width == 1 else (key[1], *values))
        elif is_theirs(written, key):
            self.damaged.setdefault(key[0], table)
        else:
            self._meet_stranger(table, place[0], tuple(place[1]))

    def _meet_stranger(self, table: str, condition: str, values: tuple[Any, ...]) -> None:
        if not self.strangers:
            self.damage.append(f"a row of its table {table} that may be of any query")
        self.strangers.append((table, condition, values))

    def give_up(self, rowid: int, what: str) -> None:
        """A query cannot go on."""
        self.lost.append(rowid)
        self.damage.append(what)

    def do_again(self, number: str) -> str:
        """The progress of a query is damaged: what that means to its user."""
        self.damage.append(f"query {number}: what was done of it; all of it is done again")
        return "the journal that the master was started again with was damaged: all of this query is done again"

    def remove(self, database: sqlite3.Connection) -> None:
        """Remove what is of no use any more."""
        for table, condition, values in self.strangers:
            database.execute(f"DELETE FROM {table} WHERE {condition}", values)  # noqa: S608 - names of ours
        database.executemany("DELETE FROM queries WHERE rowid = ?", [(rowid,) for rowid in self.lost])
