"""Whose a module is: the user's own travels with the analysis, all others are installed where workers run.

The user's own is what the user can edit: the main program, what is beside it or in the current folder, and what Python finds
elsewhere on its path (`sys.path`, PYTHONPATH, `pip install -e`) but not among installed packages. And, in a slot, what came
with an analysis.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

LARGEST = 50 * 2**20
"""Bytes that the modules of a query may take: they go to every worker, and lie in the memory of the master."""
_INSTALLED = tuple(
    {
        f"{place}{os.sep}"
        for key, folder in sysconfig.get_paths().items()
        if key in ("stdlib", "platstdlib")
        for place in (folder, Path(folder).resolve())
    }
)
"""How the paths of Python's own modules begin; those of installed packages may, too."""
_FOR_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_SYSTEM = ("/cvmfs/", "/lib/", "/nix/", "/opt/", "/usr/")
"""Where software is installed for all users of a machine, often without a `site-packages`."""
_BUILT_IN = frozenset(sys.builtin_module_names)
_among_installed: set[str] = set()
"""Files found to be installed: each query looks at all modules that are imported, and nearly all have one."""


def is_users(name: str | None) -> bool:
    """Whether the module of this name is the user's own.

    Such a module is not on a worker and travels with the analysis; all others must be installed there. A module that is
    not imported here can only have come with an analysis, so it is the user's too.
    """
    if name is None or name == "__main__":
        return True
    if name in _BUILT_IN:
        return False
    module = sys.modules.get(name)
    if module is None:
        return True
    file = getattr(module, "__file__", None)
    if file is None or file in _among_installed or name.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return arrived(file) is not None or is_own_file(file)


def users_modules() -> list[ModuleType]:
    """The user's own of the modules that are imported here under their own names."""
    return [
        module
        for name, module in sys.modules.copy().items()
        if isinstance(module, ModuleType) and module.__dict__.get("__file__") not in _among_installed
        if name == module.__name__ and is_users(name)
    ]


def is_installed(name: str) -> bool:
    """Whether the module of this name is Python's own or an installed package's, and not somebody's working copy.

    The main program is nobody's package, wherever it lies; a module that is not imported here came with an analysis.
    """
    if name in ("__main__", "__mp_main__"):
        return False
    while name not in _BUILT_IN:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None:
            return file.startswith(_INSTALLED) or bool({"site-packages", "dist-packages"} & set(Path(file).parts))
        name = name.rpartition(".")[0]  # of a part of an extension, which has no file of its own
        if not name:
            return False
    return True


def is_own_file(file: str) -> bool:
    """Whether a file of Python's is the user's own, as a module that was imported from it would be."""
    if file.startswith(_INSTALLED) or any(folder in file for folder in _FOR_PACKAGES):
        _among_installed.add(file)
        return False
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    current = os.getcwd()  # noqa: PTH109  # of each module, for each query: a Path takes ten times as long
    return _is_beside(file, current, script) or _is_edited_elsewhere(file)


@functools.lru_cache(maxsize=10_000)
def _is_beside(file: str, current: str, script: str | None) -> bool:
    places = {Path(file).absolute(), Path(file).resolve()}  # a link beside the script is as good as a file
    if any(map(_is_installed, places)):
        return False
    folders = [Path(current)] + ([Path(script).parent] if script else [])
    return any(
        path.is_relative_to(folder)
        for path in places
        for place in folders
        for folder in (place.absolute(), place.resolve())
    )


@functools.lru_cache(maxsize=10_000)
def _is_edited_elsewhere(file: str) -> bool:
    """Whether a file is not installed, can be written, and belongs to a package small enough to travel.

    A larger package is taken to be installed where workers run, as it had to be before it could travel at all.
    """
    places = {Path(file).absolute(), Path(file).resolve()}
    if any(_is_installed(path) or str(path).startswith(_SYSTEM) for path in places):
        return False
    return os.access(file, os.W_OK) and _is_small(_top(Path(file).absolute()))


def _is_installed(path: Path) -> bool:
    return (
        path.suffix != ".py"
        or bool({"site-packages", "dist-packages"} & set(path.parts))
        or str(path).startswith(_INSTALLED)
    )


def _top(file: Path) -> Path:
    """The folder of the outermost package that a file is in, or the file itself."""
    place = file
    while (place.parent / "__init__.py").exists() and str(place.parent) not in sys.path:
        place = place.parent
    return place


@functools.lru_cache(maxsize=1000)
def _is_small(place: Path) -> bool:
    if place.is_file():
        return True
    size = 0
    for path in _files_of(place):
        with contextlib.suppress(OSError):  # a link to nowhere
            size += path.stat().st_size
        if size > LARGEST:
            return False
    return True


def files_of(package: Path) -> list[Path]:
    """What travels of the folder of a package: all but what is hidden, and what Python has compiled."""
    return sorted(path for path in _files_of(package) if path.is_file())


def _files_of(package: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(package):
        folders[:] = [name for name in folders if not _is_left(name)]
        yield from (Path(folder, name) for name in names if not _is_left(name))


def _is_left(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def arrive(folder: Path) -> None:
    """Modules in the folders in this one came with an analysis. Such a folder is named after what is in it."""
    global _arrivals
    if (beginning := f"{folder}{os.sep}") not in _arrivals:
        _arrivals += (beginning,)


_arrivals: tuple[str, ...] = ()


def arrived(file: str) -> str | None:
    """The name of the folder that a module came in, if it came with an analysis."""
    if not file.startswith(_arrivals):
        return None
    beginning = next(beginning for beginning in _arrivals if file.startswith(beginning))
    return file[len(beginning) :].partition(os.sep)[0]


def arrived_folder(file: str) -> Path | None:
    """The folder itself, named after what is in it."""
    name = arrived(file)
    beginning = next((beginning for beginning in _arrivals if file.startswith(beginning)), "")
    return Path(beginning, name) if name else None
