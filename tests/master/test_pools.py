"""The master between launchers and those who want workers: who is told what becomes of a worker, and whose pool is whose."""

from __future__ import annotations

import pytest
from eventmill.display.report.report import Report
from eventmill.protocol import messages as m
from pooled import LAUNCHER, Pooled, key


def test_a_launcher_hears_of_its_workers() -> None:
    """That they have joined, work, have nothing to do, leave, or are lost: what it counts by."""
    world = Pooled()
    world.launcher("night")
    world.hello(b"w1", "worker", 1, pool="night", job="7_0", host="n1")
    world.hello(b"w2", "worker", 1, pool="night", job="7_1")
    world.hello(b"w3", "worker", 1, pool="day", job="8_0")
    assert [(it.job, it.stage, it.host) for it in world.words()] == [("7_0", "idle", "n1"), ("7_1", "idle", "")]
    world.submit()
    world.let_pass(1.0)
    assert {(it.job, it.stage) for it in world.words()[2:]} == {("7_0", "working")}
    before = len(world.words())
    world.drain(b"w1")
    world.let_pass(1.0)
    world.tell(b"w1", "worker", m.Bye())
    world.kill(b"w2")
    assert [(it.job, it.stage) for it in world.words()[before:]] == [
        ("7_0", "draining"),
        ("7_0", "gone"),
        ("7_1", "lost"),
    ]


def test_a_launcher_that_comes_later_hears_of_all() -> None:
    """One that was started again, or whose workers were quicker."""
    world = Pooled()
    world.hello(b"w1", "worker", 1, pool="night", job="7_0")
    assert world.words() == []
    world.launcher("night")
    assert [it.job for it in world.words()] == ["7_0"]
    world.tell_pools("night")
    assert [it.job for it in world.words()] == ["7_0"], "once is enough"


def test_stages_before_the_hello_are_passed_on() -> None:
    """A worker says how far it is before the master lets it work, and why it cannot go on."""
    world = Pooled()
    world.launcher("night")
    world.keys[b"booting"] = "worker"
    world.tell(b"booting", "worker", m.Stage("environment", 1.5, "", "night", "7_0", "n1"))
    world.tell(b"booting", "worker", m.Stage("failed", 2.0, "no numba here", "night", "7_0", "n1"))
    assert [(it.stage, it.seconds, it.reason) for it in world.words()] == [
        ("environment", 1.5, ""),
        ("failed", 2.0, "no numba here"),
    ]


def test_a_launcher_hears_of_workers_that_enrol_and_of_those_that_are_not_let_in_and_why() -> None:
    """A worker of another Python, or with a token that is used up, is told to leave; the pool's owner sees the reason."""
    made = Pooled()
    made.launcher("night")
    made.ask(b"session", lambda number: m.MakeToken(number, key("t"), m.TokenTerms("t", pool="night")))
    for job, own in (("1", "w1"), ("2", "w2")):
        came = job.encode()
        made.keys[came] = key("t")
        made.tell(came, "token", m.Enrol(key(own), "night", job, f"node{job}"))
    made.keys[b"w1"] = key("w1")
    made.tell(b"w1", "worker", m.Hello("worker", "w", python="2.7", slots=1, pool="night", job="1", host="node1"))
    words = [(word.job, word.stage, word.host) for word in made.words()]
    assert words == [("1", "enrolled", "node1"), ("2", "failed", "node2"), ("1", "failed", "node1")]
    assert "is used up" in made.words()[1].reason and "runs Python 2.7" in made.words()[2].reason


def test_a_worker_whose_slots_do_not_start_is_no_worker_that_has_joined() -> None:
    """It says hello without slots, only to say why it ends."""
    made = Pooled()
    made.launcher("night")
    made.hello(b"w", "worker", 0, pool="night", job="1")
    made.tell(b"w", "worker", m.Stage("failed", 0.0, "slots end before they are up", "night", "1"))
    assert [(word.stage, word.reason) for word in made.words()] == [("failed", "slots end before they are up")]


