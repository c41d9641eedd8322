"""What any peer and the master say to each other: who they are, that they are there, and that they leave."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..values import NonNegative, Seconds, Word, Words
from .parts import PROTOCOL, Message, Role


class Hello(Message, frozen=True):
    """First message of a peer. `protocol` and `python` must be the master's; slots are up and warm when a worker says it.

    `incarnation` counts the hellos that this peer said before. The welcome repeats it: what comes before the welcome of
    the latest hello is for what the peer was earlier.

    A worker that a pool has started says the name of the `pool`, and what its system calls the `job`; one that was welcome
    before, by what name: `was`.
    """

    role: Role
    name: Word
    protocol: int = PROTOCOL
    version: Word = ""
    python: Word = ""
    host: Word = ""
    site: Word = ""
    pid: NonNegative = 0
    slots: Annotated[int, Meta(ge=0, le=4096)] = 0
    incarnation: NonNegative = 0
    pool: Word = ""
    job: Word = ""
    was: Word = ""


class Welcome(Message, frozen=True):
    """The master's answer to `Hello`: its view of the peer, the `user` as whom it is let in ("" for the master's owner, and
    for workers), and how often it wants to hear from it; of a worker that is `idle` more seldom."""

    peer: Word
    version: Word
    heartbeat: Seconds
    silence: Seconds
    incarnation: NonNegative = 0
    user: Word = ""
    idle: Seconds = 1.0


class Heartbeat(Message, frozen=True):
    """Sent when there was nothing else to say; any message counts as one. The next one comes `within` so many seconds."""

    within: Seconds = 1.0


class Fault(Message, frozen=True):
    """The peer's message could not be accepted: why, in words. `fatal` ends the conversation."""

    reason: Words
    fatal: bool = False


class Unknown(Message, frozen=True):
    """The master does not know this peer (any more): say hello again, leases of before are dead."""


class Bye(Message, frozen=True):
    """The peer leaves in good order; a worker says why. The master says it to a session that it sends away, too."""

    reason: Words = ""
