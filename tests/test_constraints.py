"""The versions that are installed are those that were tested, so that a release of a dependency breaks no installation."""

from __future__ import annotations

import re
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
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "build/*.whl)[" in line]
    assert len(installs) == 4
    assert all("$(CONSTRAINED)" in line for line in installs)
