"""The layout of a file that one slot has described goes to the others with their leases, and to nobody else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from eventmill.master import catalogue_records, layouts
from eventmill.master.access import Access
from eventmill.master.catalogue import Catalogue
from eventmill.master.catalogue_records import CatalogueRecords
from eventmill.master.effects import SaveDataset
from eventmill.master.layouts import FILES_OPEN, Layouts
from eventmill.master.peers import Slot, Worker
from eventmill.protocol import messages as m
from fleet import World


def slot(index: int = 0) -> Slot:
    return Slot(Worker(b"w", "w", 0.0, 0.0), index)


def test_a_slot_is_told_once_what_another_one_has_described() -> None:
    kept, first, second, key = Layouts(), slot(0), slot(1), ("", "ann", "a.root", "Events")
    assert kept.take(first, key) == []
    kept.tell(first, key, b"layout")
    assert (kept.take(first, key), kept.take(second, key), kept.take(second, key)) == ([], [b"layout"], [])


def test_a_file_that_a_slot_has_closed_again_is_described_to_it_again() -> None:
    kept, other, key = Layouts(), slot(), ("", "ann", "a.root", "")
    kept.tell(slot(), key, b"layout")
    assert kept.take(other, key)
    for number in range(FILES_OPEN):
        kept.take(other, ("", "ann", f"{number}.root", ""))
    assert kept.take(other, key) == [b"layout"]


def test_layouts_of_one_user_are_not_told_to_another() -> None:
    kept = Layouts()
    kept.tell(slot(), ("", "ann", "a.root", ""), b"layout")
    assert kept.take(slot(1), ("", "bob", "a.root", "")) == []


def test_layouts_take_bounded_memory(monkeypatch) -> None:
    """The one unused for longest goes first; one that is too large is not kept, nor what it replaces."""
    monkeypatch.setattr(layouts, "MOST_BYTES", 250)
    monkeypatch.setattr(layouts, "LARGEST_LAYOUT", 100)
    kept = Layouts()
    for name in "abc":
        kept.tell(slot(), ("", "", name, ""), bytes(80))
    kept.take(slot(), ("", "", "a", ""))
    kept.tell(slot(), ("", "", "d", ""), bytes(80))
    assert kept.size == 240 and not kept.take(slot(), ("", "", "b", "")) and kept.take(slot(), ("", "", "a", ""))
    kept.tell(slot(), ("", "", "a", ""), bytes(101))
    assert kept.size == 160 and not kept.take(slot(), ("", "", "a", ""))


def test_the_master_hands_a_layout_on_with_leases_also_of_the_next_query() -> None:
    made = World([1000], 0)
    made.hello(b"session", "session")
    made.hello(b"one", "worker", 1)
    query = made.submit_files([m.File("file0", tree="Events")])
    (opening,) = (it for it in made.inbox[b"one"] if isinstance(it, m.Lease))
    made.tell(b"one", "worker", m.Described(query, opening.lease, "file0"), [b"layout"])
    made.tell(b"one", "worker", m.Described(query, opening.lease, "elsewhere"), [b"a file that is not the lease's"])
    made.run()
    assert made.layouts == []
    made.hello(b"two", "worker", 1)
    made.submit_files([m.File("file0", tree="Events"), m.File("file0", tree="other")])
    made.run()
    assert set(map(str, made.layouts)) == {str((b"two", "file0", [b"layout"]))}


def described(*paths: str, layout: bytes = b"layout") -> bytes:
    return msgspec.msgpack.encode([m.CatalogueLayout(path, "Events", layout) for path in paths])


def test_the_first_query_over_a_registered_dataset_has_layouts_with_its_leases() -> None:
    made = World([1000], 0)
    made.hello(b"session", "session")
    made.hello(b"one", "worker", 1)
    info = m.DatasetInfo("ttbar", owner="session")
    made.tell(b"session", "session", m.PutDataset(1, info), [b"files", b"no layouts"])
    assert made.inbox[b"session"][-1] == m.Refused(1, "malformed layouts of files")
    made.tell(b"session", "session", m.PutDataset(2, info), [b"files", described("file0")])
    made.submit_files([m.File("file0", tree="Events"), m.File("file0", tree="other")])
    made.run()
    assert set(map(str, made.layouts)) == {str((b"one", "file0", [b"layout"]))}


def test_the_next_master_has_the_layouts_of_a_dataset_for_whoever_has_registered_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as it keeps at all, those of the newest datasets first; nobody else's queries are told what she says."""
    ann, info = ("ann", "ann"), m.DatasetInfo("hers")
    records = CatalogueRecords(tmp_path / "catalogue.sqlite")
    records.write(SaveDataset("hers", (info, b"files"), (ann, described("a.root"))))
    records.write(SaveDataset("old", (m.DatasetInfo("old"), b"files"), (ann, described("b.root"))))
    records.write(SaveDataset("old", (m.DatasetInfo("old"), b"others")))
    records.close()
    records = CatalogueRecords(tmp_path / "catalogue.sqlite")
    kept = records.load()
    assert [(it.name, files, told and told[0]) for it, files, told in kept] == [
        ("hers", b"files", ann),
        ("old", b"others", None),
    ]
    of_all = Layouts()
    Catalogue(kept, of_all, Access(), lambda *_, **__: None, lambda _: None)
    assert of_all.take(slot(0), (*ann, "a.root", "Events")) == [b"layout"]
    assert of_all.take(slot(1), ("bob", "bob", "a.root", "Events")) == []
    assert of_all.take(slot(2), (*ann, "b.root", "Events")) == []
    records.write(SaveDataset("new", (m.DatasetInfo("new"), b"files"), (ann, described("c.root"))))
    monkeypatch.setattr(catalogue_records, "MOST_BYTES", len(described("c.root")))
    assert [it.name for it, _, told in records.load() if told] == ["new"]
    records.write(SaveDataset("new", None))
    assert [it.name for it, _, _ in records.load()] == ["hers", "old"]
    records.close()
