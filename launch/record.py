"""What a launcher writes down before it does it, so that the next one finds its jobs and starts none twice."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from ..protocol.errors import EventmillError
from ..system.locks import lock
from ..system.private_folders import make_private
from .effects import ForgetJobs, SaveCall, Saved, SaveJobs, SaveWanted, Saving

log = logging.getLogger(__name__)

FILE = "launches.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS launchers (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS wanted (pool TEXT PRIMARY KEY, workers INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS by_hand (pool TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS calls (pool TEXT NOT NULL, call TEXT NOT NULL, workers INTEGER NOT NULL, PRIMARY KEY (pool,
call)); CREATE TABLE IF NOT EXISTS jobs (pool TEXT NOT NULL, job TEXT NOT NULL, call TEXT NOT NULL, PRIMARY KEY (pool,
job));
"""


class Record:
    """The record in a folder, which no other launcher may use meanwhile.

    Args:
        folder: where it lies; it is made.

    Attributes:
        number: of this launcher; no earlier one of this record had it.

    Raises:
        EventmillError: another launcher uses the folder, or the record cannot be read or written.

    Example:
        >>> import tempfile
        >>> record = Record(Path(tempfile.mkdtemp()))
        >>> record.write(SaveWanted("batch", 8))
        >>> record.saved["batch"].wanted, record.number
        (8, 1)
        >>> record.close()
    """

    def __init__(self, folder: Path) -> None:
        make_private(folder)
        self._path = folder / FILE
        self._held = (folder / ".lock").open("w")
        if not _locked(self._held.fileno()):
            self._held.close()
            raise EventmillError(f"another launcher runs pools in {folder}: end that one first, or give another folder")
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._path.chmod(0o600)
            self._database.executescript(f"PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=NORMAL; {_TABLES}")
            self.number = int(self._database.execute("INSERT INTO launchers DEFAULT VALUES").lastrowid or 0)
        except (sqlite3.Error, OSError) as error:
            self._held.close()
            raise EventmillError(
                f"the launcher's record {self._path} cannot be used ({error}): if it is damaged, remove it, and end by "
                "hand the jobs that it may have left"
            ) from None

    @property
    def saved(self) -> Mapping[str, Saved]:
        """What earlier launchers have left, by pool."""
        wanted = dict(self._database.execute("SELECT pool, workers FROM wanted"))
        calls: dict[str, dict[str, int]] = {}
        jobs: dict[str, dict[str, str]] = {}
        for pool, call, workers in self._database.execute("SELECT pool, call, workers FROM calls"):
            calls.setdefault(pool, {})[call] = workers
        for pool, job, call in self._database.execute("SELECT pool, job, call FROM jobs ORDER BY rowid"):
            jobs.setdefault(pool, {})[job] = call
        by_hand = {pool for (pool,) in self._database.execute("SELECT pool FROM by_hand")}
        pools = {*wanted, *calls, *jobs}
        return {
            pool: Saved(wanted.get(pool, 0), calls.get(pool, {}), jobs.get(pool, {}), pool in by_hand) for pool in pools
        }

    def write(self, saving: Saving) -> None:
        """Write one thing down; it is there when this returns, also for a process that is killed afterwards.

        Raises:
            EventmillError: it cannot be written, as when the disk is full.
        """
        try:
            with self._database:
                self._database.execute("BEGIN")
                self._put(saving)
        except sqlite3.Error as error:
            raise EventmillError(f"the launcher's record {self._path} cannot be written: {error}") from None

    def _put(self, saving: Saving) -> None:
        execute, pool = self._database.execute, saving.pool
        match saving:
            case SaveWanted():
                execute("INSERT OR REPLACE INTO wanted VALUES (?, ?)", (pool, saving.workers))
                if saving.by_hand:
                    execute("INSERT OR REPLACE INTO by_hand VALUES (?)", (pool,))
                else:
                    execute("DELETE FROM by_hand WHERE pool = ?", (pool,))
            case SaveCall():
                execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", (pool, saving.call, saving.count))
            case SaveJobs():
                execute("DELETE FROM calls WHERE pool = ? AND call = ?", (pool, saving.call))
                jobs = [(pool, job, saving.call) for job in saving.jobs]
                self._database.executemany("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)", jobs)
            case ForgetJobs():
                gone = [(pool, job) for job in saving.jobs]
                self._database.executemany("DELETE FROM jobs WHERE pool = ? AND job = ?", gone)

    def close(self) -> None:
        """Let another launcher use it."""
        self._database.close()
        self._held.close()


def _locked(descriptor: int) -> bool:
    """Lock an open file; on a file system without locks it is the user who sees to it that there is one launcher only."""
    try:
        return lock(descriptor)
    except OSError as error:
        log.warning("the launcher's folder cannot be locked (%s): run one launcher in it only", error.strerror)
        return True
