"""Objects in a split TClonesArray (Delphes, Belle II, FairRoot): a branch `Jet` has their number, `Jet.fX` a member of each.
The values are ROOT's, of the file that tests/data/write_clones.py wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.packetizer.listed_entries import EntryList
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.selection import Selection
from eventmill.reading.ttree.branches import Written
from eventmill.reading.view import View

PATH = Path(__file__).parents[1] / "data" / "clones.root"


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader(str(PATH), "Delphes")
    yield reader
    reader.close()


def test_members_are_fields_of_the_objects_as_users_write_them(reader: Reader) -> None:
    """`events.Jet` was the number of jets, and `events.Jet.fX` an error. A selection reads what it names."""
    events = reader.events(0, 200)
    jets = events.Jet
    assert int(ak.sum(ak.num(jets))) == int(ak.sum(events.Jet_size)) == 300
    far = jets[jets.fX > 100]
    assert (len(ak.flatten(far)), float(ak.sum(far.fY))) == (150, -100.0)
    assert reader.touched == {"Jet", "Jet_size", "Jet.fX", "Jet.fY"}
    assert float(ak.sum(events["Jet.fX"])) == float(ak.sum(jets.fX)) == 30125.0


def test_the_same_of_listed_entries_and_in_expressions(reader: Reader) -> None:
    listed = Selection(reader, EntryList([2, 4, 101, 103]))
    assert listed.events(0, 4).Jet.fX.to_list() == [[2.0, 2.125], [3.0, 3.125, 3.25], [101.0], [102.0, 102.125]]
    view = View(reader, {}, SharedInputs(aliases={"far": "Jet.fX[Jet.fX > 100]"}))
    columns = view.read(["far"], 0, 200)["far"]
    assert isinstance(columns, Jagged) and columns.offsets[-1] - columns.offsets[0] == 150


def test_kernels_name_a_member_with_an_underscore(reader: Reader) -> None:
    """A parameter can have no dot. The number of objects has the name that it has in the file."""
    columns = reader.read(["Jet_fX", "Jet", "Jet_size"], 0, 200)
    jets, number, size = (columns[name] for name in ("Jet_fX", "Jet", "Jet_size"))
    assert isinstance(jets, Jagged) and isinstance(jets.content, Flat) and jets.content.values.sum() == 30125.0
    assert isinstance(number, Flat) and isinstance(size, Flat) and np.array_equal(number.values, size.values)
    assert list(reader.types(["Jet_fX"]).values()) == ["var * float64"]


def test_what_is_really_called_so_comes_before_a_name_with_underscores(reader: Reader, tmp_path: Path) -> None:
    """A friend's branch, and an alias: they are not to change their values because `Jet.fX` may be written so, too."""
    with uproot.recreate(tmp_path / "more.root") as file:
        file.mktree("more", {"Jet_fX": "int32"})
        file["more"].extend({"Jet_fX": np.arange(200, dtype=np.int32)})
    friend = Reader(str(tmp_path / "more.root"), "more")
    of_friend = View(reader, {"more": friend}, SharedInputs()).read(["Jet_fX"], 0, 200)["Jet_fX"]
    assert isinstance(of_friend, Flat) and of_friend.values.sum() == 19900
    alias = View(reader, {}, SharedInputs(aliases={"Jet_fX": 'ak.num(events["Jet.fX"])'}))
    of_alias = alias.read(["Jet_fX"], 0, 200)["Jet_fX"]
    assert isinstance(of_alias, Flat) and of_alias.values.sum() == 300
    friend.close()


def test_a_name_that_two_branches_would_have_is_that_of_none() -> None:
    """The first one's values might be taken for the other's."""
    names = Written({"A.b.c": 1, "A.b_c": 2, "cov[10]": 3, "x": 4, "J.x": 5, "J_x": 6})
    assert [name in names for name in ("A_b_c", "A.b.c", "cov", "x", "J_x", "y")] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert (names["cov"], names["J_x"], list(names)) == (3, 6, ["A.b.c", "A.b_c", "cov[10]", "x", "J.x", "J_x"])
    with pytest.raises(KeyError):
        names["A_b_c"]
