"""`Float16_t` and `Double32_t` in branches of their own are read without uproot, as the file says that they are stored.

How many bits they have is in the titles of leaves or, for members of split objects, where the file describes its classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import Branch, packed, unpacked
from eventmill.reading.ttree.class_members import Members
from eventmill.reading.ttree.packed_floats import Coding
from skhep_testdata import data_path

DATA = Path(__file__).parents[1] / "data"
FILES = (
    (str(DATA / "experiments" / "AliESDs.root"), "esdTree", 5),
    (data_path("uproot-issue187.root"), "fTreeV0", 37),
    (data_path("uproot-double32-float16.root"), "tree", 6),
    (str(DATA / "odd_trees.root"), "members", 5),
)


@pytest.fixture(params=FILES, ids=lambda file: file[1])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    path, tree, few = request.param
    reader = Reader(path, tree)
    assert len(coded(reader)) >= few
    yield reader
    reader.close()


def coded(reader: Reader) -> dict[str, Branch]:
    assert reader.stored.described is not None
    branches = reader.stored.described.branches.items()
    return {name: branch for name, branch in branches if isinstance(branch, Branch) and branch.coding is not None}


def test_they_are_read_at_any_cut_as_uproots_baskets_have_them(reader: Reader) -> None:
    """And by who was told the layout, who opens no metadata."""
    names = list(coded(reader))
    told = Reader(reader.path, reader.tree, layout=reader.news())
    n = reader.entries
    for start, stop in ((0, n), (n // 3, n // 3), (n // 3, n - n // 4)):
        ours, again = reader.read(names, start, stop), told.read(names, start, stop)
        for name in names:
            values = ak.Array(layout_of(ours[name]))
            theirs = reader.names[name].array(entry_start=start, entry_stop=stop)
            assert ak.array_equal(values, theirs, equal_nan=True, check_regular=False), name
            assert ak.array_equal(values, ak.Array(layout_of(again[name])), equal_nan=True)
    assert "directory" not in vars(told.stored)
    told.close()


def test_forms_are_those_of_the_values(reader: Reader) -> None:
    for name, branch in coded(reader).items():
        assert str(branch.native) in reader.types([name])[name]


@pytest.mark.parametrize(
    "coding", [Coding(0.0, 0.0, 99), Coding(0.0, 0.0, -1), Coding(float("nan"), 1.0, 0), Coding(0.0, float("inf"), 0)]
)
def test_a_layout_with_bits_that_cannot_be_is_refused(coding: Coding) -> None:
    reader = Reader(*FILES[0][:2])
    name, branch = next(iter(coded(reader).items()))
    with pytest.raises(ValueError, match="unknown type"):
        unpacked(packed({name: replace(branch, coding=coding)}))


def test_damaged_descriptions_of_classes_say_nothing() -> None:
    """uproot is asked then, and says what is wrong."""
    assert Members(lambda: None).of("Track", 1, 0) is None
    rng = np.random.default_rng(1)
    for size in (0, 1, 40, 4000):
        assert Members(lambda size=size: (rng.bytes(size), 64)).of("Track", 1, 0) is None
