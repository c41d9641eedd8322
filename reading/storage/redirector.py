"""Which data servers have the files of a redirector, so that workers read from their own host, or from one that is idle."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from ...protocol.messages import File
from .list_files import XROOTD

AT_A_TIME = 500
"""Files that a redirector is asked for without its answer."""
MARGIN = 10.0
"""Seconds after its own time-out that the XRootD client is waited for."""
_NAMES = 0x0100
"""kXR_prefname of the XRootD protocol: hosts by name, by which workers know theirs, where the redirector knows names."""
_OLD_ADDRESS = re.compile(r"^\[::(?:ffff:)?(\d+\.\d+\.\d+\.\d+)\]")
"""How XRootD writes an IPv4 address where it has no name."""


def located(files: Sequence[File], timeout: float = 10.0) -> list[File]:
    """The files, those of XRootD redirectors with the data servers that have them as replicas.

    A redirector is asked for many files at a time, so that a thousand cost hardly more than one. Who is no redirector says
    that it has the file itself, and one that does not answer in time leaves the file as it is: opening it tells more.

    Args:
        files: any files.
        timeout: seconds for each answer.

    Example:
        >>> located([File("/data/a.root")])[0].replicas
        ()
    """
    asked = [_Question(file) if _is_of_server(file) else None for file in files]
    room = threading.Semaphore(AT_A_TIME)
    for question in asked:
        if question is not None:
            room.acquire(timeout=timeout + MARGIN)
            question.ask(room, timeout)
    return [file if it is None else it.answer(timeout) for file, it in zip(files, asked, strict=True)]


class _Question:
    """Where a file is."""

    def __init__(self, file: File) -> None:
        client: Any = importlib.import_module("XRootD.client")
        client.EnvPutInt("TimeoutResolution", 1)  # the client looks at its time-outs every 15 s unless told otherwise
        self._file = file
        self._url = client.URL(file.path)
        self._server = client.FileSystem(file.path)
        self._answered = threading.Event()
        self._locations: Any = ()

    def ask(self, room: threading.Semaphore, timeout: float) -> None:
        """Ask; when the answer is there, there is room for another question."""

        def take(status: Any, locations: Any, *_: Any) -> None:
            self._locations = locations if status.ok and locations is not None else ()
            self._answered.set()
            room.release()

        status = self._server.deeplocate(self._url.path, _NAMES, max(1, round(timeout)), take)
        if not status.ok:
            self._answered.set()
            room.release()

    def answer(self, timeout: float) -> File:
        """The file, with its data servers among its replicas."""
        self._answered.wait(timeout + MARGIN)
        own = f"{self._url.hostname}:{self._url.port}"
        servers = sorted({_OLD_ADDRESS.sub(r"\1", location.address) for location in self._locations} - {own})
        there = f"{self._url.protocol}://", f"/{self._url.path_with_params}"
        replicas = dict.fromkeys([*self._file.replicas, *(server.join(there) for server in servers)])
        return msgspec.structs.replace(self._file, replicas=tuple(replicas))


def _is_of_server(file: File) -> bool:
    return file.kind == "tree" and file.path.partition("://")[0].lower() in XROOTD
