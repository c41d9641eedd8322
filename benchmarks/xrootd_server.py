"""Real XRootD servers, for tests and benchmarks. They can die, and come back at the same port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.world.fleet import free_port

START_SECONDS = 120
USER = "nobody"
"""Whose rights a server has that root starts."""


class XRootDServer:
    """Files put into `folder` are at `url + "/name"`, once the server is started.

    Args:
        base: an empty folder that everybody may enter, for all that the server has.
        lines: what its configuration has besides.
        host: what those call it who read from it.
        port: a free one if it is 0.
        environment: more variables for it.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self,
        base: Path,
        lines: str = "",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"root://{host}:{self.port}/"
        self.folder = base / "data"
        self.config = base / "server.cfg"
        self._log = base / "server.log"
        self._environment = environment or {}
        for name in ("data", "admin", "run"):
            (base / name).mkdir()
        common = f"all.export /\noss.localroot {base}/data\nall.adminpath {base}/admin\nall.pidpath {base}/run\n"
        self.config.write_text(f"xrd.port {self.port}\n{common}{lines}\n")
        if os.geteuid() == 0:  # the server gives up root's rights
            for folder in (base, *(path for path in base.iterdir() if path.is_dir())):
                shutil.chown(folder, USER)

    def take_in(self, path: Path) -> str:
        """Copy a file to the server; its URL there."""
        target = self.folder / path.name
        shutil.copyfile(path, target)
        target.chmod(0o644)
        return f"{self.url}/{path.name}"

    def start(self, wait: bool = True) -> None:
        """Start it, for the first time or again; unless told not to `wait`, it is ready when this returns.

        Raises:
            RuntimeError: it did not start; with the end of its log.
        """
        self.process = start_daemon("xrootd", self.config, self._log, self._environment)
        if wait:
            self._wait()

    def kill(self) -> None:
        """End it as nothing else does: with no time for a last word."""
        self.process.kill()
        self.process.wait()

    def _wait(self) -> None:
        """Until its log says that it is ready: its port is open before that."""
        ready, waited, pause, said = f":{self.port} initialization completed.", 0.0, 0.02, ""
        while waited < START_SECONDS:
            said = self._log.read_text()
            if ready in said:
                return
            try:  # waits for the process to end, which is what would make more looking pointless
                self.process.wait(pause)
                break
            except subprocess.TimeoutExpired:
                waited += pause
        stop(self.process)
        ended = (
            f"ended with code {self.process.returncode}" if waited < START_SECONDS else f"took over {START_SECONDS} s"
        )
        raise RuntimeError(f"the xrootd server did not start, and {ended}:\n{said[-2000:]}")


@contextlib.contextmanager
def serving(
    lines: str = "",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    clustered: bool = False,
) -> Iterator[XRootDServer]:
    """A server to be ended, started as `XRootDServer` says; with a `cmsd` beside it, if it is of a cluster."""
    with tempfile.TemporaryDirectory(prefix="eventmill-xrootd-") as folder, contextlib.ExitStack() as stack:
        base = Path(folder)
        server = XRootDServer(base, lines, host=host, port=port, environment=environment)
        if clustered:
            stack.callback(stop, start_daemon("cmsd", server.config, base / "cmsd.log"))
        server.start()
        stack.callback(lambda: stop(server.process))
        yield server


def start_daemon(
    program: str, config: Path, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `xrootd` or `cmsd`."""
    # Without -l: the thread that would begin a new log at midnight looks for TZ in the environment, into which the main
    # thread puts its own variables meanwhile; one start in a hundred of xrootd 5.5 on busy processors ended by that.
    command = [program, "-c", str(config), "-I", "v4"]
    if os.geteuid() == 0:
        command += ["-R", USER]
    variables = {**os.environ, **(environment or {})}
    with log.open("wb") as said:
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=said)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, in good order or not."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
