"""Whose a session's queries are."""

from __future__ import annotations

import getpass
import os

LONGEST_NAME = 200
ME = "me"
"""Stands for the name of whoever asks."""


def clipped(name: str) -> str:
    """A name as it can travel and be displayed."""
    return name[:LONGEST_NAME].encode(errors="replace").decode()


def owner() -> str:
    """Who starts a query. In a container there may be no name for a user's number."""
    try:
        return clipped(getpass.getuser())
    except (KeyError, OSError):
        return f"user {os.getuid()}"
