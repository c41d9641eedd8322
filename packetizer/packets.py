"""What the packetizer decides: a packet for a slot, a lease that is to end earlier, one that is to be taken back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic

from .leases import Holder, Lease


@dataclass(frozen=True, slots=True)
class Packet(Generic[Holder]):
    """A lease with the time it may take, and the replica to read; it is `expected` to take so many seconds (infinity: nobody
    knows).

    `apart` when its result may be refused, or never come: another slot works on the same entries, or they are suspected of
    taking slots down; then they are to be taken in small chunks (`Lease.chunk`).
    """

    lease: Lease[Holder]
    seconds: float
    replica: int = 0
    apart: bool = False
    expected: float = math.inf


@dataclass(frozen=True, slots=True)
class Truncation(Generic[Holder]):
    """A lease that is to end at `stop`, because somebody else has nothing to do."""

    lease: Lease[Holder]
    stop: int


@dataclass(frozen=True, slots=True)
class Recall(Generic[Holder]):
    """A lease that is to be taken back, for somebody else to have it."""

    lease: Lease[Holder]


Help = Truncation[Holder] | Packet[Holder] | Recall[Holder]
