"""Whether other processes of the same account may look into this one's memory."""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def hide_memory(hidden: bool = True) -> None:
    """Let no process of this account read or change this one's memory, environment and open files, by /proc or ptrace, from
    now on; nor those that it forks, until they start another program. Root's processes may, as always. There is no core
    dump either.

    Args:
        hidden: false lets them again, so that a profiler or debugger can be used.
    """
    _prctl(_PR_SET_DUMPABLE, 0 if hidden else 1, 0, 0, 0)
