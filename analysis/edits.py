"""Modules that the user edits while the session has them imported.

Workers import them as the files are when a query starts: functions, classes, and what is looked up in a module
(`cuts.LIMIT`) are the new ones. A value that was imported by name (`from cuts import LIMIT`) is the script's own from then
on, and goes as the session holds it. So a constant can be new in one place of an analysis and old in another: here the
user is told.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from .fingerprint import fingerprint, referenced
from .modules import top
from .pickles import name_of
from .syntax import parsed_module

_PLAIN = (bool, int, float, complex, str, bytes, tuple, type(None))
"""Of these one object may be in two places without having been handed from one to the other."""

_imported: dict[str, tuple[ModuleSpec, bytes | None]] = {}
"""What was in the file of a module when it was imported, by a digest; None: something other than it had when first seen."""
_held: dict[str, dict[str, Any]] = {}
"""The values that analyses used by name, by module and name in it."""


def warn_of_edits(modules: Iterable[str], travelling: Collection[str], functions: Iterable[FunctionType]) -> None:
    """Tell of modules that were edited after this session imported them: what is still old, and how to have it new.

    Args:
        modules: the user's own, imported here.
        travelling: packages that travel with the analysis.
        functions: that make it up, helpers included.
    """
    of_script = [function for function in functions if top(function.__module__ or "") not in travelling]
    used = [item for function in of_script for item in referenced(function).items() if not item[0].startswith("__")]
    for module in [sys.modules[name] for name in modules if name in sys.modules]:
        spec = module.__spec__
        if spec is None or spec.origin is None or not spec.has_location:
            continue
        try:
            content = Path(spec.origin).read_bytes()
        except OSError:  # if the analysis needs it, `collect` says so
            continue
        uses = _Uses(module, content, used, travelling)
        if is_edited(spec, content) and (top(module.__name__) in travelling or uses.values):
            warnings.warn(uses.edited(), stacklevel=4)
        elif uses.left:
            warnings.warn(uses.reloaded(), stacklevel=4)


class _Uses:
    """What an analysis uses of a module by names of its own.

    Attributes:
        code: functions and classes, which are looked up in the module on workers. All three as in `from ... import`.
        values: which the module has now.
        left: values which it had before it was reloaded, and has no more.
    """

    def __init__(
        self, module: ModuleType, content: bytes, used: Iterable[tuple[str, Any]], travelling: Collection[str]
    ) -> None:
        self._name, self._file = module.__name__, module.__file__
        self.code, self.values, self.left = set[str](), set[str](), set[str]()
        not_its_own = _imports(content)
        defines = {name: value for name, value in vars(module).copy().items() if name not in not_its_own}
        held = _held.setdefault(module.__name__, {})
        for name, value in used:
            if (place := name_of(value, travelling)) is not None:
                if place[0] == module.__name__ and "." not in place[1]:
                    self.code.add(_as(place[1], name))
            elif isinstance(value, ModuleType):
                continue
            elif (attribute := _found(value, name, defines)) is not None:
                held[attribute] = value
                self.values.add(_as(attribute, name))
            elif (attribute := _found(value, name, held)) is not None and not _same(value, vars(module).get(attribute)):
                self.left.add(_as(attribute, name))

    def edited(self) -> str:
        """What to say when the file is not what the session has imported."""
        text = f"{self._file} was changed after this session imported it: workers run it as it is now"
        old = self.values | self.left
        if old:
            text += f", but {_listed(old)} to them as before the change"
        remedy = f"import importlib, {self._name}; importlib.reload({self._name})"
        if named := old | self.code:
            remedy += f"; {self._import(named)}"
        return f"{text}. To have all of it new, here too: {remedy}"

    def reloaded(self) -> str:
        """What to say of values that were left behind by a reload."""
        old = f"{_listed(self.left)} to workers as before {self._file} was reloaded"
        return f"{old}. To have the new: {self._import(self.left)}"

    def _import(self, names: Iterable[str]) -> str:
        return f"from {self._name} import {', '.join(sorted(names))}"


def is_edited(spec: ModuleSpec, content: bytes) -> bool:
    """Whether a file is another than the one that was imported, so far as can be known."""
    digest, known = hashlib.sha256(content).digest(), _imported.get(spec.name)
    if known is None or known[0] is not spec:  # reload() makes a new spec
        known = _imported[spec.name] = spec, None if _is_newer_than_compiled(spec) else digest
    return known[1] != digest


def _is_newer_than_compiled(spec: ModuleSpec) -> bool:
    """Whether a file was changed since Python has compiled it, which it does at an import."""
    if spec.origin is None or spec.cached is None or sys.dont_write_bytecode:
        return False
    compiled = Path(spec.cached)
    try:
        head, now = compiled.read_bytes()[:16], Path(spec.origin).stat()
    except OSError:
        return False
    if not os.access(compiled.parent, os.W_OK) or int.from_bytes(head[4:8], "little"):  # or it goes by contents
        return False
    stamps = (int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)
    return stamps != (int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little"))


def _found(value: object, name: str, where: Mapping[str, Any]) -> str | None:
    """The name that a value has in a module, if it came from there."""
    if name in where and where[name] is value:
        return name
    if isinstance(value, _PLAIN):
        return None
    return next((attribute for attribute, other in where.items() if other is value), None)


def _same(value: object, other: object) -> bool:
    try:
        return fingerprint(value) == fingerprint(other)
    except Exception:  # whatever an object raises that cannot be pickled: nobody knows
        return False


@functools.lru_cache(maxsize=1000)
def _imports(source: bytes) -> frozenset[str]:
    """The names that a module has from others."""
    try:
        tree = parsed_module(source)
    except (SyntaxError, ValueError):
        return frozenset()
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return frozenset(top(alias.asname or alias.name) for node in imports for alias in node.names)


def _as(name: str, used_as: str) -> str:
    return name if name == used_as else f"{name} as {used_as}"


def _listed(names: Iterable[str]) -> str:
    *most, last = (name.rpartition(" as ")[2] for name in sorted(names))
    if most:
        return f"{', '.join(most)} and {last}, values imported by name, go"
    return f"{last}, a value imported by name, goes"
