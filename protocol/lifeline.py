"""Ending with another process: what keeps a crashed session from leaving processes behind."""

from __future__ import annotations

import os


class Lifeline:
    """A file descriptor that becomes readable when process `pid` has ended, for a poll loop.

    Args:
        pid: the process to end with; it must have been our parent when it gave us its number.

    Raises:
        ProcessLookupError: that process is gone already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)
