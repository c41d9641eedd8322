"""Real masters and workers for tests: processes of the command line, as a user starts them in terminals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eventmill as em
import msgspec
import psutil
import zmq
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import Connection, load_connection
from eventmill.protocol.dial import Dial
from eventmill.protocol.errors import ConnectionFailed
from eventmill.protocol.messages import Message

from tests.world.fleet import free_port

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SECONDS = 120.0
"""How long a test waits for what must happen before it fails, on a machine that has twenty others to serve."""


def eventually(
    condition: Callable[[], bool], what: str, seconds: float = SECONDS, facts: Callable[[], object] = str
) -> None:
    """Wait until a condition that nobody announces holds, or fail, and say what the `facts` are then. To look takes a fifth
    of a core at most, also where it takes a command of a batch system, and less when it is long in coming: what is waited
    for needs the cores."""
    began = time.monotonic()
    while True:
        looked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < began + seconds, f"not within {seconds:g} s: {what}\n{facts()}"
        time.sleep(min(0.1, max(0.01, 4.0 * (now - looked), 0.01 * (now - began))))


def finds_again(session: em.Session) -> None:
    """Wait until a session has found its master, which was started again. Where that takes a while, it says so before to who
    asks."""

    def has_found() -> bool:
        try:
            session.queries()
        except ConnectionFailed:
            return False
        return True

    eventually(has_found, "the session has found the next master")


class Running:
    """An `eventmill` command that runs.

    Args:
        arguments: of the command line.
        state: the folder with the keys of named masters.
    """

    def __init__(self, *arguments: str, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eventmill.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(state),
        )
        self.pid = self.process.pid
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """What it has said so far, on both outputs."""
        with self._said:
            return "".join(self._lines)

    def wait_for(self, words: str) -> None:
        """Until it has said these words."""
        with self._said:
            said = self._said.wait_for(
                lambda: any(words in line for line in self._lines) or not self._reader.is_alive(), SECONDS
            )
            assert said and any(words in line for line in self._lines), f"never said {words!r}:\n{''.join(self._lines)}"

    def family(self) -> list[psutil.Process]:
        """The process, and all that it has started."""
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def wait(self) -> int:
        """Until it ends, and everything it started with it; its exit code."""
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; its exit code. No process of it is left then."""
        family = self.family() if self.process.poll() is None else []
        if family:
            self.process.send_signal(number)
        code = self.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, alive
        return code

    def close(self) -> None:
        """End it, however it feels."""
        if self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in self.family():
                    process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._said.notify_all()


def environment(state: Path) -> dict[str, str]:
    """The environment of a command whose masters' keys are in `state`."""
    return os.environ | {"EVENTMILL_STATE": str(state), "COLUMNS": "150"}


def call(*arguments: str, state: Path) -> tuple[int, str]:
    """The same as `run` in this process, which takes a tenth of the time, for commands that ask a master and end: their exit
    code, and what they say. An error that would be a traceback is raised."""
    env = {"EVENTMILL_STATE": str(state), "COLUMNS": "150"}
    done = CliRunner().invoke(main, arguments, env=env, catch_exceptions=False)
    return done.exit_code, done.output


def run(*arguments: str, state: Path) -> tuple[int, str]:
    """An `eventmill` command from start to end: its exit code, and what it said. One that hangs shows where."""
    command = [sys.executable, "-X", "faulthandler", "-m", "eventmill.cli.main", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(state)
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            said, _ = process.communicate(timeout=SECONDS)
            raise AssertionError(f"{arguments} did not end within {SECONDS:g} s:\n{said}") from None
        return process.returncode, said


class Standing:
    """A standing master and its workers.

    Args:
        state: folder for its keys.
        name: what it is called.
        options: of the master when it is started for the first time.
    """

    def __init__(self, state: Path, name: str = "test", options: Sequence[str] = ()) -> None:
        self.state, self.name = state, name
        self.commands: list[Running] = []
        self.master = self.start_master("--port", str(free_port()), *options)
        self.client = load_connection(state / name / "client.json")
        self.worker_key = load_connection(state / name / "worker.json")
        self.port = int(self.client.address.rpartition(":")[2])

    def start_master(self, *options: str) -> Running:
        """Start the master, for the first time or again; it listens when this returns."""
        local = ("--host", "127.0.0.1", "--interface", "127.0.0.1")
        self.master = self._start("master", self.name, *local, *options)
        self.master.wait_for("eventmill worker")
        return self.master

    @property
    def said(self) -> str:
        """What all its processes have said so far."""
        return "\n".join(f"{command.process.args}:\n{command.output}" for command in self.commands)

    def connect(self, **options: Any) -> em.Session:
        """A session of this master."""
        return em.connect(self.state / self.name, **options)

    def wait_until_told_of(self, query: em.Query) -> None:
        """Until what the master has said of the beginning of a query has been read, and so what it said before."""
        self.master.wait_for(f"query {query.id}: ")

    def crash(self) -> None:
        """Kill the master as nothing else does: with no time for a last word."""
        self.master.process.kill()
        self.master.wait()

    def worker(self, slots: int = 1, target: str = "", options: Sequence[str] = ()) -> Running:
        """Start a worker; it is on its way when this returns."""
        return self._start("worker", target or self.name, "--slots", str(slots), *options)

    def close(self) -> None:
        """End all that is left of it."""
        for command in reversed(self.commands):
            command.close()

    def _start(self, *arguments: str) -> Running:
        command = Running(*arguments, state=self.state)
        self.commands.append(command)
        return command


def save(connection: Connection, file: Path) -> Path:
    """Write a connection file."""
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(connection))
    return file


# --- peers that are nobody's idea of a session or worker ------------------------------------------------------------------


class RawPeer:
    """A peer that says what a test wants, over a real connection."""

    def __init__(self, connection: Connection) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dial = Dial(self._context, connection)
        self._dial.socket.set(zmq.LINGER, 0)
        self._heard: deque[Message] = deque()

    def say(self, message: Message, frames: codec.Frames = ()) -> None:
        self.send(codec.encode(message, frames))

    def send(self, frames: Sequence[codec.Buffer]) -> None:
        self._dial.send(frames)

    def send_parcel(self, parcel: Sequence[codec.Buffer]) -> None:
        """A part of a large message."""
        self._dial.socket.send_multipart(parcel)

    def hear(self) -> Message:
        """The next message that is no heartbeat."""
        while True:
            while not self._heard:
                assert self._dial.socket.poll(int(SECONDS * 1000)), "the master says nothing"
                self._heard.extend(message for message, _ in codec.decode_all(self._dial.socket.recv_multipart()))
            message = self._heard.popleft()
            if not isinstance(message, messages.Heartbeat):
                return message

    def wait(self, seconds: float) -> None:
        """For so long, or until the master says something."""
        self._dial.socket.poll(int(seconds * 1000))

    def leave(self) -> None:
        """Once all that was said is sent, which the other side need not have read."""
        self._dial.socket.set(zmq.LINGER, int(SECONDS * 1000))
        self._dial.close()
        self._context.term()

    def close(self) -> None:
        if not self._context.closed:
            self._dial.close()
            self._context.term()


def raw_peer(connection: Connection) -> contextlib.closing[RawPeer]:
    """A peer to be closed."""
    return contextlib.closing(RawPeer(connection))


def hello(**changes: Any) -> messages.Hello:
    """What a worker of two slots says first."""
    return msgspec.structs.replace(messages.Hello("worker", "raw", python=PYTHON, slots=2), **changes)
