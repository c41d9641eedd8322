"""What slots tell their agent, and workers the master."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..column_types import MOST_COLUMNS, ColumnType
from ..values import Calls, NonNegative, Runs, Seconds, Word, Words
from .parts import Activity, Failure, LeaseKey, Message, Part


class Opened(Message, frozen=True):
    """A file has been opened: its entries, where reads are best cut, and the range `[start, stop)` that the lease became.

    Of a file whose entries are listed, all of these number the listed ones; `listed` is what a mask has left, if there is
    one. `place` is the same for a file under all of its names.
    """

    query: Word
    lease: NonNegative
    entries: NonNegative
    stop: NonNegative
    clusters: Annotated[list[NonNegative], Meta(max_length=4096)]
    identity: Word = ""
    listed: Runs | None = None
    place: Annotated[bytes, Meta(max_length=16)] = b""


LARGEST_LAYOUT = 4 * 2**20
"""Bytes of the layout of one file; of a larger one each slot makes its own."""


class Described(Message, frozen=True):
    """The layout of the file that a lease is of, for slots that are to read it later. Frames: the layout, opaque.

    `path` is where the file was read: of replicas, each has its own.
    """

    query: Word
    lease: NonNegative
    path: Words


class Columns(Message, frozen=True):
    """What the columns are like that an analysis reads of the file of a lease, as far as it is new to the slot: the types
    of those that it had not met before in the query, and which of them the file lacks, so that they are `filled` in.

    Where a type is another one than a slot before has met, and the query goes on, the master answers the slot with those
    that hold.
    """

    query: Word
    lease: NonNegative
    types: Annotated[dict[Word, ColumnType], Meta(max_length=MOST_COLUMNS)] = {}
    filled: Annotated[list[Word], Meta(max_length=MOST_COLUMNS)] = []
    slot: NonNegative = 0


class Reached(Message, frozen=True):
    """Where in a lease its slot is: every entry before `entry` is processed."""

    query: Word
    lease: NonNegative
    entry: NonNegative


class Doing(Message, frozen=True):
    """What a slot has been doing for a lease, said when that takes long, and once more when it does something else.

    `path` is where the file is read, of replicas the one that the slot was given.
    """

    query: Word
    lease: NonNegative
    what: Activity
    seconds: Seconds
    path: Words


class Truncated(Message, frozen=True):
    """The answer to `Truncate`: the lease ends at `stop`, and the entries behind it are free for others.

    A lease that was truncated to its start is over; no `Finished` follows.
    """

    query: Word
    lease: NonNegative
    stop: NonNegative


class Finished(Message, frozen=True):
    """A slot is through with a lease, up to `stop`; its result comes with a later (or the same) commit.

    `seconds` tell how fast its entries were processed; the others what the lease cost, as in `Usage`. `calls` are
    the latest calls of the analysis, of the `made` ones that the lease took.
    """

    query: Word
    lease: NonNegative
    stop: NonNegative
    seconds: Seconds
    cpu: Seconds
    bytes_read: NonNegative
    elapsed: Seconds = 0.0
    waited: Seconds = 0.0
    requests: NonNegative = 0
    latency: Seconds = 0.0
    calls: Calls = []
    made: NonNegative = 0
    opening: Seconds = 0.0
    late: Seconds = 0.0
    compiling: Seconds = 0.0


class Commit(Message, frozen=True):
    """Ranges and their partial result: both count, or neither does. Frames: the partial result, which counts its entries."""

    commit: NonNegative
    query: Word
    parts: Annotated[list[Part], Meta(min_length=1)]


LARGE_COMMIT = 2**17
"""Bytes of a partial result from which on a worker offers it, and waits for its turn to commit it."""


class Offer(Message, frozen=True):
    """A partial result of so many bytes waits to be committed; 0: it does no more. `Grant` answers, when it can come."""

    query: Word
    size: NonNegative


class Failed(Message, frozen=True):
    """A lease ended in an error, nothing of it is in any commit. Frames: the pickled exception, or none."""

    query: Word
    lease: NonNegative
    failure: Failure


class Skipped(Message, frozen=True):
    """The first error that a slot passed over in a query that skips errors. Frames: the pickled exception, or none."""

    query: Word
    failure: Failure


class Compacted(Message, frozen=True):
    """The answer to `Compact`. Frames: the partial result with its objects merged; or the pickled exception."""

    query: Word
    slot: NonNegative
    failure: Failure | None = None


class SlotDown(Message, frozen=True):
    """A slot's process is gone, and with it the leases named; `SlotUp` follows when a new process has taken its place.

    `working` is the lease that was being processed, and may be what took the slot down, `[start, stop)` the chunk of it
    that was at work, where that is known; `compacting` is the query whose total was being compacted. Neither is set when
    the slot was idle, or at work on what was dead already.
    """

    slot: NonNegative
    leases: list[LeaseKey]
    reason: Words
    working: LeaseKey | None = None
    compacting: Word = ""
    start: NonNegative | None = None
    stop: NonNegative | None = None


class SlotUp(Message, frozen=True):
    """A slot that went down is there again and takes leases."""

    slot: NonNegative


class Draining(Message, frozen=True):
    """This worker leaves in so many seconds: it is to get nothing that it cannot end in time, and the rest of what it has
    is for others. Said at the start when a batch system limits its time, and again when it is told to go earlier.
    """

    seconds: Seconds


class Ready(Message, frozen=True):
    """Slot to agent: the process is up and waits for leases."""
