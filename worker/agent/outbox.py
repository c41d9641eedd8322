"""What the parts of the agent core want to be done, in the order in which they want it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf
from typing import Literal

from ...protocol import messages
from ...protocol.codec import Buffer, Frames
from ...protocol.messages import Message
from .effects import Effect, ToMaster, ToSlot

LONGEST_REASON = 20_000
HOLD = 0.05
"""Seconds that reports of short packets wait for each other at most."""


class Outbox:
    """The effects of what has just happened; and reports that wait, so that the master hears of several packets at once.

    What waits goes to the master ahead of anything else that it is told.

    Attributes:
        held: how many packets of each slot are finished in what waits.
        due: when it goes at the latest; infinity while there is none.

    Example:
        >>> outbox = Outbox()
        >>> outbox.tell(messages.Heartbeat())
        >>> outbox.taken(), outbox.taken()
        ([ToMaster(message=Heartbeat(within=1.0), frames=())], [])
    """

    def __init__(self) -> None:
        self.held: Counter[int] = Counter()
        self.due = inf
        self._effects: list[Effect] = []
        self._waiting: list[Effect] = []

    def __bool__(self) -> bool:
        return bool(self._effects)

    def add(self, effect: Effect) -> None:
        """Have this done."""
        self.let_go()
        self._effects.append(effect)

    def tell(self, message: Message, frames: Frames | list[Buffer] = ()) -> None:
        """Say something to the master."""
        self.let_go()
        self._effects.append(ToMaster(message, frames))

    def tell_later(self, slot: int, message: Message, frames: Frames, now: float) -> None:
        """Say something of a slot's packet to the master, in a moment."""
        self._waiting.append(ToMaster(message, frames))
        self.held[slot] += isinstance(message, messages.Finished)
        self.due = min(self.due, now + HOLD)

    def let_go(self) -> None:
        """What waits waits no more."""
        if self._waiting:
            self._effects += self._waiting
            self.forget()

    def forget(self) -> None:
        """What waits is about leases that are dead."""
        self._waiting.clear()
        self.held.clear()
        self.due = inf

    def to_slot(self, slot: int, message: Message, frames: Frames = ()) -> None:
        """Say something to a slot."""
        self._effects.append(ToSlot(slot, message, frames))

    def fail(self, query: str, leases: Iterable[int], failure: messages.Failure) -> None:
        """Tell the master that leases have failed."""
        for lease in leases:
            self.tell(messages.Failed(query, lease, failure))

    def taken(self) -> list[Effect]:
        """All that is to be done by now; from then on nothing is."""
        effects, self._effects = self._effects, []
        return effects


def failure_of(error: str, text: str, kind: Literal["analysis", "slot", "count"] = "analysis") -> messages.Failure:
    """What the agent itself has to say of a lease that failed."""
    return messages.Failure(kind, error, text[:LONGEST_REASON])
