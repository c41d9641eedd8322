"""The processes in which tests run: whatever happens in one is reported, and nothing counts as passed that was not run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
ONE = """
import os, pathlib, pytest

@pytest.fixture(scope="session")
def up():
    yield
    pathlib.Path(os.environ["ENDS"], str(os.getpid())).touch()

def test_well(up):
    print("on its way")

def test_at_the_end(up):
    assert len(list(pathlib.Path(os.environ["ENDS"]).iterdir())) == 0
"""
TWO = """
import os, signal

def test_wrong(up=1):
    print("as it was said")
    assert up == 2

{more}

def test_after():
    pass
"""
DIES = "def test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n"


def run(folder: Path, more: str = "", *options: str) -> subprocess.CompletedProcess[str]:
    """Two files of tests in two processes, from a folder."""
    (folder / "conftest.py").write_text("from forked import add_options as pytest_addoption, pytest_runtestloop\n")
    (folder / "test_one.py").write_text(ONE)
    (folder / "test_two.py").write_text(TWO.format(more=more))
    (folder / "ends").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--processes", "2", "-c", os.devnull, "--rootdir", "."]
    return subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "test_one.py", "test_two.py", *options],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(SUPPORT), "ENDS": str(folder / "ends")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_what_fails_in_a_process_is_told_and_each_takes_down_what_it_has_up(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED and "1 failed, 3 passed" in done.stdout, done.stdout
    assert "as it was said" in done.stdout and "assert 1 == 2" in done.stdout and "on its way" not in done.stdout
    assert len(list((tmp_path / "ends").iterdir())) == 1


def test_what_a_process_that_dies_has_not_run_fails(tmp_path: Path) -> None:
    """As a segmentation fault in a reader: the run is not green with a file less."""
    done = run(tmp_path, DIES)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED and "3 failed, 2 passed" in done.stdout, done.stdout
    assert f"ended with {-signal.SIGKILL}, in test_two.py::test_dies" in done.stdout
    assert "FAILED test_two.py::test_after" in done.stdout


def test_after_a_first_failure_no_file_is_begun(tmp_path: Path) -> None:
    done = run(tmp_path, "", "-x", "--processes", "1", "-k", "not well")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED and "1 failed, 1 passed" in done.stdout, done.stdout
    assert "stopping after 1 failures" in done.stdout
