"""Sizes and times as people and batch systems write them.

Sizes are bytes; K, M, G and T are powers of 1024, as batch systems have them. Times are seconds.
"""

from __future__ import annotations

import re

_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)
_LEAST = 2**20
LONGEST = 1e8
"""Seconds (three years) above which a time is no limit: systems without one name a day in the far future."""
_NUMBER = r"\d+(?:\.\d+)?"


def _of(unit: str, rest: str) -> str:
    """A number of a unit, which may be written in full, or none."""
    return rf"(?:(?P<{unit}>{_NUMBER}) ?{unit}(?:{rest})?)?"


_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<s>{_NUMBER})",
        rf"{_of('d', 'ays?')} ?{_of('h', 'ours?')} ?{_of('m', 'in(?:utes?)?')} ?{_of('s', 'ec(?:onds?)?')}",
        r"(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+)",
        r"(?P<d>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?",
    )
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_size(text: str) -> int:
    """A size as people write it.

    Raises:
        ValueError: it is none, or less than a megabyte, which is a unit forgotten.

    Example:
        >>> parse_size("4G"), parse_size("1.5 GB"), parse_size("400MiB")
        (4294967296, 1610612736, 419430400)
    """
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _BYTES[match[2].upper()]) if match else 0
    if size < _LEAST:
        raise ValueError(f"{text!r} is no amount of memory: write it as 4G or 400M")
    return size


def parse_seconds(text: str) -> float:
    """The seconds that a text means: plain seconds, with units, or as Slurm writes times.

    Raises:
        ValueError: it is no time, or none between nothing and three years.

    Example:
        >>> [parse_seconds(text) for text in ("5400", "1h30m", "90m", "1:30:00", "0-01:30")]
        [5400.0, 5400.0, 5400.0, 5400.0, 5400.0]
        >>> parse_seconds("2-12:00:00"), parse_seconds("20 min")
        (216000.0, 1200.0)
    """
    for form in _FORMS:
        match = form.fullmatch(text.strip())
        if match is not None:
            seconds = sum(float(number) * _SECONDS[unit] for unit, number in match.groupdict().items() if number)
            if 0.0 < seconds <= LONGEST:
                return seconds
    raise ValueError(f"{text!r} is no time: give seconds (5400), units (1h30m, 90m, 2d), or 2-12:00:00 as Slurm does")
