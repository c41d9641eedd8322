"""How much memory a slot may take, and how much it takes.

A slot over its limit is replaced, since otherwise the kernel or the batch system would end the whole job. The address
space is not limited (`RLIMIT_AS`): files that are mapped and compiled code count there too, what is shared with the
forkserver counts for every slot, and an allocation that fails may end a process anywhere.

Sizes are bytes. K, M, G and T are powers of 1024, as batch systems have them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...system.control_groups import CGROUPS, PROC, groups
from ...system.slot_memory import part_of_slot

WARN = 0.80
"""From this part of its limit on, a slot's chunks become smaller: halved once for each `STEP` above it."""
STEP = 0.04
RETIRE = 0.95
"""From this part of its limit on, a slot hands over what it has done, and a fresh process takes its place."""
FAR_TOO_LARGE = 1.10
"""From this part of its limit on, a slot is ended at once; before, it has the time between two looks to hand over."""
_NO_LIMIT = 2**60
"""Version 1 of cgroups has a number near 2^63 for none."""
_PAGE = os.sysconf("SC_PAGESIZE")


def shown(size: float) -> str:
    """A size for people.

    Example:
        >>> shown(4.1 * 2**30), shown(400 * 2**20)
        ('4.1 GB', '400 MB')
    """
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def halvings(size: float, limit: float) -> int:
    """How often a slot that takes `size` of its limit is to halve its chunks.

    Example:
        >>> [halvings(size, 100) for size in (79, 80, 85, 99)]
        [0, 1, 2, 5]
    """
    return max(0, 1 + int((size / limit - WARN) / STEP)) if size >= WARN * limit else 0


# --- what a slot may take -------------------------------------------------------------------------------------------------


def limit_a_slot(
    slots: int,
    environment: Mapping[str, str] = os.environ,
    cgroups: Path = CGROUPS,
    proc: Path = PROC,
) -> int:
    """Bytes that each of this worker's slots may take: a fair part of the least of what the batch system, the control
    group and the machine have for it, after what the worker needs itself.
    """
    limits = [_machine(proc), *_control_groups(cgroups, proc)]
    batch = _slurm(environment) or _condor(environment)
    if batch is not None:
        limits.append(batch)
    return part_of_slot(min(limits), slots)


def _machine(proc: Path) -> int:
    """All the memory there is."""
    kilobytes = re.search(r"^MemTotal:\s+([0-9]+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    return int(kilobytes[1]) * 1024 if kilobytes else _NO_LIMIT


def _control_groups(cgroups: Path, proc: Path) -> Iterator[int]:
    """Limits of the control groups that this process is in, version 2 and 1."""
    for group in groups("memory", cgroups, proc):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(group / name)
            if limit is not None and limit < _NO_LIMIT:
                yield limit


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _slurm(environment: Mapping[str, str]) -> int | None:
    """What Slurm gives to this job on this node, in megabytes there; 0 means all."""
    node, core = environment.get("SLURM_MEM_PER_NODE", ""), environment.get("SLURM_MEM_PER_CPU", "")
    if node.isdigit() and int(node):
        return int(node) * 2**20
    cores = environment.get("SLURM_CPUS_ON_NODE") or environment.get("SLURM_CPUS_PER_TASK") or "1"
    if core.isdigit() and int(core) and cores.isdigit():
        return int(core) * int(cores) * 2**20
    return None


def _condor(environment: Mapping[str, str]) -> int | None:
    """What HTCondor gives to this job, in megabytes in the files in which it describes slot and job."""
    for variable, names in (
        ("_CONDOR_MACHINE_AD", ("Memory",)),
        ("_CONDOR_JOB_AD", ("MemoryProvisioned", "RequestMemory")),
    ):
        try:
            text = Path(environment[variable]).read_text(errors="replace")
        except (KeyError, OSError):
            continue
        for name in names:
            found = re.search(rf"^{name}\s*=\s*([0-9]+)\s*$", text, re.MULTILINE | re.IGNORECASE)
            if found:
                return int(found[1]) * 2**20
    return None


# --- what a slot takes ----------------------------------------------------------------------------------------------------


def taken(pid: int, limit: float, rollup: int | None = None, proc: Path = PROC) -> int:
    """Memory that a process takes, 0 when it is gone; with its part only of what it shares, once that is near the limit.

    The kernel has two counts: a quick one that counts pages shared with the forkserver in full, and an exact one that takes
    milliseconds. For that, `rollup` is a descriptor of the process' /proc/self/smaps_rollup, which it has opened itself.
    """
    folder = proc / str(pid)
    try:
        _, resident, shared, *_ = map(int, (folder / "statm").read_text().split())
    except OSError:
        return 0
    private = (resident - shared) * _PAGE
    if private < WARN * limit:
        return private
    try:
        text = b"" if rollup is None else os.pread(rollup, 1 << 16, 0)
    except OSError:  # it has just ended
        return 0
    exact = re.search(rb"^Pss:\s+([0-9]+) kB", text, re.MULTILINE)
    return int(exact[1]) * 1024 if exact else private
