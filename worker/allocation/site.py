"""Where a worker runs: as its user says it, and as the pilots of the grid tell it."""

from __future__ import annotations

VARIABLES = ("EVENTMILL_SITE", "GLIDEIN_CMSSite", "OSG_SITE_NAME", "GLIDEIN_Site")
"""Of the environment: the first one that is set counts. The others but ours are set by the pilots of CMS and OSG."""
LONGEST = 100


def parse_site(text: str) -> str:
    """The name of a site, as it can be shown.

    Raises:
        ValueError: it is too long, or has what cannot be shown in a line.

    Example:
        >>> parse_site(" T2_DE_DESY ")
        'T2_DE_DESY'
    """
    name = text.strip()
    if len(name) > LONGEST or not name.isprintable():
        raise ValueError(f"{text[:LONGEST]!r} names no site: it must be one line of {LONGEST} characters at most")
    return name
