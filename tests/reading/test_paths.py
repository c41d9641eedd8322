"""Branches by their paths, as uproot lists them: `Summary./Summary.durationCPU`, in columnar functions and aliases."""

from __future__ import annotations

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs, aliases_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.branches import UNKNOWN, paths_of
from eventmill.reading.view import View
from processes import Standing
from skhep_testdata import data_path

FILES = [
    ("uproot-issue443.root", "muonDataTree"),
    ("uproot-issue126a.root", "ChannelSet"),
    ("uproot-issue404.root", "Event"),
    ("uproot-issue513.root", "Delphes"),
    ("uproot-mc10events.root", "Events"),
    ("uproot-small-evnt-tree-fullsplit.root", "tree"),
    ("uproot-issue408.root", "KM3NET_TIMESLICE_L1"),
]


@pytest.mark.parametrize(("name", "tree"), FILES)
@pytest.mark.parametrize("told", [False, True])
def test_every_path_of_uproots_is_that_branch(name: str, tree: str, told: bool) -> None:
    """Of two branches of one path, the second was what the path meant; in ROOT and uproot it is the first."""
    path = data_path(name)
    reader = Reader(path, tree, layout=Reader(path, tree).news() if told else b"")
    found: set[str] = set()
    with uproot.open(path) as file:
        ours = {id(branch): its for its, branch in reader.stored.tbranches.items()}
        for key in file[tree].keys(full_paths=True):
            if key in reader.names:
                theirs, its = file[tree][key], reader.names[key]
                assert its.name == theirs.name and id(its) in ours
                assert np.array_equal(its.member("fBasketSeek"), theirs.member("fBasketSeek")), key
                found |= {key} if "/" in key else set()
        nested = {key for key in file[tree].keys(full_paths=True) if "/" in key}
        assert len(found) >= 0.85 * len(nested) and len(nested) > 20, "but for those of another branch of the same name"
    assert "nowhere/fBits" not in reader.names and "fBits/nowhere" not in reader.names


@pytest.mark.parametrize("told", [False, True])
def test_columns_are_found_by_path_by_name_and_by_group(told: bool) -> None:
    path = data_path("uproot-issue404.root")
    reader = Reader(path, "Event", layout=Reader(path, "Event").news() if told else b"")
    name = "Summary.durationCPU"
    with uproot.open(path) as file:
        right = file["Event"][f"Summary./{name}"].array().to_list()
    events = reader.events(0, reader.entries)
    assert (
        events[f"Summary./{name}"].to_list() == events[name].to_list() == events.Summary.durationCPU.to_list() == right
    )
    some = events[np.arange(len(right)) % 2 == 0]
    assert some[f"Summary./{name}"].to_list() == right[::2] and events[2:5][f"Summary./{name}"].to_list() == right[2:5]
    assert f"Summary./{name}" not in events.fields
    with pytest.raises(ak.errors.FieldNotFoundError):
        events["Primary/duration"]


def test_aliases_and_queries_take_paths(standing: Standing) -> None:
    path = data_path("uproot-issue404.root")
    with uproot.open(path) as file:
        right = float(ak.sum(file["Event"]["Summary./Summary.durationCPU"].array()))
    view = View(
        Reader(path, "Event"), {}, SharedInputs(aliases=aliases_of({"d": 'events["Summary./Summary.durationCPU"] * 2'}))
    )
    assert ak.sum(view.events(0, view.entries).d) == pytest.approx(2 * right)
    assert (
        view.events(0, 2)["Summary./Summary.durationCPU"].to_list()
        == view.events(0, 2)["Summary.durationCPU"].to_list()
    )

    @em.kernel(total=np.zeros(1))
    def summed(total, Summary_durationCPU, d):  # type: ignore[no-untyped-def]
        total[0] += Summary_durationCPU + d

    data = em.Dataset(path, tree="Event", aliases={"d": 'events["Summary./Summary.durationCPU"]'})
    with standing.connect() as session:
        found = session.process(data, lambda events: {"d": ak.sum(events["Summary./Summary.durationCPU"])}).result()
        assert found["d"] == pytest.approx(right)
        assert session.process(data, summed).result()["total"][0] == pytest.approx(2 * right)


def test_a_branch_in_one_without_a_name_has_no_path() -> None:
    assert paths_of(["a", "x", "y"], [-1, UNKNOWN, 1]) == {}
