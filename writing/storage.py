"""Where rows go: a folder that all workers see, or a server. One interface over what can be written to.

Paths in it are whole: of a folder's files, or URLs.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..analysis.writes import is_url
from ..protocol.codec import Buffer
from ..protocol.errors import OutputError

T = TypeVar("T")


class Storage(ABC):
    """What files are written to. Whatever it does raises `OutputError`, which names host and place."""

    @abstractmethod
    def make(self, folder: str) -> None:
        """Have a folder, and those above it; fail if nothing can be written there."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Of all that is in a folder; of none, nothing."""

    @abstractmethod
    def put(self, path: str, data: Buffer) -> None:
        """Write a whole file of a name that nobody else uses. It is there, and on disk, when this returns."""

    @abstractmethod
    def send(self, local: Path, path: str) -> None:
        """As `put`, of what is in a file of this machine, which may be gone afterwards."""

    @abstractmethod
    def get(self, path: str) -> bytes | None:
        """What is in a file; None if there is none."""

    @abstractmethod
    def move(self, path: str, to: str) -> bool:
        """Give a file another name, in the place of what had it; whether there was one."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def remove_all(self, folder: str) -> None:
        """Remove a folder with all in it, if it is there."""

    def scratch(self, folder: str) -> str | None:
        """A folder of this machine on the same disk, if there is one: `send` need not copy what is in it."""
        return None


class Folder(Storage):
    """A file system."""

    def make(self, folder: str) -> None:
        def make() -> None:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - paths are texts here
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        _tried(make, f"{folder} cannot be written to")

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _error(error, f"{folder} cannot be listed") from error

    def put(self, path: str, data: Buffer) -> None:
        def put() -> None:
            with open(path, "xb") as file:  # noqa: PTH123
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

        try:
            _tried(put, f"{path} cannot be written")
        except OutputError:
            self.remove(path)
            raise

    def send(self, local: Path, path: str) -> None:
        def send() -> None:
            with local.open("rb") as file:
                os.fsync(file.fileno())
            local.replace(path)

        _tried(send, f"{path} cannot be written")

    def get(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _error(error, f"{path} cannot be read") from error

    def move(self, path: str, to: str) -> bool:
        try:
            os.replace(path, to)  # noqa: PTH105
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _error(error, f"{to} cannot be written") from error
        return True

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def remove_all(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # others may be at it, too
        if Path(folder).exists():
            raise OutputError(f"on {socket.gethostname()}: {folder} cannot be removed")

    def scratch(self, folder: str) -> str | None:
        return folder


def storage_of(target: str) -> Storage:
    """What writes to a target."""
    if not is_url(target):
        return Folder()
    if target.startswith(("root://", "roots://")):
        from .xrootd import XRootDStorage

        return XRootDStorage()
    from .filesystems import FsspecStorage

    return FsspecStorage(target)


def join(folder: str, name: str) -> str:
    """The path of what is in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def base(path: str) -> str:
    """The name of what has a path."""
    return path.rpartition("/")[2]


def _tried(call: Callable[[], T], what: str) -> T:
    try:
        return call()
    except OSError as error:
        raise _error(error, what) from error


def _error(error: OSError, what: str) -> OutputError:
    return OutputError(f"on {socket.gethostname()}: {what}: {error.strerror or error}")
