"""`std::variant` in RNTuples: uproot mixes clusters up. File and values are ROOT's (`write_variants.py`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader
from eventmill.reading.rntuple.clusters import joined

FILE = Path(__file__).parents[1] / "data" / "variants.root"
ENTRIES, LATE_FROM = 40, 15
CUTS = [0, 3, 9, 10, 11, 13, 19, 20, 27, 30, 39, 40]
"""Before, at and behind the edges of clusters, which have 10 entries each."""


def number(i: int) -> float | int:
    return i + 0.5 if i % 3 == 0 else i


def wide(i: int) -> object:
    return [9007199254740993 + i, i + 0.25, (i % 7) * chr(ord("a") + i % 26), (i % 3) * [i + 0.5]][i % 4]


def many(i: int) -> list[float | int]:
    return [number(10 * i + k) for k in range(i % 3)]


EXPECTED = {
    "one": number,
    "many": many,
    "deep": lambda i: [many(i)[: k + 1] for k in range(i % 3)],
    "pair": lambda i: [number(2 * i), number(i + 1)],
    "both": lambda i: (number(i), i),
    "any": wide,
    "late": lambda i: number(i) if i >= LATE_FROM else None,
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(str(FILE), "variants")
    yield reader
    reader.close()


ALL = list(itertools.combinations(CUTS, 2))
SOME = [*itertools.pairwise(CUTS), *zip(CUTS, CUTS[3:], strict=False), (CUTS[0], CUTS[-1])]
"""Within a cluster, across an edge, and the whole."""


@pytest.mark.parametrize("ranges", [SOME, pytest.param(ALL, marks=pytest.mark.nightly)], ids=["some", "all"])
@pytest.mark.parametrize("name", list(EXPECTED))
def test_every_range_has_its_own_values(reader: Reader, name: str, ranges: list[tuple[int, int]]) -> None:
    """Entries 10 to 12 of `one` were 1, 2, 0.5 where they are 10, 11, 12.5: the values of the first cluster."""
    for start, stop in ranges:
        assert reader.array(name, start, stop).tolist() == [EXPECTED[name](i) for i in range(start, stop)], (
            start,
            stop,
        )


def test_the_type_does_not_depend_on_the_range(reader: Reader) -> None:
    """Put together by `ak.concatenate`, 9007199254740997 and 5.25 would become floats both, one of them another number."""
    for name in EXPECTED:
        assert reader.array(name, 0, 40).type.content == reader.array(name, 0, 10).type.content, name


def test_events_that_a_function_sees(reader: Reader) -> None:
    events = reader.events(5, 35)
    assert events.one.tolist() == [number(i) for i in range(5, 35)]
    assert events.many.tolist() == [many(i) for i in range(5, 35)]
    assert "some" not in events.fields, "awkward has no optional variants: this takes nothing of the others away"


def test_what_cannot_be_read_rightly_is_refused_in_words(reader: Reader) -> None:
    with pytest.raises(DatasetError, match="in its branch late_pair: an array of std::variant that was added"):
        reader.array("late_pair", 0, 40)
    with pytest.raises(DatasetError, match="cannot be read in its branch some"):
        reader.array("some", 0, 40)
    with pytest.raises(DatasetError, match="cannot be used in a kernel"):
        reader.read(["one"], 0, 40)


def test_layouts_are_joined_in_their_form() -> None:
    """Strings, options, records and fixed sizes beside variants, cut anywhere."""
    array = ak.Array([[{"a": "xy", "b": [None, 1.5]}], [], [{"a": "", "b": [2.5]}, {"a": "z", "b": []}], []])
    layout = ak.zip({"lists": array, "fixed": ak.to_regular(np.arange(12).reshape(4, 3))}, depth_limit=1).layout
    for cut in range(5):
        whole = joined([layout[:cut], layout[cut:]])
        assert ak.Array(whole).tolist() == ak.Array(layout).tolist()
        assert whole.form.type == layout.form.type
