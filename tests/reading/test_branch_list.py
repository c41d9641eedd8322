"""What is in a tree is listed, also what cannot be read, with the reason."""

from __future__ import annotations

from pathlib import Path

import eventmill as em
import numpy as np
import pytest
import uproot
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol.errors import DatasetError
from skhep_testdata import data_path

FILE = data_path("uproot-issue434.root")


def test_every_branch_is_listed_with_its_type_or_why_it_has_none() -> None:
    found = {branch.name: branch for branch in em.branches(FILE, tree="KM3NET_EVENT")}
    with uproot.open(FILE) as file:
        assert list(found) == file["KM3NET_EVENT"].keys(full_paths=False)
    header = found["KM3NETDAQ::JDAQEventHeader"]
    assert (header.type, header.kernel) == ("", "") and "does not know a type in it" in header.why
    assert found["KM3NET_EVENT"].why == "nothing of its own: see the branches in it"


def test_interpretations_aliases_and_friends_are_listed_as_an_analysis_sees_them(tmp_path: Path) -> None:
    raw = uproot.AsJagged(uproot.AsDtype([("tot", "u1"), ("rest", "u1", (9,))]), header_bytes=10)
    with uproot.recreate(tmp_path / "f.root") as file:
        file.mktree("f", {"score": "f8", "Odd.name": "i4"})
        file["f"].extend({"score": np.zeros(3), "Odd.name": np.zeros(3, "i4")})
    data = em.Dataset(
        FILE,
        tree="KM3NET_EVENT",
        interpretations={"snapshotHits": raw},
        aliases={"tot": "snapshotHits.tot"},
        friends={"more": str(tmp_path / "f.root:f")},
    )
    found = {branch.name: branch for branch in em.branches(data)}
    hits = found["snapshotHits"]
    assert (hits.type, hits.kernel) == ("var * {rest: 9 * uint8, tot: uint8}", "") and "an alias" in hits.why
    assert (found["tot"].type, found["tot"].kernel) == ("var * uint8", "tot")
    assert (found["more.score"].type, found["more.score"].kernel) == ("float64", "more_score")
    assert found["more.Odd.name"].kernel == "more_Odd_name" and "score" not in found and "more_score" not in found


def test_kernels_names_are_told_where_there_are_such(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "n.root") as file:
        file.mktree("t", {"Jet.PT": "f8", "a.b": "f8", "a-b": "f8", "x": "f4"})
    found = {branch.name: branch for branch in em.branches(tmp_path / "n.root")}
    assert {name: branch.kernel for name, branch in found.items()} == {
        "Jet.PT": "Jet_PT",
        "a.b": "",
        "a-b": "",
        "x": "x",
    }
    assert found["a.b"].why == """an alias gives it a name for kernels: {"x": 'events["a.b"]'}"""
    assert repr(em.branches(f"{tmp_path}/n.root:t")).splitlines()[:2] == [
        "branch  type     in kernels",
        "Jet.PT  float64  Jet_PT",
    ]


def test_the_command_line_lists_them_too() -> None:
    done = CliRunner().invoke(main, ["branches", f"{FILE}:KM3NET_EVENT"])
    assert done.exit_code == 0 and "KM3NETDAQ::JDAQPreamble" in done.output and "does not know a type" in done.output
    failed = CliRunner().invoke(main, ["branches", FILE, "--tree", "KM3NET_EVNT"])
    assert failed.exit_code != 0 and "has no tree KM3NET_EVNT; it has E, KM3NET_TIMESLICE" in failed.output


def test_what_is_in_no_file_has_none() -> None:
    with pytest.raises(DatasetError, match="is in no file, and has no branches"):
        em.branches(em.cycles(10))
