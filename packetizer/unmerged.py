"""Entries that were taken to be done, and whose result could not be added to that of the others after all."""

from __future__ import annotations

from collections.abc import Iterable

from .files import Files


def take_out(files: Files, parts: Iterable[tuple[int, int, int]], reason: str) -> int:
    """These parts, (file, start, stop), are not in the result: they are lost. Returns how many entries that are.

    Example:
        >>> files = Files([None])
        >>> files.begin(0)
        >>> _ = files.open(0, 10)
        >>> files.done(0, 0, 10)
        >>> take_out(files, [(0, 2, 5)], "does not fit")
        3
        >>> files.processed, files.failed, list(files[0].done)
        (7, 3, [(0, 2), (5, 10)])
    """
    entries = 0
    for file, start, stop in parts:
        if start < stop:
            entries += stop - start
            files[file].done.remove(start, stop)
            files.processed -= stop - start
            files.lose(file, start, stop, reason)
    return entries
