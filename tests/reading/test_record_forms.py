"""The short ways to the buffers and keys of plain columns give what awkward gives, which takes ten times as long."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.reading.columns import Flat, column_of
from eventmill.reading.record_forms import all_regular, buffers_of, buffers_of_column, keyed, keys

NUMBERS = np.arange(24, dtype=np.float32)
ARRAYS = {
    "numbers": ak.Array(NUMBERS),
    "arrays": ak.Array(ak.contents.NumpyArray(NUMBERS.reshape(4, 3, 2))),
    "arrays of nothing": ak.Array(ak.contents.NumpyArray(NUMBERS[:0].reshape(0, 3))),
    "lists": ak.Array([[1, 2], [], [3]]),
    "part of lists": ak.Array([[9, 9], [1, 2], [], [3], [8]])[1:4],
    "lists of lists": ak.Array([[[1.5], []], [], [[2.5, 3.5]]]),
    "lists of arrays": ak.Array([np.ones((2, 3)), np.zeros((0, 3)), np.full((1, 3), 2.0)]),
    "texts": ak.Array(["muon", "", "é"]),
    "lists of texts": ak.Array([["muon", ""], [], ["é"]]),
    "truths": ak.Array([[True], [], [False, True]]),
}


@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize("depth", [0, 1])
def test_buffers_are_awkwards(what: str, depth: int) -> None:
    """Those that it has: a column may have dimensions as lists, whose offsets nobody asks for."""
    array: Any = ARRAYS[what]
    if depth and what in ("numbers", "texts"):  # which nothing lies in
        return
    layout = all_regular(array).layout
    column = Flat(ak.to_numpy(array)) if layout.is_regular else column_of(array.layout, "it")
    ours, theirs = buffers_of_column(column, "x", depth), buffers_of(array, "x", depth)
    assert ours.keys() >= theirs.keys()
    for key, values in theirs.items():
        assert np.array_equal(ours[key], values), key


@pytest.mark.parametrize("what", ARRAYS)
def test_keys_are_awkwards(what: str) -> None:
    form = all_regular(ARRAYS[what]).layout.form
    if type(form).__name__ == "ListForm":
        form = ak.to_packed(ARRAYS[what]).layout.form
    theirs, _, _ = ak.to_buffers(all_regular(form.length_zero_array()), form_key=keys("x"))
    assert keyed(form, "x").to_dict() == theirs.to_dict()
