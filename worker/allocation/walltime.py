"""How long a process may run: as people write it, and as the batch system tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 1e8
"""Seconds (three years) above which a time is no limit: systems without one name a day in the far future."""
_NUMBER = r"\d+(?:\.\d+)?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<s>{_NUMBER})",
        rf"(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?",
        r"(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+)",
        r"(?P<d>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?",
    )
)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_seconds(text: str) -> float:
    """The seconds that a text means: plain seconds, with units, or as Slurm writes times.

    Raises:
        ValueError: it is no time, or none between nothing and three years.

    Example:
        >>> [parse_seconds(text) for text in ("5400", "1h30m", "90m", "1:30:00", "0-01:30")]
        [5400.0, 5400.0, 5400.0, 5400.0, 5400.0]
        >>> parse_seconds("2-12:00:00")
        216000.0
    """
    for form in _FORMS:
        match = form.fullmatch(text.strip())
        if match is not None:
            seconds = sum(float(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number)
            if 0.0 < seconds <= LONGEST:
                return seconds
    raise ValueError(f"{text!r} is no time: give seconds (5400), units (1h30m, 90m, 2d), or 2-12:00:00 as Slurm does")


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
