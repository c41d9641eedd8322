"""What pools are for, as a test that each system takes: more workers for a query that runs, and none left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import eventmill as em
from eventmill.launch.pools.pool import Pool
from processes import SECONDS, Standing, eventually
from sums import SUM, Gate, committed


def scales(
    fleet: Standing, numbers: em.Dataset, folder: Path, pool: Pool, workers: int, is_left: Callable[[], bool]
) -> None:
    """A query with one worker gets more of them from a pool while it runs, they work on it, are let go, and it ends well.

    Args:
        fleet: a master with one worker of one slot.
        folder: for the gate that holds the query up.
        workers: how many more.
        is_left: whether something of the pool's is still there.
    """
    gate = Gate(folder / "gate")
    with fleet.connect() as session:
        query = session.process(numbers, gate.unhurried)
        eventually(lambda: committed(query), "the first one commits")
        handle = session.scale(workers, pool)
        busy = lambda: sum(info.busy for info in session.workers())  # noqa: E731
        eventually(lambda: busy() == workers + 1, "all work on it")
        eventually(lambda: [launch.stage for launch in handle.launches()] == ["working"] * workers, "the pool says so")
        for launch in handle.launches():
            assert {"requested", "environment"} <= {*launch.stages}, launch.stages
        assert query.state == "running"
        handle.scale(0)
        eventually(lambda: len(session.workers()) == 1, "they leave")
        eventually(lambda: {launch.stage for launch in handle.launches()} == {"gone"}, "the pool says so")
        eventually(lambda: not is_left(), "nothing is left")
        assert query.state == "running"
        gate.open()
        assert query.result(timeout=SECONDS).value == SUM
        assert query.account.failed == 0
