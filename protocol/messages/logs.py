"""What user code and workers say, on its way to the sessions that ask for it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..values import MOST, NonNegative, Seconds, Word, Words
from .parts import Message

LogSource = Literal["stdout", "stderr", "warning", "logging", "error", "worker"]
"""Where a line is from: what user code writes, its warnings and log records; errors of an analysis; workers themselves."""
LONGEST_TEXT = 8000
"""Characters of one line; a warning, a record and an error may have line breaks in them."""
MOST_LINES = 1000
"""In one message."""
_Count = Annotated[int, Meta(ge=1, le=MOST)]
_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]


class OutputLine(msgspec.Struct, frozen=True, array_like=True):
    """Something that was said `count` times, for the first time so many seconds `ago`.

    `slot` says it, at work for `query`, on entries `[start, stop)` of the file `path`, as far as that is known. `level` is
    that of a log record, the category of a warning, the type of an error; `place` the line of code, or the name of a logger.
    """

    source: LogSource
    text: _Text
    query: Word = ""
    count: _Count = 1
    ago: Seconds = 0.0
    slot: NonNegative | None = None
    path: Words = ""
    start: NonNegative | None = None
    stop: NonNegative | None = None
    level: Word = ""
    place: Word = ""


class Unkept(msgspec.Struct, frozen=True, array_like=True):
    """What was said for a query and is not kept, since it was too much: how many lines and bytes."""

    query: Word = ""
    lines: NonNegative = 0
    size: NonNegative = 0

    def plus(self, lines: int, size: int) -> Unkept:
        """With so much more, as far as that can travel."""
        return Unkept(self.query, min(MOST, self.lines + lines), min(MOST, self.size + size))


class Output(Message, frozen=True):
    """What a worker's slots, and it itself, have said since it last told of it."""

    lines: Annotated[list[OutputLine], Meta(max_length=MOST_LINES)]
    unkept: Annotated[list[Unkept], Meta(max_length=MOST_LINES)] = []


class AskLogs(Message, frozen=True):
    """Ask for what was said for a query, or all that the master has; of that what is new since the `cursor` of an answer."""

    request: NonNegative
    query: Word = ""
    cursor: Word = ""


class LogEntry(msgspec.Struct, frozen=True, array_like=True):
    """A line that the master has, as it was said first, and how often by now; the last time was so many seconds ago.

    Its `number` stays the same when it is said again. `workers` are those that said it, not all where there are many.
    """

    number: NonNegative
    line: OutputLine
    last: Seconds
    workers: dict[Word, NonNegative]


class Logs(Message, frozen=True):
    """Answer to `AskLogs`: entries that are new or were said again, in the order in which they were said last.

    With `more`, there are others, to be asked for with this `cursor`. `unkept` is what was said and is not here any more.
    """

    request: NonNegative
    entries: Annotated[list[LogEntry], Meta(max_length=MOST_LINES)]
    cursor: Word
    more: bool
    unkept: Unkept
