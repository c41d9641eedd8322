"""Folders that nobody else may write to, and how to tell that one is such."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for this account alone, whatever its umask is.

    Raises:
        OSError: it cannot be made.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "state" / "keys"
        >>> make_private(folder)
        >>> oct(folder.parent.stat().st_mode & 0o777)
        '0o700'
    """
    for part in (*reversed(folder.parents), folder):
        if not part.is_dir():
            part.mkdir(mode=0o700, exist_ok=True)


def not_ours_alone(status: os.stat_result) -> str:
    """Why what lies in this file or folder may be somebody else's, in words; empty if nobody else can have written it.

    What is unpickled or imported runs as this account, so it must be this account's own, as a key must.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> not_ours_alone(folder.stat())
        ''
        >>> folder.chmod(0o777)
        >>> not_ours_alone(folder.stat())
        'others may write to it (mode 0777)'
    """
    if status.st_uid != os.geteuid():
        return f"it belongs to another user (number {status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""
