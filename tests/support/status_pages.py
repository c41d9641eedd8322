"""A cluster that a test makes, as a session would tell of it: what a status page is served from, without any master."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from eventmill.display.cluster_view import ClusterHistory, ClusterView
from eventmill.display.logs import LogLine, Logs
from eventmill.display.query_view import QueryView
from eventmill.display.report.report import Report
from eventmill.merge import encode
from eventmill.protocol.errors import QueryFailed
from eventmill.protocol.messages import (
    Account,
    Cluster,
    Failure,
    LaunchInfo,
    PacketDone,
    PoolInfo,
    Progress,
    QueryInfo,
    State,
    WishInfo,
    WishTerms,
    WorkerGone,
    WorkerState,
)
from eventmill.protocol.usage import Usage
from eventmill.session.result import Result, Snapshot

AT = datetime.fromisoformat("2026-11-29T12:00:00+00:00")
LETTERS = "rrrwcoim"


class FakeFeed:
    """A feed that answers at once, or not at all."""

    def __init__(self, source: FakeSource, answered: Callable[[], None]) -> None:
        self._source, self._answered = source, answered
        self.answers = 0
        self.view = ClusterView()

    def poll(self) -> None:
        self._source.polls += 1
        if self._source.answers:
            self.view = self._source.view
            self.answers += 1
            self._answered()


class FakeSaid:
    """What was said."""

    version = 0

    def __init__(self, source: FakeSource) -> None:
        self._source = source

    @property
    def logs(self) -> Logs:
        return self._source.logs

    def poll(self) -> None:
        pass


class FakeQuery:
    """A query that somebody looks at; the test makes its snapshots."""

    def __init__(self, name: str = "MET", state: State = "running") -> None:
        self.state = state
        self.snapshot: Snapshot | None = None
        self.account = Account(total=100, files=1, files_opened=1)
        self.failure: Failure | None = None
        self.lost = ""
        self.left = 0
        self._name = name
        self._changed = asyncio.Event()

    @property
    def view(self) -> QueryView:
        return QueryView(self._name, self.state, self.account, 1.0, True)

    def report(self) -> Report:
        return Report(seconds=2.0, account=self.account, name=self._name, state=self.state)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self.lost:
                raise QueryFailed(self.lost)
            await self._changed.wait()
            self._changed.clear()

    def wants_all(self) -> None:
        pass

    def leave(self) -> None:
        self.left += 1

    def merged(self, value: Any, processed: int = 10, state: State = "running") -> None:
        """There is a snapshot, or the result; in the loop's thread."""
        self.account = Account(100, processed, files=1, files_opened=1)
        frames = encode(value, processed).to_frames()
        self.state = state
        self.snapshot = (Snapshot if state == "running" else Result)(frames, self.account, 1.0, state)
        self._changed.set()

    def forgotten(self, why: str) -> None:
        self.lost = why
        self._changed.set()


class FakeSource:
    """A session whose master has told what a test wants it to."""

    address = "tcp://here:8786"

    def __init__(self, view: ClusterView | None = None, logs: Logs | None = None) -> None:
        self.view, self.logs = view or ClusterView(), logs or Logs()
        self.answers, self.polls = True, 0
        self.queries: dict[str, FakeQuery] = {}
        self.attached: list[str] = []
        self.stopped: list[tuple[str, bool]] = []

    def cluster_feed(self, answered: Callable[[], None]) -> FakeFeed:
        return FakeFeed(self, answered)

    def log_feed(self) -> FakeSaid:
        return FakeSaid(self)

    def attach(self, query: str) -> FakeQuery:
        self.attached.append(query)
        if query not in self.queries:
            raise QueryFailed(f"no query {query} on this master")
        return self.queries[query]

    def stop(self, query: str, *, keep: bool = True) -> None:
        self.stopped.append((query, keep))


