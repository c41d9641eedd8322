"""Where a query stands: what progress lines, notebooks, pages and terminals show of it, all of them the same numbers."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..protocol.messages import FINAL, Account, Progress, State
from .credentials import ending
from .waits import doing, waiting

RECENT_SECONDS = 3.0
"""The rate is that of so many last seconds, because the first ones go into compiling and opening files."""
SHORTEST_SECONDS = 1.0
"""It takes so many to say a rate: what is done within moments of the first entries says nothing of the others."""
MOST_SAMPLES = 512
"""Of a query's past: when there are more, every second one is forgotten."""


class Merged(Protocol):
    """What is merged of a query: what of it is shown."""

    @property
    def account(self) -> Account:
        """What became of the entries so far."""

    @property
    def seconds(self) -> float:
        """Since the query began."""

    @property
    def state(self) -> State:
        """Of the query."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment in a query's past: seconds since it began, entries reached, bytes read, slots at work on it."""

    seconds: float
    reached: int = 0
    bytes_read: int = 0
    slots: int = 0


@dataclass(frozen=True)
class QueryView:
    """Where a query stands.

    Attributes:
        name: what it is called.
        state: of the query.
        account: what became of its entries.
        seconds: since it began.
        heard: whether the master has said anything of it yet.
        reached: entries that are processed, committed or not; at the end those in the result.
        rate, bytes_rate: entries and bytes a second of late, at the end those of all its time; 0 when nobody knows.
        bytes_read: from files, compressed as they are.
        slots, workers: at work on it.
        sites: how many of these slots are where, the site with the most first.
        wait: what all of it waits for, in words; empty when it does not.
        doing: what its slots begin with, or which server some of them wait for, in words.
        credentials: that they end soon, or are not renewed, in words; empty when there is nothing to worry about.
        lines, warnings: that its analysis has said so far, and how many of them are warnings.
        past: samples of its past, the oldest first.
    """

    name: str
    state: State = "running"
    account: Account = field(default_factory=Account)
    seconds: float = 0.0
    heard: bool = False
    reached: int = 0
    rate: float = 0.0
    bytes_rate: float = 0.0
    bytes_read: int = 0
    slots: int = 0
    workers: int = 0
    sites: Mapping[str, int] = field(default_factory=dict)
    wait: str = ""
    doing: str = ""
    credentials: str = ""
    lines: int = 0
    warnings: int = 0
    past: tuple[Sample, ...] = ()

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self.state in FINAL

    @property
    def fraction(self) -> float | None:
        """Of its entries that are processed, 0 to 1; None while nobody knows how many there are."""
        total = self.account.total
        if self.final:
            return self.account.processed / total if total else 1.0 if self.state == "done" else None
        return self.reached / total if total else None

    @property
    def seconds_left(self) -> float | None:
        """At the rate of late; None while it is not known, and at the end."""
        if self.final or not self.rate:
            return None
        return (self.account.total - self.reached) / self.rate


class QueryHistory:
    """What a session has heard of a query: a bounded past, and where it stands.

    It is pure: the times are those of the master, which its messages have.

    Args:
        name: what the query is called.
        starts_workers: whether its workers start by themselves, so that nobody is told to start some.

    Example:
        >>> history = QueryHistory("MET")
        >>> for second in range(1, 5):
        ...     account = Account(total=1000, files=1, files_opened=1)
        ...     history.heard(Progress("q1", account, 100 * second, 0, 2, 1, float(second)))
        >>> view = history.view()
        >>> view.fraction, view.rate, view.seconds_left
        (0.4, 100.0, 6.0)
    """

    def __init__(self, name: str, starts_workers: bool = False) -> None:
        self._starts_workers = starts_workers
        self._recent: deque[Sample] = deque()
        self._past: list[Sample] = []
        self._latest = Sample(0.0)
        self._heard, self._every = 0, 1
        self._view = QueryView(name)

    def heard(self, report: Progress) -> None:
        """Take in what the master says of the query, while it runs."""
        reached = min(report.reached, report.account.total)
        sample = Sample(report.seconds, reached, report.bytes_read, report.slots)
        self._keep(sample)
        rate, bytes_rate = self._rates(sample)
        self._view = dataclasses.replace(
            self._view,
            account=report.account,
            seconds=report.seconds,
            heard=True,
            reached=reached,
            rate=rate,
            bytes_rate=bytes_rate,
            bytes_read=report.bytes_read,
            slots=report.slots,
            workers=report.workers,
            sites=report.sites,
            wait=waiting(report, self._starts_workers),
            doing=doing(report),
            credentials=ending(report.credentials),
            lines=report.lines,
            warnings=report.warnings,
        )

    def ended(self, result: Merged, bytes_read: int | None = None) -> None:
        """The query is over, and has read so many bytes; where nobody tells, those that were heard of last."""
        account, seconds = result.account, result.seconds
        bytes_read = self._view.bytes_read if bytes_read is None else bytes_read
        self._keep(Sample(seconds, account.processed, bytes_read))
        self._view = dataclasses.replace(
            self._view,
            state=result.state,
            account=account,
            seconds=seconds,
            heard=True,
            reached=account.processed,
            rate=account.processed / seconds if seconds else 0.0,
            bytes_rate=bytes_read / seconds if seconds else 0.0,
            bytes_read=bytes_read,
            slots=0,
            workers=0,
            sites={},
            wait="",
            doing="",
            credentials="",
        )

    def view(self) -> QueryView:
        """Where the query stands."""
        last = [self._latest] if self._past and self._past[-1] != self._latest else []
        return dataclasses.replace(self._view, past=(*self._past, *last))

    def _keep(self, sample: Sample) -> None:
        """Keep every so many-th sample of the past, and the latest one."""
        if self._heard % self._every == 0:
            self._past.append(sample)
            if len(self._past) == MOST_SAMPLES:
                del self._past[1::2]
                self._every *= 2
        self._heard += 1
        self._latest = sample

    def _rates(self, now: Sample) -> tuple[float, float]:
        """Entries and bytes a second, of late; those before the first entries are not counted."""
        if now.reached and (not self._recent or now.seconds > self._recent[-1].seconds):
            self._recent.append(now)
        while len(self._recent) > 2 and self._recent[1].seconds < now.seconds - RECENT_SECONDS:
            self._recent.popleft()
        if not self._recent:
            return 0.0, 0.0
        first, last = self._recent[0], self._recent[-1]
        span = last.seconds - first.seconds
        if span < SHORTEST_SECONDS:
            return 0.0, 0.0
        return max(0, last.reached - first.reached) / span, max(0, last.bytes_read - first.bytes_read) / span
