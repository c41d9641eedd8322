"""What user code and workers have said, as it is shown: in a terminal, in a notebook, and as JSON."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, overload

from ..protocol.messages import LogEntry, LogSource, Unkept

MOST_KEPT = 5000
"""Lines that a follower keeps; of those, the ones that were not said for longest make room."""
_PLACED = ("error", "warning")
"""Sources whose lines say where in the data they were said: prints rather say that themselves."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something that was said, `count` times by now.

    Attributes:
        text: what was said; a warning, a log record or an error may have several lines.
        source: where it comes from: "stdout", "stderr", "warning", "logging", "error", or "worker" for what the worker
            itself has to say.
        time, last: when it was said first, and last; of this machine's clock.
        count: how often equal lines were said.
        worker, slot: who said it first; None and "" where it is not known. `workers` says how often each of 64 did.
        query: the number of the query that it was said for; "" when for none.
        file, start, stop: what was at work then: entries `[start, stop)` of a file, as far as that is known.
        level: of a log record, as "INFO"; the category of a warning, the type of an error.
        place: the line of code that a warning or an error is from, the logger of a record.
        number: stays the same when the line is said again.

    Example:
        >>> line = query.logs()[0]                                                                  # doctest: +SKIP
        >>> line.text, line.worker, line.slot                                                       # doctest: +SKIP
        ('hello', 'local-2', 0)
    """

    text: str
    source: LogSource
    time: datetime
    last: datetime
    count: int = 1
    worker: str = ""
    slot: int | None = None
    query: str = ""
    file: str = ""
    start: int | None = None
    stop: int | None = None
    level: str = ""
    place: str = ""
    number: int = 0
    workers: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, entry: LogEntry, now: datetime) -> LogLine:
        """A line as it has just come from the master."""
        line = entry.line
        return cls(
            text=line.text,
            source=line.source,
            time=now - timedelta(seconds=line.ago),
            last=now - timedelta(seconds=entry.last),
            count=line.count,
            worker=next(iter(entry.workers), ""),
            slot=line.slot,
            query=line.query,
            file=line.path,
            start=line.start,
            stop=line.stop,
            level=line.level,
            place=line.place,
            number=entry.number,
            workers=tuple(entry.workers.items()),
        )

    @property
    def said_by(self) -> str:
        """Who said it: "node7-2:0" is slot 0 of that worker."""
        if len(self.workers) > 1:
            return f"{self.worker} and {len(self.workers) - 1} more"
        return self.worker + ("" if self.slot is None else f":{self.slot}")

    @property
    def words(self) -> str:
        """What was said, with the kind of it in front where it is no plain line, and how often."""
        kind = {"warning": self.level, "logging": f"{self.level} {self.place}".strip(), "worker": self.level}
        before = kind.get(self.source, "")
        text = shown(f"{before}: {self.text}" if before else self.text)
        where = f" ({shown(self.place)})" if self.source == "warning" and self.place else ""
        times = f" [{self.count:,} times]" if self.count > 1 else ""
        first, line_break, rest = text.partition("\n")
        return f"{first}{where}{times}{line_break}{rest}"

    @property
    def where(self) -> str:
        """In what data; empty when nobody knows, or it says so little that it is not worth a line."""
        if self.source not in _PLACED or not self.file:
            return ""
        entries = (
            f", entries {self.start:,} to {self.stop:,}" if self.start is not None and self.stop is not None else ""
        )
        if self.start is not None and self.stop == self.start + 1:
            entries = f", entry {self.start:,}"
        return f"in {shown(self.file)}{entries}"

    def as_json(self) -> dict[str, Any]:
        """For machines: what `eventmill logs --json` writes, a line each."""
        return {
            "number": self.number,
            "time": self.time.isoformat(timespec="milliseconds"),
            "last": self.last.isoformat(timespec="milliseconds"),
            "count": self.count,
            "source": self.source,
            "level": self.level,
            "worker": self.worker,
            "workers": dict(self.workers),
            "slot": self.slot,
            "query": self.query,
            "file": self.file,
            "start": self.start,
            "stop": self.stop,
            "place": self.place,
            "text": self.text,
        }

    def __str__(self) -> str:
        """As text: when, who, what."""
        begin = f"{self.time:%H:%M:%S} {self.said_by or '-'}  "
        lines = [*self.words.split("\n"), *([self.where] if self.where else [])]
        return f"\n{' ' * len('hh:mm:ss ')}".join([begin + lines[0], *lines[1:]])


class Logs(Sequence[LogLine]):
    """Lines in the order in which they were said first. Shows itself as text, and in a notebook as a table.

    Args:
        lines: in any order.
        unkept: what was said and is not here, since it was too much.
        cursor: for whoever asks the master for what comes next.

    Example:
        >>> from datetime import datetime
        >>> at = datetime(2026, 1, 1, 12, 0, 0)
        >>> logs = Logs([LogLine("hello", "stdout", at, at, count=3, worker="node7-2", slot=0)])
        >>> logs
        12:00:00 node7-2:0  hello [3 times]
        >>> logs.selected(grep="bye")
        (nothing was said)
    """

    def __init__(self, lines: Sequence[LogLine] = (), unkept: Unkept | None = None, cursor: str = "") -> None:
        self._lines = sorted(lines, key=lambda line: line.number)
        self.unkept = unkept or Unkept()
        self.cursor = cursor

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> Logs: ...
    def __getitem__(self, index: int | slice) -> LogLine | Logs:
        if isinstance(index, slice):
            return Logs(self._lines[index], self.unkept, self.cursor)
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Logs) and (self._lines, self.unkept) == (other._lines, other.unkept)

    __hash__ = None  # type: ignore[assignment]

    def selected(self, worker: str | None = None, grep: str | None = None, tail: int | None = None) -> Logs:
        """Some of them.

        Args:
            worker: those that this worker has said; also the beginning of its name, as "node7".
            grep: those in which this regular expression is found.
            tail: so many of them, those that were said last.

        Raises:
            ValueError: `grep` is no regular expression, or `tail` is negative.
        """
        lines = self._lines
        if worker is not None:
            lines = [line for line in lines if any(_is_of(name, worker) for name, _ in line.workers)]
        if grep is not None:
            pattern = compiled(grep)
            lines = [line for line in lines if pattern.search(line.text) or pattern.search(line.words)]
        if tail is not None:
            if tail < 0:
                raise ValueError(f"tail={tail}: it must be 0 or more")
            lines = sorted(lines, key=lambda line: line.last)[len(lines) - min(tail, len(lines)) :]
        return Logs(lines, self.unkept, self.cursor)

    def updated(self, news: Logs) -> Logs:
        """With what came later: new lines, and those that were said again."""
        lines = {line.number: line for line in (*self, *news)}
        if len(lines) > MOST_KEPT:
            kept = sorted(lines.values(), key=lambda line: line.last)[-MOST_KEPT:]
            return Logs(kept, news.unkept, news.cursor)
        return Logs(list(lines.values()), news.unkept, news.cursor)

    def __repr__(self) -> str:
        lines = [str(line) for line in self]
        if self.unkept.lines or self.unkept.size:
            lines.append(f"({self.too_much})")
        return "\n".join(lines) or "(nothing was said)"

    def _repr_html_(self) -> str:
        rows = "".join(_row(line) for line in self)
        note = f"<p>{self.too_much}</p>" if self.unkept.lines or self.unkept.size else ""
        if not rows and not note:
            return "<p>(nothing was said)</p>"
        return f'<table style="text-align:left">{rows}</table>{note}'

    @property
    def too_much(self) -> str:
        """What was said and is not here, in words."""
        return f"{self.unkept.lines:,} more lines, {self.unkept.size / 1e6:,.1f} MB, were too much to keep"


def shown(text: str) -> str:
    """A text as it may be shown: characters that steer a terminal, or the order of others, stand for themselves.

    Example:
        >>> shown("a\\x1b[31mb\\tc")
        'a\\\\x1b[31mb\\tc'
    """
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or not _steers(char) else _escaped(char) for char in text)


def compiled(grep: str) -> re.Pattern[str]:
    """A regular expression.

    Raises:
        ValueError: it is none; the text says why.
    """
    try:
        return re.compile(grep)
    except re.error as error:
        raise ValueError(f"{grep!r} is no regular expression: {error}") from None


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _is_of(name: str, worker: str) -> bool:
    return name == worker or name.startswith(worker)


def _row(line: LogLine) -> str:
    colour = {"stdout": "", "logging": "", "error": "color:#c62828", "stderr": "color:#6d4c41"}.get(
        line.source, "color:#b26a00"
    )
    text = "\n".join(filter(None, [line.words, line.where]))
    cells = (f"{line.time:%H:%M:%S}", line.said_by)
    return (
        "<tr>"
        + "".join(f'<td style="text-align:left;vertical-align:top">{html.escape(shown(cell))}</td>' for cell in cells)
        + f'<td style="text-align:left"><pre style="margin:0;white-space:pre-wrap;{colour}">{html.escape(text)}</pre></td>'
        + "</tr>"
    )
