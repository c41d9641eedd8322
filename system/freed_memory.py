"""What becomes of memory that a process has freed: it goes back to the machine, or is kept for what comes next."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
MOST_KEPT = 64 * 2**20
"""Bytes of freed memory that are kept; and from half of that on, an array is returned by itself. To these the C library
comes on its own in the end, but it begins with 128 kB, and goes up with each array only that is freed alone."""


def keep_freed_memory() -> None:
    """Keep memory that is freed, up to `MOST_KEPT`, from now on, here and in processes that are forked from this one.

    A slot frees the columns of a chunk and takes as much for the next one. The machine clears every page that it gives:
    that would be a fifth of the CPU time of a query that reads many columns. Nothing is done where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MOST_KEPT // 2)
        mallopt(_M_TRIM_THRESHOLD, MOST_KEPT)
