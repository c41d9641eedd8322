"""Queries that are over and in the journal, as a master remembers them: a short line each.

There may be a hundred thousand of them, of months. Lists are made of these lines; how each ended, with its result and
report, is read from the journal for whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ..protocol.messages import Account, QueryInfo, State, Submit
from .numbering import number_of
from .query import Query, ago


class Line(msgspec.Struct, frozen=True, array_like=True):
    """What lists tell of a query that is over, and whose business it is."""

    name: str
    owner: str
    user: str
    share: list[str]
    state: State
    seconds: float
    account: Account


class _Submitted(msgspec.Struct):
    """What of a `Submit` is remembered."""

    name: str
    owner: str = ""
    user: str = ""
    share: list[str] = []
    token: str = ""


class _Named(msgspec.Struct):
    """The name of a worker in a report."""

    worker: str


class _Ended(msgspec.Struct):
    """What of an `Ended` is remembered."""

    state: str
    account: msgspec.Raw
    seconds: float
    report: list[_Named] = []


_encode = msgspec.msgpack.Encoder().encode
_line = msgspec.msgpack.Decoder(Line)
_stored = msgspec.msgpack.Decoder(tuple[float, bytes, str, int])
_submitted = msgspec.msgpack.Decoder(_Submitted)
_ended = msgspec.msgpack.Decoder(_Ended)


@dataclass(frozen=True, slots=True)
class Finished:
    """A query that is over, in little memory.

    Attributes:
        started: when it was submitted; in the journal in seconds since 1970, in a master in those of the core's `now`.
        line: its `Line`, packed.
        token: with which it was submitted.
        last: the highest number in its name and in those of its workers.
    """

    number: str
    started: float
    line: bytes
    token: str = ""
    last: int = 0

    @classmethod
    def stored(cls, number: str, submit: bytes, started: float, ended: bytes) -> Finished:
        """One as the journal has it: its `Submit` and `Ended`, as MessagePack. Raises `msgspec.MsgspecError`."""
        said, how = _submitted.decode(submit), _ended.decode(ended)
        last = max((number_of(it.worker) for it in how.report), default=0)
        line = _packed(said, how.state, how.seconds, how.account)
        return cls(number, started, line, said.token, max(last, number_of(number)))

    @classmethod
    def of(cls, query: Query) -> Finished:
        """One that has come to its end in this master."""
        assert query.ended is not None
        line = _packed(query.submit, query.state, query.seconds(query.ended), query.account())
        return cls(query.number, query.started, line, query.submit.token)

    @classmethod
    def unpacked(cls, number: str, packed: bytes) -> Finished:
        """One as it was `packed`."""
        started, line, token, last = _stored.decode(packed)
        return cls(number, started, line, token, last)

    def packed(self) -> bytes:
        """All but its number."""
        return _encode((self.started, self.line, self.token, self.last))

    def since(self, wall: float, now: float) -> Finished:
        """The same for a master's core, at `wall` in seconds since 1970."""
        return Finished(self.number, now - ago(self.started, wall), self.line, self.token)

    def info(self, now: float) -> QueryInfo:
        """Its line in the list of queries."""
        line = _line.decode(self.line)
        since = ago(self.started, now)
        return QueryInfo(self.number, line.name, line.owner, line.state, line.account, line.seconds, since)

    def query(self) -> Query:
        """The query, as far as it is remembered: for whoever asks for its end, or wants it removed."""
        line = _line.decode(self.line)
        submit = Submit(
            0, line.name, "columnar", "", owner=line.owner, user=line.user, share=line.share, token=self.token
        )
        return Query.recalled(self.number, submit, self.started, line.state, line.seconds, line.account)


def _packed(submit: Submit | _Submitted, state: str, seconds: float, account: Any) -> bytes:
    return _encode((submit.name, submit.owner, submit.user, submit.share, state, seconds, account))
