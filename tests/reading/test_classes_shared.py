"""Classes that uproot has made for a file serve others that describe all theirs by the same bytes, and no other ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import uproot
from eventmill.reading.reader import Reader
from eventmill.reading.ttree import cpp_classes
from eventmill.reading.ttree.record_shapes import Shapes, Unreadable
from skhep_testdata import data_path

DATA = Path(__file__).parents[1] / "data"
OLD = data_path("uproot-from-geant4.root")
"""Of ROOT 4.00, whose TTree uproot does not know, so that it makes a class of the file's description."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes that are made of descriptions; as in a process that has read no file."""
    names: list[str] = []

    def noted(description: Any, file: Any) -> Any:
        names.append(description.name)
        return make(description, file)

    make = cpp_classes.Description.new_class
    monkeypatch.setattr(cpp_classes.Description, "new_class", noted)
    monkeypatch.setattr(cpp_classes, "_KEPT", type(cpp_classes._KEPT)())
    return names


def test_a_second_file_has_none_made(made: list[str], tmp_path: Path) -> None:
    """Asking uproot for a tree took ten times as long as with uproot alone, for each file."""
    first = Reader(OLD, "HitStrips")
    expected = first.stored.tree["Energy"].array()
    assert made
    made.clear()
    again = Reader(str(shutil.copy(OLD, tmp_path / "again.root")), "HitStrips")
    assert again.stored.tree["Energy"].array().to_list() == expected.to_list()
    assert made == []


def test_a_file_that_describes_a_class_otherwise_has_its_own(made: list[str]) -> None:
    one, another = (Reader(str(DATA / f"{name}_production.root"), "t") for name in ("one", "another"))
    for reader in (one, another, one):
        assert reader.events(0, 20).to_list()
    assert one.stored.directory.file.classes is not another.stored.directory.file.classes


def test_what_somebody_has_written_since_counts(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = Reader(OLD, "HitStrips")
    own = type("Pt", (uproot.model.Model,), {"__module__": "mine"})
    monkeypatch.setitem(uproot.classes, "Pt", own)
    file = Reader(OLD, "HitStrips").stored.directory.file
    assert file.classes is not first.stored.directory.file.classes and file.custom_classes["Pt"] is own


def test_those_unused_for_longest_are_dropped(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp_classes, "MOST_KEPT", 1)
    for path, tree in ((OLD, "HitStrips"), (str(DATA / "one_production.root"), "t")):
        assert Reader(path, tree).stored.tree is not None
    assert len(cpp_classes._KEPT) == 1


def test_records_of_a_class_that_is_described_in_two_ways_are_not_decoded() -> None:
    """As hadd leaves it for files of two productions: nobody knows which of them wrote an object."""
    file = Reader(str(DATA / "unsplit.root"), "by_members").stored.directory.file
    shapes = Shapes(file)
    [info] = file.streamers_named("TLorentzVector")
    assert shapes.of_class("TLorentzVector").version == info.class_version
    file.classes.members[info.name, info.class_version].add((("fOther", "int", ""),))
    with pytest.raises(Unreadable, match="in two ways"):
        shapes.of_class("TLorentzVector")
