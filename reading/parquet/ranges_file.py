"""A file as pyarrow reads it: ranges that were fetched together before, and whatever else it asks for."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ..storage.local import Range


class RangesFile(io.RawIOBase):
    """The bytes of a source, to be read like a file that is open.

    Args:
        source: the file's uproot source.
        size: its bytes.

    Example:
        >>> file = RangesFile(source, size)                                                       # doctest: +SKIP
        >>> with file.having({(4, 1004): chunk}):                                                # doctest: +SKIP
        ...     pyarrow.PythonFile(file, "r").read()
    """

    def __init__(self, source: Any, size: int) -> None:
        super().__init__()
        self._source = source
        self._size = size
        self._at = 0
        self._fetched: Mapping[Range, Any] = {}

    def have(self, fetched: Mapping[Range, Any]) -> None:
        """Serve these ranges from memory, until others are given: uproot's chunks, whose bytes may still be on their way."""
        self._fetched = fetched

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As any file's."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """As any file's."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """As any file's: fewer bytes at its end alone."""
        start = self._at
        stop = self._size if size is None or size < 0 else min(self._size, start + size)
        self._at = max(start, stop)
        return self._bytes(start, stop) if stop > start else b""

    def _bytes(self, start: int, stop: int) -> bytes:
        chunk = self._fetched.get((start, stop)) or _around(self._fetched.items(), start, stop)
        if chunk is None:
            chunk = self._source.chunk(start, stop)
        data = memoryview(chunk.raw_data)
        return bytes(data[start - chunk.start : stop - chunk.start])


def _around(fetched: Iterable[tuple[Range, Any]], start: int, stop: int) -> Any:
    """One of the ranges that has all of these bytes."""
    return next((chunk for (low, high), chunk in fetched if low <= start and stop <= high), None)
