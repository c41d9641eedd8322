"""How the bytes of a file come: from a disk, an XRootD server, a web server or a store of objects, and ahead of their use
if they are far.

A uproot *source* answers requests for byte ranges. The remote ones are extended here by read-ahead: `ahead` asks for
ranges and returns at once, and whoever asks for the same ranges later (eventmill's own basket reader, or uproot) is
given what has been fetched meanwhile. All ranges of one `ahead` travel in one vector read, as far as its limits allow.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from fsspec.implementations.cached import CachingFileSystem
from uproot.source.chunk import Chunk, Source
from uproot.source.fsspec import FSSpecSource

from ...protocol.errors import DatasetError
from .credentials import CredentialSet, shown, tag
from .local import LocalSource, Range, place_of
from .xrootd import SETTINGS, ServerError, XRootDSource

AHEAD_BYTES = 64 << 20
"""What is asked for ahead of its use at most, by a slot: more than is on its way to it at 1 Gb/s and 0.5 s."""
KEPT_BYTES = 16 << 20
"""Of what was used last, so many bytes are kept: a read often begins with some that the one before it has used."""

CONNECT_SECONDS = float(SETTINGS["ConnectionWindow"])
"""Seconds for connecting to a web server, as to one of XRootD: whoever is there does that at once."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was asked for from a source of data.

    Attributes:
        requests: how often something was asked for.
        bytes_read: how many bytes, compressed as they are.
        waited: seconds that readers have waited for bytes.
        latency: seconds of a round trip to a server, lately; 0.0 where it is not known.
    """

    requests: int = 0
    bytes_read: int = 0
    waited: float = 0.0
    latency: float = 0.0

    @classmethod
    def of(cls, parts: Iterable[Traffic]) -> Traffic:
        """All of it together, with the longest latency."""
        parts = list(parts)
        return cls(
            sum(part.requests for part in parts),
            sum(part.bytes_read for part in parts),
            sum(part.waited for part in parts),
            max((part.latency for part in parts), default=0.0),
        )


class Counts(Source):  # type: ignore[misc]
    """Mixed into a uproot source: what it has cost to read.

    Attributes:
        waited: seconds for which somebody waited for bytes.
        latency: seconds of a round trip to a server, smoothed; 0.0 where that is not known.
        stamp: size of the file and time of its last change, where these are known.
        place: what its server calls the file, whatever the address; empty where that is not known.
    """

    waited = 0.0
    latency = 0.0
    stamp: tuple[int, int] | None = None
    place = ""

    @property
    def requests(self) -> int:
        """Requests so far; a vector read is one."""
        return int(self._num_requests)

    @property
    def bytes_read(self) -> int:
        """Bytes asked for so far, compressed as they are."""
        return int(self._num_requested_bytes)


class _Store:
    """Chunks of a file, those put in first being the first to go when there are too many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: dict[Range, Chunk] = {}
        self._size = 0

    def __contains__(self, span: Range) -> bool:
        return span in self._chunks

    def put(self, span: Range, chunk: Chunk) -> None:
        if span not in self._chunks:
            self._chunks[span] = chunk
            self._size += span[1] - span[0]

    def pop(self, span: Range) -> Chunk:
        self._size -= span[1] - span[0]
        return self._chunks.pop(span)

    def shrink(self) -> None:
        while self._size > self._limit:
            self.pop(next(iter(self._chunks)))


