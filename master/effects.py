"""What the master core asks its loop to do: the only way a decision becomes I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.codec import Frames
from ..protocol.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer."""

    peer: bytes
    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the partial result of `entries` entries into the total of a query."""

    query: str
    frames: Frames
    entries: int


@dataclass(frozen=True, slots=True)
class Take:
    """Take a snapshot of a query's total, after every merge asked for before; the last one when `final`.

    A final one must have its objects merged first, unless it is to be taken `as_is`.
    """

    query: str
    final: bool
    as_is: bool = False


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


Effect = Send | Merge | Take | Replace | Drop | Exit
MergerTask = Merge | Take | Replace | Drop
