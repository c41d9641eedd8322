"""How long a master has listened: the time in which its peers can be called silent."""

from __future__ import annotations

HEARTBEAT = 1.0
"""Seconds after which a peer that has said nothing else says that it is there."""
IDLE_HEARTBEAT = 10.0
"""The same of a worker that has nothing to do, and of which nothing is lost: there may be ten thousand."""


class Hearing:
    """Whether everybody has been heard who had said something: as soon as nothing lies unread.

    Where more comes than is taken in, it is so all the same: a ROUTER socket takes from its connections in turn, so that
    each has been heard after as many messages as there are connections. Else nobody would be found silent as long as
    somebody says a lot.

    Example:
        >>> hearing = Hearing()
        >>> hearing.took(3, connections=4, more=True), hearing.took(3, connections=4, more=True)
        (False, True)
        >>> hearing.took(1, connections=4, more=True), hearing.took(1, connections=4, more=False)
        (False, True)
    """

    def __init__(self) -> None:
        self._taken = 0

    def took(self, messages: int, connections: int, more: bool) -> bool:
        """So many messages were taken in, and there may be `more`. Returns whether everybody has been heard since it last
        did so."""
        self._taken += messages
        heard = not more or self._taken > connections
        if heard:
            self._taken = 0
        return heard


class Listening:
    """A clock that runs while the master takes in what its peers say.

    What a peer has said lies unread while the master's process is stopped, a disk is slow, or ten thousand say hello at
    once: that the master did not listen is not to be taken for silence. So the clock stands while something may still lie
    there unread; and of a long time between two looks it counts no more than a heartbeat, since what came meanwhile may be
    on its way through the sockets.

    Attributes:
        time: seconds that were listened.

    Example:
        >>> listening = Listening()
        >>> listening.looked(100.0), listening.looked(100.5), listening.looked(160.5)
        (0.0, 0.5, 1.5)
        >>> listening.looked(161.0, heard_all=False), listening.looked(161.25)
        (1.5, 2.25)
    """

    def __init__(self) -> None:
        self.time = 0.0
        self._since: float | None = None

    def looked(self, now: float, heard_all: bool = True) -> float:
        """The master has taken in what peers had said by now: all of it, or as much as it could. Returns the time that was
        listened."""
        if self._since is None:
            self._since = now
        if heard_all:
            self.time += min(max(0.0, now - self._since), HEARTBEAT)
            self._since = now
        return self.time
