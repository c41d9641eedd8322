"""How the bytes of a file come: from a disk, an XRootD server or a web server, and ahead of their use if they are far.

A uproot *source* answers requests for byte ranges. The remote ones are extended here by read-ahead: `ahead` asks for
ranges and returns at once, and whoever asks for the same ranges later (eventmill's own basket reader, or uproot) is
given what has been fetched meanwhile. All ranges of one `ahead` travel in one vector read, as far as its limits allow.
"""

from __future__ import annotations

import importlib
import queue
from collections.abc import Iterable, Iterator
from typing import Any

from uproot.source.chunk import Chunk, Source
from uproot.source.fsspec import FSSpecSource
from uproot.source.xrootd import XRootDSource

from .local import LocalSource as LocalSource
from .local import Range as Range

HEAD = 16 << 10
TAIL = 128 << 10
"""Bytes of the two ends of a remote file that are read when it is opened."""
REQUEST_BYTES = 256 << 20
"""A vector read within both limits that XRootD servers advertise still fails beyond 2 GiB (xrootd#2614)."""

AHEAD_BYTES = 1 << 30
"""What was asked for ahead and is not used, because the packet went to somebody else, is dropped beyond this size."""


class ReadAhead(Source):  # type: ignore[misc]
    """Mixed into a uproot source: remembers what was asked for ahead, and hands it out once."""

    def ahead(self, ranges: Iterable[Range]) -> None:
        """Ask for ranges without waiting for them; those asked for already are not asked for again."""
        fetched = self._fetched()
        for request in _requests([span for span in dict.fromkeys(ranges) if span not in fetched]):
            fetched.update(zip(request, super().chunks(request, queue.SimpleQueue()), strict=True))
        unused = sum(stop - start for start, stop in fetched) - AHEAD_BYTES
        while unused > 0:
            start, stop = next(iter(fetched))
            unused -= stop - start
            del fetched[start, stop]

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's: the ranges, fetched together, in the order of `ranges`; their bytes may still be on the way."""
        self.ahead(ranges)
        fetched = self._fetched()
        chunks = {span: fetched.pop(span) for span in dict.fromkeys(ranges)}
        for span in ranges:
            notifications.put(chunks[span])
        return [chunks[span] for span in ranges]

    def _fetched(self) -> dict[Range, Chunk]:
        store: dict[Range, Chunk] = self.__dict__.setdefault("_chunks_ahead", {})
        return store


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
        chunks = super().chunks(spans, queue.SimpleQueue())
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
