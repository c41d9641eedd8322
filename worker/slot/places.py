"""A slot moves into the folders of the owner that it works for: code of others finds nothing there, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

import numba

from ...system.private_folders import make_private
from ..cache_eviction import tidy, use

OWNERS = "owners"
"""The folder, in a cache and among a worker's temporary files, that has a folder for each owner."""
_OURS = re.compile("[0-9a-f]{40}")


def cache_of(place: str, cache: Path) -> Path:
    """Where an owner's compiled code and modules are kept; owners who have not been here for long lose theirs.

    Args:
        place: the name of the owner's folders; empty: those of the account.
        cache: of the account.
    """
    if not place:
        return cache
    folder = cache / OWNERS / place
    with contextlib.suppress(OSError):  # who needs the folder says what that means
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    use(folder)
    tidy(folder.parent, _OURS)
    return folder


def move_to(place: str, folder: Path) -> Path:
    """Work where an owner's temporary files are, and import nothing from where this process was before; returns where.

    Args:
        place: as above; nothing is done if it is empty.
        folder: the worker's private one.
    """
    if not place:
        return folder
    before = str(Path.cwd())
    home = folder / OWNERS / place
    home.parent.mkdir(mode=0o700, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    os.chdir(home)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", ".", before)]
    os.environ["TMPDIR"] = os.environ["PWD"] = str(home)
    tempfile.tempdir = None  # it is looked for anew
    # Numba unpickles what functions with `cache=True` have left, in a folder of the account otherwise.
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(home / "numba")  # type: ignore[attr-defined]
    return home
