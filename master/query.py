"""One query as the master sees it: what was asked for, its ledger, who listens, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
"""A query that has taken down this many slots is taken to be the cause, and fails."""


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


@dataclass(slots=True)
class Query:
    """State of one query; times are the core's `now`."""

    number: str
    submit: Submit
    analysis: Buffer
    files: Sequence[File]
    started: float
    rate: float = 0.0
    state: State = "running"
    ended: float | None = None
    subscribers: dict[bytes, None] = field(default_factory=dict)
    set_up: dict[bytes, None] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    leases: int = 0
    holders: dict[int, bytes] = field(default_factory=dict)
    reached: int = 0
    bytes_read: int = 0
    refused: int = 0
    workers_lost: int = 0
    kills: int = 0
    merged: bool = False
    taking: bool = False
    compaction: Compaction | None = None
    next_snapshot: float = 0.0
    next_progress: float = 0.0
    failure: Failure | None = None
    failure_frames: Sequence[Buffer] = ()
    result: Sequence[Buffer] = ()
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
        """What became of the entries, by the ledger."""
        ledger = self.ledger
        lost = [
            LostRange(self.files[loss.file].path, self.files[loss.file].tree, loss.start, loss.stop, loss.reason)
            for loss in ledger.losses
        ]
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
            lost=lost,
        )

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
