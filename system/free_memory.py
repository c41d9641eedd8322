"""How much memory there still is: of the machine, and of the control groups that this process is in.

Files that lie in memory only because they were read count as free: they make room.
"""

from __future__ import annotations

import re
from pathlib import Path

from .control_groups import CGROUPS, PROC, groups

_OF_GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""In a group's folder: its limit, what is used, and what of that are such files; of version 2 and 1."""


def free_memory(cgroups: Path = CGROUPS, proc: Path = PROC) -> int:
    """Bytes that processes here can still take.

    Example:
        >>> free_memory() > 0
        True
    """
    left = [_of_machine(proc)]
    for group in groups("memory", cgroups, proc):
        left += [_of_group(group, *names) for names in _OF_GROUPS]
    return min((it for it in left if it is not None), default=2**60)


def _of_machine(proc: Path) -> int | None:
    try:
        kilobytes = re.search(r"^MemAvailable:\s+([0-9]+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(kilobytes[1]) * 1024 if kilobytes else None


def _of_group(group: Path, limit: str, used: str, files: str) -> int | None:
    try:
        inactive = re.search(rf"^{files} ([0-9]+)$", (group / "memory.stat").read_text(), re.MULTILINE)
        taken = int((group / used).read_text()) - (int(inactive[1]) if inactive else 0)
        return max(0, int((group / limit).read_text()) - taken)
    except (OSError, ValueError):  # not there, or "max"
        return None
