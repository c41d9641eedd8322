"""Ranges: the arithmetic that no entry is lost or repeated under."""

from __future__ import annotations

from itertools import pairwise

import pytest
from eventmill.packetizer.ranges import Ranges
from hypothesis import given
from hypothesis import strategies as st

spans = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(st.tuples(st.booleans(), spans), max_size=40))
def test_ranges_behave_like_a_set_of_numbers(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    """Adding and removing change exactly the numbers named, or refuse and change nothing."""
    ranges, numbers = Ranges(), set[int]()
    for adding, (start, stop) in steps:
        span = set(range(start, stop))
        allowed = not (span & numbers) if adding else span <= numbers
        act = ranges.add if adding else ranges.remove
        if allowed:
            act(start, stop)
            numbers = numbers | span if adding else numbers - span
        else:
            with pytest.raises(ValueError):
                act(start, stop)
        assert {number for start, stop in ranges for number in range(start, stop)} == numbers
        assert ranges.entries == len(numbers) and bool(ranges) == bool(numbers)
        pairs = list(ranges)
        assert all(a[1] < b[0] for a, b in pairwise(pairs)), "ranges that touch are one range"


def test_backward_ranges_are_refused() -> None:
    ranges = Ranges([(0, 10)])
    for act in (ranges.add, ranges.remove):
        with pytest.raises(ValueError, match="backwards"):
            act(5, 4)
