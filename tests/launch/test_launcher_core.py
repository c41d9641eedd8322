"""What a launcher decides: as many workers as are wanted, whatever pools and workers say, and whenever it is killed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from eventmill.launch.bans import FULL_SECONDS, LONGEST, PAUSE_SECONDS, Bans
from eventmill.launch.core import ANSWER_SECONDS
from eventmill.launch.effects import Find, List, Start, Stop
from eventmill.launch.holdings import BOOT_SECONDS, LOST_SECONDS
from eventmill.launch.launches import Launch
from eventmill.launch.pools.pool import Job
from eventmill.protocol import messages
from eventmill.protocol.messages import PoolTerms, WorkerIs
from simulated_pools import POOL, SimulatedPool


def launched(workers: int = 4, most: int = 8) -> SimulatedPool:
    """A pool whose workers have joined."""
    world = SimulatedPool(most)
    world.scale(workers)
    world.answer()
    for job in list(world.jobs):
        world.run(job)
        world.come(job)
    return world


def infos(world: SimulatedPool) -> messages.PoolInfo:
    """What the master was told last."""
    world.pass_time(1.0)
    told = [message for message in world.told if isinstance(message, messages.TellPools)]
    return told[-1].pools[0]


def m_scale(workers: int) -> messages.Scale:
    """What the master passes on."""
    return messages.Scale(1, POOL, workers)


def answers(world: SimulatedPool) -> list[messages.Message]:
    """What those were answered who scaled the pool."""
    return [message for message in world.told if isinstance(message, messages.Done | messages.Refused)]


# --- one launch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "says", "after"),
    [
        (["queued"], ["gone"], "queued"),  # a system may forget a job for a moment
        (["queued"], ["gone", "gone"], "failed"),
        (["queued"], ["gone", "queued", "gone"], "queued"),
        (["queued"], ["held"], "held"),
        (["started"], ["queued"], "queued"),  # put into the queue again
        (["started"], ["failed"], "failed"),
        (["started", "connected"], ["queued"], "connected"),  # the worker's own word counts more
        (["started", "connected"], ["queued", "queued"], "queued"),
        (["started", "connected"], ["failed"], "failed"),
        (["started", "idle"], ["gone", "gone", "gone"], "idle"),
        (["started", "working"], ["failed", "failed"], "working"),  # the master will notice if that is so
        (["started", "working", "lost"], ["started"], "lost"),
        (["started", "working", "lost"], ["gone"], "lost"),
        (["started", "working", "lost"], ["gone", "gone"], "gone"),
        (["started", "working", "lost"], ["failed"], "gone"),
        (["started", "working", "gone"], ["started"], "stopping"),
        (["started", "working", "gone"], ["gone", "gone"], "gone"),
    ],
)
def test_what_a_listing_makes_of_a_launch(before: list[str], says: list[str], after: str) -> None:
    """Nobody starts a second worker since a list was late, and nobody waits for one that is not there."""
    launch = Launch("1", "call", 0.0)
    for stage in before:
        if stage in ("queued", "started"):
            launch.pool_says(Job(stage), 1.0)  # type: ignore[arg-type]
        else:
            launch.worker_says(WorkerIs(POOL, "1", stage), 1.0)  # type: ignore[arg-type]
    for state in says:
        launch.pool_says(Job(state), 2.0)  # type: ignore[arg-type]
    assert launch.stage == after


def test_a_job_that_is_not_listed_yet_is_not_gone() -> None:
    """What a cloud has just started its listings may not know for some seconds: another one was asked for in its place."""
    launch = Launch("1", "call", asked=0.0)
    assert not any(launch.pool_says(Job("gone"), now) for now in (1.0, 2.0, 9.0)) and launch.stage == "requested"
    launch.pool_says(Job("gone"), 11.0)
    launch.pool_says(Job("gone"), 12.0)
    assert launch.stage == "failed"


def test_a_word_of_the_worker_between_two_listings_counts() -> None:
    """A list that is older than the worker's word says nothing about it."""
    launch = Launch("1", "call", 0.0)
    launch.pool_says(Job("gone"), 1.0)
    launch.worker_says(WorkerIs(POOL, "1", "environment"), 2.0)
    launch.pool_says(Job("gone"), 3.0)
    assert launch.stage == "environment"


