"""Trees of split objects are described without uproot: each branch as uproot has it, and the values are uproot's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import Branch
from eventmill.reading.ttree.baskets import Baskets
from eventmill.reading.ttree.branch_kinds import Group
from eventmill.reading.ttree.branches import by_name
from eventmill.reading.ttree.streamer_parser import Tree
from skhep_testdata import data_path

CLONES = str(Path(__file__).parents[1] / "data" / "clones.root")
TREES = {
    "clones": (CLONES, "Delphes"),
    "Delphes": (data_path("uproot-issue513.root"), "Delphes"),
    "KM3NeT": (data_path("uproot-issue433-splitlevel2.root"), "E"),
    "Geant4": (data_path("uproot-issue371.root"), "Beam"),
    "TClonesArrays in objects": (data_path("uproot-issue213.root"), "T"),
    "vectors": (data_path("uproot-HZZ-objects.root"), "events"),
    "ROOT 5.23": (data_path("uproot-sample-5.23.02-zlib.root"), "sample"),
    "ROOT 5.25": (data_path("uproot-sample-5.25.02-zlib.root"), "sample"),
    "ROOT 5.28": (data_path("uproot-issue64.root"), "events/events"),
    "ROOT 5.34": (data_path("uproot-issue431.root"), "E"),
    "ROOT 6.10": (data_path("uproot-issue187.root"), "fTreeV0"),
}

Readers = Callable[[str], tuple[Reader, Reader]]

REFERENCED = [f"{kind}.fBits" for kind in ("Particle", "Track", "EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron")]
"""In the Delphes file: each object that is referred to has two bytes more in it."""


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    """Of one of the trees a reader, and another one that was told what the first has found; uproot describes a tree but
    once, which takes a second of some."""

    @functools.cache
    def opened(which: str) -> tuple[Reader, Reader]:
        first = Reader(*TREES[which])
        both = first, Reader(*TREES[which], layout=first.news())
        to_close.extend(both)
        return both

    to_close: list[Reader] = []
    yield opened
    for reader in to_close:
        reader.close()


@pytest.mark.parametrize("which", TREES)
def test_each_branch_is_what_uproot_takes_it_for(readers: Readers, which: str) -> None:
    """Its name and place, type, shape and baskets; what the description does not surely tell is left open."""
    reader, _ = readers(which)
    tree, branches = reader.stored.described, by_name(reader.stored.tree)
    assert isinstance(tree, Tree) and list(tree.branches) == list(branches)
    baskets = Baskets(reader.stored.source, branches)
    for name, described in tree.branches.items():
        theirs = baskets.branch(name)
        if isinstance(described, Group):
            assert theirs is None and branches[name].branches
        elif isinstance(described, Branch) and described.coding is not None:
            assert theirs is None and described.coding.native == described.native
        elif isinstance(described, Branch):
            assert theirs is not None
            for attribute in ("native", "shape", "header", "is_list", "spans"):
                assert getattr(described, attribute) == getattr(theirs, attribute), name
            assert np.array_equal(described.edges, theirs.edges)


@pytest.mark.parametrize("which", TREES)
@pytest.mark.parametrize("cut", [(0, 1.0), (0.3, 0.3), (0.3, 0.8)])
def test_the_values_are_uproots_at_any_cut(readers: Readers, which: str, cut: tuple[float, float]) -> None:
    first, told = readers(which)
    assert isinstance(first.stored.described, Tree)
    names = [name for name, branch in first.stored.described.branches.items() if isinstance(branch, Branch)]
    names = [name for name in names if name not in REFERENCED]
    start, stop = (round(first.entries * part) for part in cut)
    ours, again = first.read(names, start, stop), told.read(names, start, stop)
    assert "directory" not in vars(told.stored), "uproot has not opened it"
    for name in names:
        values = ak.Array(layout_of(ours[name]))
        theirs = first.names[name].array(entry_start=start, entry_stop=stop)
        assert ak.array_equal(values, theirs, equal_nan=True, check_parameters=False), name
        assert ak.array_equal(values, ak.Array(layout_of(again[name])), equal_nan=True)


def test_a_tree_of_split_objects_is_told_with_its_groups() -> None:
    """Neither names nor forms nor the boundaries of baskets have uproot open it, where all branches are described."""
    first = Reader(CLONES, "Delphes")
    told = Reader(CLONES, "Delphes", layout=first.news())
    assert list(told.names) == list(first.names) and told.columns.forms() == first.columns.forms()
    assert told.layout() == first.layout() and "directory" not in vars(told.stored)
    assert told.events(0, 200).Jet.fX.to_list() == first.events(0, 200).Jet.fX.to_list()


@pytest.mark.parametrize("name", REFERENCED)
def test_bits_of_objects_that_are_referred_to(readers: Readers, name: str) -> None:
    """Each such object has two bytes more, and an identifier; uproot takes all bytes for bits."""
    reader, _ = readers("Delphes")
    identifiers = reader.events(0, reader.entries)[name.replace("fBits", "fUniqueID")]
    for start, stop in [(0, reader.entries), (2, 5), (4, 4)]:
        bits = ak.Array(layout_of(reader.read([name], start, stop)[name]))
        assert ak.num(bits).to_list() == ak.num(identifiers[start:stop]).to_list()
        assert ((bits & 0x10) > 0).to_list() == (identifiers[start:stop] > 0).to_list(), "kIsReferenced"
        assert ak.all(bits & 0x02000000, axis=None), "kNotDeleted"
        assert reader.events(start, stop)[name].to_list() == bits.to_list()
    assert ak.any(bits_of(reader, name) & 0x10, axis=None)


def bits_of(reader: Reader, name: str) -> ak.Array:
    return reader.events(0, reader.entries)[name]
