"""On the ramp of five sites with prices each wish is met that can be, at hardly more than the least cost."""

from __future__ import annotations

import pytest

from benchmarks import priced_ramp
from benchmarks.packetizer import WORKS

FEW = (1_000, 5_000)


@pytest.mark.parametrize("patience", priced_ramp.PATIENCE)
@pytest.mark.parametrize(
    "work", [*FEW, *[pytest.param(work, marks=pytest.mark.nightly) for work in WORKS if work not in FEW]]
)
def test_a_wish_is_met_at_hardly_more_than_the_least_cost(work: int, patience: float) -> None:
    """The least that a mixed-integer programme finds, which knows when each machine will start."""
    case = priced_ramp.run(work, patience * priced_ramp.shortest(work) + priced_ramp.REACTION)
    assert case.took <= case.wished + 1.0
    assert case.cost <= priced_ramp.DEARER * case.least
