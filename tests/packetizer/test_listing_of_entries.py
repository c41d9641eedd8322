"""Listings: the entries of a file that are used, by their positions."""

from __future__ import annotations

import pytest
from eventmill.packetizer.listed_entries import EntryList
from hypothesis import given
from hypothesis import strategies as st

SETS = st.sets(st.integers(0, 60), max_size=40)


def members(runs: list[int]) -> list[int]:
    """The entries that runs stand for, one by one."""
    return [entry for start, stop in zip(runs[::2], runs[1::2], strict=True) for entry in range(start, stop)]


@given(SETS, st.randoms())
def test_positions_number_the_listed_entries_in_ascending_order(entries: set[int], random: object) -> None:
    order = list(entries)
    random.shuffle(order)  # type: ignore[attr-defined]
    entry_list = EntryList.from_entries(order)
    expected = sorted(entries)
    assert len(entry_list) == len(expected)
    assert [entry_list.entry(position) for position in range(len(entry_list))] == expected
    assert entry_list.entries().tolist() == expected
    assert members(entry_list.runs()) == expected
    assert entry_list.end == (expected[-1] + 1 if expected else 0)


@given(SETS, st.integers(0, 40), st.integers(0, 40))
def test_runs_of_a_packet_are_its_entries_and_no_others(entries: set[int], one: int, other: int) -> None:
    start, stop = sorted((min(one, len(entries)), min(other, len(entries))))
    entry_list = EntryList.from_entries(list(entries))
    runs = entry_list.runs(start, stop)
    assert members(runs) == entry_list.entries(start, stop).tolist() == sorted(entries)[start:stop]
    assert all(stop < start for stop, start in zip(runs[1::2], runs[2::2], strict=False)), "runs that touch are one"
    assert all(isinstance(bound, int) for bound in runs), "they go into messages"


@given(SETS, st.lists(st.integers(0, 70)))
def test_the_position_of_an_entry_counts_what_is_listed_before_it(entries: set[int], asked: list[int]) -> None:
    entry_list = EntryList.from_entries(list(entries))
    expected = [sum(listed < entry for listed in entries) for entry in asked]
    assert [entry_list.position(entry) for entry in asked] == expected
    assert entry_list.positions(asked).tolist() == expected


@given(SETS, SETS)
def test_what_two_listings_share(one: set[int], other: set[int]) -> None:
    shared = EntryList.from_entries(list(one)) & EntryList.from_entries(list(other))
    assert shared == EntryList.from_entries(list(one & other))
    assert shared.entries().tolist() == sorted(one & other)


@given(SETS)
def test_runs_make_the_same_entry_list(entries: set[int]) -> None:
    entry_list = EntryList.from_entries(list(entries))
    assert entry_list == EntryList(entry_list.runs())


def test_runs_that_touch_become_one() -> None:
    assert EntryList([0, 5, 5, 7, 9, 10]).runs() == [0, 7, 9, 10]


@pytest.mark.parametrize("runs", [[3], [5, 3], [3, 3], [0, 5, 4, 8], [-1, 4], [4, 6, 0, 2]])
def test_what_are_no_runs(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="runs"):
        EntryList(runs)


def test_entries_that_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match="entry 7 is there twice"):
        EntryList.from_entries([9, 7, 3, 7])
    with pytest.raises(ValueError, match="entry -2 is negative"):
        EntryList.from_entries([4, -2])


def test_positions_that_are_not_there() -> None:
    entry_list = EntryList([3, 5])
    with pytest.raises(IndexError, match="there is no position 2"):
        entry_list.entry(2)
    with pytest.raises(IndexError, match="not \\[1, 3\\)"):
        entry_list.runs(1, 3)