class ReadAhead(Counts):
    """Mixed into a uproot source: remembers what was asked for ahead until it is used, and a little longer."""

    def ahead(self, ranges: Iterable[Range]) -> None:
        """Ask for ranges without waiting for them; those asked for already are not asked for again.

        What was asked for first, and never used, is dropped beyond `AHEAD_BYTES`.
        """
        self._ask(ranges)
        self._stores()[0].shrink()

    def forget(self) -> None:
        """Drop what was asked for ahead: nobody will want it."""
        self.__dict__.pop("_chunk_stores", None)

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's: the ranges, fetched together, in the order of `ranges`; they have come when this returns."""
        self._ask(ranges)
        asked, used = self._stores()
        chunks = {span: (asked if span in asked else used).pop(span) for span in dict.fromkeys(ranges)}
        for chunk in chunks.values():
            chunk.wait()
        for span, chunk in chunks.items():  # only what has come: of an error nobody wants to hear again
            used.put(span, chunk)
        used.shrink()
        for span in ranges:
            notifications.put(chunks[span])
        return [chunks[span] for span in ranges]

    def _ask(self, ranges: Iterable[Range]) -> None:
        asked, used = self._stores()
        wanted = [span for span in dict.fromkeys(ranges) if span not in asked and span not in used]
        if wanted:
            for span, chunk in zip(wanted, super().chunks(wanted, queue.SimpleQueue()), strict=True):
                asked.put(span, chunk)

    def _stores(self) -> tuple[_Store, _Store]:
        """What was asked for and is not used yet, and what was used last."""
        stores: tuple[_Store, _Store] = self.__dict__.setdefault(
            "_chunk_stores", (_Store(AHEAD_BYTES), _Store(KEPT_BYTES))
        )
        return stores


class XRootDAhead(ReadAhead, XRootDSource):
    """root:// and roots://."""

    @property
    def latency(self) -> float:  # type: ignore[override]
        """As known of the server."""
        return self.known.latency


class _Strict:
    """A file system of fsspec that raises what goes wrong with ranges: else it comes in the place of bytes."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def cat_ranges(self, **ranges: Any) -> Any:
        return self._system.cat_ranges(**ranges, on_error="raise")

    def _cat_ranges(self, **ranges: Any) -> Any:
        return self._system._cat_ranges(**ranges, on_error="raise")


class Arriving:
    """The bytes of a range that are on their way, as a uproot future; `source` learns for how long they were waited for."""

    def __init__(self, source: TimedFSSpec, start: int, stop: int, future: Any) -> None:
        self._source, self._start, self._stop, self._future = source, start, stop, future

    def result(self, timeout: float | None = None) -> Any:
        """All of them. Raises `ServerError`, or what fsspec does."""
        began = time.monotonic()
        with self._source.in_words():
            content = self._future.result()
        self._source.waited += time.monotonic() - began
        self._source.check(content, self._start, self._stop)
        if len(content) < self._stop - self._start:
            sent = f"sent {len(content)} bytes for bytes {self._start} to {self._stop}"
            raise ServerError(f"{self._source.server} {sent}", transient=True)
        return content


class TimedFSSpec(Counts, FSSpecSource):  # type: ignore[misc]
    """Anything that fsspec reads.

    Attributes:
        server: the host that has the file.

    Raises:
        ServerError: what reads such addresses is not installed; when reading, what the server says.
    """

    def __init__(
        self,
        file_path: str,
        credential_set: CredentialSet | None = None,
        timeout: float = 30.0,
        ends: bool = True,
        **options: Any,
    ) -> None:
        options |= _web_options(file_path, timeout, credential_set) if file_path.lower().startswith("http") else {}
        self._credential_set = credential_set
        try:
            super().__init__(file_path, **options)
        except (ImportError, ValueError) as error:  # so does fsspec say that it knows no such thing
            raise ServerError(str(error), transient=False) from error
        address = urlsplit(file_path)
        self.server = address.hostname or "the server"
        if address.scheme == "file":
            self.place = place_of(Path(address.path).stat())

    def _open(self) -> None:
        super()._open()
        self._async_impl: bool = self._async_impl and not isinstance(
            self._fs, CachingFileSystem
        )  # uproot looks for that class
        self._fs: Any = _Strict(self._fs)

    def chunk(self, start: int, stop: int) -> Chunk:
        """A range, now; fewer bytes at the end of the file."""
        began = time.monotonic()
        with self.in_words():
            chunk = super().chunk(start, stop)
        self.latency = time.monotonic() - began
        self.waited += self.latency
        self.check(chunk.future.result(), start, stop)
        return chunk

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's; their bytes may still be on the way."""
        chunks = super().chunks(ranges, notifications)
        return [Chunk(self, it.start, it.stop, Arriving(self, it.start, it.stop, it.future)) for it in chunks]

    def check(self, content: Any, start: int, stop: int) -> None:
        """Raise `ServerError` if there are more bytes than the range has."""
        if len(content) > stop - start:
            sent = f"{len(content)} bytes for bytes {start} to {stop}"
            advice = "copy the file, or have it served by ranges of bytes"
            raise ServerError(f"{self.server} sends files as a whole only ({sent}): {advice}", transient=False)

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Raise what a web server refuses in words; its own have the whole address in them, which may hold a token."""
        try:
            yield
        except Exception as error:
            status = getattr(error, "status", None)
            if not isinstance(status, int):
                raise
            says = f"says {status} {getattr(error, 'message', '')}".rstrip()
            if status not in (401, 403):
                raise ServerError(f"{self.server} {says}", transient=status >= 500 or status in (408, 429)) from error
            reader = "anybody" if self._credential_set is None else shown(self._credential_set)
            raise ServerError(
                f"{self.server} does not let {reader} read it: it {says}", False, denied=tag(self._credential_set)
            ) from error


class FSSpecAhead(ReadAhead, TimedFSSpec):
    """s3://, and whatever else fsspec reads."""


