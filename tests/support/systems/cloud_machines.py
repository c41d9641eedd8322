"""Machines of a cloud, on this one: the real cloud-init reads their user-data.

Each is a process with mounts, processes and a host name of its own: its root is an overlay over this machine's, in memory,
and what it changes is gone with it. The network is shared, so that it reaches a master on 127.0.0.1. When it switches itself
off, as with `poweroff`, its process ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.world.fleet import eventually

PROGRAMS = Path(os.environ.get("EVENTMILL_CLOUD_INIT", Path.home() / ".cache" / "eventmill-tests" / "cloud-init"))
"""Where `make cloud-init` unpacks it."""
_MACHINE = r"""
set -e
base=$1 programs=$2 name=$3; shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base"/{up,work,root}
R=$base/root
cp -a "$programs" "$base/programs"  # a layer is not to lie within another one
mount -t overlay overlay -o "lowerdir=$base/programs:/,upperdir=$base/up,workdir=$base/work" "$R"
hostname "$name"
for shared in "$@"; do mkdir -p "$base/shared$shared"; mount --rbind "$shared" "$base/shared$shared"; done
mount -t proc proc "$R/proc"
for m in run dev tmp; do mount -t tmpfs tmpfs "$R/$m"; done
chmod 1777 "$R/tmp"
node() { mknod -m 666 "$R/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node random 1 8; node urandom 1 9; node tty 5 0
ln -s /proc/self/fd "$R/dev/fd"
mkdir -m 1777 "$R/dev/shm"
for shared in "$@"; do
    mkdir -p "$R$shared"
    for up in $(p=$shared; while [ "$p" != / ]; do echo "$p"; p=${p%/*}; p=${p:-/}; done); do chmod a+rx "$R$up"; done
    mount --rbind "$base/shared$shared" "$R$shared"
done
echo "127.0.1.1 $name" >>"$R/etc/hosts"
seed=$R/var/lib/cloud/seed/nocloud
mkdir -p "$seed" "$R/run/cloud-init"
(umask 077; cat >"$seed/user-data")
echo "instance-id: $name" >"$seed/meta-data"
exec chroot "$R" /bin/bash -c '
    cd /
    cloud-init init --local; cloud-init init; cloud-init modules --mode=config; cloud-init modules --mode=final
    exec sleep infinity' </dev/null
"""


class CloudMachine:
    """A machine that boots.

    Args:
        name: of the host, and its id.
        user_data: as a provider hands them to cloud-init.
        base: an empty folder.
        shared: folders of this machine that it sees, beside what its image has, which is what this machine's root has.
    """

    def __init__(self, name: str, user_data: bytes, base: Path, shared: Sequence[Path] = ()) -> None:
        self.name, self._console = name, base / "console"
        mounted = base / "machine"
        mounted.mkdir()
        (base / "user-data").write_bytes(user_data)
        (base / "user-data").chmod(0o600)
        seen = dict.fromkeys(map(os.path.realpath, (sys.prefix, sys.base_prefix, *shared)))
        seen.pop("/usr", None)
        command = [
            "unshare",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=SIGKILL",
            "bash",
            "-c",
            _MACHINE,
        ]
        with (base / "user-data").open("rb") as given, self._console.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, "machine", str(mounted), str(PROGRAMS), name, *seen], stdin=given, stdout=said, stderr=said
            )

    @property
    def console(self) -> str:
        """What it has said so far."""
        return self._console.read_text(errors="replace")

    @property
    def is_off(self) -> bool:
        """Whether it has been switched off."""
        return self.process.poll() is not None

    def file(self, path: str) -> Path:
        """A file of the machine, as it is seen from here while it is on."""
        (first,) = psutil.Process(self.process.pid).children()
        return Path(f"/proc/{first.pid}/root") / path.lstrip("/")

    def wait_for(self, words: str) -> None:
        """Until it has said these words."""

        def said() -> bool:
            there = words in self.console
            assert there or not self.is_off, f"{self.name} is off, and never said {words!r}:\n{self.console}"
            return there

        eventually(said, f"{self.name} says {words!r}")

    def wait_until_off(self) -> str:
        """Until it has switched itself off; the last thing that the context has said before."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} is still on:\n{self.console}") from None
        return [line for line in self.console.splitlines() if line.startswith("eventmill: ")][-1]

    def close(self) -> None:
        """Pull its plug."""
        self.process.kill()
        self.process.wait(10)


class CloudMachines:
    """Boots machines; all end with this.

    Args:
        base: an empty folder.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self.machines: list[CloudMachine] = []

    def boot(self, user_data: str | bytes, name: str = "", shared: Sequence[Path] = ()) -> CloudMachine:
        """A machine with these user-data, which sees these folders."""
        name = name or f"machine-{len(self.machines)}"
        folder = self._base / name
        folder.mkdir(parents=True)
        data = user_data.encode() if isinstance(user_data, str) else user_data
        self.machines.append(CloudMachine(name, data, folder, shared))
        return self.machines[-1]

    def close(self) -> None:
        """Pull all plugs."""
        for machine in self.machines:
            machine.close()


@pytest.fixture
def cloud_machines(tmp_path: Path) -> Iterator[CloudMachines]:
    """Boots machines, none of which outlives the test."""
    if not (PROGRAMS / "usr/bin/cloud-init").exists() or os.geteuid() != 0 or shutil.which("unshare") is None:
        message = "no cloud-init, or not root: `make cloud-init` unpacks it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with contextlib.closing(CloudMachines(tmp_path / "machines")) as machines:
        yield machines
