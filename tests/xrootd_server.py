"""A real XRootD server for tests: one a test session, serving a folder that tests write to."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 20


@dataclass(frozen=True)
class XRootDServer:
    """A server that is running. Files put into `folder` are at `url + "/name"`."""

    url: str
    folder: Path
    port: int


@pytest.fixture(scope="session")
def xrootd_server() -> Iterator[XRootDServer]:
    """A server of an empty folder, for anonymous reading; ended with the test session."""
    program = shutil.which("xrootd")
    if program is None:
        message = "xrootd server not found: apt-get install xrootd-server"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    # Not in pytest's folders: they are private, and each pytest that starts makes them so again.
    with tempfile.TemporaryDirectory(prefix="eventmill-xrootd-") as base:
        process, server = start(program, Path(base))
        yield server
        stop(process)


def start(program: str, base: Path) -> tuple[subprocess.Popen[bytes], XRootDServer]:
    """Start a server with everything it needs under `base`, and wait until it accepts connections."""
    for name in ("data", "admin", "run"):
        (base / name).mkdir()
    port = _free_port()
    config = base / "server.cfg"
    config.write_text(
        f"xrd.port {port}\nall.export /\noss.localroot {base / 'data'}\n"
        f"all.adminpath {base / 'admin'}\nall.pidpath {base / 'run'}\n"
    )
    command = [program, "-c", str(config), "-l", str(base / "server.log"), "-I", "v4"]
    if os.geteuid() == 0:
        _let_in(base)
        command += ["-R", "nobody"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait(process, port, base / "server.log")
    return process, XRootDServer(f"root://127.0.0.1:{port}/", base / "data", port)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _let_in(base: Path) -> None:
    """The server gives up root's rights for those of `nobody`, whose folders they have to be."""
    for folder in ("", "data", "admin", "run"):
        shutil.chown(base / folder, "nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server accepts a connection. The server opens its port last, so that it is ready then."""
    pause = 0.01
    waited = 0.0
    while process.poll() is None and waited < START_SECONDS:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            try:  # waits for the process to end, which is what would make more connecting pointless
                process.wait(pause)
            except subprocess.TimeoutExpired:
                waited += pause
        else:
            return
    stop(process)
    said = log.read_text()[-2000:] if log.exists() else "no log"
    raise RuntimeError(f"the xrootd server did not start:\n{said}")
