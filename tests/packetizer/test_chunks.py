"""Sizes of chunks: the law that calls tell, what follows from it, and what that makes of whole queries in virtual time."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.analysis.analysis import pack
from eventmill.master.learnt import MOST_ANALYSES, Learnt
from eventmill.packetizer.call_costs import LARGEST_CHUNK, UNMEASURED, Calls
from eventmill.protocol.messages import File, Setup
from eventmill.reading.reader_cache import ReaderCache
from eventmill.worker.slot.chunks import LARGEST_SIZE, ChunkSizes
from eventmill.worker.slot.tasks import load
from hypothesis import given
from hypothesis import strategies as st
from processes import Standing

from benchmarks.chunks import ALLOWED, LAWS, Query, compare, constant, linear, once_selected, scattered

SOME = [
    ("constant 0.5 s", 0),
    ("one dear call", 0),
    ("linear 20 ms", 1),
    *(
        pytest.param(name, 0, marks=pytest.mark.nightly)
        for name in ("constant 0.01 s", "constant 5 s", "both", "heavy tail", "slow first")
    ),
]


@pytest.mark.parametrize(("name", "data"), SOME)
def test_no_fixed_size_is_much_better_than_the_one_that_is_found(name: str, data: int) -> None:
    """All laws are in `python -m benchmarks.chunks`."""
    found = compare(LAWS[name], LAWS[name].data[data], seeds=1)
    assert found.ratio <= ALLOWED


@pytest.mark.parametrize("name", ["dear entries", pytest.param("cache", marks=pytest.mark.nightly)])
def test_what_is_remembered_of_an_analysis_does_not_make_its_next_run_slow(name: str) -> None:
    """Of a few entries none is dear: small calls looked cheap, and the next run took one entry a call, 3.2 times as long."""
    law = LAWS[name]
    found = compare(law, law.data[0], seeds=3)
    assert max(found.ratio, found.ratio_again) <= ALLOWED


def test_calls_do_not_become_single_entries_where_entries_cost_more_in_larger_calls() -> None:
    """What a call takes between calls was not counted: sizes collapsed to one entry, in two million calls."""
    law = LAWS["quadratic"]
    first = Query(law.cost, [50_000] * 8)
    first.run()
    again = Query(law.cost, [50_000] * 8, known=first.packetizer.calls.tell(), rate=first.packetizer.rate)
    again.run()
    assert all(200 <= len(query.sizes) <= 2000 for query in (first, again))


def test_small_calls_that_happen_to_be_cheap_prove_nothing() -> None:
    """2 % of entries take 10 ms: six calls of 16 entries without any of them do not rule out larger ones."""
    calls = Calls()
    for _ in range(6):
        calls.add(16, 16 * 2e-5)
        calls.add(1000, 1000 * 2e-5 + 20 * 0.01)
    assert calls.most == math.inf and calls.wish >= 400


def test_no_chunk_is_larger_than_what_was_seen_to_be_too_large() -> None:
    """A packet of 1.5 chunks was taken in one call."""
    chunks = ChunkSizes()
    for _ in range(5):
        for entries, each in ((1000, 6e-5), (16_000, 1.3e-5), (25_000, 3.6e-5)):
            chunks.learn(entries, entries * each)
    assert chunks.size == 16_000
    assert chunks.next(23_000) == 11_500


def test_what_is_told_of_many_calls_keeps_their_mean() -> None:
    """The quartiles of calls of which a few are dear do not tell of these."""
    calls = Calls()
    for number in range(24):
        calls.add(100, 1.0 if number == 7 else 0.01)
    told = calls.tell()
    assert sum(number for *_, number in told) == 24
    assert sum(seconds * number for _, seconds, number in told) == pytest.approx(1.23)


@pytest.mark.parametrize(("seconds", "second"), [(0.005, 1600), (0.4, 1600), (1.0, 1000), (2.9, 400), (5.0, 12)])
def test_the_second_call_is_as_bold_as_ten_seconds_allow(seconds: float, second: int) -> None:
    """After a first call of 0.4 s whatever its entries, sizes of 400 and 20,000 came before whole files."""
    chunks = ChunkSizes()
    chunks.learn(100, seconds)
    assert chunks.size == second


def test_calls_whose_times_scatter_do_not_become_many() -> None:
    """0.5 s a call over 18 files of 1,000 events took 65 to 87 calls: sizes followed the last two times."""
    for seed in range(5):
        query = Query(scattered(constant(0.5)), [1000] * 18, seed=seed)
        query.run()
        assert 18 <= len(query.sizes) <= 25


def test_a_dear_part_that_only_some_calls_have_does_not_make_them_small() -> None:
    """0.2 s a call, and 1 s more if anything is selected: sizes collapsed to 2,896 calls."""
    query = Query(once_selected(0.2, 1.0, 0.003), [500_000] * 4)
    query.run()
    assert len(query.sizes) <= 16


@pytest.mark.parametrize("seed", [11, 13, 14])
def test_what_small_calls_happened_to_show_is_not_the_last_word(seed: int) -> None:
    """Of calls of 100 to 600 entries every other one finds nothing and takes a sixth: in one of six such queries it was
    taken for a law that larger ones take longer, for 860 calls and twelve times the time of calls of 50,000.
    """
    query = Query(once_selected(0.2, 1.0, 0.003), [50_000] * 40, seed=seed)
    assert query.run() < 75 and len(query.sizes) < 150, "27 s and 40 calls are the least"


def test_where_sizes_in_between_are_the_worst_the_next_run_avoids_them() -> None:
    """From 5,000 entries on calls take 1 s more: 3,000 are good, 50,000 too, and 10,000 are not, which the law is for."""
    law = LAWS["step"]
    found = compare(law, law.data[0], seeds=1)
    assert max(found.ratio, found.ratio_again) <= ALLOWED
    larger = Query(law.cost, [1_000_000] * 8)
    assert larger.run() < 70, "55 s are the least"


def test_a_small_file_of_dear_calls_is_not_cut_to_pieces() -> None:
    """A file of 200 events went out in 20 packets."""
    query = Query(constant(0.5), [200])
    query.run()
    assert len(query.sizes) <= 4 and query.packets <= 4


def test_the_next_query_of_an_analysis_probes_nothing() -> None:
    first = Query(constant(0.5), [50_000] * 10)
    first.run()
    again = Query(constant(0.5), [50_000] * 10, known=first.packetizer.calls.tell(), rate=first.packetizer.rate)
    again.run()
    assert len(again.sizes) == 10


def test_a_slot_that_comes_late_probes_nothing() -> None:
    """What is learnt goes with the leases."""
    query = Query(constant(0.5), [50_000] * 10)
    query.run()
    fresh = ChunkSizes()
    fresh.hear(query.packetizer.calls.tell())
    assert fresh.next(50_000) == 50_000


def test_dear_entries_are_shared_out_to_the_last_one() -> None:
    """2 s an entry: both slots end together, within a few entries."""
    query = Query(linear(2.0), [400])
    seconds = query.run()
    assert query.sizes[-1][0] <= 2
    assert seconds <= 1.15 * (400 + 100) * 2.0 / 2 + 100


def test_the_user_has_the_last_word() -> None:
    query = Query(linear(1e-6), [10_000] * 3, chunk=(1000, 1000))
    query.run()
    assert {entries for entries, _ in query.sizes} == {1000}
    bounded = Query(constant(1.0), [10_000] * 3, chunk=(500, 2500))
    bounded.run()
    assert all(500 <= entries <= 2500 for entries, _ in bounded.sizes)


@given(st.floats(0.005, 5.0), st.floats(1e-8, 0.05), st.integers(0, 2**32))
def test_the_fixed_part_of_a_call_is_found(fixed: float, each: float, seed: int) -> None:
    random, calls = Random(seed), Calls()
    for number in range(40):
        entries = int(10 ** (1 + 5 * (number % 10) / 9))
        calls.add(entries, (fixed + each * entries) * random.lognormvariate(0.0, 0.05))
    assert calls.law is not None
    for entries in (10, 1000, 100_000):
        assert calls.law.seconds(entries) == pytest.approx(fixed + each * entries, rel=0.5)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.0, 1e4)), max_size=60))
def test_sizes_are_sensible_whatever_the_calls(made: list[tuple[int, float]]) -> None:
    chunks, largest = ChunkSizes(), 0
    for entries, seconds in made:
        chunks.learn(entries, seconds)
        largest = max(largest, entries)
        assert 1 <= chunks.size <= min(LARGEST_CHUNK, 64 * largest)
        assert 1 <= chunks.next(10) <= 10


def test_chunks_of_a_processor_are_bounded_by_the_memory_of_its_columns() -> None:
    """A processor reads by itself: its chunks went up to 500,000 entries, however large these were."""
    chunks = ChunkSizes(most=UNMEASURED)
    for _ in range(10):  # nothing is known of its columns
        chunks.learn(chunks.next(10**9), 0.001)
    assert chunks.size == UNMEASURED
    chunks.learn(UNMEASURED, 0.001, size=UNMEASURED * 4096)
    assert chunks.size == LARGEST_SIZE // 4096
    light = ChunkSizes(most=UNMEASURED)
    for _ in range(10):
        entries = light.next(10**9)
        light.learn(entries, 0.001, size=entries * 8)
    assert light.size == LARGEST_CHUNK


def test_the_bytes_that_a_processor_reads_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = pytest.importorskip("coffea.processor")
    path = tmp_path / "events.root"
    with uproot.recreate(path) as file:
        ids = {name: np.arange(3000, dtype=np.uint32) for name in ("run", "luminosityBlock", "event")}
        file["Events"] = {**ids, "MET_pt": np.arange(3000.0), "MET_phi": np.arange(3000.0)}

    class Sum(processor.ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, float]:
            return {"sum": float(ak.sum(events.MET.pt))}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    from coffea.nanoevents import NanoAODSchema

    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)
    analysis = pack(Sum())
    setup = Setup("q1", analysis.kind, analysis.digest, "sum", analysis.branches, "fail", 0.0, 0, None, "me")
    task = load(setup, analysis.blob, tmp_path)
    task.run(ReaderCache().get(str(path), "Events"), File(str(path), "Events"), 0, 1000)
    assert task.size == 1000 * 8


def test_a_slot_need_not_be_as_careful_as_others_were() -> None:
    """That chunks of 200,000 entries are done is known; what the user asks for is the user's to know."""
    chunks = ChunkSizes(most=UNMEASURED)
    chunks.hear([(200_000, 0.2, 1), (50_000, 0.2, 1)])
    assert chunks.size == 200_000
    assert ChunkSizes(bounds=(150_000, 150_000), most=UNMEASURED).size == 150_000


