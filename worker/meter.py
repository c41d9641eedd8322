"""What the packets of a slot cost: time, CPU time, and what was read for them."""

from __future__ import annotations

import time
from typing import Protocol
from weakref import WeakKeyDictionary

from .sources import Counters


class Counting(Protocol):
    """Something that counts what it reads."""

    @property
    def counters(self) -> Counters:
        """What was asked for so far."""


class Meter:
    """Measures one packet after the other.

    CPU time is that of all threads, and what a reader has asked for since it was asked last belongs to the packet in hand,
    also where that was for the next one: the sums over all packets are right.

    Example:
        >>> meter = Meter()
        >>> meter.begin()
        >>> elapsed, cpu = meter.times()
    """

    def __init__(self) -> None:
        self._told: WeakKeyDictionary[Counting, Counters] = WeakKeyDictionary()
        self._began = self._cpu = 0.0

    def begin(self) -> None:
        """A packet is taken up."""
        self._began, self._cpu = time.monotonic(), time.process_time()

    def times(self) -> tuple[float, float]:
        """Seconds since then, and CPU seconds."""
        return time.monotonic() - self._began, time.process_time() - self._cpu

    def read(self, reader: Counting) -> tuple[int, int, float]:
        """Requests and bytes of a reader since it was asked last, and the latency of its answers in seconds."""
        now, before = reader.counters, self._told.get(reader, Counters())
        self._told[reader] = now
        return now.requests - before.requests, now.bytes_read - before.bytes_read, now.latency