class HTTPAhead(FSSpecAhead):
    """http:// and https://, whose servers are not asked for the size of a file."""


class OpenFile(Protocol):
    """A file with the source of its bytes, and when (`time.monotonic()`) it was opened, or was last known to be the same."""

    opened: float

    @property
    def source(self) -> Counts | LocalSource:
        """Its bytes."""


def is_current(file: OpenFile, since: float) -> bool:
    """Whether a path still means the file that is open here, as far as its time and size tell.

    A local file is looked at each time; a server is asked only if the file was opened before `since`, and one that cannot be
    asked is taken to have another file by now. A file that is found to be the same counts as opened when it was asked for.
    """
    source, asked = file.source, time.monotonic()
    if not isinstance(source, LocalSource) and file.opened >= since:
        return True
    current = isinstance(source, LocalSource | XRootDAhead) and source.is_current()
    if current and file.opened < since:
        file.opened = asked
    return current


def place_of_tree(identity: str, source: Counts | LocalSource, tree: str) -> bytes:
    """What is the same for the tree of a file under all of the file's names, and for no other; nothing if not known.

    A copy is another file, though its content says that it is the same.
    """
    return blake2b(f"{identity}:{source.place}:{tree}".encode(), digest_size=16).digest() if source.place else b""


def check_unchanged(source: Counts | LocalSource, path: str) -> None:
    """Raise `DatasetError` when somebody has written to a file since it was opened, as far as a local disk tells: what was
    read meanwhile may be of the old file, the new one, or both.
    """
    if isinstance(source, LocalSource) and not source.is_unchanged():
        raise DatasetError(f"{path} was written to while it was read: submit the query again")


def _web_options(path: str, timeout: float, credential_set: CredentialSet | None) -> dict[str, Any]:
    """What fsspec's client of web servers is told. A token is for no connection that others can read."""
    import aiohttp

    silence = aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, CONNECT_SECONDS), sock_read=timeout)
    options: dict[str, Any] = {"client_kwargs": {"timeout": silence}}
    if credential_set is not None and credential_set.headers and path.lower().startswith("https://"):
        options |= {"headers": credential_set.headers, "skip_instance_cache": True}
    return options


def source_class(path: str) -> Any:
    """The source that reads `path`: by its scheme, with a plain path being a file of this machine."""
    scheme, separator, _ = path.partition("://")
    if not separator:
        return LocalSource
    if scheme.lower() in ("root", "roots", "xroot", "xroots"):
        return XRootDAhead
    return HTTPAhead if scheme.lower() in ("http", "https") else FSSpecAhead
