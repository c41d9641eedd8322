"""Reading ahead: what is asked for and when, and that nobody sees of it but that data is there sooner."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
import uproot
from bench import Bench, Line
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol import messages as m
from eventmill.protocol.errors import DatasetError
from eventmill.reading.prefetched_range import REMEMBERED, Names, PrefetchedRange, Touched
from eventmill.reading.reader import Reader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.reading.storage import sources
from eventmill.reading.storage.sources import AHEAD_BYTES, ReadAhead
from eventmill.reading.view import View
from eventmill.worker.slot.chunks import LARGEST_SIZE, ChunkSizes
from eventmill.worker.slot.prefetch import Plan, Prefetch
from eventmill.worker.slot.process import SlotProcess
from eventmill.worker.slot.readahead_window import ReadaheadWindow, Stretch
from hypothesis import example, given
from hypothesis import strategies as st
from skhep_testdata import data_path
from xrootd_server import XRootDServer

from benchmarks.delay_proxy import far_away

ENTRIES, BASKET = 60_000, 2000
KEY = ("q", 1)
ROUND_TRIP = 0.08


# --- what to ask for ------------------------------------------------------------------------------------------------------


def test_chunks_are_asked_for_as_long_ahead_as_answers_take() -> None:
    window = ReadaheadWindow()
    for _ in range(10):
        window.chunk_took(0.1)
    assert window.depth(latency=0.0) == 2
    assert window.depth(latency=0.1) == 4
    for _ in range(10):
        window.chunk_took(0.01)
    assert window.depth(latency=0.1) > 20


def test_the_next_packet_is_asked_for_when_the_one_in_hand_ends() -> None:
    window = ReadaheadWindow()
    plans = [Stretch(KEY, 900, 1000, 100), Stretch(("q", 2), 5000, 9000, 100)]
    pieces = window.ask(plans, latency=0.0)
    assert [(piece.lease[1], piece.start, piece.stop) for piece in pieces] == [(1, 900, 1000), (2, 5000, 5100)]


def test_small_chunks_are_asked_for_together() -> None:
    """A request for ten entries is answered no sooner than one for a thousand."""
    window = ReadaheadWindow()
    (piece, *_) = window.ask([Stretch(KEY, 0, 10**7, 100, weight=1.0)], latency=0.0)
    assert piece.stop >= 10**6


def test_the_first_entries_of_a_far_file_take_one_round_trip() -> None:
    """The first chunks are of 100 entries, since nobody knows how long they take: asked for one by one, they took as
    many."""
    window = ReadaheadWindow()
    (piece, *_) = window.ask([Stretch(KEY, 0, 100_000, 100, weight=60.0)], latency=0.1)
    assert piece.stop == 100_000


def test_short_memory_halves_what_is_on_its_way() -> None:
    def asked(halvings: int) -> int:
        packet = Stretch(KEY, 0, 1000, 1, weight=AHEAD_BYTES // 64)
        return sum(it.stop - it.start for it in ReadaheadWindow().ask([packet], 10.0, halvings))

    assert asked(0) >= 50 and asked(3) == 8


@example(
    steps=[(160, 0, 2, 4), (209, 0, 2, 4), (354, 1, 2, 4), (334, 0.5, 2, 4), (380, 1, 2, 2), (207, 1, 2, 4)], size=0
)
@given(
    steps=st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1), st.floats(1e-3, 2), st.integers(0, 4)), max_size=40),
    size=st.integers(0, 5_000_000),
)
def test_every_entry_is_asked_for_once_at_most_in_order_and_within_the_bytes(
    steps: list[tuple[int, float, float, int]], size: int
) -> None:
    """Whatever the sizes of chunks and the times do, along two packets of 2000 entries."""
    window, asked = ReadaheadWindow(), [(0, 0)]
    at = 0
    for chunk, latency, seconds, halvings in steps:
        ends = [(n, 2000 * n + 2000) for n in (0, 1) if at < 2000 * n + 2000]
        plans = [Stretch(("q", n), max(at, end - 2000), end, chunk, weight=size) for n, end in ends]
        for piece in window.ask(plans, latency, halvings):
            assert asked[-1][1] <= piece.start < piece.stop
            asked.append((piece.start, piece.stop))
        largest = max((stop - start for start, stop in asked), default=0)
        ahead = sum(max(0, stop - max(at, start)) for start, stop in asked)
        assert size * (ahead - 2 * largest) <= AHEAD_BYTES
        window.chunk_took(seconds)
        at += chunk


def test_chunks_of_many_columns_are_small_enough_for_memory() -> None:
    chunks = ChunkSizes()
    for _ in range(10):
        entries = chunks.next(10**9)
        chunks.learn(entries, seconds=0.01, size=10_000 * entries)
    assert chunks.next(10**9) * 10_000 <= LARGEST_SIZE


def test_what_was_touched_lately_is_expected() -> None:
    touched = Touched()
    touched.learn(Names(("x",), ("name",)))
    assert touched.names == Names(("x",), ("name",))
    for _ in range(REMEMBERED):
        touched.learn(Names(("y",)))
    assert touched.names == Names(("y",))
    assert touched.names.among(["z"]) == Names() and not Names()


# --- columns that were fetched --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers from 0 on as `x`, their doubles as `y`, in baskets that do not compress."""
    name = tmp_path_factory.mktemp("prefetch") / "f.root"
    write(name)
    return name


