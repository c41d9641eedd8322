"""However the process of a session ends, and whatever is stopped meanwhile, no process is left, and no query waits."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import psutil
import pytest
from processes import SECONDS, eventually

SCRIPT = """
import os, sys, eventmill
session = eventmill.connect(slots=2)
assert session.process(eventmill.items([1, 2]), lambda item: item).result(60).value == 3
print("ready", flush=True)
sys.stdin.readline()
os.execv("/bin/cat", ["cat"])
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """One that has a session with two slots at hand; told so, another program takes its place."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        family = family_of(process)
        yield process
        process.kill()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Master, worker, forkserver and slots."""
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 5
    return family


def at_work(process: psutil.Process) -> bool:
    """Whether it has not ended yet; who does not take note of that is not ours."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_session_whose_process_becomes_another_program_leaves_no_process(script: subprocess.Popen[str]) -> None:
    """`exec` ends what the session was, and not its process."""
    family = family_of(script)
    assert script.stdin is not None
    script.stdin.write("\n")
    script.stdin.flush()
    eventually(lambda: not any(map(at_work, family)), "they have ended")
    assert script.poll() is None, "the other program goes on"


def test_a_session_that_is_killed_while_its_processes_are_stopped_leaves_none(script: subprocess.Popen[str]) -> None:
    family = family_of(script)
    for process in family:
        process.suspend()
    script.kill()
    eventually(lambda: not any(map(at_work, family)), "they have ended")


@pytest.mark.long("it is taken for stopped after seconds")
def test_a_forkserver_that_is_stopped_keeps_no_query_waiting(tmp_path: Path) -> None:
    """It is the one who knows that a slot was killed."""
    gate = str(tmp_path / "gate")

    def waits(item: int) -> int:
        import os
        import time

        while not os.path.exists(gate):  # noqa: PTH110
            time.sleep(0.01)
        return item

    with em.connect(slots=1) as session:
        query = session.process(em.items([1, 2, 3]), waits)
        assert session._embedded is not None
        worker = psutil.Process(session._embedded.processes["worker"].pid)
        eventually(lambda: len(worker.children(recursive=True)) == 2, "the slot is there")
        forkserver, slot = worker.children(recursive=True)
        forkserver.suspend()
        slot.send_signal(signal.SIGKILL)
        Path(gate).touch()
        assert query.result(SECONDS).value == 6
