"""What a TTree says of itself, read in one pass: as uproot reads it, or not at all."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.cli.sample import write_sample
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import Branch
from eventmill.reading.ttree.baskets import Baskets
from eventmill.reading.ttree.branch_kinds import Group
from eventmill.reading.ttree.branches import by_name, counts_of_clones
from eventmill.reading.ttree.nested_shapes import shape_of
from eventmill.reading.ttree.streamer_parser import Tree, parsed
from hypothesis import example, given
from hypothesis import strategies as st
from skhep_testdata import data_path
from uproot.deserialization import DeserializationError

TREES = 180
"""Trees in the test files that are read in one pass; fewer would mean that it has become useless."""

KINDS = (
    # versions of ROOT, with leaves of all types; how a file is compressed is of no matter here
    *(f"sample-5.{version}-zlib" for version in
      ("23.02", "24.00", "25.02", "26.00", "27.02", "28.00", "29.02", "30.00")),
    "HZZ", "sample-6.08.04-zlib", "sample-6.10.05-zlib", "sample-6.14.00-zlib", "sample-6.16.00-zlib",
    "sample-6.18.00-zlib", "sample-6.20.04-zlib", "empty",
    # numbers, several in a branch, in few bits, and lists of them
    "leaflist", "issue-172", "issue38a", "small-flat-tree", "demo-double32", "double32-float16", "issue49", "issue60",
    "small-dy-withoffsets", "stl_containers", "vectorVectorDouble", "issue74",
    # baskets in the tree itself, and branches that are shorter than it
    "issue187", "issue232", "issue327", "issue30", "issue335",
    # objects, split and not, collections of them and TClonesArrays, in objects too
    "HZZ-objects", "issue213", "issue243", "issue31", "issue367", "issue283", "issue390", "issue429", "issue452", "issue475",
    "issue513", "issue57", "issue64", "small-evnt-tree-fullsplit", "small-evnt-tree-nosplit", "issue510b",
    "issue408", "issue433-splitlevel2", "issue443", "issue465-flat",
    # a tree of ROOT 3; several trees, in folders, in several cycles; a writer whose version is no version
    "from-geant4", "nesteddirs", "issue485", "issue96", "issue412",
)  # fmt: skip
"""Files that are looked at every time; the others, under the marker `interop`, are more of the same kinds, some with so many
branches that uproot needs seconds for them."""


def description(tree_key: Any) -> tuple[bytes, int]:
    chunk, _ = tree_key.get_uncompressed_chunk_cursor()
    return bytes(chunk.raw_data), tree_key.fKeylen


def trees(path: str) -> list[tuple[str, Tree]]:
    """The trees of a file that are read in one pass."""
    found = []
    with uproot.open(path) as file:
        for name, kind in file.classnames(cycle=False).items():
            if kind == "TTree" and (tree := parsed(*description(file.key(name)))) is not None:
                found.append((name, tree))
    return found


def check_like_uproot(path: str, name: str, tree: Tree) -> None:
    with uproot.open(path) as file:
        expected = file[name]
        assert tree.entries == expected.num_entries
        branches = by_name(expected)
        assert list(tree.branches) == list(branches)
        assert tree.has_aliases == bool(expected.aliases)
        slow = Baskets(file.file.source, branches)
        clones = counts_of_clones(branches)
        for branch_name, branch in tree.branches.items():
            if isinstance(branch, Group):
                assert branches[branch_name].branches
            if not isinstance(branch, Branch):
                continue
            if branch.depth > 1:
                nested = shape_of(branches[branch_name].interpretation)
                assert nested is not None and (nested.depth, nested.stored) == (branch.depth, branch.stored)
                assert np.array_equal(branch.edges, branches[branch_name].entry_offsets) and not branch.embedded
                continue
            if branch.coding is not None:  # uproot's interpretation has the numbers in a form of its own
                kind = branches[branch_name].interpretation
                assert (kind.content if branch.is_list else kind).to_dtype.base == branch.native, branch_name
                continue
            other = slow.branch(branch_name)
            assert other is not None
            by_counter = () if branch.counter == clones.get(branch_name, "") != "" else ("counter", "table")
            for field in ("native", "shape", "is_list", "header", "spans", *by_counter):
                assert getattr(branch, field) == getattr(other, field), (name, branch_name, field)
            assert np.array_equal(branch.edges, other.edges) and len(branch.embedded) == len(other.embedded)
            for (data, table), (right, offsets) in zip(branch.embedded, other.embedded, strict=True):
                assert data == right and (table is None) == (offsets is None or not branch.table), branch_name
                assert table is None or offsets is None or np.array_equal(table, offsets[: len(table)]), branch_name


def compared(paths: Iterable[Path]) -> int:
    """How many trees of these files are read in one pass, each as uproot reads it."""
    count = 0
    for path in paths:
        try:
            found = trees(str(path))
        except (OSError, ValueError, NotImplementedError, DeserializationError):
            continue  # a file that uproot cannot open
        for tree_name, tree in found:
            check_like_uproot(str(path), tree_name, tree)
            count += 1
    return count


def test_trees_of_each_kind_are_as_uproot_says() -> None:
    """Of the many ways in which trees have been written in twenty years, none is misread."""
    for name in KINDS:
        assert compared([Path(data_path(f"uproot-{name}.root"))]) > 0, name


@pytest.mark.interop
def test_trees_of_all_test_files_are_as_uproot_says() -> None:
    assert compared(sorted(Path(data_path("uproot-HZZ.root")).parent.glob("*.root"))) >= TREES


def test_the_sample_is_read_in_one_pass(tmp_path: Path) -> None:
    (path,) = write_sample(tmp_path, events=3000, files=1)
    ((name, tree),) = trees(str(path))
    check_like_uproot(str(path), name, tree)
    assert all(tree.branches.values())
    reader = Reader(str(path))
    columns, expected = reader.read(["Muon_pt", "MET_pt"], 100, 2900), reader.names["Muon_pt"].array()[100:2900]
    assert ak.array_equal(layout_of(columns["Muon_pt"]), expected)
    assert set(reader.columns.forms()) == set(reader.names) == set(tree.branches)


@functools.cache
def example_tree() -> tuple[bytes, int]:
    with uproot.open(data_path("uproot-Zmumu.root")) as file:
        return description(file.key("events"))


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=4), st.integers(0, 2**20))
@example([], 2**20)
def test_damage_is_never_more_than_an_unusual_tree(changes: list[tuple[int, int]], cut: int) -> None:
    """A description that makes no sense must not raise, hang or take memory: uproot is to say what is wrong with it."""
    data, offset = example_tree()
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(data)] = value
    tree = parsed(bytes(damaged[: cut % (len(data) + 1)]) if cut < 2**20 else bytes(damaged), offset)
    assert tree is None or isinstance(tree.entries, int)


def test_a_dimension_of_any_size_is_an_unusual_branch_at_most(tmp_path: Path) -> None:
    name = f"x[{10**24}]"
    with uproot.recreate(tmp_path / "odd.root") as file:
        file.mktree("events", {name: np.float32, "y": np.float32})
    with uproot.open(tmp_path / "odd.root") as file:
        tree = parsed(*description(file.key("events")))
    assert tree is not None and tree.branches[name] is None and tree.branches["y"] is not None


def test_a_tree_of_root_3_is_read_in_one_pass() -> None:
    """uproot has no model of it, and makes one of the file's description, which takes longer than all of the reading."""
    path = data_path("uproot-from-geant4.root")
    assert [name for name, _ in trees(path)] == ["Details", "HitStrips", "GeneratedTracks", "TrackedRays"]
    reader = Reader(path, "TrackedRays")
    assert reader.entries == 224 and len(reader.names) == 5
    theirs = {name: reader.names[name].array().to_list() for name in reader.names}
    assert {name: reader.array(name, 0, 224).to_list() for name in reader.names} == theirs
    told = Reader(path, "TrackedRays", layout=reader.news())
    assert told.events(0, 224).to_list() == reader.events(0, 224).to_list() and "directory" not in vars(told.stored)


def test_a_tree_of_another_version_is_left_to_uproot() -> None:
    """As of the one behind 20, which is to come."""
    data, offset = example_tree()
    assert data[4:6] == b"\0\x13" or data[4:6] == b"\0\x14"
    assert parsed(data, offset) is not None
    assert parsed(data[:4] + b"\0\x15" + data[6:], offset) is None


@pytest.mark.parametrize("name", ["nothing", "Events;7"])
def test_no_such_tree_is_said_as_before(tmp_path: Path, name: str) -> None:
    (path,) = write_sample(tmp_path, events=10, files=1)
    with pytest.raises(Exception, match=f"has no tree {name}"):
        Reader(str(path), name)
