"""Who is at the master's door: connections that have not said who they are, and those that have.

Whoever reaches the port may open connections, and each takes a descriptor and some memory until it has shown a key or
`HANDSHAKE_SECONDS` (`protocol.dial`) are over. Nobody is turned away as long as there is room. When there is none, those go
that have not said anything yet, of the address that has most of them; whoever has said something as a peer with a key stays.

Pure: the loop tells it of connections by their descriptors, and ends those that it names.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import deque
from dataclasses import dataclass

MOST_WAITING = 10 * 2**10
"""Connections that may wait at a time: a site whose workers all come back at once is let in without a second try. Each takes
up to 15 kB, and one that means ill 64 KiB more (`protocol.pieces`): 800 MB of them at most."""
_AT_ONCE, _EACH = 2.0, 0.003
"""Whoever has a key shows it within that many seconds, and so many more for each that comes at the same time: two cores
need a millisecond or two for a key at both ends. So the older ones go first; when there are none, the newest, since the
others were there before and are in the middle of it."""
_OTHER_DESCRIPTORS = 128
"""Of the master itself: databases, sockets of its threads, results that it reads from the journal."""
_HEADROOM = 8
"""One part in so many of the room is free for those that come next: they are accepted before the loop hears of it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection that has not said who it is.

    Args:
        descriptor: the master's end of it.
        peer: address and port at the other end.
        since: when it was accepted.
    """

    descriptor: int
    peer: tuple[str, int]
    since: float


class Reception:
    """Knows the connections of the master's port.

    Example:
        >>> reception = Reception()
        >>> for descriptor in range(300):
        ...     reception.accepted(descriptor, ("192.0.2.1", 40000 + descriptor), now=0.0)
        >>> reception.heard(7, b"worker")
        >>> len(reception.too_many(descriptors=256, now=5.0)), reception.count
        (188, 300)
    """

    def __init__(self) -> None:
        self._peers: dict[int, bytes] = {}
        self._waiting: dict[int, Caller] = {}
        self._by_network: dict[str, dict[int, None]] = {}

    @property
    def count(self) -> int:
        """Of all connections."""
        return len(self._peers) + len(self._waiting)

    def accepted(self, descriptor: int, peer: tuple[str, int], now: float) -> None:
        """Somebody has called. Of a peer that was heard first, since its message was looked at first, nothing changes."""
        if descriptor not in self._peers:
            self._waiting[descriptor] = Caller(descriptor, peer, now)
            self._by_network.setdefault(network_of(peer[0]), {})[descriptor] = None

    def heard(self, descriptor: int, peer: bytes) -> None:
        """A peer with a key has said something."""
        self._peers[descriptor] = peer
        if descriptor in self._waiting:
            self._forget(descriptor)

    def ended(self, descriptor: int) -> bytes | None:
        """A connection is no more; the peer that was last heard on it, if any was."""
        if descriptor in self._waiting:
            self._forget(descriptor)
        return self._peers.pop(descriptor, None)

    def too_many(self, descriptors: int, now: float) -> list[Caller]:
        """Whom to end, so that there is room for others. They count until they have `ended`.

        Args:
            descriptors: how many the process may have.
            now: the time, in seconds.
        """
        room = room_of(descriptors)
        excess = max(self.count - room, len(self._waiting) - MOST_WAITING)
        if excess <= 0:
            return []
        fullest = [(-len(callers), network, deque(callers)) for network, callers in self._by_network.items()]
        heapq.heapify(fullest)
        enough = _AT_ONCE + _EACH * len(self._waiting)
        chosen = []
        for _ in range(min(excess, len(self._waiting))):
            minus, network, callers = fullest[0]
            old = now - self._waiting[callers[0]].since > enough
            chosen.append(self._waiting[callers.popleft() if old else callers.pop()])
            if callers:
                heapq.heapreplace(fullest, (minus + 1, network, callers))
            else:
                heapq.heappop(fullest)
        return chosen

    def _forget(self, descriptor: int) -> None:
        network = network_of(self._waiting.pop(descriptor).peer[0])
        self._by_network[network].pop(descriptor)
        if not self._by_network[network]:
            del self._by_network[network]


def room_of(descriptors: int) -> int:
    """How many connections a master of so many descriptors keeps.

    Example:
        >>> room_of(1024)
        784
    """
    room = max(8, descriptors - _OTHER_DESCRIPTORS)
    return room - room // _HEADROOM


def network_of(address: str) -> str:
    """What counts as one address: whoever has one of IPv6 has a whole network of them.

    Example:
        >>> network_of("192.0.2.7"), network_of("2001:db8:1:2:3::4")
        ('192.0.2.7', '2001:db8:1:2::/64')
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if (mapped := found.ipv4_mapped) is not None:
        return str(mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
