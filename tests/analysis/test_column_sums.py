"""Sums that do not depend on how rows were cut, and are what `math.fsum` and Python's ints say."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.column_sums import merged, sums_of, total_of
from eventmill.protocol.errors import AnalysisError
from hypothesis import given
from hypothesis import strategies as st

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True), max_size=40)


@given(FLOATS, st.integers(0, 40), st.sampled_from(["float64", "float32"]))
def test_floats_add_up_as_fsum_has_them(values: list[float], cut: int, kind: str) -> None:
    with np.errstate(over="ignore"):
        column = np.array(values, kind)
    column = column[np.isfinite(column)]
    try:
        expected = math.fsum(column.tolist())
    except OverflowError:
        return
    found = total_of(merged([sums_of(column[:cut], "w"), sums_of(column[cut:], "w")]))
    assert found == expected and isinstance(found, float)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_whole_numbers_stay_whole(signed: list[int], unsigned: list[int]) -> None:
    both = [sums_of(np.array(signed, np.int64), "n"), sums_of(np.array(unsigned, np.uint64), "n")]
    assert total_of(merged(both)) == sum(signed) + sum(unsigned)


def test_kinds_of_rows() -> None:
    """What is no number of this world stays so; whole numbers beside floats give floats; rows may be lists."""
    odd = sums_of(np.array([1.0, np.inf]), "w"), sums_of(np.array([-np.inf]), "w"), sums_of(np.array([np.nan]), "w")
    assert total_of(odd[0]) == math.inf and math.isnan(total_of(merged(odd[:2]))) and math.isnan(total_of(odd[2]))
    assert total_of(merged([sums_of(np.array([1, 2], np.int8), "w"), sums_of(np.array([0.5]), "w")])) == 3.5
    assert total_of(sums_of(np.array([True, False, True]), "w")) == 2
    assert total_of(merged([])) == 0
    lists = merged([sums_of(ak.Array([[1.0, 2.0], [3.0, 4.0]]), "w"), sums_of(ak.Array([[], []]), "w")])
    assert total_of(lists).tolist() == [4.0, 6.0]  # a file of before there were such weights
    for values in (ak.Array(["a"]), ak.Array([[["x"]]]), ak.Array([1, None]), np.array([1j])):
        with pytest.raises(AnalysisError, match="the sum of w"):
            sums_of(values, "w")
    with pytest.raises(AnalysisError, match="have different lengths"):
        total_of(sums_of(ak.Array([[1.0], [1.0, 2.0]]), "w"), "w")
