"""What the slots of a worker say, on its way to the master: equal lines once, with a count, and never more than so much.

An analysis that prints gigabytes costs nobody anything: of each slot some bytes a second are looked at, of each worker some
lines a second go to the master. What is beyond is counted by query, but for the last words of a slot, which say most.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from ...protocol.messages import LONGEST_TEXT, MOST_LINES, LogSource, Output, OutputLine, Unkept
from ...protocol.values import LONGEST, MOST
from ..slot_output import Record, Token, plain

SLOT_RATE, SLOT_MOST = 64 * 2**10, 256 * 2**10
"""Bytes a second of a slot that are looked at, and at once."""
RATE, LINES_AT_ONCE = 50.0, MOST_LINES
"""Different lines a second of a query that a worker tells its master, and at once."""
BYTES_RATE, BYTES_AT_ONCE = 16 * 2**10, 256 * 2**10
"""The same in bytes."""
INTERVAL = 1.0
"""Seconds between two messages, unless results go to the master before."""
LAST_WORDS = 2000
"""Bytes that are kept of what came last."""
MOST_QUERIES = 100
"""Whose lines are counted apart in one message, and have an allowance of their own: who says much takes nothing from
others."""


@dataclass(frozen=True, slots=True)
class Where:
    """What a slot was at when it said something."""

    query: str = ""
    path: str = ""
    start: int | None = None
    stop: int | None = None


class Allowance:
    """So much a second, and so much at once after a while without any.

    Example:
        >>> allowance = Allowance(rate=10.0, most=20.0)
        >>> allowance.take(15.0, now=0.0), allowance.take(15.0, now=1.0), allowance.take(15.0, now=2.0)
        (True, True, False)
    """

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._left, self._at = most, float("-inf")

    def left(self, now: float) -> float:
        """What may be taken now."""
        if now > self._at:
            self._left = min(self._most, self._left + self._rate * (now - self._at))
            self._at = now
        return self._left

    def take(self, amount: float, now: float) -> bool:
        """Take so much, if it is there."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True


@dataclass(slots=True)
class _Line:
    line: OutputLine
    first: float
    count: int


@dataclass(slots=True)
class _Flood:
    """What a slot has said beyond what is looked at, since the master was told of it last."""

    where: Where
    source: LogSource
    lines: int = 0
    size: int = 0
    last: bytes = b""

    def add(self, block: bytes) -> None:
        self.lines += block.count(b"\n")
        self.size += len(block)
        self.last = (self.last + block[-LAST_WORDS:])[-LAST_WORDS:]


