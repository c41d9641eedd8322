"""eventmill and all that it needs in one file, for machines that have Python and nothing else.

The file is used in the place of a Python interpreter: `./eventmill.pyz -m eventmill worker ...`. It unpacks itself where it
runs, once for a machine and user, and becomes the interpreter that runs it, with what it has brought on its path. So it can
stand as `python` in any pool. It is made of what is installed here, without downloading anything, and fits the same version
of Python on the same kind of machine.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..protocol.errors import EventmillError

_RECORD = "RECORD"
_MAIN = """\
import fcntl, os, shutil, sys, sysconfig, tempfile, zipfile

BUILT_FOR, DIGEST = {built_for!r}, {digest!r}


def main():
    here = "python%d.%d on %s" % (*sys.version_info[:2], sysconfig.get_platform())
    if here != BUILT_FOR:
        sys.exit("%s is for %s, and this is %s: pack one there, or run it by that Python" % (sys.argv[0], BUILT_FOR, here))
    base = os.environ.get("TMPDIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = os.path.join(base, "eventmill-packed-%d" % os.getuid())
    os.makedirs(place, mode=0o700, exist_ok=True)
    found = os.lstat(place)
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        sys.exit("%s belongs to somebody else, or others may write there: set TMPDIR to another folder" % place)
    folder = os.path.join(place, DIGEST)
    with open(os.path.join(place, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            half = tempfile.mkdtemp(dir=place)
            try:
                with zipfile.ZipFile(sys.argv[0]) as packed:
                    packed.extractall(half)
                os.rename(half, folder)
            except BaseException:
                shutil.rmtree(half, ignore_errors=True)
                raise
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


main()
"""


def pack(target: Path, names: Iterable[str] = ("eventmill",), level: int = 6) -> list[str]:
    """Write an executable file with some distributions, and what they need.

    Args:
        target: the file; one that is there is replaced.
        names: of the distributions.
        level: how hard to compress, from 0 to 9.

    Returns:
        What is in it, as "numpy 2.3.1".

    Raises:
        EventmillError: one of them is not installed here, or not as a wheel is.
    """
    found = dict(sorted(_needed(names).items()))
    records = "".join(str(distribution.read_text(_RECORD)) for distribution in found.values())
    python = "python{}.{}".format(*sys.version_info[:2])
    main = _MAIN.format(
        built_for=f"{python} on {sysconfig.get_platform()}", digest=hashlib.sha256(records.encode()).hexdigest()[:16]
    )
    half = target.with_name(f".{target.name}.part")
    try:
        with half.open("wb") as file:
            file.write(f"#!/usr/bin/env {python}\n".encode())
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as packed:
                packed.writestr("__main__.py", main)
                for distribution in found.values():
                    for path, name in _files(distribution):
                        packed.write(path, name)
        half.chmod(0o755)
        half.replace(target)
    except OSError as error:
        raise EventmillError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        half.unlink(missing_ok=True)
    return [f"{name} {distribution.version}" for name, distribution in found.items()]


def _needed(names: Iterable[str]) -> dict[str, metadata.Distribution]:
    """The distributions that these need, themselves included, by name."""
    needed: dict[str, metadata.Distribution] = {}
    todo = [Requirement(name) for name in names]
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        found = needed[canonicalize_name(requirement.name)] = _installed(requirement.name)
        extras = requirement.extras or {""}
        others = [Requirement(text) for text in found.requires or []]
        todo += [it for it in others if it.marker is None or any(it.marker.evaluate({"extra": e}) for e in extras)]
    return needed


def _installed(name: str) -> metadata.Distribution:
    """A distribution as its wheel was installed: that of a source tree says nothing of files."""
    for found in metadata.distributions(name=name):
        if found.read_text(_RECORD) is not None and any(file.suffix in (".py", ".so") for file in found.files or []):
            return found
    raise EventmillError(
        f"{name} is not installed here as a wheel is (pip install -e does not do): it cannot be packed"
    )


def _files(distribution: metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """The files of a distribution that belong on Python's path, and their names there."""
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
            yield path, str(file)
