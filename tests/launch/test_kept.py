"""Processes that are kept: a master and worker of a session's own, launchers, the status page."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest
from eventmill.launch.kept import Kept

SLEEPER = ["timeit", "-n1", "-r1", "__import__('time').sleep(999)"]


def test_what_ends_by_itself_is_not_started_again(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept("page", ["this"])
    kept._thread.join(30)
    kept.close()
    assert "ended with code 0, and is not started again" in caplog.text
    assert kept.process.returncode == 0 and kept.trouble


def test_a_fork_that_closes_it_leaves_it_alone() -> None:
    """Each child of `multiprocessing` closes what the session had at its end, and the pool of the session went on without
    anybody who would start its launcher again."""
    script = f"""
        import os, sys, time
        from eventmill.launch.kept import Kept

        kept = Kept("sleeper", {SLEEPER})
        child = os.fork()
        if child == 0:
            kept.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        first = kept.process
        first.kill()
        while kept.process is first:
            if not kept._thread.is_alive():
                sys.exit("nobody starts it again")
            time.sleep(0.01)
        kept.close()
        """
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_it_may_be_closed_in_the_thread_that_looks_after_it() -> None:
    """Garbage collection closes a session in any thread, at any moment. None is started that nobody would end."""
    is_there, is_closed = threading.Event(), threading.Event()

    def close() -> bool:
        assert is_there.wait(30)
        kept.close()
        is_closed.set()
        return True

    kept = Kept("page", ["this"], is_wanted=close)
    is_there.set()
    assert is_closed.wait(30)
    kept._thread.join(30)
    assert not kept._thread.is_alive() and kept.process.returncode == 0 and not kept.trouble
