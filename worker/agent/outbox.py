"""What the parts of the agent core want to be done, in the order in which they want it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ...protocol import messages
from ...protocol.codec import Buffer, Frames
from ...protocol.messages import Message
from .effects import Effect, ToMaster, ToSlot

LONGEST_REASON = 20_000


class Outbox:
    """The effects of what has just happened.

    Example:
        >>> outbox = Outbox()
        >>> outbox.tell(messages.Heartbeat())
        >>> outbox.taken(), outbox.taken()
        ([ToMaster(message=Heartbeat(within=1.0), frames=())], [])
    """

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def __bool__(self) -> bool:
        return bool(self._effects)

    def add(self, effect: Effect) -> None:
        """Have this done."""
        self._effects.append(effect)

    def tell(self, message: Message, frames: Frames | list[Buffer] = ()) -> None:
        """Say something to the master."""
        self._effects.append(ToMaster(message, frames))

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
