"""What is packed into one file runs where nothing else is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import eventmill as em
import pytest
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.launch.packed import pack
from eventmill.protocol.errors import EventmillError
from processes import SECONDS, eventually

BARE = str(getattr(sys, "_base_executable", sys.executable))
"""A Python without what is installed for these tests."""


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in an environment that has nothing of this one's."""
    (tmp_path / "scratch").mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "scratch")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with little in it: rich, and what that needs."""
    file = tmp_path_factory.mktemp("packed") / "small.pyz"
    packed = pack(file, ["rich"], level=1)
    assert [name.split()[0] for name in packed] == ["markdown-it-py", "mdurl", "pygments", "rich"]
    return file


def test_it_is_an_interpreter_that_has_what_was_packed(small: Path, tmp_path: Path) -> None:
    """And what it starts has that, too; it unpacks itself once, where only its user may write."""
    told = "import rich, subprocess, sys; print(rich.__file__, sys.argv[1:], flush=True)"
    inner = "subprocess.run([sys.executable, '-c', 'import pygments; print(pygments.__file__)'])"
    done = run(tmp_path, BARE, str(small), "-c", f"{told}; {inner}", "a", "b c")
    assert done.returncode == 0, done.stderr
    outer, other = done.stdout.splitlines()
    place = tmp_path / "scratch" / f"eventmill-packed-{os.getuid()}"
    assert outer.startswith(str(place)) and outer.endswith("['a', 'b c']") and other.startswith(str(place))
    before = sorted(path.stat().st_ino for path in place.rglob("*.py"))
    assert run(tmp_path, BARE, str(small), "-c", "import rich").returncode == 0
    assert sorted(path.stat().st_ino for path in place.rglob("*.py")) == before
    assert place.stat().st_mode & 0o777 == 0o700
    assert run(tmp_path, BARE, str(small), "-c", "import sys; sys.exit(7)").returncode == 7


def test_it_takes_no_folder_of_somebody_else(small: Path, tmp_path: Path) -> None:
    """Whoever may write into what it unpacks runs code as its user."""
    place = tmp_path / "scratch" / f"eventmill-packed-{os.getuid()}"
    place.mkdir(parents=True)
    place.chmod(0o777)
    done = run(tmp_path, BARE, str(small), "-c", "import rich")
    assert done.returncode != 0 and "others may write there: set TMPDIR" in done.stderr


def test_another_python_is_told_what_it_is_for(small: Path, tmp_path: Path) -> None:
    python = "python{}.{}".format(*sys.version_info[:2])
    assert small.read_bytes().startswith(f"#!/usr/bin/env {python}\n".encode())
    lines = f"import sys; sys.version_info = (3, 99, 0); sys.argv = [{str(small)!r}]; import runpy; "
    done = run(tmp_path, BARE, "-c", f"{lines}runpy.run_path({str(small)!r}, run_name='__main__')")
    assert done.returncode != 0 and f"is for {python} on" in done.stderr and "this is python3.99 on" in done.stderr


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["pool", "pack", str(tmp_path / "it.pyz"), "--with", "no-such-package"])
    assert done.exit_code == 1 and "no-such-package is not installed here" in done.output
    with pytest.raises(EventmillError, match="cannot be written"):
        pack(tmp_path / "none" / "it.pyz", ["idna"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_workers_run_from_it(tmp_path: Path) -> None:
    """All of eventmill, as a pool's interpreter."""
    file = tmp_path / "eventmill.pyz"
    pack(file, level=1)
    with em.connect(slots=1) as session:
        session.scale(1, em.Local(python=str(file), setup=[f"export TMPDIR={tmp_path}"]))
        eventually(lambda: len(session.workers()) == 2, "it joins")
        assert session.process(em.cycles(1000), lambda events: len(events)).result(timeout=SECONDS).value == 1000
