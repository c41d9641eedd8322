"""What is written for users is true: examples in docstrings and README run, links lead somewhere, the wheel is whole."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import eventmill
import eventmill as em
import numpy as np
import processes
import pytest
from eventmill.master import transitions
from eventmill.packetizer import leases
from eventmill.protocol import messages
from eventmill.worker.agent import stages
from hist import Hist

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(eventmill.__path__, "eventmill.")
    if not module.name.endswith("__main__")
)


OF_SESSIONS = (
    "eventmill.analysis.sent_files",
    "eventmill.protocol.skipping",
    "eventmill.session.access",
    "eventmill.session.bookkeeping",
    "eventmill.session.catalogue",
    "eventmill.session.pools",
    "eventmill.session.query",
    "eventmill.session.quick_looks",
    "eventmill.session.result",
    "eventmill.analysis.row_output",
    "eventmill.analysis.writes",
    "eventmill.session.output_files",
    "eventmill.session.session",
    "eventmill.session.steering",
    "eventmill.session.sums",
)
"""Modules whose examples go on with a session, a query, and a file `events.root`."""


def has_examples(name: str) -> bool:
    """Whether a module's text has any; it is not imported for that."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None and ">>> " in Path(found.origin).read_text()


@pytest.mark.parametrize("name", [name for name in MODULES if name not in OF_SESSIONS and has_examples(name)])
def test_the_examples_in_docstrings_run(name: str) -> None:
    assert failed_examples(name, {}) == 0


@pytest.mark.long("each runs queries in slots, several start masters and launchers")
@pytest.mark.parametrize("name", OF_SESSIONS)
def test_the_examples_of_sessions_run(
    name: str, session: em.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They show what a user sees; in docstrings they need not start a session each."""
    monkeypatch.chdir(tmp_path)
    Path("events.root").symlink_to(ROOT / "sample" / "events_0.root")

    def missing_energy(events: Any) -> dict[str, Any]:
        return {"met": Hist.new.Reg(50, 0, 200).Double().fill(np.minimum(events.MET_pt, 199.0))}

    query = session.process("events.root", missing_energy)
    processes.eventually(lambda: session.workers() != [], "the worker of the session is there")
    given = {
        "em": em,
        "np": np,
        "Hist": Hist,
        "Path": Path,
        "session": session,
        "missing_energy": missing_energy,
        "query": query,
    }
    assert failed_examples(name, given) == 0


def failed_examples(name: str, given: dict[str, Any]) -> int:
    """As `doctest.testmod`, which would make ready for docstrings without any, too: two thirds of the time."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    found = doctest.DocTestFinder().find(importlib.import_module(name), name, extraglobs=given)
    tests = [test for test in found if test.examples]
    for test in tests:
        runner.run(test)
    return runner.failures


def test_all_that_is_public_says_what_it_is() -> None:
    """In a docstring of its own, or of what it stands in for."""
    assert [name for module in MODULES for name in undocumented(importlib.import_module(module))] == []


def undocumented(module: ModuleType) -> Iterator[str]:
    """What is public in a module and has no docstring, itself included."""
    if not module.__doc__:
        yield module.__name__
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if not inspect.isclass(thing) and not inspect.isroutine(thing):
            continue
        if not inspect.getdoc(thing):
            yield f"{module.__name__}.{name}"
        for member, made in vars(thing).items() if inspect.isclass(thing) else ():
            public = not member.startswith("_") and (inspect.isroutine(made) or isinstance(made, property))
            if public and not inspect.getdoc(getattr(thing, member)) and not inherited(thing, member):
                yield f"{module.__name__}.{name}.{member}"


def inherited(kind: type, member: str) -> bool:
    """Whether what it stands in for has a docstring (`inspect.getdoc` does not look for those of properties)."""
    return any(inspect.getdoc(vars(base)[member]) for base in kind.__mro__ if member in vars(base))


def test_the_wheel_has_every_package_of_the_tree() -> None:
    """The list in pyproject.toml is written by hand."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for depth in ("*", "*/*") for path in ROOT.glob(f"{depth}/__init__.py")}
    rooms = {".".join(folder.parts) for folder in folders if folder.parts[0] not in {"benchmarks", "build"}}
    assert set(listed) == {"eventmill"} | {f"eventmill.{name}" for name in rooms}
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "setup.py"}
    assert not (Path(eventmill.__file__).parent / "setup.py").exists()


def test_the_stages_of_a_lease_are_drawn_as_they_are_in_the_code() -> None:
    """The diagram in the documentation comes from the table that the ledger goes by."""
    assert leases.diagram() in (ROOT / "docs" / "packetizer.md").read_text()


@pytest.mark.parametrize(
    ("section", "states", "table"),
    [
        ("Query", get_args(messages.State), transitions.TRANSITIONS),
        ("Lease", [stage.value for stage in leases.Stage], leases.TRANSITIONS),
        ("Slot", get_args(stages.SlotStage), stages.SLOT),
        ("Worker", get_args(stages.WorkerStage), stages.WORKER),
    ],
)
def test_states_are_documented_as_they_are_in_the_code(section: str, states: list[str], table: dict[Any, Any]) -> None:
    """One by one, with all that may happen in them."""

    def name(state: Any) -> str:
        return state.value if isinstance(state, leases.Stage) else state

    text = (ROOT / "docs" / "states.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| (\w+) \| [^|]{20,} \|(.*)\|$", text, flags=re.MULTILINE))
    happens: dict[str, list[str]] = {state: [] for state in states}
    for (state, event), targets in table.items():
        happens[name(state)].append(f"{event} → {', '.join(map(name, targets))}")
    assert {state: row.strip() for state, row in documented.items()} == {
        state: "; ".join(events) for state, events in happens.items()
    }


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


@pytest.mark.long("what users do first, with all that it starts")
@pytest.mark.timeout(900)
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
                    subprocess.run(command, check=True, timeout=300, capture_output=True)
    assert counted == [20_000, 20_000, len(names["images"]), 20_000, 20_000]
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


def test_each_line_of_the_table_of_rights_names_tests_that_there_are() -> None:
    """Who may do what is a promise, and nobody looks at a promise whose test went with a rename."""
    rows = [
        line.split("|") for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")
    ]
    heads = ("test", "---")
    named = [re.findall(r"`(test_\w+)`", cells[-2]) for cells in rows if cells[-2].strip() not in heads]
    assert len(named) > 10 and all(named), "each line has a test"
    there = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for names in named for name in names if f"def {name}(" not in there] == []