def test_a_worker_that_is_heard_of_lives() -> None:
    """However sure a system is that it is not there."""
    launch = Launch("1", "call", 0.0)
    launch.pool_says(Job("failed", "NodeFail"), 1.0)
    assert launch.over
    launch.worker_says(WorkerIs(POOL, "1", "idle", worker="n-1"), 2.0)
    assert launch.joined


def test_the_seconds_of_stages_are_kept() -> None:
    """So that a user sees what a start has taken."""
    launch = Launch("1", "call", 10.0)
    launch.pool_says(Job("queued", "Priority"), 11.0)
    launch.pool_says(Job("started", host="n1"), 41.0)
    launch.worker_says(WorkerIs(POOL, "1", "warm"), 43.0)
    info = launch.info(44.0)
    assert info.stages == {"requested": 1.0, "queued": 30.0, "started": 2.0}
    assert (info.stage, info.seconds, info.host) == ("warm", 1.0, "n1")


# --- how many -----------------------------------------------------------------------------------------------------------


def test_what_was_asked_for_counts() -> None:
    """Scaling twice before the system has answered asks for the difference only."""
    world = SimulatedPool()
    world.scale(2)
    world.scale(5)
    assert [call.count for call in world.calls if isinstance(call, Start)] == [2]
    world.answer()
    assert [call.count for call in world.calls if isinstance(call, Start)] == [3]


def test_more_than_the_pool_may_have_is_refused() -> None:
    """With the number, and where it is set."""
    world = SimulatedPool(most=3)
    world.scale(4)
    assert "3 workers at most" in str(answers(world)) and not world.calls


def test_who_scales_hears_what_came_of_it() -> None:
    """An unknown partition is an error of the very call that asks for workers there."""
    world = SimulatedPool()
    world.scale(2)
    assert answers(world) == []
    world.refuse("refused")
    assert answers(world) == [messages.Refused(1, "it is refused")]
    world.pass_time(LONGEST - 1.0)
    assert world.starts == 1
    world.scale(3)
    assert world.starts == 2
    world.answer()
    assert answers(world)[1:] == [messages.Done(1)]


def test_a_slow_system_keeps_nobody_waiting() -> None:
    """Who scales a pool is answered, even if its system never does."""
    world = SimulatedPool()
    world.scale(2)
    world.pass_time(ANSWER_SECONDS + 1.0)
    assert answers(world) == [messages.Done(1)]


def test_those_that_cost_least_go_first() -> None:
    """Queued, then booting, then idle, then working: the last that joined, through the master."""
    world = SimulatedPool()
    world.scale(5)
    world.answer()
    for job in ("1", "2", "3", "4"):
        world.run(job)
    for job in ("1", "2", "3"):
        world.come(job)
        world.pass_time(1.0)
    for job in ("2", "1"):
        world.say(job, "working")
        world.pass_time(1.0)
    while world.calls:
        world.answer()
    gone = []
    for left in (4, 3, 2, 1):
        world.scale(left)
        told = {job for job, true in world.jobs.items() if true.told or true.draining}
        gone.append(told - set().union(*gone) if gone else told)
    assert gone == [{"5"}, {"4"}, {"3"}, {"1"}]
    assert not world.jobs["1"].told, "a worker that has joined drains"


def test_one_that_does_not_drain_is_stopped() -> None:
    """Scaling to nothing leaves nothing, not even a worker that hears nothing any more."""
    world = launched(1)
    world.scale(0)
    assert world.jobs["1"].draining and not world.jobs["1"].told
    world.pass_time(120.0)
    assert world.jobs["1"].told


