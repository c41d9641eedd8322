"""Pools that follow the work, with real masters, launchers and workers as processes of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import pytest
from eventmill.launch.pools.pool import PoolError
from pool_agent import agent
from processes import Standing, call, eventually, finds_again
from sums import SUM, Gate, total


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master without workers of its own."""
    made = Standing(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


HERE: dict[str, object] = {"most": 2, "start_time": "2s", "price": 0.36}
"""A pool of two small workers."""


def stages(session: em.Session) -> list[str]:
    return [launch.stage for info in session.pools() for launch in info.launches]


@pytest.mark.long("real launchers at their pace; tests/elastic has it in virtual time")
def test_workers_come_with_the_work_and_go_with_the_wish(fleet: Standing, numbers: em.Dataset, tmp_path: Path) -> None:
    """Nobody says how many: the query has workers, the result is exact, what was spent is told, nothing is left."""
    gate = Gate(tmp_path / "gate")
    with fleet.connect() as session:
        wish = session.scale("auto", em.Local(most=2, start_time="2s", price=0.36), finish_in=1.0)
        assert stages(session) == []
        query = session.process(numbers, gate.unhurried)
        eventually(lambda: stages(session).count("working") == 2, "two workers are at work")
        eventually(lambda: "too late" in repr(wish), "the wish cannot be met, and says why")
        gate.open()
        assert query.result().value == SUM
        eventually(lambda: wish.info is not None and "to the first packet" in wish.info.course, "the course is told")
        assert wish.info is not None and wish.info.spent > 0.0
        assert "Pools that followed the work: to the first packet" in str(query.report())
        wish.off()
        eventually(lambda: set(stages(session)) == {"gone"}, "all are let go")
        assert wish.info is None


@pytest.mark.long("real launchers at their pace; tests/elastic has it in virtual time")
def test_a_master_that_is_started_again_goes_on_with_the_wish_and_finds_its_workers(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    """No worker is started twice, and none is forgotten."""
    gate = Gate(tmp_path / "gate")
    with agent(fleet, tmp_path / "pools", here=HERE), fleet.connect() as session:
        session.scale("auto", "here", max_workers=2, max_cost=5.0)
        query = session.process(numbers, gate.unhurried)
        eventually(lambda: stages(session).count("working") == 2, "two workers are at work")
        jobs = {launch.job for info in session.pools() for launch in info.launches}
        fleet.crash()
        fleet.start_master()
        finds_again(session)
        eventually(lambda: bool(session.pools()) and stages(session).count("working") == 2, "both are there again")
        assert {launch.job for info in session.pools() for launch in info.launches} == jobs
        (wish,) = session.pools().wishes
        assert (wish.terms.max_workers, wish.terms.max_cost) == (2, 5.0)
        gate.open()
        assert query.result().value == SUM


@pytest.mark.long("real launchers at their pace; tests/elastic has it in virtual time")
def test_the_command_line_has_pools_follow_the_work(fleet: Standing, numbers: em.Dataset, tmp_path: Path) -> None:
    """And what is scaled by hand is left alone."""
    with agent(fleet, tmp_path / "pools", here=HERE), fleet.connect() as session:
        eventually(lambda: bool(session.pools()), "the pool is there")
        _, said = call("pool", "auto", "--master", fleet.name, "--finish-in", "20min", state=fleet.state)
        assert "each query in 20 min 00 s; nothing to do" in said
        assert session.process(numbers, total).result().value == SUM
        _, said = call("pool", "list", "--master", fleet.name, state=fleet.state)
        assert "the master wishes: each query in 20 min 00 s" in said
        lines = call("pool", "list", "--json", "--master", fleet.name, state=fleet.state)[1].splitlines()
        assert json.loads(lines[-1])["of"] == "wish"
        session.scale(0, "here")
        eventually(lambda: not set(stages(session)) - {"gone"}, "they are let go")
        query = session.process(numbers, total)
        eventually(lambda: "no worker" in session.cluster().queries[query.id].view.wait, "nobody comes")
        assert session.pools()[0].by_hand and session.pools()[0].wanted == 0
        call("pool", "auto", "here", "--master", fleet.name, state=fleet.state)
        assert query.result().value == SUM
        _, said = call("pool", "auto", "--off", "--master", fleet.name, state=fleet.state)
        assert "no pool follows the work any more" in said


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"finish_in": "soon"}, "'soon' is no time"),
        ({"finish_in": -1}, "finish_in=-1: it must be more than nothing"),
        ({"max_workers": 0}, "max_workers=0: it must be a whole number from 1 on"),
        ({"max_cost": float("nan")}, "max_cost=nan"),
        ({"deadline": "2020-01-01 08:00"}, "has passed: it is"),
        ({"deadline": "tomorrow"}, "give a time of the day"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_started(
    session: em.Session, wish: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        session.scale("auto", em.Local(), **wish)  # type: ignore[call-overload]


@pytest.mark.long("real launchers at their pace; tests/elastic has it in virtual time")
def test_pools_that_are_not_there_are_named() -> None:
    with em.connect(slots=0) as session:
        with pytest.raises(PoolError, match="no launcher of this master has a pool for you"):
            session.scale("auto")
        with pytest.raises(PoolError, match="has a pool moon"):
            session.scale("auto", "moon")
        with pytest.raises(ValueError, match='max_workers goes with scale\\("auto"\\)'):
            session.scale(2, em.Local(), max_workers=4)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="a price of inf"):
            session.scale("auto", em.Local(price=float("inf")))
