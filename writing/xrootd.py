"""Files of XRootD servers as what rows are written to."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..protocol.codec import Buffer
from ..protocol.errors import OutputError
from ..reading.storage.credentials import at_work, shown, wearing
from ..reading.storage.xrootd import client
from .checksums import checksum, checksum_text
from .storage import Storage, join

SECONDS = 60
"""That a server may take to answer a request."""
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two tries when a server is not there: it may be started again."""
BLOCK = 8 * 2**20
"""Bytes that are written in one request."""
_SAYS_NO, _NOT_FOUND, _THERE = 400, 3011, 3018
_FINAL = {3002, 3005, 3009, 3010, 3013, 3016, 3018, 3019, 3025, 3030}
"""What a server says again when it is asked again: no right, no space, is a folder, is there, ..."""


class XRootDStorage(Storage):
    """What a server has, at `root://` or `roots://`, with the credentials of the query at work."""

    def make(self, folder: str) -> None:
        flags = client().flags.MkDirFlags.MAKEPATH
        status, _ = self._asked(folder, lambda system, path: system.mkdir(path, flags, timeout=SECONDS))
        if status.error and status.errno != _THERE:
            raise _error(status, f"{folder} cannot be written to")
        trial = join(folder, f"trial-{secrets.token_hex(4)}")
        self.put(trial, b"")  # a folder may be there, and not for us
        self.remove(trial)

    def names(self, folder: str) -> list[str]:
        status, listed = self._asked(folder, lambda system, path: system.dirlist(path, timeout=SECONDS))
        if _is_missing(status):
            return []
        _check(status, f"{folder} cannot be listed")
        return sorted(entry.name for entry in listed)

    def put(self, path: str, data: Buffer) -> None:
        view = memoryview(data)
        self._write(path, lambda: (view[at : at + BLOCK] for at in range(0, len(view), BLOCK)))

    def send(self, local: Path, path: str) -> None:
        def blocks() -> Iterator[Buffer]:
            with local.open("rb") as file:
                while block := file.read(BLOCK):
                    yield block

        self._write(path, blocks)

    def get(self, path: str) -> bytes | None:
        def read() -> tuple[Any, Any]:
            with wearing(at_work()) as address:
                file = client().File()
                status, _ = file.open(address(path), client().flags.OpenFlags.READ, timeout=SECONDS)
            if status.error:
                return status, None
            status, data = file.read(timeout=SECONDS)
            file.close(timeout=SECONDS)
            return status, data

        status, data = _tried(read)
        if _is_missing(status):
            return None
        _check(status, f"{path} cannot be read")
        return bytes(data)

    def move(self, path: str, to: str) -> bool:
        target = client().URL(to).path
        status, _ = self._asked(path, lambda system, source: system.mv(source, target, timeout=SECONDS))
        if _is_missing(status):
            return False
        _check(status, f"{to} cannot be written")
        return True

    def remove(self, path: str) -> None:
        status, _ = self._asked(path, lambda system, place: system.rm(place, timeout=SECONDS))
        if not _is_missing(status):
            _check(status, f"{path} cannot be removed")

    def remove_all(self, folder: str) -> None:
        for name in self.names(folder):
            self.remove(join(folder, name))
        status, _ = self._asked(folder, lambda system, path: system.rmdir(path, timeout=SECONDS))
        if not _is_missing(status):
            _check(status, f"{folder} cannot be removed")

    def _asked(self, url: str, ask: Callable[[Any, str], tuple[Any, Any]]) -> tuple[Any, Any]:
        """The answer of the server of a URL to a question about its path."""

        def asked() -> tuple[Any, Any]:
            with wearing(at_work()) as address:
                place = client().URL(address(url))
                return ask(client().FileSystem(str(place)), place.path_with_params)

        return _tried(asked)

    def _write(self, path: str, blocks: Callable[[], Iterator[Buffer]]) -> None:
        """Write a file of this name, whatever an earlier try has left of it, and have the server say that it has it."""
        written: list[int] = []

        def write() -> tuple[Any, Any]:
            flags = client().flags.OpenFlags
            with wearing(at_work()) as address:
                file = client().File()
                status, _ = file.open(address(path), flags.DELETE, timeout=SECONDS)
            size, value = 0, 1
            for block in blocks() if status.ok else ():
                status, _ = file.write(bytes(block), offset=size, timeout=SECONDS)
                if status.error:
                    break
                size, value = size + len(block), checksum(block, value)
            if status.ok:
                status, _ = file.close(timeout=SECONDS)
            written[:] = [size, value]
            return status, None

        status, _ = _tried(write)
        _check(status, f"{path} cannot be written")
        self._compare(path, *written)

    def _compare(self, path: str, size: int, value: int) -> None:
        """Compare what a server has with what was written, by a checksum if it makes some."""
        code = client().flags.QueryCode.CHECKSUM
        status, answer = self._asked(path, lambda system, place: system.query(code, place, timeout=SECONDS))
        said = bytes(answer).strip(b"\0 \n").decode().split() if status.ok else []
        if len(said) == 2 and said[0] == "adler32":
            if checksum_text(value) != f"adler32:{said[1].rjust(8, '0')}":
                raise OutputError(
                    f"{path} is damaged on its way: its server has {said[1]}, and {value:08x} was written"
                )
            return
        status, info = self._asked(path, lambda system, place: system.stat(place, timeout=SECONDS))
        _check(status, f"{path} cannot be looked at")
        if info.size != size:
            raise OutputError(f"{path} is damaged on its way: its server has {info.size:,} bytes of {size:,}")


def _tried(call: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The answer to a request, which is made again after a pause when its server is not there."""
    for pause in PAUSES:
        status, answer = call()
        if status.ok or (status.code == _SAYS_NO and status.errno in {_NOT_FOUND, *_FINAL}):
            return status, answer
        time.sleep(pause)
    return call()


def _is_missing(status: Any) -> bool:
    return bool(status.error and status.code == _SAYS_NO and status.errno == _NOT_FOUND)


def _check(status: Any, what: str) -> None:
    if status.error:
        raise _error(status, what)


def _error(status: Any, what: str) -> OutputError:
    said = " ".join(str(status.message).removeprefix("[ERROR] ").split())
    return OutputError(f"on {socket.gethostname()}: {what}, for {shown(at_work())}: {said}")