def write(path: Path) -> None:
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {"x": "int64", "y": "float64"})
        for start in range(0, ENTRIES, BASKET):
            x = np.arange(start, start + BASKET)
            tree.extend({"x": x, "y": 2.0 * x})


@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 2999), st.integers(0, 2999), st.booleans())
def test_any_part_of_what_was_fetched_is_what_the_file_has(
    path: Path, start: int, length: int, low: int, high: int, ahead: bool
) -> None:
    reader = Reader(str(path), "Events")
    fetched = PrefetchedRange(reader, start, start + length, alone=nullcontext)
    if ahead:
        fetched.fetch(Names(("x",), ("y",)))
    low, high = sorted((start + low % length, start + high % length))
    columns = fetched.read(["x", "y"], low, high)
    assert columns["x"].values.tolist() == list(range(low, high))  # type: ignore[union-attr]
    assert fetched.array("y", low, high).tolist() == [2.0 * x for x in range(low, high)]
    assert fetched.events(low, high).x.tolist() == list(range(low, high))
    assert fetched.touched == Names(("x", "y"), ("y",))
    assert fetched.size >= 16 * length
    reader.close()


def test_what_cannot_be_read_ahead_is_an_error_for_those_who_ask_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, tries = Reader(str(path), "Events"), list[str]()
    whole = Reader.read

    def read(self: Reader, branches: Any, start: int, stop: int) -> Any:
        if "y" in branches:
            tries.append("y")
            raise DatasetError("y is damaged")
        return whole(self, branches, start, stop)

    monkeypatch.setattr(Reader, "read", read)
    fetched = PrefetchedRange(reader, 0, 10, alone=nullcontext)
    fetched.fetch(Names(("x", "y")))
    assert len(fetched.read(["x"], 0, 10)["x"]) == 10, "somebody who does not look at y hears nothing of it"
    with pytest.raises(DatasetError, match="y is damaged"):
        fetched.read(["x", "y"], 0, 10)
    kernel = PrefetchedRange(reader, 0, 10, alone=nullcontext)
    kernel.fetch(Names(("y",)))
    before = len(tries)
    with pytest.raises(DatasetError, match="y is damaged"):
        kernel.read(["y"], 0, 10)
    assert len(tries) == before, "a server that does not answer is not waited for twice"
    reader.close()