def cluster(workers: int = 4, slots: int = 4, packets: int = 40, gone: int = 2, queries: int = 3) -> ClusterView:
    """A cluster in the middle of its work: sites of different size, a server each, workers that went and were lost."""
    history = ClusterHistory()
    now = 600.0

    def usage(seed: int) -> Usage:
        return Usage(
            1,
            1000 + seed % 7,
            4.0 + seed % 5,
            3.0,
            1.0 + seed % 3,
            10_000_000,
            8,
            0.01 * (seed % 4),
            5,
            0.1,
            0.4,
            0.1,
            0.2,
        )

    def site(number: int) -> str:
        return f"site{number % 7}.org"

    here = [
        WorkerState(
            f"node{number}-{number}", f"node{number}.{site(number)}", site(number), 100 + number, number % 50,
            "".join(LETTERS[(number + slot) % len(LETTERS)] for slot in range(slots)), [50.0] * slots, usage(number),
        )
        for number in range(workers)
    ]  # fmt: skip
    went = [
        WorkerGone(
            f"gone{number}-{number}", f"gone{number}.{site(number)}", site(number), slots, 10.0 + number % 20,
            300.0 + number % 100, number % 2 == 0, "said nothing for 5 s" if number % 2 == 0 else "left", usage(number),
        )
        for number in range(gone)
    ]  # fmt: skip
    done = [
        PacketDone(
            f"node{number % workers}-{number % workers}", number // workers % slots, f"q1-{number % 3 + 1}",
            f"server{number % 5}.org", now * (number + 1) / packets, usage(number),
        )
        for number in range(packets)
    ]  # fmt: skip
    states: list[State] = ["running", "done", "failed"]
    infos = [
        QueryInfo(
            f"q1-{number + 1}", f"query {number} <script>alert(1)</script>", f"user{number % 3}", states[number % 3],
            Account(1000, 400 + number % 100, number % 2, files=10, files_opened=10, redone=number % 4),
            60.0, 500.0 - number / queries * 400,
        )
        for number in range(queries)
    ]  # fmt: skip
    progress = [
        Progress(info.query, info.account, info.account.processed + 10, 10**9, 4, 2, 60.0)
        for info in infos
        if info.state == "running"
    ]
    servers = {f"server{number}.org": Usage(10, 10_000, 50.0, bytes_read=10**8 * (number + 1)) for number in range(5)}
    took = {"requested": 0.5, "queued": 6.0, "started": 1.0, "enrolled": 2.0, "working": 100.0}
    launches = [
        *(LaunchInfo(f"4711_{number}", "queued", 30.0, "Priority") for number in range(9)),
        LaunchInfo("4711_9", "failed", 5.0, "no such image: <b>/cvmfs/none</b>", "node9.org"),
        *(LaunchInfo(f"4711_{number}", "working", 60.0, "", "n", f"n-{number}", took) for number in (10, 11)),
    ]
    stages = {"queued": 9, "failed": 1, "working": 2}
    pools = [PoolInfo("night", "slurm", 12, 50, launches, "", "alice", stages)]
    wishes = [WishInfo("ada", WishTerms(finish_in=1200.0), 1, 2100.0, 900.0, 40, hindrance="most")]
    for start in range(0, max(1, len(done)), 2000):
        first = start == 0
        history.heard(
            Cluster(
                1, "c", first, False, now, here if first else [], went if first else [], done[start : start + 2000],
                infos if first else [], [], progress, servers, pools, wishes,
            )
        )  # fmt: skip
    return history.view


def said() -> Logs:
    """Prints, and an error that was seen three times."""
    return Logs(
        [
            LogLine("hello <b>", "stdout", AT, AT, 1, "node1-1", 0, "q1-1", number=1, workers=(("node1-1", 1),)),
            LogLine(
                'File "a.py", line 1, in f\nValueError: not now', "error", AT, AT, 3, "node2-2", 1, "q1-3", "root://x//a.root",
                5, 6, "ValueError", number=2, workers=(("node2-2", 3),),
            ),
        ]
    )  # fmt: skip
