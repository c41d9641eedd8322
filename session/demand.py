"""When the master is to send the next snapshot of a query: large ones for who looks at them, and else seldom."""

from __future__ import annotations

from collections.abc import Iterable

from ..merge import keys_packed
from ..merge.nodes import Key
from ..protocol.codec import Frames
from ..protocol.messages import Seen

LARGE = 2**20
"""Bytes of a result from which on it is dear to send, and displays ask for miniatures."""
UNSEEN_SECONDS = 10.0
"""After so long the next large one is sent for though nobody has looked at this one: who does is to see no very old one."""


def is_large(frames: Frames) -> bool:
    """Whether a result is dear to send.

    Example:
        >>> is_large([bytes(8 * 10**6)]), is_large([bytes(400)] * 100)
        (True, False)
    """
    return sum(map(len, frames)) > LARGE


class Demand:
    """What becomes of the snapshots that come, and what is to be in the next ones if the result is large. It is pure: the
    caller has the clock, and sends `seen` where it says so.

    Attributes:
        keys: of the dict that it is, what is looked at; `whole`, if that is all of it.

    Example:
        >>> demand = Demand()
        >>> demand.came([bytes(100)], now=0.0), demand.came([bytes(2 * LARGE)], now=1.0)
        (True, False)
        >>> demand.passed(now=2.0), demand.looked(), demand.looked()
        (False, True, False)
    """

    def __init__(self) -> None:
        self._unseen_since: float | None = None
        self.keys: dict[Key, None] = {}
        self.whole = False

    def wants(self, keys: Iterable[Key] | None) -> None:
        """Somebody looks at what is under these keys, or, if they are None, at all of it."""
        if keys is None:
            self.whole = True
        else:
            self.keys.update(dict.fromkeys(keys))

    def seen(self, query: str) -> Seen:
        """The message that has the next snapshot sent."""
        return Seen(query, keys_packed(self.keys), self.whole)

    def came(self, frames: Frames, now: float) -> bool:
        """A snapshot came; whether it is seen at once."""
        large = is_large(frames)
        if large:
            self._unseen_since = now
        return not large

    def looked(self) -> bool:
        """Somebody looks at it; whether it is seen by that."""
        unseen, self._unseen_since = self._unseen_since, None
        return unseen is not None

    def passed(self, now: float) -> bool:
        """It is so late now; whether it counts as seen."""
        return self._unseen_since is not None and now - self._unseen_since > UNSEEN_SECONDS and self.looked()
