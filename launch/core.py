"""The launcher's decisions, without any I/O.

A launcher has pools, places where workers can be started, and is told by the master how many are wanted in each.
`receive`, `welcomed`, `parted`, `answered`, `failed`, `expire` take what happened and the time, and answer with a
list of effects (`launch.effects`) in the order in which they must be carried out: what is to be written down stands
before what it is about. The core reads no clock, owns no socket and calls no pool, so that the same code runs under
the poll loop (`launch.serve`) and in a simulator.

How many workers are wanted comes in (`Scale`, `StopLaunches`, `want`); how they come to be there is decided in
`reconciler`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..protocol import messages
from ..protocol.messages import Message
from ..protocol.values import some
from .effects import Answer, Effect, Failed, Find, FindLeft, List, ReadLog, Saved, Start, Stop, Tell
from .reconciler import Reconciler, Terms

ANSWER_SECONDS = 10.0
"""After which who has scaled a pool is answered, whatever has become of it."""
TELL_SECONDS = 0.2
"""Between two messages about pools."""
TELL_SECONDS_A_LAUNCH = 0.001
"""So much longer for each launch that is in them."""
_ANSWER = messages.Done | messages.Refused


@dataclass(slots=True)
class Asked:
    """Who scaled a pool and waits for what becomes of it: the number of the request, until when."""

    request: int
    pool: str
    until: float


class LauncherCore:
    """State of a launcher.

    Args:
        pools: what is to be known of each, by name.
        tag: of this launcher; no earlier one had it.
        saved: what an earlier one has left, by pool.
        now: the time.

    Attributes:
        pools: by name.

    Example:
        >>> core = LauncherCore({"batch": Terms("slurm", most=10)}, tag="a1")
        >>> _ = core.welcomed(now=0.0), core.ready("batch", now=0.0)
        >>> [effect for effect in core.want("batch", 2, now=0.0) if isinstance(effect, Start)]
        [Start(pool='batch', call='eventmill-batch-a1-1', count=2)]
    """

    def __init__(
        self, pools: Mapping[str, Terms], tag: str, saved: Mapping[str, Saved] | None = None, now: float = 0.0
    ) -> None:
        saved = saved or {}
        self._effects: list[Effect] = []
        self.pools = {
            name: Reconciler(name, terms, tag, self._do, self._drain, saved.get(name), now)
            for name, terms in pools.items()
        }
        self._asked: list[Asked] = []
        self._joined = False
        self._told: dict[str, int] = {}
        self._tell_at = 0.0
        self._behind = False

    # --- what happens -------------------------------------------------------------------------------------------------

    def welcomed(self, now: float) -> list[Effect]:
        """The master has taken this launcher in, for the first time or again: it is told of all pools."""
        self._joined = True
        self._told, self._tell_at = {}, now
        for pool in self.pools.values():
            pool.heard_again(now)
        return self._done(now)

    def parted(self, now: float) -> list[Effect]:
        """The master is out of reach."""
        self._joined = False
        self._asked.clear()  # the master has answered them itself
        for pool in self.pools.values():
            pool.parted()
        return self._done(now)

    def ready(self, pool: str, now: float, hindrance: str = "") -> list[Effect]:
        """Workers of a pool will be let in from now on; or not, and why."""
        self.pools[pool].hindrance = hindrance
        if hindrance:
            self._answer(pool, lambda request: messages.Refused(request, hindrance))
        self.pools[pool].revision += 1
        return self._done(now)

    def receive(self, message: Message, now: float) -> list[Effect]:
        """The master says something."""
        match message:
            case messages.Scale():
                self._scale(message, now)
            case messages.StopLaunches():
                pool = self._asked_for(message)
                if pool is not None:
                    pool.let_go(message.jobs, now)
                    self._do(Tell(messages.Done(message.request)))
            case messages.WorkerIs():
                if message.pool in self.pools:
                    self.pools[message.pool].worker_is(message, now)
                    return self._later()
        return self._done(now)

    def want(self, pool: str, workers: int, now: float) -> list[Effect]:
        """Have so many workers in a pool, as `Scale` says it."""
        self.pools[pool].want(workers)
        return self._done(now)

    def read_log(self, pool: str, job: str, call: str, now: float) -> list[Effect]:
        """Get what a job has said so far: it goes behind the reason of its launch."""
        self._do(ReadLog(pool, call, job))
        return self._done(now)

    def answered(self, answer: Answer, now: float) -> list[Effect]:
        """A pool has answered a call."""
        call = answer.call
        pool = self.pools[call.pool]
        match call:
            case Start():
                pool.started(call.call, answer.jobs, now)
                self._answer(call.pool, messages.Done)
            case Find():
                pool.found(call.call, answer.jobs, now)
            case FindLeft():
                pool.left_found(answer.jobs, now)
            case List():
                pool.listed(answer.listing, now)
            case ReadLog():
                pool.log_read(call.job, answer.text)
            case Stop():
                pass  # the next listing says what came of it
        return self._done(now)

    def failed(self, failure: Failed, now: float) -> list[Effect]:
        """A call of a pool came to nothing."""
        call, words, trouble = failure.call, failure.words, failure.trouble
        pool = self.pools[call.pool]
        match call:
            case Start():
                pool.start_failed(call.call, words, trouble, now)
                if trouble == "refused":
                    self._answer(call.pool, lambda request: messages.Refused(request, words))
                else:
                    self._answer(call.pool, messages.Done)
            case Find():
                pool.find_failed(call.call, words, now)
            case FindLeft():
                pool.find_failed("", words, now)
            case List():
                pool.listing_failed(words, now)
            case Stop():
                pool.stop_failed(call.jobs, words, now)
            case ReadLog():
                pool.log_read(call.job, f"(its log cannot be read: {words})")
        return self._done(now)

    def end(self, now: float) -> list[Effect]:
        """Have all workers go at once; `empty` says when they are gone."""
        for pool in self.pools.values():
            pool.end(now)
        return self._done(now)

    @property
    def empty(self) -> bool:
        """No pool has any workers, or has been asked for some."""
        return all(pool.empty for pool in self.pools.values())

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        for asked in self._asked:
            if now >= asked.until:
                self._do(Tell(messages.Done(asked.request)))
        self._asked = [asked for asked in self._asked if now < asked.until]
        return self._done(now)

    def deadline(self, now: float) -> float:
        """When `expire` is to be called at the latest."""
        if self._behind:
            return now
        times = [pool.deadline(now) for pool in self.pools.values()]
        times += [asked.until for asked in self._asked]
        times += [self._tell_at] if self._untold else []
        return min(times, default=now + 3600.0)

    def check(self) -> None:
        """Assert the invariants."""
        for pool in self.pools.values():
            pool.check()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _scale(self, message: messages.Scale, now: float) -> None:
        pool = self._asked_for(message)
        if pool is None:
            return
        if message.follows:
            pool.want(min(message.workers, pool.terms.most), by_hand=False)
            self._do(Tell(messages.Done(message.request)))
            return
        if message.workers > pool.terms.most:
            reason = f"the pool {pool.pool} may have {pool.terms.most} workers at most (its setting `most`)"
            self._do(Tell(messages.Refused(message.request, reason)))
            return
        more = message.workers > pool.wanted or pool.trouble(now)
        pool.want(message.workers)
        pool.turn(now)
        if more and (pool.calls.open or pool.hindrance):
            self._asked.append(Asked(message.request, pool.pool, now + ANSWER_SECONDS))
        else:
            self._do(Tell(messages.Done(message.request)))

    def _asked_for(self, message: messages.Scale | messages.StopLaunches) -> Reconciler | None:
        """The pool that a request is about; it is refused if there is none."""
        pool = self.pools.get(message.pool)
        if pool is None:
            reason = f"this launcher has no pool {message.pool}; it has: {some(list(self.pools))}"
            self._do(Tell(messages.Refused(message.request, reason)))
        return pool

    def _answer(self, pool: str, answer: Callable[[int], Message]) -> None:
        """Answer those who have scaled a pool."""
        for asked in self._asked:
            if asked.pool == pool:
                self._do(Tell(answer(asked.request)))
        self._asked = [asked for asked in self._asked if asked.pool != pool]

    def _drain(self, worker: str) -> None:
        if self._joined:
            self._do(Tell(messages.Drain(worker)))

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)

    @property
    def _untold(self) -> bool:
        """Whether the master is to be told of something new."""
        return self._joined and any(self._told.get(name) != pool.revision for name, pool in self.pools.items())

    def _later(self) -> list[Effect]:
        """Of a thousand workers that come at once a thousand words come: what follows from them follows once."""
        self._behind = True
        effects, self._effects = self._effects, []
        return effects

    def _done(self, now: float) -> list[Effect]:
        self._behind = False
        for pool in self.pools.values():
            pool.turn(now)
        effects, self._effects = self._effects, []
        told = [effect.message if isinstance(effect, Tell) else None for effect in effects]
        answers = [at for at, message in enumerate(told) if isinstance(message, _ANSWER)]
        if self._untold and (answers or now >= self._tell_at):
            infos = [pool.info(now) for pool in self.pools.values()]
            self._told = {name: pool.revision for name, pool in self.pools.items()}
            launches = sum(len(info.launches) for info in infos)
            self._tell_at = now + TELL_SECONDS + TELL_SECONDS_A_LAUNCH * launches
            # Whoever has an answer, and asks for the pools then, is told what it has led to.
            effects.insert(min(answers, default=len(effects)), Tell(messages.TellPools(infos)))
        return effects
