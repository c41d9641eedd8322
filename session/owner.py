"""Whose a session's queries are."""

from __future__ import annotations

from ..system.account import account_name

LONGEST_NAME = 200
ME = "me"
"""Stands for the name of whoever asks."""


def clipped(name: str) -> str:
    """A name as it can travel and be displayed."""
    return name[:LONGEST_NAME].encode(errors="replace").decode()


def owner() -> str:
    """Who starts a query."""
    return clipped(account_name())