def test_what_a_launcher_has_told_grows_older() -> None:
    """It tells what changes; a job that waits for an hour is shown with an hour."""
    made = Pooled()
    made.launcher("night")
    launches = [m.LaunchInfo("1", "queued", 5.0), m.LaunchInfo("2", "failed", 7.0)]
    made.tell(LAUNCHER, "session", m.TellPools([m.PoolInfo("night", "slurm", 2, 10, launches)]))
    made.let_pass(3.0)
    pools = made.ask(b"session", m.AskPools)
    assert isinstance(pools, m.Pools) and [it.seconds for it in pools.pools[0].launches] == [8.0, 7.0]


def test_a_request_goes_to_the_launcher_and_its_answer_back() -> None:
    """With the number that each of the two knows it by; a refusal in the launcher's words."""
    world = Pooled()
    world.launcher("night")
    world.scale(b"session", "night", 5)
    asked = world.inbox[LAUNCHER][-1]
    assert isinstance(asked, m.Scale) and (asked.pool, asked.workers) == ("night", 5)
    world.tell(LAUNCHER, "session", m.Done(asked.request))
    assert world.inbox[b"session"][-1] == m.Done(world.requests)
    world.ask(b"session", lambda number: m.StopLaunches(number, "night", ["7_0"]))
    stop = world.inbox[LAUNCHER][-1]
    assert isinstance(stop, m.StopLaunches) and stop.jobs == ["7_0"]
    world.tell(LAUNCHER, "session", m.Refused(stop.request, "no"))
    assert world.inbox[b"session"][-1] == m.Refused(world.requests, "no")


def test_nobody_answers_for_another() -> None:
    """A session that says `Done` of a request that a launcher has is not believed."""
    world = Pooled()
    world.launcher("night")
    world.scale(b"session", "night")
    asked = world.inbox[LAUNCHER][-1]
    assert isinstance(asked, m.Scale)
    before = list(world.inbox[b"session"])
    world.tell(b"bob", "session", m.Done(asked.request))
    assert world.inbox[b"session"] == before


def test_a_launcher_that_leaves_owes_no_answer() -> None:
    """Who waits for it hears so, and its pools are gone from the list."""
    world = Pooled()
    world.launcher("night")
    world.scale(b"session", "night")
    world.carry_out(world.core.disconnected(LAUNCHER, world.now))
    answer = world.inbox[b"session"][-1]
    assert isinstance(answer, m.Refused) and "is gone" in answer.reason
    assert world.ask(b"session", m.AskPools) == m.Pools(world.requests, [])


def test_a_launcher_that_takes_the_place_of_one_that_is_gone_is_asked() -> None:
    """Who starts it again and asks at once does so before the master knows of the loss: before the new one has come, or when
    both seem to be there."""
    world = Pooled()
    world.launcher("night")
    world.scale(b"session", "night", wait=3.0)
    world.carry_out(world.core.disconnected(LAUNCHER, world.now))
    world.launcher("night", identity=b"later")
    asked = world.inbox[b"later"][-1]
    assert isinstance(asked, m.Scale) and asked.workers == 3
    world.launcher("night", identity=b"last")
    world.scale(b"session", "night", 7, wait=3.0)
    world.carry_out(world.core.disconnected(b"later", world.now))
    asked = world.inbox[b"last"][-1]
    assert isinstance(asked, m.Scale) and asked.workers == 7
    world.launcher("night", identity=b"other")
    world.scale(b"session", "night", 8, wait=3.0)
    world.let_pass(4.0)
    answer = world.inbox[b"session"][-1]
    assert isinstance(answer, m.Refused) and "2 launchers have a pool night" in answer.reason


def test_a_pool_that_is_about_to_come_is_waited_for() -> None:
    """A session that has just started its launcher need not ask again and again."""
    world = Pooled()
    world.scale(b"session", "night", wait=20.0)
    world.let_pass(1.0)
    world.launcher("night")
    asked = world.inbox[LAUNCHER][-1]
    assert isinstance(asked, m.Scale)
    world.scale(b"session", "evening", wait=20.0)
    world.let_pass(21.0)
    answer = world.inbox[b"session"][-1]
    assert (
        isinstance(answer, m.Refused)
        and "no launcher of this master has a pool evening; there are: night" in answer.reason
    )


