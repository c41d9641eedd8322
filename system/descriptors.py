"""How many files and connections a process may have open at a time."""

from __future__ import annotations

import contextlib
import resource


def allow_descriptors(wanted: int | None = None) -> int:
    """See to it that this process may have so many descriptors, as far as it may decide that itself.

    What it starts later inherits it. Most processes have a thousand by default and may have many more: the limit is that
    low for programs that call `select`, which can do with no more.

    Args:
        wanted: how many; by default as many as it may have (the hard limit).

    Returns:
        how many it may have now.

    Example:
        >>> allow_descriptors(8) >= 8
        True
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if wanted is None else min(wanted, hard)
    if soft < most:
        with contextlib.suppress(OSError, ValueError):  # not here: it goes on with what it has
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
