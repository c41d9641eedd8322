"""A world of trouble: the real cores of master and agents, slots that keep to the protocol, and all that can go wrong.

Time is virtual and everything random comes from one seed, so that `World(seed).run()` does the same each time. Faults happen
between any two steps, until the seed's shared_inputs of them is used up; then every query must end, and every entry must
have been counted exactly once, or be listed as lost for a reason that the seed knows.

    python -m tests.world.chaos --simulate 100000        # many seeds
    python -m tests.world.chaos --seed 4711              # one, with every message
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from unittest import mock

import msgspec
import numpy as np
from eventmill.master import attachments
from eventmill.master import journal as journals
from eventmill.protocol import codec
from eventmill.protocol import messages as m

from .clock import Clock, Dial
from .data import Plan, draw_plan
from .master import Master
from .peers import Agent, Session, counted

CALM = 600.0
"""Seconds after the last fault within which every query must have ended."""
CHECKED_EVERY = 40
"""Steps between two looks at the cores' invariants, which take longer than the steps."""
REPLAYED = (
    m.Hello, m.Heartbeat, m.Opened, m.Reached, m.Truncated, m.Finished, m.Commit, m.Failed, m.Skipped, m.Compacted, m.SlotUp,
)  # fmt: skip
"""What a worker may seem to say twice. (That a slot is down or a worker leaves is true once only: work would stop.)"""


BETWEEN = "master dies between two effects"


class Wrong(AssertionError):
    """A seed went wrong; the text has the line that does it again."""


