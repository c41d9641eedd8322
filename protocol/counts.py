"""What a partial result counts, compared with the entries that it is said to hold.

Each partial result counts the entries in it where the analysis' return value is added, and is added up with that number. A
slot compares it with each packet, its agent with what is handed over, the master's ledger with each commit, and master and
session with the account at the end. A difference means that the value lacks entries or has some twice. Nobody can tell
which: it fails the query, also one that skips errors.
"""

from __future__ import annotations

from collections.abc import Sequence

FAULT = "no result is given, since it would be wrong: this is a fault of eventmill's, please report it with these lines"
_NAMED = 5


def miscount(counted: int, parts: Sequence[tuple[int, int, int]], skipped: int) -> str:
    """What is wrong with a partial result of these parts, `(lease, start, stop)`; empty if it counts their entries.

    Args:
        counted: entries that it counts.
        skipped: entries of the parts that are not in it.

    Example:
        >>> miscount(90, [(7, 0, 100)], skipped=10)
        ''
        >>> miscount(80, [(7, 0, 100)], skipped=10).partition(":")[0]
        'a partial result counts 80 entries, where lease 7 [0, 100) without 10 that were skipped makes 90'
    """
    entries = sum(stop - start for _, start, stop in parts) - skipped
    if counted == entries:
        return ""
    named = ", ".join(f"{lease} [{start}, {stop})" for lease, start, stop in parts[:_NAMED])
    named += f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    without = f" without {skipped:,} that were skipped" if skipped else ""
    leases = f"lease {named}{without} makes" if len(parts) == 1 else f"leases {named}{without} make"
    return f"a partial result counts {counted:,} entries, where {leases} {entries:,}: {FAULT}"


def miscounted_total(counted: int, processed: int) -> str:
    """What is wrong with a total of which the ledger says that so many entries were processed; empty if it counts them.

    Example:
        >>> miscounted_total(5, 5), miscounted_total(4, 5).partition(":")[0]
        ('', 'the result counts 4 entries, where the ledger has 5 as processed')
    """
    if counted == processed:
        return ""
    return f"the result counts {counted:,} entries, where the ledger has {processed:,} as processed: {FAULT}"
