"""The processes that user code starts in a slot: none of them outlives its slot.

A process whose parent ends becomes a child of its nearest ancestor that says it takes orphans in
(`PR_SET_CHILD_SUBREAPER`): the slot takes in those of user code, daemons that forked twice included; when the slot ends, its
forkserver takes in all of them; when that is killed, the agent. Whoever takes in strays ends them. So there is no way out by
forking, and none by leaving process group or session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Collection
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit now if `parent` has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Be there when the parent has ended, after all: to see to it that nothing is left. Who is stopped then goes on."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def take_orphans_in() -> None:
    """From now on, descendants of this process whose parents end are its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """The processes whose parent this one is, those included that have ended and wait to be reaped."""
    me = os.getpid()
    found: set[int] = set()
    try:
        for thread in Path(f"/proc/{me}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
                found.update(map(int, (thread / "children").read_text().split()))
                continue
            if thread.exists():
                return _children_by_search(me)  # a kernel without such files
    except OSError:
        return set()
    return found


def _children_by_search(me: int) -> set[int]:
    found = set()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == me:
                found.add(int(process.name))
    return found


def kill_children(but: Collection[int] = ()) -> set[int]:
    """Kill all children, `but` these; returns those killed, to be reaped. What they have started comes to us then."""
    strays = children().difference(but)
    for pid in strays:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return strays


def end_children(seconds: float) -> None:
    """Kill all children and what they leave to us, until nothing is left.

    Args:
        seconds: in which to do it at most: the kernel may hold a process up that waits for a disk.
    """
    deadline = time.monotonic() + seconds
    while (strays := kill_children()) and time.monotonic() < deadline:
        for pid in strays:
            _reap(pid, deadline - time.monotonic())


def _reap(pid: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # somebody else has reaped it
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(max(0.0, seconds) * 1000)
            os.waitpid(pid, os.WNOHANG)
        finally:
            os.close(descriptor)
