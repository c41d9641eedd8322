"""The account that a process runs as."""

from __future__ import annotations

import getpass
import os


def account_name() -> str:
    """What it is called. In a container there may be no name for a user's number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
