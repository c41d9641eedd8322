"""Fingerprints: a name for the content of an analysis, the same in every process that has the same code.

A fingerprint covers what decides the outcome (bytecode, constants, helper functions, closures, values) and leaves out
what does not: file names, line numbers, comments, memory addresses, the order of sets and the seed of hashes.

Example:
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1)
    True
"""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle
import numpy as np

_INSTALLED = tuple(
    {
        f"{place}{os.sep}"
        for key, folder in sysconfig.get_paths().items()
        if key in ("stdlib", "platstdlib")
        for place in (folder, Path(folder).resolve())
    }
)
"""How the paths of Python's own modules begin; those of installed packages may, too."""
_LOOKS_UP_A_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_NOT_CONTENT = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__doc__",
        "__module__",
        "__firstlineno__",
        "__static_attributes__",
        "__builtins__",
        "__file__",
        "__cached__",
        "__loader__",
        "__spec__",
        "__path__",
        "__package__",
        "__annotations__",
        "__annotations_cache__",
        "__annotate__",
        "__annotate_func__",
        "__annotate_cache__",
        "__classcell__",
        "__classdictcell__",
        "__conditional_annotations__",
        "_abc_impl",
    }
)


def fingerprint(value: object, known: Collection[str] = ()) -> str:
    """The hexadecimal SHA-256 of the content of `value`, followed through everything that it refers to.

    Of `known` packages nothing but names is looked at: their content is told elsewhere.

    Raises whatever an object raises that refuses to be pickled (its content cannot be known).
    """
    return _Walk(known).digest(value).hex()


def is_users(name: str | None) -> bool:
    """Whether the module of this name is the user's own: the main program, or beside it, or in the current folder.

    Such a module is not on a worker and travels with the analysis; all others must be installed there. A module that is
    not imported here can only have come with an analysis, so it is the user's too.
    """
    if name is None or name == "__main__":
        return True
    module = sys.modules.get(name)
    if module is None:
        return True
    file = getattr(module, "__file__", None)
    if file is None or name.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return _arrived(file) is not None or is_own_file(file)


def is_installed(name: str) -> bool:
    """Whether the module of this name is Python's own or an installed package's, and not somebody's working copy.

    The main program is nobody's package, wherever it lies; a module that is not imported here came with an analysis.
    """
    if name in ("__main__", "__mp_main__"):
        return False
    while name not in sys.builtin_module_names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None:
            return file.startswith(_INSTALLED) or bool({"site-packages", "dist-packages"} & set(Path(file).parts))
        name = name.rpartition(".")[0]  # of a part of an extension, which has no file of its own
        if not name:
            return False
    return True


