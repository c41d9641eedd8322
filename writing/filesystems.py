"""Object stores and whatever else fsspec writes to, as what rows are written to."""

from __future__ import annotations

import functools
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..protocol.codec import Buffer
from ..protocol.errors import OutputError
from .storage import Storage, base, join

T = TypeVar("T")


class FsspecStorage(Storage):
    """What fsspec finds at a URL: `s3://` with s3fs, for example, which takes keys and endpoint from where boto does.

    Args:
        target: any URL of it.
    """

    def __init__(self, target: str) -> None:
        self._protocol = target.partition("://")[0]

    @functools.cached_property
    def _system(self) -> Any:
        import fsspec

        try:
            return fsspec.filesystem(self._protocol)
        except (ImportError, ValueError) as error:
            raise OutputError(
                f"on {socket.gethostname()}: {self._protocol}:// cannot be written to: {error}"
            ) from error

    def make(self, folder: str) -> None:
        def make() -> None:
            self._system.makedirs(folder, exist_ok=True)
            trial = join(folder, f"trial-{secrets.token_hex(4)}")
            self._system.pipe_file(trial, b"")
            self._system.rm_file(trial)

        _tried(make, f"{folder} cannot be written to")

    def names(self, folder: str) -> list[str]:
        def names() -> list[str]:
            self._system.invalidate_cache()
            return sorted(base(path) for path in self._system.ls(folder, detail=False))

        try:
            return [name for name in _tried(names, f"{folder} cannot be listed") if name]
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise

    def put(self, path: str, data: Buffer) -> None:
        _tried(lambda: self._system.pipe_file(path, bytes(data)), f"{path} cannot be written")

    def send(self, local: Path, path: str) -> None:
        _tried(lambda: self._system.put_file(str(local), path), f"{path} cannot be written")

    def get(self, path: str) -> bytes | None:
        try:
            return bytes(_tried(lambda: self._system.cat_file(path), f"{path} cannot be read"))
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def move(self, path: str, to: str) -> bool:
        def move() -> None:
            self._system.invalidate_cache()
            self._system.mv(path, to)

        try:
            _tried(move, f"{to} cannot be written")
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    def remove(self, path: str) -> None:
        def remove() -> None:
            self._system.invalidate_cache()
            if self._system.exists(path):
                self._system.rm_file(path)

        _tried(remove, f"{path} cannot be removed")

    def remove_all(self, folder: str) -> None:
        def remove() -> None:
            self._system.invalidate_cache()
            if self._system.exists(folder):
                self._system.rm(folder, recursive=True)

        _tried(remove, f"{folder} cannot be removed")


def _tried(call: Callable[[], T], what: str) -> T:
    try:
        return call()
    except OutputError:
        raise
    except Exception as error:  # of as many kinds as there are file systems
        raise OutputError(f"on {socket.gethostname()}: {what}: {type(error).__name__}: {error}") from error
