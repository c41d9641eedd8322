"""Bounds for a cache folder that many processes share: what nobody has used for long is removed, now and then."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..system.private_folders import make_private, not_ours_alone

LARGEST = 2**30
"""Bytes of a cache folder; what was used longest ago goes first."""
OLDEST = 30 * 86_400.0
"""Seconds without use after which an entry goes."""
OFTEN = 86_400.0
"""Seconds between two looks at a folder: on a network file system a look may take seconds."""
_STAMP = "tidied"
_ASIDE = re.compile(r"\.[0-9a-f]{40}\.[0-9]+\.old")
"""A folder whose removal was broken off."""


def use(entry: Path) -> None:
    """Note that an entry is used now: its time of change tells."""
    with contextlib.suppress(OSError):  # the folder cannot be written, so nothing will be removed from it either
        os.utime(entry)


def make_whole(folder: Path, prefix: str, fill: Callable[[Path], None]) -> bool:
    """Have a folder be there with all that `fill` puts into it, or not at all; whether it was made now. Another process
    may be faster.

    Args:
        folder: in a cache folder, which is made too.
        prefix: how the name of the folder begins that is filled before it is called so.
        fill: is given that folder.

    Raises:
        OSError: it cannot be made, or is there and may be somebody else's.
    """
    if folder.is_dir():
        if reason := not_ours_alone(folder.lstat()):
            raise PermissionError(f"{folder} is not used, since {reason}: remove it")
        use(folder)
        return False
    make_private(folder.parent)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
    try:
        fill(part)
        part.rename(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if not folder.is_dir():  # nobody was faster
            raise
    return True


def tidy(
    folder: Path, ours: re.Pattern[str], largest: int = LARGEST, oldest: float = OLDEST, often: float = OFTEN
) -> None:
    """Remove entries (files, or folders with all that is in them) until a cache folder keeps to its bounds.

    Other processes may use the folder, or tidy it, at the same time: who has opened a file keeps it, and an entry that is
    missed is made again. Whatever else lies in the folder, a user's own files or a link to somewhere, is left alone: the
    folder may be one that the user has put things in, or named in `XDG_CACHE_HOME`.

    Args:
        folder: the cache folder; nothing is done if it was tidied less than `often` seconds ago.
        ours: what all of the name of an entry looks like that may be removed; nobody else may choose such names by chance.
        largest: bytes.
        oldest: seconds since an entry's last use.
        often: seconds.
    """
    now, stamp = time.time(), folder / _STAMP
    with contextlib.suppress(OSError):  # not ours to tidy, or somebody else is faster
        if stamp.exists() and now - stamp.stat().st_mtime < often:
            return
        stamp.touch()
        left = largest
        for used, entry, size in sorted(_entries(folder, ours), reverse=True):
            left -= size
            if left < 0 or now - used > oldest:
                _remove(entry)


def _entries(folder: Path, ours: re.Pattern[str]) -> Iterator[tuple[float, Path, int]]:
    """Our entries: when each was used last, and its bytes."""
    for entry in folder.iterdir():
        if ours.fullmatch(entry.name) or _ASIDE.fullmatch(entry.name):
            status = entry.lstat()
            if status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode):
                yield status.st_mtime, entry, _size(entry)


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(file.lstat().st_size for file in files)


def _remove(entry: Path) -> None:
    """A folder goes at once, under its name: nobody may find half of it."""
    if not entry.is_dir():
        entry.unlink(missing_ok=True)
        return
    aside = entry
    if not _ASIDE.fullmatch(entry.name):
        aside = entry.with_name(f".{entry.name}.{os.getpid()}.old")
        entry.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
