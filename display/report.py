"""What a query cost: CPU time, waiting for data, bytes and requests, for each slot, site and file server."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import Any

from ..protocol.usage import Usage, WorkerInfo

LOCAL = "local files"
UNNAMED = "unnamed"
HEADINGS = ("packets", "entries", "time", "CPU", "waited", "CPU/time", "read", "rate", "requests", "latency")


DEAR, CALL = 0.1, 0.02
"""The part of its time that an analysis takes for calls whatever their entries, and the seconds of a call, from which on
that is said."""


class Report(list[WorkerInfo]):
    """What each worker of a query did. A list of them, with the sums that one asks for.

    Printed, or as the last line of a notebook's cell, it is a table. `time` is that in which a slot had a packet in hand,
    from opening its file to its end; `waited` the part of it in which there was nothing to compute, because data had not
    come; `CPU/time` is the CPU efficiency, above 100 % where a slot reads ahead on a second core.

    Example:
        >>> usage = Usage(packets=2, entries=1000, elapsed=2.0, cpu=1.5, waited=0.5, bytes_read=10**6, requests=4)
        >>> info = WorkerInfo("w", "node1.cern.ch", 1, 1, 0, 2, 1000, 2.0, "cern.ch", {0: usage}, {"eos.cern.ch": usage})
        >>> report = Report([info])
        >>> report.total.efficiency, report.sites["cern.ch"].waited, list(report.servers)
        (0.75, 0.5, ['eos.cern.ch'])
    """

    @property
    def total(self) -> Usage:
        """All of the query."""
        return _summed(usage for info in self for usage in info.by_slot.values())

    @property
    def slots(self) -> dict[str, Usage]:
        """By slot, named after its worker and its number there."""
        return {f"{info.worker}/{slot}": usage for info in self for slot, usage in sorted(info.by_slot.items())}

    @property
    def sites(self) -> dict[str, Usage]:
        """By the site of the worker."""
        return _grouped((info.site or UNNAMED, usage) for info in self for usage in info.by_slot.values())

    @property
    def servers(self) -> dict[str, Usage]:
        """By the file server that was read from."""
        return _grouped((server or LOCAL, usage) for info in self for server, usage in info.by_server.items())

    @property
    def note(self) -> str:
        """That the analysis is dear by the call, and what to do about it; empty where it is not."""
        total = self.total
        if not total.calls or total.fixed < max(DEAR * total.elapsed, CALL * total.calls):
            return ""
        return (
            f"Each of {total.calls:,} calls of the analysis took about {total.fixed / total.calls:.2g} s whatever its"
            f" entries, {total.fixed / total.elapsed:.0%} of the time: make once what every call makes anew, or"
            f" have fewer calls with larger files or chunk="
        )

    def rows(self) -> list[dict[str, Any]]:
        """The table for programs: `of` ("query", "slot", "site" or "server"), `name`, and the fields of `Usage`, with
        `efficiency` and `rate`. Seconds, bytes, bytes a second.

        Example:
            >>> import pandas                                                                  # doctest: +SKIP
            >>> pandas.DataFrame(query.report().rows())                                        # doctest: +SKIP
        """
        return [
            {"of": of, "name": name}
            | {field: getattr(usage, field) for field in (*usage.__struct_fields__, "efficiency", "rate")}
            for of, name, usage in self._usages()
        ]

    def __repr__(self) -> str:
        rows = [("", "", *HEADINGS), *((of, name, *_cells(usage)) for of, name, usage in self._usages())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.note] if self.note else lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{heading}</th>" for heading in ("", "", *HEADINGS))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (of, name, *_cells(usage))) + "</tr>"
            for of, name, usage in self._usages()
        )
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def _usages(self) -> Iterator[tuple[str, str, Usage]]:
        yield "query", "", self.total
        for of, usages in (("slot", self.slots), ("site", self.sites), ("server", self.servers)):
            for name, usage in usages.items():
                yield of, name, usage


def _summed(usages: Iterable[Usage]) -> Usage:
    return sum(usages, start=Usage())


def _grouped(usages: Iterable[tuple[str, Usage]]) -> dict[str, Usage]:
    found: dict[str, Usage] = {}
    for name, usage in usages:
        found[name] = found.get(name, Usage()) + usage
    return found


def _cells(usage: Usage) -> tuple[str, ...]:
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
