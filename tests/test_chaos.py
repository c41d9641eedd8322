"""Whatever happens, every entry counts once or is listed as lost, and queries end: in many seeds of a simulated world of
trouble, and with real processes that are killed, stopped and cut off. `python -m benchmarks.chaos` does it at length.
"""

from __future__ import annotations

import pytest
from eventmill.master.journal import Journal
from eventmill.packetizer.ledger import Ledger

from benchmarks import chaos_kills, chaos_processes, chaos_seeds
from benchmarks.world import FAULTS, World, Wrong

SEEDS = 2_000


def test_two_thousand_seeds_of_a_world_of_trouble_are_exact() -> None:
    """Faults at every step: each total is exact, each loss is listed and has its reason, each query ends."""
    total = chaos_seeds.sweep(0, SEEDS)
    assert total.good, total.text()
    assert not [kind for kind in FAULTS if kind not in total.text()], "a fault that never happens proves nothing"


def test_one_seed_is_one_story() -> None:
    """A seed that went wrong can be looked at again."""
    first, second = World(12).run(), World(12).run()
    assert (first.steps, first.clock.now, first.happened) == (second.steps, second.clock.now, second.happened)


@pytest.mark.parametrize(
    ("what", "name"),
    [(Journal, "merged"), (Ledger, "_kill_twin")],
    ids=["journal without ranges", "twins that live on"],
)
def test_the_world_notices_when_something_is_broken(what: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that never fails is none: with a step left out, some of the first seeds go wrong."""
    monkeypatch.setattr(what, name, lambda *_: None)
    with pytest.raises(Wrong, match=r"python -m benchmarks\.chaos --seed"):
        [World(seed).run() for seed in range(200)]


def test_real_faults_during_real_queries_change_no_bin() -> None:
    """Master, workers, slots and file server are killed and stopped, lines are cut, the disk is full."""
    report = chaos_processes.run(faults=16, queries=3, events=30_000, cost=150e-6, pause=0.4, longest=2.0)
    assert report.good, report.text()


def test_a_master_killed_at_any_moment_of_a_query_costs_seconds() -> None:
    """The query is complete after the restart, and no more than its intervals is worked on once more."""
    report = chaos_kills.run(2, events=20_000)
    assert report.good, report.text()
