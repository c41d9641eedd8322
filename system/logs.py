"""A log file that many processes append to, and that does not fill the disk: user code may print gigabytes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MOST = 16 * 2**20
"""Bytes of a log; of what was there before as many are kept, the newest, in the file `.1` beside it."""


def keep_within(log: Path, most: int = MOST) -> None:
    """Once a log is larger than `most` bytes, keep the newest of them aside, and begin it anew.

    Those who write have it open for appending (`O_APPEND`), and go on at its new end. To be called again and again, by one
    process: between two calls the log grows by what is written, however much.
    """
    with contextlib.suppress(OSError):  # it is not there, or the disk is full already
        if log.stat().st_size <= most:
            return
        part = log.with_name(f"{log.name}.part")
        with log.open("r+b") as file, part.open("wb") as kept:
            file.seek(-most, os.SEEK_END)
            newest = file.read(most)  # not to the end: it moves away as fast as others write
            file.truncate(0)
            kept.write(newest.partition(b"\n")[2] or newest)
        part.replace(older(log))


def older(log: Path) -> Path:
    """Where what a log had before it was begun anew is kept."""
    return log.with_name(f"{log.name}.1")


def last_lines(log: Path, count: int, most: int = 20_000) -> list[str]:
    """The last lines of a log, of so many bytes at most."""
    text = b""
    for file in (log, older(log)):
        with contextlib.suppress(OSError), file.open("rb") as content:
            content.seek(-min(most, file.stat().st_size), 2)
            text = content.read() + text
        if text.count(b"\n") > count:
            break
    return text.decode(errors="replace").splitlines()[-count:]
