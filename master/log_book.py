"""What user code and workers have said, as far as the master keeps it: so much a query, so much of what belongs to none.

What is said again is kept once, with a count; what was not said for longest makes room. All bounds are here, and all that is
not kept is counted, so that kept lines and those that are not add up to what was said.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from ..protocol.addresses import shown
from ..protocol.messages import LONGEST_TEXT, Failure, LogEntry, OutputLine, Unkept
from ..protocol.values import LONGEST, MOST

MOST_LINES, MOST_BYTES = 1000, 256 * 2**10
"""Of one query; as many belong to none."""
MOST_OF_ALL = 64 * 2**20
"""Bytes of all of them: the query that nothing was said for for longest makes room."""
MOST_WORKERS = 64
"""That are named with a line; others only add to its count."""
IN_ONE_ANSWER = 500
OF_A_LINE = 200
"""Bytes that a line takes beside its text."""
OF_USERS = frozenset({"stdout", "stderr", "warning", "logging"})
"""Sources of what an analysis says."""


@dataclass(slots=True)
class _Kept:
    """A line; `number` is when it came first, `changed` when it came last, in the book's counting."""

    number: int
    changed: int
    line: OutputLine
    count: int
    first: float
    last: float
    workers: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return OF_A_LINE + len(self.line.text) + len(self.line.path)

    def entry(self, now: float) -> LogEntry:
        line = msgspec.structs.replace(self.line, count=self.count, ago=_seconds(now - self.first))
        return LogEntry(self.number, line, _seconds(now - self.last), dict(self.workers))


@dataclass(slots=True)
class _Ring:
    """The lines of one query, or of none: by what makes them equal, the one that was not said for longest first."""

    lines: OrderedDict[Hashable, _Kept] = field(default_factory=OrderedDict)
    size: int = 0
    unkept: Unkept = field(default_factory=Unkept)

    def drop_oldest(self) -> int:
        """Drop the line that was not said for longest; the bytes that this gives back."""
        _, kept = self.lines.popitem(last=False)
        self.size -= kept.size
        self.lose(kept.count, kept.count * len(kept.line.text))
        return kept.size

    def lose(self, lines: int, size: int) -> None:
        self.unkept = self.unkept.plus(lines, size)

    def since(self, changed: int) -> Iterator[_Kept]:
        """Those that came or came again after that, the latest first."""
        return itertools.takewhile(lambda kept: kept.changed > changed, reversed(self.lines.values()))


class LogBook:
    """What was said; times are the core's `now`.

    Args:
        tag: goes into cursors, so that those of an earlier master are told from its own.

    Example:
        >>> book = LogBook()
        >>> for _ in range(3):
        ...     book.add(OutputLine("stdout", "hello", "q1"), "worker-1", now=5.0)
        >>> entries, cursor, more = book.since("q1", "", now=7.0)
        >>> [(it.line.text, it.line.count, it.line.ago, it.workers) for it in entries]
        [('hello', 3, 2.0, {'worker-1': 3})]
        >>> book.since("q1", cursor, now=8.0)[0]
        []
    """

    def __init__(self, tag: str = "") -> None:
        self._tag = tag
        self._numbers = itertools.count(1)
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._size = 0

    def add(self, line: OutputLine, worker: str, now: float, equal: Hashable = None) -> None:
        """Keep a line that a worker has said, for the query that it names, or for none.

        Args:
            equal: what makes it equal to others; by default its source and text, of a warning its line of code.
        """
        ring = self._ring(line.query)
        if equal is None:
            equal = line.source, line.text, line.level, line.place
        number = next(self._numbers)
        kept = ring.lines.get(equal)
        if kept is None:
            line = msgspec.structs.replace(line, text=line.text[:LONGEST_TEXT], path=shown(line.path))
            kept = ring.lines[equal] = _Kept(number, number, line, line.count, now - line.ago, now)
            ring.size += kept.size
            self._size += kept.size
        else:
            kept.changed, kept.last = number, now
            kept.count = min(MOST, kept.count + line.count)
            ring.lines.move_to_end(equal)
        if worker and (worker in kept.workers or len(kept.workers) < MOST_WORKERS):
            kept.workers[worker] = min(MOST, kept.workers.get(worker, 0) + line.count)
        self._trim(ring)

    def add_failure(self, query: str, failure: Failure, now: float) -> None:
        """Keep an error of an analysis: of each kind, raised by the same line of code, the first in full."""
        lines = failure.traceback.rstrip().splitlines()
        raised_by = next((line.strip() for line in reversed(lines) if line.lstrip().startswith("File ")), "")
        text = "\n".join(filter(None, [f"{failure.error}: {failure.message}"[: LONGEST_TEXT // 2], failure.notes]))
        above = failure.traceback.rstrip()[-(LONGEST_TEXT - min(len(text), LONGEST_TEXT // 2)) + 1 :]
        line = OutputLine(
            "error", f"{above}\n{text}".lstrip("\n")[:LONGEST_TEXT], query, path=failure.path, start=failure.start,
            stop=failure.stop, level=failure.error, place=raised_by[:1000],
        )  # fmt: skip
        self.add(line, failure.worker, now, equal=("error", failure.kind, failure.error, raised_by))

    def lose(self, query: str, lines: int, size: int) -> None:
        """Count what was said for a query and did not come this far."""
        self._ring(query).lose(lines, size)

    def since(self, query: str, cursor: str, now: float) -> tuple[list[LogEntry], str, bool]:
        """What is new, or was said again.

        Args:
            query: the query; "" for all that there is.
            cursor: of an earlier answer; "" for everything.

        Returns:
            The entries, as they were said last, with the cursor for those that follow, and whether there are some already.
        """
        seen = self._seen(cursor)
        found = [kept for ring in self._asked(query) for kept in ring.since(seen)]
        next_ones = heapq.nsmallest(IN_ONE_ANSWER, found, key=lambda kept: kept.changed)
        last = next_ones[-1].changed if next_ones else seen
        return [kept.entry(now) for kept in next_ones], f"{self._tag}{last}", len(next_ones) < len(found)

    def unkept(self, query: str) -> Unkept:
        """What was said for a query, or ("") by all, and is not here."""
        rings = [ring.unkept for ring in self._asked(query)]
        return Unkept(query).plus(sum(it.lines for it in rings), sum(it.size for it in rings))

    def forget(self, query: str) -> None:
        """Nobody will ask for this query any more."""
        ring = self._rings.pop(query, None)
        self._size -= ring.size if ring is not None else 0

    def _asked(self, query: str) -> Iterable[_Ring]:
        return self._rings.values() if not query else filter(None, [self._rings.get(query)])

    def _seen(self, cursor: str) -> int:
        number = cursor.removeprefix(self._tag)
        return int(number) if cursor.startswith(self._tag) and number.isdecimal() and len(number) < 20 else 0

    def _ring(self, query: str) -> _Ring:
        ring = self._rings.setdefault(query, _Ring())
        self._rings.move_to_end(query)
        return ring

    def _trim(self, latest: _Ring) -> None:
        while len(latest.lines) > MOST_LINES or latest.size > MOST_BYTES:
            self._size -= latest.drop_oldest()
        for ring in self._rings.values():
            while ring.lines and self._size > MOST_OF_ALL:
                self._size -= ring.drop_oldest()
            if self._size <= MOST_OF_ALL:
                return


def said_by_users(lines: Iterable[OutputLine]) -> int:
    """How many lines of an analysis are among these."""
    return sum(line.count for line in lines if line.source in OF_USERS)


def _seconds(seconds: float) -> float:
    return min(LONGEST, max(0.0, seconds))
