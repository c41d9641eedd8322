"""What a session holds in its modules is what runs: values set at run time go with the analysis, whatever the files say.

A script with modules beside it, as a slot would have them: in modules that were imported anew from their files.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import textwrap
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from columns import flat
from eventmill.analysis import ownership
from eventmill.analysis.analysis import modules_of, pack, unpack
from eventmill.analysis.fingerprint import looked_up
from eventmill.analysis.module_values import values_of
from eventmill.analysis.pickles import pickling
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.slot.modules import OwnModules, own_modules
from imported import forget_modules

FILES = {
    "config": """
        from pathlib import Path
        import numpy as np
        CUT = 30
        UNSET = 1
        CUTS = {"pt": 20, "eta": [2.4]}
        TABLE = np.zeros(3)
        HERE = Path(__file__).parent
        MISSING = object()
        LOCK = __import__("threading").Lock()
        class Settings:
            pt = 20
            def __init__(self): self.year = 2016
            def scaled(self): return self.year * 2
            @property
            def doubled(self): return 2 * self.pt
            @classmethod
            def made(cls): return cls.pt
        settings = Settings()
        def given(value=MISSING): return value is MISSING
        def weight(x): return 1.0
        weight.scale = 1.0
        COUNT = 0
        def counted():
            global COUNT
            COUNT += 1
            return COUNT
    """,
    "cuts": """
        import config
        from config import CUT as OWN_CUT, CUTS
        LATE = config.CUT * 2
        def limit(): return config.CUT
        def weighted(): return config.weight(0) * config.weight.scale
    """,
}


class Script:
    """What a user has written beside these modules."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.names = folder, {"__name__": "__main__"}
        for name, text in FILES.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        self.do("import config, cuts, numpy as np")

    def do(self, text: str) -> None:
        exec(text, self.names)

    def edit(self, name: str, old: str, new: str) -> None:
        file = self._folder / f"{name}.py"
        file.write_text(file.read_text().replace(old, new))
        later = file.stat().st_mtime + 10
        os.utime(file, (later, later))

    def pack(self, expression: str) -> bytes:
        self.do(f"def analysis(events): return {expression}")
        return pack(self.names["analysis"]).blob

    def run(self, expression: str, calls: int = 1) -> Any:
        """What a function returns in a slot, made anew for each call; the last of these."""
        blob = self.pack(expression)
        own = own_modules(blob, self._folder / "slot")
        own.enter()
        try:
            return [unpack(blob)(None) for _ in range(calls)][-1]
        finally:
            OwnModules({}).enter()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield Script(tmp_path)
    for name in FILES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("done", "expression", "right"),
    [
        ("config.CUT = 50", "config.CUT", 50),
        ("config.CUT = 50", "cuts.limit()", 50),
        ("config.CUT = 50", "(cuts.OWN_CUT, cuts.LATE)", (30, 60)),  # as in the session, which has imported them before
        ("config.CUTS['pt'] = 50", "(config.CUTS['pt'], cuts.CUTS['pt'])", (50, 50)),
        ("config.CUTS['eta'].append(1.5)", "cuts.CUTS['eta']", [2.4, 1.5]),
        ("config.TABLE[1] = 7.0", "float(config.TABLE.sum())", 7.0),
        ("config.settings.year = 2018", "config.settings.scaled()", 4036),
        ("config.Settings.pt = 40", "(config.settings.doubled, config.Settings.made())", (80, 40)),
        ("config.weight.scale = 3.0", "cuts.weighted()", 3.0),
        ("config.weight = lambda x: 2.0; config.weight.scale = 1.0", "cuts.weighted()", 2.0),
        ("config.Settings.scaled = lambda self: 'another'", "config.settings.scaled()", "another"),
        ("config.ADDED = 'new'", "config.ADDED", "new"),
        ("del config.UNSET", "hasattr(config, 'UNSET')", False),
        ("config.CUT = None", "config.CUT", None),
        ("config.CUT = 30.0", "type(config.CUT).__name__", "float"),
        ("pass", "(config.CUT, config.CUTS, config.given(), hasattr(config.LOCK, 'acquire'))",
         (30, {"pt": 20, "eta": [2.4]}, True, True)),
    ],
)  # fmt: skip
def test_a_slot_has_what_the_session_holds(script: Script, done: str, expression: str, right: object) -> None:
    script.do(done)
    assert script.run(expression) == right


