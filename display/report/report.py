"""The report of a query that is over: what each worker did, what that cost, and what held the query back."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...protocol.errors import EventmillError
from ...protocol.messages import Account, LaunchInfo, State, WishInfo
from ...protocol.usage import Course, Usage, WorkerInfo
from ..tables import text_table
from ..wishes import course_line
from .facts import Cause, Facts, Spread, spread, times, usages
from .findings import Finding, dear_calls, findings
from .page import fragment, page
from .starts import WORDS, start_table
from .table import HEADINGS, costs
from .words import headline, help_for, packets_line, time_line, verdict, what

WIDTH = 120
"""Characters of a line of the sentences."""
MOST_SLOTS = 40
"""Slots that get a line of the printed table."""


class Report(list[WorkerInfo]):
    """What each worker of a query did. A list of them, with the sums that one asks for, and what held the query back.

    Printed, it begins with words: what the query did, and what held it back with the seconds that it cost. In a notebook,
    and in the file that `html` writes, there are pictures, too. In the table, `time` is that in which a slot had a packet
    in hand, from opening its file to its end; `waited` the part of it in which there was nothing to compute, because data
    had not come; `CPU/time` is the CPU efficiency, above 100 % where a slot reads ahead on a second core.

    Attributes:
        facts: all that is known of the query.

    Example:
        >>> usage = Usage(packets=2, entries=1000, elapsed=2.0, cpu=1.5, waited=0.5, bytes_read=10**6, requests=4)
        >>> info = WorkerInfo("w", "node1.cern.ch", 1, 1, 0, 2, 1000, 2.0, "cern.ch", {0: usage}, {"eos.cern.ch": usage})
        >>> report = Report([info])
        >>> report.total.efficiency, report.sites["cern.ch"].waited, list(report.servers)
        (0.75, 0.5, ['eos.cern.ch'])
    """

    def __init__(
        self,
        workers: Iterable[WorkerInfo] = (),
        *,
        seconds: float = 0.0,
        course: Course | None = None,
        account: Account | None = None,
        name: str = "",
        state: State = "done",
        starts: Mapping[str, Sequence[LaunchInfo]] | None = None,
    ) -> None:
        super().__init__(workers)
        self.facts = Facts(tuple(self), seconds, course or Course(), account, name, state, starts or {})

    def follow(self, wish: WishInfo | None) -> None:
        """What became of the wish that the pools follow which its workers came from."""
        self.facts = replace(self.facts, wish=wish)

    # --- numbers --------------------------------------------------------------------------------------------------

    @property
    def total(self) -> Usage:
        """All of the query."""
        return self.facts.total

    @property
    def slots(self) -> dict[str, Usage]:
        """By slot, named after its worker and its number there."""
        return self._sums("slot")

    @property
    def sites(self) -> dict[str, Usage]:
        """By the site of the worker."""
        return self._sums("site")

    @property
    def servers(self) -> dict[str, Usage]:
        """By the file server that was read from."""
        return self._sums("server")

    @property
    def times(self) -> dict[Cause, float]:
        """What the slots' time went into, in slot seconds; where no more is known, that with packets in hand only."""
        return times(self.facts)

    @property
    def spread(self) -> Spread | None:
        """When the first slot had no more to do, and the last one; None where that is not known."""
        return spread(self.facts)

    @property
    def findings(self) -> list[Finding]:
        """What held the query back, the worst first: kinds, seconds and names, for programs."""
        return findings(self.facts)

    @property
    def note(self) -> str:
        """That the analysis is dear by the call, and what to do about it; empty where it is not."""
        dear = dear_calls(self.total)
        return "" if dear is None else f"{what(dear)} {help_for(dear)}"

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
            for of, name, usage in usages(self.facts)
        ]

    def frames(self) -> dict[str, Any]:
        """All of it as data frames of pandas, by name: "costs" (as `rows`), "workers", "times", "findings" and "course".

        Raises:
            EventmillError: pandas is not installed.

        Example:
            >>> query.report().frames()["workers"].groupby("site").entries.sum()                # doctest: +SKIP
        """
        try:
            frame = importlib.import_module("pandas").DataFrame
        except ModuleNotFoundError:
            raise EventmillError("data frames take pandas: pip install pandas; report.rows() does without") from None
        fields = ("worker", "host", "site", "slots", "packets", "entries", "processed", "joined", "left")
        workers = [{field: getattr(info, field) for field in fields} for info in self]
        for row, info in zip(workers, self, strict=True):
            row["ended"] = max((end for _, end in info.spans.values()), default=None)
        course = self.facts.course
        return {
            "costs": frame(self.rows()),
            "workers": frame(workers, columns=[*fields, "ended"]),
            "times": frame({"cause": list(self.times), "seconds": list(self.times.values())}),
            "findings": frame([{**asdict(it), "what": what(it), "help": help_for(it)} for it in self.findings]),
            "course": frame(
                {
                    "seconds": [at * course.step for at in range(len(course.busy))],
                    "slots": [busy / course.step for busy in course.busy],
                    "waiting": [waited / course.step for waited in course.waited],
                    "entries": course.entries,
                }
            ),
        }

    # --- words, tables, pictures ----------------------------------------------------------------------------------

    def html(self, path: str | Path) -> Path:
        """Write it as one file that needs nothing else, with pictures if matplotlib is there (extra `plot`).

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> query.report().html("report.html")                                              # doctest: +SKIP
            PosixPath('report.html')
        """
        path = Path(path)
        path.write_text(page(self.facts), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        lines, left_out = costs(self.facts, MOST_SLOTS)
        table = text_table(["", "", *HEADINGS], lines, words=2)
        found = self.findings
        said = [headline(self.facts), verdict(self.facts, found)]
        words = [_filled(text) for text in said if text]
        words += [_filled(f"{what(it)} {help_for(it)}", f"{it.seconds:>8.1f} s  ") for it in found]
        words += [_filled(line) for line in (time_line(self.facts), packets_line(self.facts)) if line]
        note = [self.note] if self.note and not self.facts.seconds else []
        started = ["", WORDS, text_table(*start_table(self.facts.starts), words=1)] if self.facts.starts else []
        started += ["", course_line(self.facts.wish)] if self.facts.wish is not None else []
        return "\n".join([*words, *([""] if words else []), table, *([left_out] if left_out else []), *note, *started])

    def _repr_html_(self) -> str:
        return fragment(self.facts)

    def _sums(self, of: str) -> dict[str, Usage]:
        return {name: usage for kind, name, usage in usages(self.facts) if kind == of}


def _filled(text: str, first: str = "") -> str:
    """A text in lines, the others as far in as the first; names are not broken."""
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
