"""How long a process may run, as the batch system tells it."""

from __future__ import annotations

from collections.abc import Mapping

from ...system.quantities import LONGEST


def time_left(environment: Mapping[str, str], now: float) -> float | None:
    """Seconds until the batch system ends the job that this process is in; None where its environment does not tell.

    Slurm tells it by SLURM_JOB_END_TIME (older ones, such as 22.05, do not); HTCondor tells nothing.

    Args:
        environment: of this process.
        now: Unix time.

    Example:
        >>> time_left({"SLURM_JOB_END_TIME": "1700003600"}, now=1_700_000_000.0)
        3600.0
    """
    try:
        left = float(environment.get("SLURM_JOB_END_TIME", "")) - now
    except ValueError:
        return None
    return left if left <= LONGEST else None
