"""A master with many workers is not stopped by walks over all of its objects."""

from __future__ import annotations

import subprocess
import sys

COUNTED = """
import gc, sys
from eventmill.master.core import MasterCore
from eventmill.protocol import messages
from eventmill.system.garbage import look_for_garbage_seldom

def walks() -> int:
    before = gc.get_stats()[2]["collections"]
    core = MasterCore("test", "3.11")
    for number in range(8000):
        hello = messages.Hello("worker", f"w{number}", python="3.11", slots=1)
        core.receive(b"%d" % number, "worker", hello, [], 0.0, more=True)
    return gc.get_stats()[2]["collections"] - before

walked = []

def look(phase: str, info: dict[str, int]) -> None:
    if phase == "start":
        walked.append(sum(len(gc.get_objects(generation)) for generation in range(info["generation"] + 1)))

usual = walks()
look_for_garbage_seldom()
gc.callbacks.append(look)
print(usual, walks(), len(walked), max(walked))
"""


def test_workers_come_without_walks_over_all_objects() -> None:
    """With 10,000 workers one takes 0.2 s, in which nobody gets a lease; and one over 10,000 new objects 5 to 10 ms. (It is
    set for a whole process: not for this.)"""
    told = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, timeout=300, check=True)
    usual, seldom, young, longest = map(int, told.stdout.split())
    assert usual > 0 and seldom == 0
    assert young > 10 and longest < 5000
