"""A real XRootD server that can die and come back at the same port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .chaos_fleet import eventually, free_port


class FileServer:
    """Serves the files that it takes in.

    Args:
        base: a folder that everybody may enter.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("", "data", "admin", "run"):
            (base / name).mkdir(exist_ok=True)
            if os.geteuid() == 0:  # it gives up root's rights for those of nobody
                shutil.chown(base / name, "nobody")
        (base / "server.cfg").write_text(
            f"xrd.port {self.port}\nall.export /\noss.localroot {base / 'data'}\n"
            f"all.adminpath {base / 'admin'}\nall.pidpath {base / 'run'}\n"
        )
        self.start()
        eventually(self._listens, "the XRootD server listens")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def take_in(self, path: Path) -> str:
        """Copy a file to the server; its URL there."""
        target = self.base / "data" / path.name
        shutil.copyfile(path, target)
        target.chmod(0o644)
        return f"root://127.0.0.1:{self.port}//{path.name}"

    def start(self) -> None:
        """Start it, for the first time or again."""
        command = ["xrootd", "-c", str(self.base / "server.cfg"), "-l", str(self.base / "server.log"), "-I", "v4"]
        command += ["-R", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextlib.contextmanager
def serve_files() -> Iterator[FileServer]:
    """A server to be ended."""
    with tempfile.TemporaryDirectory(prefix="eventmill-xrootd-") as base:
        server = FileServer(Path(base))
        try:
            yield server
        finally:
            server.kill()
