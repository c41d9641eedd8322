"""What the packets of a slot cost: time, CPU time, and what was read for them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

from ...reading.storage.sources import Traffic


class Counting(Protocol):
    """Something that counts what it reads."""

    @property
    def traffic(self) -> Traffic:
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
        self._told: WeakKeyDictionary[Counting, Traffic] = WeakKeyDictionary()
        self._began = self._cpu = 0.0

    def begin(self) -> None:
        """A packet is taken up."""
        self._began, self._cpu = time.monotonic(), time.process_time()

    def times(self) -> tuple[float, float]:
        """Seconds since then, and CPU seconds."""
        return time.monotonic() - self._began, time.process_time() - self._cpu

    def read(self, readers: Iterable[Counting]) -> tuple[int, int, float]:
        """Requests and bytes of readers since they were asked last, and the longest latency of their answers in seconds."""
        requests = size = 0
        latency = 0.0
        for reader in readers:
            now, before = reader.traffic, self._told.get(reader, Traffic())
            self._told[reader] = now
            requests, size = requests + now.requests - before.requests, size + now.bytes_read - before.bytes_read
            latency = max(latency, now.latency)
        return requests, size, latency
