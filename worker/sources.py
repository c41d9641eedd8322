"""How the bytes of a file come: from a disk, an XRootD server or a web server, and ahead of their use if they are far.

A uproot *source* answers requests for byte ranges. The remote ones are extended here by read-ahead: `ahead` asks for
ranges and returns at once, and whoever asks for the same ranges later (eventmill's own basket reader, or uproot) is
given what has been fetched meanwhile. All ranges of one `ahead` travel in one vector read, as far as its limits allow.
"""

from __future__ import annotations

import importlib
import os
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uproot.source.chunk import Chunk, Source
from uproot.source.fsspec import FSSpecSource
from uproot.source.futures import TrivialFuture
from uproot.source.xrootd import XRootDSource

Range = tuple[int, int]
"""First byte and byte after the last, of a file."""

HEAD = 16 << 10
TAIL = 128 << 10
"""Bytes of the two ends of a remote file that are read when it is opened."""
REQUEST_BYTES = 256 << 20
"""A vector read within both limits that XRootD servers advertise still fails beyond 2 GiB (xrootd#2614)."""

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
        latency: seconds from a request to its answer, lately; 0.0 where it is not known.
    """

    requests: int = 0
    bytes_read: int = 0
    waited: float = 0.0
    latency: float = 0.0


class LocalSource(Source):  # type: ignore[misc]  # uproot is untyped
    """A file of this machine, read with `pread`.

    uproot would map it into memory, which is no faster, and kills the process when the file is cut off meanwhile.
    """

    waited = 0.0
    latency = 0.0

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
        chunks, began = [], time.monotonic()
        for start, stop in ranges:
            data = self._read(start, stop)
            if len(data) != stop - start:
                raise OSError(f"it ends before byte {stop}: it was cut off, or another one is written in its place")
            chunks.append(Chunk(self, start, stop, TrivialFuture(data)))
            notifications.put(chunks[-1])
        self.waited += time.monotonic() - began
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


class ReadAhead(Source):  # type: ignore[misc]
    """Mixed into a uproot source: remembers what was asked for ahead until it is used, and a little longer.

    Attributes:
        waited: seconds that callers have waited for bytes.
        latency: seconds from a request to its answer, a mean over the last few; 0.0 before the first.
    """

    waited = 0.0
    latency = 0.0

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
        began = time.monotonic()
        for chunk in chunks.values():
            chunk.wait()
        self.waited += time.monotonic() - began
        for span, chunk in chunks.items():
            used.put(span, chunk)
        used.shrink()
        for span in ranges:
            notifications.put(chunks[span])
        return [chunks[span] for span in ranges]

    def _ask(self, ranges: Iterable[Range]) -> None:
        asked, used = self._stores()
        for request in _requests([span for span in dict.fromkeys(ranges) if span not in asked and span not in used]):
            for span, chunk in zip(request, super().chunks(request, _Arrival(self)), strict=True):
                asked.put(span, chunk)

    def _stores(self) -> tuple[_Store, _Store]:
        """What was asked for and is not used yet, and what was used last."""
        stores: tuple[_Store, _Store] = self.__dict__.setdefault(
            "_chunk_stores", (_Store(AHEAD_BYTES), _Store(KEPT_BYTES))
        )
        return stores


class _Arrival:
    """What uproot tells, in place of a queue, that chunks of a request have come."""

    def __init__(self, source: ReadAhead) -> None:
        self._source, self._began = source, time.monotonic()
        self._come = False

    def put(self, chunk: Chunk) -> None:
        if not self._come:
            self._come, seconds = True, time.monotonic() - self._began
            self._source.latency += (seconds - self._source.latency) / (4 if self._source.latency else 1)


class XRootDAhead(ReadAhead, XRootDSource):  # type: ignore[misc]
    """root:// through the XRootD client's own vector reads, without fsspec.

    What is needed to open a tree is at one end of the file or the other: both are read together, which saves two round
    trips.
    """

    def chunk(self, start: int, stop: int) -> Chunk:
        """A range, at once if it is within one of the ends."""
        for begin, data in self._ends:
            if begin <= start and stop <= begin + len(data):
                return Chunk.wrap(self, data[start - begin : stop - begin], start)
        return super().chunk(start, stop)

    def _open(self) -> None:
        # Loaded only here, because the client and a fork do not mix. It looks at its time-outs every 15 s unless told.
        client: Any = importlib.import_module("XRootD.client")
        client.EnvPutInt("TimeoutResolution", 1)
        super()._open()
        status, info = self._resource.file.stat(timeout=self._resource._xrd_timeout())  # came with the answer to `open`
        if status.error:
            self._resource._xrd_error(status)
        self._stamp = info.size, info.modtime
        size = self._num_bytes = info.size
        spans = [(0, size)] if size <= HEAD + TAIL else [(0, HEAD), (size - TAIL, size)]
        chunks = super().chunks(spans, _Arrival(self))
        self._ends = [(start, chunk.raw_data) for (start, _), chunk in zip(spans, chunks, strict=True)]

    def is_current(self) -> bool:
        """Whether the server has a file of the same size and time under this name; asks it, which takes a round trip."""
        client: Any = importlib.import_module("XRootD.client")
        url = client.URL(self._file_path)
        server = client.FileSystem(f"{url.protocol}://{url.hostid}")
        status, info = server.stat(url.path_with_params, timeout=self._resource._xrd_timeout())
        return not status.error and (info.size, info.modtime) == self._stamp


class HTTPAhead(ReadAhead, FSSpecSource):  # type: ignore[misc]
    """http:// and https://."""


def source_class(path: str) -> Any:
    """The source that reads `path`: by its scheme, with a plain path being a file of this machine."""
    scheme = path.partition("://")[0].lower() if "://" in path else ""
    if scheme in ("root", "roots", "xroot", "xroots"):
        return XRootDAhead
    if scheme in ("http", "https"):
        return HTTPAhead
    return LocalSource


def _requests(ranges: list[Range]) -> Iterator[list[Range]]:
    """Cut a list of ranges into requests that are not too large for one reply."""
    request: list[Range] = []
    size = 0
    for span in ranges:
        length = span[1] - span[0]
        if request and size + length > REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(span)
        size += length
    if request:
        yield request
