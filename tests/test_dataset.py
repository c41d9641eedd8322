"""Datasets: every form in which physicists name their files means what it seems to mean."""

from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
from eventmill.packetizer.dataset import Dataset
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import File
from hypothesis import given
from hypothesis import strategies as st


def same(path: str) -> list[str]:
    """A list of files for which every path is a file."""
    return [path]


@pytest.mark.parametrize(
    "path", ["a.root", "root://host:1094//store/a.root", "/data/*.root", "https://host/a.root?x=1"]
)
def test_a_path_is_one_file_of_an_unnamed_dataset(path: str) -> None:
    assert Dataset(path, tree="Events").files == (File(path, "Events"),)


def test_path_objects_are_paths() -> None:
    assert Dataset([PurePosixPath("/data/a.root")]).files == (File("/data/a.root"),)


@pytest.mark.parametrize(
    ("given", "path", "tree"),
    [
        ("a.root:Events", "a.root", "Events"),
        ("a.root:dir/Events;2", "a.root", "dir/Events;2"),
        ("root://host:1094//x/a.root:Events", "root://host:1094//x/a.root", "Events"),
        ("root://host:1094//x/*.root:Events", "root://host:1094//x/*.root", "Events"),
        ("root://host:1094//x/*:Events", "root://host:1094//x/*", "Events"),
        ("root://host:1094//x/a.root", "root://host:1094//x/a.root", "other"),
        ("a.root:b/c.root", "a.root:b/c.root", "other"),
    ],
)
def test_uproots_colon_names_the_tree_and_a_port_does_not(given: str, path: str, tree: str) -> None:
    assert Dataset(given, tree="other").files == (File(path, tree),)


def test_several_trees_take_each_file_once_for_each() -> None:
    dataset = Dataset(["a.root", "b.root:own"], tree=("sig", "bkg"))
    assert [(file.path, file.tree) for file in dataset.files] == [
        ("a.root", "sig"),
        ("a.root", "bkg"),
        ("b.root", "own"),
    ]


def test_named_datasets_keep_order_names_and_metadata() -> None:
    dataset = Dataset(
        {"data": ["a.root", "b.root"], "ttbar": "tt/*.root"},
        tree="Events",
        metadata={"year": 2012, "ttbar": {"xsec": np.float64(831.8)}},
    )
    assert [file.dataset for file in dataset.files] == ["data", "data", "ttbar"]
    assert dataset.files[0].metadata == {"year": 2012}
    assert dataset.files[2].metadata == {"year": 2012, "xsec": 831.8}
    assert repr(dataset) == "<Dataset of 3 files: data (2), ttbar (1)>"
    assert len(dataset) == 3


def test_a_dict_of_paths_names_trees_as_in_uproot() -> None:
    assert Dataset({"a.root": "Events", "b.root": None}).files == (File("a.root", "Events"), File("b.root"))


@pytest.mark.parametrize("name", ["/DYJetsToLL/Run3/NANOAODSIM", "ttbar 2017", "a/b"])
def test_names_of_datasets_may_have_slashes(name: str) -> None:
    assert Dataset({name: "x.root"}).files == (File("x.root", dataset=name),)


def test_a_coffea_fileset_with_all_it_can_say() -> None:
    fileset = {
        "dy": {
            "files": {
                "a.root": {"object_path": "Events", "steps": [[0, 50], [50, 100]], "num_entries": 100, "uuid": "x"},
                "b.root": "Events",
            },
            "metadata": {"is_mc": True},
        },
        "data": {"files": ["c.root", "d.root"], "treename": "T", "metadata": None},
    }
    assert Dataset(fileset).files == (
        File("a.root", "Events", "dy", 100, {"is_mc": True}),
        File("b.root", "Events", "dy", None, {"is_mc": True}),
        File("c.root", "T", "data"),
        File("d.root", "T", "data"),
    )


@pytest.mark.parametrize("steps", [[[0, 50]], [[10, 100]], [[0, 40], [50, 100]]])
def test_steps_that_leave_entries_out_are_refused(steps: list[list[int]]) -> None:
    """Counting fewer entries than somebody asked for, or more, is a wrong result."""
    with pytest.raises(DatasetError, match="leave entries out"):
        Dataset({"dy": {"files": {"a.root": {"object_path": "Events", "steps": steps, "num_entries": 100}}}})


