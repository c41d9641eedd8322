"""How fast a slot is, and what it has at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEMORY = 3.0
"""Seconds after which an observation of a slot's speed weighs 1/e: a slot that slows down is seen within a packet."""
LARGEST_PART = 7 / 8
"""The part of a slot's time that overhead is taken for at most: packets grow by eight at most."""
LARGEST_RATIO = 50.0
"""Two file servers that differ by more than this in speed are not told apart by how fast they are."""


class Ratios:
    """How much faster the slots of a site are with one file server than with another.

    Learnt from slots that turned from one to the other, each compared with itself, so that it does not matter which slots
    read where. The ratio is a mean of logarithms in which the latest comparison weighs a half.

    Example:
        >>> ratios = Ratios()
        >>> ratios.learn("cern.ch", "near", "far", 0.25)
        >>> ratios.expect("cern.ch", "near", "far"), ratios.expect("cern.ch", "far", "near")
        (0.25, 4.0)
    """

    def __init__(self) -> None:
        self._logarithms: dict[tuple[str, str, str], float] = {}

    def learn(self, site: str, old: str, new: str, ratio: float) -> None:
        """A slot did `ratio` times as many entries a second after it had turned from one server to another."""
        logarithm = math.log(min(LARGEST_RATIO, max(1 / LARGEST_RATIO, ratio)))
        known = self._logarithms.get((site, old, new))
        mean = logarithm if known is None else (known + logarithm) / 2
        self._logarithms[site, old, new] = mean
        self._logarithms[site, new, old] = -mean

    def expect(self, site: str, old: str, new: str) -> float:
        """The ratio to expect; 1 where nothing is known."""
        return math.exp(self._logarithms.get((site, old, new), 0.0))


@dataclass(slots=True)
class Throughput:
    """Speed and work at hand of one slot, for one query.

    The rate is the ratio of two sums that decay together, entries and seconds: short packets weigh little, old ones less.
    When an analysis begins, packets grow, and what each of them costs anyway matters less and less: one with many entries
    outweighs all that have had fewer.

    Attributes:
        host, site: where the slot is.
        near: how the names of file servers end that are at its site.
        file, replica: the file that it has open, and which of its replicas.
        seated: it counts as one of the readers of that file's server.
        server: the file server that it reads from.
        queue: its unfinished leases by number, in the order in which it works on them, with the servers of their files.
        entry, at: the entry that it had reached in the first of them, and when.
        suspected: its worker has not been heard of for longer than it should.
    """

    host: str = ""
    site: str = ""
    near: tuple[str, ...] = ()
    file: int | None = None
    replica: int = 0
    seated: bool = False
    server: str = ""
    queue: dict[int, str] = field(default_factory=dict)
    entry: int = 0
    at: float = 0.0
    version: int = 0
    suspected: bool = False
    _entries: float = 0.0
    _seconds: float = 0.0
    _packets: float = 0.0
    _spent: float = 0.0
    _turned: tuple[str, float] | None = None
    _beside: float | None = None

    @property
    def rate(self) -> float:
        """Entries a second, 0 while unknown."""
        return self._entries / self._seconds if self._seconds > 0.0 else 0.0

    def observe(self, entries: int, seconds: float) -> None:
        """The slot took `seconds` for `entries`."""
        seconds = max(seconds, 1e-6)
        keep = min(math.exp(-seconds / MEMORY), self._entries / max(1.0, self._entries + entries))
        self._entries = keep * self._entries + entries
        self._seconds = keep * self._seconds + seconds
        self._packets *= keep

    def gain(self, overhead: float, seconds: float) -> float:
        """By how much a packet of `seconds` has more entries than the rate says, if `overhead` seconds of each packet do not
        depend on its entries: of packets that are longer than those before, less is overhead.
        """
        if not self._seconds or seconds <= overhead:
            return 1.0
        part = min(LARGEST_PART, overhead * self._packets / self._seconds)
        return (1.0 - overhead / seconds) / (1.0 - part)

    def rate_with(self, server: str, ratios: Ratios) -> float:
        """Entries a second to expect with a file server, 0 while unknown."""
        return self.rate if server == self.server else self.rate * ratios.expect(self.site, self.server, server)

    @property
    def first(self) -> int | None:
        """The lease at work."""
        return next(iter(self.queue), None)

    def begin(self, entry: int, now: float, ratios: Ratios) -> None:
        """The slot begins the first lease of its queue, perhaps with another file server than it had before."""
        self.entry, self.at, self._spent = entry, now, 0.0
        server = next(iter(self.queue.values()), self.server)
        if server == self.server:
            return
        self._turned = None
        if self.rate:
            self._turned = self.server, self.rate
            self._entries *= ratios.expect(self.site, self.server, server)
        self.server = server

    def reached(self, entry: int, now: float, usual: bool = True) -> None:
        """The slot says where it is in its first lease; in one that is not `usual` it does not show how fast it is."""
        if entry > self.entry and now > self.at:
            if usual:
                self.observe(entry - self.entry, now - self.at)
            self._spent += now - self.at
            self.entry, self.at = entry, now

    def expected(self, entries: float, rate: float) -> float:
        """Seconds that a packet of so many entries takes, with what it takes to open its file; infinity while unknown."""
        return entries / rate + self._beside if rate and self._beside is not None else math.inf

    def finished(self, start: int, stop: int, seconds: float, ratios: Ratios, elapsed: float = 0.0) -> None:
        """The slot has finished its first lease, `[start, stop)`, in `seconds`, or `elapsed` with what came before."""
        beside = max(0.0, elapsed - seconds)
        self._beside = beside if self._beside is None else (self._beside + beside) / 2
        if self._turned is not None and stop > start and seconds > 0.0:
            old, rate = self._turned
            self._turned = None
            ratios.learn(self.site, old, self.server, (stop - start) / seconds / rate)
        if stop > self.entry:
            self.observe(stop - self.entry, seconds - self._spent)
            self._packets += 1.0
