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
import random
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import cloudpickle
import numpy as np

from .attachments import Attachments
from .kernel_parameters import Given
from .ownership import arrived, is_users

CachedFunction: Any = type(functools.cache(len))
"""The type of what `functools.cache` and `functools.lru_cache` make."""
DISPATCHING = cast(FunctionType, functools.singledispatch(lambda _: None)).__code__
"""The code of all functions under `functools.singledispatch`."""
_LOOKS_UP_A_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_LOOKS_UP_AN_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_TOLD_BY_VERSION = sys.stdlib_module_names | {"numpy", "numba", "llvmlite", __name__.partition(".")[0]}
"""Packages that nobody edits under a version, or whose content is told elsewhere (`worker.kernels.compile`)."""
_EXTENDS_NUMBA = b"extending"
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


def fingerprint(value: object, known: Collection[str] = (), attachments: Attachments | None = None) -> str:
    """The hexadecimal SHA-256 of the content of `value`, followed through everything that it refers to.

    Of `known` packages nothing but names is looked at: their content is told elsewhere. What is among the `attachments` is
    not hashed again.

    Raises whatever an object raises that refuses to be pickled (its content cannot be known).
    """
    return Walk(known, attachments).digest(value).hex()


def fingerprint_of_code(function: object) -> str:
    """As `fingerprint`, of all that goes into the machine code of a function, wherever it is written.

    Functions of installed packages are followed too, and of a module each attribute that code looks up in it
    (`cuts.limits.LOW`): a version says nothing of a package that somebody edits. Only numpy, numba and Python itself are
    known by their versions.
    """
    return _CodeWalk(()).digest(function).hex()


def referenced(function: FunctionType) -> dict[str, Any]:
    """The global and closure variables that a function uses, by name; those not there (yet) are left out."""
    found = {
        name: function.__globals__[name] for name in _global_names(function.__code__) if name in function.__globals__
    }
    return found | held(function)


def held(function: FunctionType) -> dict[str, Any]:
    """What a function has of the call that made it, by name; what is not there (yet) is left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # how an empty cell says that nothing was put there yet
            found[name] = cell.cell_contents
    return found


def looked_up(function: FunctionType) -> dict[str, Any]:
    """As `referenced`, but of modules what the function looks up in them: `cuts.limits.LOW`, not the module `cuts`."""
    named = referenced(function)
    found = {name: value for name, value in named.items() if not isinstance(value, ModuleType)}
    for part in nested(function.__code__):
        path, value = "", None
        for step in dis.get_instructions(part):
            if path and step.opname in _LOOKS_UP_AN_ATTRIBUTE and step.argval in vars(value):
                path, value = f"{path}.{step.argval}", vars(value)[step.argval]
            elif path:
                found[path] = value
                path = ""
            if step.opname in _LOOKS_UP_A_GLOBAL | {"LOAD_DEREF"} and isinstance(named.get(step.argval), ModuleType):
                path, value = step.argval, named[step.argval]
            elif path and not isinstance(value, ModuleType):
                found[path] = value
                path = ""
    return found


def imported(function: FunctionType) -> set[str]:
    """Names of the modules that a function imports when it runs, those in itself included."""
    return set(_imported_names(function.__code__))


@functools.lru_cache(maxsize=10_000)
def _imported_names(code: CodeType) -> frozenset[str]:
    steps = (step for part in nested(code) for step in dis.get_instructions(part))
    return frozenset(step.argval for step in steps if step.opname == "IMPORT_NAME")


@functools.lru_cache(maxsize=10_000)
def _global_names(code: CodeType) -> tuple[str, ...]:
    """The names that code looks up as globals, nested functions included, sorted.

    Code never changes, and is taken apart for each query in the session and, with all it uses, in every slot.
    """
    names: set[str] = set()
    for part in nested(code):
        names |= {step.argval for step in dis.get_instructions(part) if step.opname in _LOOKS_UP_A_GLOBAL}
    return tuple(sorted(names))


def nested(code: CodeType) -> Iterator[CodeType]:
    """A code object and those in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