def test_what_was_told_to_end_is_not_shown_as_one_that_stays() -> None:
    """Who decides how many there are counts those that the master is told of: one more than there may be was refused."""
    world = launched(2)
    world.scale(3)
    world.answer()
    world.carry_out(world.core.receive(messages.StopLaunches(7, POOL, ["1", "3"]), world.now))
    stages = {launch.job: launch.stage for launch in infos(world).launches}
    assert stages == {"1": "draining", "2": "idle", "3": "stopping"}


def test_a_lost_worker_is_waited_for_and_then_replaced() -> None:
    """A network that is away for a moment costs nothing; a dead node is replaced, and what runs there is told to end."""
    world = launched(2)
    world.fall_silent("1")
    world.settle_calls()
    world.come("1")
    world.pass_time(2 * LOST_SECONDS)
    assert world.starts == 1
    world.fall_silent("1")
    world.pass_time(LOST_SECONDS + 1.0)
    assert world.jobs["1"].told and world.starts == 2


def test_a_preempted_worker_is_replaced() -> None:
    """Nobody has said that fewer are wanted."""
    world = launched(2)
    world.leave("1")
    assert world.pool.wanted == 2 and world.starts == 2


def test_one_that_nobody_needed_is_not() -> None:
    """What left for want of work would come back only to leave again."""
    world = launched(2)
    world.pass_time(299.0)
    world.leave("1")
    assert world.pool.wanted == 1 and world.starts == 1
    world.say("2", "working")
    world.pass_time(299.0)
    world.leave("2")
    assert world.pool.wanted == 1 and world.starts == 2


def test_jobs_can_be_let_go_by_name() -> None:
    """And others do not come in their place."""
    world = launched(3)
    world.carry_out(world.core.receive(messages.StopLaunches(7, POOL, ["2", "nobody's"]), world.now))
    assert world.pool.wanted == 2 and world.jobs["2"].draining
    assert answers(world)[-1] == messages.Done(7)


# --- trouble --------------------------------------------------------------------------------------------------------------


def test_three_failed_starts_pause_the_pool() -> None:
    """A wrong image is not tried a thousand times over; the user sees why, with the last words of the job."""
    world = SimulatedPool()
    world.scale(1)
    for _ in range(3):
        world.answer()
        world.die(world.of("queued")[0])
        world.pass_time(5.0)
        while world.calls and not isinstance(world.calls[0], Start):
            world.answer()
            world.pass_time(1.0)
    assert world.starts == 3
    world.pass_time(PAUSE_SECONDS - 10.0)
    assert world.starts == 3
    assert "3 workers in a row" in infos(world).trouble and "no such image" in infos(world).trouble
    world.scale(1)
    assert world.starts == 4


def test_a_paused_pool_tries_one_worker_again_and_all_when_that_has_come() -> None:
    world = SimulatedPool()
    world.scale(3)
    world.answer()
    for job in world.of("queued"):
        world.die(job)
    world.pass_time(2.0)
    world.settle_calls()
    assert "3 workers in a row" in infos(world).trouble
    world.pass_time(PAUSE_SECONDS)
    world.settle_calls()
    assert infos(world).trouble == "" and len(world.of("queued")) == 1
    (job,) = world.of("queued")
    world.run(job)
    world.come(job)
    world.settle_calls()
    assert len(world.of("queued")) == 2


def test_failures_with_a_success_between_them_pause_nothing() -> None:
    """Of a hundred nodes some are always broken."""
    world = SimulatedPool()
    world.scale(1)
    for _ in range(4):
        world.settle_calls()
        world.die(world.of("queued")[0])
        for _ in range(3):
            world.pass_time(1.0)
            world.settle_calls()
        (job,) = world.of("queued")
        world.come(job)
        world.leave(job)
    assert infos(world).trouble == ""


def test_a_worker_that_joins_ends_the_pause() -> None:
    """What was asked for before shows that it can be done."""
    bans = Bans()
    for _ in range(3):
        bans.failed("no such image", 0.0)
    assert bans.forbid(0.0)
    bans.joined()
    assert not bans.forbid(0.0) and bans.words(0.0) == ""


