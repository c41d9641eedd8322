"""Real processes to be ill-treated: a standing master, workers and an XRootD server, as a user starts them in terminals."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_SECONDS = 60.0
PAGE = os.sysconf("SC_PAGE_SIZE")


def eventually(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait until a condition that nobody announces holds.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


class Command:
    """A command that runs. What it says goes into a file, through a pipe, since its own files may not be let grow.

    Args:
        log: the file; what several lives of a command say goes there one after the other.
        state: the folder with the keys of named masters.
    """

    def __init__(self, arguments: Sequence[str], log: Path, state: Path) -> None:
        environment = os.environ | {"EVENTMILL_STATE": str(state), "XDG_CACHE_HOME": str(state / "cache")}
        self.log = log
        with log.open("ab") as output:
            self._writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
        assert self._writer.stdin is not None
        with self._writer.stdin as pipe:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to get it."""
        if self.alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, stopped or not; gone when this returns."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it with all that it has started, however it feels."""
        for process in family(self.process.pid) if self.alive else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        self._writer.wait()


class Fleet:
    """A standing master called `chaos` and what works for it. Close it in the end.

    Args:
        folder: for keys, journal and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.keys = self.state / "chaos"
        self.port = free_port()
        self.master: Command | None = None
        self.workers: list[Command] = []
        self._commands: list[Command] = []
        self._logs = 0

    @property
    def client(self) -> Path:
        """The connection file for sessions."""
        return self.keys / "client.json"

    def start_master(self, *options: str, wait: bool = True) -> Command:
        """Start the master, as it was before."""
        arguments = ["master", "chaos", "--port", str(self.port), "--host", "127.0.0.1", "--interface", "127.0.0.1"]
        self.master = self._run([*arguments, *options], self.folder / "master.log")
        if wait:
            eventually(self._answers, "the master listens")
        return self.master

    def start_worker(self, slots: int, *options: str, file: Path | None = None) -> Command:
        """Start a worker, which is on its way then."""
        self._logs += 1
        arguments = ["worker", str(file or self.keys / "worker.json"), "--slots", str(slots), *options]
        worker = self._run(arguments, self.folder / f"worker{self._logs}.log")
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """End all of it, however it feels."""
        for command in self._commands:
            command.close()

    def complaints(self) -> list[str]:
        """What the logs have that no fault explains: errors of ours. Those of analyses are told with what they were in."""
        wrong = re.compile(r"Traceback|error while dealing|merging failed|never retrieved|Fatal Python|CountError")
        found = []
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            said = ""
            for number, line in enumerate(lines):
                said = line if " eventmill." in line else said  # what the lines below it belong to
                if wrong.search(line) and "an error in " not in said:
                    below = "\n    ".join(lines[number : number + 40])
                    found.append(f"{log.name}: {said[-200:]}\n    {below}")
        return found

    def _run(self, arguments: Sequence[str], log: Path) -> Command:
        command = Command([sys.executable, "-m", "eventmill.cli.main", *arguments], log, self.state)
        self._commands.append(command)
        return command

    def _answers(self) -> bool:
        assert self.master is not None
        if not self.master.alive:
            raise RuntimeError(f"the master does not start:\n{self.master.said()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return (self.keys / "worker.json").exists()


def fleet(folder: Path) -> contextlib.closing[Fleet]:
    """A fleet to be closed."""
    return contextlib.closing(Fleet(folder))


def family(pid: int) -> list[int]:
    """A process and all that it has started, the oldest first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for process in found:
        found += sorted(parents.get(process, []))
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process takes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def free_port() -> int:
    """A port that nobody listens at, and that no other process of tests is given while this one lives.

    It is none of those that kernels choose: one of these, free now, may be somebody's by the time that a server starts, or
    starts again.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0eventmill-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            holder.close()
        else:
            holder.detach()  # its name is taken until this process ends
            return port
