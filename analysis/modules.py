"""The user's own modules: what an analysis imports that is installed nowhere, and that travels with it as files.

Modules and packages beside the user's script or notebook, or elsewhere on `sys.path` are found by themselves, with those
that they import in turn; others the user names. A package travels whole, with the data files in its folder; a module with
those beside it that its text names (`Path(__file__).parent / "weights.json"`). Files are read when a query starts, so that
what runs is what they say then.

A module travels as a file when Python found it as a plain file under its own name. The main program, modules that a tool
made or changed on the way (pytest its tests), and folders without `__init__.py` travel by value, inside the analysis.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from ..protocol.errors import AnalysisError
from .ownership import LARGEST, files_of, is_own_file, is_users
from .syntax import parsed_module

_SHOWN = 5
_MOST_FOLDERS = 20
_LONGEST_PATH = 200

Named = str | os.PathLike[str] | ModuleType
"""How a user names a module: by its import name, the path of its file or folder, or itself."""


@dataclass(frozen=True)
class OwnModule:
    """A module, or a package, as it travels.

    Attributes:
        name: by which it is imported.
        folder: where it lies in the session; "mypkg/cuts.py" is relative to it.
        files: their contents, by path.
    """

    name: str
    folder: str
    files: dict[str, bytes]

    @functools.cached_property
    def digest(self) -> str:
        """Hexadecimal; names the contents."""
        state = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            for part in (path.encode("utf-8", "surrogateescape"), content):
                state.update(len(part).to_bytes(8, "little") + part)
        return state.hexdigest()

    @property
    def imports(self) -> set[str]:
        """Names of what its files import, as far as they say so at once."""
        return {name for path, content in self.files.items() if path.endswith(".py") for name in _imports(content)}


def top(name: str) -> str:
    """The package that a module is in, or the module itself."""
    return name.partition(".")[0]


def travels(name: str) -> bool:
    """Whether the user's module of this name travels as a file, without being named for it."""
    return home(top(name)) is not None


def home(name: str) -> Path | None:
    """The file of the user's module, or the folder of the package, of a name without dots; None if there is none."""
    if not name.isidentifier() or name == "__main__":
        return None
    module = sys.modules.get(name)
    if module is not None and not is_users(name):
        return None
    spec = module.__spec__ if module is not None else PathFinder.find_spec(name)
    if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
        return None
    place = _place(spec)
    return place if place.stem == name and is_own_file(spec.origin) else None


def listed(named: Named | Iterable[Named]) -> list[Named]:
    """What a user gives as modules, which may be one by itself."""
    return [named] if isinstance(named, str | os.PathLike | ModuleType) else list(named)


def find(named: Iterable[Named]) -> dict[str, Path]:
    """Where the modules are that a user names, by import name.

    Raises:
        AnalysisError: there is none of a name, or it has no file.
    """
    return dict(map(_find, named))


def collect(places: dict[str, Path], mentioned: Iterable[str]) -> list[OwnModule]:
    """The modules at these places and those of the user's own that are mentioned, with all of hers that they import.

    Raises:
        AnalysisError: they are too large, or cannot be read.
    """
    found: dict[str, OwnModule] = {}
    waiting = [*places, *sorted(map(top, mentioned))]
    room = LARGEST
    while waiting:
        name = waiting.pop()
        place = places.get(name) or home(name)
        if name in found or place is None:
            continue
        own = found[name] = _read(name, place, room)
        room -= sum(map(len, own.files.values()))
        waiting += sorted(map(top, own.imports))
    return [found[name] for name in sorted(found)]


def loaded(names: Collection[str] = ()) -> list[str]:
    """The modules imported here that travel when an analysis needs them: the user's own, and those of packages named."""
    modules = list(sys.modules.copy())
    go = {name for name in {name.partition(".")[0] for name in modules} if name in names or travels(name)}
    return [name for name in modules if top(name) in go] if go else []