def test_a_full_pool_is_no_failure() -> None:
    """More are asked for in a while, and those that go are replaced meanwhile."""
    world = launched(2)
    world.scale(4)
    world.refuse("full")
    world.pass_time(FULL_SECONDS / 2)
    assert world.starts == 2
    world.settle_calls()
    world.leave("1")
    assert world.starts == 3
    world.settle_calls()
    world.pass_time(FULL_SECONDS)
    assert world.starts == 4


def test_a_system_that_is_down_is_asked_seldom() -> None:
    """After 5 s, then after twice as long each time; one question at a time."""
    world = SimulatedPool()
    world.scale(2)
    tried = []
    for _ in range(14):
        while not world.calls:
            world.pass_time(1.0)
        assert len(world.calls) == 1
        tried.append(world.now)
        world.refuse("down")
    waits = [after - before for before, after in itertools.pairwise(tried)]
    assert waits[:4] == pytest.approx([5.0, 10.0, 20.0, 40.0], abs=1.1)
    assert max(waits) == pytest.approx(LONGEST, abs=1.1)
    assert "tried again in" in infos(world).trouble
    world.pass_time(LONGEST)
    world.settle()
    assert world.serving == 2 and infos(world).trouble == ""


@pytest.mark.parametrize("done", [False, True])
def test_a_call_without_an_answer_is_looked_for(done: bool) -> None:
    """Whether a submission that timed out has left jobs is found out before anything else is asked for."""
    world = SimulatedPool()
    world.scale(3)
    world.refuse("down", done)
    world.pass_time(10.0)
    assert isinstance(world.calls[0], Find)
    world.settle(60.0)
    assert len(world.jobs) == 3 and world.serving == 3


def test_silence_after_a_start_is_a_failure() -> None:
    """A worker that hangs before it has said anything holds its node no longer than a quarter of an hour."""
    world = SimulatedPool()
    world.scale(1)
    world.answer()
    world.run("1")
    while not world.jobs["1"].told and world.now < 2 * BOOT_SECONDS:
        world.pass_time(5.0)
        while world.calls and not isinstance(world.calls[0], Stop):
            world.answer()
    assert world.now == pytest.approx(BOOT_SECONDS, abs=20.0)


def test_a_pool_whose_workers_take_long_to_start_is_waited_for() -> None:
    """Workers of a pool whose `start_time` was half an hour were ended after a quarter, again and again."""
    world = SimulatedPool()
    world.terms = replace(world.terms, worker=PoolTerms(start=1800.0))
    world.begin()
    world.scale(1)
    world.answer()
    world.run("1")
    while world.now < 2 * BOOT_SECONDS:
        world.pass_time(5.0)
        world.settle_calls()
    assert not world.jobs["1"].told


def test_listings_become_rare_when_nothing_changes() -> None:
    """A scheduler is asked often while workers are on their way, and twice a minute afterwards."""
    world = launched(2)
    asked = []
    for _ in range(600):
        world.pass_time(1.0)
        if world.calls:
            asked += [world.now] if isinstance(world.calls[0], List) else []
            world.answer()
    assert asked[1] - asked[0] < 3.0 and asked[-1] - asked[-2] == pytest.approx(30.0, abs=1.0)


# --- a launcher that is started again -------------------------------------------------------------------------------------


def test_a_launcher_that_is_started_again_finds_its_jobs() -> None:
    """Nothing is started twice, and nothing is let go, before it is known what there is."""
    world = launched(3)
    world.begin()
    world.pass_time(60.0)
    world.settle(60.0)
    assert world.starts == 1 and world.serving == 3 and world.stops == 0


def test_nobody_is_let_go_before_it_is_known_who_works() -> None:
    """Right after its start a launcher cannot tell a worker from a job in the queue."""
    world = launched(2)
    world.scale(3)
    world.answer()
    world.settle_calls()
    world.begin()
    world.joined = False  # the master says who is there in a moment
    world.carry_out(world.core.receive(m_scale(2), world.now))
    assert world.stops == 0 and not any(true.draining for true in world.jobs.values())
    world.joined = True
    world.say("1", "working")
    world.say("2", "working")
    assert world.stops == 0
    world.pass_time(1.0)
    world.settle_calls()
    assert {job for job, true in world.jobs.items() if true.state == "ended"} == {"3"}


