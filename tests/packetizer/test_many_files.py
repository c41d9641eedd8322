"""That datasets of many files cost little: memory by columns, and no step that looks at all of them."""

from __future__ import annotations

import resource
from collections import OrderedDict
from itertools import islice

from calls import Calls
from eventmill.packetizer.file_queue import FileQueue
from eventmill.packetizer.file_states import FileStates
from eventmill.packetizer.files import Files
from eventmill.packetizer.homes import Homes, server_of
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.lengths import Lengths
from eventmill.packetizer.packetizer import Packetizer
from hypothesis import given
from hypothesis import strategies as st

MANY = 300_000


@given(
    st.lists(st.integers(0, 30), unique=True).map(sorted),
    st.lists(st.tuples(st.sampled_from(["add", "first", "discard"]), st.integers(0, 30)), max_size=60),
)
def test_a_queue_of_files_is_an_ordered_set(files: list[int], steps: list[tuple[str, int]]) -> None:
    for known in (files, range(len(files))):
        queue, plain = FileQueue(known), OrderedDict.fromkeys(known)
        for what, file in steps:
            if what == "add":
                queue.add(file)
                plain.setdefault(file)
            elif what == "first":
                queue.put_first(file)
                plain[file] = None
                plain.move_to_end(file, last=False)
            else:
                queue.discard(file)
                plain.pop(file, None)
            assert (list(queue), len(queue), bool(queue)) == (list(plain), len(plain), bool(plain))
            assert all((file in queue) == (file in plain) for file in range(31))


@given(st.lists(st.lists(st.sampled_from(["/a", "root://x//a", "root://y:1094//b"]), min_size=1, max_size=3)))
def test_files_know_their_servers_and_servers_their_files(replicas: list[list[str]]) -> None:
    homes = Homes.of(replicas)
    for file, paths in enumerate(replicas):
        assert homes.servers(file) == tuple(map(server_of, paths))
    for name in homes.names:
        assert list(homes.files(name)) == [file for file, paths in enumerate(replicas) if name in map(server_of, paths)]


PATHS = st.sampled_from(
    [
        "/a",
        "/a:1/b",
        "b://",
        "root://x//a",
        "root://x//b",
        "root://y:1094//b",
        "root://xx/",
        "root://x",
        "root://x!/",
        "/c/://x/d",
    ]
)


@given(st.lists(st.lists(st.tuples(PATHS, st.lists(PATHS, max_size=2)), min_size=1)))
def test_servers_are_the_same_of_files_that_come_many_at_once(blocks: list[list[tuple[str, list[str]]]]) -> None:
    homes = Homes()
    for block in blocks:
        homes.extend([path for path, _ in block], [replicas for _, replicas in block])
    one_by_one = Homes([path, *replicas] for block in blocks for path, replicas in block)
    files = range(sum(map(len, blocks)))
    assert [homes.servers(file) for file in files] == [one_by_one.servers(file) for file in files]
    assert homes.names == one_by_one.names
    assert all(list(homes.files(name)) == list(one_by_one.files(name)) for name in homes.names)


def test_the_first_of_many_files_is_found_at_once_whatever_was_before_it() -> None:
    """A dict that was emptied from the front is walked through from its first hole; so a million files took hours."""
    queue = FileQueue(range(MANY))
    looks = 0
    find = queue._next

    def counted(at: int) -> int:
        nonlocal looks
        looks += 1
        return find(at)

    type(queue)._next, before = lambda _, at: counted(at), FileQueue._next  # type: ignore[method-assign,assignment]
    try:
        while queue:
            for file in list(islice(queue, 100)):
                queue.discard(file)
    finally:
        FileQueue._next = before  # type: ignore[method-assign]
    assert looks < 1.1 * MANY


def test_a_ledger_asks_for_memory_as_files_are_done() -> None:
    """The system takes some milliseconds to hand out eight bytes for each of a million, and all in one turn."""
    known = Lengths.nobody_knows(5_000_000)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    states = FileStates(known)
    pages = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    assert pages < 1000 and len(states) == 5_000_000


def test_what_is_undone_of_many_files_is_found_with_no_look_at_each() -> None:
    """A query that is stopped near its end, and one that fails at its beginning: no turn of the loop is a long one."""
    states = FileStates(Lengths.nobody_knows(MANY))
    for file in range(MANY - 3):
        states.drop(file)
    states.lease(MANY - 2, number=7)
    states[MANY - 2].open(10)
    states[MANY - 2].todo.add(3, 5)
    states[MANY - 2].todo.add(8, 10)
    with Calls() as calls:
        found = list(states.undone())
    assert found == [(MANY - 3, 0, None), (MANY - 2, 3, 5), (MANY - 2, 8, 10), (MANY - 1, 0, None)]
    assert 0 < calls.count < MANY / 100

    ledger = Ledger[str](Lengths.nobody_knows(MANY))
    number = ledger.lease_opening(5, 100, "slot").number
    ledger.opened(number, 120, 100)
    with Calls() as calls:
        ledger.abandon("it failed")
    assert 0 < calls.count < 100 and ledger.files._states.kept == 1 and ledger.complete and not ledger.estimated
    assert (ledger.total, ledger.failed, ledger.losses) == (120, 120, [])
    with Calls() as calls:
        found = list(islice(ledger.files.undone(), 10))
    assert found == [(file, 0, 120 if file == 5 else None) for file in range(10)] and 0 < calls.count < 200
    ledger.check()


def test_files_that_nobody_works_on_need_no_objects() -> None:
    """Before they are opened, and once they are done: of a million files a few are at work."""
    ledger = Ledger[str](Lengths([100] * MANY))
    packetizer = Packetizer(ledger, Homes([("/a.root",)] * MANY))
    for file in range(200):
        packet = packetizer.next("slot", now=float(file))
        assert packet is not None and packet.lease.file == file
        number = packet.lease.number
        ledger.opened(number, entries=100, stop=100)
        packetizer.opened("slot", number, float(file))
        ledger.finished(number, 100)
        packetizer.finished("slot", number, 0, 100, 0.1, file + 0.1)
        ledger.commit([(number, 0, 100)])
        packetizer.dropped("slot", number, file + 0.1)
    assert (ledger.processed, ledger.total, ledger.estimated) == (20_000, 100 * MANY, False)
    assert not ledger.files._states.kept, "they are done, or untouched"
    assert [ledger.files[file].done.entries for file in (0, 199, 200)] == [100, 100, 0]
    ledger.check()


def test_what_is_taken_out_of_a_file_that_was_done_is_lost() -> None:
    files = Files([None])
    files.begin(0)
    files.lease(0, 1)
    files.open(0, 10)
    files.done(0, 0, 10)
    files.unlease(0, 1)
    assert not files._states.kept
    files[0].done.remove(2, 5)
    files.processed -= 3
    files.lose(0, 2, 5, "does not fit")
    assert files.check({}) == 0 and list(files[0].failed) == [(2, 5)]
