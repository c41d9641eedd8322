"""Datasets: every form in which physicists name their files means what it seems to mean."""

import tracemalloc
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
from eventmill.dataset.dataset import Dataset
from eventmill.dataset.masks import Mask
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.file_blocks import blocks_of, encode_files
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


@pytest.mark.parametrize(
    ("steps", "entries", "listed"),
    [
        ([[0, 50]], 100, [0, 50]),
        ([[10, 100]], 100, [10, 100]),
        ([[0, 40], [50, 100]], 100, [0, 40, 50, 100]),
        ([[50, 100], [0, 50]], 100, None),
        ([[0, 50], [50, 100]], None, [0, 100]),
        ([[0, 0]], 0, None),
        ([], 100, []),
        ([], None, []),
        ([], 0, None),
        (None, 100, None),
    ],
)
def test_steps_that_leave_entries_out_are_an_entry_list(
    steps: list[list[int]] | None, entries: int | None, listed: list[int] | None
) -> None:
    """Counting fewer entries than somebody asked for, or more, is a wrong result."""
    about = {"object_path": "Events", "steps": steps, "num_entries": entries}
    (file,) = Dataset({"dy": {"files": {"a.root": about}}}).files
    assert (file.listed, file.entries) == (listed, entries)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([[0, 50], [40, 60]], "the steps of a.root are .*none of them twice"),
        ([[5, 3]], r"the steps of a.root are \[\[5, 3\]\]"),
        ([[0, 1, 2]], "they must be"),
        (7, "they must be"),
        ([[0, 200]], "the steps of a.root go to entry 200, but its num_entries is 100"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        Dataset({"dy": {"files": {"a.root": {"steps": steps, "num_entries": 100}}}})


def test_expanding_keeps_order_and_what_is_known() -> None:
    dataset = Dataset(
        {"x": {"files": {"*.root": "T", "z.root": {"object_path": "T", "num_entries": 7}}}}, max_entries=9
    )
    names = {"*.root": ["a.root", "b.root"], "z.root": ["z.root"]}
    expanded = dataset.expanded(names.__getitem__)
    assert expanded.files == (File("a.root", "T", "x"), File("b.root", "T", "x"), File("z.root", "T", "x", 7))
    assert expanded.max_entries == 9


def test_a_dataset_with_patterns_keeps_all_that_was_said_of_it() -> None:
    """`chunk` was lost with the pattern; what is added to datasets one day is looked at, too."""
    options = {"chunk": (10, 20), "mask": {1: [[1, 2]]}, "aliases": {"ht": "2 * x"}, "defaults": {"y": 1.0}}
    said = Dataset("*.root", "T", max_entries=9, **options)
    plain = Dataset(["a.root", "b.root"], "T", max_entries=9, **options)
    expanded = said.expanded(lambda path: ["a.root", "b.root"])
    assert expanded.chunk == (10, 20)
    assert {**vars(expanded), "_lists": None, "_friends": None} == {**vars(plain), "_lists": None, "_friends": None}


def test_a_file_twice_is_refused() -> None:
    """Its events would be counted twice; overlapping patterns are how that happens."""
    with pytest.raises(DatasetError, match="in dataset 'one' twice"):
        Dataset({"one": ["a.root", "a.root"], "two": "a.root"})
    assert [file.dataset for file in Dataset({"one": "a.root", "two": "a.root"}).files] == ["one", "two"]
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
    for odd, words in [
        ({"weights": np.arange(2)}, r"metadata 'weights' is array.*words, numbers and flags can travel"),
        ({"sf": {"id": {1, 2}}}, r"metadata 'sf'\['id'\] is"),
        ({"years": [{2016: 2**63}]}, r"metadata 'years'\[0\]\[2016\] is .*64 bits"),
        ({"sf": {b"id": 1}}, "has the key b'id'"),
    ]:
        with pytest.raises(DatasetError, match=words):
            Dataset({"dy": "a.root"}, metadata={"dy": odd})
    with pytest.raises(DatasetError, match="dataset of that name"):
        Dataset({"dy": "a.root"}, metadata={"ttbar": {"xsec": 1.0}})
    with pytest.raises(DatasetError, match="max_entries"):
        Dataset("a.root", max_entries=-1)


def test_lists_and_dicts_of_metadata_survive_the_wire() -> None:
    """Trigger lists and scale factors of a fileset; numpy's numbers are Python's, tuples are lists."""
    about = {"triggers": ("IsoMu24", "Mu50"), "sf": {"id": np.float32(0.5), 2016: [1, None, True]}, "era": "B"}
    dataset = Dataset({"dy": {"files": ["a.root"], "metadata": about}})
    files = msgspec.msgpack.decode(msgspec.msgpack.encode(list(dataset.files)), type=list[File])
    assert files[0].metadata == {
        "triggers": ["IsoMu24", "Mu50"],
        "sf": {"id": 0.5, 2016: [1, None, True]},
        "era": "B",
    }


def test_what_coffea_describes_files_with_is_a_dataset() -> None:
    """Its specifications, and the chunks that its runner has made: some of the entries, maybe in several pieces."""
    specs = pytest.importorskip("coffea.dataset_tools.filespec")
    from coffea.processor.executor import WorkItem

    plain = {
        "A": {
            "files": {
                "a.root": {"object_path": "T", "steps": [[0, 5], [5, 9]], "num_entries": 9, "uuid": "u"},
                "b.root": "T",
            },
            "metadata": {"triggers": ["one"]},
        },
        "B": {"files": {"a.root": {"object_path": "T", "steps": [[2, 4]]}}},
    }
    right = Dataset(plain).files
    assert [(file.path, file.tree, file.entries, file.listed) for file in right] == [
        ("a.root", "T", 9, None),
        ("b.root", "T", None, None),
        ("a.root", "T", None, [2, 4]),
    ]
    assert Dataset(specs.DataGroupSpec(plain)).files == right
    assert Dataset({name: specs.DatasetSpec(**part) for name, part in plain.items()}).files == right
    chunks = [
        WorkItem(name, "a.root", "T", start, stop, b"", {"triggers": ["one"]})
        for name, start, stop in [("A", 0, 5), ("B", 2, 4), ("A", 7, 9), ("C", 0, 0)]
    ]
    for made in (chunks, iter(chunks)):
        assert [(file.dataset, file.listed, file.metadata) for file in Dataset(made).files] == [  # type: ignore[arg-type]
            ("A", [0, 5, 7, 9], {"triggers": ["one"]}),
            ("B", [2, 4], {"triggers": ["one"]}),
            ("C", [], {"triggers": ["one"]}),
        ]
    of_parquet = Dataset(specs.DataGroupSpec({"A": {"files": {"a.parquet": None}}}))
    assert [(it.path, it.tree) for it in of_parquet.files] == [("a.parquet", "")]


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


# --- entry lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ([7, 3, 4], [3, 5, 7, 8]),
        (np.array([7, 3, 4], dtype="u2"), [3, 5, 7, 8]),
        ({3, 4, 7}, [3, 5, 7, 8]),
        ([3.0, 4.0, 7e0], [3, 5, 7, 8]),
        (range(3, 9, 2), [3, 4, 5, 6, 7, 8]),
        (range(9, 4, -1), [5, 10]),
        (slice(5), [0, 5]),
        ([range(10, 20), slice(2), range(20, 22)], [0, 2, 10, 22]),
        ([range(0, 4, 2), slice(9, 10)], [0, 1, 2, 3, 9, 10]),
        ([], []),
        (np.array([]), []),
        (range(0), []),
        (slice(None), None),
    ],
)
def test_an_entry_list_in_any_form(given: Any, runs: list[int] | None) -> None:
    assert Dataset("a.root", entries=given).files[0].listed == runs


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([3, 4, 3], "the entry list cannot be used: entry 3 is there twice"),
        ([range(5), range(4, 6)], "entry 4 is there twice"),
        ([range(0, 5, 2), range(4, 6)], "entry 4 is there twice"),
        ([3, -1], "entry -1 is negative"),
        (range(-2, 5), "negative entries"),
        (slice(3, None), "has no end"),
        ([1.5, 2], "1.5 is no whole number"),
        ([float("nan")], "nan is no whole number"),
        (np.array([True, False]), "np.flatnonzero"),
        (["one"], "whole numbers"),
        ([2**70], "whole numbers"),
        (np.zeros((2, 2)), "2 dimensions"),
        (5, "cannot be used"),
        (range(0, 10**9, 2), "more than 1,000,000"),
        (np.arange(0, 2_000_002, 2), "the entry list of a.root has 1,000,001 entries apart from each other"),
        ({"a.root": [3, 3]}, "the entry list of a.root cannot be used: entry 3"),
        ({1: [3]}, "a list for 1, where the path"),
    ],
)
def test_what_is_no_entry_list_is_refused_in_words(given: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        Dataset("a.root", entries=given)


def test_entry_lists_belong_to_files_however_their_paths_are_written() -> None:
    data = Dataset(
        ["a.root", "root://host//b.root"], tree=["s", "t"], entries={"./a.root": [1], "root://host//b.root": [2]}
    )
    assert [(file.path, file.tree, file.listed) for file in data.files] == [
        ("a.root", "s", [1, 2]),
        ("a.root", "t", [1, 2]),
        ("root://host//b.root", "s", [2, 3]),
        ("root://host//b.root", "t", [2, 3]),
    ]
    trees = Dataset("a.root", tree=["s", "t"], entries={"a.root:s": [1], "a.root:t": [2]})
    assert [file.listed for file in trees.files] == [[1, 2], [2, 3]]


def test_entry_lists_of_files_that_a_pattern_stands_for() -> None:
    """Which files there are is known when the dataset is expanded."""
    names = {"/d/*.root": ["/d/a.root", "/d/b.root"], "/d/one": ["/d/one/a.root"]}
    data = Dataset("/d/*.root", entries={"/d/b.root": [5], "/d/a.root": slice(None)})
    assert [file.listed for file in data.expanded(names.__getitem__).files] == [None, [5, 6]]
    assert Dataset("/d/one", entries=[3]).expanded(names.__getitem__).files[0].listed == [3, 4]
    with pytest.raises(DatasetError, match="the entry list is of one file, and the dataset has 2"):
        Dataset("/d/*.root", entries=[3]).expanded(names.__getitem__)
    with pytest.raises(
        DatasetError, match=r"of /d/bb.root, which is not in the dataset; the nearest names are /d/b.root"
    ):
        Dataset("/d/*.root", entries={"/d/bb.root": [5]}).expanded(names.__getitem__)
    about = {"steps": [[0, 5]], "num_entries": 10}
    with pytest.raises(DatasetError, match=r"/d/\*.root has the entry list of one file, and stands for 2"):
        Dataset({"dy": {"files": {"/d/*.root": about}}}).expanded(names.__getitem__)


def test_a_file_without_an_entry_list_among_others_is_not_guessed_at() -> None:
    with pytest.raises(DatasetError, match=r"b.root has no entry list: give range\(0\) for it"):
        Dataset(["a.root", "b.root"], entries={"a.root": [1]})
    with pytest.raises(DatasetError, match=r"a\.root has 2 entry lists"):
        Dataset("a.root:t", entries={"a.root": [1], "a.root:t": [2]})


def test_steps_and_an_entry_list_must_both_allow_an_entry() -> None:
    about = {"steps": [[0, 50]], "num_entries": 100}
    data = Dataset({"dy": {"files": {"a.root": about}}}, entries=range(40, 60))
    assert data.files[0].listed == [40, 50]


# --- masks ----------------------------------------------------------------------------------------------------------------


def test_a_mask_is_a_file_or_what_is_in_it(tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    golden.write_text('{"194050": [[1, 113], [114, 120]], "1": [[5, 5]]}')
    (packed,) = Dataset("a.root", mask=golden).shared_inputs
    assert (packed,) == Dataset("a.root", mask={194050: [(1, 120)], "1": [[5, 5]]}).shared_inputs
    assert Mask.unpack(SharedInputs.unpack(packed).mask).branches == ("run", "luminosityBlock")
    (packed,) = (
        Dataset("*.root", mask=golden, mask_branches=("r", "ls")).expanded(lambda path: ["a.root"]).shared_inputs
    )
    assert Mask.unpack(SharedInputs.unpack(packed).mask).branches == ("r", "ls")
    assert Dataset("a.root").shared_inputs == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"the mask .*golden.json is not JSON: .*line 1"),
        ("[1]", r"the mask .*golden.json is no dict of runs"),
        ('{"run one": [[1, 2]]}', r"golden.json has 'run one' where the number of a run should be"),
        ('{"5": [[1, 2], [7]]}', r"golden.json has \[7\] in run 5, where \[first, last\] section should be"),
        ('{"5": [[9, 2]]}', r"has \[9, 2\] in run 5"),
        ('{"5": [1, 2]}', "has 1 in run 5"),
        ('{"5": [[1.5, 2]]}', "in run 5"),
        ('{"5": 7}', "has 7 in run 5"),
    ],
)
def test_malformed_masks_are_refused_with_file_and_run(tmp_path: Path, content: str, words: str) -> None:
    golden = tmp_path / "golden.json"
    golden.write_text(content)
    with pytest.raises(DatasetError, match=words):
        Dataset("a.root", mask=golden)