def test_expanding_keeps_order_and_what_is_known() -> None:
    dataset = Dataset(
        {"x": {"files": {"*.root": "T", "z.root": {"object_path": "T", "num_entries": 7}}}}, max_entries=9
    )
    names = {"*.root": ["a.root", "b.root"], "z.root": ["z.root"]}
    expanded = dataset.expanded(names.__getitem__)
    assert expanded.files == (File("a.root", "T", "x"), File("b.root", "T", "x"), File("z.root", "T", "x", 7))
    assert expanded.max_entries == 9


def test_a_file_twice_is_refused() -> None:
    """Its events would be counted twice; overlapping patterns are how that happens."""
    with pytest.raises(DatasetError, match="twice"):
        Dataset({"one": "a.root", "two": "a.root"})
    dataset = Dataset(["a*.root", "ab.root"], tree="T")
    with pytest.raises(DatasetError, match=r"ab\.root with tree T is in the dataset twice"):
        dataset.expanded(lambda path: ["aa.root", "ab.root"] if "*" in path else [path])


def test_a_file_with_two_trees_is_fine() -> None:
    assert len(Dataset("a.root", tree=["s", "b"]).expanded(same)) == 2


def test_a_pattern_without_files_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"no file fits x/\*\.root"):
        Dataset("x/*.root").expanded(lambda path: [])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "names no files"),
        ({}, "names no files"),
        ({"dy": []}, "names no files"),
        ("", "expected a path"),
        ([1], "expected a path, not 1"),
        (3, "expected a path, a list of paths or a dict, not 3"),
        ({"dy": {"files": 3}}, "a dict of dataset 'dy', not 3"),
        ({"a.root": 3}, "name of a tree"),
        ({"dy": {"files": {"a.root": {"num_entries": -1}}}}, "num_entries is -1"),
    ],
)
def test_other_forms_are_refused_in_words(files: object, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        Dataset(files)  # type: ignore[arg-type]


def test_metadata_is_checked() -> None:
    """It travels with every packet."""
    with pytest.raises(DatasetError, match="numbers"):
        Dataset("a.root", metadata={"weights": [1, 2]})
    with pytest.raises(DatasetError, match="dataset of that name"):
        Dataset({"dy": "a.root"}, metadata={"ttbar": {"xsec": 1.0}})
    with pytest.raises(DatasetError, match="max_entries"):
        Dataset("a.root", max_entries=-1)


@given(st.dictionaries(st.text("abc/ ", min_size=1), st.sets(st.text("xyz/.", min_size=1), min_size=1), min_size=1))
def test_files_survive_the_wire_and_none_is_lost(spec: dict[str, set[str]]) -> None:
    dataset = Dataset(
        {name: [f"{name}#{path}" for path in sorted(paths)] for name, paths in spec.items()}, tree=["T", "U"]
    )
    assert len(dataset) == 2 * sum(len(paths) for paths in spec.values())
    wire = msgspec.msgpack.encode(list(dataset.files))
    assert tuple(msgspec.msgpack.decode(wire, type=list[File])) == dataset.files


@pytest.mark.parametrize(("given", "entries"), [(1e5, 100_000), (np.int64(10), 10), (0, 0), (None, None)])
def test_a_limit_is_any_whole_number(given: Any, entries: int | None) -> None:
    assert Dataset("a.root", max_entries=given).max_entries == entries


@pytest.mark.parametrize("given", [-1, 1.5, "10", True, 2**70, [1]])
def test_a_limit_that_is_no_number_of_entries_is_refused_at_once(given: Any) -> None:
    """Before it reaches the master."""
    with pytest.raises(DatasetError, match="max_entries is"):
        Dataset("a.root", max_entries=given)


def test_what_cannot_travel_is_refused_at_once() -> None:
    with pytest.raises(DatasetError, match="64 bits"):
        Dataset("a.root", metadata={"n": 2**80})
    with pytest.raises(DatasetError, match="no dataset of that name"):
        Dataset({"a": "a.root"}, metadata={"b": {"xs": 1.0}})
    with pytest.raises(DatasetError, match="tree is 5"):
        Dataset("a.root", tree=5)
