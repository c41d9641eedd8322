"""What uproot takes long to say of split objects is asked once for all files of a kind, and is the same as if asked anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot
from bench import Bench
from eventmill.protocol import messages as m
from eventmill.reading.reader import Reader
from eventmill.reading.shared_layout import SharedLayout
from eventmill.reading.ttree import cpp_classes, odd_forms
from eventmill.reading.ttree.odd_forms import KnownForms, OddForms
from skhep_testdata import data_path

DATA = Path(__file__).parents[1] / "data"
TREES = {
    "Delphes": (data_path("uproot-issue513.root"), "Delphes"),
    "vectors of objects": (data_path("uproot-HZZ-objects.root"), "events"),
    "TClonesArrays in objects": (data_path("uproot-issue213.root"), "T"),
}
PRODUCTIONS = [str(DATA / "one_production.root"), str(DATA / "another_production.root")]
"""Of a class of one name, whose members are in another order in the other file."""


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> KnownForms:
    """Nothing is known of any file yet."""
    made = KnownForms()
    monkeypatch.setattr("eventmill.reading.stored_tree.KNOWN", made)
    return made


def all_known(reader: Reader) -> tuple[Any, Any]:
    lazy = reader.lazy
    return {name: lazy.form(name).to_json() for name in lazy.forms}, lazy.fields


def copied(path: str, folder: Path) -> str:
    copy = folder / "copy.root"
    copy.write_bytes(Path(path).read_bytes())
    return str(copy)


@pytest.mark.parametrize("which", TREES)
def test_a_file_of_a_kind_that_is_known_is_not_described_by_uproot(which: str, tmp_path: Path) -> None:
    path, tree = TREES[which]
    first = Reader(path, tree)
    expected = all_known(first)
    assert "tree" in vars(first.stored), "uproot was asked"
    second = Reader(copied(path, tmp_path), tree)
    assert all_known(second) == expected
    assert "tree" not in vars(second.stored)


@pytest.mark.parametrize("which", TREES)
def test_who_was_told_opens_nothing(which: str, known: KnownForms) -> None:
    first = Reader(*TREES[which])
    assert first.news()
    expected = all_known(first)
    news = first.news()
    assert news and not first.news(), "more is known, and is told once"
    known.__init__()  # type: ignore[misc]  # as in another process
    told = Reader(*TREES[which], layout=news)
    assert all_known(told) == expected
    assert "directory" not in vars(told.stored) and not told.news()


@pytest.mark.parametrize("which", ["vectors of objects", "TClonesArrays in objects"])
def test_values_of_odd_branches_are_those_that_uproot_reads(which: str) -> None:
    first = Reader(*TREES[which])
    first.lazy  # noqa: B018
    told = Reader(*TREES[which], layout=first.news())
    with uproot.open(TREES[which][0]) as file:
        tree = file[TREES[which][1]]
        names = [name for name in told.lazy.forms if "." not in name and name in tree and not tree[name].branches]
        assert names
        for name in names:
            ours = ak.to_list(told.events(3, 9)[name])
            assert ours == ak.to_list(first.events(3, 9)[name]), name
            assert str(ours) == str(ak.to_list(tree[name].array(entry_start=3, entry_stop=9))), name


@pytest.mark.parametrize("order", [PRODUCTIONS, PRODUCTIONS[::-1]])
def test_a_class_of_another_production_is_another_kind(order: list[str], known: KnownForms) -> None:
    for path in order:
        found = all_known(Reader(path))
        known.__init__()  # type: ignore[misc]
        assert found == all_known(Reader(path))
    texts = [all_known(Reader(path))[0] for path in order]
    assert texts[0] != texts[1]


def test_where_somebody_told_uproot_of_classes_nothing_is_taken_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Reader(*TREES["vectors of objects"])
    first.lazy  # noqa: B018
    news = first.news()
    monkeypatch.setattr(cpp_classes, "_UPROOTS", {})
    told = Reader(*TREES["vectors of objects"], layout=news)
    told.lazy  # noqa: B018
    assert "tree" in vars(told.stored) and not told.news()


@pytest.mark.parametrize(
    "broken",
    [
        OddForms({"x": 0}, ["no form"]),
        OddForms({"x": 1}, [""]),
        OddForms({"of no branch": 0}, [""]),
    ],
)
def test_forms_that_are_none_are_of_no_use(broken: OddForms) -> None:
    """The file is opened as if nothing had been told."""
    path, tree = TREES["vectors of objects"]
    first = Reader(path, tree)
    first.stored._odd = broken
    told = Reader(path, tree, layout=first.news())
    assert told.news() and all_known(told)


def test_kinds_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch, known: KnownForms) -> None:
    monkeypatch.setattr(odd_forms, "MOST_KINDS", 2)
    for kind in "abc":
        known.add(kind, OddForms())
        known.get("a")
    assert known.get("a") is not None and known.get("b") is None


def test_a_slot_tells_what_it_learns_once_its_first_packet_has_asked(tmp_path: Path) -> None:
    """The next slot that opens the file, and the next file of its kind, need uproot for neither."""

    def size(events: Any) -> int:
        return len(events.muonp4)

    path, tree = TREES["vectors of objects"]
    files = m.File(path, tree), m.File(copied(path, tmp_path), tree)
    bench = Bench(tmp_path, q=size)
    bench.work(*(m.Lease(number, "q", number, file, 0, 2421, 60.0) for number, file in enumerate(files)))
    told: dict[str, list[Any]] = {file.path: [] for file in files}
    for message, frames in bench.line.answers:
        if isinstance(message, m.Described):
            told[message.path].append(SharedLayout.unpacked(frames[0]).told.odd)
    assert bench.results()["q"] == 2 * 2421
    for layouts in told.values():
        before, after = layouts
        assert before is None and "muonp4" in after.numbers
