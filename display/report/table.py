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


def costs(facts: Facts, most_slots: int) -> tuple[list[tuple[str, ...]], str]:
    """The lines of all that packets cost: of the query, each slot, site and server; and what is said of slots when they are
    more than so many, and left out."""
    slots = sum(len(info.by_slot) for info in facts.workers)
    shown = [(of, name, *cells(usage)) for of, name, usage in usages(facts) if of != "slot" or slots <= most_slots]
    return shown, f"(and {slots:,} slots: report.rows() has them)" if slots > most_slots else ""
