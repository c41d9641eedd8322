"""What goes wrong with a host, in our words: by the texts of the OpenSSH client, and the codes of our own scripts."""

from __future__ import annotations

import re

from .commands import CommandFailed
from .pool import PoolError, Trouble
from .ssh_script import NO_FOLDER, NO_PYTHON

FROM_SSH = 255
"""The code with which ssh ends when it was no command of ours that failed."""
_SAYINGS: tuple[tuple[str, str, Trouble], ...] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "it has another key than before: find out why, then `ssh-keygen -R {host}`",
        "refused",
    ),
    ("Host key verification failed", "its key is not known here: run `ssh {host}` once, and compare it", "refused"),
    (
        "Permission denied|Too many authentication failures",
        "it does not let you in without a password: `ssh-add` a key, or get a ticket (kinit)",
        "down",
    ),
    ("Could not resolve hostname", "there is no host of this name", "refused"),
    ("[Bb]ad configuration option|(unknown|illegal) option", "ssh does not know these options", "refused"),
    (
        "refused|timed out|[Nn]o route|unreachable|reset by|closed by|Broken pipe|not responding",
        "it is not reached",
        "down",
    ),
)


def trouble_of(host: str, error: CommandFailed, python: str) -> PoolError:
    """The error for a script that did not do on a host what it was to do.

    Example:
        >>> said = "ssh: connect to host node1 port 22: Connection refused"
        >>> trouble_of("node1", CommandFailed("", said=said, code=255), "")
        PoolError('node1: it is not reached (ssh: connect to host node1 port 22: Connection refused)')
    """
    said = " ".join(error.said.split())
    if error.code is None:
        return PoolError(f"{host}: {error}")
    if error.code == NO_PYTHON:
        what = f"there is no {python}" if python else "it does not have the Python that runs this"
        return PoolError(f"{host}: {what}: give the setting `python`, or `setup` that makes it available", "refused")
    if error.code == NO_FOLDER:
        return PoolError(
            f"{host}: no folder for workers can be made there: give the setting `folder` ({said})", "refused"
        )
    if error.code == FROM_SSH:
        for pattern, words, trouble in _SAYINGS:
            if re.search(pattern, said):
                return PoolError(f"{host}: {words.format(host=host)} ({said[-300:]})", trouble)
    return PoolError(f"{host}: ended with code {error.code}: {said[-300:]}")
