"""What the user's own modules hold: values go as the session has them, whatever their files say.

A module that travels as a file is imported anew in a slot, and would have there what its file gives it. But a script may
have set `config.CUT = 50` since, from its arguments; a test may have put another function in the place of a helper. So all
that a module holds besides what its file defines (functions, classes, modules) is pickled with the analysis, and set in the
slot's module where it differs from what the import gave: attributes of its classes and functions, too.

A file that was edited after the session imported it counts as it is now (`analysis.edits`). Of what the session holds of
it, only that goes which is known to have been set at run time: it differs from what the file said before, or from what the
module held when an analysis was first sent.

What several modules hold, or the analysis and a module, is one object in a slot, too: all but one of them refer to it by the
name of a module and its name there.

Paths in the folder of the module, such as `HERE = Path(__file__).parent`, are in a slot those of the module there.
"""

from __future__ import annotations

import ast
import enum
import functools
import hashlib
import importlib
import importlib.util
import io
import operator
import pickle
import sys
from abc import ABCMeta
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..protocol.errors import AnalysisError
from .attachments import found, split
from .edits import is_edited
from .fingerprint import fingerprint
from .modules import home, top
from .pickles import Pickled, Shared, name_of
from .syntax import parsed_module

_COMPARED = 2**20
"""Bytes of a pickled value up to which its content is compared, which takes Python a microsecond for each thing in it."""
_UNKNOWN = object()
_ALIKE = (
    bool, int, float, complex, str, bytes, tuple, frozenset, type(None), type(...), enum.Enum, type, FunctionType,
    MethodType, BuiltinFunctionType, ModuleType, PurePath, np.generic, np.dtype, np.ufunc,
)  # fmt: skip
"""Of these it is no matter whether two are one and the same."""


@dataclass(frozen=True)
class ModuleValues:
    """The values of one module, as they travel.

    Attributes:
        module: its import name.
        folder: in which it, or its package, lies in the session.
        file: of the module, in this folder.
        pickled: the values by name; `Cuts.pt` is that of a class or a function.
        gone: names that its file binds, and that are bound no more.
        digest: hexadecimal; names the content.
    """

    module: str
    folder: str
    file: str
    pickled: dict[str, bytes]
    gone: tuple[str, ...]
    digest: str
    _done: set[str] = field(default_factory=set, repr=False, compare=False)

    def apply(self, module: ModuleType) -> None:
        """Give a slot's module the values of the session's.

        A value that is the same already stays the object that it is, because functions may hold it, too.

        Raises:
            AnalysisError: a value cannot be made again here.
        """
        self._done.clear()
        for name in self.pickled:
            self._set(module, name)
        for name in self.gone:
            vars(module).pop(name, None)

    def value(self, name: str) -> Any:
        """What a slot's module has under a name, which others refer to."""
        module = importlib.import_module(self.module)
        self._set(module, name)
        return operator.attrgetter(name)(module)

    def _set(self, module: ModuleType, name: str) -> None:
        if name in self._done:
            return
        self._done.add(name)
        *outer, attribute = name.split(".")
        owner = functools.reduce(getattr, outer, module)
        value = self._in(module, self._loaded(name, self.pickled[name]))
        current = vars(owner).get(attribute, _UNKNOWN)
        if current is value:
            return
        if current is _UNKNOWN or _is_large(self.pickled[name]) or not _is_same(current, value):
            setattr(owner, attribute, value)

    def _loaded(self, name: str, content: bytes) -> Any:
        try:
            return unpickled(content)
        except ImportError as error:
            raise AnalysisError(
                f"{self.module}.{name}, as your session holds it, cannot be made on this worker: {error}"
            ) from error

    def _in(self, module: ModuleType, value: Any) -> Any:
        """A value in which paths of files of the module are where they are here."""
        here = getattr(module, "__file__", None) or ""
        if not here.endswith(f"/{self.file}"):
            return value
        return _moved(value, self.folder, here[: -len(self.file) - 1])


_at_work: dict[str, ModuleValues] = {}


def turn_to(values: Iterable[ModuleValues]) -> None:
    """From now on `unpickled` finds what modules hold in these."""
    global _at_work
    _at_work = {held.module: held for held in values}


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, place: Any) -> Any:
        module, name = place
        return _at_work[module].value(name)


def unpickled(content: bytes) -> Any:
    """What was pickled for a slot, in which things may be shared with modules. Raises whatever unpickling raises."""
    digests, inner = split(content)
    return _Unpickler(io.BytesIO(inner), buffers=map(found, digests)).load()