def test_what_is_set_between_two_queries_counts_for_the_second(script: Script) -> None:
    found = []
    for cut in (40, 50, 30):
        script.do(f"config.CUT = {cut}")
        found.append(script.run("cuts.limit()"))
    assert found == [40, 50, 30]


def test_a_test_that_patches_a_helper_is_heard(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patch is by a function that is written in a module as the patched one is."""
    stand_in = types.FunctionType(compile("def weight(x): return 5.0", "t.py", "exec").co_consts[0], {}, "weight")
    stand_in.__module__, stand_in.scale = __name__, 1.0  # type: ignore[attr-defined]
    script.do("from config import weight")
    monkeypatch.setattr(script.names["config"], "weight", stand_in)
    assert script.run("(cuts.weighted(), weight(0))") == (5.0, 1.0)


def test_what_user_code_changes_in_a_module_is_taken_back_with_each_call(script: Script) -> None:
    assert script.run("(config.counted(), config.CUTS['eta'].append(1) or len(config.CUTS['eta']))", calls=3) == (1, 2)


def test_a_file_edited_later_counts_but_for_what_was_set_at_run_time(script: Script) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert script.run("config.CUT") == 30
        script.do("config.CUT = 50; config.NEW = 1")
        script.edit("config", "CUT = 30", "CUT = 40")
        script.edit("config", "2.4", "2.5")
        assert script.run("(config.CUT, config.CUTS['eta'], config.NEW)") == (50, [2.5], 1)
        script.do("import importlib; importlib.reload(config)")
        assert script.run("config.CUT") == 40


def test_what_was_set_before_the_first_query_is_known_after_an_edit(script: Script) -> None:
    """Its file said another number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script.do("config.CUT = 50")
        assert script.run("config.CUT") == 50
        script.edit("config", "UNSET = 1", "UNSET = 2")
        assert script.run("(config.CUT, config.UNSET)") == (50, 2)


def test_what_was_set_and_cannot_be_sent_is_refused_by_name(script: Script) -> None:
    script.run("config.CUT")
    script.names["config"].LOCK = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(AnalysisError, match=r"config.LOCK was set at run time \(lock\), and cannot be sent"):
        script.run("config.CUT")


def test_a_helper_replaced_by_what_cannot_be_sent_is_refused_by_name(script: Script) -> None:
    script.names["config"].weight = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(AnalysisError, match=r"config.weight was set at run time"):
        script.run("cuts.limit()")


def test_paths_of_a_module_are_those_where_it_is(script: Script, tmp_path: Path) -> None:
    here = Path(script.run("config.HERE"))
    assert here.is_relative_to(tmp_path / "slot") and (here / "config.py").exists()


def test_a_value_that_cannot_be_made_on_a_worker_is_named(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType("only_here")
    exec("class Model: pass", vars(made))
    monkeypatch.setitem(sys.modules, "only_here", made)
    made.__file__ = "/usr/lib/only_here.py"
    script.names["config"].CUT = made.Model()  # type: ignore[attr-defined]
    blob = script.pack("config.CUT")
    own = own_modules(blob, Path("slot"))
    monkeypatch.delitem(sys.modules, "only_here")
    own.enter()
    try:
        with pytest.raises(AnalysisError, match=r"config.CUT, as your session holds it, .*only_here"):
            unpack(blob)
    finally:
        OwnModules({}).enter()


def test_what_comes_with_a_value_travels_too(script: Script, tmp_path: Path) -> None:
    """The stand-in for a helper comes from a module that nothing else mentions."""
    (tmp_path / "stand_ins.py").write_text("def light(x): return 0.5\nlight.scale = 2.0\n")
    script.do("import stand_ins; config.weight = stand_ins.light")
    try:
        assert script.run("cuts.weighted()") == 1.0
    finally:
        del sys.modules["stand_ins"]


def test_values_of_modules_are_part_of_the_key_of_compiled_code(script: Script, tmp_path: Path) -> None:
    """Also of what the module imports that a kernel asks for a function: numba writes values into machine code."""
    (tmp_path / "selection.py").write_text("import config\ndef passes(x): return x > config.CUT\n")
    script.do("import selection, eventmill, numpy as np")
    script.do(
        "@eventmill.kernel(n=np.zeros(2, np.int64))\n"
        "def count(n, x):\n"
        "    n[0] += selection.passes(x)\n"
        "    n[1] += x > selection.config.CUT\n"
    )
    found = []
    for cut in (30, 50):
        script.do(f"config.CUT = {cut}")
        blob = pack(script.names["count"]).blob
        own_modules(blob, tmp_path / "slot").enter()
        try:
            compiled = CompiledKernel(unpack(blob), tmp_path / "kernels")
            compiled.run({"x": flat(20.0, 40.0, 60.0)}, 0)
            found.append(compiled.take()[0]["n"].tolist())  # type: ignore[attr-defined]
        finally:
            OwnModules({}).enter()
    del sys.modules["selection"]
    assert found == [[2, 2], [1, 1]]


def test_a_module_that_a_function_imports_late_has_the_values_too(script: Script) -> None:
    script.do("config.CUT = 50")
    script.do("def analysis(events):\n    import cuts\n    return cuts.limit()")
    blob = pack(script.names["analysis"]).blob
    own_modules(blob, Path("slot")).enter()
    try:
        assert unpack(blob)(None) == 50
    finally:
        OwnModules({}).enter()


@pytest.mark.parametrize("done", ["pass", "config.CUTS['pt'] = 1"])
def test_what_is_one_object_in_the_session_is_one_in_a_slot(script: Script, done: str) -> None:
    """Whether it was changed or not, in two modules, in an attribute, and in the analysis itself."""
    script.do(f"{done}; config.settings.cuts = mine = config.CUTS; config.weight.cuts = [mine]")
    assert script.run(
        "(cuts.CUTS is config.CUTS, mine is config.CUTS, config.settings.cuts is mine, config.weight.cuts[0] is mine)"
    ) == (True, True, True, True)


def test_only_what_differs_is_set(script: Script) -> None:
    """What a module made at its import stays the same object, for others may hold it."""
    (held,) = (held for held in self_values(script) if held.module == "config")
    config = importlib.import_module("config")
    before = config.MISSING, config.settings
    held.apply(config)
    assert (config.MISSING, config.settings) == before


def test_of_what_a_module_imports_from_elsewhere_nothing_goes(script: Script) -> None:
    """Every method of `pathlib.Path` was sent with each module that imports it, to be set where a slot has others."""
    assert "HERE" in {name for held in self_values(script) for name in held.pickled}
    assert not [name for held in self_values(script) for name in held.pickled if name.startswith(("Path.", "np."))]


def self_values(script: Script) -> list[Any]:
    with pickling() as pickled:
        return values_of(FILES, set(FILES), pickled)[0]


# --- whatever kind of module --------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Makes a folder that Python finds modules in, away from the script's."""
    (tmp_path / "script").mkdir()
    monkeypatch.chdir(tmp_path / "script")

    def made(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
        return folder

    yield made
    forget_modules(tmp_path)


def test_modules_elsewhere_on_the_path_travel_but_for_what_is_installed(elsewhere: Callable[[str], Path]) -> None:
    (elsewhere("common") / "cutlib.py").write_text("LOW = 3\ndef passes(x): return x > LOW\n")
    (elsewhere("site-packages") / "fitlib.py").write_text("")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("import cutlib, fitlib\ncutlib.LOW = 5\ndef f(events): return cutlib.passes(4), fitlib", names)
    own, values = modules_of(pack(names["f"]).blob)
    assert [module.name for module in own] == ["cutlib"]
    assert [pickle.loads(held.pickled["LOW"]) for held in values] == [5]


def test_a_large_package_elsewhere_is_taken_to_be_installed(
    elsewhere: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, before such packages could travel; beside the script it is refused."""
    folder = elsewhere("common") / "bigcuts"
    folder.mkdir()
    (folder / "__init__.py").write_text("def passes(x): return x > 3\n")
    (folder / "table.bin").write_bytes(bytes(1000))
    monkeypatch.setattr(ownership, "LARGEST", 500)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("import bigcuts\ndef f(events): return bigcuts.passes(4)", names)
    assert modules_of(pack(names["f"]).blob) == ([], [])


PACKAGE = {
    "__init__.py": "from .inner import njitted, plain\nfrom . import limits\n",
    "inner.py": "import numba\nfrom .limits import deep\n@numba.njit\ndef njitted(x): return x > 30 + deep()\n"
    "def plain(x): return x > 30\n",
    "limits.py": "import numba\nLOW = 30\n@numba.njit\ndef deep(): return 0\n",
}


@pytest.fixture(scope="module")
def compiled_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that the package as it was before all edits is compiled once."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("kind", ["site-packages", pytest.param("common", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("inner.py", "def njitted(x): return x > 30", "def njitted(x): return x > 50"),
     ("inner.py", "def plain(x): return x > 30", "def plain(x): return x > 50"),
     ("limits.py", "LOW = 30", "LOW = 50"),
     ("limits.py", "def deep(): return 0", "def deep(): return 20")],
)  # fmt: skip
def test_code_compiled_from_an_edited_package_is_not_stale(
    elsewhere: Callable[[str], Path], compiled_code: Path, kind: str, file: str, old: str, new: str
) -> None:
    """One of the three counts changes; the version of the package stays what it is."""
    folder = elsewhere(kind) / "cutlib"
    folder.mkdir()
    source = (
        "import cutlib, eventmill, numpy as np\nfrom cutlib import plain\n"
        "@eventmill.kernel(n=np.zeros(3, np.int64))\n"
        "def count(n, x):\n"
        "    n[0] += cutlib.njitted(x)\n    n[1] += plain(x)\n    n[2] += x > cutlib.limits.LOW\n"
    )
    found = []
    for edited in (False, True):
        for name, text in PACKAGE.items():
            (folder / name).write_text(text.replace(old, new) if edited and name == file else text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "cutlib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "dont_write_bytecode", True)
            names: dict[str, Any] = {"__name__": "__main__"}
            exec(source, names)
        compiled = CompiledKernel(names["count"], compiled_code)
        compiled.run({"x": flat(20.0, 40.0, 60.0)}, 0)
        found.append(compiled.take()[0]["n"].tolist())  # type: ignore[attr-defined]
    assert found[0] == [2, 2, 2] and sorted(found[1]) == [1, 2, 2]


def test_what_code_looks_up_in_modules_is_found() -> None:
    inner, outer = types.ModuleType("inner"), types.ModuleType("outer")
    inner.LOW, outer.inner = 30, inner  # type: ignore[attr-defined]
    names: dict[str, Any] = {"__name__": "__main__", "outer": outer, "other": 1}
    exec("def f(x):\n  def g(): return outer.inner.LOW + other\n  return x > outer.inner.LOW, outer", names)
    assert looked_up(names["f"]) == {"outer.inner.LOW": 30, "outer": outer, "other": 1}
