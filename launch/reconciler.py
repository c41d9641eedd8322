"""Brings what one pool has to what is wanted: asks for workers, lets some go, replaces those that are lost, and finds out.

How many are wanted is said from outside (`want`, `let_go`); this decides nothing about it, with one exception:
workers that leave since nobody has needed them for a while are wanted no more. One that leaves for another reason
(the end of its walltime, a preemption, a node that died) is replaced.

What was asked for counts from the moment at which it is decided, whatever is known of it, and is written down before
it is done. So nothing is asked for twice: a call whose answer did not come is looked for by its name (`open_calls`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from ..protocol.messages import MOST_LAUNCHES, PoolInfo, PoolTerms, WorkerIs
from .bans import Bans
from .effects import Effect, ForgetJobs, ReadLog, SaveCall, Saved, SaveJobs, SaveWanted, Start, Stop
from .holdings import BOOT_FACTOR, BOOT_SECONDS, Holdings
from .inquiries import Inquiries
from .launches import Launch
from .open_calls import OpenCalls
from .pools.pool import IDLE, Job, Trouble

log = logging.getLogger(__name__)

UNREACHED = "the master has not been reached yet"
DRAIN_SECONDS = 60.0
"""After which a worker that was told to drain is stopped by its system."""
STOP_SECONDS = 60.0
"""After which a job that was told to end, and has not, is told again."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be known of a pool here: its `system`, how many workers it may have at most, whose queries they serve,
    after how many seconds without work they leave, whether jobs can be found that are in no record, what a worker has and
    costs."""

    system: str
    most: int = 1000
    owner: str = ""
    idle: float = IDLE
    has_tags: bool = False
    worker: PoolTerms = PoolTerms()  # noqa: RUF009  # it is frozen


class Reconciler:
    """One pool, its launches, and how many are wanted.

    Args:
        pool: its name.
        terms: its bounds.
        tag: of this launcher; no earlier one had it.
        do: has an effect carried out.
        drain: lets a worker leave in good order, by the name that the master has for it.
        saved: what an earlier launcher has left.
        now: the time.

    Attributes:
        wanted: workers.
        by_hand: somebody has said how many; it is not the work that the pool follows.
        holdings: the launches.
        calls: by which the system is being asked for workers.
        hindrance: why the pool cannot be asked for workers at all: nobody would let them in. Empty if it can.
        revision: counts what changes and displays show.
    """

    def __init__(
        self,
        pool: str,
        terms: Terms,
        tag: str,
        do: Callable[[Effect], None],
        drain: Callable[[str], None],
        saved: Saved | None = None,
        now: float = 0.0,
    ) -> None:
        saved = saved or Saved()
        self.pool, self.terms = pool, terms
        self.wanted, self.by_hand = min(saved.wanted, terms.most), saved.by_hand
        self.holdings = Holdings(max(BOOT_SECONDS, BOOT_FACTOR * terms.worker.start))
        self.holdings.take_over(saved.jobs, now)
        self.hindrance = UNREACHED
        self.revision = 0
        self.calls = OpenCalls(saved.calls, now)
        self._bans = Bans()
        due = now if saved.jobs else inf
        self._inquiries = Inquiries(pool, self.holdings, self.calls, self._bans, do, due, terms.has_tags)
        self._hears_since = inf
        self._tag = tag
        self._numbers = 0
        self._do = do
        self._drain = drain
        self._troubled = False

    # --- what is wanted ---------------------------------------------------------------------------------------------

    def want(self, workers: int, by_hand: bool = True) -> None:
        """Have so many, no more and no fewer. If a user has said it (`by_hand`), what was in the way is tried again."""
        if by_hand:
            self._bans.changed()
        self._set_wanted(workers, by_hand)

    def let_go(self, jobs: Sequence[str], now: float) -> None:
        """Have these go, and so many fewer."""
        going = [launch for job in jobs if (launch := self.holdings.get(job)) is not None and launch.counts]
        self._set_wanted(max(0, self.wanted - len(going)), self.by_hand)
        self._part_with(going, now)

    def end(self, now: float) -> None:
        """Have no workers at all, at once: their system ends them."""
        self._set_wanted(0, self.by_hand)
        self._stop(self.holdings.live, now)

    @property
    def empty(self) -> bool:
        """Nothing is there, and nothing was asked for."""
        return not self.calls.open and not self.holdings.live

    # --- what the system answers --------------------------------------------------------------------------------------

    def started(self, call: str, jobs: Sequence[str], now: float) -> None:
        """These are the jobs of a call: it was answered, or they were found."""
        self._bans.answered()
        known = self.calls.close(call)
        self._do(SaveJobs(self.pool, call, jobs))
        for job in jobs:
            self.holdings.add(Launch(job, call, now if known is None else known.asked))
        for word in self.holdings.heard_early():
            self.worker_is(word, now)
        self._inquiries.soon(now)
        self.revision += 1

    def start_failed(self, call: str, words: str, trouble: Trouble, now: float) -> None:
        """It was not answered. Of a system that is down nobody knows whether it has the jobs nevertheless."""
        log.warning("pool %s: no workers could be started: %s", self.pool, words)
        if trouble == "down":
            self.calls.doubt(call, now)
        else:
            self._close(call)
        self._bans.troubled(words, trouble, self.holdings.alive, now)
        self.revision += 1

    def found(self, call: str, jobs: Sequence[str], now: float) -> None:
        """The jobs of a call whose answer did not come."""
        self._bans.answered()
        if jobs:
            self.started(call, jobs, now)
        elif call in self.calls.open and self.calls.looked(call, now):
            self._close(call)

    def find_failed(self, call: str, words: str, now: float) -> None:
        """They could not be looked for; without a call, all that there are."""
        self.calls.failed_to_look(call) if call else self._inquiries.looked_for_left(False)
        self._is_down(words, now)

    def left_found(self, jobs: Sequence[str], now: float) -> None:
        """All jobs of this pool that there are: those that are in no record are taken over."""
        self._bans.answered()
        self._inquiries.looked_for_left(True)
        if unknown := self.holdings.take_over(dict.fromkeys(jobs, ""), now):
            log.warning("pool %s: %d jobs are there that are in no record: taken over", self.pool, len(unknown))
            self._do(SaveJobs(self.pool, "", unknown))
            self._inquiries.soon(now)
            self.revision += 1
            for word in self.holdings.heard_early():
                self.worker_is(word, now)

    def listed(self, jobs: Mapping[str, Job], now: float) -> None:
        """The system's list came."""
        self._bans.answered()
        news = False
        for job, state in jobs.items():
            launch = self.holdings.get(job)
            if launch is not None and launch.pool_says(state, now):
                news = True
                self._follow(launch, now)
        self.revision += news
        self._inquiries.answered(news, now)

    def listing_failed(self, words: str, now: float) -> None:
        """It did not come, which is no news of any job."""
        self._inquiries.answered(False, now)
        self._is_down(words, now)

    def stop_failed(self, jobs: Sequence[str], words: str, now: float) -> None:
        """These jobs could not be told to end: they are told again once the system is up."""
        for job in jobs:
            launch = self.holdings.get(job)
            if launch is not None and launch.told == "stop":
                launch.until = now
        self._is_down(words, now)

    def log_read(self, job: str, text: str) -> None:
        """What a job has said that ended before its worker had joined (""): it tells more than its system does."""
        launch = self.holdings.get(job)
        if launch is not None:
            launch.explain(text)
            self._bans.explain(launch.reason)
            self.revision += 1

    # --- what the master says ---------------------------------------------------------------------------------------

    def worker_is(self, word: WorkerIs, now: float) -> None:
        """A worker of this pool has come so far, or is gone."""
        launch = self.holdings.get(word.job)
        if launch is None:
            if self.calls.open or not self._inquiries.know_all:  # one of them may be its own, or it is in no record
                self.holdings.hear_early(word)
            return
        unneeded = launch.counts and launch.idle_for(now) >= self.terms.idle / 2
        was_over = launch.over
        self.revision += launch.worker_says(word, now)
        if was_over and not launch.over:
            self._do(SaveJobs(self.pool, launch.call, [launch.job]))
        if launch.joined:
            self._bans.joined()
        if unneeded and launch.stage in ("draining", "stopping"):
            log.info("pool %s: worker %s leaves, since nobody has needed it", self.pool, launch.worker)
            self._set_wanted(max(0, self.wanted - 1), self.by_hand)
        if launch.stage == "failed" and not was_over:
            self._stop([launch], now)  # it has said so itself, and is there until it ends
        self._follow(launch, now)

    def heard_again(self, now: float) -> None:
        """The master was out of reach: what it says from now on counts, and what it has said no more."""
        self._hears_since = now
        for launch in self.holdings:
            if launch.says_nothing(now):
                self._follow(launch, now)

    def parted(self) -> None:
        """The master is out of reach: that nothing is heard of workers means nothing."""
        self._hears_since = inf

    # --- what follows -------------------------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Do what is due."""
        self._insist(now)
        alive = self.holdings.alive
        if alive > self.wanted:
            if self.holdings.certain:
                self._part_with(self.holdings.surplus(alive - self.wanted), now)
        elif not (self.hindrance or self.calls.open or self._bans.forbid(now) or self._inquiries.come_first):
            count = self._bans.allowed(self.wanted, alive, self.holdings.coming, now)
            if count > 0:
                self._start(count, now)
        self._inquiries.look(now)
        self.holdings.forget()
        trouble = bool(self.trouble(now))  # it may be over by itself
        self.revision += trouble != self._troubled
        self._troubled = trouble

    def deadline(self, now: float) -> float:
        """When `turn` is to be called at the latest."""
        late = inf if self._bans.is_down(now) else self.holdings.due(self._hears_since)
        return min(self._bans.due(now), late, self._inquiries.deadline(now))

    def trouble(self, now: float) -> str:
        """Why there are no more workers, for those who wait for them; empty when nothing is in the way."""
        return self._bans.words(now) or (self.hindrance if self.wanted else "")

    def info(self, now: float) -> PoolInfo:
        """As it is told to the master. What was asked for and has no id yet is there under the name of its call."""
        terms, launches = self.terms, [*self.holdings.infos(now), *self.calls.infos(now)][:MOST_LAUNCHES]
        return PoolInfo(
            self.pool, terms.system, self.wanted, terms.most, launches, self.trouble(now), terms.owner,
            terms=terms.worker, by_hand=self.by_hand,
        )  # fmt: skip

    def check(self) -> None:
        """Assert the invariants."""
        assert 0 <= self.wanted <= self.terms.most
        assert not any(launch.told and launch.until == inf for launch in self.holdings.live)
        assert all(call.count > 0 for call in self.calls.open.values())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _set_wanted(self, workers: int, by_hand: bool) -> None:
        if (workers, by_hand) != (self.wanted, self.by_hand):
            self.wanted, self.by_hand = workers, by_hand
            self.revision += 1
            self._do(SaveWanted(self.pool, workers, by_hand))

    def _start(self, count: int, now: float) -> None:
        self._numbers += 1
        call = f"eventmill-{self.pool}-{self._tag}-{self._numbers}"
        self.calls.add(call, count, now)
        self.revision += 1
        self._do(SaveCall(self.pool, call, count))
        self._do(Start(self.pool, call, count))

    def _close(self, call: str) -> None:
        """A call has come to nothing."""
        self.calls.close(call)
        self._do(SaveJobs(self.pool, call, ()))
        self.revision += 1

    def _is_down(self, words: str, now: float) -> None:
        if not self._bans.suspect:
            log.warning("pool %s: its system does not answer: %s", self.pool, words)
        self._bans.troubled(words, "down", self.holdings.alive, now)
        self.revision += 1

    def _follow(self, launch: Launch, now: float) -> None:
        """Do what follows from news of a launch."""
        if launch.stage == "failed" and not launch.counted:
            launch.counted = True
            log.warning("pool %s: job %s failed: %s", self.pool, launch.job, launch.reason)
            self._bans.failed(launch.reason, now)
            self._do(ReadLog(self.pool, launch.call, launch.job))
        if launch.over:
            self._do(ForgetJobs(self.pool, [launch.job]))
        elif launch.stage == "stopping" and not launch.told:
            launch.tell("stop", now + STOP_SECONDS)
        if launch.stage in ("stopping", "lost"):
            self._inquiries.soon(now)

    def _insist(self, now: float) -> None:
        """See to it that what was told to end ends, and that what is heard nothing of is not waited for."""
        late = self.holdings.late(now, self._hears_since)
        if not late or self._bans.is_down(now):
            return
        for launch in late:
            if launch.booting and not launch.told:
                silent = f"nothing was heard of a worker for {self.holdings.boot:g} s after stage {launch.stage!r}"
                self._bans.failed(silent, now)
        self._stop(late, now)

    def _part_with(self, launches: Sequence[Launch], now: float) -> None:
        """Let some go, those in good order that have joined."""
        self._stop([launch for launch in launches if not launch.joined], now)
        for launch in launches:
            if launch.joined:
                launch.tell("drain", now + DRAIN_SECONDS)
                self._drain(launch.worker)
                self.revision += 1

    def _stop(self, launches: Sequence[Launch], now: float) -> None:
        if launches:
            for launch in launches:
                launch.tell("stop", now + STOP_SECONDS)
            self._do(Stop(self.pool, [launch.job for launch in launches]))
            self._inquiries.soon(now)
            self.revision += 1
