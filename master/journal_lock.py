"""Whose a journal is: one master's at a time; and what the last one has written, for the next one to compare."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path

from ..protocol.errors import ConnectionFailed
from ..system.locks import lock
from ..system.private_folders import make_private

_ROOM = 512
"""Bytes of the lock's file, always: a disk that is full has no room for more."""


class JournalLock:
    """A lock on the journal `path`, until it is closed or the process ends, however it does.

    Attributes:
        told: the journal that the last master wrote to, by its number, and how often it was written; none if there was none.

    Raises:
        ConnectionFailed: another process has it, or there can be none.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "journal.sqlite"
        >>> first = JournalLock(path); first.tell("7f", 3); first.close()
        >>> JournalLock(path).told
        ('7f', 3)
        >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        file = path.with_name(f"{path.name}.lock")
        try:
            make_private(path.parent)
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(path, error) from None
        try:
            self.told = self._take(path, file)
        except OSError as error:
            self.close()
            raise unusable(path, error) from None
        except ConnectionFailed:
            self.close()
            raise

    def _take(self, path: Path, file: Path) -> tuple[str, int] | None:
        content = os.pread(self._descriptor, 10_000, 0)
        if not lock(self._descriptor):
            raise ConnectionFailed(
                f"another master uses the journal {path}: {_holder(content)}; stop that one, or give this one another name"
            )
        if content and not content.startswith(b'{"host"'):
            raise ConnectionFailed(f"{file} is not the lock of a journal: give the journal {path} another name")
        told = _told(content)
        self._write(told)
        return told

    def tell(self, journal: str, writes: int) -> None:
        """The journal of this number has been written so often."""
        with contextlib.suppress(OSError):  # what is said is too little then, never too much
            self._write((journal, writes))

    def _write(self, told: tuple[str, int] | None) -> None:
        holder = {"host": platform.node(), "pid": os.getpid()}
        what = {} if told is None else {"journal": told[0], "writes": told[1]}
        os.pwrite(self._descriptor, json.dumps(holder | what).encode().ljust(_ROOM), 0)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)


def _holder(content: bytes) -> str:
    """Who holds a lock, by what stands in the lock's file."""
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, LookupError, TypeError):
        return "a process that has only just started"


def _told(content: bytes) -> tuple[str, int] | None:
    """What stands in the lock's file of the journal."""
    try:
        said = json.loads(content)
        return str(said["journal"]), int(said["writes"])
    except (ValueError, LookupError, TypeError):
        return None


def unusable(path: Path, error: Exception) -> ConnectionFailed:
    """The error that says why a journal cannot be used, and what to do."""
    reason = error.strerror if isinstance(error, OSError) else error
    return ConnectionFailed(
        f"the journal {path} cannot be used: {reason}; mend that, or let the master have another folder"
    )
