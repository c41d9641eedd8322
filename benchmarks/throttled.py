"""Real slots of different speed: an analysis that sleeps, eight times longer in the slowest slot than in the fastest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = 2_000_000
SLOTS = 8
SECONDS = 20.0


def ends_of_throttled_slots(folder: Path) -> tuple[list[float], float]:
    """When each slot finished its last chunk, and how long the query took; `folder` is for files."""
    import eventmill as em
    from eventmill.cli.sample import write_sample

    files = write_sample(folder / "sample", EVENTS, files=4)
    claims = folder / "slots"
    claims.mkdir()
    with em.connect(slots=SLOTS) as session:
        data = em.Dataset(files, tree="Events")
        begin = time.perf_counter()
        result = session.process(data, throttled(claims)).result()
        seconds = time.perf_counter() - begin
    if result["events"] != EVENTS:
        raise RuntimeError(f"{result['events']} events instead of {EVENTS}")
    return [float(path.read_text()) for path in sorted(claims.glob("*.end"))], seconds


def throttled(claims: Path) -> Callable[[Any], dict[str, int]]:
    """An analysis that counts events at a speed of its slot: number k is k + 1 times as fast as number 0."""
    slowest = EVENTS / SECONDS / sum(range(1, SLOTS + 1))
    mine: list[int] = []

    def count(events: Any) -> dict[str, int]:
        begin = time.monotonic()
        for number in range(SLOTS):
            if mine:
                break
            try:
                os.close(os.open(claims / str(number), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            mine.append(number)
        entries = len(events)
        due = begin + entries / (slowest * (mine[0] + 1))
        time.sleep(max(0.0, due - time.monotonic()))
        (claims / f"{mine[0]}.end").write_text(repr(time.monotonic()))
        return {"events": entries}

    return count
