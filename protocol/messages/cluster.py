"""What is going on in a cluster, for displays that ask for it again and again: each time for what is new."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ..usage import Usage
from ..values import NonNegative, Seconds, Word
from .launches import PoolInfo, WishInfo
from .parts import Message, QueryInfo
from .sessions import Progress

ACTIVITIES = {
    "idle": "i",
    "loading": "l",
    "opening": "o",
    "reading": "w",
    "compiling": "c",
    "running": "r",
    "committing": "m",
    "down": "d",
    "leaving": "e",
}
"""What a slot can be at, and the letter for it: it does nothing; loads code, opens a file, waits for data, compiles, runs
the analysis; has nothing but results that are not committed yet; its process is being replaced; it gets nothing any more."""
MOST_EVENTS = 2000
"""In one message."""
MOST_PACKETS, MOST_GONE = 20_000, 2000
"""The last ones that a master remembers, and whoever it tells of them: packets that ended, and workers that went."""
_Letters = Annotated[str, Meta(max_length=4096)]


class WorkerState(msgspec.Struct, frozen=True, array_like=True):
    """A worker that is there, `joined` seconds after the master began. `slots` has a letter (`ACTIVITIES`) for each slot.

    `since` is when each slot began with the packet that it has in hand, if it has one.
    `total` is what all its packets cost, for all queries; `leaves` the second at which it will be gone, if that is known.
    """

    worker: Word
    host: Word
    site: Word
    pid: NonNegative
    joined: Seconds
    slots: _Letters
    since: Annotated[list[Seconds], Meta(max_length=4096)]
    total: Usage
    leaves: Seconds | None = None


class WorkerGone(msgspec.Struct, frozen=True, array_like=True):
    """A worker that was there from `joined` to `left`, in seconds after the master began, with so many `slots`.

    It is `lost` when it did not say that it leaves; `how` says it in words.
    """

    worker: Word
    host: Word
    site: Word
    slots: NonNegative
    joined: Seconds
    left: Seconds
    lost: bool
    how: Word
    total: Usage


class PacketDone(msgspec.Struct, frozen=True, array_like=True):
    """A packet that a slot was through with so many seconds after the master began, and what it cost.

    `server` is where it was read from; "" for what is in no file.
    """

    worker: Word
    slot: NonNegative
    query: Word
    server: Word
    ended: Seconds
    usage: Usage


class AskCluster(Message, frozen=True):
    """Ask for what is going on; of that what is new since the `cursor` of an answer, or ("") all of it."""

    request: NonNegative
    cursor: Word = ""


class Cluster(Message, frozen=True):
    """Answer to `AskCluster`, `now` seconds after the master began.

    With `anew`, this is all that there is, whatever the asker knows (of another master, perhaps); otherwise what is new:
    workers that are there and have changed, those that went, packets that ended, queries that go on or have changed, and
    those that were `forgotten`. `progress` is that of queries that are not over. `servers` tell all that was read from
    each, `pools` how far their workers are (of each pool the last ones at each stage), `wishes` what these follow. With
    `more` there are others, to be asked for with this `cursor`.
    """

    request: NonNegative
    cursor: Word
    anew: bool
    more: bool
    now: Seconds
    workers: list[WorkerState]
    gone: Annotated[list[WorkerGone], Meta(max_length=MOST_EVENTS)]
    packets: Annotated[list[PacketDone], Meta(max_length=MOST_EVENTS)]
    queries: list[QueryInfo]
    forgotten: list[Word]
    progress: list[Progress]
    servers: dict[Word, Usage]
    pools: list[PoolInfo] = []
    wishes: list[WishInfo] = []
