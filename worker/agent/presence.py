"""When a worker says that it is there, having said nothing else for a while."""

from __future__ import annotations

from collections.abc import Iterable

from ...protocol import messages
from ...protocol.messages import Message

AT_WORK = messages.Heartbeat().within
"""Seconds, unless the master wants something else."""


class Presence:
    """What the master knows of when it hears from us next.

    Each heartbeat says how long it may be until the next: longer when the worker has nothing to do, since nothing is lost
    with it then. After anything else that it says, it is as long as for one at work.

    Example:
        >>> presence, welcome = Presence(), messages.Welcome("node1-1", "1.0", heartbeat=1.0, silence=5.0, idle=5.0)
        >>> presence.said([messages.Ready()], welcome, now=0.0)
        >>> presence.due(welcome, idle=True)
        1.0
        >>> presence.said([presence.heartbeat(welcome, idle=True)], welcome, now=1.0)
        >>> presence.due(welcome, idle=True), presence.due(welcome, idle=False)
        (6.0, 2.0)
    """

    def __init__(self) -> None:
        self._spoken, self._within = 0.0, AT_WORK

    def due(self, welcome: messages.Welcome, idle: bool) -> float:
        """When to say the next heartbeat."""
        return self._spoken + min(self._within, _pause(welcome, idle))

    @staticmethod
    def heartbeat(welcome: messages.Welcome, idle: bool) -> messages.Heartbeat:
        """What to say then."""
        return messages.Heartbeat(_pause(welcome, idle))

    def said(self, told: Iterable[Message], welcome: messages.Welcome | None, now: float) -> None:
        """This was said to the master."""
        for message in told:
            self._spoken = now
            if isinstance(message, messages.Heartbeat):
                self._within = message.within
            else:
                self._within = AT_WORK if welcome is None else welcome.heartbeat


def _pause(welcome: messages.Welcome, idle: bool) -> float:
    return welcome.idle if idle else welcome.heartbeat
