"""The layout of a file that one slot has described goes to the others with their leases, and to nobody else."""

from __future__ import annotations

from eventmill.master import layouts
from eventmill.master.layouts import FILES_OPEN, Layouts
from eventmill.master.peers import Slot, Worker
from eventmill.protocol import messages as m
from fleet import World


def slot(index: int = 0) -> Slot:
    return Slot(Worker(b"w", "w", 0.0, 0.0), index)


def test_a_slot_is_told_once_what_another_one_has_described() -> None:
    kept, first, second, key = Layouts(), slot(0), slot(1), ("ann", "a.root", "Events")
    assert kept.take(first, key) == []
    kept.tell(first, key, b"layout")
    assert (kept.take(first, key), kept.take(second, key), kept.take(second, key)) == ([], [b"layout"], [])


def test_a_file_that_a_slot_has_closed_again_is_described_to_it_again() -> None:
    kept, other, key = Layouts(), slot(), ("ann", "a.root", "")
    kept.tell(slot(), key, b"layout")
    assert kept.take(other, key)
    for number in range(FILES_OPEN):
        kept.take(other, ("ann", f"{number}.root", ""))
    assert kept.take(other, key) == [b"layout"]


def test_layouts_of_one_user_are_not_told_to_another() -> None:
    kept = Layouts()
    kept.tell(slot(), ("ann", "a.root", ""), b"layout")
    assert kept.take(slot(1), ("bob", "a.root", "")) == []


def test_layouts_take_bounded_memory(monkeypatch) -> None:
    """The one unused for longest goes first; one that is too large is not kept, nor what it replaces."""
    monkeypatch.setattr(layouts, "MOST_BYTES", 250)
    monkeypatch.setattr(layouts, "LARGEST_LAYOUT", 100)
    kept = Layouts()
    for name in "abc":
        kept.tell(slot(), ("", name, ""), bytes(80))
    kept.take(slot(), ("", "a", ""))
    kept.tell(slot(), ("", "d", ""), bytes(80))
    assert kept.size == 240 and not kept.take(slot(), ("", "b", "")) and kept.take(slot(), ("", "a", ""))
    kept.tell(slot(), ("", "a", ""), bytes(101))
    assert kept.size == 160 and not kept.take(slot(), ("", "a", ""))


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
