"""The user's own modules in a slot: unpacked once a machine, and imported from there while their query is at work.

Two queries may bring different versions of a module. Each keeps what it has imported; at a change of query the modules
of the one are taken out of `sys.modules`, and those of the other put back.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import sys
from collections.abc import Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from weakref import WeakValueDictionary

from ...analysis.analysis import modules_of
from ...analysis.module_values import ModuleValues, turn_to
from ...analysis.modules import OwnModule, top
from ...analysis.notebook_cells import shown
from ...analysis.ownership import arrive
from ...protocol.codec import Buffer
from ...protocol.errors import AnalysisError
from ..cache_eviction import make_whole, tidy
from .seeding import Seed
from .snapshot import Snapshot

log = logging.getLogger(__name__)


class OwnModules:
    """What `import` finds of a query's own modules; made by `own_modules`.

    Args:
        folders: where each module is, by its name.
        values: what they hold in the session.
    """

    def __init__(self, folders: dict[str, Path], values: Sequence[ModuleValues] = ()) -> None:
        self._folders = folders
        self._values, self._finder = values, _Finder(values)
        self._loaded: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._snapshot: Snapshot | None = None
        self._remembered: set[str] = set()
        self._imported: tuple[int, str] = 0, ""

    def enter(self) -> None:
        """From now on the user's code of this query runs, and that of no other."""
        global _current
        if _current is not self:
            _current._leave()
            self._hidden = self._taken_out()
            sys.modules.update(self._loaded)
            sys.path[:0] = map(str, self._folders.values())
            sys.meta_path.insert(0, self._finder)
            turn_to(self._values)
            _current = self

    def remember(self) -> None:
        """What is imported now is as its files make it: `restore` puts it back to that."""
        if self._folders:
            modules = self._present()
            self._snapshot = Snapshot(modules.values(), lambda module: top(module) in self._folders)
            self._remembered, self._imported = set(modules), _last_imported()

    def restore(self, seed: Seed) -> None:
        """Put everything in these modules back to what it was, generators of random numbers to what a seed makes of them.

        A module that a call has imported may have been changed by the call, too: it is imported again.
        """
        if self._snapshot is None:
            return
        self._snapshot.restore(seed)
        if self._imported == _last_imported():
            return
        new = [name for name in self._present() if name not in self._remembered]
        for name in new:
            del sys.modules[name]
        for name in new:
            importlib.import_module(name)
        self._imported = _last_imported()
        if new:
            self.remember()
            self._snapshot.restore(seed)

    def holds(self, thing: object) -> bool:
        """Whether a thing is in these modules and put back in place for each call."""
        return self._snapshot is not None and self._snapshot.holds(thing)

    def _present(self) -> dict[str, ModuleType]:
        """The modules of our names that are imported."""
        return {name: module for name, module in sys.modules.items() if top(name) in self._folders}

    def _leave(self) -> None:
        self._loaded = self._taken_out()
        sys.modules.update(self._hidden)
        with contextlib.suppress(ValueError):  # the user's code may change this, too
            sys.meta_path.remove(self._finder)
        for folder in self._folders.values():
            with contextlib.suppress(ValueError):
                sys.path.remove(str(folder))

    def _taken_out(self) -> dict[str, ModuleType]:
        """The modules of our names, which are no longer there."""
        return {name: sys.modules.pop(name) for name in list(sys.modules) if top(name) in self._folders}


def names_at_work() -> Collection[str]:
    """The names of the modules that came with the query whose turn it is."""
    return _current._folders.keys()


def folders_at_work() -> list[str]:
    """Where `import` finds the modules that came with the query whose turn it is."""
    return [str(folder) for folder in _current._folders.values()]


def _last_imported() -> tuple[int, str]:
    """Is another one when anything has been imported since: to look at all modules takes far longer."""
    return len(sys.modules), next(reversed(sys.modules))


_PART = ".unpacked-"
_OURS = re.compile(rf"[0-9a-f]{{40}}|{re.escape(_PART)}\w{{8}}")
"""Names of folders that are made here."""


class _Finder(MetaPathFinder):
    """Gives a module the values that the session has in it, as soon as it is imported."""

    def __init__(self, values: Sequence[ModuleValues]) -> None:
        self._values = {held.module: held for held in values}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._values else None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader, self._values[name])
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, loader: SourceFileLoader, values: ModuleValues) -> None:
        super().__init__(loader.name, loader.path)
        self._plain, self._held = loader, values

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__loader__ = self._plain  # what it is from then on: a plain file
        if module.__spec__ is not None:
            module.__spec__.loader = self._plain
        self._held.apply(module)


_current = OwnModules({})
_known: WeakValueDictionary[tuple[str, ...], OwnModules] = WeakValueDictionary()
_places: dict[str, str] = {}
"""Where a folder's modules lie in the session."""


def own_modules(blob: Buffer, cache: Path) -> OwnModules:
    """The modules that came with an analysis, unpacked. Queries that brought the same share what they import.

    Args:
        blob: of the analysis.
        cache: folder for them, which processes may share.
    """
    modules, values = modules_of(blob)
    folders = {module.name: _unpacked(module, cache) for module in modules}
    content = (*map(str, folders.values()), *(held.digest for held in values))
    made = _known.get(content)
    if made is None:
        made = _known[content] = OwnModules(folders, values)
    return made


def as_in_session(text: str) -> str:
    """A text in which the files of own modules are where the user has them, and cells have their names."""
    for folder, place in _places.items():
        text = text.replace(folder, place)
    return shown(text)


def keep_in(place: Path) -> None:
    """From now on what the cache folder has no room for is kept in this one, as long as the worker is there."""
    global _instead
    _instead = place


_instead = Path("modules")


def _unpacked(module: OwnModule, cache: Path) -> Path:
    """The folder from which a module is imported; another slot or an earlier worker may have made it."""
    try:
        return _unpacked_in(module, cache)
    except OSError as error:
        log.info("module %s has no place in the cache folder: %s", module.name, error)
        full = error
    place = _instead.absolute()
    try:
        return _unpacked_in(module, place)
    except OSError as error:
        raise AnalysisError(
            f"the module {module.name} that came with the analysis has no place on this worker: neither in {cache} "
            f"({full.strerror}) nor in {place} ({error.strerror}); make room there, or set XDG_CACHE_HOME of the worker"
        ) from None


def _unpacked_in(module: OwnModule, place: Path) -> Path:
    arrive(place)
    folder = place / module.digest[:40]
    _places[str(folder)] = module.folder

    def fill(part: Path) -> None:
        for path, content in module.files.items():
            file = part / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    if make_whole(folder, _PART, fill):
        tidy(place, _OURS)
    return folder