def test_an_alias_that_fails_ahead_of_its_use_is_an_error_of_its_own_chunk() -> None:
    """Its error used to come out of the thread at the next chunk, which may be of another packet."""
    view = View(Reader(data_path("uproot-HZZ.root"), "events"), {}, SharedInputs(aliases={"first": "Muon_Px[:, 0]"}))
    prefetch = Prefetch(spare=True)
    prefetch.order([Plan(Stretch(("q", 1), 0, 100, 100), view, Names(("first",)))])
    other = prefetch.take(("q", 2), view, 200, 300, Names(("MET_px",)))
    assert len(other.read(["MET_px"], 200, 300)["MET_px"]) == 100
    with pytest.raises(IndexError):
        other.read(["first"], 200, 300)


# --- bytes on their way ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def far(xrootd_server: XRootDServer) -> Iterator[str]:
    """The address of a file at a distance."""
    write(xrootd_server.folder / "ahead.root")
    with far_away(xrootd_server.port, ROUND_TRIP) as port:
        yield f"root://127.0.0.1:{port}//ahead.root"


def test_bytes_that_nobody_uses_are_bounded_and_can_be_dropped(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "AHEAD_BYTES", 4 * 8 * BASKET)
    reader = Reader(far, "Events")
    source: Any = reader.stored.source
    assert isinstance(source, ReadAhead)
    for start in range(0, ENTRIES, BASKET):
        reader.ahead(["x"], start, start + BASKET)
    asked = reader.traffic.bytes_read
    assert source._stores()[0]._size <= 4 * 8 * BASKET
    last = reader.read(["x"], ENTRIES - BASKET, ENTRIES)["x"]
    assert last.values[-1] == ENTRIES - 1 and reader.traffic.bytes_read == asked  # type: ignore[union-attr]
    reader.forget_ahead()
    assert source._stores()[0]._size == 0
    assert reader.read(["x"], 0, ENTRIES)["x"].values.sum() == ENTRIES * (ENTRIES - 1) // 2  # type: ignore[union-attr]
    reader.close()


def test_what_was_used_a_moment_ago_is_not_asked_for_again(far: str) -> None:
    """A chunk begins within the baskets in which the last one ended; those of counters lie further back."""
    reader = Reader(far, "Events")
    reader.read(["x", "y"], 0, 10_000)
    before = reader.traffic.requests
    reader.read(["x", "y"], 5000, 9000)
    assert reader.traffic.requests == before
    reader.close()


# --- in a slot ------------------------------------------------------------------------------------------------------------


def lease(number: int, path: str, start: int, stop: int, query: str = "q", **more: Any) -> m.Lease:
    return m.Lease(number, query, 0, m.File(path, "Events"), start, stop, 60.0, **more)


def kernel() -> Any:
    @em.kernel(sums=np.zeros(3))
    def analysis(sums, x, y):
        sums[0] += 1
        sums[1] += x
        sums[2] += y * y

    return analysis


def columnar(events: Any) -> dict[str, Any]:
    """The columns that it touches depend on the events, as with a selection."""
    x = np.asarray(events.x)
    late = x[-1] > ENTRIES // 2 if len(x) else False
    return {"sums": np.array([len(x), x.sum(), (np.asarray(events.y) ** 2).sum() if late else (2.0 * x) @ (2.0 * x)])}


def expected() -> list[float]:
    x = np.arange(ENTRIES, dtype=float)
    return [ENTRIES, x.sum(), (4 * x * x).sum()]


