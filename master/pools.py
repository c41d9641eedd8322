"""The pools that launchers have: what becomes of their workers is told to them, and what users want of them passed on.

A launcher is a session with pools. What it tells of them is kept for who asks, and for queries that wait for workers. A
pool is for whom the key of its launcher is, and is scaled by these.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

import msgspec

from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.messages import LaunchStage, Message, PoolInfo
from ..protocol.values import some
from .access import Access, Identity
from .calls import Handlers, SendMessage
from .peers import Peer, Worker

log = logging.getLogger(__name__)

_STARTING = ("started", "environment", "connected", "enrolled", "warm")
_LONGEST_REASON = 200
MOST_STARTS = 1000
"""Of workers of a pool that a query tells of at its end."""


@dataclass(slots=True)
class Launcher:
    """A session that has told of pools, by name, at this time."""

    peer: Peer
    told: float
    pools: dict[str, PoolInfo] = field(default_factory=dict)


@dataclass(slots=True)
class Passed:
    """A request that a launcher is to answer, or that waits for one to come, until then; `identity` is who
    asked it. If none comes, `hindrance` says why."""

    identity: bytes
    who: Identity
    message: messages.Scale | messages.StopLaunches
    launcher: bytes | None = None
    until: float = inf
    hindrance: str = ""


class Pools:
    """Those of all launchers.

    Args:
        workers: by identity.
        access: the users there are.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.

    Attributes:
        wishes: those that the pools follow and that are somebody's business.
    """

    def __init__(self, workers: Mapping[bytes, Worker], access: Access, send: SendMessage) -> None:
        self._workers = workers
        self._access = access
        self._send = send
        self._launchers: dict[bytes, Launcher] = {}
        self._passed: dict[int, Passed] = {}
        self._numbers = 0
        self._told: dict[bytes, LaunchStage] = {}
        self._commands: dict[int, tuple[bytes, str]] = {}
        self.wishes: Callable[[Identity, float], list[messages.WishInfo]] = lambda _who, _now: []

    def add_to(self, handlers: Handlers[Peer]) -> None:
        """What launchers say and sessions ask about pools comes here."""
        handlers.add(messages.TellPools, self._tell)
        handlers.add(messages.AskPools, self._ask)
        handlers.add(messages.Scale, self._pass_on)
        handlers.add(messages.StopLaunches, self._pass_on)
        handlers.add(messages.Done, self._answered)
        handlers.add(messages.Refused, self._answered)

    # --- what becomes of workers ------------------------------------------------------------------------------------

    def reached(self, message: messages.Stage, owner: str, now: float) -> None:
        """A worker on its way, which serves this owner, has reached a stage, or cannot go on."""
        log.info("a worker on %s: %s after %.1f s %s", message.host, message.stage, message.seconds, message.reason)
        word = messages.WorkerIs(
            message.pool, message.job, message.stage, host=message.host, reason=message.reason, seconds=message.seconds
        )
        self._say(word, owner, now)

    def look(self, now: float) -> None:
        """See what workers of pools are at by now."""
        if self._launchers:
            for worker in self._workers.values():
                if worker.pool and self._told.get(worker.identity) != (stage := _stage(worker)):
                    self._told[worker.identity] = stage
                    self._say(_word(worker, stage), worker.owner, now)

    def joined(self, worker: Worker, now: float) -> None:
        """A worker has joined."""
        if worker.pool and self._launchers:
            self._told[worker.identity] = stage = _stage(worker)
            self._say(_word(worker, stage), worker.owner, now)

    def left(self, peer: Peer, how: str, said_so: bool, now: float) -> None:
        """A worker is gone, or a launcher."""
        self._told.pop(peer.identity, None)
        if isinstance(peer, Worker) and peer.pool:
            self._say(_word(peer, "gone" if said_so else "lost", how), peer.owner, now)
        if self._launchers.pop(peer.identity, None) is not None:
            log.info("the pools of launcher %s are gone with it", peer.name)
        self._commands = {number: it for number, it in self._commands.items() if it[0] != peer.identity}
        for number, passed in list(self._passed.items()):
            if passed.identity == peer.identity:
                del self._passed[number]
            elif passed.launcher in (None, peer.identity):  # nobody may have it any more, or one only
                if passed.launcher is not None:
                    passed.launcher, passed.until = None, now + _patience(passed.message)
                    passed.hindrance = f"the launcher of pool {passed.message.pool} is gone, and no other one has come"
                self._find_launcher(number, passed, now)

    def _say(self, word: messages.WorkerIs, owner: str, now: float) -> None:
        """Tell the launchers whose worker this may be."""
        for launcher in self._launchers.values():
            if word.pool in launcher.pools and launcher.peer.who.user in ("", owner):
                self._send(launcher.peer.identity, word, now=now)

    # --- what launchers say -------------------------------------------------------------------------------------------

    def _tell(self, peer: Peer, message: messages.TellPools, frames: Frames, now: float) -> None:
        known, user = self._launchers.get(peer.identity), peer.who.user
        infos = [msgspec.structs.replace(info, owner=user) if user else info for info in message.pools]
        launcher = self._launchers[peer.identity] = Launcher(peer, now, {info.pool: info for info in infos})
        if known is not None and known.pools.keys() == launcher.pools.keys():
            return
        for worker in self._workers.values():  # they may have joined before their launcher
            if worker.pool in launcher.pools:
                self._told.pop(worker.identity, None)
        self.look(now)
        for number, passed in list(self._passed.items()):
            if passed.launcher is None and passed.message.pool in launcher.pools:
                self._find_launcher(number, passed, now)

    def _answered(self, peer: Peer, message: messages.Done | messages.Refused, frames: Frames, now: float) -> None:
        passed = self._passed.get(message.request)
        if self._commands.get(message.request, (b"",))[0] == peer.identity:
            del self._commands[message.request]
        elif passed is not None and passed.launcher == peer.identity:
            self._answer(message.request, message.reason if isinstance(message, messages.Refused) else "", now)

    # --- what follows the work ----------------------------------------------------------------------------------------

    def following(self, now: float) -> Iterator[PoolInfo]:
        """Pools that nobody has scaled by hand, as they stand now; of several of one name the first."""
        names: set[str] = set()
        for launcher in self._launchers.values():
            for name, info in launcher.pools.items():
                if name not in names and not info.by_hand:
                    yield _aged(info, now - launcher.told)
                names.add(name)

    def is_by_hand(self, pool: str) -> bool:
        """Whether somebody has scaled a pool by hand."""
        return any(it.pools[pool].by_hand for it in self._launchers.values() if pool in it.pools)

    def is_settled(self, pool: str) -> bool:
        """Whether its launcher has answered all that it was told of it."""
        return all(pool != commanded for _, commanded in self._commands.values())

    def usable_by(self, who: Identity) -> list[PoolInfo]:
        """Pools whose workers serve this user."""
        served = self._access.served_by(who.user)
        return [info for it in self._launchers.values() for info in it.pools.values() if info.owner in served]

    def command(self, message: messages.Scale | messages.StopLaunches, now: float) -> None:
        """Tell the launcher of a pool what it is to do, if it is there."""
        for identity, launcher in self._launchers.items():
            if message.pool in launcher.pools:
                self._numbers += 1
                self._commands[self._numbers] = identity, message.pool
                self._send(identity, msgspec.structs.replace(message, request=self._numbers), now=now)
                return

    # --- what users want ----------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """See what workers are at, and have nobody wait for a launcher that does not come."""
        self.look(now)
        for number, passed in list(self._passed.items()):
            if now >= passed.until:
                self._find_launcher(number, passed, now)

    def _ask(self, peer: Peer, message: messages.AskPools, frames: Frames, now: float) -> None:
        answer = messages.Pools(message.request, self.seen_by(peer.who, now), self.wishes(peer.who, now), peer.who.user)
        self._send(peer.identity, answer, now=now)

    def seen_by(self, who: Identity, now: float) -> list[PoolInfo]:
        """The pools that are this one's business."""
        served = self._access.served_by(who.user)
        return [
            _aged(info, now - launcher.told)
            for launcher in self._launchers.values()
            for info in launcher.pools.values()
            if who.is_masters or who.operator or launcher.peer.who.user == who.user or info.owner in served
        ]

    def _pass_on(self, peer: Peer, message: messages.Scale | messages.StopLaunches, frames: Frames, now: float) -> None:
        self._numbers += 1
        passed = self._passed[self._numbers] = Passed(peer.identity, peer.who, message)
        passed.until = now + _patience(message)
        self._find_launcher(self._numbers, passed, now)

    def _find_launcher(self, number: int, passed: Passed, now: float) -> None:
        """Pass a request on to the launcher that has the pool, or have it wait for one: of two, one may be gone, and its
        loss not be noticed yet."""
        name, who = passed.message.pool, passed.who
        having = [launcher for launcher in self._launchers.values() if name in launcher.pools]
        own = [launcher for launcher in having if launcher.peer.who.user == who.user]
        allowed = [it for it in having if who.is_masters or who.operator or it.pools[name].owner == who.user]
        launchers = own or allowed
        if len(launchers) == 1:
            passed.launcher, passed.until = launchers[0].peer.identity, inf
            self._send(passed.launcher, msgspec.structs.replace(passed.message, request=number), now=now)
        elif having and not launchers:
            self._answer(number, f"the pool {name} is not {who.user}'s: its launcher is another's", now)
        elif now >= passed.until:
            several = f"{len(launchers)} launchers have a pool {name}: give one of them another name"
            self._answer(number, several if launchers else passed.hindrance or self._unknown(name), now)

    def _unknown(self, name: str) -> str:
        names = [pool for launcher in self._launchers.values() for pool in launcher.pools]
        return (
            f"no launcher of this master has a pool {name}; there are: {some(names)}. `eventmill pool agent FILE` runs one "
            "with the pools of a file"
        )

    def _answer(self, number: int, refusal: str, now: float) -> None:
        passed = self._passed.pop(number)
        request = passed.message.request
        answer: Message = messages.Refused(request, refusal) if refusal else messages.Done(request)
        self._send(passed.identity, answer, now=now)

    def starts(self, workers: Collection[str]) -> dict[str, list[messages.LaunchInfo]]:
        """How these workers came to be, as far as pools have started them, by pool."""
        found: dict[str, list[messages.LaunchInfo]] = {}
        for launcher in self._launchers.values():
            for name, info in launcher.pools.items():
                launches = [launch for launch in info.launches if launch.worker in workers]
                if launches:
                    found.setdefault(name, []).extend(launches[:MOST_STARTS])
        return found

    # --- what a query waits for -----------------------------------------------------------------------------------------

    def expected(self, served_by: frozenset[str]) -> str:
        """What has become of the workers that serve one of these owners and have not joined, in words."""
        return "; ".join(
            words
            for launcher in self._launchers.values()
            for info in launcher.pools.values()
            if info.owner in served_by and (words := describe(info))
        )


