"""One launch: a worker that a pool starts, from the call that asked for it until nothing of it is left.

Two know of it. The *pool* says what the batch system says of its job, when it is asked; the *worker* says by itself
how far it is, through the master, and its word counts more: a listing may be old, or come from a system that has
forgotten the job. Where they contradict each other, the pool's word counts only when it has been said twice in a row
with nothing heard of the worker in between. A listing that failed is no news.

    requested -> queued <-> held -> started -> environment -> connected -> enrolled -> warm
      -> working <-> idle -> draining
    any of them     -> stopping -> gone     it was told to end, or has said goodbye; the pool has the last word
    not yet joined  -> failed               it ended by itself
    joined          -> lost                 the master has heard nothing of it for a while: it may come back

`gone` and `failed` are the ends; a worker of such a launch that is heard of nevertheless lives, whatever the pool has
said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from ..protocol.messages import BOOT_STAGES, LaunchInfo, LaunchStage, WorkerIs
from .pools.pool import Job, JobState

UNLISTED_SECONDS = 10.0
"""For which a system may not list a job that it has just been asked for."""
AGREED = 2
"""Listings in a row that say the same, before that counts more than what the worker said last."""
_WAITING: frozenset[LaunchStage] = frozenset({"requested", "queued", "held"})
_BOOTING: frozenset[LaunchStage] = frozenset({"started", "environment", "connected", "enrolled", "warm"})
_JOINED: frozenset[LaunchStage] = frozenset({"working", "idle"})
_OVER: frozenset[LaunchStage] = frozenset({"gone", "failed"})
_PROGRESS: tuple[LaunchStage, ...] = (
    "lost", "requested", "held", "queued", "started", "environment", "connected", "enrolled", "warm", "idle", "working",
)  # fmt: skip
"""From the stage that costs least to give up to the one that costs most."""
_GOING: dict[str, LaunchStage] = {"drain": "draining", "stop": "stopping"}
_LONGEST_REASON = 2000

# What the state of a job makes of a launch of each kind: when its pool says it once, and when it has said it twice.
_AT_ONCE: dict[str, dict[JobState, LaunchStage]] = {
    "waiting": {
        "queued": "queued", "held": "held", "started": "started", "ending": "stopping", "failed": "failed",
        "reclaimed": "gone",
    },
    "started": {"queued": "queued", "held": "held", "ending": "stopping", "failed": "failed", "reclaimed": "gone"},
    "booting": {"ending": "stopping", "failed": "failed", "reclaimed": "gone"},
    "joined": {},
    "lost": {"ending": "stopping", "failed": "gone", "reclaimed": "gone"},
    "stopping": {"failed": "gone", "reclaimed": "gone"},
}  # fmt: skip
_TWICE: dict[str, dict[JobState, LaunchStage]] = {
    "waiting": {"gone": "failed"},
    "started": {"gone": "failed"},
    "booting": {"gone": "failed", "queued": "queued", "held": "held"},
    "joined": {},
    "lost": {"gone": "gone", "queued": "queued", "held": "held"},
    "stopping": {"gone": "gone"},
}


@dataclass(slots=True)
class Launch:
    """One of them.

    Args:
        job: its id in the system's words.
        call: what the system calls all jobs that were asked for together with it.
        asked: when they were.

    Attributes:
        stage: how far it is, `since` when, and why it is no further (`reason`).
        stages: the seconds that those took which are behind it.
        has_joined: it was with the master at some time.
        told: it was told to end: to "drain", which its worker does, or to "stop", which the system does.
        until: when that must have come true.
        counted: its failure is counted.
        explained: what its job has said last was asked for, after its failure.
        left: an earlier launcher has left it, and nothing was heard of it since.
        listed: its system knew it at some time.

    Example:
        >>> launch = Launch("4711_3", "eventmill-slurm-1", asked=0.0)
        >>> launch.pool_says(Job("queued", "Priority"), now=1.0), launch.stage, launch.reason
        (True, 'queued', 'Priority')
    """

    job: str
    call: str
    asked: float
    since: float = 0.0
    stage: LaunchStage = "requested"
    reason: str = ""
    host: str = ""
    worker: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    has_joined: bool = False
    told: str = ""
    until: float = inf
    counted: bool = False
    explained: bool = False
    left: bool = False
    listed: bool = False
    _said: JobState | None = None
    _times: int = 0

    def __post_init__(self) -> None:
        self.since = self.asked

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing is left of it, as far as is known."""
        return self.stage in _OVER

    @property
    def joined(self) -> bool:
        """Its worker is with the master, and takes work."""
        return self.stage in _JOINED

    @property
    def waiting(self) -> bool:
        """It has not started yet."""
        return self.stage in _WAITING

    @property
    def booting(self) -> bool:
        """It has started, and not joined yet."""
        return self.stage in _BOOTING

    @property
    def counts(self) -> bool:
        """It is one of those that are wanted: it works, or will, and was not told to end."""
        return not (self.over or self.told or self.stage in ("stopping", "draining"))

    @property
    def value(self) -> tuple[int, float]:
        """What is lost when it is given up: of several, those of the lowest value go first."""
        return _PROGRESS.index(self.stage), -self.since

    def idle_for(self, now: float) -> float:
        """Seconds for which it has had no work; 0 if it has some, or has not joined."""
        return now - self.since if self.stage == "idle" else 0.0

    # --- what is said of it -------------------------------------------------------------------------------------------

    def pool_says(self, job: Job, now: float) -> bool:
        """The system says this of its job: whether that is any news."""
        new = not (self.listed or self.left) and now < self.asked + UNLISTED_SECONDS
        if self.over or (new and job.state == "gone"):
            return False
        self.listed = self.listed or job.state != "gone"
        self.left = self.left and job.state == "gone"
        self._times = self._times + 1 if job.state == self._said else 1
        self._said = job.state
        kind = self._kind()
        stage = _AT_ONCE[kind].get(job.state)
        if stage is None and self._times >= AGREED:
            stage = _TWICE[kind].get(job.state)
        if stage is None:
            news = job.host != self.host and bool(job.host) and kind != "joined"
            self.host = job.host or self.host
            return news
        if stage == "failed" and self.told:
            stage = "gone"
        reason = job.reason
        if kind == "stopping":
            reason = self.reason or reason  # the worker itself has said why
        if stage == "failed" and not reason:
            reason = "its job ended before the worker had joined"
        return self._reach(stage, reason, job.host, now)

    def worker_says(self, word: WorkerIs, now: float) -> bool:
        """The worker itself says this, or the master of it: whether that is any news."""
        self._said, self._times, self.left = None, 0, False
        stage = word.stage
        if stage == "gone":
            stage = "stopping"  # goodbye is said by a process that has still to end
        if self.over:
            if stage in ("stopping", "lost", "failed"):
                return False
            self.told, self.until, self.counted = "", inf, False
        elif stage == "lost" and not self.has_joined:
            return False
        self.worker = word.worker or self.worker
        self.has_joined = self.has_joined or stage in _JOINED or stage == "draining"
        return self._reach(stage, word.reason, word.host, now)

    def says_nothing(self, now: float) -> bool:
        """The connection to the master was gone: what the worker said before may be out of date."""
        return self._reach("lost", "not heard of since the master was out of reach", "", now) if self.joined else False

    def tell(self, what: str, until: float) -> None:
        """It was told to "drain" or "stop", which must have come true by then."""
        self.told, self.until = what, until

    def explain(self, text: str) -> None:
        """What its job has said last, which goes behind the reason."""
        self.explained = True
        self.reason = f"{self.reason}\n{text.strip()}".strip()[-_LONGEST_REASON:]

    def info(self, now: float) -> LaunchInfo:
        """As it is told to the master: one that was told to end is on its way out, whatever was heard of it since."""
        stage = self.stage if self.counts or self.over else _GOING.get(self.told, self.stage)
        seconds = max(0.0, now - self.since)
        return LaunchInfo(self.job, stage, seconds, self.reason, self.host, self.worker, dict(self.stages))

    def _kind(self) -> str:
        if self.stage == "started":
            return "started"
        if self.waiting:
            return "waiting"
        if self.booting:
            return "booting"
        if self.stage in ("lost", "stopping"):
            return self.stage
        return "joined"

    def _reach(self, stage: LaunchStage, reason: str, host: str, now: float) -> bool:
        news = (stage, reason or self.reason, host or self.host) != (self.stage, self.reason, self.host)
        if stage != self.stage:
            took = max(0.0, now - self.since)
            self.stages[self.stage] = self.stages.get(self.stage, 0.0) + took
            if stage == "queued" and self.stage in (*BOOT_STAGES, "lost"):
                self.stages, self.worker = {}, ""  # the system has put it into its queue again
            self.stage, self.since, self.reason = stage, now, reason
        else:
            self.reason = reason or self.reason
        self.host = host or self.host
        return news
