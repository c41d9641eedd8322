"""Whose a session's queries are."""

from __future__ import annotations

from pathlib import Path

from ..system.account import account_name

LONGEST_NAME = 200
ME = "me"
"""Stands for the name of whoever asks."""


def clipped(name: str) -> str:
    """A name as it can travel and be displayed."""
    return name[:LONGEST_NAME].encode(errors="replace").decode()


def working_folder() -> str:
    """The folder from which relative paths count; "" if it is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def owner() -> str:
    """Who starts a query."""
    return clipped(account_name())
