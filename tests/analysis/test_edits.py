"""What runs when a helper was edited while the session has it: its code as the file is now, and values with a warning.

Each way to use a helper, edited but not reloaded, and after `importlib.reload`, as a slot would have it.
"""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eventmill.analysis.analysis import pack, unpack
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.slot.modules import OwnModules, own_modules

HELPERS = """
import functools
import eventmill
import numba
import numpy as np
CONSTANT = 1.5
TABLE = np.full(3, 1.5)
VERSION = 1
from math import pi as PI
def plain(): return CONSTANT
@numba.njit
def compiled(): return 1.5
@functools.cache
def cached(): return CONSTANT
def decorator(function):
    @functools.wraps(function)
    def wrapper(): return 10 * function()
    return wrapper
@decorator
def decorated(): return CONSTANT
class Cut:
    limit = 1.5
@eventmill.kernel(seen=np.zeros(1))
def per_event(seen, MET_pt): seen[0] += CONSTANT
"""
IMPORT = "from helpers import CONSTANT, PI, TABLE, TABLE as ALIAS, Cut, cached, compiled, decorated, per_event, plain"
OLD, NEW = 1.5, 2.5
USES = {
    "a module's constant": "helpers.CONSTANT",
    "a module's function": "helpers.plain()",
    "plain function": "plain()",
    "compiled function": "compiled()",
    "cached function": "cached()",
    "decorated function": "decorated() / 10",
    "class": "Cut.limit",
    "kernel": "(lambda seen: per_event(seen, 0.0) or seen[0])([0.0])",
}
VALUES = {
    "constant": ("CONSTANT", "CONSTANT"),
    "array": ("TABLE[0]", "TABLE"),
    "array under another name": ("ALIAS[0]", "TABLE as ALIAS"),
}


class Script:
    """What a user has written beside `helpers.py`: it has imported all of that, by name and as a module."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "helpers.py"
        self._cache = folder / "slot"
        self._edits = 0
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self.file.write_text(HELPERS)
        self.do("import helpers")
        self.do(IMPORT)

    def do(self, text: str) -> None:
        exec(text, self._names)

    def edit(self, old: str = "1.5", new: str = "2.5") -> None:
        self.file.write_text(self.file.read_text().replace(old, new))
        self._edits += 1
        later = self.file.stat().st_mtime + 10 * self._edits  # Python tells by seconds whether it has compiled this
        os.utime(self.file, (later, later))

    def run(self, expression: str) -> tuple[float, list[str]]:
        """What a function that uses the helpers returns in a slot, and what the session is warned of."""
        self.do(f"def analysis(events): return {expression}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            analysis = pack(self._names["analysis"])
        own = own_modules(analysis.blob, self._cache)
        own.enter()
        try:
            value = float(unpack(analysis.blob)(None))
        finally:
            OwnModules({}).enter()
        return value, [str(one.message) for one in caught]

    @property
    def reload(self) -> Callable[[], types.ModuleType]:
        return lambda: importlib.reload(sys.modules["helpers"])


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield Script(tmp_path)
    del sys.modules["helpers"]


@pytest.mark.parametrize("use", USES)
def test_code_of_a_helper_runs_as_its_file_is_now_whatever_was_reloaded(script: Script, use: str) -> None:
    assert script.run(USES[use]) == (OLD, [])
    script.edit()
    value, (told,) = script.run(USES[use])
    assert value == NEW
    assert told.startswith(f"{script.file} was changed after") and "as before" not in told
    script.do(told.rpartition("here too: ")[2])
    assert script.run(USES[use]) == (NEW, [])
    script.edit("2.5", "3.5")
    script.reload()
    assert script.run(USES[use]) == (3.5, []), "what was imported by name is looked up in the reloaded module"


@pytest.mark.parametrize("use", VALUES)
def test_a_value_imported_by_name_is_named_until_it_is_imported_again(script: Script, use: str) -> None:
    """It is sent as the session has it: before the reload, after it, and the two remedies bring the new one."""
    expression, name = VALUES[use]
    assert script.run(expression) == (OLD, [])
    script.edit()
    value, (told,) = script.run(expression)
    assert value == OLD
    assert f"but {name.split()[-1]}, a value imported by name, goes to them as before the change" in told
    assert told.endswith(f"importlib.reload(helpers); from helpers import {name}")
    script.reload()
    value, (told,) = script.run(expression)
    assert value == OLD
    assert told.startswith(f"{name.split()[-1]}, a value imported by name, goes to workers as before {script.file} was")
    script.do(told.rpartition("To have the new: ")[2])
    assert script.run(expression) == (NEW, [])
    script.edit("2.5", "3.5")
    script.do(script.run(expression)[1][0].rpartition("here too: ")[2])
    assert script.run(expression) == (3.5, [])


def test_all_that_is_old_is_named_at_once(script: Script) -> None:
    script.run("plain()")
    script.edit()
    told = script.run("CONSTANT + TABLE[0] + plain()")[1]
    assert "but CONSTANT and TABLE, values imported by name, go to them as before" in told[0]
    assert told[0].endswith("from helpers import CONSTANT, TABLE, plain")


def test_an_edit_before_the_first_query_is_told_too(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps what it has compiled, with the time of the file that it has read."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    py_compile.compile(str(script.file), sys.modules["helpers"].__spec__.cached)  # type: ignore[union-attr]
    script.edit()
    for _ in range(2):
        value, (told,) = script.run("CONSTANT + plain()")
        assert value == OLD + NEW and "but CONSTANT, a value" in told
    script.reload()
    script.do(IMPORT)
    assert script.run("CONSTANT + plain()") == (2 * NEW, [])


def test_what_an_edit_did_not_change_is_no_matter(script: Script) -> None:
    """A reload makes new objects of the same content, and what a helper has from elsewhere is nobody's edit."""
    script.run("CONSTANT + PI + TABLE[0]")
    script.edit("VERSION = 1", "VERSION = 2")
    assert "CONSTANT and TABLE, values" in script.run("CONSTANT + PI + TABLE[0]")[1][0]
    script.reload()
    assert script.run("CONSTANT + PI + TABLE[0]")[1] == []


def test_what_a_decorator_has_hidden_is_not_taken_for_the_decorated(script: Script) -> None:
    script.do("inner, python = decorated.__wrapped__, compiled.py_func")
    assert script.run("inner() + python()") == (2 * OLD, [])


def test_a_function_that_is_gone_from_the_file_is_named(script: Script) -> None:
    script.edit("def plain", "def renamed")
    with pytest.raises(AnalysisError, match="helpers has no plain in its file as it was when the query started"):
        script.run("plain()")
