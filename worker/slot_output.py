"""What a slot's process writes to its standard output and error, which are pipes that its agent reads.

Between what is written stand *marks*, lines that nobody else writes: of a log record or a warning, which are whole and know
their level; and of what the slot was at when it wrote what comes before. The agent sees that in the slot's status, too, when
it reads; so the slot marks only what is still unread when it goes on to something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from ..protocol.values import NonNegative

_MARK, _RECORD = b"\0\x1em", b"\0\x1er"
_LONGEST_LINE = 8000
"""Bytes after which a line is taken to end, whatever follows."""
_LONGEST_MARK = 40_000


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What comes before was written at work for a query: on entries `[start, stop)` of a lease."""

    query: str
    lease: int = -1
    start: NonNegative = 0
    stop: NonNegative = 0

    def encoded(self) -> bytes:
        """As it is written."""
        return _MARK + msgspec.json.encode(self) + b"\n"


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A log record, or a warning: see `protocol.messages.OutputLine`. `ours` says that a record is of this package."""

    source: Literal["warning", "logging"]
    text: str
    level: str
    place: str
    ours: bool = False

    def encoded(self) -> bytes:
        """As it is written; what cannot travel is escaped, and what is too long is cut."""
        record = Record(self.source, plain(self.text, 7900), plain(self.level, 200), plain(self.place, 900), self.ours)
        return _RECORD + msgspec.json.encode(record) + b"\n"


def plain(text: str, most: int | None = None) -> str:
    """The beginning of a text as it can travel: UTF-8 has no lone surrogates, which file names may have.

    Example:
        >>> plain("a\\udcff", 4)
        'a\\\\ud'
    """
    return text[:most].encode("utf-8", "backslashreplace").decode()[:most]


_marks, _records = msgspec.json.Decoder(Mark), msgspec.json.Decoder(Record)
Token = bytes | Record
"""Text, of one line or many, or a record."""


class OutputStream:
    """What comes out of one pipe, taken apart.

    Example:
        >>> stream = OutputStream()
        >>> list(stream.feed(b"one\\ntw"))
        [(b'one\\n', None)]
        >>> list(stream.feed(b"o" + Mark("q1", 7, 0, 10).encoded() + b"three\\n"))
        [(b'two', Mark(query='q1', lease=7, start=0, stop=10)), (b'three\\n', None)]
    """

    def __init__(self) -> None:
        self._rest = b""

    @property
    def holds_text(self) -> bool:
        """Whether the beginning of a line waits for its end."""
        return bool(self._rest) and b"\0\x1e" not in self._rest

    def feed(self, data: bytes, last: bool = False) -> Iterator[tuple[Token, Mark | None]]:
        """Take in what has been read; what is no whole line waits for what follows, unless it is the last of all.

        Returns:
            Text and records in their order, each with the mark that stands behind it, if there is one already.
        """
        data = self._rest + data
        tokens: list[Token] = []
        at = 0
        while (found := data.find(b"\0\x1e", at)) >= 0:
            end = data.find(b"\n", found)
            if end < 0:
                break
            found = data.rfind(b"\0\x1e", found, end)  # user code may have written the same before it
            if found > at:
                tokens.append(data[at:found])
            at = end + 1
            meaning = _decoded(data[found:at])
            if isinstance(meaning, Mark):
                yield from ((token, meaning) for token in tokens)
                tokens.clear()
            else:
                tokens.append(meaning)
        text = data[at:]
        stop = len(text) if last else text.rfind(b"\n") + 1
        longest = _LONGEST_MARK if text.find(b"\0\x1e", stop) >= 0 else _LONGEST_LINE
        if len(text) - stop > longest:
            stop = len(text)
        if stop:
            tokens.append(text[:stop])
        self._rest = text[stop:]
        yield from ((token, None) for token in tokens)


def _decoded(line: bytes) -> Mark | Record | bytes:
    """What a mark means; user code may write something like it, which is text then."""
    try:
        if line.startswith(_MARK):
            return _marks.decode(line[len(_MARK) :])
        if line.startswith(_RECORD):
            return _records.decode(line[len(_RECORD) :])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return line
