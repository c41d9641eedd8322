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
    pytest.param("uproot-issue126a.root", "ChannelSet", marks=pytest.mark.interop),
    pytest.param("uproot-issue404.root", "Event", marks=pytest.mark.interop),
    ("uproot-issue513.root", "Delphes"),
    pytest.param("uproot-mc10events.root", "Events", marks=pytest.mark.interop),
    ("uproot-small-evnt-tree-fullsplit.root", "tree"),
    ("uproot-issue408.root", "KM3NET_TIMESLICE_L1"),
]
"""Under `interop` are those of many hundred branches, for which uproot needs seconds."""


@pytest.mark.parametrize(("name", "tree"), FILES)
def test_every_path_of_uproots_is_that_branch(name: str, tree: str) -> None:
    """Of two branches of one path, the second was what the path meant; in ROOT and uproot it is the first. Also for a
    reader that was told of the file."""
    path = data_path(name)
    first = Reader(path, tree)
    with uproot.open(path) as file:
        theirs = file[tree]
        keys = theirs.keys(full_paths=True)
    nested = {key for key in keys if "/" in key}
    for reader in (first, Reader(path, tree, layout=first.news())):
        found: set[str] = set()
        ours = {id(branch) for branch in reader.stored.tbranches.values()}
        for key in keys:
            if key in reader.names:
                right, its = theirs[key], reader.names[key]
                assert its.name == right.name and id(its) in ours
                assert np.array_equal(its.member("fBasketSeek"), right.member("fBasketSeek")), key
                found |= {key} if "/" in key else set()
        assert len(found) >= 0.85 * len(nested) and len(nested) > 20, "but for those of another branch of the same name"
        assert "nowhere/fBits" not in reader.names and "fBits/nowhere" not in reader.names
        reader.close()


def test_columns_are_found_by_path_by_name_and_by_group() -> None:
    path = data_path("uproot-issue404.root")
    first = Reader(path, "Event")
    name = "Summary.durationCPU"
    with uproot.open(path) as file:
        right = file["Event"][f"Summary./{name}"].array().to_list()
    for reader in (first, Reader(path, "Event", layout=first.news())):
        events = reader.events(0, reader.entries)
        found = events[f"Summary./{name}"].to_list()
        assert found == events[name].to_list() == events.Summary.durationCPU.to_list() == right
        some = events[np.arange(len(right)) % 2 == 0]
        assert some[f"Summary./{name}"].to_list() == right[::2]
        assert events[2:5][f"Summary./{name}"].to_list() == right[2:5]
        assert f"Summary./{name}" not in events.fields
        with pytest.raises(ak.errors.FieldNotFoundError):
            events["Primary/duration"]
        reader.close()


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
