"""Locks on open files, which the operating system frees when their process ends, however it ends."""

from __future__ import annotations

import fcntl
import time

_PAUSE = 0.01
"""Seconds between two attempts: `flock` by itself waits for ever, also for a process that is stopped."""


def lock(descriptor: int, wait: float = 0.0) -> bool:
    """Lock an open file, or folder, for this process and for as long as it is open.

    Args:
        descriptor: of the open file.
        wait: seconds to wait for another process to let go of it.

    Returns:
        Whether it is locked now; not if another process holds it, and has held it all the time.

    Raises:
        OSError: it cannot be locked at all, as on network file systems without locks.

    Example:
        >>> import os, tempfile
        >>> path = tempfile.mkstemp()[1]
        >>> ours, theirs = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
        >>> lock(ours), lock(theirs)
        (True, False)
        >>> os.close(ours)
        >>> lock(theirs)
        True
    """
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE)
        else:
            return True