def test_other_masks_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"the mask .*none.json cannot be read: No such file"):
        Dataset("a.root", mask=tmp_path / "none.json")
    with pytest.raises(DatasetError, match="the mask is no dict of runs"):
        Dataset("a.root", mask=[1])  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="mask_branches is 'run'"):
        Dataset("a.root", mask={}, mask_branches="run")  # type: ignore[arg-type]


# --- replicas -------------------------------------------------------------------------------------------------------------


def test_a_tuple_is_one_file_with_its_replicas() -> None:
    data = Dataset([("root://a//f.root", "root://b//f.root"), "other.root", (PurePosixPath("/x.root"),)], tree="T")
    assert data.files == (
        File("root://a//f.root", "T", replicas=("root://b//f.root",)),
        File("other.root", "T"),
        File("/x.root", "T"),
    )
    (file,) = Dataset([("/x.root:U", "/y.root:U")], tree="T").files
    assert (file.path, file.tree, file.replicas) == ("/x.root", "U", ("/y.root",))
    assert Dataset({("a.root", "b.root"): "T"}).files == (File("a.root", "T", replicas=("b.root",)),)  # type: ignore[dict-item]


def test_replicas_that_cannot_be_seen_from_here_are_kept() -> None:
    """A worker may see them; but somebody has to."""

    def here(path: str) -> list[str]:
        if path.startswith("/far"):
            raise DatasetError(f"there is no file {path}")
        return [path] if path.endswith(".root") else [f"{path}/a.root", f"{path}/b.root"]

    (file,) = Dataset([("/far/a.root", "/near/a.root")], entries=[4]).expanded(here).files
    assert (file.path, file.replicas, file.listed) == ("/far/a.root", ("/near/a.root",), [4, 5])
    with pytest.raises(DatasetError, match=r"there is no file /far/a\.root"):
        Dataset([("/far/a.root", "/far/b.root")]).expanded(here)
    with pytest.raises(DatasetError, match="/folder stands for 2 files: a replica is one file"):
        Dataset([("/near/a.root", "/folder")]).expanded(here)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("a.root", "b*.root")], r"b\*.root is a pattern: each replica"),
        ([("a.root", "a.root")], "a.root is in the dataset twice"),
        ([("a.root", "b.root"), "b.root"], "b.root is in the dataset twice"),
        ([("a.root:T", "b.root:U")], "a.root and its replica b.root name different trees"),
        ([("a.root", 3)], "expected a path, not 3"),
        ([()], r"expected a path, not \(\)"),
        (("a.root", "b.root"), "for several files give a list; a tuple is one file with its replicas"),
        ({"dy": ("a.root", "b.root")}, "of dataset 'dy': for several files give a list"),
    ],
)
def test_replicas_that_are_none_are_refused_in_words(files: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        Dataset(files)


def test_a_session_holds_little_of_each_of_a_million_files() -> None:
    """Each had an empty list and an empty dict of its own: 330 bytes beside its name, and 660 while it was sent."""
    count = 10_000
    names = [f"root://eos.cern.ch//store/mc/sample_{number // 1000}/nanoaod_{number}.root" for number in range(count)]
    tracemalloc.start()
    try:
        dataset = Dataset(names, tree="Events")
        held, _ = tracemalloc.get_traced_memory()
        listing = encode_files(dataset.expanded(lambda path: [path]).files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200 * count and peak < 350 * count
    assert [path for block in blocks_of(listing) for path in block.path] == names
