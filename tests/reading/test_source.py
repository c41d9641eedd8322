"""One interface over all that entries come from: each kind of source answers the same questions, and alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.items import pack_items
from eventmill.dataset.shared_inputs import SharedInputs, aliases_of
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.cached_range import CachedRange
from eventmill.reading.prefetched_range import Names, PrefetchedRange
from eventmill.reading.reader import Reader
from eventmill.reading.selection import Selection
from eventmill.reading.source import Generated, Source
from eventmill.reading.view import View
from eventmill.worker.slot.cycles import CycleSource
from eventmill.worker.slot.items import ItemSource
from view_files import ENTRIES, write


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(str(write(tmp_path_factory.mktemp("source") / "events.root")), "Events")


def _view(reader: Reader) -> Source:
    return View(reader, {}, SharedInputs(b"", aliases_of({"twice": "n * 2"})))


def _prefetched(reader: Reader) -> Source:
    fetched = PrefetchedRange(_view(reader), 100, 200, alone=nullcontext)
    fetched.fetch(Names(("n",), ("Jet_pt",)))
    return fetched


# From entry 50 on, all of the file: its positions 0 to ... are the entries 50 to ...
SELECTED = 50
KINDS: dict[str, Callable[[Reader], Source]] = {
    "reader": lambda reader: reader,
    "view": _view,
    "selection": lambda reader: Selection(_view(reader).file, EntryList([SELECTED, ENTRIES])),  # type: ignore[arg-type]
    "cached": lambda reader: CachedRange(_view(reader), 100, 200),
    "cached selection": lambda reader: CachedRange(Selection(reader, EntryList([SELECTED, ENTRIES])), 100, 200),
    "prefetched": _prefetched,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_of_a_file_answers_alike(kind: str, reader: Reader) -> None:
    """Whatever a source is, its columns are those of the entries that it says they are of."""
    source = KINDS[kind](reader)
    first = 120 + SELECTED * ("selection" in kind)
    assert source.covering(120, 180) == (first, first + 60)
    numbers = source.numbers(120, 180)
    assert (numbers is None) == ("selection" not in kind)
    if numbers is not None:
        np.testing.assert_array_equal(numbers, np.arange(first, first + 60))
    np.testing.assert_array_equal(source.read(["n"], 120, 180)["n"].values, np.arange(first, first + 60))  # type: ignore[union-attr]
    assert ak.array_equal(source.array("Jet_pt", 120, 180), reader.array("Jet_pt", first, first + 60))
    assert source.events(120, 180).n.tolist() == list(range(first, first + 60))
    assert source.file is not None and source.file.readers == [reader]
    assert not source.is_far and source.weight(["n"]) == pytest.approx(reader.weight(["n"]), rel=0.2)
    assert source.traffic.bytes_read == reader.traffic.bytes_read
    source.check_unchanged()


@pytest.mark.parametrize("kind", [CachedRange, lambda *chunk: PrefetchedRange(*chunk, alone=nullcontext)])
def test_a_chunk_has_no_entries_where_none_are_asked_for(kind: Callable[..., Source], reader: Reader) -> None:
    """A kernel is compiled for none of a file's entries, also where the chunk at hand is in the middle of it."""
    columns = kind(_view(reader), 150, 200).read(["n", "Jet_pt"], 0, 0)
    assert {name: len(column) for name, column in columns.items()} == {"n": 0, "Jet_pt": 0}


@pytest.mark.parametrize("kind", ["view", "selection", "cached", "prefetched"])
def test_aliases_are_of_the_entries_asked_for_through_every_source(kind: str, reader: Reader) -> None:
    first = 120 + SELECTED * ("selection" in kind)
    column: Any = KINDS[kind](reader).read(["twice"], 120, 180)["twice"]
    np.testing.assert_array_equal(column.values, 2 * np.arange(first, first + 60))


@pytest.mark.parametrize("source", [CycleSource(7), ItemSource(pack_items(["a", "b", "c"]))], ids=["cycles", "items"])
def test_what_is_in_no_file_is_a_source_too(source: Source) -> None:
    """So that nobody has to ask what a packet is of before he handles it."""
    assert isinstance(source, Generated) and source.file is None and not source.is_far
    assert source.covering(1, 3) == (1, 3) and source.numbers(1, 3) is None and source.weight(["x"]) == 0.0
    assert len(source.events(1, 3)) == 2
    source.check_unchanged()
    with pytest.raises(AnalysisError, match="no branch x: these entries are in no file"):
        source.array("x", 1, 3)
