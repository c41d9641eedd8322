"""The rules of the autoscaler, one by one: what is started, what is kept, what goes, and when."""

from math import inf

import pytest
from eventmill.elastic.autoscaler import Autoscaler
from eventmill.elastic.decision import Decision
from eventmill.elastic.demand import Wish, Work
from eventmill.elastic.supply import Machine, Supply, Tariff

HOURLY = Tariff(0.40, 3600.0)


def scaler(**wish) -> Autoscaler:
    autoscaler = Autoscaler()
    autoscaler.wish(Wish("ada", **wish))
    return autoscaler


def work(left: float, parallel: int = 10_000, asked: float = 0.0, owner: str = "ada") -> Work:
    return Work(f"q-{owner}-{asked}", owner, left, parallel, asked)


def wanted(decision: Decision) -> dict[str, int]:
    return {change.pool: change.wanted for change in decision.changes}


def stopped(decision: Decision) -> list[str]:
    return [job for change in decision.changes for job in change.stops]


def up(job: str, **facts) -> Machine:
    return Machine(**{"job": job, "phase": "working", "age": 1000.0, "ran": 900.0, "up": 800.0, **facts})


def test_nothing_is_started_when_there_is_nothing_to_do():
    assert scaler().decide([Supply("batch")], [], now=0.0).changes == []


def test_the_cheapest_pool_that_meets_the_wish_is_taken_and_the_next_one_when_it_is_full():
    batch, cloud = Supply("batch", most=10, start=30.0), Supply("cloud", slots=4, start=60.0, tariff=Tariff(0.20))
    assert wanted(scaler(finish_in=630.0).decide([batch, cloud], [work(3000.0)], 0.0)) == {"batch": 6}
    assert wanted(scaler(finish_in=630.0).decide([batch, cloud], [work(7000.0)], 0.0)) == {"batch": 10, "cloud": 1}


def test_what_was_asked_for_and_is_not_there_yet_is_not_asked_for_again():
    autoscaler = scaler(finish_in=630.0)
    cloud = Supply("cloud", start=30.0, most=100)
    first = wanted(autoscaler.decide([cloud], [work(6000.0)], 0.0))["cloud"]
    unheard = Supply("cloud", start=30.0, most=100, wanted=first, settled=False)
    asked = Supply("cloud", start=30.0, most=100, wanted=first)
    coming = Supply(
        "cloud", start=30.0, most=100, wanted=first, machines=[Machine(str(n), "waiting", 5.0) for n in range(first)]
    )
    for supply in (unheard, asked, coming):
        assert autoscaler.decide([supply], [work(6000.0)], 1.0).changes == []


def test_a_query_that_is_over_before_a_worker_could_be_there_starts_none():
    supply = Supply("cloud", start=120.0, wanted=2, machines=[up("a"), up("b")])
    assert scaler().decide([supply], [work(100.0)], 0.0).changes == []
    assert wanted(scaler().decide([supply], [work(10_000.0)], 0.0))["cloud"] > 10


def test_without_any_workers_one_is_started_also_for_little_work():
    assert wanted(scaler().decide([Supply("cloud", start=120.0, tariff=HOURLY)], [work(1.0)], 0.0)) == {"cloud": 1}


def test_no_more_workers_than_slots_could_be_used():
    supply = Supply("cloud", slots=4, start=10.0)
    assert wanted(scaler().decide([supply], [work(1e6, parallel=10)], 0.0)) == {"cloud": 3}
    assert wanted(scaler(finish_in=20.0).decide([supply], [work(1e6, parallel=10)], 0.0)) == {"cloud": 3}


@pytest.mark.parametrize("wish", [{}, {"finish_in": 100.0}], ids=["open", "deadline"])
def test_max_workers_is_for_all_pools_together(wish):
    batch, cloud = Supply("batch", most=3, start=5.0), Supply("cloud", start=5.0)
    changes = wanted(scaler(max_workers=5, **wish).decide([batch, cloud], [work(1e6)], 0.0))
    assert sum(changes.values()) == 5


