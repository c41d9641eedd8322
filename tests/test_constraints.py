"""The versions that are installed are those that were tested, so that a release of a dependency breaks no installation."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def constrained() -> dict[str, Version]:
    """The versions in constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([\w.-]+)==([\w.+!]+)(?: *;.*)?", line) for line in lines]
    assert all(found), "each line names one exact version"
    return {canonicalize_name(match[1]): Version(match[2]) for match in found if match is not None}


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_what_is_needed_has_a_tested_version_within_its_bounds(extra: str) -> None:
    """A dependency that is missing there would be installed in whatever version is newest."""
    needed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    versions = constrained()
    for requirement in map(Requirement, needed):
        if requirement.name != PROJECT["name"]:
            version = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement} and {version}"


def test_make_installs_with_the_constraints() -> None:
    """What CI and a new user run."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert sum("$(call install," in line for line in lines) == 5
    by_uv, by_pip = [line for line in lines if "build/*.whl)[" in line]
    assert "$(CONSTRAINED)" in by_uv and "$(CONSTRAINED)" in by_pip


@pytest.mark.parametrize(
    ("installed", "code", "written"),
    [
        ("numpy==2.0\neventmill==0.1.0\nAwkward==2.14.0\npip==26.0\n", 0, "# about it\nAwkward==2.14.0\nnumpy==2.0\n"),
        ("numpy==2.0\n", 1, "# about it\nold==1.0\n"),
        ("", 0, "# about it\nold==1.0\n"),
    ],
    ids=["all is well", "pip fails in the middle", "nothing is installed"],
)
def test_constraints_are_replaced_by_a_whole_list_or_not_at_all(
    tmp_path: Path, installed: str, code: int, written: str
) -> None:
    """They once were what a failed `pip list` had said: nothing, with which the next installation takes any version."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "constraints.txt").write_text("# about it\nold==1.0\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "wheel").touch()
    (tmp_path / "installed").write_text(installed)
    (tmp_path / "python").write_text(f"#!/bin/sh\ncat installed\nexit {code}\n")
    (tmp_path / "make").write_text("#!/bin/sh\nmkdir -p .venv-newest/bin\ncp python .venv-newest/bin\n")
    for program in ("python", "make"):
        (tmp_path / program).chmod(0o755)
    command = ["make", "--silent", "--old-file", "build/wheel", "constraints", "MAKE=./make"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (tmp_path / "constraints.txt").read_text() == written, done.stderr
    assert (done.returncode == 0) == ("old" not in written), done.stderr