class Walk:
    """One walk over a value: remembers finished digests by identity, and what is under way (so that cycles end)."""

    def __init__(self, known: Collection[str], attachments: Attachments | None = None) -> None:
        self._known = known
        self._attachments = attachments or Attachments()
        self._done: dict[int, bytes] = {}
        self._under_way: list[int] = []
        self._alive: list[object] = []  # an identity must not be given to another object during the walk

    def digest(self, value: object) -> bytes:
        """The name of the content of a value."""
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
                return _hash("array", shape, self._attachments.digest(_bytes_of(value)).encode())
            case np.dtype() if not value.hasobject:
                return self._all("dtype", np.lib.format.dtype_to_descr(value))
            case CodeType():
                return self._code(value)
            case ModuleType():
                return self._module(value)
            case FunctionType() if value.__code__ is DISPATCHING:
                return self._all("dispatching", list(value.registry.items()))  # type: ignore[attr-defined]
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
        if isinstance(value, functools.cached_property):
            return self._all("cached property", value.func)
        if isinstance(value, CachedFunction):
            return self._all("cached", value.__wrapped__)
        plain = getattr(value, "py_func", None)  # a function that the user compiled with numba.njit
        if isinstance(plain, FunctionType):
            options = getattr(value, "targetoptions", {})
            return self._all("compiled", plain, sorted((name, repr(option)) for name, option in options.items()))
        return self._object(value)

    def _code(self, code: CodeType) -> bytes:
        return _code_digest(code)

    def _function(self, function: FunctionType) -> bytes:
        if not self._is_to_follow(function.__module__):
            named = self._installed("function", function.__module__, function.__qualname__)
            is_made = function.__closure__ or "<locals>" in function.__qualname__
            if is_made and is_users(function.__module__):  # by a call, of which its module does not tell
                return self._all("made", named, function.__defaults__, function.__kwdefaults__, held(function))
            return named
        return self._all(
            "function", function.__code__, function.__defaults__, function.__kwdefaults__, self._uses(function)
        )

    def _uses(self, function: FunctionType) -> dict[str, Any]:
        return referenced(function)

    def _module(self, module: ModuleType) -> bytes:
        if not self._is_to_follow(module.__name__):
            return self._installed("module", module.__name__, "")
        if folder := arrived(getattr(module, "__file__", None) or ""):
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


class _CodeWalk(Walk):
    """A walk over code that is compiled."""

    def _is_to_follow(self, module: str | None) -> bool:
        return (module or "").partition(".")[0] not in _TOLD_BY_VERSION

    def _content(self, value: object) -> bytes:
        if isinstance(value, Given):  # an argument of the code
            return _hash("given")
        # `random.gauss` is a method of a generator, whose state is another one in every process and after each number.
        if isinstance(getattr(value, "__self__", None), random.Random | np.random.RandomState):
            return self._all("of a generator", type(value.__self__), getattr(value, "__name__", ""))  # type: ignore[attr-defined]
        return super()._content(value)

    def _uses(self, function: FunctionType) -> dict[str, Any]:
        found = looked_up(function)
        source = _source(function.__module__)
        if _EXTENDS_NUMBA in source:  # what it tells numba of compiled code is found through no name
            found["<file>"] = source
        return found

    def _function(self, function: FunctionType) -> bytes:
        try:
            return super()._function(function)
        except Exception:  # a value deep in a library that cannot be pickled: its file tells of it, too
            if is_users(function.__module__):
                raise
            return self._all("function", function.__module__, function.__qualname__, _source(function.__module__))

    def _module(self, module: ModuleType) -> bytes:
        """Of a module that is not only asked for an attribute, all that it says and all plain values in it."""
        if not self._is_to_follow(module.__name__) or is_users(module.__name__):
            return super()._module(module)
        plain = {
            name: value for name, value in vars(module).copy().items() if isinstance(value, int | float | str | tuple)
        }
        return self._all("module", module.__name__, _source(module.__name__), _contents(plain))

    def _class(self, cls: type) -> bytes:
        if not self._is_to_follow(cls.__module__) or is_users(cls.__module__):
            return super()._class(cls)
        return self._all("class", cls.__module__, cls.__qualname__, _source(cls.__module__))


def _source(module: str | None) -> bytes:
    """The file of a module as it is now; empty for what has none."""
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    try:
        return Path(file).read_bytes() if file is not None else b""
    except OSError:
        return b""


@functools.lru_cache(maxsize=10_000)
def _code_digest(code: CodeType) -> bytes:
    """Code never changes, and two that are equal have equal constants, of the same types."""
    walk = Walk(())
    parts = (
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable,
    )
    return _hash("code", *map(walk.digest, parts))


def _contents(namespace: Any) -> list[tuple[str, Any]]:
    return sorted((name, value) for name, value in namespace.copy().items() if name not in _NOT_CONTENT)


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """In the order of C, and where they are: a large array is not copied for it."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.nbytes else memoryview(b"")


def _hash(tag: str, *parts: bytes | memoryview) -> bytes:
    """Every part with its length, so that no two different sequences look alike."""
    state = hashlib.sha256(tag.encode())
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()
