"""Histograms with an axis for variations: each slice is what the variation gave, cell by cell, flow included."""

from __future__ import annotations

from typing import Any

import boost_histogram as bh
import eventmill as em
import numpy as np
import pytest
from eventmill.protocol.errors import AnalysisError, MergeError
from hist import Hist

X = np.array([-5.0, 0.5, 1.5, 1.5, 99.0])
STORAGES = {
    "Double": lambda it: it.Double(),
    "Weight": lambda it: it.Weight(),
    "Int64": lambda it: it.Int64(),
    "Unlimited": lambda it: it.Unlimited(),
    "Mean": lambda it: it.Mean(),
    "WeightedMean": lambda it: it.WeightedMean(),
}


def filled(storage: str, scale: float) -> Any:
    made = STORAGES[storage](Hist.new.Reg(3, 0, 3, name="x", label="x [GeV]").Integer(0, 2, name="n"))
    sample = {"sample": X * scale} if "Mean" in storage else {}
    made.fill(X * scale, [0, 1, 0, 1, 5], **sample)
    made.name, made.label = "h", "events"
    return made


@pytest.mark.parametrize("storage", STORAGES)
def test_each_slice_is_what_the_variation_gave(storage: str) -> None:
    each = {"nominal": filled(storage, 1), "up": filled(storage, 2), "down": filled(storage, 0.1)}
    joined = em.variation_axis({name: {"of": {"a dataset": h}} for name, h in each.items()})["of"]["a dataset"]
    assert [*joined.axes.name] == ["variation", "x", "n"] and [*joined.axes[0]] == ["nominal", "up", "down"]
    assert joined.name == "h" and joined.label == "events" and joined.axes[1].label == "x [GeV]"
    assert joined.storage_type is each["up"].storage_type
    for number, h in enumerate(each.values()):
        assert np.array_equal(joined.view(flow=True)[number], h.view(flow=True))
        assert joined[number, ...] == h


def test_categories_that_grew_are_those_of_all() -> None:
    """A category that only one variation has is empty in the others, and those are not taken for others."""
    each = {
        name: Hist.new.StrCat([], growth=True, name="kind").Weight().fill(kinds)
        for name, kinds in (("nominal", ["b", "a"]), ("up", ["c", "a", "a"]))
    }
    joined = em.variation_axis(each, name="systematic")
    assert {name: [joined[name, kind].value for kind in "abc"] for name in each} == {
        "nominal": [1, 1, 0], "up": [2, 0, 1],
    }  # fmt: skip


def test_what_is_no_histogram_is_by_variation_and_what_is_missing_stays_so() -> None:
    h = bh.Histogram(bh.axis.Regular(2, 0, 2)).fill([0.5])
    joined = em.variation_axis({"nominal": {"h": h, "n": 1, "only": h}, "up": {"h": h, "n": 2}})
    assert joined["n"] == {"nominal": 1, "up": 2}
    assert type(joined["h"]) is bh.Histogram and joined["h"].view().tolist() == [[1, 0], [1, 0]]
    assert [*joined["only"].axes[0]] == ["nominal"]


def test_results_and_what_cannot_be_joined(session: em.Session) -> None:
    with pytest.raises(AnalysisError, match="the result has no variations"):
        em.variation_axis({"h": filled("Double", 1)})
    named = Hist.new.Reg(2, 0, 2, name="variation").Double()
    with pytest.raises(AnalysisError, match=r"has an axis variation already: variation_axis\(result, name="):
        em.variation_axis({"nominal": named, "up": named})
    with pytest.raises(MergeError, match=r"axes|axis"):
        em.variation_axis({"nominal": named, "up": Hist.new.Reg(3, 0, 2, name="variation").Double()})
