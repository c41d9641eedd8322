"""Large arrays that are nearly empty travel as what is in them, and add up to the same as whole ones."""

from __future__ import annotations

from typing import Any

import boost_histogram as bh
import eventmill as em
import numpy as np
import pytest
from eventmill.master.merger import Growth
from eventmill.merge import Partial, Total, decode, encode, sparse
from eventmill.merge.nodes import DTYPES, Cells
from eventmill.merge.sparse import Thinning, dense_sizes, sparse_in
from eventmill.protocol.errors import RemoteProtocolError
from hist import Hist

SECONDS = 60
BINS = 1_000_000
STORAGES = [bh.storage.Double, bh.storage.Int64, bh.storage.Weight, bh.storage.Mean, bh.storage.WeightedMean]


def filled(storage: Any, seed: int, entries: int = 100) -> bh.Histogram:
    rng = np.random.default_rng(seed)
    h = bh.Histogram(bh.axis.Regular(20_000, 0, 1), storage=storage())
    weights = {"weight": rng.normal(size=entries)} if "Weight" in storage.__name__ else {}
    samples = {"sample": rng.normal(size=entries)} if "Mean" in storage.__name__ else {}
    return h.fill(rng.random(entries), **weights, **samples)


def values(seed: int, which: int) -> dict[str, Any]:
    """Histograms, arrays and numbers of one packet; every third one lacks some of them, and every fifth is full."""
    rng = np.random.default_rng(seed)
    hard = np.zeros((100, 200))
    hard[rng.integers(0, 100, 20), rng.integers(0, 200, 20)] = rng.choice([np.nan, np.inf, -1.5, 1e-300], 20)
    whole = np.zeros(20_000, np.int64)
    whole[:: 1 if which % 5 == 0 else 700] = -seed
    made = {kind.__name__: filled(kind, seed) for kind in STORAGES}
    made |= {"hard": hard, "whole": whole, "small": np.zeros(3), "n": seed, "complex": np.zeros(9000, complex)}
    return {key: value for number, (key, value) in enumerate(made.items()) if which % 3 or number % 2}


@pytest.mark.parametrize("steps", [1, 3])
def test_sparse_frames_add_up_to_what_whole_ones_do_bit_by_bit(steps: int) -> None:
    """Protects every number: of all storages, with nan and infinity, in whole totals and parts, on several ways up."""
    whole, thin = Total(), Total()
    for which in range(12):
        partial = encode(values(which + 1, which), 1)
        upper, lower = Total(), Total()
        for _ in range(steps):
            upper.add_frames(partial.to_frames())
            lower.add_frames(partial.to_frames(thin=True))
        whole.add_frames(upper.to_frames())
        thin.add_frames(lower.to_frames(thin=True))
    sent = whole.to_frames()
    assert [bytes(frame) for frame in thin.to_frames()] == [bytes(frame) for frame in sent]
    spread = Partial.from_frames(thin.to_frames(thin=True)).to_frames()
    assert [bytes(frame) for frame in spread] == [bytes(frame) for frame in sent]
    assert thin.entries == whole.entries == 12 * steps


def test_a_hundred_of_a_million_bins_are_two_kilobytes_on_all_ways() -> None:
    h = Hist.new.Reg(BINS, 0, 1).Double().fill(np.random.default_rng(1).random(100))
    total = Total()
    for frames in (encode({"h": h}, 100).to_frames(thin=True), encode({"h": h}, 100).to_frames(thin=True)):
        assert sum(map(len, frames)) < 3000 and dense_sizes(frames) > 8 * BINS
        total.add_frames(frames)
    frames = total.to_frames(thin=True)
    assert sum(map(len, frames)) < 3000
    value: Any = decode(Partial.from_frames(frames))
    assert value["h"] == h + h


def test_what_is_nearly_full_travels_as_it_is() -> None:
    cells = np.zeros(100_000)
    cells[::2] = 1
    frame = Thinning().frame(cells)
    assert len(frame) == cells.nbytes
    assert np.shares_memory(np.frombuffer(frame), cells), "and is not copied"


def test_zeros_are_not_spread_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects memory from a hundred bytes that stand for gigabytes; who sends them keeps to the same limit."""
    partial = encode([np.zeros(100_000), np.zeros(100_000)])
    monkeypatch.setattr(sparse, "MOST_SPREAD", 1_000_000)
    assert sum(map(len, partial.to_frames(thin=True))) > 800_000
    monkeypatch.undo()
    frames = partial.to_frames(thin=True)
    assert sum(map(len, frames)) < 1000
    monkeypatch.setattr("eventmill.merge.partial.MOST_SPREAD", 1_000_000)
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames(frames)


@pytest.mark.parametrize("places", [[5, 4], [5, 5], [0, 10_000], []])
def test_a_sparse_frame_that_nobody_has_made_is_refused(places: list[int]) -> None:
    cells: Cells = np.zeros(10_000)
    cells[[1, 2]] = 1
    frame = bytearray(Thinning().frame(cells))
    assert sparse_in(bytes(frame), "float", 10_000).places.tolist() == [1, 2]
    frame[24:32] = np.array(places or [1, 2], "<u4").tobytes()
    bad = bytes(frame if places else frame[:-1])
    with pytest.raises(ValueError, match=r"sparse array|bytes for an array"):
        sparse_in(bad, "float", 10_000)
    first, _ = encode(cells).to_frames()
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames([first, bad])
    total = Total()
    total.add(encode(cells))
    with pytest.raises(RemoteProtocolError):
        total.add_frames([first, bad])
    assert decode(total.partial()).tolist() == cells.tolist()


def test_a_frame_for_another_type_or_size_is_refused() -> None:
    frame = Thinning().frame(np.zeros(10_000))
    for kind, size in (("float", 9_999), ("float", 10_001), ("weight", 10_000), ("bytes", 10_000)):
        with pytest.raises(ValueError, match="bytes for an array"):
            sparse_in(frame, kind, size)
    assert set(DTYPES) >= {"float", "weight", "bytes"}


def test_a_master_counts_the_memory_that_sparse_results_take(monkeypatch: pytest.MonkeyPatch) -> None:
    growth, total, told = Growth(), Total(), set[str]()
    for number in range(30):
        frames = encode({f"h{number}": np.zeros(BINS)}, 1).to_frames(thin=True)
        total.add_frames(frames)
        told.add(growth.look(total, frames, free=lambda: 10**8))
    assert any("GiB of memory left" in words for words in told)


def test_a_large_histogram_in_a_query_has_every_event_once(session: em.Session, numbers: em.Dataset) -> None:
    def fills(events: Any) -> dict[str, Any]:
        x = np.asarray(events[events.fields[0]])
        return {"h": Hist.new.Integer(0, BINS).Weight().fill(x, weight=x + 0.5), "n": len(x)}

    result = session.process(numbers, fills).result(SECONDS)
    each = result["n"] // 1000
    assert each * 1000 == result["n"] == result.account.processed
    cells = result["h"].values()
    assert cells[:1000].tolist() == [each * (x + 0.5) for x in range(1000)] and not cells[1000:].any()
    assert result["h"].variances()[:1000].tolist() == [each * (x + 0.5) ** 2 for x in range(1000)]
