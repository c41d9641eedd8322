"""How long the status page takes to answer, with a cluster of 1,000 workers and 10,000 slots that is made up.

    python benchmarks/status_page.py [WORKERS [SLOTS_A_WORKER]]

Prints a table of what is asked, the first answer after news (which is worked out) and the next ones, in ms.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from aiohttp.test_utils import TestClient, TestServer
from eventmill.status.access import Access
from eventmill.status.server import StatusServer
from hist import Hist
from status_pages import FakeQuery, FakeSource, cluster, said

PATHS = (
    "api/workers?sort=entries&order=desc",
    "api/workers?filter=node99",
    "api/workers?gone=1",
    "api/time?by=site&since=600",
    "api/time?by=host&since=600",
    "api/timeline?since=600",
    "api/spread",
    "api/queries",
    "api/logs?grep=now",
    "api/failures",
    "metrics",
    "api/query/q1-1",
    "api/query/q1-1?filter=h9999",
    "api/query/q1-1/drawings?shown=h1&shown=h9999",
)
ROUNDS = 7


async def measured(workers: int, slots: int) -> None:
    """Ask for everything, again and again, while a browser gets the summary."""
    source = FakeSource(cluster(workers, slots, packets=20_000, gone=2000, queries=500), said())
    query = source.queries["q1-1"] = FakeQuery()
    query.merged({f"h{number}": Hist.new.Reg(50, 0, 1).Double() for number in range(10_000)})
    server = StatusServer(source, Access("look", "steer"))
    made = TestServer(server.app())
    await made.start_server(access_log=None)
    async with TestClient(made) as client:
        headers = {"Authorization": "Bearer look"}
        stream = await client.get("/events", headers=headers)
        begun = time.perf_counter()
        told = await _event(stream)
        print(f"{workers:,} workers, {workers * slots:,} slots, 20,000 packets, 10,000 histograms")
        print(f"first summary after {1e3 * (time.perf_counter() - begun):.0f} ms, {len(told) / 1e3:.0f} kB")
        print(f"{'asked for':46} {'new':>8} {'again':>8} {'kB':>8}")
        for path in PATHS:
            new, again, size = [], [], 0
            for _ in range(ROUNDS):
                await _event(stream)
                for times in (new, again):
                    begun = time.perf_counter()
                    async with client.get(f"/{path}", headers=headers) as response:
                        size = len(await response.read())
                        assert response.status == 200, await response.text()
                    times.append(1e3 * (time.perf_counter() - begun))
            print(f"{path:46} {statistics.median(new):8.1f} {statistics.median(again):8.1f} {size / 1e3:8.1f}")
        stream.close()


async def _event(stream: Any) -> bytes:
    async for line in stream.content:
        if line.startswith(b"data: "):
            json.loads(line[6:])
            return bytes(line)
    raise RuntimeError("the page ended")


if __name__ == "__main__":
    asyncio.run(measured(*(int(text) for text in (*sys.argv[1:], *("1000", "10")[len(sys.argv) - 1 :]))))