def describe(info: PoolInfo) -> str:
    """What has become of the workers that are wanted in a pool, in words; empty when none are.

    Example:
        >>> from eventmill.protocol.messages import LaunchInfo
        >>> launches = [LaunchInfo("1", "queued", reason="Priority"), LaunchInfo("2", "queued", reason="Priority")]
        >>> launches += [LaunchInfo("3", "failed", reason="no such image")]
        >>> describe(PoolInfo("night", "slurm", 3, 10, launches))
        '3 requested in night, 2 queued (Priority), 1 failed: no such image'
        >>> describe(PoolInfo("night", "slurm", 0, 10))
        ''
    """
    if not info.wanted:
        return ""
    parts = [f"{info.wanted} requested in {info.pool}"]
    for word, stages in (("queued", ("queued",)), ("held", ("held",)), ("starting", _STARTING), ("lost", ("lost",))):
        reasons = Counter(launch.reason for launch in info.launches if launch.stage in stages)
        if reasons:
            reason = reasons.most_common(1)[0][0]
            parts.append(
                f"{reasons.total()} {word}" + (f" ({_short(reason)})" if reason and word != "starting" else "")
            )
    failed = [launch for launch in info.launches if launch.stage == "failed"]
    if failed:
        parts.append(f"{len(failed)} failed: {_short(failed[-1].reason)}")
    return ", ".join(parts) + (f"; {_short(info.trouble)}" if info.trouble else "")


