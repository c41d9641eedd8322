"""What a job finds where it runs: `python -m eventmill.launch.probe MASTER SERVER...`, in a line of its log.

`eventmill pool check` has it run before the worker, and shows what it says. It needs nothing but Python and this package.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from typing import Any
from urllib.parse import urlsplit

from ..protocol.version import __version__

PREFIX = "eventmill found: "
SECONDS = 5.0
"""To wait for a server."""
_PORTS = {"root": 1094, "roots": 1094, "https": 443, "http": 80, "davs": 443}


def find(master: str, servers: list[str]) -> dict[str, Any]:
    """What there is: versions, cores, time (seconds since 1970), scratch space, and what can be reached in how many seconds.

    Example:
        >>> found = find("tcp://127.0.0.1:1", [])
        >>> found["reached"]
        {'tcp://127.0.0.1:1': 'Connection refused'}
    """
    return {
        "python": platform.python_version(),
        "eventmill": __version__,
        "host": platform.node(),
        "cores": len(os.sched_getaffinity(0)),
        "time": time.time(),
        "scratch": _scratch(),
        "reached": {server: _reach(server) for server in (master, *servers)},
    }


def _scratch() -> tuple[str, int | str]:
    """The folder for temporary files, and its free bytes, or why nothing can be written there."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"eventmill")
        return tempfile.gettempdir(), shutil.disk_usage(tempfile.gettempdir()).free
    except OSError as error:
        return os.environ.get("TMPDIR", "/tmp"), error.strerror or str(error)  # noqa: S108 - where it was looked for


def _reach(server: str) -> float | str:
    """The seconds in which a server takes a connection, or why it does not."""
    parts, began = urlsplit(server), time.monotonic()
    try:
        address = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        socket.create_connection(address, timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", "") or str(error)
    return time.monotonic() - began


if __name__ == "__main__":
    print(PREFIX + json.dumps(find(sys.argv[1], sys.argv[2:])), flush=True)  # noqa: T201 - that is what it is for
