"""The command line as a whole; what commands do is tested where they belong."""

from __future__ import annotations

import subprocess
import sys

import click
from eventmill.cli.main import main


def test_a_command_is_there_at_once_and_imports_no_other() -> None:
    """Somebody at a terminal waits for each, and a thousand workers start at once from one file system."""
    script = "import sys, eventmill.cli.main; print([it for it in ('numpy', 'rich', 'yaml') if it in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_all_commands_are_there_by_their_names() -> None:
    context = click.Context(main)
    names = main.list_commands(context)
    assert {"worker", "users", "status"} <= {*names} and len(set(names)) == len(names)
    assert [command.name for name in names if (command := main.get_command(context, name)) is not None] == names