@pytest.mark.parametrize("distance", ["near", "far"])
@pytest.mark.parametrize("spare", [False, True])
def test_results_do_not_depend_on_reading_ahead(
    path: Path, request: pytest.FixtureRequest, distance: str, spare: bool
) -> None:
    """Two queries in turns over one file that one of them opens, a lease that ends early, and listed entries."""
    name = str(path) if distance == "near" else request.getfixturevalue("far")
    bench = Bench(spare=spare, on_error="skip", q=kernel(), r=columnar)
    third = ENTRIES // 3
    leases = [
        lease(number + 1 + 10 * turn, name, turn * third, turn * third + third, query, opening=turn + number == 0)
        for turn in range(3)
        for number, query in enumerate("qr")
    ]
    said = bench.work(*leases)
    assert not [message for message in said if isinstance(message, m.Failed | m.Skipped)]
    results = bench.results()
    for query in "qr":
        assert results[query]["sums"].tolist() == pytest.approx(expected(), rel=1e-12)
    finished = [message for message in said if isinstance(message, m.Finished)]
    assert len(finished) == len(leases)
    assert sum(message.bytes_read for message in finished) < 2.3 * 16 * ENTRIES, "hardly anything is read in vain"
    assert all(0 <= message.waited <= message.elapsed for message in finished)
    assert all(message.latency >= ROUND_TRIP for message in finished) == (distance == "far")