def values_of(
    modules: Iterable[str], travelling: Collection[str], pickled: Pickled
) -> tuple[list[ModuleValues], dict[int, tuple[str, str]]]:
    """What the modules hold that travel, of those imported here, and what of it others may refer to.

    Args:
        modules: import names.
        travelling: the packages that travel.
        pickled: pickles things for their journey.

    Raises:
        AnalysisError: a value was set at run time, and cannot be pickled.
    """
    looks = []
    for name in sorted(modules):
        module = sys.modules[name]
        spec = module.__spec__
        if top(name) not in travelling or spec is None or spec.origin is None or not spec.has_location:
            continue
        try:
            content = Path(spec.origin).read_bytes()
        except OSError:  # a file that is gone; `collect` says so where it matters
            continue
        looks.append(_Look(module, spec, content, travelling, pickled))
    shared = dict[int, tuple[str, str]]()
    for is_imported in (False, True):  # what a module has from another one, it has by the other's name
        for look in looks:
            for name, value in look.chosen.items():
                if (name in look.imports) is is_imported and not isinstance(value, _ALIKE):
                    shared.setdefault(id(value), (look.module, name))
    return [held for look in looks if (held := look.values(shared)) is not None], shared


@dataclass
class _First:
    """A module as it was when an analysis was first sent.

    Attributes:
        spec: another one means that it was loaded again.
        digests: what its values were, by name, as far as they can be pickled; of literals, what the file said.
        others: the other values.
    """

    spec: ModuleSpec
    digests: dict[str, str] = field(default_factory=dict)
    others: dict[str, object] = field(default_factory=dict)


_first: dict[str, _First] = {}


class _Look:
    """One look at what a module holds.

    Attributes:
        module: its name.
        chosen: what goes of it, by name.
    """

    def __init__(
        self,
        module: ModuleType,
        spec: ModuleSpec,
        content: bytes,
        travelling: Collection[str],
        pickled: Pickled,
    ) -> None:
        self.module, self.chosen = module.__name__, dict[str, Any]()
        self._module, self._travelling, self._pickled = module, travelling, pickled
        self._digests: list[tuple[str, str]] = []
        self._origin = spec.origin or ""
        self._written = _written(content)
        self._edited = is_edited(spec, content)
        known = _first.get(module.__name__)
        self._again = known is not None and known.spec is spec
        if known is None or not self._again:
            known = _first[module.__name__] = _First(spec)
        self._known = known
        self._choose()

    @property
    def imports(self) -> Collection[str]:
        """The names of what it has from other modules."""
        return self._written.imports

    def _choose(self) -> None:
        for name, value in self._held(vars(self._module), ""):
            try:
                content = self._pickled(value)
            except Exception as error:  # whatever an object raises that cannot be pickled
                self._check_left(name, value, error)
                continue
            digest = _digest(value, content)
            if self._is_changed(name, digest) or not self._edited:
                self.chosen[name] = value
                self._digests.append((name, digest))

    def values(self, shared: Shared) -> ModuleValues | None:
        """What goes of it; None if nothing does."""
        gone = () if self._edited else tuple(sorted(self._written.stay - vars(self._module).keys()))
        if not self.chosen and not gone:
            return None
        place = home(top(self.module)) or Path(self._origin)
        folder = str(place.parent)
        file = self._origin[len(folder) + 1 :] if self._origin.startswith(f"{folder}/") else self._origin
        pickled = {name: self._content(name, value, shared) for name, value in self.chosen.items()}
        return ModuleValues(self.module, folder, file, pickled, gone, fingerprint((self._digests, gone)))

    def _content(self, name: str, value: object, shared: Shared) -> bytes:
        if shared.get(id(value), (self.module, name)) == (self.module, name):
            return self._pickled(value, shared)
        return _reference(shared[id(value)])

    def _held(self, namespace: Any, within: str) -> Iterator[tuple[str, Any]]:
        """What is not as the file defines it, with what classes and functions that are have for attributes."""
        for name, value in namespace.copy().items():
            path = f"{within}{name}"
            if isinstance(value, ModuleType) or (name.startswith("__") and name.endswith("__")):
                continue
            if not self._is_defined(path, value):
                if not within or not hasattr(type(value), "__set__"):  # properties and slots of a class
                    yield path, value
            elif self._is_own(value):
                yield from self._held(vars(value), f"{path}.")

    def _is_own(self, value: Any) -> bool:
        """Whether a value is a class or function of this module: what it imports is told with the module that defines it."""
        kinds = isinstance(value, FunctionType) or type(value) in (type, ABCMeta)
        return kinds and value.__module__ == self._module.__name__

    def _is_defined(self, path: str, value: Any) -> bool:
        """Whether a slot finds this by itself, having imported the file."""
        if isinstance(value, staticmethod | classmethod):
            plain = value.__func__
            return (plain.__module__, plain.__qualname__) == (self._module.__name__, path)
        if not callable(value):
            return path.endswith("._abc_impl") or isinstance(value, functools.cached_property)
        if name_of(value, self._travelling) == (self._module.__name__, path):
            return True
        source, name = self._written.imports.get(path, ("", ""))
        if not name:
            return False
        try:
            source = importlib.util.resolve_name(source, self._module.__package__) if source.startswith(".") else source
        except ImportError:
            return False
        return getattr(sys.modules.get(source), name, None) is value

    def _is_changed(self, name: str, digest: str) -> bool:
        """Whether a value is known to have been set at run time."""
        if name in self._written.defined:
            return True
        if self._again and name not in self._known.digests:
            return True
        first = digest
        if not self._edited and name in self._written.literals:
            first = fingerprint(self._written.literals[name])
        return self._known.digests.setdefault(name, first) != digest

    def _check_left(self, name: str, value: object, error: Exception) -> None:
        """Of what cannot be pickled, the file's own is used: refuse what is known to be something else."""
        if name in self._written.defined or self._known.others.setdefault(name, value) is not value:
            where = f"{self._module.__name__}.{name}"
            raise AnalysisError(
                f"{where} was set at run time ({type(value).__name__}), and cannot be sent to the workers, which would "
                f"use what {self._origin} says: it cannot be pickled ({error})"
            ) from error


