"""Files and classes stay small enough to be read at once: what grows beyond that has a noun in it that wants out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import eventmill
from order import SECONDS, order
from tiers import FOLDERS

LINES_OF_FILE = 600
LINES_OF_CLASS = 300
METHODS = 30


def full(root: Path) -> Iterator[str]:
    """The files and classes in a folder that are beyond the limits."""
    for path in sorted(root.rglob("*.py")):
        text, where = path.read_text(), path.relative_to(root).as_posix()
        if len(text.splitlines()) > LINES_OF_FILE:
            yield where
        if len(text.splitlines()) <= LINES_OF_CLASS and text.count("def ") <= METHODS:
            continue  # to read all of them as Python takes two seconds
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) for it in node.body)
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > LINES_OF_CLASS or methods > METHODS:
                    yield f"{where}: {node.name}"


def test_no_class_and_no_file_carries_everything() -> None:
    """A master's core of 700 lines and a journal that held its own tables could be changed by nobody but who wrote them."""
    assert list(full(Path(eventmill.__file__).parent)) == []


def test_the_limits_are_seen(tmp_path: Path) -> None:
    """The test above would be content with anything if it counted nothing."""
    (tmp_path / "long.py").write_text("#\n" * (LINES_OF_FILE + 1))
    methods = "\n".join(f"    def m{i}(self): ..." for i in range(METHODS + 1))
    (tmp_path / "wide.py").write_text(f"class Wide:\n{methods}\n\nclass Small:\n    pass\n")
    (tmp_path / "tall.py").write_text("class Tall:\n" + "    x = 1\n" * LINES_OF_CLASS)
    assert set(full(tmp_path)) == {"long.py", "wide.py: Wide", "tall.py: Tall"}


def test_files_that_are_started_first_are_there() -> None:
    """One that got another name would be started late, and all would wait for it."""
    assert [file for file in SECONDS if not (Path(__file__).parent / file).exists()] == []


def test_long_files_are_started_first_and_beside_those_that_wait_some_that_compute() -> None:
    waiting, computing = (
        ["systems/test_clouds.py", "processes/test_x.py"],
        ["merge/test_y.py", "worker/test_kernels.py"],
    )
    assert order([*computing, *waiting]) == [waiting[0], computing[1], computing[0], waiting[1]]


def imported(path: Path) -> set[str]:
    """The names of modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_what_starts_a_system_of_others_is_of_the_second_tier_and_nothing_else_is() -> None:
    """A test of Slurm among those of `make test` would be skipped, or fail, where only these are run, and take their time;
    one of our own among the others would be run seldom."""
    here = Path(__file__).parent
    started = {path.stem for path in (here / "support" / "systems").glob("*.py")}
    others = [path for path in here.rglob("*.py") if path.parent.name != "systems"]
    named = [path for path in others if any(name in path.read_text() for name in started)]
    using = {path for path in named if imported(path) & started}
    assert using == {here / "conftest.py"}, "only where programs are kept is said there"
    assert [path.name for path in FOLDERS[0].glob("test_*.py") if not imported(path) & started] == []
    assert len(started) > 10
