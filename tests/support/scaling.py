"""What pools are for, as a test that each system takes: more workers for a query that runs, and none left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import eventmill as em
from eventmill.launch.pools.pool import Pool
from processes import SECONDS, Standing, eventually
from sums import committed

CYCLES = 60_000


def counted(gate: Path) -> Callable[..., int]:
    """An analysis that takes five minutes of a slot, until the gate is there."""
    file = str(gate)

    def count(events: Any) -> int:
        import os
        import time

        if not os.path.exists(file):  # noqa: PTH110
            time.sleep(0.005 * len(events))
        return len(events)

    return count


def scales(fleet: Standing, folder: Path, pool: Pool, workers: int, is_left: Callable[[], bool]) -> None:
    """A query with one worker gets more of them from a pool while it runs, they work on it, are let go, and it ends well.

    Args:
        fleet: a master with one worker of one slot.
        folder: for the gate that holds the query up.
        pool: where the others are started.
        workers: how many more.
        is_left: whether something of the pool's is still there.
    """
    gate = folder / "gate"
    with fleet.connect() as session:
        query = session.process(em.cycles(CYCLES), counted(gate))
        eventually(
            lambda: committed(query),
            "the first one commits",
            facts=lambda: f"{query!r}\n{session.queries()}\n{session.workers()}\n{fleet.said}",
        )
        handle = session.scale(workers, pool)
        busy = lambda: sum(info.busy for info in session.workers())  # noqa: E731
        eventually(lambda: busy() == workers + 1, "all work on it")
        eventually(lambda: [launch.stage for launch in handle.launches()] == ["working"] * workers, "the pool says so")
        for launch in handle.launches():
            assert {"requested", "environment"} <= {*launch.stages}, launch.stages
        handle.scale(0)
        eventually(lambda: len(session.workers()) == 1, "they leave")
        eventually(lambda: {launch.stage for launch in handle.launches()} == {"gone"}, "the pool says so")
        eventually(lambda: not is_left(), "nothing is left")
        assert query.state == "running"
        gate.touch()
        assert query.result(timeout=SECONDS).value == CYCLES
        assert query.account.failed == 0
