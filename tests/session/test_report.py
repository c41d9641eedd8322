"""What a query cost: how it is summed, shown, and carried to those who asked."""

from __future__ import annotations

import eventmill as em
import msgspec
import numpy as np
import pytest
import uproot
from eventmill.display.report import LOCAL, UNNAMED, Report
from eventmill.protocol import messages as m
from eventmill.protocol.usage import Usage, WorkerInfo
from eventmill.protocol.values import LONGEST, MOST
from fleet import World
from hypothesis import given
from hypothesis import strategies as st
from processes import Standing

SECONDS = 60
COUNTS, TIMES = st.integers(0, 10**9), st.floats(0, 1e6)
USAGES = st.builds(Usage, COUNTS, COUNTS, TIMES, TIMES, TIMES, COUNTS, COUNTS, TIMES)


@given(st.lists(USAGES, max_size=5), st.randoms(use_true_random=False))
def test_a_sum_does_not_depend_on_its_order(usages: list[Usage], random: object) -> None:
    total, back = sum(usages, start=Usage()), sum(reversed(usages), start=Usage())
    for field in Usage.__struct_fields__:
        assert getattr(total, field) == pytest.approx(getattr(back, field))
    assert total.entries == sum(usage.entries for usage in usages)
    trips = sum(usage.latency * usage.requests for usage in usages)
    assert total.latency * total.requests == pytest.approx(trips)


def test_a_sum_of_whatever_a_worker_says_can_travel() -> None:
    most = Usage(MOST, MOST, LONGEST, LONGEST, LONGEST, MOST, MOST, LONGEST)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(most + most), type=Usage) == most


@pytest.mark.parametrize("field", ["elapsed", "waited", "requests", "latency", "cpu", "bytes_read", "made"])
def test_no_field_of_a_report_is_taken_unchecked(field: str) -> None:
    finished = msgspec.structs.asdict(m.Finished("q", 1, 2, 1.0, 1.0, 1)) | {field: -1}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"type": "Finished", **finished}, type=m.Finished)


def report() -> Report:
    near, far = Usage(1, 100, 10.0, 9.0, 0.5, 1000, 10, 0.001), Usage(2, 200, 10.0, 4.0, 6.0, 2000, 20, 0.1)
    return Report(
        [
            WorkerInfo("a", "n1.cern.ch", 1, 2, 0, 3, 300, 20.0, "cern.ch", {1: far, 0: near}, {"eos": near, "x": far}),
            WorkerInfo("b", "n2", 2, 1, 0, 1, 100, 10.0, "", {0: near}, {"": near}),
        ]
    )


def test_sums_are_those_of_slots_sites_and_servers() -> None:
    made = report()
    assert [usage.entries for usage in made.slots.values()] == [100, 200, 100]
    assert list(made.slots) == ["a/0", "a/1", "b/0"]
    assert {name: usage.waited for name, usage in made.sites.items()} == {"cern.ch": 6.5, UNNAMED: 0.5}
    assert {name: usage.bytes_read for name, usage in made.servers.items()} == {"eos": 1000, "x": 2000, LOCAL: 1000}
    assert made.total.cpu == 22.0 and made.total.efficiency == pytest.approx(22 / 30)


def test_a_report_is_shown_and_can_be_computed_with() -> None:
    made = report()
    text = repr(made)
    assert "73%" in text and "100.0 ms" in text and "cern.ch" in text and LOCAL in text
    assert all(cell in made._repr_html_() for cell in ("<table>", "100.0 ms", "cern.ch"))
    rows = made.rows()
    assert [row["of"] for row in rows] == ["query", *["slot"] * 3, *["site"] * 2, *["server"] * 3]
    assert rows[-1]["name"] == LOCAL and rows[-1]["rate"] == 100.0
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[WorkerInfo]) == list(made)
    assert "0.0 s" in repr(Report())


def test_the_master_sums_what_slots_say_by_slot_and_by_the_replica_that_was_read() -> None:
    made = World([])
    made.hello(b"session", "session")
    made.hello(b"worker0", "worker", 1)
    near, far = "root://a.x//f", "root://b.y//f"
    made.lengths = {near: 10, far: 10}
    query = made.submit_files([m.File(near, replicas=[far])])
    lease = made.workers[b"worker0"].queues[0].pop(0)
    made.tell(b"worker0", "worker", m.Opened(query, lease.lease, 10, 10, []))
    made.tell(b"worker0", "worker", m.Finished(query, lease.lease, 10, 2.0, 1.5, 1000, 2.5, 0.5, 4, 0.1))
    (info,) = made.core.queries[query].report()
    usage = Usage(1, 10, 2.5, 1.5, 0.5, 1000, 4, 0.1)
    server = lease.file.path.partition("//")[2].partition("/")[0]
    assert info.by_slot == {0: usage} and info.by_server == {server: usage}
    assert made.core.workers[b"worker0"].info().by_slot == {0: usage}


def test_a_query_reports_what_it_cost(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("report") / "a.root"
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {"x": "f8", "y": "f8"})
        tree.extend({"x": np.arange(100_000.0), "y": np.arange(100_000.0)})
    with standing.connect() as session:

        def entries_of_slot() -> int:  # as its worker counts them, for all queries
            return sum(worker.by_slot.get(0, Usage()).entries for worker in session.workers())

        before = entries_of_slot()
        query = session.process(em.Dataset(str(path), tree="Events"), lambda events: float(np.asarray(events.x).sum()))
        assert query.result(SECONDS).value == 4999950000.0
        made = query.report()
        (info,) = made
        assert made.total.entries == 100_000 and made.total.packets == info.packets
        assert 800_000 <= made.total.bytes_read < 1_200_000, "one of two columns"
        assert made.total.requests >= 1 and made.total.cpu > 0 and made.total.elapsed > 0
        assert list(made.slots) == [f"{info.worker}/0"] and list(made.servers) == [LOCAL]
        assert entries_of_slot() - before == 100_000
