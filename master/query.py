"""One query as the master sees it: what was asked for, its ledger, who listens, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ..packetizer.ledger import Ledger
from ..packetizer.packetizer import Packetizer
from ..protocol.codec import Buffer
from ..protocol.messages import (
    FINAL,
    Account,
    Failure,
    File,
    LostRange,
    QueryInfo,
    Setup,
    State,
    Submit,
    WorkerInfo,
)

MAX_KILLS = 3
"""Entries that have been at work in this many slots when they went down are taken to be the cause; and so is the
analysis, when this many slots go down one after the other without a commit."""
LONGEST_REASON = 500
_losses = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class Share:
    """What one worker did for a query."""

    host: str
    pid: int
    slots: int
    packets: int = 0
    entries: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Compaction:
    """A total whose pickled objects a slot is to merge; `holder` is the slot that does it, (worker, index)."""

    frames: Sequence[Buffer]
    holder: tuple[bytes, int] | None = None
    kills: int = 0


@dataclass(slots=True)
class Query:
    """State of one query; times are the core's `now`.

    Attributes:
        subscribers: sessions that listen, and whether one has a snapshot that it has not seen yet.
        set_up: workers that have the analysis.
        skipped: the first failure that `on_error="skip"` passed over.
        kills: for each file the ranges that were at work when a slot went down.
        kills_in_a_row: slots that went down since the last commit.
    """

    number: str
    submit: Submit
    analysis: Buffer
    files: Sequence[File]
    started: float
    rate: float = 0.0
    state: State = "running"
    ended: float | None = None
    subscribers: dict[bytes, bool] = field(default_factory=dict)
    set_up: dict[bytes, None] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    leases: int = 0
    reached: int = 0
    bytes_read: int = 0
    refused: int = 0
    workers_lost: int = 0
    kills: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    kills_in_a_row: int = 0
    merged: bool = False
    taking: bool = False
    compaction: Compaction | None = None
    next_snapshot: float = 0.0
    next_progress: float = 0.0
    failure: Failure | None = None
    failure_frames: Sequence[Buffer] = ()
    skipped: tuple[Failure, Sequence[Buffer]] | None = None
    result: Sequence[Buffer] = ()
    final: Account | None = None
    lost: bytes | None = None
    ledger: Ledger = field(init=False)
    packetizer: Packetizer = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger([file.entries for file in self.files], self.submit.limit)
        self.packetizer = Packetizer(self.ledger, [file.path for file in self.files], self.rate)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def over(self) -> bool:
        return self.state in FINAL

    @property
    def setup(self) -> Setup:
        """What a worker needs before its first lease of this query."""
        submit = self.submit
        return Setup(self.number, submit.kind, submit.digest, submit.name, submit.branches)

    def seconds(self, now: float) -> float:
        return max(0.0, (now if self.ended is None else self.ended) - self.started)

    def account(self) -> Account:
        """What became of the entries, by the ledger; without the list of losses."""
        if self.final is not None:
            return self.final
        ledger = self.ledger
        return Account(
            total=ledger.total,
            processed=ledger.processed,
            failed=ledger.failed,
            estimated=ledger.estimated,
            files=len(ledger.files),
            files_opened=ledger.opened_files,
            redone=ledger.redone,
            refused=self.refused,
            workers_lost=self.workers_lost,
        )

    def losses(self) -> bytes:
        """What is not in the result and why, as it travels: MessagePack of `list[LostRange]`."""
        if self.lost is not None:
            return self.lost
        lost = []
        for loss in self.ledger.losses:
            file = self.files[loss.file]
            reason = loss.reason[:LONGEST_REASON]
            lost.append(LostRange(public_path(file.path), file.tree, loss.start, loss.stop, reason))
        return _losses.encode(lost)

    def count_kill(self, file: int, start: int, stop: int) -> int:
        """A slot went down at work on these entries: how many have, on entries among them, or in a row on any."""
        ranges = self.kills.setdefault(file, [])
        ranges.append((start, stop))
        self.kills_in_a_row += 1
        return max(self.kills_in_a_row, sum(other[0] < stop and start < other[1] for other in ranges))

    def settle(self) -> None:
        """The query is over: keep its account and result only."""
        self.final, self.lost = self.account(), self.losses()
        self.ledger = Ledger([])
        self.packetizer = Packetizer(self.ledger, [])
        self.analysis, self.files = b"", ()
        self.kills.clear()
        self.compaction = None

    @property
    def kept_bytes(self) -> int:
        """Memory that the result of a query that is over takes."""
        return sum(len(frame) for frame in (*self.result, *self.failure_frames, self.lost or b""))

    def report(self) -> list[WorkerInfo]:
        """What each worker did."""
        return [
            WorkerInfo(name, share.host, share.pid, share.slots, 0, share.packets, share.entries, share.seconds)
            for name, share in self.shares.items()
        ]

    def info(self, now: float) -> QueryInfo:
        return QueryInfo(
            self.number, self.submit.name, self.submit.owner, self.state, self.account(), self.seconds(now)
        )


def public_path(path: str) -> str:
    """A path as others may see it: what follows a `?` may be a token."""
    return path.partition("?")[0]
