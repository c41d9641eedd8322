"""Files of this machine, as a uproot source."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture

Range = tuple[int, int]
"""First byte and byte after the last, of a file."""

GAP = 16 << 10
"""Bytes between two ranges that are read along: to skip them takes longer."""
RUN = 1 << 20
"""Bytes that are read at once at most, where ranges lie close to each other."""


class LocalSource(Source):  # type: ignore[misc]  # uproot is untyped
    """A file of this machine, read with `pread`.

    uproot would map it into memory, which is no faster, and kills the process when the file is cut off meanwhile.

    Attributes:
        requests: calls of the operating system to read so far.
        waited: seconds spent in them.
        latency: seconds that a request is on its way before its bytes come: none.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._file = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
        self._end = weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        self._num_bytes = status.st_size
        self._stamp, self._place = _stamp(status), place_of(status)
        self.requests = 0
        self.waited = 0.0
        self.latency = 0.0

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more."""
        return not self._end.alive

    @property
    def bytes_read(self) -> int:
        """Bytes that were asked for so far; what lay between them and was read along is not counted."""
        return int(self._num_requested_bytes)

    @property
    def stamp(self) -> tuple[int, int]:
        """Size of the file, and when it was written to last."""
        return self._stamp[2], self._stamp[3]

    @property
    def place(self) -> str:
        """As `Counts.place`."""
        return self._place

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

    def chunks(self, ranges: Sequence[Range], notifications: Any) -> list[Chunk]:
        """As uproot's: all bytes of the ranges. Raises `OSError` as `read` does."""
        pieces = zip(ranges, self.read(ranges), strict=True)
        chunks = [Chunk(self, start, stop, TrivialFuture(piece)) for (start, stop), piece in pieces]
        for chunk in chunks:
            notifications.put(chunk)
        return chunks

    def read(self, ranges: Sequence[Range]) -> list[memoryview]:
        """All bytes of each of the ranges; those close to each other are read at once, and share memory.

        Raises:
            OSError: the file has been cut off.
        """
        self._count(len(ranges), sum(stop - start for start, stop in ranges))
        pieces: dict[int, memoryview] = {}
        for first, last, run in _runs(ranges):
            data = memoryview(self._read(first, last))
            if len(data) != last - first:
                raise OSError(f"it ends before byte {last}: it was cut off, or another one is written in its place")
            for i in run:
                start, stop = ranges[i]
                pieces[i] = data[start - first : stop - first]
        return [pieces[i] for i in range(len(ranges))]

    def _count(self, chunks: int, size: int) -> None:
        self._num_requests += 1
        self._num_requested_chunks += chunks
        self._num_requested_bytes += size

    def _read(self, start: int, stop: int) -> bytes:
        """What there is of a range. One call may give less than asked for, without being at the end."""
        if self.closed:
            raise OSError("it is closed")
        began = time.perf_counter()
        left = min(stop, self._num_bytes) - start
        parts = []
        while left > 0 and (part := os.pread(self._file, left, start)):
            parts.append(part)
            start, left = start + len(part), left - len(part)
            self.requests += 1
        self.waited += time.perf_counter() - began
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _runs(ranges: Sequence[Range]) -> Iterator[tuple[int, int, list[int]]]:
    """Where to read at once: from which byte to which, and the ranges (by number) that lie there."""
    first = last = 0
    run: list[int] = []
    for i in sorted(range(len(ranges)), key=ranges.__getitem__):
        start, stop = ranges[i]
        if run and (start > last + GAP or max(last, stop) - first > RUN):
            yield first, last, run
            run = []
        if not run:
            first = last = start
        last = max(last, stop)
        run.append(i)
    if run:
        yield first, last, run


def place_of(status: os.stat_result) -> str:
    """What is the same for a file under all of its names: its inode. Devices have other numbers on other machines."""
    return str(status.st_ino)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