@pytest.mark.parametrize(
    ("launcher", "owner", "who", "may"),
    [
        ("", "", "session", True),
        ("", "", "alice", False),
        ("", "alice", "alice", True),
        ("", "alice", "bob", False),
        ("", "@cms", "alice", False),
        ("alice", "", "alice", True),
        ("alice", "", "bob", False),
        ("alice", "", "session", True),
        ("alice", "", "olga", True),
    ],
)
def test_who_may_scale_whose_pool(launcher: str, owner: str, who: str, may: bool) -> None:
    """Users scale what they have brought and what is for them alone; the owner of the master and operators all."""
    world = Pooled()
    world.launcher("night", user=launcher, owner=owner)
    world.scale(who.encode(), "night")
    refused = isinstance(world.inbox[who.encode()][-1], m.Refused)
    assert refused is not may
    assert any(isinstance(message, m.Scale) for message in world.inbox[LAUNCHER]) is may


@pytest.mark.parametrize(
    ("launcher", "owner", "who", "sees"),
    [("", "", "bob", True), ("alice", "", "bob", False), ("", "@cms", "alice", True), ("", "@cms", "bob", False)],
)
def test_who_sees_which_pool(launcher: str, owner: str, who: str, sees: bool) -> None:
    """Those whose queries its workers serve, and those who may steer it."""
    world = Pooled()
    world.launcher("night", user=launcher, owner=owner)
    answer = world.ask(who.encode(), m.AskPools)
    assert isinstance(answer, m.Pools) and bool(answer.pools) is sees


def test_a_users_pool_is_hers_whatever_her_launcher_says() -> None:
    """What it says of others' workers is no news to them, and its words stand in no query of theirs."""
    world = Pooled()
    world.launcher("night", user="bob", owner="alice")
    answer = world.ask(b"bob", m.AskPools)
    assert isinstance(answer, m.Pools) and [info.owner for info in answer.pools] == ["bob"]


def test_a_pool_of_the_same_name_takes_nothing_over() -> None:
    """Requests of the owner of the master do not go to a user who has a pool called like hers, nor news of her workers."""
    world = Pooled()
    world.launcher("night")
    world.launcher("night", user="bob", identity=b"bobs")
    world.hello(b"w1", "worker", 1, pool="night", job="7_0")
    world.scale(b"session", "night")
    assert world.words(b"bobs") == []
    assert not any(isinstance(message, m.Scale) for message in world.inbox[b"bobs"])
    assert any(isinstance(message, m.Scale) for message in world.inbox[LAUNCHER])


def test_a_query_that_waits_for_workers_says_where_they_are() -> None:
    """In the words of the batch system; of pools that serve its owner only."""
    world = Pooled()
    world.launcher("night")
    queued = m.LaunchInfo("7_0", "queued", 3.0, "Priority")
    failed = m.LaunchInfo("7_1", "failed", 3.0, "no such image\nmore of its log")
    pools = [m.PoolInfo("night", "slurm", 2, 10, [queued, failed]), m.PoolInfo("bobs", "slurm", 1, 10, owner="bob")]
    world.tell(LAUNCHER, "session", m.TellPools(pools))
    world.submit()
    world.let_pass(1.0)
    told = [message for message in world.inbox[b"session"] if isinstance(message, m.Progress)][-1]
    assert told.waits == m.Wait("workers", reason="2 requested in night, 1 queued (Priority), 1 failed: no such image")


def test_a_query_that_is_over_tells_how_its_workers_came_to_be() -> None:
    """Of those that have worked for it; the report has a table of their stages."""
    made = Pooled()
    made.launcher("night")
    made.hello(b"w", "worker", 1, pool="night", job="1")
    (worker,) = made.core.workers.values()
    took = {"requested": 0.5, "queued": 60.0, "enrolled": 2.0, "idle": 0.5, "working": 7.0}
    launches = [m.LaunchInfo("1", "working", 1.0, worker=worker.name, stages=took), m.LaunchInfo("2", "queued", 70.0)]
    made.tell(LAUNCHER, "session", m.TellPools([m.PoolInfo("night", "slurm", 2, 10, launches)]))
    number = made.submit()
    made.run()
    starts = made.ended[number].starts
    assert {pool: [it.job for it in told] for pool, told in starts.items()} == {"night": ["1"]}
    report = Report(made.ended[number].report, starts=starts)
    assert repr(report).splitlines()[-1].replace(" s", "").split() == [
        "night",
        "1",
        "0.5",
        "60.0",
        "2.0",
        "0.5",
        "63.0",
    ]
    assert "to the first packet" in report._repr_html_() and "63.0 s" in report._repr_html_()
