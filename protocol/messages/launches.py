"""Workers on their way: how they enrol, what stage they have reached, and what launchers and the master say of them.

A *launcher* has pools, places where workers can be started. It joins the master as a session does, with a session's key,
and its pools are for whom that key is. A *token* lets so many workers enrol: each makes a key of its own, and comes back
with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..values import Amount, NonNegative, Seconds, Word, Words
from .parts import Message

LaunchStage = Literal[
    "requested", "queued", "held", "started", "environment", "connected", "enrolled", "warm", "working", "idle",
    "draining", "stopping", "gone", "failed", "lost",
]  # fmt: skip
"""How far a worker is that a pool starts. Up to "started" the pool says it, from "environment" on the worker itself, whose
word counts more. "failed" is one that ended before it had joined, "lost" one that nobody knows anything of any more."""
Hindrance = Literal["", "max_workers", "max_cost", "most", "share", "parallel", "start"]
"""Why a user has no more workers: she may have no more, or cannot pay for more; her pools may have no more, or are in
trouble; others have their share; no more slots could work at the same time; more would come too late."""
BOOT_STAGES = ("environment", "connected", "enrolled", "warm")
"""Those that a worker tells of by `Stage`, in their order; then it says hello."""
MOST_LAUNCHES = 10_000
_Key = Annotated[str, Meta(min_length=40, max_length=40)]


class TokenTerms(msgspec.Struct, frozen=True, array_like=True):
    """What a token is good for: so many `uses`, each a worker of at most so many `slots`, in the pool (any, if ""), until
    so many seconds from now; its workers serve the queries of `owner`: a user, a "@group", or everybody ("")."""

    name: Word
    owner: Word = ""
    pool: Word = ""
    uses: Annotated[int, Meta(ge=1, le=10**6)] = 1
    slots: Annotated[int, Meta(ge=1, le=4096)] = 4096
    valid: Seconds = 43200.0


class TokenInfo(msgspec.Struct, frozen=True, array_like=True):
    """A token as it is listed: its terms, how often it was `used`, how many of its workers are there, and whether it is
    `revoked`; `left` are the seconds until it is over."""

    terms: TokenTerms
    used: NonNegative
    workers: NonNegative
    left: Seconds
    revoked: bool = False


class UserInfo(msgspec.Struct, frozen=True, array_like=True):
    """A user whom the master knows."""

    name: Word
    groups: list[Word] = []
    operator: bool = False


class LaunchInfo(msgspec.Struct, frozen=True, array_like=True):
    """A worker that a pool starts: its `job`, in the system's own words, how far it is, for how many seconds by now, why
    (as the batch system or the worker says it), on which host, and what the master calls it once it has joined.

    `stages` are the seconds that those took which are behind it.
    """

    job: Word
    stage: LaunchStage
    seconds: Seconds = 0.0
    reason: Words = ""
    host: Word = ""
    worker: Word = ""
    stages: dict[Word, Seconds] = {}


class PoolTerms(msgspec.Struct, frozen=True, array_like=True):
    """What a worker of a pool has and costs: its slots; its `price` an hour, in the facility's currency, which is to be paid
    in periods of `billing` seconds; how many are kept at `least`; the seconds that one takes to start, as far as its owner
    knows; and whether it may be taken back at any time (`spot`)."""

    slots: Annotated[int, Meta(ge=1, le=4096)] = 1
    price: Amount = 0.0
    billing: Seconds = 1.0
    least: NonNegative = 0
    start: Seconds = 60.0
    spot: bool = False


class WishTerms(msgspec.Struct, frozen=True, array_like=True):
    """What a user wishes for all her queries: in which pools workers may be started (none named: in all that may serve her),
    the seconds after its submission in which each query is to be finished, the seconds from now until all that is there is
    to be, workers and costs at most. None is no bound."""

    pools: list[Word] = []
    finish_in: Seconds | None = None
    deadline: Seconds | None = None
    max_workers: NonNegative | None = None
    max_cost: Amount | None = None


class WishInfo(msgspec.Struct, frozen=True):
    """A user's wish, and what will become of it: the seconds until all that there is to do is done (None: never), how many
    seconds that is too `late`, the workers that do it, what was `spent` for her since she wished it and what will have been
    at the end. `hindrance` is why there are no more workers when it will be late. It is not `known` while nobody has
    worked on some of her queries: what they cost is a guess then. `course` are the seconds since there was
    something to do first, from then to the first packet, and, when all is done, from the last packet until the last worker
    was gone."""

    owner: Word
    terms: WishTerms
    queries: NonNegative = 0
    finish: Seconds | None = 0.0
    late: Seconds = 0.0
    workers: NonNegative = 0
    spent: Amount = 0.0
    cost: Amount | None = 0.0
    hindrance: Hindrance = ""
    known: bool = True
    course: dict[Word, Seconds] = {}


class PoolInfo(msgspec.Struct, frozen=True):
    """A pool: how many workers are `wanted`, at most how many there may be, and what has become of them.

    `trouble` is why none is started at the moment. `owner` is whose queries its workers serve. `stages` counts all launches
    by their stage where only some of them are told. `terms` are what a worker has and costs. A pool whose workers
    somebody has asked for `by_hand` does not follow the work.
    """

    pool: Word
    system: Word
    wanted: NonNegative
    most: NonNegative
    launches: Annotated[list[LaunchInfo], Meta(max_length=MOST_LAUNCHES)] = []
    trouble: Words = ""
    owner: Word = ""
    stages: dict[Word, NonNegative] = {}
    terms: PoolTerms = PoolTerms()
    by_hand: bool = False


# --- worker to master -------------------------------------------------------------------------------------------------


class Enrol(Message, frozen=True):
    """A worker comes with a token's key: let its own key in. `job` is what its pool's system calls it."""

    public_key: _Key
    pool: Word = ""
    job: Word = ""
    host: Word = ""
    slots: Annotated[int, Meta(ge=1, le=4096)] = 1


class Stage(Message, frozen=True):
    """A worker has reached a stage, so many seconds after it began; or cannot go on, and says why (`failed`)."""

    stage: Literal["environment", "connected", "enrolled", "warm", "failed"]
    seconds: Seconds = 0.0
    reason: Words = ""
    pool: Word = ""
    job: Word = ""
    host: Word = ""


# --- master to worker -------------------------------------------------------------------------------------------------


class Enrolled(Message, frozen=True):
    """The answer to `Enrol`: come back with the new key, which is good for so many seconds (None: for as long as it is let
    in)."""

    seconds: Seconds | None = None


# --- launcher to master -----------------------------------------------------------------------------------------------


class TellPools(Message, frozen=True):
    """The pools of a launcher, as they stand now: all of them, when it has joined and when something has changed."""

    pools: list[PoolInfo]


# --- master to launcher -----------------------------------------------------------------------------------------------


class WorkerIs(Message, frozen=True):
    """What became of a worker of a pool: a stage that it has reached, or that it is "gone" or "lost", and why."""

    pool: Word
    job: Word
    stage: LaunchStage
    worker: Word = ""
    host: Word = ""
    reason: Words = ""
    seconds: Seconds = 0.0


# --- session to master, and on to the launcher ------------------------------------------------------------------------


class Scale(Message, frozen=True):
    """Have so many workers in a pool. The master passes it on to the launcher that has it, with its own number of the
    request; `Done` or `Refused` answers. If there is none yet, it may come within the seconds to `wait`. A master that
    follows the work says so itself (`follows`): it is answered at once, and what keeps workers from starting stays."""

    request: NonNegative
    pool: Word
    workers: NonNegative
    wait: Seconds = 0.0
    follows: bool = False


class StopLaunches(Message, frozen=True):
    """Let these jobs of a pool go, and have so many fewer workers there. Passed on as `Scale` is."""

    request: NonNegative
    pool: Word
    jobs: list[Word]


class MakeWish(Message, frozen=True):
    """Have the pools follow the work of this user's queries, as she wishes; None: no more. `Wished` or `Refused` answers. If
    a pool of hers has no launcher yet, one may come within the seconds to `wait`."""

    request: NonNegative
    terms: WishTerms | None
    wait: Seconds = 0.0


class AskPools(Message, frozen=True):
    """Ask for the pools that launchers have; `Pools` answers."""

    request: NonNegative


class MakeToken(Message, frozen=True):
    """Let workers enrol whose token has this public key, on these terms; `Done` or `Refused` answers."""

    request: NonNegative
    public_key: _Key
    terms: TokenTerms


class RevokeToken(Message, frozen=True):
    """A token is good no more, and its workers are sent away; `Done` or `Refused` answers."""

    request: NonNegative
    name: Word


class AddUser(Message, frozen=True):
    """Let a user in with this public key, in the place of an earlier one of hers; `Done` or `Refused` answers."""

    request: NonNegative
    public_key: _Key
    user: UserInfo


class RemoveUser(Message, frozen=True):
    """Let a user in no more; her queries end, her workers are sent away. `Done` or `Refused` answers."""

    request: NonNegative
    name: Word


class AskAccess(Message, frozen=True):
    """Ask for the users and tokens that there are; `AccessList` answers. Users hear of their own tokens only."""

    request: NonNegative


# --- master to session ------------------------------------------------------------------------------------------------


class Done(Message, frozen=True):
    """What was asked for is done. The launcher answers a `Scale` with it, too."""

    request: NonNegative


class Pools(Message, frozen=True):
    """Answer to `AskPools`: the pools, and the wishes that they follow, as far as they are the business of the asker, who is
    this `user`."""

    request: NonNegative
    pools: list[PoolInfo]
    wishes: list[WishInfo] = []
    user: Word = ""


class Wished(Message, frozen=True):
    """Answer to `MakeWish`: what will become of it."""

    request: NonNegative
    wish: WishInfo


class AccessList(Message, frozen=True):
    """Answer to `AskAccess`."""

    request: NonNegative
    users: list[UserInfo]
    tokens: list[TokenInfo]
