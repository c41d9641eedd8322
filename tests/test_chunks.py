"""Sizes of chunks: the law that calls tell, what follows from it, and what that makes of whole queries in virtual time."""

from __future__ import annotations

import math
from random import Random

import eventmill as em
import pytest
from eventmill.packetizer.calls import LARGEST_CHUNK, Calls
from eventmill.worker.chunks import ChunkSizes
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chunks import ALLOWED, LAWS, Query, compare, constant, linear, once_selected, scattered

SOME = [
    ("constant 0.01 s", 0),
    ("constant 0.5 s", 0),
    ("constant 5 s", 0),
    ("both", 0),
    ("step", 0),
    ("heavy tail", 0),
    ("slow first", 0),
    ("one dear call", 0),
    ("linear 20 ms", 1),
]


@pytest.mark.parametrize(("name", "data"), SOME)
def test_no_fixed_size_is_much_better_than_the_one_that_is_found(name: str, data: int) -> None:
    """All laws are in `python -m benchmarks.chunks`."""
    found = compare(LAWS[name], LAWS[name].data[data], seeds=1)
    assert found.ratio <= ALLOWED


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


def test_a_real_query_has_the_chunks_that_were_asked_for_and_says_that_its_calls_are_dear(numbers: em.Dataset) -> None:
    def slow(events):
        import time

        time.sleep(0.1)
        return {"entries": len(events), "calls": [len(events)]}

    with em.connect(slots=1) as session:
        with pytest.raises(ValueError, match="chunk="):
            session.process(numbers, slow, chunk=0)
        query = session.process(em.Dataset(numbers.files[0].path, max_entries=500), slow, chunk=(40, 50))
        result = query.result()
    assert result["entries"] == result.account.processed == 500
    assert all(count <= 50 for count in result["calls"])
    assert query.report().total.calls == len(result["calls"])  # of calls of one size nobody can tell what is fixed