@dataclass(frozen=True)
class _Written:
    """What a file says that its module has.

    Attributes:
        literals: what it binds once, to a value that is written there.
        defined: its functions and classes.
        imports: the module and name in it of what it imports from others, by its own name for it.
        stay: what it binds and does not delete.
    """

    literals: dict[str, Any] = field(default_factory=dict)
    defined: frozenset[str] = frozenset()
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    stay: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=1000)
def _written(content: bytes) -> _Written:
    try:
        tree = parsed_module(content)
    except (SyntaxError, ValueError):
        return _Written()
    bound = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    deleted = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}
    literals, imports = dict[str, Any](), dict[str, tuple[str, str]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            imports |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if bound.count(name) == 1:
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if bound.count(name) == 1:
                pass
            case _:
                continue
        try:
            literals[name] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    defines = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in tree.body if isinstance(node, defines) and not node.decorator_list}
    defined -= set(bound) | deleted
    return _Written(literals, frozenset(defined), imports, frozenset((literals.keys() | defined) - deleted))


class _Reference(pickle.Pickler):
    def persistent_id(self, thing: object) -> object:
        return thing if isinstance(thing, tuple) else None


def _reference(place: tuple[str, str]) -> bytes:
    """What `unpickled` makes into the thing at this place."""
    file = io.BytesIO()
    _Reference(file, protocol=4).dump(place)
    return file.getvalue()


def _is_large(content: bytes) -> bool:
    return len(content) > _COMPARED or bool(split(content)[0])


_MOST_KNOWN = 10_000
_known_digests: dict[bytes, str] = {}
"""By the hash of how a value is pickled: one that is pickled as before has the content it had, and an analysis of many
modules holds hundreds, each of them looked at for every query."""


def _digest(value: object, content: bytes) -> str:
    state = hashlib.sha256(content)
    if _is_large(content):
        return state.hexdigest()
    key = state.digest()
    if key not in _known_digests:
        if len(_known_digests) >= _MOST_KNOWN:
            _known_digests.clear()
        try:
            _known_digests[key] = fingerprint(value)
        except Exception:  # what cannot be looked into
            _known_digests[key] = state.hexdigest()
    return _known_digests[key]


def _is_same(value: object, other: object) -> bool:
    try:
        return fingerprint(value) == fingerprint(other)
    except Exception:  # what cannot be looked into: the session's is right
        return False


def _moved(value: Any, old: str, new: str) -> Any:
    """A value in which paths in the folder `old` are in `new`, as far as they are plain to see."""
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    if isinstance(value, PurePath) and (str(value) == old or str(value).startswith(f"{old}/")):
        return type(value)(new + str(value)[len(old) :])
    if type(value) is list or type(value) is tuple:
        items = [_moved(item, old, new) for item in value]
        return type(value)(items) if any(map(operator.is_not, items, value)) else value
    if type(value) is dict:
        items = [_moved(item, old, new) for item in value.values()]
        return dict(zip(value, items, strict=True)) if any(map(operator.is_not, items, value.values())) else value
    return value
