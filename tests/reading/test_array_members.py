"""Members that are arrays of fixed size, `Tracks.fP[5]` (ALICE, Delphes, FCC): fields of the records, called as in C++."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.reading.groups import fields_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.branches import Written
from eventmill.reading.view import View

PATH = Path(__file__).parents[1] / "data" / "experiments" / "AliESDs.root"


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader(str(PATH), "esdTree")
    yield reader
    reader.close()


def test_an_array_of_each_object_is_a_field_of_the_objects(reader: Reader) -> None:
    """They were in no record of a collection with a counter, and elsewhere had a name that no attribute can have."""
    with uproot.open(PATH) as file:
        expected = file["esdTree"].arrays(["Tracks.fP[5]", "Tracks.fTPCncls"])
    events = reader.events(0, 100)
    good = events.Tracks[events.Tracks.fTPCncls >= 70]
    assert good.fP.to_list() == expected["Tracks.fP[5]"][expected["Tracks.fTPCncls"] >= 70].to_list()
    assert len(ak.flatten(good)) == 731 and reader.touched == {"Tracks", "Tracks.fTPCncls", "Tracks.fP[5]"}


def test_an_array_of_one_object_has_its_name_without_the_size(reader: Reader) -> None:
    with uproot.open(PATH) as file:
        expected = file["esdTree"]["PrimaryVertex.AliVertex.fPosition[3]"].array(library="np")
    events = View(reader, {}, SharedInputs(aliases={"z": "PrimaryVertex.AliVertex.fPosition[:, 2]"})).events(0, 100)
    assert np.array_equal(events.PrimaryVertex.AliVertex.fPosition, expected)
    assert np.array_equal(events.z, expected[:, 2].astype("f8"))
    assert np.array_equal(events["PrimaryVertex.AliVertex.fPosition[3]"], expected)


def test_names_without_sizes_take_no_other_name_away() -> None:
    fields = fields_of(["cov[10]", "cov", "a[2]", "a[3]", "Jet.Tau[5]", "Jet.Tau", "Jet.PT"], {}, ())
    assert (fields["cov"], fields["cov[10]"]) == ("cov", "cov[10]")
    assert "a" not in fields
    jet = fields["Jet"]
    assert not isinstance(jet, str) and jet.fields == {"Tau[5]": "Jet.Tau[5]", "Tau": "Jet.Tau", "PT": "Jet.PT"}


def test_kernels_write_an_underscore_for_what_no_identifier_can_have() -> None:
    """podio's links are called `Muon#0.index`."""
    names = Written(
        {"Muon#0.index": 1, "ReconstructedParticles#0.index": 2, "a::b": 3, "7TObject": 4, "covMatrix[10]": 5}
    )
    assert (names["Muon_0_index"], names["ReconstructedParticles_0_index"], names["a__b"]) == (1, 2, 3)
    assert names["covMatrix"] == 5 and len(names) == 5
