"""A master and a worker of a session's own, on this machine: what `connect()` without an address starts.

Both are processes of their own, so that a busy notebook never stalls them, and both end with the session, however it
ends: they hold a descriptor that becomes readable when the session's process is gone. One that is killed is started again:
the master goes on from its journal, at the same port and with the same keys, and what the worker had not committed is done
again.
"""

from __future__ import annotations

import platform
import socket
import subprocess
from pathlib import Path

from ..protocol.connection import Connection, load_connection, make_keys
from ..protocol.errors import ConnectionFailed
from ..system.lifeline import Owner
from ..system.scratch import Scratch
from .kept import Kept, code_of


class Embedded:
    """The two processes and their folder.

    Args:
        slots: slots of the worker; None for one a core that this process may use, 0 for no worker.
        host: name or address under which workers on other machines reach this one, "*" for its host name; None if none are
            to: then nobody else can call the master.

    Attributes:
        kept: the two, or the master alone, by their names "master" and "worker".
        log: what both say, and what the analyses print.
        is_private: the master listens on this machine only.
    """

    def __init__(self, slots: int | None = None, host: str | None = None) -> None:
        self._scratch = Scratch()
        self.folder: Path = self._scratch.path
        # It is kept: a master that is started again listens at the same port, which nobody can take meanwhile.
        self.is_private = host is None
        name = {None: "127.0.0.1", "*": platform.node()}.get(host, host or "")
        self._listener = socket.create_server(("127.0.0.1" if self.is_private else "", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.keys = keys = make_keys(self.folder, f"tcp://{name}:{port}")
        self.connection: Connection = load_connection(keys.client)
        self.log = self.folder / "log"
        owner, descriptor = Owner.this_process(), self._listener.fileno()
        master = Kept(
            "master",
            ["eventmill.master", str(self.folder), str(port), str(descriptor), str(owner), name],
            [descriptor, *owner.descriptors],
            self.log,
        )
        self.kept = {"master": master}
        self.closed = False
        if slots == 0:
            return
        self.kept["worker"] = Kept(
            "worker",
            ["eventmill.worker", str(keys.worker), str(slots or 0), str(owner), str(self.log)],
            owner.descriptors,
            self.log,
            is_wanted=lambda: code_of(master.process) is None,
        )

    @property
    def has_worker(self) -> bool:
        """Whether there is a worker beside the master."""
        return "worker" in self.kept

    @property
    def processes(self) -> dict[str, subprocess.Popen[bytes]]:
        """Those that there are now."""
        return {name: kept.process for name, kept in self.kept.items()}

    def ended(self) -> str:
        """Which of the two has ended for good: "master", "worker", or neither (""), as far as a fork can know."""
        return next((name for name, kept in self.kept.items() if kept.trouble), "")

    def check(self) -> None:
        """Raise `ConnectionFailed` with the end of the log if the master or the worker has ended for good."""
        name = self.ended()
        if name:
            raise ConnectionFailed(
                f"the {name} process of this session has ended, and the session's queries with it: "
                f"eventmill.connect() makes a new session. The log is {self.log}; the process {self.kept[name].trouble}"
            )

    def close(self) -> None:
        """End both processes and remove their folder; in a fork of the session's process they are not touched."""
        told = [kept for kept in reversed(self.kept.values()) if kept.tell()]  # the worker looks for no master first
        if not told:
            return
        self.closed = True
        self._listener.close()  # nobody tries to reach a master there any more
        for kept in told:
            kept.wait()
        self._scratch.remove()
