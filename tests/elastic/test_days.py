"""The autoscaler in days in which much goes wrong: calls that fail, answers that never come, listings that lie, machines
that never come or break, quotas, spot machines that are lost in groups, launchers that are killed. `days.py` says what must
be true of each.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable

import pytest
from eventmill.elastic.autoscaler import Autoscaler
from eventmill.simulation.facility import Facility
from eventmill.simulation.facility_outcome import DayOutcome

from tests.elastic.days import Watched, Wrong, day

FEW, DAYS, BATCH = 12, 10_000, 50
FOUND = (7816,)
"""Days that were once wrong. In this one a machine comes by a call that a server has answered with an error."""


def be_quiet() -> None:
    """What goes wrong in a simulated day is no news."""
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)


def wrong(seeds: Iterable[int]) -> list[str]:
    """What is wrong with these days."""
    found = []
    for seed in seeds:
        try:
            Watched(seed).run()
        except Wrong as problem:
            found.append(str(problem))
    return found


@pytest.mark.long("many days of a facility; one is below")
def test_days_of_trouble_leave_nothing_undone_and_nothing_behind() -> None:
    """No flap, no maximum exceeded, no machine left, no wish forgotten, nothing asked for twice."""
    assert wrong([*range(FEW), *FOUND]) == []


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_days_do() -> None:
    """The same, on all cores."""
    batches = [range(start, min(start + BATCH, DAYS)) for start in range(FEW, DAYS, BATCH)]
    with multiprocessing.get_context("spawn").Pool(initializer=be_quiet) as pool:
        found = [problem for problems in pool.imap_unordered(wrong, batches) for problem in problems]
    assert found == []


def traced(seed: int) -> DayOutcome:
    return Facility(day(seed), Autoscaler(), seed, soonest=5.0, every=30.0, trace=True).run()


def test_one_seed_is_one_day() -> None:
    """A day that went wrong can be looked at again, message by message."""
    first, second = traced(3), traced(3)
    assert first.trace == second.trace != traced(4).trace
