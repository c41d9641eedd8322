"""Branches that uproot decodes: no run of chunks decodes a basket twice, and any cut has the entries that are there."""

from __future__ import annotations

import itertools
from typing import Any

import awkward as ak
import numpy as np
from eventmill.reading.ttree import whole_baskets
from eventmill.reading.ttree.whole_baskets import WholeBaskets
from hypothesis import given
from hypothesis import strategies as st


class Branch:
    """As uproot's, of nested lists; notes what is decoded."""

    branches = ()

    def __init__(self, sizes: list[int]) -> None:
        self.entry_offsets = [0, *np.cumsum(sizes).tolist()]
        entries = self.entry_offsets[-1]
        self.values = ak.Array(
            ak.contents.ListOffsetArray(ak.index.Index64(2 * np.arange(entries + 1)), lists(entries))
        )
        self.decoded: list[tuple[int, int]] = []

    def array(self, entry_start: int, entry_stop: int, library: str) -> ak.Array:
        assert library == "ak"
        assert {entry_start, entry_stop} <= set(self.entry_offsets), "part of a basket was asked for"
        self.decoded.append((entry_start, entry_stop))
        return self.values[entry_start:entry_stop]


def lists(entries: int) -> Any:
    values = ak.contents.NumpyArray(np.arange(6 * entries))
    return ak.contents.ListOffsetArray(ak.index.Index64(3 * np.arange(2 * entries + 1)), values)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(sum), st.data())
def test_chunks_decode_each_basket_once(sizes: list[int], data: st.DataObject) -> None:
    """46 MB in one basket became 6.1 GB: each chunk decoded it anew."""
    branch, baskets = Branch(sizes), WholeBaskets()
    entries = sum(sizes)
    cuts = sorted(data.draw(st.sets(st.integers(0, entries), max_size=9)) | {0, entries})
    for start, stop in itertools.pairwise(cuts):
        array = baskets.array("hits", branch, start, stop)
        assert array.tolist() == branch.values[start:stop].tolist()
        assert array.type.content == branch.values.type.content
    assert branch.decoded == sorted(branch.decoded) and sum(stop - start for start, stop in branch.decoded) == entries


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_ranges_in_any_order_have_their_entries(sizes: list[int], data: st.DataObject) -> None:
    branch, baskets = Branch(sizes), WholeBaskets()
    for _ in range(4):
        start, stop = sorted(data.draw(st.tuples(*2 * [st.integers(0, sum(sizes))])))
        array = baskets.array("hits", branch, start, stop)
        assert array.tolist() == branch.values[start:stop].tolist()
        assert array.type.content == branch.values.type.content


def test_what_is_kept_is_bounded(monkeypatch: Any) -> None:
    """The baskets of a few branches, whatever their sizes; those of the branch read last in any case."""
    monkeypatch.setattr(whole_baskets, "KEPT_BYTES", 3000)
    branches, baskets = {name: Branch([10, 10]) for name in "abc"}, WholeBaskets()
    for name in "aabbcca":
        baskets.array(name, branches[name], 0, 5)
    assert [len(branch.decoded) for branch in branches.values()] == [2, 1, 1]


def test_what_was_read_is_forgotten_when_nobody_will_read_there() -> None:
    branch, baskets = Branch([10]), WholeBaskets()
    baskets.array("hits", branch, 0, 5)
    baskets.forget()
    baskets.array("hits", branch, 5, 10)
    assert len(branch.decoded) == 2
