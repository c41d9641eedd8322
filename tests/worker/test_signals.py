"""Signals to what a slot has forked."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from eventmill.worker.slot.signals import be_a_slot

told = []
os.register_at_fork(after_in_child=lambda: [os.kill(os.getpid(), number) for number in told])
be_a_slot()
for told in [signal.SIGTERM], [signal.SIGINT], []:
    child = os.fork()
    if child == 0:
        os._exit(0)
    print(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for number in signal.SIGTERM, signal.SIGINT:
    os.kill(os.getpid(), number)
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_fork_that_is_told_to_end_before_it_has_begun_ends() -> None:
    """Met once in some thousand runs: a pool of processes was ended while it started, the signal came between the fork and
    what takes off the slot's handler, and whoever had ended the pool waited for ever. The slot itself goes on."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["15", "2", "0", "set()"] and not done.stderr
