"""What is measured in a process of its own, and the slots of a session beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

FORKSERVER = b"eventmill.worker.forkserver"
"""In the command line of a forkserver, and of the slots, which are its forks."""
LOOK_SECONDS = 0.05
CHILD = "--child"
"""The first argument of a module that `run_json` runs."""
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def read_once(files: Iterable[Path]) -> None:
    """Read every file through, so that it lies in the page cache when the measuring begins."""
    for path in files:
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def run_json(module: str, *arguments: object, turns: int = 1) -> Any:
    """What the `measure` of a module says of these arguments (see `launch`) in a process with an empty cache of kernels.

    Args:
        turns: so many processes do so with the same cache, one after the other; the last one counts.
    """
    with tempfile.TemporaryDirectory() as cache:
        output = Path(cache, "output.json")
        for _ in range(turns):
            process = subprocess.run(
                [sys.executable, "-m", module, CHILD, str(output), *map(str, arguments)],
                env={**os.environ, "XDG_CACHE_HOME": cache},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if process.returncode != 0:
                raise SystemExit(f"{process.stdout}\n{module} {arguments[0]} ended with {process.returncode}")
        return json.loads(output.read_text())


def launch(measure: Callable[..., Any], main: Callable[[], int] | None = None) -> NoReturn:
    """What a module does that Python is told to run: for `run_json`, it writes what `measure` returns; else it is `main`.

    Args:
        measure: takes the words that `run_json` is given. Returns figures, dataclasses, or lists or dictionaries of them.
    """
    if main is not None and sys.argv[1:2] != [CHILD]:
        sys.exit(main())
    output, *arguments = sys.argv[2:]
    Path(output).write_text(json.dumps(measure(*arguments), default=asdict))
    sys.exit()


def slots_below(pid: int) -> list[int]:
    """Processes that are slots of sessions in a process: the children of the forkservers below it."""
    parents = _parents()
    forkservers = {child for child in parents if FORKSERVER in _command(child)}
    return sorted(child for child in forkservers if parents[child] in forkservers and _is_below(child, pid, parents))


def descendants(pid: int) -> list[int]:
    """Processes below a process, and those below them."""
    parents = _parents()
    return sorted(child for child in parents if child != pid and _is_below(child, pid, parents))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken, of all its threads; 0 when it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Peak:
    """Bytes that a slot took at most.

    Attributes:
        own: its part of what it shares with the forkserver, which every slot is a fork of, included ("PSS"), as often as it
            was looked at; this is what a slot adds to the memory that a machine needs.
        resident: all that it has used, with everything shared ("VmHWM"); exact.
    """

    own: int
    resident: int


class MemoryWatch:
    """While it is entered, looks at the memory of the slots below this process; then `peak` has the largest.

    Example:
        >>> with em.connect(slots=2) as session, MemoryWatch() as watch:                      # doctest: +SKIP
        ...     session.process(data, analysis).result()
        >>> watch.peak.own                                                                      # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.peak = Peak(0, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory watch")

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            is_last = self._over.wait(LOOK_SECONDS)
            for pid in slots_below(os.getpid()):
                own = max(self.peak.own, _kilobytes(PROC / str(pid) / "smaps_rollup", "Pss"))
                self.peak = Peak(own, max(self.peak.resident, _kilobytes(PROC / str(pid) / "status", "VmHWM")))
            if is_last:
                return


def _kilobytes(file: Path, name: str) -> int:
    """A figure in kB from one of the kernel's files, in bytes; 0 when the process is gone."""
    try:
        found = re.search(rf"^{name}:\s+([0-9]+) kB", file.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _parents() -> dict[int, int]:
    """The parent of each process."""
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return parents


def _command(pid: int) -> bytes:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != ancestor:
        pid = parents[pid]
    return pid == ancestor
