"""The master between wishes and launchers: what is asked for when there is work, and what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest
from eventmill.elastic.autoscaler import Saved
from eventmill.elastic.demand import Wish
from eventmill.master.wishes import records_of, saved_of
from eventmill.protocol import messages as m
from pooled import LAUNCHER, Pooled

TERMS = m.PoolTerms(slots=1, start=2.0)


class Elastic(Pooled):
    """A master with a launcher that does what it is told."""

    def pools(self, *infos: m.PoolInfo) -> None:
        self.infos = {info.pool: info for info in infos}
        self.keys[LAUNCHER] = "session"
        if LAUNCHER not in self.inbox:
            self.hello(LAUNCHER, "launcher")
        self.tell(LAUNCHER, "session", m.TellPools(list(infos)))

    def wish(self, who: bytes = b"session", **terms: object) -> m.Message:
        return self.ask(who, lambda number: m.MakeWish(number, m.WishTerms(**terms)))  # type: ignore[arg-type]

    def orders(self) -> list[tuple[str, int | Sequence[str]]]:
        """What the launcher was told since it was looked at last; it has answered all of it."""
        found: list[tuple[str, int | Sequence[str]]] = []
        for message in list(self.inbox.get(LAUNCHER, [])):
            if isinstance(message, m.Scale | m.StopLaunches):
                found.append((message.pool, message.workers if isinstance(message, m.Scale) else message.jobs))
                self.tell(LAUNCHER, "session", m.Done(message.request))
        self.inbox[LAUNCHER].clear()
        return found


def pool(name: str = "cloud", wanted: int = 0, launches: Sequence[m.LaunchInfo] = (), **more: object) -> m.PoolInfo:
    return m.PoolInfo(name, "slurm", wanted, 10, list(launches), **{"terms": TERMS, **more})  # type: ignore[arg-type]


def test_a_wish_without_work_starts_nothing_and_work_starts_workers_at_once() -> None:
    world = Elastic()
    world.pools(pool())
    answer = world.wish()
    assert isinstance(answer, m.Wished) and answer.wish.queries == 0
    assert world.orders() == []
    world.submit()
    world.let_pass(0.2)
    ((name, workers),) = world.orders()
    assert name == "cloud" and isinstance(workers, int) and workers >= 1


def test_work_without_a_wish_starts_nothing() -> None:
    world = Elastic()
    world.pools(pool())
    world.submit()
    world.let_pass(5.0)
    assert world.orders() == []


def test_what_is_not_answered_is_not_said_again() -> None:
    world = Elastic()
    world.pools(pool())
    world.wish()
    world.submit()
    for _ in range(5):
        world.let_pass(1.0)
    assert len([it for it in world.inbox[LAUNCHER] if isinstance(it, m.Scale)]) == 1


def test_a_launcher_that_comes_back_is_told_again() -> None:
    world = Elastic()
    world.pools(pool())
    world.wish()
    world.submit()
    world.let_pass(1.0)
    world.carry_out(world.core.disconnected(LAUNCHER, world.now))
    world.inbox.pop(LAUNCHER)
    world.pools(pool())
    world.let_pass(1.5)
    assert len(world.orders()) == 1


def test_a_pool_that_is_scaled_by_hand_is_left_alone_until_it_is_named_in_a_wish() -> None:
    world = Elastic()
    world.pools(pool(wanted=3, by_hand=True))
    world.submit()
    world.wish()
    world.let_pass(2.0)
    assert world.orders() == []
    world.wish(pools=["cloud"])
    assert world.orders() == [("cloud", 3)]  # it follows from now on
    world.pools(pool(wanted=3))
    world.let_pass(2.0)
    assert world.orders() == []  # three are enough for little work


def test_idle_workers_go_and_a_wish_that_is_withdrawn_leaves_none() -> None:
    world = Elastic()
    launches = [m.LaunchInfo(job, "idle", 100.0, worker=job, stages={"started": 2.0}) for job in "ab"]
    world.pools(pool(wanted=2, launches=launches))
    world.wish()
    assert world.orders() == [("cloud", ["a", "b"])]
    world.pools(pool(wanted=2, launches=[m.LaunchInfo(job, "idle", 5.0) for job in "cd"]))
    world.let_pass(2.0)
    assert world.orders() == []
    world.ask(b"session", lambda number: m.MakeWish(number, None))
    assert world.orders() == [("cloud", 0)]


def test_nobody_wishes_for_pools_that_do_not_serve_her() -> None:
    world = Elastic()
    world.pools(pool(owner="bob"), pool("all"))
    refused = world.wish(b"alice", pools=["cloud"])
    assert isinstance(refused, m.Refused) and "no launcher of this master has a pool cloud" in refused.reason
    assert isinstance(world.wish(b"alice"), m.Wished)
    asked = world.ask(b"bob", lambda number: m.AskPools(number))
    assert isinstance(asked, m.Pools) and asked.wishes == []
    asked = world.ask(b"olga", lambda number: m.AskPools(number))
    assert isinstance(asked, m.Pools) and [wish.owner for wish in asked.wishes] == ["alice"]


def test_a_wish_waits_for_the_launcher_of_a_pool() -> None:
    world = Elastic()
    world.tell(b"session", "session", m.MakeWish(7, m.WishTerms(pools=["cloud"]), wait=5.0))
    world.let_pass(1.0)
    assert not [it for it in world.inbox[b"session"] if isinstance(it, m.Wished | m.Refused)]
    world.pools(pool())
    world.let_pass(1.0)
    assert isinstance(world.inbox[b"session"][-1], m.Wished)
    world.tell(b"session", "session", m.MakeWish(8, m.WishTerms(pools=["other"]), wait=2.0))
    world.let_pass(3.0)
    assert isinstance(world.inbox[b"session"][-1], m.Refused)


def test_what_is_written_down_is_what_the_next_master_has() -> None:
    """Deadlines are by the clock on the wall there."""
    wishes = [Wish("ada", ("cloud",), 1200.0, 500.0, 40, 10.0), Wish("bob")]
    saved = Saved(wishes, {"cloud": [60.0, 70.0]}, {"ada": 2.5})
    restored = saved_of(records_of(saved, epoch=1000.0), epoch=1300.0)
    assert restored.wishes == [Wish("ada", ("cloud",), 1200.0, 200.0, 40, 10.0), Wish("bob")]
    assert restored.starts == saved.starts and restored.spent == {"ada": 2.5, "bob": 0.0}
    assert wishes[1].deadline == inf


@pytest.mark.parametrize("known", [True, False])
def test_the_forecast_says_whether_it_is_known(known: bool) -> None:
    world = Elastic()
    world.pools(pool())
    query = world.submit()
    if known:
        world.core.queries[query].packetizer.size.rate = 10.0
    answer = world.wish(finish_in=20.0)
    assert isinstance(answer, m.Wished) and answer.wish.known == known
