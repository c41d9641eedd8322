"""Whatever happens, every entry counts once or is listed as lost, and queries end: in many seeds of a simulated world of
trouble, and with real processes that are killed, stopped and cut off. `python -m tests.world.chaos` does it at length.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from eventmill.master.attachments import Attachments
from eventmill.master.journal import Journal
from eventmill.merge import Total, encode
from eventmill.packetizer.ledger import Ledger
from eventmill.worker.agent import commits
from eventmill.worker.slot.isolation import Fault, Isolation

from tests.world import (
    kills as chaos_kills,
)
from tests.world import (
    real_faults as chaos_processes,
)
from tests.world import (
    seeds as chaos_seeds,
)
from tests.world import (
    slots as chaos_slots,
)
from tests.world.world import FAULTS, World, Wrong

FEW, SEEDS = 300, 2_000
"""Of the simulated world: every time, and at night."""


@pytest.mark.parametrize(
    "seeds", [range(FEW), pytest.param(range(FEW, SEEDS), marks=[pytest.mark.nightly, pytest.mark.timeout(600)])]
)
def test_seeds_of_a_world_of_trouble_are_exact(seeds: range, caplog: pytest.LogCaptureFixture) -> None:
    """Faults at every step: each total is exact, each loss is listed and has its reason, each query ends."""
    caplog.set_level(logging.CRITICAL, "eventmill")
    processes = 1 if len(seeds) == FEW else None  # a pool would spend four seconds of a core on imports
    total = chaos_seeds.sweep(seeds.start, len(seeds), processes)
    assert total.good, total.text()
    assert not [kind for kind in FAULTS if kind not in total.text()], "a fault that never happens proves nothing"


def test_one_seed_is_one_story() -> None:
    """A seed that went wrong can be looked at again."""
    first, second = World(12).run(), World(12).run()
    assert (first.steps, first.clock.now, first.happened) == (second.steps, second.clock.now, second.happened)


def _drop_what_is_before(self: Isolation, low: int, fault: Fault, late: float) -> tuple[Fault, int]:
    """As isolation once was: what is in front of an entry that was told to raise is never analysed."""
    while not fault.behind(low).is_narrow:
        middle = (low + fault.stop) // 2
        part = self.attempt(low, middle)
        low, fault = (middle, fault) if part is None else (low, part)
    return fault, fault.stop


_IN_A_CORE = pytest.mark.interpreted("something else is put in the place of a core's method")


def _lose_now_and_then(whole: Callable[..., Any]) -> Callable[..., Any]:
    """A total that leaves out every tenth partial result."""
    calls = itertools.count()

    def add(self: Total, frames: list[Any]) -> None:
        if next(calls) % 10:
            whole(self, frames)

    return add


@pytest.mark.parametrize(
    ("what", "name", "instead", "words", "seed"),
    [
        (Journal, "merged", lambda *_: None, "CountError", 3),
        pytest.param(Ledger, "_kill_duplicate", lambda *_: None, "Wrong|Error", 2, marks=_IN_A_CORE),
        (Isolation, "_narrowed", _drop_what_is_before, "CountError", 9),
        (Total, "add_frames", _lose_now_and_then(Total.add_frames), "CountError", 0),
        (Attachments, "give", lambda *_: None, "tables, where", 0),
        (chaos_slots, "compact", lambda partial: encode(None, partial.entries // 2), "CountError", 147),
    ],
    ids=[
        "journal without ranges", "duplicates that live on", "sound entries in front of a fault dropped",
        "partial results lost on the way", "attachments that are not sent", "a compaction that loses a part",
    ],
)  # fmt: skip
def test_the_world_notices_when_something_is_broken(
    what: Any, name: str, instead: Any, words: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that never fails is none: with a step left out, some of the first seeds go wrong, which this one did once."""
    monkeypatch.setattr(what, name, instead)
    with pytest.raises(Wrong, match=rf"(?s)({words}).*python -m tests\.world\.chaos --seed"):
        [World(each).run() for each in (*range(seed, 400), *range(seed))]


@pytest.mark.long("half a minute of real kills; the seeds of simulated ones are many more")
def test_real_faults_during_real_queries_change_no_bin() -> None:
    """Master, workers, slots and file server are killed and stopped, lines are cut, the disk is full."""
    options = {
        "events": 30_000,
        "cost": 150e-6,
        "kernel_cost": 10e-6,
        "pause": 0.4,
        "longest": 2.0,
    }  # kernels burn a core
    report = chaos_processes.run(faults=len(chaos_processes.FAULTS), queries=3, **options)
    assert report.good, report.text()


@pytest.mark.long("a master is killed and started again a dozen times")
def test_a_master_killed_at_any_moment_of_a_query_costs_seconds() -> None:
    """The query is complete after the restart, and nothing that its journal had is worked on once more."""
    report = chaos_kills.run(1, events=20_000)
    assert report.good, report.text()


def test_seeds_in_which_workers_commit_in_turn_are_exact(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As workers with large results do: what waits for its turn when its worker or master goes is done again, once."""
    caplog.set_level(logging.CRITICAL, "eventmill")
    monkeypatch.setattr(commits, "LARGE_COMMIT", 0)
    total = chaos_seeds.sweep(0, 40, processes=1)
    assert total.good, total.text()
