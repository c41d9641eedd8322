"""How soon, and how often, a session sees results: the child's side of the second table of `throughput`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from .analyses import kernel
from .systems import TREE

SMALL_QUERIES = 20


def measure(slots: int, small: str, files: list[str]) -> dict[str, float | None]:
    """The figures by name: seconds, a second, or milliseconds, as `throughput.INTERACTIVITY` says.

    Raises RuntimeError when a query ended without having shown a snapshot.
    """
    import eventmill as em

    begin = time.perf_counter()
    with em.connect(slots=slots) as session:
        data = em.Dataset(files, tree=TREE)
        connect_to_first_result = _snapshots(session.process(data, kernel("dimuon")), begin)[0]

        begin = time.perf_counter()
        query = session.process(data, kernel("dimuon"))
        snapshots = _snapshots(query, begin)

        one_file = em.Dataset(small, tree=TREE)
        latencies = []
        for _ in range(SMALL_QUERIES):
            begin = time.perf_counter()
            session.process(one_file, kernel("dimuon")).result()
            latencies.append(time.perf_counter() - begin)

        return {
            "connect_to_first_result": connect_to_first_result,
            "process_to_first_snapshot": snapshots[0],
            "snapshots_per_second": len(snapshots) / snapshots[-1],
            "small_query": 1000.0 * median(latencies),
            "hello_to_first_packet": hello_to_first_packet(query.report()),
        }


def hello_to_first_packet(report: Any) -> float | None:
    """HOOK: milliseconds from a worker's `hello` to its first packet, where the query's report tells it; else None."""
    seconds: float | None = getattr(report, "hello_to_first_packet", None)
    return None if seconds is None else 1000.0 * seconds


def _snapshots(query: Any, begin: float) -> list[float]:
    """Seconds from `begin` to each snapshot with events in it, up to the end of the query."""
    times = [time.perf_counter() - begin for snapshot in query.stream() if snapshot.fraction > 0]
    if not times:
        raise RuntimeError("the query ended without a snapshot")
    return times


def main(arguments: list[str]) -> None:
    """`python -m benchmarks.interactivity OUTPUT SLOTS SMALL_FILE FILE...`: write the figures as JSON to OUTPUT."""
    output, slots, small, *files = arguments
    Path(output).write_text(json.dumps(measure(int(slots), small, files)))


if __name__ == "__main__":
    main(sys.argv[1:])
