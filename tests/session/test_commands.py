"""The command line as a whole; what commands do is tested where they belong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import click
import eventmill as em
import pytest
from eventmill.cli.main import main


@pytest.mark.parametrize("module", ["cli.main", "master.__main__", "worker.__main__", "worker.forkserver"])
def test_a_command_is_there_at_once_and_imports_no_other(module: str) -> None:
    """Somebody at a terminal waits for each, and a thousand workers start at once from one file system. What ends with
    another process, and hides its memory, does so before it imports all that it needs."""
    names = ("importlib.metadata", "numpy", "rich", "yaml")
    script = f"import sys, eventmill.{module}; print([it for it in {names} if it in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_all_commands_are_there_by_their_names() -> None:
    context = click.Context(main)
    names = main.list_commands(context)
    assert {"worker", "users", "status"} <= {*names} and len(set(names)) == len(names)
    assert [command.name for name in names if (command := main.get_command(context, name)) is not None] == names


def test_the_version_is_that_of_the_package() -> None:
    """Which was written down when it was built."""
    assert em.__version__ == version("eventmill") != "0+unknown"