def test_a_worker_that_was_given_up_is_written_down_again() -> None:
    """When it comes after all, the next launcher knows it, too."""
    world = SimulatedPool()
    world.scale(1)
    world.answer()
    world.carry_out(world.core.receive(WorkerIs(POOL, "1", "failed", reason="no master there"), world.now))
    world.carry_out(world.core.expire(world.now))
    assert world.saved_jobs == {}
    world.say("1", "idle")
    assert world.saved_jobs == {"1": next(iter(world.jobs.values())).call}


def test_a_launcher_that_was_killed_in_the_middle_of_a_call_finds_what_came_of_it() -> None:
    """It does not know the ids, but by what name it asked."""
    world = SimulatedPool()
    world.scale(2)
    world.calls.clear()
    world._make(Start(POOL, next(iter(world.saved_calls)), 2))
    world.begin()
    world.settle(60.0)
    assert len(world.jobs) == 2 and world.serving == 2


def test_a_worker_may_be_quicker_than_the_answer_to_its_call() -> None:
    """It says hello before anybody knows that it is one of ours."""
    world = SimulatedPool()
    world.scale(1)
    world.say("1", "idle")
    world.answer()
    assert infos(world).launches[0].stage == "idle"


def test_workers_of_a_master_that_was_away_are_waited_for() -> None:
    """A master that is started again hears of its workers one after the other."""
    world = launched(2)
    world.part()
    world.pass_time(7200.0)
    world.settle_calls()
    world.join()
    world.pass_time(1.0)
    assert world.starts == 1 and not any(true.told for true in world.jobs.values())


# --- jobs that are in no record -----------------------------------------------------------------------------------------


def test_jobs_in_no_record_are_taken_over_before_anything_is_asked_for() -> None:
    """Machines of a cloud cost money until somebody ends them: a launcher that has lost its record finds them by their
    tags, counts them, and ends those that nobody wants."""
    world = SimulatedPool(has_tags=True)
    world.settle_calls()
    world.scale(3)
    world.settle(60.0)
    world.lose_record()
    world.scale(2)
    assert not any(isinstance(call, Start) for call in world.calls), "it is not known yet what there is"
    world.settle(600.0)
    assert (world.serving, world.starts) == (2, 1)
    world.scale(0)
    world.settle(600.0)
    assert not [job for job, true in world.jobs.items() if true.exists] and world.saved_jobs == {}


def test_a_worker_that_is_in_no_record_leaves_in_good_order() -> None:
    """The master says who is there before the system says what is: a worker at work was ended by its system, and what it
    did was lost."""
    world = SimulatedPool(has_tags=True)
    world.settle_calls()
    world.scale(1)
    world.settle(60.0)
    world.lose_record()
    world.say("1", "working")
    world.settle_calls()
    world.pass_time(5.0)
    world.settle_calls()
    assert world.jobs["1"].draining and not world.jobs["1"].told


def test_a_system_that_is_down_is_asked_again_for_what_is_left() -> None:
    """Nothing is started until it has answered."""
    world = SimulatedPool(has_tags=True)
    world.scale(2)
    world.refuse("down")
    assert not world.calls and "it is down; tried again in 5 s" in infos(world).trouble
    world.settle(600.0)
    assert world.serving == 2


def test_a_machine_that_was_taken_back_is_no_failure() -> None:
    """Spot machines come and go in groups: three that are lost while they start do not pause the pool."""
    for stages in (["queued"], ["started"]):
        launch = Launch("1", "call", 0.0)
        for says in [*stages, "reclaimed"]:
            launch.pool_says(Job(says, "spot"), 1.0)
        assert (launch.stage, launch.reason) == ("gone", "spot")
    launch.worker_says(WorkerIs(POOL, "1", "idle", "w1"), 2.0)
    assert launch.stage == "idle" and not launch.pool_says(Job("reclaimed"), 3.0), "its own word counts more"
