"""A friend with an index (`TTree::BuildIndex`) is joined by it, with ROOT's answers (`write_indexed.py`)."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from eventmill.dataset.shared_inputs import SharedInputs, aliases_of
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import DatasetError
from eventmill.reading.cached_range import CachedRange
from eventmill.reading.prefetched_range import Names, PrefetchedRange
from eventmill.reading.reader import Reader
from eventmill.reading.selection import Selection
from eventmill.reading.source import Source
from eventmill.reading.ttree.tree_index import TreeIndex
from eventmill.reading.view import View

FILE = str(Path(__file__).parents[1] / "data" / "indexed.root")
ENTRIES = 200
BY_BOTH = 3583920050586722.0, 2239332, 296
"""Sums of (i + 1) times the friend's value and entry for entry i of the file, and the number of its `pt`."""
BY_EVENT = 3583920050235365.0, 4880653


@pytest.fixture
def main() -> Reader:
    return Reader(FILE, "events")


def view(main: Reader, tree: str, **aliases: str) -> View:
    return View(main, {"bdt": Reader(FILE, tree)}, SharedInputs(aliases=aliases_of(aliases)))


def numbered(values: object) -> float:
    return float(np.sum((np.arange(ENTRIES) + 1) * np.asarray(values)))


def test_each_event_has_the_entry_that_root_gives_it(main: Reader) -> None:
    """By number, or rounded to 53 bits, others would: events of two runs have the same numbers, and some are negative."""
    joined = view(main, "scores")
    events = joined.events(0, ENTRIES)
    assert numbered(events.bdt.score) == pytest.approx(BY_BOTH[0], rel=1e-14)
    assert ak.all(np.abs(events.bdt.score - events.run * 1000.0 - events.event) <= 0.23)
    assert numbered(joined.files.friends["bdt"]._join.entries(0, ENTRIES)[1]) == BY_BOTH[1]  # type: ignore[union-attr]
    assert int(ak.count(events.bdt.pt)) == BY_BOTH[2]
    assert float(events.bdt.pt[0, 0]) == pytest.approx(float(events.bdt.score[0]))


def test_of_entries_with_the_same_numbers_the_one_is_taken_that_root_takes(main: Reader) -> None:
    """The index is by one branch alone: its second number is 0."""
    joined = view(main, "twice")
    assert numbered(joined.read(["bdt_score"], 0, ENTRIES)["bdt_score"].values) == pytest.approx(BY_EVENT[0], rel=1e-14)
    assert numbered(joined.files.friends["bdt"]._join.entries(0, ENTRIES)[1]) == BY_EVENT[1]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["part", "selection", "prefetched", "cached"])
def test_lists_texts_and_aliases_of_it_belong_to_their_events_however_they_are_read(main: Reader, kind: str) -> None:
    joined = view(main, "scores", shifted="bdt.score - 1000 * run - event")
    first, sources = 60, dict[str, Source]()
    sources["part"] = joined
    sources["selection"] = Selection(joined, EntryList([60, 75, 100, 200]), first)
    prefetched = PrefetchedRange(joined, 60, 120, alone=nullcontext)
    prefetched.fetch(Names(("bdt_score", "shifted", "event"), ("bdt_pt",)))
    sources |= {"prefetched": prefetched, "cached": CachedRange(joined, 50, 120)}
    events = sources[kind].events(first, first + 40)
    assert len(events) == 40 and ak.all(np.abs(events.shifted) <= 0.23)
    assert (
        ak.to_list(ak.num(events.bdt.pt))
        == ak.to_list(events.bdt.n)
        == ak.to_list((events.run + (events.event & 7)) % 4)
    )
    assert ak.to_list(events.bdt.word) == [f"e{event}" for event in events.event]
    assert ak.to_list(events.bdt.hits) == [
        [run, event & 63] for run, event in zip(events.run, events.event, strict=True)
    ]
    assert len(joined.events(7, 7).bdt.score) == 0


def test_an_event_that_the_friend_does_not_have_is_refused_by_name(main: Reader) -> None:
    """ROOT leaves there what it has read for another event."""
    joined = view(main, "short")
    assert len(joined.read(["bdt_score"], 0, 150)["bdt_score"]) == 150
    with pytest.raises(DatasetError, match=r"short in .*has no entry with run 3 and event \d+, as entry 150"):
        joined.read(["bdt_score"], 100, 200)


def test_a_file_without_the_branches_of_the_index_is_refused(main: Reader) -> None:
    index = Reader(FILE, "scores").stored.tree_index
    other = Reader(FILE, "scores")
    other.stored.tree_index = TreeIndex("lumi", index.minor, index.majors, index.minors, index.entries)
    with pytest.raises(DatasetError, match="index of 'lumi' and 'event', and the file has no branch 'lumi'"):
        View(main, {"bdt": other}, SharedInputs())
    other.stored.tree_index = TreeIndex(
        "run", "event", *(it[:-1] for it in (index.majors, index.minors, index.entries))
    )
    with pytest.raises(DatasetError, match="has an index of 229 entries and has 230: build it anew"):
        View(main, {"bdt": other}, SharedInputs())


def test_a_friend_whose_layout_a_slot_was_told_is_joined_too(main: Reader) -> None:
    told = Reader(FILE, "scores", layout=Reader(FILE, "scores").news())
    events = View(main, {"bdt": told}, SharedInputs()).events(0, ENTRIES)
    assert numbered(events.bdt.score) == pytest.approx(BY_BOTH[0], rel=1e-14)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"nothing", "not where it should be"),
        (b"\xff\xff\xff\xffTTreeIndex\0\x40", "cannot be read"),
        (b"\xff\xff\xff\xffTTreeIndex\0\x40\0\0\1\0\1", "a ROOT before 5"),
    ],
)
def test_what_is_no_index_says_so(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TreeIndex.of(data)
