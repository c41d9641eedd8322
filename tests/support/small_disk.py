"""A disk that is small, or can only be read: a file system of its own in memory, which takes root's rights."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A file system that is mounted in a folder.

    Args:
        folder: where it is; made if it is not there.
        size: bytes that have room.
    """

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder))

    def fill(self) -> None:
        """Until nothing has room any more; also what has come free meanwhile."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(bytes(size))
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                filler.write(bytes(4096))

    def free(self) -> None:
        """There is room again."""
        (self.folder / "filler").unlink()

    def only_read(self) -> None:
        """Nobody can write to it any more, root neither."""
        self._mount("-o", "remount,ro", str(self.folder))

    def close(self) -> None:
        """Take it out, whoever is at work in it."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
        if done.returncode:
            said = f"a small disk cannot be mounted: {done.stderr.strip()}"
            if os.environ.get("CI") == "true":
                pytest.fail(said)
            pytest.skip(said)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """One that is gone afterwards."""
    disk = SmallDisk(folder, size)
    try:
        yield disk
    finally:
        disk.close()
