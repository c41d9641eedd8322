"""A real SSH server for tests, on this machine at a free port, with keys of its own, and a configuration for its clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.world.fleet import eventually, free_port

PRIVILEGES = Path("/run/sshd")
"""sshd wants this empty folder when root starts it. It is made at boot, and by `make ssh`."""
_SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {base}/host
AuthorizedKeysFile {base}/authorized
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
MaxStartups 100
LogLevel ERROR
SetEnv XDG_CACHE_HOME={base}/cache
"""
_CLIENT = """
Host stranger
  HostKeyAlias stranger
Host behind
  ProxyJump node1
Host elaborate
  ControlMaster auto
  ControlPersist 60
  ControlPath {base}/%C
  RemoteCommand ls
  RequestTTY force
Host away
  Port {closed}
Host denied
  IdentityFile {base}/other
Host * !denied
  IdentityFile {base}/user
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityAgent none
  IdentitiesOnly yes
  UserKnownHostsFile {base}/known
  GlobalKnownHostsFile /dev/null
  HostKeyAlias eventmill-test
"""


class SSHServer:
    """A server, started when this is made. All hosts of its clients' configuration are this machine: `node1`, `node2` and
    any other name; `behind` by a jump over `node1`. `stranger` has a key that is not known, `denied` does not know the
    client's, `away` does not answer, and `elaborate` has what people put into their configurations.

    Args:
        base: an empty folder.

    Attributes:
        options: of clients.
        folder: where jobs have their files, if nothing else is said.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.port = base, free_port()
        self.folder = base / "cache/eventmill/ssh"
        self.options = ["-F", str(base / "client")]
        for name in ("host", "user", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / name)], check=True)
        shutil.copy(base / "user.pub", base / "authorized")
        (base / "known").write_text(f"eventmill-test {(base / 'host.pub').read_text()}")
        user = psutil.Process().username()
        (base / "server").write_text(_SERVER.format(base=base, port=self.port))
        (base / "client").write_text(_CLIENT.format(base=base, port=self.port, closed=free_port(), user=user))
        program = _program()
        assert program is not None
        self._log = (base / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(base / "server")],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def wait(self) -> None:
        """Until it listens."""

        def listens() -> bool:
            assert self.process.poll() is None, (self.base / "log").read_text()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        eventually(listens, "sshd listens")

    def break_connections(self) -> None:
        """End those that there are: what they have started is left alone."""
        for process in psutil.Process(self.process.pid).children():
            process.kill()

    def jobs(self) -> list[str]:
        """The folders of jobs that there are."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those that have one of these words on their command line or, as the name of their job, in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if {*words} & {*process.cmdline(), process.environ().get("EVENTMILL_JOB", "")}:
                    found.append(process)
        return found

    def clear(self) -> None:
        """End all jobs, and remove their folders."""
        jobs = self.jobs()

        def none_is_left() -> bool:
            left = self.processes(*jobs)
            for process in left:  # some may be just about to start another one
                with contextlib.suppress(psutil.Error):
                    process.kill()
            return not left

        eventually(none_is_left, "no job is left")
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """End it, and its connections."""
        if self.process.poll() is None:
            self.break_connections()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self._log.close()


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[SSHServer]:
    """A server, ended with the test session."""
    if _program() is None or (os.geteuid() == 0 and not PRIVILEGES.is_dir()):
        message = "no sshd: `make ssh` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with tempfile.TemporaryDirectory(prefix="eventmill-ssh-") as folder, contextlib.ExitStack() as stack:
        server = SSHServer(Path(folder))
        stack.callback(server.close)
        server.wait()
        yield server


def _program() -> str | None:
    """Where sshd is: outside of what users have in their PATH."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
