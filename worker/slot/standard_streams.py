"""Standard output and error, of Python and of C: also of the forkserver, before it imports what slots need."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_libc = ctypes.CDLL(None)
_LINE_BUFFERED = 1


def say_line_by_line() -> None:
    """From now on a line is out once it ends, also one that C code prints: what is said before a crash says most of it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=False)
    with contextlib.suppress(ValueError):  # a C library without the name
        _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, _LINE_BUFFERED, ctypes.c_size_t(4096))


def flush() -> None:
    """What Python and C have in their buffers for standard output is out."""
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or something else in its place
            stream.flush()  # type: ignore[union-attr]
    _libc.fflush(None)