def test_no_more_than_max_cost_is_spent_and_as_much_is_done_as_it_pays_for():
    cloud = Supply("cloud", start=60.0, tariff=HOURLY, most=50)
    decision = scaler(max_cost=2.0).decide([cloud], [work(1e6)], 0.0)
    assert wanted(decision) == {"cloud": 5}
    assert decision.forecasts["ada"].hindrance == "max_cost"
    autoscaler = scaler(max_cost=2.0)
    autoscaler.decide([cloud], [work(1e6)], 0.0)
    for ran, goes in ((5.0, 0), (3000.0, 0), (3550.0, 5)):
        machines = [up(f"c{n}", ran=ran) for n in range(5)]
        supply = Supply("cloud", start=60.0, tariff=HOURLY, most=50, wanted=5, machines=machines)
        assert len(stopped(autoscaler.decide([supply], [work(1e6)], ran))) == goes


def test_what_was_spent_is_spent_once_whatever_master_looks():
    """Not again by the next one, nor by a user who finds machines there; what rests is paid by whose work it was."""
    first = Supply("cloud", tariff=HOURLY, wanted=1)
    running = Supply("cloud", tariff=HOURLY, wanted=1, machines=[up("a", ran=10.0)])
    later = Supply("cloud", tariff=HOURLY, wanted=1, machines=[up("a", ran=3700.0)])
    autoscaler = scaler(max_cost=50.0)
    autoscaler.decide([first], [work(1e4)], 0.0)
    autoscaler.decide([running], [work(1e4)], 10.0)
    after = Autoscaler(autoscaler.saved)
    after.decide([running], [work(1e4)], 11.0)
    assert after.saved.spent == {"ada": pytest.approx(0.4)}
    after.decide([later], [], 3700.0)
    assert after.saved.spent == {"ada": pytest.approx(0.8)}


def test_what_can_be_paid_is_not_bounded():
    cloud = Supply("cloud", start=60.0, tariff=HOURLY, most=50)
    forecast = scaler(max_cost=100.0).decide([cloud], [work(1e4)], 0.0).forecasts["ada"]
    assert forecast.hindrance == "" and forecast.cost <= 100.0


def test_a_wish_that_cannot_be_met_says_by_when_it_could_be_and_why():
    cloud = Supply("cloud", start=60.0, most=40)
    decision = scaler(finish_in=1200.0).decide([cloud], [work(40 * 2000.0)], 0.0)
    forecast = decision.forecasts["ada"]
    assert wanted(decision) == {"cloud": 40}
    assert not forecast.met
    assert forecast.hindrance == "most"
    assert forecast.workers == 40
    assert 2000.0 <= forecast.finish <= 2200.0


def test_idle_machines_go_after_their_grace_and_not_before():
    autoscaler = scaler()
    assert (
        stopped(autoscaler.decide([Supply("batch", wanted=1, machines=[up("a", phase="idle", rests=50.0)])], [], 0.0))
        == []
    )
    assert stopped(
        autoscaler.decide([Supply("batch", wanted=1, machines=[up("a", phase="idle", rests=130.0)])], [], 1.0)
    ) == ["a"]


def test_a_machine_that_is_paid_for_stays_to_the_end_of_that():
    autoscaler = scaler()
    for ran, goes in ((1800.0, []), (3400.0, []), (3560.0, ["a"]), (3700.0, [])):
        idle = up("a", phase="idle", rests=900.0, ran=ran)
        assert stopped(autoscaler.decide([Supply("cloud", tariff=HOURLY, wanted=1, machines=[idle])], [], ran)) == goes


