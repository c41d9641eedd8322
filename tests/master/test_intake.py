"""Turns of workers with large results: no more comes at a time than the master has room for, and its link stays busy."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from eventmill.master.file_table import FileTable
from eventmill.master.intake import AT_ONCE, MOST_SLOW, ROOM, SLOW_SECONDS, Intake
from eventmill.master.query import Query
from eventmill.protocol import messages as m
from fleet import World

MB = 10**6


class Site:
    """Workers that always have more to commit, a link that those share that have their turn, and a merger."""

    def __init__(self, workers: int, size: int, link: float, slow: dict[int, float] | None = None) -> None:
        self.workers: dict[bytes, Any] = {b"%d" % number: SimpleNamespace() for number in range(workers)}
        self.queries: dict[str, Any] = {"q": Query("q", m.Submit(0, "q", "columnar", ""), b"", FileTable(), 0.0)}
        self.intake = Intake(self.queries, self.granted)
        self.size, self.link, self.slow = size, link, {b"%d" % number: rate for number, rate in (slow or {}).items()}
        self.now, self.busy, self.most = 0.0, 0.0, 0
        self.coming: dict[bytes, float] = {}
        self.merging: list[float] = []
        self.came: dict[bytes, list[float]] = {identity: [] for identity in self.workers}
        for identity in self.workers:
            self.intake.offered(identity, "q", size)

    def granted(self, identity: bytes, message: m.Message, *frames: Any, now: float) -> None:
        assert message == m.Grant("q") and identity in self.workers and identity not in self.coming
        self.coming[identity] = float(self.size)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Virtual time; the merger adds up 5 GB/s."""
        end = self.now + seconds
        while self.now < end:
            self.intake.give_turns(self.now)
            self.intake.check(self.workers)
            fast = [identity for identity in self.coming if identity not in self.slow]
            self.busy += step * bool(fast)
            for identity in list(self.coming):
                rate = self.slow.get(identity, self.link / max(1, len(fast)))
                self.coming[identity] -= rate * step
                if self.coming[identity] <= 0:
                    del self.coming[identity]
                    self.came[identity].append(self.now)
                    self.intake.came(identity, "q", self.now)
                    self.intake.to_merge(self.size)
                    self.merging.append(self.now + self.size / 5e9)
                    self.intake.offered(identity, "q", self.size)
            self.now += step
            for _ in [at for at in self.merging if at <= self.now]:
                self.merging.pop(0)
                self.intake.merged(self.size)
            self.most = max(self.most, len(self.coming) + len(self.merging))


def test_a_thousand_workers_with_large_results_share_a_link_in_turn() -> None:
    """50 MB each over 10 Gb/s: the link is busy, each worker commits as often as any other, and memory is bounded."""
    site = Site(1000, 50 * MB, 1.25e9)
    site.run(90.0, step=0.02)
    assert site.busy > 90.0 / 1.3
    assert sum(map(len, site.came.values())) * 50 * MB > 90.0 * 1.25e9 / 1.3
    assert {len(came) for came in site.came.values()} <= {1, 2, 3}
    assert site.most * 50 * MB <= ROOM


def test_of_what_is_larger_than_the_room_two_come_at_a_time() -> None:
    site = Site(64, 200 * MB, 1.25e9)
    site.run(30.0)
    assert site.most == AT_ONCE and site.busy > 25.0
    assert max(map(len, site.came.values())) - min(map(len, site.came.values())) <= 1


def test_workers_behind_slow_links_do_not_keep_the_others_from_coming() -> None:
    site = Site(40, 200 * MB, 1.25e9, slow=dict.fromkeys(range(3, 40, 2), 1e6))
    site.run(60.0)
    quick = [len(site.came[b"%d" % number]) for number in range(40) if number not in range(3, 40, 2)]
    assert sum(quick) * 200 * MB > 60.0 * 1.25e9 / 1.3
    assert site.most <= MOST_SLOW + 2 * AT_ONCE, "nor is memory without bound"
    assert site.intake.deadline() <= site.now + SLOW_SECONDS


def test_who_is_gone_and_what_is_over_has_no_turn() -> None:
    site = Site(6, 200 * MB, 1.25e9)
    site.intake.give_turns(0.0)
    assert list(site.coming) == [b"0", b"1"]
    for identity in (b"0", b"2"):
        del site.workers[identity]
        site.intake.lost(identity, site.queries)
    site.intake.give_turns(0.0)
    assert list(site.coming) == [b"0", b"1", b"3"]
    site.intake.offered(b"1", "q", 0)  # it has nothing any more
    site.intake.give_turns(0.0)
    assert list(site.coming)[-1] == b"4"
    site.queries["q"].enter("failed")
    site.intake.ended("q")
    site.intake.offered(b"1", "q", 200 * MB)  # this was on its way
    site.intake.check(site.workers)
    site.intake.give_turns(100.0)
    assert len(site.coming) == 4 and site.intake.deadline() == inf


@pytest.mark.parametrize("then", ["workers are lost", "the query ends"])
def test_whose_turn_it_was_keeps_nobody_from_theirs(then: str) -> None:
    """Those who had the first turns of a master are lost, or what they had them for is over."""
    made = World([10_000] * 8)
    made.hello(b"session", "session")
    first, second = made.submit(), made.submit()
    for number in range(5):
        made.hello(b"%d" % number, "worker", slots=2)
        made.tell(b"%d" % number, "worker", m.Offer(second if number == 4 else first, 200 * MB))

    def granted() -> list[bytes]:
        return [identity for identity, told in made.inbox.items() if any(isinstance(it, m.Grant) for it in told)]

    assert granted() == [b"0", b"1"]
    if then == "the query ends":
        made.tell(b"session", "session", m.Stop(first, keep=False))
        assert granted() == [b"0", b"1", b"4"], "the others wait for a turn no more"
    else:
        made.kill(b"2")
        made.kill(b"0")
        assert [it for it in granted() if it in made.core.workers] == [b"1", b"3"]
    made.core.check()
