"""What `eventmill master --status-port` does for the status page: finds its port, makes its tokens, keeps its process."""

from __future__ import annotations

import platform
import socket
from pathlib import Path

from ..launch.kept import Kept
from ..protocol.connection import KeyFolder
from ..protocol.errors import ConnectionFailed
from ..status.access import FILE, Access
from ..system.lifeline import Owner

ANY = ("*", "0.0.0.0", "::")  # noqa: S104 - what a user says who wants that
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class StatusPage:
    """The status page of a standing master, from the master's side.

    Args:
        keys: the master's key folder; the page's URLs are written into it.
        port: 0 for any that is free.
        interface: address to listen at.
        host: name of this machine as others reach it.
        certificate, key: files for TLS, if it is to have it.

    Raises:
        ConnectionFailed: the port is taken, or the files are no certificate and key.
    """

    def __init__(
        self, keys: KeyFolder, port: int, interface: str, host: str, certificate: Path | None, key: Path | None
    ) -> None:
        if certificate is not None and key is not None:
            from ..status.server import tls  # a web server takes as long to import as all else of a master

            tls(str(certificate), str(key))
        self._listening = _listening(interface, port)
        self._file = keys.path / FILE
        reached = interface if interface in LOOPBACK else host or platform.node()
        name = f"[{reached}]" if ":" in reached else reached
        self._access = Access.new()
        self._base = f"{'https' if certificate else 'http'}://{name}:{self._listening.getsockname()[1]}"
        self.url = self._access.url(self._base, "steer")
        self._keys = keys
        self._tls = [] if certificate is None else ["--certificate", str(certificate), "--key", str(key)]
        self._kept: Kept | None = None

    def start(self, owner: Owner) -> None:
        """Start its process, which ends with the process `owner`; the master listens by now."""
        self._access.write(self._file, self._base)
        descriptor = self._listening.fileno()
        arguments = [str(self._keys.client), str(self._file), str(descriptor), str(owner), *self._tls]
        self._kept = Kept("status page", ["eventmill.cli.status_page", *arguments], [descriptor, *owner.descriptors])

    def close(self) -> None:
        """End it."""
        if self._kept is not None:
            self._kept.close()
            self._file.unlink(missing_ok=True)
        self._listening.close()


def _listening(interface: str, port: int) -> socket.socket:
    address = "" if interface in ANY else interface
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        raise ConnectionFailed(
            f"the status page cannot listen at {interface}:{port}: {error.strerror or error}; choose another --status-port"
        ) from None
