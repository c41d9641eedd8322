"""The environment of simulated machines: virtual time, what is written down, and file servers with their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from .profiles import CLUSTERS_KNOWN


class Clock:
    """Virtual time, and what is going to happen: calls in the order of their times, then in the order they were made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()

    def at(self, time: float, act: Callable[[Any], None], argument: Any) -> None:
        """Call `act(argument)` at `time`."""
        heappush(self.heap, (time, next(self._numbers), act, argument))


@dataclass(slots=True)
class Record:
    """What is written down while a simulation runs.

    `capacity` and `activity` are changes at a time: of the entries a second that all live slots could process, and of the
    number of slots at work. Sums are slot times in seconds.
    """

    capacity: list[tuple[float, float]] = field(default_factory=list)
    activity: list[tuple[float, int]] = field(default_factory=list)
    computing: float = 0.0
    opening: float = 0.0
    exchange: float = 0.0
    idle: float = 0.0
    entries: int = 0
    packets: int = 0
    apart: int = 0
    longest_packet: float = 0.0


@dataclass(slots=True)
class SimulatedFile:
    """One file of the dataset."""

    index: int
    path: str
    entries: int
    cluster: int
    server: Server | None
    bytes_per_entry: float

    def clusters(self) -> list[int]:
        """Cluster boundaries as a slot reports them, thinned out when there are too many."""
        step = self.cluster * max(1, -(-self.entries // (self.cluster * (CLUSTERS_KNOWN - 1))))
        return [*range(0, self.entries, step), self.entries]

    def first_packet(self, wish: int) -> int:
        """Where the packet that opens the file ends: with the file, or on the last cluster boundary within the wish."""
        if self.entries <= wish:
            return self.entries
        return wish // self.cluster * self.cluster or wish


class Server:
    """A file server whose bandwidth its readers share in proportion to what each could take.

    It has a clock of its own, which runs slower than time while readers want more than there is: a reader that computes
    in this clock when it will be somewhere need not be told of the other readers.
    """

    def __init__(self, clock: Clock, bandwidth: float) -> None:
        self.clock = clock
        self.bandwidth = bandwidth
        self._demand = 0.0
        self._readers = 0
        self._throughput = 1.0
        self._time = self._anchor = 0.0
        self._due: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()
        self._plan = 0

    def time(self) -> float:
        """What this server's clock says now."""
        return self._time + (self.clock.now - self._anchor) * self._throughput

    def at(self, time: float, act: Callable[[Any], None], argument: Any) -> None:
        """Call `act(argument)` when the server's clock says `time`."""
        heappush(self._due, (time, next(self._numbers), act, argument))
        if self._due[0][0] == time:
            self._schedule()

    def read(self, change: float, readers: int = 0) -> None:
        """The readers want `change` bytes a second more, and there are `readers` more of them."""
        self._time, self._anchor = self.time(), self.clock.now
        self._readers += readers
        self._demand = self._demand + change if self._readers else 0.0
        throughput = 1.0 if self._demand <= self.bandwidth else self.bandwidth / self._demand
        if throughput != self._throughput:
            self._throughput = throughput
            self._schedule()

    def _schedule(self) -> None:
        self._plan += 1
        if self._due:
            delay = max(0.0, self._due[0][0] - self.time()) / self._throughput
            self.clock.at(self.clock.now + delay, self._next, self._plan)

    def _next(self, plan: int) -> None:
        if plan == self._plan:
            _, _, act, argument = heappop(self._due)
            self._schedule()
            act(argument)
