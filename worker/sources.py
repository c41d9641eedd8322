"""How the bytes of a file come: from a disk, an XRootD server, a web server or a store of objects, and ahead of their use
if they are far.

A uproot *source* answers requests for byte ranges. The remote ones are extended here by read-ahead: `ahead` asks for
ranges and returns at once, and whoever asks for the same ranges later (eventmill's own basket reader, or uproot) is
given what has been fetched meanwhile. All ranges of one `ahead` travel in one vector read, as far as its limits allow.
"""

from __future__ import annotations

import os
import queue
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uproot.source.chunk import Chunk, Source
from uproot.source.fsspec import FSSpecSource
from uproot.source.futures import TrivialFuture

from .credentials import Wallet, shown
from .xrootd import ServerError, XRootDSource

Range = tuple[int, int]
"""First byte and byte after the last, of a file."""

AHEAD_BYTES = 64 << 20
"""What is asked for ahead of its use at most, by a slot: more than is on its way to it at 1 Gb/s and 0.5 s."""
KEPT_BYTES = 16 << 20
"""Of what was used last, so many bytes are kept: a read often begins with some that the one before it has used."""


@dataclass(frozen=True, slots=True)
class Counters:
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


class LocalSource(Source):  # type: ignore[misc]  # uproot is untyped
    """A file of this machine, read with `pread`.

    uproot would map it into memory, which is no faster, and kills the process when the file is cut off meanwhile.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._file = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
        self._end = weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        self._num_bytes = status.st_size
        self._stamp = _stamp(status)

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more."""
        return not self._end.alive

    def is_current(self) -> bool:
        """Whether the file's name still means the file that is open here, and nobody has written to it."""
        try:
            return _stamp(Path(self._file_path).stat()) == self._stamp
        except OSError:
            return False

    def is_unchanged(self) -> bool:
        """Whether nobody has written to the file that is open here, whatever its name means by now."""
        return _stamp(os.fstat(self._file)) == self._stamp

    def chunk(self, start: int, stop: int) -> Chunk:
        """As uproot's: the bytes of a range, fewer at the end of the file."""
        self._count(1, stop - start)
        return Chunk(self, start, stop, TrivialFuture(self._read(start, stop)))

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's: all bytes of the ranges. Raises `OSError` when the file has been cut off."""
        self._count(len(ranges), sum(stop - start for start, stop in ranges))
        chunks = []
        for start, stop in ranges:
            data = self._read(start, stop)
            if len(data) != stop - start:
                raise OSError(f"it ends before byte {stop}: it was cut off, or another one is written in its place")
            chunks.append(Chunk(self, start, stop, TrivialFuture(data)))
            notifications.put(chunks[-1])
        return chunks

    def _count(self, chunks: int, size: int) -> None:
        self._num_requests += 1
        self._num_requested_chunks += chunks
        self._num_requested_bytes += size

    def _read(self, start: int, stop: int) -> bytes:
        """What there is of a range. One call may give less than asked for, without being at the end."""
        if self.closed:
            raise OSError("it is closed")
        left = min(stop, self._num_bytes) - start
        parts = []
        while left > 0 and (part := os.pread(self._file, left, start)):
            parts.append(part)
            start, left = start + len(part), left - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Timed:
    """A uproot future that tells its source for how long it was waited for."""

    def __init__(self, source: Counts, future: Any) -> None:
        self._source, self._future = source, future

    def result(self, timeout: float | None = None) -> Any:
        """As the future's own."""
        began = time.monotonic()
        result = self._future.result()
        self._source.waited += time.monotonic() - began
        return result


class Counts(Source):  # type: ignore[misc]
    """Mixed into a uproot source: what it has cost to read.

    Attributes:
        waited: seconds for which somebody waited for bytes.
        latency: seconds of a round trip to a server, smoothed; 0.0 where that is not known.
    """

    waited = 0.0
    latency = 0.0

    @property
    def requests(self) -> int:
        """Requests so far; a vector read is one."""
        return int(self._num_requests)

    @property
    def bytes_read(self) -> int:
        """Bytes asked for so far, compressed as they are."""
        return int(self._num_requested_bytes)


class CountedLocal(Counts, LocalSource):
    """A file of this machine."""

    def chunk(self, start: int, stop: int) -> Chunk:
        """As `LocalSource`'s."""
        began = time.monotonic()
        chunk = super().chunk(start, stop)
        self.waited += time.monotonic() - began
        return chunk

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As `LocalSource`'s."""
        began = time.monotonic()
        chunks = super().chunks(ranges, notifications)
        self.waited += time.monotonic() - began
        return chunks


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


class TimedFSSpec(Counts, FSSpecSource):  # type: ignore[misc]
    """Anything that fsspec reads.

    Raises:
        ServerError: what reads such addresses is not installed.
    """

    def __init__(self, file_path: str, wallet: Wallet | None = None, timeout: float = 30.0, **options: Any) -> None:
        options |= _web_options(file_path, timeout, wallet) if file_path.lower().startswith("http") else {}
        self._wallet = wallet
        try:
            super().__init__(file_path, **options)
        except (ImportError, ValueError) as error:  # so does fsspec say that it knows no such thing
            raise ServerError(str(error), transient=False) from error

    def chunk(self, start: int, stop: int) -> Chunk:
        """A range, now."""
        began = time.monotonic()
        try:
            chunk = super().chunk(start, stop)
        except Exception as error:
            if getattr(error, "status", None) in (401, 403):  # the first thing that a web server is asked
                reader = "anybody" if self._wallet is None else shown(self._wallet)
                who = f"{urlsplit(self._file_path).hostname} does not let {reader} read it"
                raise ServerError(f"{who}: it says {error.status} {error.message}", transient=False) from error  # type: ignore[attr-defined]
            raise
        self.latency = time.monotonic() - began
        self.waited += self.latency
        return chunk

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's; their bytes may still be on the way."""
        chunks = super().chunks(ranges, notifications)
        return [Chunk(self, chunk.start, chunk.stop, Timed(self, chunk.future)) for chunk in chunks]


class FSSpecAhead(ReadAhead, TimedFSSpec):
    """s3://, and whatever else fsspec reads."""


class HTTPAhead(FSSpecAhead):
    """http:// and https://, whose servers are not asked for the size of a file."""


def _web_options(path: str, timeout: float, wallet: Wallet | None) -> dict[str, Any]:
    """What fsspec's client of web servers is told. A token is for no connection that others can read."""
    import aiohttp

    silence = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    options: dict[str, Any] = {"client_kwargs": {"timeout": silence}}
    if wallet is not None and wallet.token and path.lower().startswith("https://"):
        options |= {"headers": {"Authorization": f"Bearer {wallet.token}"}, "skip_instance_cache": True}
    return options


def source_class(path: str) -> Any:
    """The source that reads `path`: by its scheme, with a plain path being a file of this machine."""
    scheme, separator, _ = path.partition("://")
    if not separator:
        return CountedLocal
    if scheme.lower() in ("root", "roots", "xroot", "xroots"):
        return XRootDAhead
    return HTTPAhead if scheme.lower() in ("http", "https") else FSSpecAhead
