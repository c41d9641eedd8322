"""What is written for users is true: examples in docstrings and README run, links lead somewhere, the wheel is whole."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import eventmill
import pytest
from eventmill.packetizer.leases import diagram
from eventmill.session.sample import write_sample

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
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "examples"}
    assert set(listed) == {"eventmill"} | {f"eventmill.{name}" for name in folders}
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py"}


def test_the_stages_of_a_lease_are_drawn_as_they_are_in_the_code() -> None:
    """The diagram in the documentation comes from the table that the ledger goes by."""
    assert diagram() in (ROOT / "docs" / "packetizer.md").read_text()


def test_every_public_name_can_be_imported() -> None:
    for name in eventmill.__all__:
        assert getattr(eventmill, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = eventmill.nonsense


def test_the_first_notebook_cell_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new user would: the code of the README, over a folder `events`."""
    write_sample(tmp_path / "events", events=2000, files=2)
    monkeypatch.chdir(tmp_path)
    first, second, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    names: dict[str, object] = {"__name__": "__main__"}
    exec(first, names)
    try:
        assert names["result"].account.processed == 2000
        assert names["result"]["mass"].sum() > 0
        exec(second, names)
    finally:
        names["session"].close()


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *map(str, Path("docs").glob("*.md"))]
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+?)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