def test_the_least_is_kept_and_started_whatever_there_is_to_do():
    assert wanted(scaler().decide([Supply("batch", least=2)], [], 0.0)) == {"batch": 2}
    idle = [up(job, phase="idle", rests=900.0) for job in "abc"]
    assert len(stopped(scaler().decide([Supply("batch", least=2, wanted=3, machines=idle)], [], 0.0))) == 1


def test_dear_machines_at_work_go_when_cheap_ones_do_the_same_in_time():
    cheap = Supply("batch", wanted=10, most=10, machines=[up(f"b{n}") for n in range(10)])
    dear = Supply("cloud", wanted=2, tariff=Tariff(1.0), machines=[up("c1"), up("c2")])
    autoscaler = scaler(finish_in=10_000.0)
    assert set(stopped(autoscaler.decide([cheap, dear], [work(10_000.0)], 0.0))) == {"c1", "c2"}
    assert stopped(scaler(finish_in=870.0).decide([cheap, dear], [work(10_000.0)], 0.0)) == []


def test_dear_machines_are_exchanged_for_cheap_ones_and_go_only_when_these_are_there():
    dear = Supply("cloud", wanted=2, tariff=Tariff(1.0), machines=[up("c1"), up("c2")])
    autoscaler = scaler(finish_in=10_000.0)
    first = autoscaler.decide([Supply("batch", start=60.0), dear], [work(10_000.0)], 0.0)
    assert wanted(first) == {"batch": 2}
    coming = Supply("batch", wanted=2, machines=[Machine(job, "booting", 10.0, 5.0) for job in "ab"])
    assert autoscaler.decide([coming, dear], [work(10_000.0)], 10.0).changes == []
    there = Supply("batch", wanted=2, machines=[up("a"), up("b")])
    assert set(stopped(autoscaler.decide([there, dear], [work(9_000.0)], 100.0))) == {"c1", "c2"}


def test_what_boots_and_never_joins_is_given_up_and_replaced():
    autoscaler = scaler(finish_in=3600.0)
    stuck = Machine("a", "booting", age=700.0, ran=690.0)
    supply = Supply("cloud", start=60.0, wanted=1, machines=[stuck])
    assert stopped(autoscaler.decide([supply], [work(1000.0)], 0.0)) == ["a"]
    assert autoscaler.estimates("cloud").chance < 0.9
    after = Supply("cloud", start=60.0, wanted=0, machines=[Machine("a", "leaving", 701.0, 691.0)])
    assert wanted(autoscaler.decide([after], [work(1000.0)], 1.0)) == {"cloud": 1}


def test_a_pool_in_trouble_is_passed_over_and_what_it_owes_is_not_waited_for():
    cheap = Supply("batch", wanted=5, trouble="squeue: cannot connect; tried again in 4 s")
    dear = Supply("cloud", tariff=Tariff(1.0), start=60.0)
    changes = wanted(scaler(finish_in=600.0).decide([cheap, dear], [work(1000.0)], 0.0))
    assert changes["batch"] == 0
    assert changes["cloud"] >= 2


def test_start_times_are_learnt_from_what_is_seen():
    autoscaler = scaler()
    coming = Supply("cloud", start=100.0, wanted=1, machines=[Machine("a", "booting", age=299.0, ran=250.0)])
    autoscaler.decide([coming], [work(1e4)], 0.0)
    autoscaler.decide([Supply("cloud", wanted=1, machines=[up("a", age=300.0, ran=251.0, up=1.0)])], [work(1e4)], 1.0)
    assert autoscaler.estimates("cloud").start == 299.0


def test_spot_markets_that_are_alike_share_the_work():
    markets = [Supply(name, spot=True, start=60.0, tariff=Tariff(price), most=100) for name, price in
               (("a", 0.100), ("b", 0.104), ("c", 0.5))]  # fmt: skip
    changes = wanted(scaler(finish_in=660.0).decide(markets, [work(12_000.0)], 0.0))
    assert abs(changes["a"] - changes["b"]) <= 1
    assert "c" not in changes


