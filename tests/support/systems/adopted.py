"""Daemons that leave nothing behind: their descendants are adopted here, also those that have left their parents.

Batch systems start jobs in processes that are nobody's children any more. This file, as a program, is where these come back
to, and it ends all of them when its own standard input ends: when who started it says so, or is killed itself. It reads a
JSON object a line, `{"command": [...], "log": "...", "environment": {...}}`, and answers with the process's id.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

_PR_SET_CHILD_SUBREAPER = 36


class Daemons:
    """Daemons by name, and whatever they start.

    Args:
        folder: for what they say, a file NAME.said each.
        environment: more variables for them.
    """

    SECONDS = 30.0
    """How long one may take to end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.pids: dict[str, int] = {}
        self._keeper = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def start(self, name: str, *command: str, **environment: str) -> None:
        """Start one, which is on its way then."""
        said = str(self.folder / f"{name}.said")
        wish = {"command": command, "log": said, "environment": self.environment | environment}
        self._keeper.stdin.write(json.dumps(wish) + "\n")
        self._keeper.stdin.flush()
        self.pids[name] = int(self._keeper.stdout.readline())

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send one a signal that ends it, and wait for that."""
        process = psutil.Process(self.pids.pop(name))
        process.send_signal(number)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(self.SECONDS)

    def family(self) -> list[psutil.Process]:
        """All processes of them, and of what they have started."""
        return psutil.Process(self._keeper.pid).children(recursive=True)

    def said(self) -> str:
        """The end of what each has said."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.said")))

    def close(self) -> None:
        """End all; no process is left when this returns."""
        family = self.family()
        self._keeper.stdin.close()
        self._keeper.wait(self.SECONDS)
        self._keeper.stdout.close()
        _, alive = psutil.wait_procs(family, timeout=self.SECONDS)
        assert not alive, alive


def without(message: str) -> NoReturn:
    """A batch system is not there: the test fails in CI, and is skipped elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


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
