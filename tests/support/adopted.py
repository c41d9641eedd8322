"""Daemons that leave nothing behind: their descendants are adopted here, also those that have left their parents.

Batch systems start jobs in processes that are nobody's children any more. This program is where these come back to, and
it ends all of them when its own standard input ends: when who started it says so, or is killed itself.

It reads a JSON object a line, `{"command": [...], "log": "...", "environment": {...}}`, and answers with the process's id.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def descendants() -> list[int]:
    """All processes below this one, but zombies, which are buried."""
    found: list[int] = [os.getpid()]
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        except OSError:  # it has just ended
            continue
    return found[1:]


def bury() -> None:
    """Take note of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> None:
    """Start what is asked for, until nobody can ask any more."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, lambda *_: bury())
    for line in sys.stdin:
        wish = json.loads(line)
        with Path(wish["log"]).open("ab") as log:
            process = subprocess.Popen(
                wish["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **wish["environment"]}, start_new_session=True,
            )  # fmt: skip
        print(process.pid, flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    while pids := descendants():  # each round finds what has been adopted meanwhile
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
        bury()


if __name__ == "__main__":
    main()
