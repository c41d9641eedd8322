"""Folders for temporary files that belong to one process, and are removed by nobody else while it lives.

A folder that is found in a place for temporary files is anybody's: its name proves nothing. Ours are told by a marker in
them, which says whose they are and names this very folder, so that neither a copy nor a folder of the same name passes
for one. Who made one holds a lock on it (`flock`) for as long as it lives; the operating system frees that, however the
process ends. Only a folder with a marker that nobody holds, and whose maker is gone, is ever removed by others.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import stat
import tempfile
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path

from .locks import lock

PREFIX = "eventmill-"
"""How names of our folders begin."""
MARKER = ".eventmill"
"""The file in each of them that says whose it is."""
_MOST = 4096
_ENDING_SECONDS = 2
"""How long a process may take from letting go of its files to its end."""
_PROGRAM = "eventmill: a folder for temporary files"
_inherited: weakref.WeakSet[Scratch] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Marker:
    """Content of the marker.

    Attributes:
        program: that it is a marker of ours.
        name, inode: of the folder that it is about.
        host, pid, started: the process that made it; `started` is in the kernel's ticks since it booted.
    """

    program: str
    name: str
    inode: int
    host: str
    pid: int
    started: int


class Scratch:
    """A private folder of this process, made now.

    Args:
        place: the folder in which to make it; by default where temporary files go.

    Attributes:
        path: the folder. The name has `PREFIX` and eight characters more.

    Example:
        >>> scratch = Scratch()
        >>> (scratch.path / "notes").touch()
        >>> remove_if_left(scratch.path)
        False
        >>> scratch.remove(); scratch.path.exists()
        False
    """

    def __init__(self, place: str | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._pid = os.getpid()
        self._folder = _open(self.path)
        self._inode = os.fstat(self._folder).st_ino
        _lock(self._folder)
        marker = Marker(
            _PROGRAM, self.path.name, self._inode, os.uname().nodename, self._pid, _start_of(self._pid) or 0
        )
        (self.path / MARKER).write_text(json.dumps(asdict(marker)))
        _inherited.add(self)

    def remove(self) -> None:
        """Remove the folder with all that is in it, if it is still the one that was made; in a fork nothing is done."""
        if os.getpid() != self._pid or self._folder < 0:
            return
        with contextlib.suppress(OSError):  # it is gone already
            if self.path.lstat().st_ino == self._inode:
                shutil.rmtree(self.path, ignore_errors=True)
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._folder)
        self._folder = -1


def _let_go_in_fork() -> None:
    """A fork of a process holds no folder of it, or the folder would outlive the process."""
    for scratch in list(_inherited):
        if scratch._folder >= 0:
            scratch._let_go()


os.register_at_fork(after_in_child=_let_go_in_fork)


def remove_left(place: Path) -> None:
    """Remove the folders that processes of this user have left in `place` when they were killed, and nothing else."""
    for folder in place.glob(f"{PREFIX}*"):
        remove_if_left(folder)


def remove_if_left(folder: Path) -> bool:
    """Remove a folder if it is one of ours, this user's, and its maker is gone; whether it was removed."""
    try:
        descriptor = _open(folder)
    except OSError:  # no folder, a link to one, not to be opened, or somebody else has removed it
        return False
    try:
        marker = _marker_of(folder, descriptor)
        if marker is None or not _lock(descriptor) or _lives(marker):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)


def _marker_of(folder: Path, descriptor: int) -> Marker | None:
    """The marker of an open folder, if it is this user's and the marker is about this very folder."""
    status = os.fstat(descriptor)
    if status.st_uid != os.getuid():
        return None
    try:
        file = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    except OSError:
        return None
    with os.fdopen(file, "rb") as content:  # closes it
        about = os.fstat(file)
        if about.st_uid != os.getuid() or not stat.S_ISREG(about.st_mode):
            return None
        try:
            marker = Marker(**json.loads(content.read(_MOST)))
        except (ValueError, TypeError, OSError):  # it is something else
            return None
    ours = marker.program == _PROGRAM and (marker.name, marker.inode) == (folder.name, status.st_ino)
    return marker if ours else None


def _lives(marker: Marker) -> bool:
    """Whether the maker lives, as far as can be known from here: of another machine's it cannot. One that is just ending
    has let go of its lock before it is gone, and is waited for."""
    if marker.host != os.uname().nodename:
        return True
    try:
        maker = os.pidfd_open(marker.pid)
    except OSError:  # gone; or the kernel has no such descriptors, and the table of processes has to do
        return _start_of(marker.pid) == marker.started
    try:
        if _start_of(marker.pid) != marker.started:
            return False
        ended = select.poll()
        ended.register(maker, select.POLLIN)
        return not ended.poll(1000 * _ENDING_SECONDS)  # also one that nobody has waited for yet has ended
    finally:
        os.close(maker)


def _start_of(pid: int) -> int | None:
    """When a process was started, by the kernel's count; None when there is none of this number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _lock(descriptor: int) -> bool:
    """Lock an open folder for as long as it is open; false if it is locked, or cannot be."""
    try:
        return lock(descriptor)
    except OSError:
        return False
