"""The private folder of an agent: there while it lives, and gone some time after it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from eventmill.worker.cradle import YOUNG, sweep

HOLDER = """
import sys, time
from pathlib import Path
from eventmill.worker.cradle import _locked
assert _locked(Path(sys.argv[1])) is not None
print("locked", flush=True)
sys.stdin.read()
"""


def aged(folder: Path) -> Path:
    folder.mkdir()
    (folder / "board").touch()
    os.utime(folder, times=(time.time() - 2 * YOUNG,) * 2)
    return folder


def test_what_killed_agents_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    used, left, other = aged(tmp_path / "eventmill-used"), aged(tmp_path / "eventmill-left"), aged(tmp_path / "other")
    young, link = tmp_path / "eventmill-young", tmp_path / "eventmill-link"
    young.mkdir()
    link.symlink_to(other)
    command = [sys.executable, "-c", HOLDER, str(used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        sweep(tmp_path)
        assert used.exists() and young.exists() and link.exists() and (other / "board").exists() and not left.exists()
        holder.kill()
        holder.wait()
    sweep(tmp_path)
    assert not used.exists()