def shortened(info: PoolInfo, most: int) -> PoolInfo:
    """A pool with the last ones of its workers only, of each stage so many at most."""
    stages: Counter[str] = Counter()
    kept = []
    for launch in reversed(info.launches):
        stages[launch.stage] += 1
        if stages[launch.stage] <= most:
            kept.append(launch)
    return msgspec.structs.replace(info, launches=kept[::-1], stages=dict(stages))


def _patience(message: messages.Scale | messages.StopLaunches) -> float:
    """Seconds that a request waits for a launcher."""
    return message.wait if isinstance(message, messages.Scale) else 0.0


def _aged(info: PoolInfo, seconds: float) -> PoolInfo:
    """What was told of a pool so many seconds ago, as it would be told now: launchers tell of what changes."""
    launches = [
        launch
        if launch.stage in ("gone", "failed")
        else msgspec.structs.replace(launch, seconds=launch.seconds + seconds)
        for launch in info.launches
    ]
    return msgspec.structs.replace(info, launches=launches)


def _short(reason: str) -> str:
    """The first line of it."""
    return reason.partition("\n")[0][:_LONGEST_REASON]


def _stage(worker: Worker) -> LaunchStage:
    if worker.slots and all(slot.leaving for slot in worker.slots):
        return "draining"
    return "working" if any(slot.leases for slot in worker.slots) else "idle"


def _word(worker: Worker, stage: LaunchStage, reason: str = "") -> messages.WorkerIs:
    return messages.WorkerIs(worker.pool, worker.job, stage, worker.name, worker.host, reason)
