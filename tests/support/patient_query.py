"""What tests of workers from batch systems share: a query that lasts until they have come, and a look for leftovers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import eventmill as em
import psutil


def workers_below(folder: Path) -> list[psutil.Process]:
    """Processes whose command has something of a folder in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in argument for argument in process.cmdline()):
                found.append(process)
    return found


def patient(gate: Path) -> Callable[..., int]:
    """The sum of the numbers, of which one slot has three minutes, until there is a file `gate`."""
    path = str(gate)

    def total(events: ak.Array) -> int:
        import os
        import time

        for _ in range(len(events)):
            if os.path.exists(path):  # noqa: PTH110
                break
            time.sleep(0.02)
        return int(ak.sum(events.number))

    return total


def busy(session: em.Session) -> int:
    """Slots that have something to do."""
    return sum(info.busy for info in session.workers())
