"""How many slots a worker has when nobody says: the cores that it may use."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

BATCH_VARIABLES = (
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "_CONDOR_NPROCS",
    "OMP_NUM_THREADS",
    "PBS_NCPUS",
    "NSLOTS",
    "LSB_DJOB_NUMPROC",
)
"""Where batch systems say how many cores a job has. HTCondor sets OMP_NUM_THREADS to the cores of the slot."""


def usable_cores(environment: Mapping[str, str] = os.environ, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: the least of its CPU affinity, its cgroup's quota, and its batch job's cores.

    Example:
        >>> usable_cores({"SLURM_CPUS_PER_TASK": "1"})
        1
    """
    limits = [len(os.sched_getaffinity(0))]
    quota = _quota(cgroup)
    if quota is not None:
        limits.append(max(1, math.floor(quota)))
    for name in BATCH_VARIABLES:
        value = environment.get(name, "")
        if value.isdigit() and int(value) > 0:
            limits.append(int(value))
            break
    return min(limits)


def _quota(cgroup: Path) -> float | None:
    """Cores that the cgroup of this process may use (version 2, then 1), None without a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        return quota_us / int((cgroup / "cpu/cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    except (OSError, ValueError):
        return None
