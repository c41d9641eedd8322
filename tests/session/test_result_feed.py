"""What displays follow of a large result: miniatures, in place of snapshots that nobody looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from eventmill.merge import Partial, encode, miniature
from eventmill.merge.sketch_bins import SteadyBins
from eventmill.merge.sketches import sketched
from eventmill.protocol.messages import Account, AskMiniature, Message, Miniature
from eventmill.session.demand import LARGE, UNSEEN_SECONDS, Demand
from eventmill.session.result import Result, Snapshot
from eventmill.session.result_feed import ResultFeed
from hist import Hist

LARGE_ONE = Hist.new.Reg(10**6, 0, 1, name="x").Double()


class Line:
    """A link whose answers the test gives."""

    closed = False

    def __init__(self) -> None:
        self.asked: list[AskMiniature] = []
        self.answered: Callable[[Message, Sequence[Any]], None] = lambda *_: None

    @property
    def link(self) -> Line:
        return self

    def ask(self, make: Callable[[int], Message], answered: Callable[[Message, Sequence[Any]], None]) -> int:
        message = make(1)
        assert isinstance(message, AskMiniature)
        self.asked.append(message)
        self.answered = answered
        return 1


class Watched:
    """A query with a snapshot."""

    id = "q1"

    def __init__(self, value: Any, processed: int = 10) -> None:
        self._latest: Snapshot | None = snapshot(value, processed)
        self._steady_bins = SteadyBins()


def snapshot(value: Any, processed: int, kind: type[Snapshot] = Snapshot) -> Snapshot:
    account = Account(total=100, processed=processed, files=1, files_opened=1)
    return kind(encode(value, processed).to_frames(), account, 1.0, "done" if kind is Result else "running")


def feed_of(query: Watched) -> tuple[ResultFeed, Line]:
    line = Line()
    return ResultFeed(line, query), line  # type: ignore[arg-type]


def test_small_results_come_by_themselves_and_whole() -> None:
    query = Watched({"h": Hist.new.Reg(10, 0, 1).Double()})
    feed, line = feed_of(query)
    feed.poll()
    assert feed.snapshot is query._latest and not line.asked


def test_of_large_ones_miniatures_are_asked_for_one_at_a_time() -> None:
    """Until the first one comes, the snapshot that there is is made small here; at the end the result is."""
    query = Watched({"h": LARGE_ONE})
    feed, line = feed_of(query)
    assert feed.snapshot is not None and feed.snapshot.opened["h"].axes[0].size == 2000
    assert feed.snapshot is feed.snapshot, "made once"
    feed.look(["h"], {})
    feed.poll()
    feed.poll()
    assert [(it.names, it.after) for it in line.asked] == [(["h"], 0)]
    small = Partial(miniature(encode({"h": LARGE_ONE}, 20).tree), 20)
    line.answered(Miniature(1, Account(total=100, processed=20), 2.0), small.to_frames())
    assert feed.snapshot.account.processed == 20
    feed.poll()
    line.answered(Miniature(1), [])
    assert feed.snapshot.account.processed == 20 and line.asked[-1].after == 20, "nothing new"
    feed.look(["h"], {"h": (0.0, 0.1)})
    feed.poll()
    assert line.asked[-1].after == 0, "the same in another way is something new"
    query._latest = snapshot({"h": LARGE_ONE}, 100, Result)
    assert feed.snapshot.final and feed.snapshot.opened["h"].axes[0].size > 2000
    line.answered(Miniature(1, Account(total=100, processed=30), 2.0), small.to_frames())
    assert feed.snapshot.final, "what comes late is not shown"
    asked = len(line.asked)
    feed.poll()
    assert len(line.asked) == asked


def test_axes_of_a_quick_look_do_not_jump_in_miniatures_either() -> None:
    """What `session.draw` counts with weights on two axes is large, and keeps the bins that it was shown with."""
    random = np.random.default_rng(1)
    columns = [random.exponential(30.0, 300_000) for _ in range(2)]
    few, all_of_them = (
        sketched([[some[:stop] for some in columns]], ["x", "y"], [None, None], weights=[np.ones(stop)])
        for stop in (200_000, 300_000)
    )
    query = Watched(few)
    query._latest = Snapshot(query._latest._frames, query._latest.account, 1.0, "running", query._steady_bins)
    feed, line = feed_of(query)
    assert query._latest.large
    first = feed.snapshot.opened
    feed.poll()
    small = Partial(miniature(encode(all_of_them, 20).tree), 20)
    line.answered(Miniature(1, Account(total=100, processed=20), 2.0), small.to_frames())
    assert feed.snapshot.account.processed == 20 and feed.snapshot.opened.axes == first.axes
    query._latest = Result([], query._latest.account, 1.0, "stopped")
    assert feed.snapshot.opened is None, "nothing was merged"


def test_an_answer_to_what_is_not_looked_at_any_more_does_not_count_as_had() -> None:
    query = Watched({"h": LARGE_ONE})
    feed, line = feed_of(query)
    feed.look(["h"], {})
    feed.poll()
    feed.look(["h"], {"h": (0.0, 0.1)})
    small = Partial(miniature(encode({"h": LARGE_ONE}, 20).tree), 20)
    line.answered(Miniature(1, Account(total=100, processed=20), 2.0), small.to_frames())
    feed.poll()
    assert line.asked[-1].after == 0 and line.asked[-1].windows == {"h": (0.0, 0.1)}


def test_large_snapshots_are_sent_for_when_the_last_was_looked_at_or_is_old() -> None:
    demand = Demand()
    few, many = [bytes(LARGE)], [bytes(LARGE + 1)]
    assert demand.came(few, now=0.0) and not demand.passed(now=100.0)
    assert not demand.came(many, now=100.0)
    assert not demand.passed(now=100.0 + UNSEEN_SECONDS) and demand.passed(now=100.1 + UNSEEN_SECONDS)
    assert not demand.looked(), "it was sent for"
    assert not demand.came(many, now=200.0)
    assert demand.looked() and not demand.looked() and not demand.passed(now=300.0)
