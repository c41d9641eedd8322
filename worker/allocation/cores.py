"""How many slots a worker has when nobody says: the cores that it may use."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from ...system.control_groups import CGROUPS, PROC, groups

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


def usable_cores(environment: Mapping[str, str] = os.environ, cgroups: Path = CGROUPS, proc: Path = PROC) -> int:
    """Cores this process may use: the least of its CPU affinity, the quotas of the control groups that it is in, and its
    batch job's cores.

    Example:
        >>> usable_cores({"SLURM_CPUS_PER_TASK": "1"})
        1
    """
    limits = [len(os.sched_getaffinity(0))]
    quotas = (_quota(group) for group in groups("cpu", cgroups, proc))
    limits += [max(1, math.floor(quota)) for quota in quotas if quota is not None]
    for name in BATCH_VARIABLES:
        value = environment.get(name, "")
        if value.isdigit() and int(value) > 0:
            limits.append(int(value))
            break
    return min(limits)


def _quota(group: Path) -> float | None:
    """Cores that a control group may use (version 2, then 1), None without a limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((group / "cpu.cfs_quota_us").read_text())
        return quota_us / int((group / "cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    except (OSError, ValueError):
        return None
