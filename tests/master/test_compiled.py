"""The master's pure cores as machine code (`make compiled`): which they are, and that a user can see it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol.version import __version__, has_compiled_cores

ROOT = Path(__file__).parents[2]


def cores() -> Iterator[str]:
    """The pure cores that a master runs."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for name in next(it["source_modules"] for it in contracts if it["name"].startswith("Pure cores")):
        if name.startswith("eventmill.master."):
            yield name
    yield from (f"eventmill.packetizer.{path.stem}" for path in (ROOT / "packetizer").glob("[!_]*.py"))


def interpreted() -> set[str]:
    """Those that setup.py leaves out."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (names,) = (
        it.value for it in tree.body if isinstance(it, ast.Assign) and ast.unparse(it.targets[0]) == "INTERPRETED"
    )
    return ast.literal_eval(names)


def is_for_python_only(kind: ast.ClassDef) -> bool:
    """A class with keywords, which mypyc ignores, with types that msgspec looks at, or a dataclass that is generic."""
    bases = [ast.unparse(it) for it in kind.bases]
    is_generic = any(base.startswith("Generic[") for base in bases)
    is_dataclass = any("dataclass" in ast.unparse(it) for it in kind.decorator_list)
    return bool(kind.keywords) or "msgspec.Struct" in bases or (is_generic and is_dataclass)


def test_what_mypyc_would_make_something_else_of_is_left_to_python() -> None:
    """Compiled, a struct of msgspec loses `array_like=True` and the types of its fields, and nobody says so."""
    found = {
        name
        for name in cores()
        for node in ast.walk(ast.parse((ROOT / f"{name.removeprefix('eventmill.').replace('.', '/')}.py").read_text()))
        if isinstance(node, ast.ClassDef) and is_for_python_only(node)
    }
    assert found == interpreted() and found


def test_all_others_are_compiled_or_none_is() -> None:
    left = interpreted()
    compiled = {name: not str(import_module(name).__file__).endswith(".py") for name in cores()}
    assert {name for name, it in compiled.items() if it} == (set(compiled) - left if has_compiled_cores() else set())


def test_the_version_says_whether_cores_are_compiled() -> None:
    said = CliRunner().invoke(main, ["--version"]).output
    assert said == f"eventmill, version {__version__}{', with compiled cores' if has_compiled_cores() else ''}\n"
