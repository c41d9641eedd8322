"""What is in a file, near or far, is found in its metadata, and shown so that thousands of branches can be read."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.dataset.contents import BranchInfo, FileInfo, TreeInfo
from eventmill.display.contents_table import Contents
from eventmill.protocol.errors import DatasetError
from hist import Hist

from benchmarks.range_server import range_server, send_part

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of NanoAOD's kind, another one in a folder, and a histogram."""
    path = tmp_path_factory.mktemp("contents") / "nano.root"
    numbers = ak.unflatten(np.zeros(2000, "f4"), np.resize([0, 2], 2000))
    with uproot.recreate(path, compression=uproot.ZSTD(3)) as file:
        tree = {
            "event": np.arange(2000),
            "Muon": ak.zip({"pt": numbers, "eta": numbers}),
            "MET_pt": np.ones(2000, "f4"),
        }
        file.mktree("Events", tree)
        file.mktree("folder/Runs", {"run": np.zeros(3, "u4")})
        file["cutflow"] = Hist.new.Reg(2, 0, 2).Double()
    return path


def test_trees_branches_types_and_sizes_are_those_of_the_file(path: Path) -> None:
    contents = em.peek(path)
    events, runs = contents.file.trees
    with uproot.open(path) as file:
        expected = [
            (name, branch.typename, branch.compressed_bytes, branch.uncompressed_bytes)
            for name, branch in file["Events"].items()
        ]
        assert contents.file.size == file.file.fEND
    assert [(it.name, it.type, it.stored, it.unpacked) for it in events.branches] == expected
    assert {it.name: it.counter for it in events.branches if it.counter} == {"Muon_pt": "nMuon", "Muon_eta": "nMuon"}
    assert (events.name, events.entries, runs.name, runs.entries) == ("Events", 2000, "folder/Runs", 3)
    assert contents.file.compression == "ZSTD(3)" and contents.file.others == {"TH1D": 1}
    assert f"{path}: " in repr(contents) and "; 2 trees, 1 TH1D\n" in repr(contents)
    lines = repr(contents).splitlines()
    assert any(line.split()[:2] == ["Muon_pt", "float[nMuon]"] for line in lines)


def test_fields_of_an_rntuple_have_the_bytes_of_their_pages() -> None:
    """The sum is that of all pages in the file, and unpacked each value takes what its type does."""
    (tree,) = em.peek(DATA / "experiments" / "edm4hep_rntuple.root").file.trees
    fields = {branch.name: branch for branch in tree.branches}
    assert (tree.kind, tree.entries, len(fields)) == ("ROOT::RNTuple", 300, 32)
    assert fields["EventHeader"].type == "std::vector<edm4hep::EventHeaderData>"
    assert fields["EventHeader.timeStamp"].unpacked == 300 * 8 and fields["EventHeader"].unpacked == 300 * 8
    size = (DATA / "experiments" / "edm4hep_rntuple.root").stat().st_size
    assert 0.9 * size < tree.stored < size


def test_records_names_and_types_that_nobody_reads_are_listed_too() -> None:
    """By the class that the file says, where uproot knows none."""
    trees = {tree.name: tree for tree in em.peek(DATA / "odd_branches.root").file.trees}
    kinds = {branch.name: branch.type for branch in trees["objects"].branches}
    assert (
        kinds["array"] == "TObjArray" and kinds["p4"] == "TLorentzVector" and kinds["map/map.first"] == "std::string[]"
    )
    assert all(tree.branches and not tree.why for tree in trees.values())


def test_only_metadata_are_read_of_a_file_that_is_far(tmp_path: Path) -> None:
    path = tmp_path / "large.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("t", {"x": np.random.default_rng(1).normal(size=400_000)})
    content, sent = path.read_bytes(), []

    def answer(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        sent.append(min(stop, len(content)) - start)
        send_part(request, content, start, stop)

    with range_server(answer) as server:
        far = em.peek(f"{server}/large.root?token=secret")
    assert far.file.trees == em.peek(path).file.trees and far.file.trees[0].stored > 3_000_000
    assert sum(sent) < 100_000 and "secret" not in repr(far)


def test_a_tree_can_be_named_or_its_branches_chosen(path: Path) -> None:
    assert [tree.name for tree in em.peek(f"{path}:Events").file.trees] == ["Events"]
    assert [tree.name for tree in em.peek(path, "folder/*").file.trees] == ["folder/Runs"]
    chosen = em.peek(path, grep="^Muon_")
    assert [branch.name for branch in chosen.trees[0].branches] == ["Muon_pt", "Muon_eta"] and not chosen.trees[
        1
    ].branches
    assert "2 of 5 branches" in repr(chosen) and "0 of 1 branch," in repr(chosen)
    assert "; the first of 1" not in repr(em.peek(path.parent)) and "nano.root" in repr(em.peek(path.parent))


@pytest.mark.parametrize(
    ("name", "tree", "told"),
    [
        ("nothing.root", None, "there is no"),
        ("text.root", None, "cannot be opened: not a ROOT file"),
        ("nano.root", "Event", "has no tree Event; .*Events"),
        ("short.root", None, "too short for a ROOT file"),
    ],
)
def test_what_cannot_be_looked_into_is_said_in_a_line(path: Path, name: str, tree: str | None, told: str) -> None:
    (path.parent / "text.root").write_text("no ROOT file\n" * 100)
    (path.parent / "short.root").write_bytes(b"root")
    with pytest.raises(DatasetError, match=told) as caught:
        em.peek(path.parent / name, tree)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="is in no file"):
        em.peek(em.cycles(3))
    with pytest.raises(ValueError, match="no regular expression"):
        em.peek(path, grep="(")