def is_own_file(file: str) -> bool:
    """Whether a file of Python's is the user's own, as a module that was imported from it would be."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return not file.startswith(_INSTALLED) and _is_beside(file, str(Path.cwd()), script)


@functools.lru_cache(maxsize=10_000)
def _is_beside(file: str, current: str, script: str | None) -> bool:
    places = {Path(file).absolute(), Path(file).resolve()}  # a link beside the script is as good as a file
    for path in places:
        if path.suffix != ".py" or {"site-packages", "dist-packages"} & set(path.parts):
            return False
        if str(path).startswith(_INSTALLED):
            return False
    folders = [Path(current)] + ([Path(script).parent] if script else [])
    return any(
        path.is_relative_to(folder)
        for path in places
        for place in folders
        for folder in (place.absolute(), place.resolve())
    )


def arrive(folder: Path) -> None:
    """Modules in the folders in this one came with an analysis. Such a folder is named after what is in it."""
    if folder not in _ARRIVALS:
        _ARRIVALS.append(folder)


_ARRIVALS: list[Path] = []


def _arrived(file: str) -> str | None:
    """The name of the folder that a module came in, if it came with an analysis."""
    for folder in _ARRIVALS:
        if Path(file).is_relative_to(folder):
            return Path(file).relative_to(folder).parts[0]
    return None


def referenced(function: FunctionType) -> dict[str, Any]:
    """The global and closure variables that a function uses, by name; those not there (yet) are left out."""
    found = {
        name: function.__globals__[name] for name in _global_names(function.__code__) if name in function.__globals__
    }
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # how an empty cell says that nothing was put there yet
            found[name] = cell.cell_contents
    return found


def imported(function: FunctionType) -> set[str]:
    """Names of the modules that a function imports when it runs, those in itself included."""
    steps = (step for part in _nested(function.__code__) for step in dis.get_instructions(part))
    return {step.argval for step in steps if step.opname == "IMPORT_NAME"}


def _global_names(code: CodeType) -> list[str]:
    """The names that code looks up as globals, nested functions included, sorted."""
    names: set[str] = set()
    for part in _nested(code):
        names |= {step.argval for step in dis.get_instructions(part) if step.opname in _LOOKS_UP_A_GLOBAL}
    return sorted(names)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


class _Walk:
    """One walk over a value: remembers finished digests by identity, and what is under way (so that cycles end)."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._done: dict[int, bytes] = {}
        self._under_way: list[int] = []
        self._alive: list[object] = []  # an identity must not be given to another object during the walk

    def digest(self, value: object) -> bytes:
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._under_way:
            return _hash("cycle", str(self._under_way.index(key)).encode())
        self._alive.append(value)
        self._under_way.append(key)
        try:
            result = self._content(value)
        finally:
            self._under_way.pop()
        self._done[key] = result
        return result

    def _all(self, tag: str, *values: object) -> bytes:
        return _hash(tag, *(self.digest(value) for value in values))

    def _content(self, value: object) -> bytes:
        match value:
            case bytes() if type(value) is bytes:
                return _hash("bytes", value)
            case None | bool() | int() | float() | complex() | str() if type(value).__module__ == "builtins":
                return _hash(type(value).__name__, repr(value).encode("utf-8", "backslashreplace"))
            case tuple() | list() if type(value).__module__ == "builtins":
                return self._all(type(value).__name__, *value)
            case dict() if type(value) is dict:
                return self._all("dict", *(part for item in value.items() for part in item))
            case set() | frozenset() if type(value).__module__ == "builtins":
                return _hash(type(value).__name__, *sorted(self.digest(item) for item in value))
            case np.ndarray() if type(value) is np.ndarray and not value.dtype.hasobject:
                # The descriptor, not the dtype: a dtype counts how often it was looked at.
                shape = self.digest((np.lib.format.dtype_to_descr(value.dtype), value.shape))
                return _hash("array", shape, _bytes_of(value))
            case np.dtype() if not value.hasobject:
                return self._all("dtype", np.lib.format.dtype_to_descr(value))
            case CodeType():
                return self._code(value)
            case ModuleType():
                return self._module(value)
            case FunctionType():
                return self._function(value)
            case MethodType():
                return self._all("method", value.__func__, value.__self__)
            case BuiltinFunctionType() if value.__self__ is None or isinstance(value.__self__, ModuleType):
                return self._all("builtin", value.__module__, value.__qualname__)
            case property():
                return self._all("property", value.fget, value.fset, value.fdel)
            case staticmethod() | classmethod():
                return self._all(type(value).__name__, value.__func__)
            case type():
                return self._class(value)
        plain = getattr(value, "py_func", None)  # a function that the user compiled with numba.njit
        if isinstance(plain, FunctionType):
            options = getattr(value, "targetoptions", {})
            return self._all("compiled", plain, sorted((name, repr(option)) for name, option in options.items()))
        return self._object(value)

    def _code(self, code: CodeType) -> bytes:
        return self._all(
            "code",
            code.co_code,
            code.co_consts,
            code.co_names,
            code.co_varnames,
            code.co_freevars,
            code.co_cellvars,
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            code.co_exceptiontable,
        )

    def _function(self, function: FunctionType) -> bytes:
        if not self._is_to_follow(function.__module__):
            return self._installed("function", function.__module__, function.__qualname__)
        return self._all(
            "function", function.__code__, function.__defaults__, function.__kwdefaults__, referenced(function)
        )

    def _module(self, module: ModuleType) -> bytes:
        if not self._is_to_follow(module.__name__):
            return self._installed("module", module.__name__, "")
        if folder := _arrived(getattr(module, "__file__", None) or ""):
            return self._all("arrived", folder, module.__name__)
        return self._all("own module", module.__name__, _contents(vars(module)))

    def _class(self, cls: type) -> bytes:
        if not self._is_to_follow(cls.__module__):
            return self._installed("class", cls.__module__, cls.__qualname__)
        return self._all("own class", cls.__qualname__, cls.__bases__, _contents(vars(cls)))

    def _is_to_follow(self, module: str | None) -> bool:
        return is_users(module) and (module or "").partition(".")[0] not in self._known

    def _installed(self, tag: str, module: str, name: str) -> bytes:
        package = sys.modules.get(module.partition(".")[0])
        return self._all(tag, module, name, str(getattr(package, "__version__", "")))

    def _object(self, value: object) -> bytes:
        """Any other object is what pickle needs to make it again; the slots of a class are no more than a name."""
        if type(value).__name__ in (
            "member_descriptor",
            "getset_descriptor",
            "wrapper_descriptor",
            "method_descriptor",
        ):
            return self._all(type(value).__name__, getattr(value, "__name__", ""))
        try:
            recipe = value.__reduce_ex__(4)
        except TypeError:  # cloudpickle knows how to pickle some kinds that pickle refuses
            return self._all("pickled", cloudpickle.dumps(value))
        if isinstance(recipe, str):
            return self._all("global", type(value).__module__, recipe)
        maker, arguments, *more = recipe
        state, items, pairs = [*more, None, None, None][:3]
        return self._all(
            "object",
            maker,
            arguments,
            state,
            None if items is None else list(items),
            None if pairs is None else list(pairs),
        )


def _contents(namespace: Any) -> list[tuple[str, Any]]:
    return sorted((name, value) for name, value in namespace.items() if name not in _NOT_CONTENT)


def _bytes_of(array: np.ndarray[Any, Any]) -> bytes | memoryview:
    """In the order of C, and where they are: a large array is not copied for it."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.nbytes else b""


def _hash(tag: str, *parts: bytes | memoryview) -> bytes:
    """Every part with its length, so that no two different sequences look alike."""
    state = hashlib.sha256(tag.encode())
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()
