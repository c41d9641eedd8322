"""What the agent core wants to be done."""

from __future__ import annotations

from dataclasses import dataclass

from ...protocol.codec import Buffer, Frames
from ...protocol.messages import Message


@dataclass(frozen=True, slots=True)
class ToMaster:
    """Send to the master."""

    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class ToSlot:
    """Send to a slot."""

    slot: int
    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class Store:
    """Put an attachment where slots find it."""

    digest: str
    content: Buffer


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove an attachment."""

    digest: str


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a process for a slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a slot's process."""

    slot: int


@dataclass(frozen=True, slots=True)
class Order:
    """Have a slot halve its chunks so many times, or `retire`: hand over what it has done, and say so."""

    slot: int
    halvings: int
    retire: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """End this worker, with a `Bye` to the master: why, and whether that is an error."""

    reason: str
    error: bool


Effect = ToMaster | ToSlot | Store | Discard | Fork | Kill | Order | Leave
