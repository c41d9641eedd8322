"""Results made small for displays: bins are sums of bins, and what is left out is left out by name."""

from __future__ import annotations

from typing import Any

import boost_histogram as bh
import numpy as np
import pytest
from eventmill.merge import Opened, Partial, encode, miniature, opened, plain
from eventmill.merge.miniature import MOST_BINS, MOST_BINS_OF_MAPS, MOST_ELEMENTS
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

LONG = 3 * MOST_BINS + 1


def small(value: Any, names: tuple[str, ...] = (), **windows: tuple[float, float]) -> Any:
    """What a display gets of a result, after its way over the wire."""
    partial = encode(value, 7)
    made = Partial(miniature(partial.tree, names, windows), partial.entries)
    return opened(Partial.from_frames([bytes(frame) for frame in made.to_frames()]))


AXES = {
    "regular": lambda bins: bh.axis.Regular(bins, -1, 1),
    "without flow": lambda bins: bh.axis.Regular(bins, -1, 1, underflow=False, overflow=False),
    "log": lambda bins: bh.axis.Regular(bins, 0.1, 10, transform=bh.axis.transform.log),
    "sqrt": lambda bins: bh.axis.Regular(bins, 0, 10, transform=bh.axis.transform.sqrt),
    "power": lambda bins: bh.axis.Regular(bins, 1, 10, transform=bh.axis.transform.Pow(3)),
    "variable": lambda bins: bh.axis.Variable(np.linspace(0, 1, bins + 1) ** 2),
    "integer": lambda bins: bh.axis.Integer(-5, bins - 5),
}
STORAGES = {"counts": bh.storage.Double(), "whole": bh.storage.Int64(), "weights": bh.storage.Weight()}


@pytest.mark.parametrize("kind", AXES)
@examples(15)
@given(data=st.data())
def test_each_bin_is_the_sum_of_those_within_its_edges(kind: str, data: st.DataObject) -> None:
    """Of every kind of axis and storage, with a window or without: no entry is lost, and none is in two bins."""
    bins = data.draw(st.integers(1, LONG) | st.sampled_from([MOST_BINS, MOST_BINS + 1, 2 * MOST_BINS, LONG]))
    storage = data.draw(st.sampled_from(list(STORAGES)))
    axis = AXES[kind](bins)
    fine = bh.Histogram(axis, storage=STORAGES[storage])
    random = np.random.default_rng(bins)
    low, high = axis.edges[0], axis.edges[-1]
    values = random.uniform(low - 0.1, high + 0.1, 500)
    if kind == "integer":
        values = values.round().astype(int)
    fine.fill(values, **({"weight": random.normal(size=500)} if storage == "weights" else {}))
    ends = sorted(data.draw(st.tuples(*[st.floats(-0.2, 1.2)] * 2)))
    window = data.draw(st.none() | st.just(tuple(low + end * (high - low) for end in ends)))
    coarse = small({"x": fine}, **({"x": window} if window is not None else {}))["x"]
    edges = coarse.axes[0].edges
    assert len(edges) - 1 <= max(2 * MOST_BINS + 1, 1) and (len(edges) - 1 == bins or bins > MOST_BINS)
    places = np.searchsorted(axis.edges, edges - np.diff(axis.edges).min() / 2)
    assert np.allclose(axis.edges[places], edges, rtol=1e-9, atol=1e-12) and places[0] == 0 and places[-1] == bins
    if window is not None and bins > MOST_BINS:
        inside = np.diff(places)[(edges[1:] > window[0]) & (edges[:-1] < window[1])]
        looked_at = int(inside.sum())
        assert looked_at > MOST_BINS or (inside == 1).all(), "where somebody looks closely, nothing is added up"
    flow = [0] if axis.traits.underflow else []
    starts = np.concatenate(
        [flow, places[:-1] + axis.traits.underflow, [len(fine.values(flow=True)) - 1] if axis.traits.overflow else []]
    )
    for of_fine, of_coarse in ((fine.values, coarse.values), (fine.variances, coarse.variances)):
        np.testing.assert_allclose(
            of_coarse(flow=True), np.add.reduceat(of_fine(flow=True), starts.astype(int)), atol=1e-9
        )
    assert getattr(coarse, "made_of", ()) == ((bins,) if len(edges) - 1 < bins else ())


def test_maps_and_categories() -> None:
    """A map has fewer bins on both axes; categories are names, of which none is added to another."""
    fine = Hist.new.StrCat(["a", "b"], name="process").Reg(1000, 0, 1, name="x").Reg(700, 0, 1, name="y").Double()
    random = np.random.default_rng(1)
    fine.fill("b", random.random(1000), random.random(1000))
    coarse = small({"map": fine})["map"]
    process, x, y = coarse.axes
    assert list(process) == ["a", "b"] and process.name == "process"
    assert (x.size, y.size) == (MOST_BINS_OF_MAPS, 175) and x.name == "x"
    assert coarse.values()[0].sum() == 0 and coarse.values().sum() == 1000
    np.testing.assert_array_equal(
        coarse.values()[1].sum(axis=1), fine.values()[1].sum(axis=1).reshape(-1, 4).sum(axis=1)
    )


def test_means_stay_as_they_are() -> None:
    """They do not add up like entries."""
    fine = bh.Histogram(bh.axis.Regular(2 * MOST_BINS, 0, 1), storage=bh.storage.Mean())
    fine.fill([0.5], sample=[3.0])
    assert small({"mean": fine})["mean"] == fine


def test_histograms_that_nobody_looks_at_are_left_out_but_listed() -> None:
    """The first two are there for displays that do not know yet what there is."""
    value = {"more": {str(at): Hist.new.Reg(2, 0, 2).Double().fill([0.5]) for at in range(4)}, "n": 3}
    found = small(value, ("more/3",))
    assert isinstance(found["more"], Opened) and list(found["more"]) == ["0", "1", "2", "3"] and found["n"] == 3
    assert [made.left_out for _, made in found["more"].entries()] == [False, False, True, False]
    assert found["more"]["3"].values().tolist() == [1.0, 0.0]
    with pytest.raises(KeyError):
        found["more"]["2"]


def test_what_is_large_and_no_histogram_is_named_only() -> None:
    found = small({"some": np.arange(3), "many": np.zeros((MOST_ELEMENTS, 2)), "mine": {1, 2}})
    assert (
        found["some"].tolist() == [0, 1, 2]
        and found["many"] == "array of 1,000 x 2 float64"
        and found["mine"] == {1, 2}
    )


def test_pages_have_no_more_bins_than_a_screen_shows() -> None:
    fine = Hist.new.Reg(10**6, 0, 1).Double().fill([0.1, 0.9])
    found: Any = plain(encode({"x": fine}, 2))
    assert found["x"].axes[0].size == MOST_BINS and found["x"].values().sum() == 2
