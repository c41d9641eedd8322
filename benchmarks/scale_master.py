"""The master as it is, but that it notes the turns of its loop that took long: for a core of its own, whatever else ran.

How long a turn took by the clock is on a busy machine what others did meanwhile.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from eventmill.cli.main import main
from eventmill.master.serve import Master
from eventmill.system.lifeline import EndSignals

LONG = 0.002
"""Seconds of CPU."""


def note_long_turns(file: Path) -> None:
    """Write when each of them ended (`time.monotonic`), and its seconds of CPU."""
    noted, turn = file.open("a", buffering=1), Master._turn

    def timed(master: Master, signals: EndSignals) -> None:
        before = time.thread_time()
        turn(master, signals)
        took = time.thread_time() - before
        if took > LONG:
            noted.write(f"{time.monotonic()} {took}\n")

    Master._turn = timed  # type: ignore[method-assign]


if __name__ == "__main__":
    note_long_turns(Path(sys.argv.pop(1)))
    main(prog_name="eventmill")