class Said:
    """What has been said and not been told yet; times are the agent's.

    Attributes:
        echo: the same as text for the worker's own output, with where it goes; whoever writes it empties it.

    Example:
        >>> said = Said()
        >>> for _ in range(3):
        ...     said.add(0, "stdout", Where("q1", "f.root", 0, 10), b"hello\\n", now=1.0)
        >>> [(line.text, line.count, line.slot, line.path) for line in said.take(now=1.5).lines]
        [('hello', 3, 0, 'f.root')]
        >>> said.take(now=1.6) is None
        True
    """

    def __init__(self) -> None:
        self.echo: list[tuple[Literal["stdout", "stderr"], str]] = []
        self._lines: dict[Hashable, _Line] = {}
        self._slots: dict[int | None, Allowance] = {}
        self._floods: dict[tuple[int | None, LogSource, str], _Flood] = {}
        self._unkept: dict[str, Unkept] = {}
        self._queries: dict[str, tuple[Allowance, Allowance]] = {}
        self._last_words = Allowance(BYTES_RATE, BYTES_AT_ONCE)
        self._told = float("-inf")

    @property
    def due(self) -> float:
        """When it is to be told at the latest; infinity while there is nothing."""
        return self._told + INTERVAL if self._lines or self._floods or self._unkept else float("inf")

    def add(self, slot: int | None, source: LogSource, where: Where, token: Token, now: float) -> None:
        """A slot, or None for what belongs to no slot, has said this."""
        if isinstance(token, Record):
            self._add_record(slot, where, token, now)
            return
        allowance = self._slots.setdefault(slot, Allowance(SLOT_RATE, SLOT_MOST))
        left = int(allowance.left(now))
        cut = len(token) if len(token) <= left else token.rfind(b"\n", 0, left) + 1
        allowance.take(cut, now)
        if cut:
            self._add_text(slot, source, where, token[:cut], now)
        if cut < len(token):
            self._flood(slot, source, where).add(token[cut:])

    def note(self, text: str, level: str, now: float) -> None:
        """The worker itself has something to say."""
        self._keep_or_lose(OutputLine("worker", plain(text, LONGEST_TEXT), level=level), now)

    def take(self, now: float) -> Output | None:
        """The message that tells the master of all of it; None when there is nothing."""
        for (slot, source, query), flood in self._floods.items():
            # What came last is cut out of what is not kept; before its first line break may be the end of a line.
            words = flood.last
            if flood.size > len(words):
                words = words.partition(b"\n")[2]
            lines, size = flood.lines - words.count(b"\n"), flood.size - len(words)
            self._lose(query, lines, size)
            self.echo.append(("stderr", f"({lines:,} lines, {size:,} bytes of slot {slot} were too much to keep)"))
            if words:
                spared = self._last_words.take(len(words), now)
                self._add_text(slot, source, flood.where, words, now, spared, last=True)
        self._floods.clear()
        if not (self._lines or self._unkept):
            return None
        lines_told = [
            OutputLine(
                it.line.source, it.line.text, it.line.query, min(MOST, it.count), min(LONGEST, max(0.0, now - it.first)),
                it.line.slot, it.line.path, it.line.start, it.line.stop, it.line.level, it.line.place,
            )
            for it in self._lines.values()
        ]  # fmt: skip
        message = Output(lines_told, list(self._unkept.values()))
        self._lines, self._unkept, self._told = {}, {}, now
        return message

    def forget(self, slot: int) -> None:
        """Another process takes the slot's place."""
        self._slots.pop(slot, None)

    def _add_record(self, slot: int | None, where: Where, record: Record, now: float) -> None:
        level, place = plain(record.level, 1000), plain(record.place, 1000)
        if record.source == "warning":
            self.echo.append(("stderr", f"{place}: {level}: {record.text}"))
        else:
            self.echo.append(("stderr", f"slot {slot} {place} {level} {record.text}"))
            if record.ours and level in ("DEBUG", "INFO"):
                return  # it is for whoever runs the worker
        self._keep_or_lose(_line(slot, record.source, where, plain(record.text, LONGEST_TEXT), level, place), now)

    def _add_text(
        self,
        slot: int | None,
        source: LogSource,
        where: Where,
        block: bytes,
        now: float,
        spared: bool = False,
        last: bool = False,
    ) -> None:
        for text in block.decode(errors="replace").removesuffix("\n").split("\n"):
            self.echo.append(("stdout" if source == "stdout" else "stderr", text[:LONGEST_TEXT]))
            self._lose(where.query, 0, max(0, len(text) - LONGEST_TEXT))
            line = _line(slot, source, where, text.rstrip("\r"))
            if not text.strip() or self._keep(
                line, now, spared
            ):  # an empty line among others that are told once is nothing
                continue
            if last:
                self._lose(where.query, 1, len(text))
            else:
                self._flood(slot, source, where).add(line.text.encode() + b"\n")

    def _keep_or_lose(self, line: OutputLine, now: float) -> None:
        if not self._keep(line, now):
            self._lose(line.query, 1, len(line.text))

    def _flood(self, slot: int | None, source: LogSource, where: Where) -> _Flood:
        flood = self._floods.setdefault((slot, source, where.query), _Flood(where, source))
        flood.where = where
        return flood

    def _keep(self, line: OutputLine, now: float, spared: bool = False) -> bool:
        """Keep a line, if there is room for it, or it is `spared`: room was taken for it elsewhere."""
        key = line.source, line.query, line.text, line.level, line.place
        known = self._lines.get(key)
        if known is not None:
            known.count += 1
            return True
        different, size = self._allowance(line.query)
        room = spared or (different.left(now) >= 1.0 and size.take(len(line.text), now))
        if room and len(self._lines) < MOST_LINES:
            different.take(1.0, now)
            self._lines[key] = _Line(line, now, 1)
            return True
        return False

    def _allowance(self, query: str) -> tuple[Allowance, Allowance]:
        """In lines and in bytes. Of many queries, the one that spoke first begins anew when it speaks again."""
        if query not in self._queries:
            if len(self._queries) >= MOST_QUERIES:
                del self._queries[next(iter(self._queries))]
            self._queries[query] = Allowance(RATE, LINES_AT_ONCE), Allowance(BYTES_RATE, BYTES_AT_ONCE)
        return self._queries[query]

    def _lose(self, query: str, lines: int, size: int) -> None:
        if query not in self._unkept and len(self._unkept) >= MOST_QUERIES:
            query = ""
        was = self._unkept.get(query, Unkept(query))
        if lines or size:
            self._unkept[query] = was.plus(lines, size)


def _line(slot: int | None, source: LogSource, where: Where, text: str, level: str = "", place: str = "") -> OutputLine:
    query = plain(where.query, 1000)
    return OutputLine(
        source, text[:LONGEST_TEXT], query, 1, 0.0, slot, where.path, where.start, where.stop, level, place
    )