def _find(named: Named) -> tuple[str, Path]:
    if isinstance(named, ModuleType):
        named = named.__name__
    text = os.fspath(named)
    if not isinstance(named, str) or os.sep in text or text.endswith(".py"):
        place = Path(text).expanduser().absolute()
        if not place.exists():
            raise AnalysisError(f"modules: there is no file or folder {place}")
        name = place.stem if place.is_file() else place.name
        if not name.isidentifier():
            raise AnalysisError(f"modules: {place} cannot be imported, because {name!r} is no name in Python")
        return name, place
    name = top(text)
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # the main program, or a module that was made by hand
        raise AnalysisError(f"modules: {text} is no module that came from a file under this name") from None
    if spec is None:
        beside = f": give the path of its file or folder, {Path(text).resolve()}" if Path(text).exists() else ""
        raise AnalysisError(f"modules: there is no module {text} here{beside}")
    if not (spec.has_location or spec.submodule_search_locations):
        raise AnalysisError(f"modules: {text} has no file; it comes with Python")
    return name, _place(spec)


def _place(spec: ModuleSpec) -> Path:
    """The folder of a package, or the file of a module."""
    folders = list(spec.submodule_search_locations or [])
    return Path(folders[0] if folders else spec.origin or "").absolute()


def _read(name: str, place: Path, room: int) -> OwnModule:
    try:
        paths = [place, *_named_beside(place, room)] if place.is_file() else files_of(place)
        sizes = {path: path.stat().st_size for path in paths}
        if sum(sizes.values()) > room:
            raise AnalysisError(_too_large(name, sizes))
        files = {path.relative_to(place.parent).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise AnalysisError(f"the module {name}, which travels with the analysis, cannot be read: {error}") from error
    return OwnModule(name, str(place.parent), files)


def _named_beside(module: Path, room: int) -> list[Path]:
    """The data files in the folder of a module, or in folders there, that its text names, if it asks where it is.

    What there is no room for stays: perhaps only the session reads it, or workers find it by another path.
    """
    source = module.read_bytes()
    if b"__file__" not in source:
        return []
    names, found, folders = _strings(source), set[Path](), [module.parent]
    for folder in folders:
        for name in names:
            for path in folder.glob(name) if set(name) & set("*?[") else [folder / name]:
                if path.is_file() and path.suffix != ".py":
                    found.add(path)
                elif path.is_dir() and path not in folders and len(folders) < _MOST_FOLDERS:
                    folders.append(path)
    room -= len(source)
    return [path for path in sorted(found) if (room := room - path.stat().st_size) >= 0]


def _too_large(name: str, sizes: dict[Path, int]) -> str:
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_SHOWN]
    listed = "\n".join(f"  {size / 2**20:8.1f} MB  {path}" for path, size in largest)
    return (
        f"the modules that travel with the analysis take more than {LARGEST / 2**20:.0f} MB with {name}, "
        f"which has {sum(sizes.values()) / 2**20:.0f} MB in {len(sizes)} files; the largest:\n{listed}\n"
        "put large data where workers can read it, not into the folder of a package"
    )


@functools.lru_cache(maxsize=1000)
def _strings(source: bytes) -> frozenset[str]:
    """What may be a path from a folder down, of all texts in a module."""
    try:
        tree = parsed_module(source)
    except (SyntaxError, ValueError):
        return frozenset()
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(
        text for text in texts if 0 < len(text) < _LONGEST_PATH and text.isprintable()
        if not text.startswith(("/", ".", "*")) or text.startswith("*.")
        if ".." not in text and "**" not in text
    )  # fmt: skip


@functools.lru_cache(maxsize=1000)
def _imports(source: bytes) -> frozenset[str]:
    try:
        tree = parsed_module(source)
    except (SyntaxError, ValueError):  # perhaps never imported; if it is, a slot says so
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return frozenset(found)