def test_what_is_learnt_of_a_dataset_is_for_that_dataset() -> None:
    """By the analysis alone, events that take a hundred times as long began with chunks a hundred times too large."""
    learnt = Learnt()
    learnt.keep("analysis", "light", 1e6, Calls([(400, 0.001, 1), (500_000, 0.5, 1)]))
    learnt.keep("analysis", "dear", 10.0, Calls([(10, 1.0, 1), (100, 10.0, 1)]))
    learnt.keep("other", "light", 5.0, Calls([(1, 1.0, 1)]))
    assert learnt.of("analysis", "light") == (1e6, [(400, 0.001, 1), (500_000, 0.5, 1)])
    assert learnt.of("analysis", "dear") == (10.0, [(10, 1.0, 1), (100, 10.0, 1)])
    assert learnt.of("nothing", "light") == (0.0, ())


def test_of_another_dataset_no_large_calls_are_taken_over() -> None:
    """The events of this one may be so much larger that as many do not fit into memory."""
    learnt = Learnt()
    learnt.keep("analysis", "light", 1e6, Calls([(400, 0.001, 1), (500_000, 0.5, 1)]))
    assert learnt.of("analysis", "new") == (1e6, [(400, 0.001, 1)])


def test_what_is_learnt_last_is_kept() -> None:
    learnt = Learnt()
    for number in range(MOST_ANALYSES + 1):
        learnt.keep("analysis" if number % 2 else "other", str(number), float(number), Calls([(1, 1.0, 1)]))
    assert learnt.of("other", "0") == learnt.of("other", str(MOST_ANALYSES))
    assert learnt.of("analysis", "1")[0] == 1.0
    learnt.keep("third", "0", 1.0, Calls())
    for number in range(MOST_ANALYSES):
        learnt.keep("analysis", f"more {number}", 1.0, Calls([(1, 1.0, 1)]))
    assert learnt.of("third", "0") == (0.0, ()) == learnt.of("third", "1")


