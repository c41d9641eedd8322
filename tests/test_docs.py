"""What is written for users is true: examples in docstrings and README run, links lead somewhere, the wheel is whole."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import eventmill
import processes
import pytest
from eventmill.packetizer.leases import diagram

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(eventmill.__path__, "eventmill.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_the_wheel_has_every_package_of_the_tree() -> None:
    """The list in pyproject.toml is written by hand."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for depth in ("*", "*/*") for path in ROOT.glob(f"{depth}/__init__.py")}
    rooms = {".".join(folder.parts) for folder in folders if folder.parts[0] not in {"benchmarks", "build"}}
    assert set(listed) == {"eventmill"} | {f"eventmill.{name}" for name in rooms}
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_the_stages_of_a_lease_are_drawn_as_they_are_in_the_code() -> None:
    """The diagram in the documentation comes from the table that the ledger goes by."""
    assert diagram() in (ROOT / "docs" / "packetizer.md").read_text()


def test_release_notes_are_of_a_kind_that_is_known_and_short() -> None:
    """towncrier passes over a file whose name it does not understand, and the note is in no release."""
    kinds = [
        kind["directory"] for kind in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    ]
    for note in (ROOT / "changes").iterdir():
        if note.name != "README.md":
            assert re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(kinds)})\.md", note.name), note.name
            assert 1 <= len(note.read_text().strip().splitlines()) <= 4, f"{note.name}: one to four lines, no list"


def test_every_public_name_can_be_imported() -> None:
    for name in eventmill.__all__:
        assert getattr(eventmill, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = eventmill.nonsense


def test_the_readme_runs_as_it_stands_from_the_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new user would, in a fresh folder: every block in its order, but for the lines that install. Fewer events."""
    for name, value in processes.environment(tmp_path / "state").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    counted = []
    with contextlib.ExitStack() as until_the_end:
        text = (ROOT / "README.md").read_text()
        for written in ("--events 200000 ", "em.cycles(1_000_000,"):
            assert text.count(written) == 1
            text = text.replace(written, written.replace("200000", "20000").replace("1_000_000", "50_000"))
        for language, block in re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.DOTALL):
            if language == "python":
                exec(block, names)
                until_the_end.callback(names["session"].close)
                counted.append(names["session"].queries()[-1].account.processed)
                continue
            for line in block.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                if program != "eventmill":
                    assert program in ("make", "pip"), line
                elif arguments[0] in ("master", "worker"):
                    port = ["--port", "0"] if arguments[0] == "master" else []
                    running = processes.Running(*arguments, *port, state=tmp_path / "state")
                    until_the_end.callback(running.close)
                    running.wait_for("master 'default' at" if port else "")
                else:
                    command = [sys.executable, "-m", "eventmill", *arguments]
                    subprocess.run(command, check=True, timeout=100, capture_output=True)
    assert counted == [20_000, 20_000, len(names["images"]), 20_000]
    assert names["result"].account.processed == 20_000 and names["result"]["mass"].sum() > 0


@pytest.mark.parametrize(
    "document",
    [
        str(path.relative_to(ROOT))
        for pattern in ("*.md", "docs/*.md", "benchmarks/*.md")
        for path in ROOT.glob(pattern)
    ],
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+?)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
