"""Grid Engine's programs, unpacked from Debian's packages into the user's cache: nothing is installed, root is not needed.

`make gridengine` does it, in a second and 50 MB, if apt's lists of packages are there; tests only look. Debian has written
into its programs where they find a library of theirs; this is taken out, and the configuration says it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

FOLDER = "EVENTMILL_GRIDENGINE"
"""The environment variable with the folder, where it is not in the user's cache folder."""
PACKAGES = (
    "gridengine-common", "gridengine-client", "gridengine-exec", "gridengine-master",
    "libhwloc15", "libjemalloc2", "libmunge2", "libtirpc3",
)  # fmt: skip
SECONDS = 120
_PLACE, _ANYWHERE = b"/usr/lib/gridengine/%s%s\0", b"%s%s\0"


def gridengine_folder() -> Path:
    """Where the programs are, or will be."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    return platformdirs.user_cache_path("eventmill") / "gridengine"


def unpack() -> None:
    """Have the programs there; downloads 9 MB if they are not yet."""
    folder = gridengine_folder()
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        packages, unpacked = Path(temporary) / "packages", Path(temporary) / "unpacked"
        for made in (packages, unpacked):
            made.mkdir()
        download = ("apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", *PACKAGES)
        try:
            _run(*download, folder=packages)
        except RuntimeError:
            if os.geteuid() != 0:
                raise
            _run("apt-get", "-qq", "update", folder=packages)  # its lists are not there, or old
            _run(*download, folder=packages)
        for package in sorted(packages.glob("*.deb")):
            _run("dpkg-deb", "--extract", str(package), str(unpacked), folder=packages)
        for program in (unpacked / "usr/lib/gridengine").iterdir():
            if program.is_file() and _PLACE in (content := program.read_bytes()):
                program.write_bytes(content.replace(_PLACE, _ANYWHERE.ljust(len(_PLACE), b"\0")))
        if not folder.is_dir():  # somebody else was quicker
            unpacked.rename(folder)


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    try:
        unpack()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"no Grid Engine: {error}")
