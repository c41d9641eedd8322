"""A launcher in worlds where everything goes wrong that can, in any order: never more workers than are wanted, nothing
forgotten, and peace in the end."""

from __future__ import annotations

from eventmill.launch.pools.pool import Trouble
from eventmill.protocol import messages
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from property_tests import examples
from simulated_pools import POOL, SimulatedPool

MOST = 6


class Worlds(RuleBasedStateMachine):
    """Rules are what can happen. That no more is asked for than is wanted is asserted whenever something is asked for."""

    HAS_TAGS = False

    def __init__(self) -> None:
        super().__init__()
        self.world = SimulatedPool(MOST, self.HAS_TAGS)

    @rule(workers=st.integers(0, MOST))
    def scale(self, workers: int) -> None:
        self.world.scale(workers)

    @rule(lie=st.booleans())
    def answer(self, lie: bool) -> None:
        self.world.answer(frozenset(self.world.jobs) if lie else frozenset())

    @rule(trouble=st.sampled_from(["down", "refused", "full"]), done=st.booleans())
    def refuse(self, trouble: Trouble, done: bool) -> None:
        self.world.refuse(trouble, done)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 61.0, 200.0, 1000.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.of("queued"))
    @rule(data=st.data())
    def run_job(self, data: st.DataObject) -> None:
        self.world.run(data.draw(st.sampled_from(self.world.of("queued"))))

    @precondition(lambda self: self.world.of("running"))
    @rule(data=st.data(), stage=st.sampled_from(messages.BOOT_STAGES))
    def boot(self, data: st.DataObject, stage: messages.LaunchStage) -> None:
        self.world.say(data.draw(st.sampled_from(self.world.of("running"))), stage)

    @precondition(lambda self: self.world.of("running", "silent"))
    @rule(data=st.data())
    def come(self, data: st.DataObject) -> None:
        self.world.come(data.draw(st.sampled_from(self.world.of("running", "silent"))))

    @precondition(lambda self: self.world.of("joined"))
    @rule(data=st.data(), stage=st.sampled_from(["working", "idle"]))
    def work(self, data: st.DataObject, stage: messages.LaunchStage) -> None:
        self.world.say(data.draw(st.sampled_from(self.world.of("joined"))), stage)

    @precondition(lambda self: self.world.of("joined"))
    @rule(data=st.data())
    def fall_silent(self, data: st.DataObject) -> None:
        self.world.fall_silent(data.draw(st.sampled_from(self.world.of("joined"))))

    @precondition(lambda self: self.world.of("joined"))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.world.leave(data.draw(st.sampled_from(self.world.of("joined"))))

    @precondition(lambda self: self.world.of("queued", "running", "joined", "silent"))
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.world.die(data.draw(st.sampled_from(self.world.of("queued", "running", "joined", "silent"))))

    @rule()
    def restart(self) -> None:
        self.world.begin()

    @rule()
    def master_away(self) -> None:
        if self.world.joined:
            self.world.part()
        else:
            self.world.join()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """A job that exists is known, or its call is, or it was told to end."""
        for job, true in self.world.jobs.items():
            if true.exists and not true.told:
                known = self.world.pool.holdings.get(job) is not None
                assert known or true.call in self.world.saved_calls, job

    def teardown(self) -> None:
        """When all goes well again, there are as many as are wanted, there is peace, and none is left in the end."""
        world = self.world
        world.settle(4000.0)
        wanted = min(world.pool.wanted, 3)
        world.scale(wanted)
        world.settle(4000.0)
        assert world.serving == wanted
        starts, stops = world.starts, world.stops
        world.settle(3600.0)
        assert (world.starts, world.stops) == (starts, stops)
        world.scale(0)
        world.settle(600.0)
        assert not [job for job, true in world.jobs.items() if true.exists]
        assert world.core.empty and world.saved_jobs == {} and world.saved_calls == {}, POOL


class TaggedWorlds(Worlds):
    """The same where the record may be lost, too, and jobs have tags by which the next launcher finds them."""

    HAS_TAGS = True

    @rule()
    def lose_record(self) -> None:
        self.world.lose_record()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """As above; or the system has not said yet which jobs there are."""
        if self.world.looked_for_left:
            super().nothing_is_forgotten()


TestWorlds = Worlds.TestCase
TestWorlds.settings = examples(10, night=60, stateful_step_count=60)
TestTaggedWorlds = TaggedWorlds.TestCase
TestTaggedWorlds.settings = examples(10, night=60, stateful_step_count=60)
