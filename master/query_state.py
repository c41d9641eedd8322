"""What a query consists of beside its ledger: who watches it, what the journal has of it, what is counted, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..protocol.codec import Buffer
from ..protocol.messages import Account, Failure
from ..protocol.messages.sessions import NO_KEYS
from .activity import Activities


@dataclass(slots=True)
class Listener:
    """A session that watches a query: whether it has a snapshot that it has not seen, what it wants of a large result."""

    unseen: bool = False
    keys: bytes = NO_KEYS
    whole: bool = False


@dataclass(slots=True)
class Audience:
    """Who watches a query, and what they are to hear when.

    Attributes:
        subscribers: sessions that listen.
        asked: who submitted it and the number of that request, while that is not answered.
        merged: something has been merged since the last snapshot was asked for.
        taking: a snapshot is being taken.
        next_snapshot: when the next one may be; so `next_progress`, `next_miniature`.
        activities: what its slots do that takes long.
    """

    subscribers: dict[bytes, Listener] = field(default_factory=dict)
    asked: tuple[bytes, int] | None = None
    merged: bool = False
    taking: bool = False
    next_snapshot: float = 0.0
    next_progress: float = 0.0
    next_miniature: float = 0.0
    activities: Activities = field(default_factory=Activities)

    @property
    def wants_snapshot(self) -> bool:
        """Something new has been merged, and somebody has seen the last snapshot."""
        return self.merged and not self.taking and not all(it.unseen for it in self.subscribers.values())


@dataclass(slots=True)
class Journaled:
    """What the journal has of a query.

    Attributes:
        unsaved: something is not in it that a checkpoint would write.
        saving: it is being written; what is `unsaved` comes after.
        next_checkpoint: when the next one may be.
        losses: how many of the ledger's losses it was told.
        trouble: why it cannot be written, and what that means.
        damage: what was wrong with it when this master was started, and what became of the query.
        kept: how the query ended is in it, or waits there to be written.
    """

    unsaved: bool = False
    saving: bool = False
    next_checkpoint: float = 0.0
    losses: int = 0
    trouble: str = ""
    damage: str = ""
    kept: bool = False

    @property
    def wants_checkpoint(self) -> bool:
        """Something is to be written, and nothing is being."""
        return self.unsaved and not self.saving


@dataclass(slots=True)
class Counters:
    """What has happened to a query that its account tells of, beside what became of its entries.

    Attributes:
        lines, warnings: that its analysis has said, kept or not.
        refused: commits that did not count.
        retried: attempts to read data that failed and were to be made again.
        trouble: why the last one failed.
        downfall: what the last slot that went down was at, how it went, and what is made of it.
        filled: branches that are missing in files, and in which, by number.
    """

    bytes_read: int = 0
    lines: int = 0
    warnings: int = 0
    refused: int = 0
    workers_lost: int = 0
    retried: int = 0
    trouble: str = ""
    downfall: str = ""
    filled: dict[str, set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """How a query ended, or will.

    Attributes:
        failure: why it fails; `failure_frames` are the exception itself, pickled.
        skipped: the first failure that `on_error="skip"` passed over, with its frames.
        result: the frames of the last total.
        account: what became of its entries, in the end; so `lost`, which travels as MessagePack of `list[LostRange]`.
    """

    failure: Failure | None = None
    failure_frames: Sequence[Buffer] = ()
    skipped: tuple[Failure, Sequence[Buffer]] | None = None
    result: Sequence[Buffer] = ()
    account: Account | None = None
    lost: Buffer | None = None

    @property
    def kept_bytes(self) -> int:
        """Memory that it takes."""
        return sum(len(frame) for frame in (*self.result, *self.failure_frames, self.lost or b""))