def test_each_user_gets_a_fair_part_of_what_there_is():
    autoscaler = scaler(finish_in=100.0)
    autoscaler.wish(Wish("bob", finish_in=100.0))
    pool = Supply("batch", most=40, start=1.0)
    decision = autoscaler.decide([pool], [work(1e6), work(1500.0, owner="bob")], 0.0)
    assert wanted(decision) == {"batch": 40}
    assert decision.forecasts["bob"].met
    assert decision.forecasts["ada"].hindrance == "share"


def test_a_pool_that_may_not_serve_a_user_is_not_started_for_her():
    bobs = Supply("bobs", serves=frozenset({"bob"}))
    assert scaler().decide([bobs], [work(1e4)], 0.0).changes == []


def test_wishes_and_what_was_learnt_outlive_the_autoscaler():
    autoscaler = scaler(finish_in=100.0, max_cost=5.0)
    autoscaler.decide([Supply("cloud", tariff=HOURLY, wanted=1, machines=[up("a")])], [work(1e4)], 0.0)
    autoscaler.decide([Supply("cloud", tariff=HOURLY, wanted=1, machines=[up("a", ran=3700.0)])], [work(1e4)], 1.0)
    after = Autoscaler(autoscaler.saved)
    assert after.wishes == autoscaler.wishes
    assert after.saved.spent == {"ada": pytest.approx(0.4)}


def test_forecasts_of_nothing_to_do_are_met():
    forecast = scaler(finish_in=10.0).decide([Supply("batch")], [], 0.0).forecasts["ada"]
    assert forecast.met and forecast.finish == 0.0 and forecast.finish < inf


def test_without_money_to_wait_machines_go_at_once_and_cheap_ones_are_paid_first():
    """Else what waits for more work costs more than may be spent; and dear ones would do less for the same money."""
    tariff = Tariff(0.20)
    autoscaler = scaler(max_cost=0.01)
    idle = Supply("cloud", tariff=tariff, wanted=4, machines=[up(job, phase="idle", rests=2.0) for job in "abcd"])
    assert len(stopped(autoscaler.decide([idle], [], 0.0))) == 4
    assert stopped(scaler(max_cost=5.0).decide([idle], [], 0.0)) == []
    dear = Supply("cloud", tariff=tariff, wanted=4, most=4, machines=[up(job) for job in "abcd"])
    cheap = Supply("batch", tariff=Tariff(0.02), start=5.0, most=4)
    decision = scaler(max_cost=0.1).decide([dear, cheap], [work(1e5)], 0.0)
    assert wanted(decision)["batch"] == 4


def test_a_maximum_below_what_is_at_work_lets_the_rest_of_them_go() -> None:
    """Also at work, after their grace; others who may use them keep them, and what is paid for is used to its end."""
    machines = [up(str(n)) for n in range(10)]
    pool = Supply("batch", most=100, start=30.0, wanted=10, machines=machines)
    decision = scaler(max_workers=3).decide([pool], [work(1e6)], 0.0)
    assert wanted(decision) == {"batch": 3} and len(stopped(decision)) == 7
    new = Supply("batch", most=100, start=30.0, wanted=10, machines=[up(str(n), up=10.0) for n in range(10)])
    assert stopped(scaler(max_workers=3).decide([new], [work(1e6)], 0.0)) == []
    three = Supply("batch", most=100, start=30.0, wanted=3, machines=machines[:3])
    assert scaler(max_workers=3).decide([three], [work(1e6)], 0.0).changes == []
    shared = scaler(max_workers=3).decide([pool], [work(1e6), work(1e6, owner="bob")], 0.0)
    assert stopped(shared) == []
    paid = Supply("cloud", most=100, start=30.0, wanted=10, tariff=HOURLY, machines=machines)
    assert stopped(scaler(max_workers=3).decide([paid], [work(1e6)], 0.0)) == []
