"""A folder of files that are named by their content: what is in one is known, and need not be sent or written again."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Collection
from pathlib import Path

from .private_folders import make_private

_NEW = ".new"


class ContentFolder:
    """Files whose names are the hexadecimal SHA-256 of what is in them.

    Args:
        path: the folder; made when there is something to be put into it.
        durable: whether what was added is there after the machine has gone down.

    Example:
        >>> import tempfile
        >>> folder = ContentFolder(Path(tempfile.mkdtemp()))
        >>> folder.add(digest_of(b"abc"), b"abc")
        >>> bytes(folder.content(digest_of(b"abc")))
        b'abc'
    """

    def __init__(self, path: Path, durable: bool = False) -> None:
        self.path = path
        self._durable = durable

    def add(self, digest: str, content: bytes | memoryview) -> None:
        """Write a file, unless it is there. Raises OSError when it cannot be written; there is no such file then."""
        file = self.path / digest
        try:
            if file.stat().st_size == len(content):
                os.utime(file)
                return
        except FileNotFoundError:
            pass
        make_private(self.path)
        new = file.with_suffix(_NEW)
        try:
            with new.open("wb") as writing:
                writing.write(content)
                writing.flush()
                if self._durable:
                    os.fsync(writing.fileno())
            new.rename(file)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def content(self, digest: str) -> memoryview:
        """What is in a file: memory that all processes share that ask for it, and that nobody can write to.

        Raises OSError when there is none.
        """
        with (self.path / digest).open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def remove(self, digest: str) -> None:
        """Remove a file, if it is there; who has its content keeps it."""
        (self.path / digest).unlink(missing_ok=True)

    def trim(self, used: Collection[str], most: int) -> None:
        """Remove what is not `used`, the oldest first, until the rest of that takes `most` bytes. Raises OSError."""
        if not self.path.is_dir():
            return
        unused = [(entry.stat().st_mtime, entry) for entry in os.scandir(self.path) if entry.name not in used]
        kept = 0
        for _, entry in sorted(unused, key=lambda it: -it[0]):
            kept += entry.stat().st_size
            if kept > most or entry.name.endswith(_NEW):
                Path(entry.path).unlink(missing_ok=True)


def digest_of(content: bytes | memoryview) -> str:
    """The name of a content."""
    return hashlib.sha256(content).hexdigest()
