"""What a status page draws of the past is what was: slots that came and went, and what packets were spent on."""

from __future__ import annotations

import math

import pytest
from eventmill.display.cluster_view import ClusterHistory, ClusterView, WorkerView, parts
from eventmill.protocol.messages import Account, Cluster, PacketDone, Progress, QueryInfo, WorkerGone, WorkerState
from eventmill.protocol.usage import Usage
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

spans = st.tuples(st.floats(0, 90), st.floats(0, 90), st.integers(1, 8), st.sampled_from(["cern.ch", "desy.de"]))


@examples(60)
@given(st.lists(spans, max_size=12), st.integers(1, 50))
def test_slots_over_time_add_up_to_the_time_that_slots_were_there(
    told: list[tuple[float, float, int, str]], steps: int
) -> None:
    workers = [
        WorkerView("w", "h", site, 1, min(a, b), width, Usage(), left=max(a, b)) for a, b, width, site in told
    ]  # fmt: skip
    view = ClusterView(now=100.0, gone=tuple(workers))
    moments, by_site = view.slots_over_time(steps=steps)
    assert len(moments) == steps
    for site, values in by_site.items():
        expected = sum(it.width * (it.left - it.joined) for it in workers if it.site == site and it.left is not None)
        assert sum(values) * 100.0 / steps == pytest.approx(expected, abs=1e-6)
        assert max(values) <= sum(it.width for it in workers if it.site == site) + 1e-9


packets = st.builds(
    lambda ended, elapsed, opening, waited, compiling: PacketDone(
        "w", 0, "q", "s", ended,
        Usage(1, 10, min(elapsed, ended), opening=opening, waited=waited, compiling=compiling),
    ),
    st.floats(0.1, 100), st.floats(0, 30), st.floats(0, 9), st.floats(0, 40), st.floats(0, 9),
)  # fmt: skip


@examples(60)
@given(st.lists(packets, max_size=12), st.integers(1, 50))
def test_activity_over_time_adds_up_to_the_time_of_packets(done: list[PacketDone], steps: int) -> None:
    slots, since = ("reading", "idle", "loading", "committing"), (80.0, None, 99.5, None)
    worker = WorkerView("w", "h", "s", 1, 0.0, 4, Usage(), slots, since)
    view = ClusterView(now=100.0, workers={"w": worker}, packets=tuple(done))
    _, found = view.activity_over_time(steps=steps)
    for name, values in found.items():
        in_hand = {"reading": 20.0, "compiling": 0.5}.get(name, 0.0)
        expected = math.fsum([in_hand, *(parts(it.usage)[name] for it in done)])
        assert sum(values) * 100.0 / steps == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for packet in done:
        assert math.fsum(parts(packet.usage).values()) == pytest.approx(packet.usage.elapsed)
        assert min(parts(packet.usage).values()) >= 0


def test_at_the_very_beginning_there_is_nothing_to_divide_by() -> None:
    view = ClusterView(workers={"w": WorkerView("w", "h", "s", 1, 0.0, 2, Usage())})
    assert view.slots_over_time(steps=2) == ([0.0, 0.0], {"s": [0.0, 0.0]})
    history = ClusterHistory()
    history.heard(Cluster(1, "c", True, False, 0.0, [], [], [], [], [], [], {}))
    assert (history.view.rate, history.view.slots) == (0.0, 0)


def told(now: float, **what: object) -> Cluster:
    empty: dict[str, object] = {
        "workers": [], "gone": [], "packets": [], "queries": [], "forgotten": [], "progress": [], "servers": {},
    }  # fmt: skip
    return Cluster(1, "c", bool(what.pop("anew", False)), False, now, **(empty | what))  # type: ignore[arg-type]


def test_a_query_shows_the_same_numbers_as_in_its_own_session() -> None:
    """It is the same model that hears the same messages."""
    from eventmill.display.query_view import QueryHistory

    history, own = ClusterHistory(), QueryHistory("MET")
    for second in range(1, 6):
        account = Account(total=1000, processed=50 * second, files=1, files_opened=1)
        progress = Progress("q1", account, 100 * second, 10_000 * second, 2, 1, float(second))
        own.heard(progress)
        info = QueryInfo("q1", "MET", "me", "running", account, float(second), float(second))
        history.heard(told(3.0 + second, queries=[info], progress=[progress]))
        assert history.view.queries["q1"].view == own.view()
    assert history.view.queries["q1"].began == 3.0
    over = QueryInfo("q1", "MET", "me", "stopped", Account(total=1000, processed=400), 7.0, 9.0)
    history.heard(told(12.0, queries=[over]))
    view = history.view.queries["q1"].view
    assert (view.state, view.account.processed, view.fraction, view.slots) == ("stopped", 400, 0.4, 0)


def test_of_another_master_everything_is_new() -> None:
    history = ClusterHistory()
    worker = WorkerState("w-1", "h", "s", 1, 0.0, "rw", [1.0, 2.0], Usage())
    history.heard(told(5.0, workers=[worker]))
    history.heard(told(6.0, gone=[WorkerGone("w-1", "h", "s", 2, 0.0, 6.0, True, "was silent", Usage())]))
    assert [(it.name, it.pid, it.lost) for it in history.view.gone] == [("w-1", 1, True)] and not history.view.workers
    history.heard(told(0.5, anew=True))
    assert history.view == ClusterView(now=0.5)


def test_a_worker_that_was_lost_and_came_back_under_its_name_is_there() -> None:
    """Both are told at once: it went, with its first stay, and is there with its second."""
    history = ClusterHistory()
    here = WorkerState("node-1", "node", "site", 7, 8.0, "ri", [9.0, 0.0], Usage())
    history.heard(
        told(10.0, workers=[here], gone=[WorkerGone("node-1", "node", "site", 2, 1.0, 6.0, True, "x", Usage())])
    )
    assert list(history.view.workers) == ["node-1"] and [it.lost for it in history.view.gone] == [True]
    history.heard(told(12.0, gone=[WorkerGone("node-1", "node", "site", 2, 8.0, 11.0, False, "x", Usage())]))
    assert not history.view.workers and [it.joined for it in history.view.gone] == [1.0, 8.0]