def test_a_far_file_is_waited_for_at_the_start_only(far: str) -> None:
    """Chunks of a tenth of a second at a round trip of nearly as much: each would wait for its data."""

    def slowly(events: Any) -> int:
        done = int(np.asarray(events.x).sum())
        time.sleep(2e-5 * len(events))  # stands for computing
        return done

    bench = Bench(spare=False, on_error="skip", q=slowly)
    said = bench.work(
        lease(1, far, 0, 10_000, opening=True), lease(2, far, 10_000, 30_000), lease(3, far, 30_000, 60_000)
    )
    first, second, third = (message for message in said if isinstance(message, m.Finished))
    assert bench.results()["q"] == ENTRIES * (ENTRIES - 1) // 2
    assert first.waited >= ROUND_TRIP, "somebody has to open it"
    assert second.waited + third.waited < 2 * ROUND_TRIP, "of ten chunks and more"


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries from 10,000 to 19,999 cannot be read."""
    whole = Reader.read_ranges

    def read_ranges(self: Reader, branches: Any, ranges: Any) -> Any:
        if any(start < 20_000 and stop > 10_000 for start, stop in ranges):
            raise DatasetError("a basket is damaged")
        return whole(self, branches, ranges)

    monkeypatch.setattr(Reader, "read_ranges", read_ranges)


@pytest.mark.parametrize("analysis", [kernel(), columnar], ids=["kernel", "columnar"])
def test_what_the_thread_meets_is_reported_as_if_there_were_none(
    monkeypatch: pytest.MonkeyPatch, path: Path, analysis: Any
) -> None:
    unreadable(monkeypatch)

    def parts(spare: bool) -> list[m.Part]:
        bench = Bench(spare=spare, on_error="skip", q=analysis)
        said = bench.work(lease(1, str(path), 0, 30_000, last_try=True), lease(2, str(path), 30_000, ENTRIES))
        assert bench.results()["q"]["sums"][0] == sum(
            part.stop - part.start - sum(gap.stop - gap.start for gap in part.gaps)
            for message in said
            if isinstance(message, m.Commit)
            for part in message.parts
        )
        return [part for message in said if isinstance(message, m.Commit) for part in message.parts]

    ahead, as_before = parts(True), parts(False)
    assert [(part.start, part.stop) for part in ahead] == [(part.start, part.stop) for part in as_before]
    for part in (ahead[0], as_before[0]):
        missing = {entry for gap in part.gaps for entry in range(gap.start, gap.stop)}
        assert set(range(10_000, 20_000)) <= missing and len(missing) <= 12_000
        assert {gap.reason for gap in part.gaps} == {"DatasetError: a basket is damaged"}


@pytest.mark.parametrize("spare", [False, True])
def test_damaged_data_fails_its_own_lease_and_no_other(
    monkeypatch: pytest.MonkeyPatch, path: Path, spare: bool
) -> None:
    unreadable(monkeypatch)
    bench = Bench(spare=spare, on_error="skip", q=kernel())
    said = bench.work(*(lease(n, str(path), 10_000 * n, 10_000 * n + 10_000, other_replicas=True) for n in range(3)))
    (failed,) = [message for message in said if isinstance(message, m.Failed)]
    assert (failed.lease, failed.failure.kind, failed.failure.start) == (1, "data", 10_000)
    assert failed.failure.message == "a basket is damaged"
    assert bench.results()["q"]["sums"][0] == 20_000


def test_a_file_that_is_not_there_fails_the_lease_that_opens_it(path: Path) -> None:
    """Also when it was opened ahead, in a thread, while another one was read."""
    bench = Bench(spare=True, on_error="skip", q=kernel())
    none = str(path.with_name("none.root"))
    said = bench.work(lease(1, str(path), 0, ENTRIES), lease(2, none, 0, 10, opening=True), lease(3, str(path), 0, 10))
    (failed,) = [message for message in said if isinstance(message, m.Failed)]
    assert failed.lease == 2 and failed.failure.message == f"there is no file {none}"
    assert [message.lease for message in said if isinstance(message, m.Finished)] == [1, 3]


def test_what_was_read_ahead_for_a_lease_that_is_gone_is_forgotten(path: Path) -> None:
    """The next one is on other entries of the same file."""
    bench = Bench(spare=True, on_error="skip", q=kernel())
    slot = bench.slot
    first, gone, last = (lease(n, str(path), 20_000 * n, 20_000 * n + 20_000) for n in range(3))
    slot.queue.todo.extend([first, gone])
    slot.work(slot.queue.todo.popleft())  # type: ignore[arg-type]
    assert slot.files.prefetch.ordered(("q", 1), 20_000) is not None, "it was read ahead"
    bench.tell(m.Revoke("q", 1))
    assert not slot.queue.todo
    bench.work(last)
    sums = bench.results()["q"]["sums"]
    assert sums[0] == 40_000 and sums[1] == sum(range(20_000)) + sum(range(40_000, 60_000))


def test_entries_that_are_suspected_are_not_read_before_their_time(path: Path) -> None:
    """The slot status says which ones were at work when a slot went down."""
    bench = Bench(spare=True, on_error="skip", q=kernel())
    bench.work(lease(1, str(path), 0, 1000), lease(2, str(path), 1000, 2000, chunk=10))
    assert bench.results()["q"]["sums"][0] == 2000
    assert bench.slot.files.prefetch._order is None


def test_a_slot_has_no_thread_before_it_reads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    SlotProcess(0, Line(), tmp_path, spare=True)  # type: ignore[arg-type]
    assert set(threading.enumerate()) <= before, "those of tests before may end meanwhile"


def test_a_reader_that_was_opened_elsewhere_takes_the_place_of_another(path: Path) -> None:
    cache = ReaderCache(most=1)
    first = cache.get(str(path), "Events")
    cache.adopt(cache.new(str(path), "Events"), str(path), "Events")
    second = cache.peek(str(path), "Events")
    assert second is not None and second is not first and second.entries == ENTRIES
    cache.close()
    assert cache.peek(str(path), "Events") is None


def test_of_many_packets_that_wait_the_files_of_the_next_are_opened_ahead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path
) -> None:
    """Those of all, four at a time, threw each other out, and each was opened many times."""
    opened: Counter[str] = Counter()
    new = ReaderCache.new

    def counted(self: ReaderCache, *place: Any) -> Any:
        opened[place[0]] += 1
        return new(self, *place)

    monkeypatch.setattr(ReaderCache, "new", counted)
    monkeypatch.setattr(Prefetch, "opens", lambda self, path: True)
    paths = [tmp_path / f"{number}.root" for number in range(20)]
    for copy in paths:
        copy.hardlink_to(path)
    bench = Bench(spare=True, q=kernel())
    bench.work(*(lease(number, str(copy), 0, 1000, opening=True) for number, copy in enumerate(paths)))
    assert bench.results()["q"]["sums"][0] == 20 * 1000
    assert opened == {str(copy): 1 for copy in paths}