class World:
    """One seed.

    Args:
        trace: print every message.

    Attributes:
        happened: how often each fault happened.
        steps: things that happened in all.
    """

    def __init__(self, seed: int, trace: bool = False) -> None:
        self.seed = seed
        self.happened: Counter[str] = Counter()
        self.steps = 0
        self.random = random = Random(seed)
        self.clock = Clock(trace)
        self.faults = self._draw_faults()
        self._left = random.choice((2, 5, 12, 40)) if self.faults else 0
        self._rate = random.choice((0.005, 0.02, 0.1))
        self._window = random.choice((2.0, 6.0, 15.0))
        self._full_once = False
        journaled = random.random() < 0.8
        self.journaled = journaled
        self.master = Master(self.clock, random, journaled, self._master_may_die)
        self.sessions = [self._draw_session(index) for index in range(random.choice((1, 1, 1, 2)))]
        self.plans = [plan for session in self.sessions for plan in session.plans]
        tables = Random(f"tables of {seed}")  # of its own: most seeds are what they were without
        for plan in self.plans:
            if tables.random() < 0.2:
                plan.attach(tables.choice((1000, 1000, 1001)))
        self._kept = tables.choice((0, 0, 100, 1000))
        owners = Random(f"owners of {seed}")
        for plan in self.plans:
            if owners.random() < 0.3:
                plan.submit = msgspec.structs.replace(plan.submit, owner=owners.choice(("alice", "bob")))
        self._by_name = {plan.name.encode(): plan for plan in self.plans}
        self._agents = 0
        self.agents: list[Agent] = []
        for _ in range(random.choice((1, 2, 2, 3))):
            self._add_agent()

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> World:
        """Let everything happen, and check that all is well.

        Raises:
            Wrong: it is not.
        """
        with (
            mock.patch.object(attachments, "MOST_UNUSED", self._kept),
            mock.patch.object(journals, "MOST_UNUSED", self._kept),
        ):
            return self._run()

    def _run(self) -> World:
        try:
            self._until_ended()
            if self.journaled and self.random.random() < 0.2:
                self._ask_again()
            self.check()
            for plan in self.plans:
                self._check_result(plan)
        except Exception as error:
            raise Wrong(f"{error!r}\nagain: python -m tests.world.chaos --seed {self.seed}") from error
        return self

    def check(self) -> None:
        """Assert the invariants of all cores."""
        if self.master.listening:
            self.master.core.check()
            assert not self.master.core.errors
        for agent in self.agents:
            agent.core.check()

    def _until_ended(self) -> None:
        clock, random = self.clock, self.random
        last = clock.now
        while any(plan.ended is None for plan in self.plans):
            clock.step()
            self.steps += 1
            if self._left and random.random() < self._rate:
                self._left -= 1
                self._let_happen(random.choice(self.faults))
                last = clock.now
                self.check()
            elif self.steps % CHECKED_EVERY == 0:
                self.check()
            if clock.now > last + CALM + self._window:
                if self._left:
                    self._left, last = 0, clock.now
                    continue
                states = {plan.name: (plan.number, plan.ended is not None) for plan in self.plans}
                raise AssertionError(f"queries do not end: {states}")

    def _ask_again(self) -> None:
        """Results are there after the master was started again."""
        self._left = 0
        before = {plan.name: plan.ended for plan in self.plans}
        self._happens("killed at the end")
        self.master.die(1.0, lambda: 0.1)
        for session in self.sessions:
            session.again()
        self._until_ended()
        for plan in self.plans:
            now, then = plan.ended, before[plan.name]
            assert now is not None and then is not None
            if now.state != then.state:
                # Its end had not been written when it was told, or could not be; then it went on, to the end.
                assert now.state == "done" or plan.stops is not None, (then, now)

    # --- what there is ----------------------------------------------------------------------------------------------

    def _draw_session(self, index: int) -> Session:
        random = self.random
        plans = [
            draw_plan(random, f"s{index}q{number}", f"user{index}", self._window)
            for number in range(random.choice((1, 1, 1, 2)))
        ]
        return Session(f"session{index}", plans, self.clock, random, self.master, self._may_lose)

    def _may_lose(self) -> bool:
        return not self.journaled or self._full_once

    def _add_agent(self, name: str = "", same: bool | None = None) -> None:
        random = self.random
        if not name:
            self._agents += 1
            name = f"agent{self._agents}"
        same = random.random() < 0.3 if same is None else same
        slots, speed = random.choice((1, 1, 2)), random.choice((8.0, 20.0, 60.0))
        self.agents.append(
            Agent(name, slots, speed, same, self._by_name.__getitem__, self.clock, random, self.master, self._replace)
        )

    def _replace(self, agent: Agent) -> None:
        """An agent's process has ended: the batch system starts another, perhaps one that is taken for the same."""
        self.agents.remove(agent)
        same = self.random.random() < 0.3
        self.clock.after(self.random.uniform(0.0, 5.0), self._add_agent, agent.name if same else "", same)

    # --- faults -----------------------------------------------------------------------------------------------------

    def _draw_faults(self) -> list[str]:
        kinds = list(FAULTS)
        return self.random.sample(kinds, self.random.choice((0, 1, 1, 2, 3, 5, len(kinds))))

    def _happens(self, what: str) -> None:
        self.happened[what] += 1
        self.clock.note("fault", what)

    def _let_happen(self, kind: str) -> None:
        if FAULTS[kind](self):
            self._happens(kind)

    def _master_may_die(self) -> bool:
        """Asked between any two effects of the master."""
        if not (self._left and self.journaled and BETWEEN in self.faults and self.random.random() < self._rate / 4):
            return False
        self._left -= 1
        self._happens(BETWEEN)
        return True

    def _some_dial(self) -> Dial | None:
        """The dial of somebody: an agent, mostly."""
        peers: list[Agent | Session] = [*self.agents, *self.agents, *self.sessions]
        dial = self.random.choice(peers).dial if peers else None
        return dial if dial is not None and dial.line is not None else None

    def agent_crashes(self) -> bool:
        if not self.agents:
            return False
        agent = self.random.choice(self.agents)
        agent.crash(self.random.choice((None, 0.0, 0.01, 0.5)))
        self._replace(agent)
        return True

    def agent_stops(self) -> bool:
        if self.agents:
            self.random.choice(self.agents).stop(self.random.choice((0.3, 1.5, 3.0, 8.0)))
        return bool(self.agents)

    def agent_jumps(self) -> bool:
        if self.agents:
            self.random.choice(self.agents).jump(self.random.choice((2.0, 3600.0)))
        return bool(self.agents)

    def agent_drains(self) -> bool:
        if not self.agents:
            return False
        agent = self.random.choice(self.agents)
        agent.drain(self.random.choice((0.0, 1.0, 12.0)))
        return True

    def agent_grows(self) -> bool:
        """Its slots take more memory, or less."""
        if self.agents:
            agent = self.random.choice(self.agents)
            agent.core.watch.memory, agent.taken = 100.0, self.random.choice((0, 85, 97, 120))
            self.clock.after(3.0, setattr, agent, "taken", 0)
        return bool(self.agents)

    def slot_dies(self) -> bool:
        slots = [slot for agent in self.agents for slot in agent.slots.values() if slot.alive]
        if slots:
            self.random.choice(slots).end("killed by signal 9 (SIGKILL)", self.random.choice((0, 0, 1, 2)))
        return bool(slots)

    def slot_stops(self) -> bool:
        slots = [slot for agent in self.agents for slot in agent.slots.values() if slot.alive]
        if slots:
            self.random.choice(slots).freeze(self.random.choice((0.5, 3.0, 20.0, 100.0)))
        return bool(slots)

    def line_cut(self) -> bool:
        dial = self._some_dial()
        if dial is not None:
            times = (None, 0.0, 0.01, 0.3)
            dial.cut(self.random.choice(times), self.random.choice(times))
        return dial is not None

    def line_half_open(self) -> bool:
        dial = self._some_dial()
        if dial is not None:
            dial.half_open(up=self.random.random() < 0.5)
        return dial is not None

    def line_stalls(self) -> bool:
        dial = self._some_dial()
        if dial is not None and dial.line is not None:
            dial.line.stall(self.random.choice((0.5, 2.0, 7.0)))
        return dial is not None

    def partition(self) -> bool:
        """Nobody gets through to the master for a while, or everybody is cut off."""
        seconds = self.random.choice((0.5, 3.0, 8.0))
        peers: list[Agent | Session] = [*self.agents, *self.sessions]
        for peer in peers:
            if peer.dial.line is not None:
                peer.dial.line.stall(seconds)
                if self.random.random() < 0.3:
                    peer.dial.cut(None, None)
        return True

    def replay_to_master(self) -> bool:
        """What a worker has said before, in this life or an earlier one, arrives again; or seems to be said by another."""
        if not self.agents:
            return False
        random = self.random
        source, through = random.choice(self.agents), random.choice(self.agents)
        if random.random() < 0.8:
            through = source
        line = through.dial.line
        kinds = REPLAYED if through is source else REPLAYED[1:]  # nobody else says hello with another's slots
        said = [frames for frames in source.dial.said[-60:] if isinstance(codec.decode(frames)[0], kinds)]
        if line is None or not said:
            return False
        for _ in range(random.randint(1, 5)):
            self.clock.after(random.uniform(0.0, 1.0), line._arrive, random.choice(said))
        return True

    def replay_to_agent(self) -> bool:
        """What the master has said to a worker before arrives again."""
        if not self.agents:
            return False
        agent = self.random.choice(self.agents)
        kinds = (
            m.Lease, m.Truncate, m.Revoke, m.Committed, m.Setup, m.Welcome, m.Unknown, m.Compact, m.Release, m.Attachment,
        )  # fmt: skip
        taken = [frames for frames in agent.dial.taken[-60:] if isinstance(codec.decode(frames)[0], kinds)]
        if not taken:
            return False
        for _ in range(self.random.randint(1, 5)):
            self.clock.after(self.random.uniform(0.0, 1.0), self._replay, agent, self.random.choice(taken))
        return True

    def _replay(self, agent: Agent, frames: list[codec.Buffer]) -> None:
        if agent.alive and agent.dial.line is not None:
            agent.told(*codec.decode(frames))

    def master_dies(self) -> bool:
        if not self.journaled or not self.master.listening:
            return False
        notices = self.random.choice(((0.0, 0.1), (0.0, 1.0, None), (None,)))
        self.master.die(self.random.choice((0.1, 1.0, 10.0, 60.0)), lambda: self.random.choice(notices))
        return True

    def master_ends(self) -> bool:
        if not self.journaled or not self.master.listening:
            return False
        self.master.end(self.random.choice((0.1, 5.0)))
        return True

    def master_stops(self) -> bool:
        self.master.stop(self.random.choice((0.5, 2.0, 6.0, 20.0)))
        return True

    def master_jumps(self) -> bool:
        self.master.jump(self.random.choice((3.0, 3600.0)))
        return True

    def wall_jumps(self) -> bool:
        self.master.jump_wall(self.random.choice((-86400.0, -60.0, 3600.0, 1e7)))
        return True

    def disk_full(self) -> bool:
        journal = self.master.journal
        if journal is None:
            return False
        self._full_once = journal.full = True
        self.clock.after(self.random.choice((0.5, 5.0, 20.0)), setattr, journal, "full", False)
        return True

    # --- what must have come out --------------------------------------------------------------------------------------

    def _check_result(self, plan: Plan) -> None:
        """Every entry counts once, or is listed as lost and does not count at all."""
        ended = plan.ended
        assert ended is not None
        started = [it.number for it in self.master.core.queries.values() if it.submit.token == plan.name]
        told = plan.unsaved and not started  # its session has the result, and no later master has to
        assert told or started == [plan.number], f"{plan.name} is query {plan.number}, and the master has {started}"
        state, account = ended.state, ended.account
        if state == "failed":
            self._check_failure(plan, ended)
            return
        assert state == "done" or plan.stops is not None, f"{plan.name}: {ended}"
        if state == "aborted":
            return
        counts = counted(plan, plan.frames[: ended.result_frames])
        lost = self._lost(plan, plan.frames[ended.result_frames])
        used = plan.used()
        assert counts.max(initial=0) <= 1, f"{plan.name}: entries {np.flatnonzero(counts > 1)} count twice"
        assert not counts[~used].any(), f"{plan.name}: entries that are not listed count"
        assert not (counts.astype(bool) & lost).any(), f"{plan.name}: entries that are listed as lost count"
        assert counts.sum() == account.processed, f"{plan.name}: {counts.sum()} entries, and {account}"
        if state == "done":
            wanted = int(used.sum())
            limit = plan.submit.limit
            if limit is None:
                missing = used & ~counts.astype(bool) & ~lost
                assert not missing.any(), f"{plan.name}: entries {np.flatnonzero(missing)} are missing; {account}"
            elif not any(file.broken or (file.known is not None and file.known != file.length) for file in plan.files):
                assert counts.sum() + lost.sum() == min(limit, wanted), f"{plan.name}: {account} of {wanted}"
            self._check_losses(plan, lost)

    def _check_failure(self, plan: Plan, ended: m.Ended) -> None:
        """A query fails for what is wrong with its data or analysis, or when its slots go down again and again."""
        failure = ended.failure
        assert failure is not None
        assert failure.kind != "count", f"{plan.name}: {failure}"
        culprits = [file for file in plan.files if file.bad or file.deadly or file.broken]
        killed = self.happened["slot dies"] + self.happened["slot stops"] + 2 * self.happened["agent grows"]
        assert culprits or killed >= 2, f"{plan.name} fails for nothing: {failure}"
        if plan.skips:
            assert ended.account.processed == 0, f"{plan.name} fails although errors are skipped: {failure}"
        if ended.result_frames:
            self._check_offer(plan, ended)

    def _check_offer(self, plan: Plan, ended: m.Ended) -> None:
        """What a failed query has merged and what it offers as the rest are all entries, each once."""
        counts = counted(plan, plan.frames[: ended.result_frames])
        lost = self._lost(plan, plan.frames[ended.result_frames])
        used = plan.used()
        assert counts.sum() == ended.account.processed, f"{plan.name}: {counts.sum()} entries, and {ended.account}"
        if plan.submit.limit is None:
            assert (counts + lost == used).all(), f"{plan.name}: {counts}, the rest {lost}, of {used}"
        else:
            assert not (counts > 1).any() and not (counts.astype(bool) & lost).any(), f"{plan.name}: {counts}, {lost}"

    def _check_losses(self, plan: Plan, lost: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """What is lost is what the seed has spoiled, and perhaps what slots were killed at again and again."""
        spoiled = np.zeros(plan.size, bool)
        for file in plan.files:
            entries = range(file.length) if file.broken else [*file.bad, *file.deadly]
            spoiled[[file.first + entry for entry in entries]] = True
        spoiled &= plan.used()
        killed = any(self.happened[what] for what in ("slot dies", "slot stops", "agent grows", "agent jumps"))
        deadly = any(file.deadly for file in plan.files)
        if plan.submit.limit is None:
            assert lost[spoiled].all(), f"{plan.name}: spoiled entries count"
        if not (killed or deadly):
            assert not lost[~spoiled].any(), f"{plan.name}: sound entries are lost: {np.flatnonzero(lost & ~spoiled)}"

    @staticmethod
    def _lost(plan: Plan, frame: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        lost = np.zeros(plan.size, bool)
        used = plan.used()
        for loss in msgspec.msgpack.decode(frame, type=list[m.LostRange]):
            file = plan.by_path[loss.path]
            runs = loss.runs
            # It was never opened; of a file that was, the first entries may be as many as were announced.
            unopened = file.broken or "something in the entries" in loss.reason
            if loss.stop is None or (unopened and (loss.start, loss.stop) == (0, file.known)):
                runs = [0, file.length]
            elif runs is None:
                runs = [loss.start, loss.stop]
            for start, stop in zip(runs[::2], runs[1::2], strict=True):
                assert 0 <= start < stop <= file.length or start == stop, (loss, file)
                entries = np.arange(file.first + start, file.first + stop)
                entries = entries[used[entries]]
                assert not lost[entries].any(), f"{plan.name}: lost twice: {loss}"
                lost[entries] = True
        return lost


FAULTS: dict[str, Callable[[World], bool]] = {
    "agent crashes": World.agent_crashes,
    "agent stops (SIGSTOP)": World.agent_stops,
    "agent's clock jumps": World.agent_jumps,
    "agent drains": World.agent_drains,
    "agent grows": World.agent_grows,
    "slot dies": World.slot_dies,
    "slot stops": World.slot_stops,
    "line is cut": World.line_cut,
    "line is half-open": World.line_half_open,
    "line stalls": World.line_stalls,
    "partition": World.partition,
    "messages to the master twice": World.replay_to_master,
    "messages to an agent twice": World.replay_to_agent,
    "master dies": World.master_dies,
    BETWEEN: lambda _: False,  # see `_master_may_die`
    "master is told to end": World.master_ends,
    "master stops (SIGSTOP)": World.master_stops,
    "master's clock jumps": World.master_jumps,
    "wall clock jumps": World.wall_jumps,
    "disk full": World.disk_full,
}
