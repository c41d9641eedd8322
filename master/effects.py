"""What the master core asks its loop to do: the only way a decision becomes I/O.

All but `Send`, `SaveAccess`, `SaveDataset` and `Exit` are tasks of the merger, which does them in order. Those that only
the journal needs come from a core that is `journaled` and from no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..packetizer.files import Loss, OpenedFile
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import (
    LARGE_COMMIT,
    Account,
    AskMiniature,
    AskPart,
    DatasetInfo,
    Ended,
    Failure,
    Message,
    Submit,
)
from ..protocol.usage import WorkerInfo
from .access import Change
from .peers import Whose


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer."""

    peer: bytes
    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class SaveAccess:
    """Write down what has changed of who may come in."""

    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class SaveDataset:
    """Write down a dataset of the catalogue with its files, or that there is none of this name any more; and the layouts
    that came with it, with whose queries they are for.
    """

    name: str
    kept: tuple[DatasetInfo, bytes] | None
    layouts: tuple[Whose, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge a partial result of a worker into the total of a query: that of the entries in `parts`, (file, start, stop), of
    which the journal is told unless the query is `unwritten`."""

    query: str
    frames: Frames
    parts: Sequence[tuple[int, int, int]]
    worker: str = ""
    unwritten: bool = False

    @property
    def size(self) -> int:
        """Bytes of the partial result."""
        return sum(map(len, self.frames))

    @property
    def is_large(self) -> bool:
        """Whether it is one that workers offer, and wait for their turn."""
        return bool(self.worker) and self.size >= LARGE_COMMIT


@dataclass(frozen=True, slots=True)
class Take:
    """Take a snapshot of a query's total, after every merge asked for before; the last one when `final`.

    A final one must have its objects merged first, unless it is to be taken `as_is`. Of a large one that is not, only
    what is under each of these `keys` is taken, and the `whole` if that is wanted.
    """

    query: str
    final: bool
    as_is: bool = False
    keys: tuple[bytes, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Shrink:
    """Make a miniature of a query's total, for a peer that asked so."""

    query: str
    peer: bytes
    asked: AskMiniature


@dataclass(frozen=True, slots=True)
class Pick:
    """Take a part of a query's total, for a peer that asked so."""

    query: str
    peer: bytes
    asked: AskPart


@dataclass(frozen=True, slots=True)
class Replace:
    """Put a compacted total in the place of the one that was set aside for compaction."""

    query: str
    frames: Frames


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget a query's total."""

    query: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the master."""


# --- for the journal --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaveSubmission:
    """A query was submitted: write it down at once, and say so. Its session is told only then that it is accepted."""

    query: str
    submit: Submit
    frames: Frames
    attachments: Mapping[str, Buffer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SaveOpened:
    """A file of a query was opened."""

    query: str
    file: int
    opened: OpenedFile


@dataclass(frozen=True, slots=True)
class SaveLosses:
    """Entries of a query will not be in its result."""

    query: str
    losses: Sequence[Loss]


@dataclass(frozen=True, slots=True)
class SaveSkipped:
    """A query has passed over its first failure."""

    query: str
    failure: Failure
    frames: Frames


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Write down the total of a query, and all that was to be saved of it, and say so."""

    query: str
    account: Account
    report: Sequence[WorkerInfo]


@dataclass(frozen=True, slots=True)
class SaveEnd:
    """A query is over: write down its result at once, and say so."""

    query: str
    ended: Ended
    frames: Frames


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Read the frames with which a query ended, for a peer."""

    query: str
    peer: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget a query that is over."""

    query: str


@dataclass(frozen=True, slots=True)
class Tidy:
    """Remove results that are too old, or too much, and write what could not be written before."""


MergerTask = (
    Merge | Take | Shrink | Pick | Replace | Drop
    | SaveSubmission | SaveOpened | SaveLosses | SaveSkipped | Checkpoint | SaveEnd | Retrieve | Remove | Tidy
)  # fmt: skip
Effect = Send | SaveAccess | SaveDataset | MergerTask | Exit