@given(st.floats(2.0, 1e4), st.integers(0, 2**32))
def test_a_single_surprise_changes_nothing(surprise: float, seed: int) -> None:
    random, chunks = Random(seed), ChunkSizes()
    for _ in range(12):
        entries = chunks.next(10**9)
        chunks.learn(entries, (0.06 + 1e-6 * entries) * random.lognormvariate(0.0, 0.1))
    before = chunks.size
    chunks.learn(before, surprise)
    assert chunks.size >= 0.5 * before


def test_what_is_told_is_small_and_means_the_same() -> None:
    calls = Calls()
    for number in range(2000):
        entries = 1 + number * 37 % 100_000
        calls.add(entries, 0.2 + 1e-5 * entries)
    told = calls.tell()
    assert len(told) <= 120
    again = Calls(told)
    assert calls.law is not None and again.law is not None
    assert again.law.fixed == pytest.approx(calls.law.fixed, rel=0.2)
    assert math.isclose(again.wish, calls.wish, rel_tol=0.3)


@pytest.mark.parametrize("chunk", [0, -1, 1.5, "10", (1,), (5, 1), (0, 3), (1, 2, 3), True, (1, 2.0)])
def test_a_chunk_that_cannot_be_is_refused_in_words(chunk: object) -> None:
    with pytest.raises(em.errors.DatasetError, match="chunk="):
        em.Dataset("a.root", chunk=chunk)


def test_a_dataset_keeps_its_chunk() -> None:
    data = em.Dataset("a.root", chunk=1000)
    assert data.chunk == (1000, 1000)


@pytest.mark.long("its calls are dear")
def test_a_real_query_has_the_chunks_that_were_asked_for_and_says_that_its_calls_are_dear(
    standing: Standing, numbers: em.Dataset
) -> None:
    def slow(events):
        import time

        time.sleep(0.1)
        return {"entries": len(events), "calls": [len(events)]}

    with standing.connect() as session:
        with pytest.raises(ValueError, match="chunk="):
            session.process(numbers, slow, chunk=0)
        query = session.process(em.Dataset(numbers.files[0].path, max_entries=500), slow, chunk=(40, 50))
        result = query.result()
    assert result["entries"] == result.account.processed == 500
    assert all(count <= 50 for count in result["calls"])
    assert query.report().total.calls == len(result["calls"])  # of calls of one size nobody can tell what is fixed
