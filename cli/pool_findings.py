"""What `eventmill pool check` makes of what a job has found, in words."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from typing import Any

from ..launch.probe import PREFIX
from ..protocol.version import __version__

TOLERANCE = 2.0
"""Seconds by which clocks may differ before that is told: file servers and tokens mind more."""
_LEAST = 10**9
"""Bytes of scratch space that are told as few."""


def found_in(text: str) -> dict[str, Any] | None:
    """What a job has found, if its log has it."""
    for line in text.splitlines():
        if line.startswith(PREFIX):
            try:
                found = json.loads(line.removeprefix(PREFIX))
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def in_words(found: dict[str, Any], master: str, asked: float, read: float) -> Iterator[str]:
    """It in lines; the job was asked for and its log read at these times, in seconds since 1970.

    Example:
        >>> found = {"python": "3.9.1", "eventmill": "0.1", "host": "n1", "cores": 8, "time": 95.0,
        ...          "scratch": ["/scratch", 2 * 10**9], "reached": {"tcp://m:1": 0.002, "root://s": "timed out"}}
        >>> for line in in_words(found, "tcp://m:1", asked=100.0, read=110.0): print(line)
        Python 3.9.1, and ... here: the same minor version is needed everywhere
        eventmill 0.1, and ... here
        n1 lets it use 8 cores
        scratch space: 2.0 GB in /scratch
        its clock is at least 5 s behind this machine's
        reaches the master's port in 2 ms
        does not reach root://s: timed out
    """
    here = platform.python_version()
    same = found["python"].split(".")[:2] == here.split(".")[:2]
    yield f"Python {found['python']}" + (
        "" if same else f", and {here} here: the same minor version is needed everywhere"
    )
    yield f"eventmill {found['eventmill']}" + ("" if found["eventmill"] == __version__ else f", and {__version__} here")
    yield f"{found['host']} lets it use {found['cores']} cores"
    folder, free = found["scratch"]
    if isinstance(free, str):
        yield f"no scratch space: {folder} cannot be written: {free}"
    else:
        yield f"scratch space: {free / 1e9:.1f} GB in {folder}{', which is little' if free < _LEAST else ''}"
    if found["time"] < asked - TOLERANCE:
        yield f"its clock is at least {asked - found['time']:.0f} s behind this machine's"
    elif found["time"] > read + TOLERANCE:
        yield f"its clock is at least {found['time'] - read:.0f} s ahead of this machine's"
    else:
        yield "its clock agrees with this machine's, as far as can be seen"
    for server, seconds in found["reached"].items():
        what = "the master's port" if server == master else server
        yield (
            f"does not reach {what}: {seconds}"
            if isinstance(seconds, str)
            else f"reaches {what} in {1000 * seconds:.0f} ms"
        )
