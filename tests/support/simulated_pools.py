"""A pool that is no batch system but a few lists, in virtual time: it lies, fails, forgets its answers, loses jobs. The core
of a launcher is driven against it, and what is true is known."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from eventmill.launch.core import LauncherCore
from eventmill.launch.effects import (
    Answer,
    Call,
    Effect,
    Failed,
    Find,
    FindLeft,
    ForgetJobs,
    List,
    ReadLog,
    SaveCall,
    Saved,
    SaveJobs,
    SaveWanted,
    Start,
    Stop,
    Tell,
)
from eventmill.launch.pools.pool import Job, Trouble
from eventmill.launch.reconciler import Terms
from eventmill.protocol import messages
from eventmill.protocol.messages import LaunchStage, Message

POOL = "batch"
State = Literal["queued", "running", "joined", "silent", "ended", "failed"]


@dataclass(slots=True)
class TrueJob:
    """What is true of a job: "joined" is its worker with the master, "silent" one that runs and that the master has lost."""

    call: str
    state: State = "queued"
    told: bool = False
    draining: bool = False

    @property
    def exists(self) -> bool:
        return self.state not in ("ended", "failed")


class SimulatedPool:
    """One launcher with one pool of up to `most` workers, and the master that they talk to. If its jobs have tags, they
    are found without a record."""

    def __init__(self, most: int = 8, has_tags: bool = False) -> None:
        self.now = 0.0
        self.terms = Terms("simulated", most=most, idle=300.0, has_tags=has_tags)
        self.jobs: dict[str, TrueJob] = {}
        self.calls: deque[Call] = deque()
        self.told: list[Message] = []
        self.saved_wanted = 0
        self.saved_calls: dict[str, int] = {}
        self.saved_jobs: dict[str, str] = {}
        self.starts = self.stops = 0
        self.joined = False
        self._launchers = 0
        self._jobs_made = 0
        self._lied: set[str] = set()
        self.looked_for_left = False
        self.begin()

    # --- the launcher -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the launcher, for the first time or again: what it has not written down is lost, and so are answers."""
        self._launchers += 1
        saved = Saved(self.saved_wanted, dict(self.saved_calls), dict(self.saved_jobs))
        self.calls.clear()
        self.looked_for_left = False
        self._lied.clear()
        for true in self.jobs.values():
            true.told = False  # what the system has not done, nobody remembers
        self.core = LauncherCore({POOL: self.terms}, f"t{self._launchers}", {POOL: saved}, self.now)
        self.join()
        self.carry_out(self.core.ready(POOL, self.now))

    def lose_record(self) -> None:
        """The next launcher begins with an empty one: it does not even know how many workers are wanted."""
        self.saved_wanted, self.saved_calls, self.saved_jobs = 0, {}, {}
        self.begin()

    def join(self) -> None:
        """The launcher has reached the master, which says who is there."""
        self.joined = True
        self.carry_out(self.core.welcomed(self.now))
        for job, true in self.jobs.items():
            if true.state == "joined":
                self.say(job, "idle")

    def part(self) -> None:
        """The master is out of reach."""
        self.joined = False
        self.carry_out(self.core.parted(self.now))

    @property
    def pool(self):  # type: ignore[no-untyped-def]
        return self.core.pools[POOL]

    def scale(self, workers: int) -> None:
        """The user wants so many."""
        if self.joined:
            self.carry_out(self.core.receive(messages.Scale(1, POOL, workers), self.now))

    def pass_time(self, seconds: float) -> None:
        """Nothing happens but that time passes; the core is asked when it wants to be."""
        until = self.now + seconds
        for _ in range(100_000):
            due = self.core.deadline(self.now)
            if due > until:
                break
            self.now = max(self.now, due)
            self.carry_out(self.core.expire(self.now))
            if due <= self.now and self.core.deadline(self.now) <= self.now:
                raise AssertionError("the core asks again and again")
        self.now = until
        self.carry_out(self.core.expire(self.now))

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SaveWanted():
                    self.saved_wanted = effect.workers
                case SaveCall():
                    self.saved_calls[effect.call] = effect.count
                case SaveJobs():
                    self.saved_calls.pop(effect.call, None)
                    self.saved_jobs |= dict.fromkeys(effect.jobs, effect.call)
                case ForgetJobs():
                    for job in effect.jobs:
                        self.saved_jobs.pop(job, None)
                case Tell():
                    self.told.append(effect.message)
                    if isinstance(effect.message, messages.Drain):
                        self.jobs[effect.message.worker.removeprefix("w")].draining = True
                case Start():
                    self.starts += 1
                    assert effect.call in self.saved_calls, "not written down"
                    assert effect.count + self.serving <= self.pool.wanted, "more than wanted"
                    self.calls.append(effect)
                case Stop():
                    self.stops += 1
                    for job in effect.jobs:
                        self.jobs[job].told = True
                    self.calls.append(effect)
                case _:
                    self.calls.append(effect)
        self.core.check()

    @property
    def serving(self) -> int:
        """Workers that are there or on their way, and that nobody has told to go."""
        return sum(job.exists and not job.told and not job.draining for job in self.jobs.values())

    # --- the system ---------------------------------------------------------------------------------------------------

    def answer(self, lies: frozenset[str] = frozenset()) -> None:
        """It does what was asked first. Of jobs in `lies` it says that they are gone: never twice in a row."""
        if not self.calls:
            return
        call = self.calls.popleft()
        answer = Answer(call)
        match call:
            case Start():
                answer = Answer(call, self._make(call))
            case Find():
                answer = Answer(
                    call, [job for job, true in self.jobs.items() if true.call == call.call and true.exists]
                )
            case FindLeft():
                answer = Answer(call, [job for job, true in self.jobs.items() if true.exists])
                self.looked_for_left = True
            case List():
                answer = Answer(call, listing={job: self._said(job, lies) for job in call.jobs})
                self._lied = set(lies)
            case Stop():
                for job in call.jobs:
                    if self.jobs[job].exists:
                        self._end(job, "ended")
            case ReadLog():
                answer = Answer(call, text="no such image")
        self.carry_out(self.core.answered(answer, self.now))

    def refuse(self, trouble: Trouble, done: bool = False) -> None:
        """What it was asked for first fails; of a system that is down it may be `done` nevertheless."""
        if not self.calls:
            return
        call = self.calls.popleft()
        if done and trouble == "down" and isinstance(call, Start):
            self._make(call)
        self.carry_out(self.core.failed(Failed(call, f"it is {trouble}", trouble), self.now))

    def _make(self, call: Start) -> list[str]:
        made = []
        for _ in range(call.count):
            self._jobs_made += 1
            made.append(str(self._jobs_made))
            self.jobs[made[-1]] = TrueJob(call.call)
        return made

    def _said(self, job: str, lies: frozenset[str]) -> Job:
        true = self.jobs.get(job)
        if true is None or (job in lies and job not in self._lied):
            return Job("gone")
        words = {"queued": "queued", "running": "started", "joined": "started", "silent": "started"}
        return Job(words.get(true.state, "gone" if true.state == "ended" else "failed"))  # type: ignore[arg-type]

    # --- jobs and their workers -----------------------------------------------------------------------------------------

    def of(self, *states: State) -> list[str]:
        """The jobs in these states."""
        return [job for job, true in self.jobs.items() if true.state in states]

    def say(self, job: str, stage: LaunchStage, reason: str = "") -> None:
        """The master says this of a worker."""
        worker = f"w{job}" if stage in ("idle", "working", "draining") else ""
        if self.joined:
            word = messages.WorkerIs(POOL, job, stage, worker, reason=reason)
            self.carry_out(self.core.receive(word, self.now))
            self.carry_out(self.core.expire(self.now))

    def run(self, job: str) -> None:
        self.jobs[job].state = "running"

    def come(self, job: str) -> None:
        """Its worker joins, for the first time or again."""
        self.jobs[job].state = "joined"
        self.say(job, "idle")

    def fall_silent(self, job: str) -> None:
        self.jobs[job].state = "silent"
        self.say(job, "lost")

    def leave(self, job: str) -> None:
        """It drains and goes, by itself or since it was told to."""
        self.jobs[job].draining = True
        self.say(job, "draining")
        self._end(job, "ended")

    def die(self, job: str) -> None:
        self._end(job, "failed")

    def _end(self, job: str, state: State) -> None:
        was = self.jobs[job].state
        self.jobs[job].state = state
        if was == "joined":
            self.say(job, "gone" if state == "ended" else "lost")

    def settle_calls(self) -> None:
        """Whatever the system was asked for so far, it does."""
        while self.calls:
            self.answer()

    def settle(self, seconds: float = 3600.0, step: float = 5.0) -> None:
        """All goes well for so long: calls are answered, jobs start, workers join, those that are told to leave do."""
        if not self.joined:
            self.join()
        for _ in range(int(seconds / step)):
            self.settle_calls()
            for job, true in list(self.jobs.items()):
                if true.state == "joined" and true.draining:
                    self.leave(job)
                elif true.state == "queued":
                    self.run(job)
                elif true.state in ("running", "silent"):
                    self.come(job)
            self.pass_time(step)
