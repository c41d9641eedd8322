"""What packets cost, in lines of a table."""

from __future__ import annotations

from ...protocol.usage import Usage
from .facts import Facts, usages

HEADINGS = ("packets", "entries", "time", "CPU", "waited", "CPU/time", "read", "rate", "requests", "latency")


def cells(usage: Usage) -> tuple[str, ...]:
    """A line of the table, under its `HEADINGS`."""
    return (
        f"{usage.packets:,}",
        f"{usage.entries:,}",
        f"{usage.elapsed:.1f} s",
        f"{usage.cpu:.1f} s",
        f"{usage.waited:.1f} s",
        f"{usage.efficiency:.0%}",
        f"{usage.bytes_read / 1e6:,.1f} MB",
        f"{usage.rate / 1e6:,.1f} MB/s",
        f"{usage.requests:,}",
        f"{usage.latency * 1e3:.1f} ms" if usage.latency else "",
    )


def costs(facts: Facts) -> list[tuple[str, ...]]:
    """The lines of all that packets cost: of the query, each slot, site and server."""
    return [(of, name, *cells(usage)) for of, name, usage in usages(facts)]