def test_a_damaged_tree_does_not_hide_the_others(path: Path, tmp_path: Path) -> None:
    with uproot.open(path) as file:
        key = file.key("Events")
        at = key.fSeekKey + key.fKeylen
    content = bytearray(path.read_bytes())
    content[at : at + 200] = bytes(200)
    (tmp_path / "damaged.root").write_bytes(content)
    events, runs = em.peek(tmp_path / "damaged.root").file.trees
    assert events.why and not events.branches and runs.entries == 3
    assert f"Events: TTree: {tmp_path}/damaged.root cannot be read" in repr(em.peek(tmp_path / "damaged.root"))


def branches(*names: str, **options: Any) -> tuple[BranchInfo, ...]:
    return tuple(BranchInfo(name, "float", **options) for name in names)


def shown(*parts: BranchInfo, grep: str | None = None) -> list[list[str]]:
    """The lines of the table, by their words."""
    more = tuple(BranchInfo(f"alone{number}", "bool", stored=1) for number in range(40))
    tree = TreeInfo("Events", "TTree", "", 10, (*parts, *more))
    lines = repr(Contents(FileInfo("f.root", 10, trees=(tree,)), grep)).splitlines()
    return [line.split() for line in lines[3:] if not line.startswith("alone")]


def test_many_branches_are_shown_by_their_collections() -> None:
    """NanoAOD's with their counter, those of a split object, and of an RNTuple's records; with all their bytes."""
    muons = tuple(BranchInfo(f"Muon_{name}", "float[]", "", "nMuon", 100, 1000) for name in ("pt", "eta", "phi"))
    lines = shown(
        *branches("nMuon", stored=10, unpacked=20), *muons, *branches("MET_pt", "MET_phi", "genWeight", "HLT_one"),
        *branches("Jet", "Jet/Jet.PT", "Jet/Jet.Eta", "Jet_size", "header", "header.run", "header.event"),
    )  # fmt: skip
    assert lines == [
        ["Muon_*", "3", "branches", "of", "nMuon", "pt,", "eta,", "phi", "310", "B", "3.0", "kB"],
        ["MET_*", "2", "branches", "pt,", "phi", "0", "B", "0", "B"],
        ["genWeight", "float", "0", "B", "0", "B"],
        ["HLT_one", "float", "0", "B", "0", "B"],
        ["Jet/*", "2", "branches", "PT,", "Eta", "0", "B", "0", "B"],
        ["header.*", "2", "branches", "run,", "event", "0", "B", "0", "B"],
    ]


def test_chosen_branches_have_a_line_each() -> None:
    many = branches(*(f"Muon_{number}" for number in range(100)))
    assert len(shown(*many)) == 1 and len(shown(*many, grep="Muon")) == 100
    assert shown(*branches(*(f"x{number}y" for number in range(500))))[-1][:5] == [
        "and",
        "340",
        "more",
        "lines:",
        "choose",
    ]


def test_what_writers_say_can_do_no_harm() -> None:
    """Markup is escaped in a notebook, and what steers a terminal stands for itself, in one line."""
    evil = "<script>alert(1)</script>"
    branch = BranchInfo(f"x{evil}", f"std::vector<{evil}>", f"\x1b[31m\n{evil}", "", 1, 1)
    tree = TreeInfo(f"t{evil}", "TTree", f"\x1b]0;owned\x07{evil}", 1, (branch,))
    contents = Contents(FileInfo(f"f{evil}.root", 1, trees=(tree,), others={evil: 1}, more=(evil,)))
    page = contents._repr_html_()
    assert evil not in page and page.count("&lt;script&gt;") >= 7
    assert "\x1b" not in repr(contents) and "\x07" not in repr(contents) and len(repr(contents).splitlines()) == 5
    broken = Contents(FileInfo("f.root", 1, trees=(TreeInfo("t", "TTree", why=evil),)))
    assert evil not in broken._repr_html_()


def test_the_command_line_shows_them_too(path: Path) -> None:
    done = CliRunner().invoke(main, ["peek", f"{path}:Events", "--grep", "MET"])
    assert done.exit_code == 0 and "MET_pt" in done.output and "Muon" not in done.output
    failed = CliRunner().invoke(main, ["peek", str(path), "--tree", "Event"])
    assert failed.exit_code != 0 and "has no tree Event" in failed.output
