"""Entry lists, run/lumi masks and the identity of files: what slots do with them, and whole queries."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import eventmill as em
import msgspec
import numpy as np
import pytest
import uproot
from bench import Bench, only
from eventmill.analysis.sent_files import FilesAtHand
from eventmill.dataset.masks import Mask
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.merge import Partial, encode
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol import messages
from eventmill.protocol.errors import DatasetError
from eventmill.reading.picks import LARGEST_READ, picked
from eventmill.reading.reader import Reader
from eventmill.reading.selection import Selection, listed, masked
from eventmill.worker.slot.chunks import ChunkSizes
from eventmill.worker.slot.modules import OwnModules
from eventmill.worker.slot.seeding import Seed
from eventmill.worker.slot.tasks import Task, TaskContext
from eventmill.worker.slot.unpacked_files import unpack_files
from eventmill.writing.slot_rows import SlotRows
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples
from skhep_testdata import data_path
from xrootd_server import XRootDServer

SECONDS = 60
ENTRIES = 4000
BASKET = 500
BRANCHES = ["n", "x", "pt", "run", "luminosityBlock"]
MASK = {"1": [[2, 3]], "3": [[1, 1], [4, 9]]}
SOME = st.sets(st.integers(0, ENTRIES - 1), max_size=60)


def write(path: Path, seed: int = 1) -> Path:
    """A file of 8 baskets a branch; runs last 1000 entries, sections 250."""
    rng = np.random.default_rng(seed)
    with uproot.recreate(path, compression=None) as file:
        kinds = {"n": "i8", "x": "f8", "run": "u4", "luminosityBlock": "u4", "pt": "var * float32"}
        tree = file.mktree("Events", kinds)
        for start in range(0, ENTRIES, BASKET):
            n = np.arange(start, start + BASKET)
            counts = rng.poisson(1.5, BASKET)
            tree.extend(
                {
                    "n": n,
                    "x": rng.normal(size=BASKET),
                    "run": (n // 1000 + 1).astype("u4"),
                    "luminosityBlock": (n % 1000 // 250 + 1).astype("u4"),
                    "pt": ak.unflatten(rng.exponential(20, counts.sum()).astype("f4"), counts),
                }
            )
    return path


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("listed") / "a.root")


@pytest.fixture(scope="session")
def reader(path: Path) -> Iterator[Reader]:
    opened = Reader(str(path), "Events")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def events(path: Path) -> ak.Array:
    """All events, as uproot reads them."""
    return uproot.open(path)["Events"].arrays()


# --- reading by position ----------------------------------------------------------------------------------------------


@examples(25)
@given(entries=SOME, cut=st.integers(0, 60), first=st.integers(0, 3))
def test_listed_entries_are_read_and_no_others(
    reader: Reader, events: ak.Array, entries: set[int], cut: int, first: int
) -> None:
    """As columns of a kernel and as events, whole and from the middle on."""
    expected = events[sorted(entries)]
    start, stop = min(cut, len(entries)), len(entries)
    selection = Selection(reader, EntryList.from_entries(list(entries)), first)
    columns = selection.read(BRANCHES, first + start, first + stop)
    lazy = selection.events(first + start, first + stop)
    for name in BRANCHES:
        values = columns[name].content.values if name == "pt" else columns[name].values  # type: ignore[union-attr]
        flat = ak.to_numpy(ak.flatten(expected[name][start:], axis=None))
        if name == "pt":
            offsets = columns[name].offsets  # type: ignore[union-attr]
            assert np.diff(offsets).tolist() == ak.num(expected.pt[start:]).tolist()
            values = values[offsets[0] : offsets[-1]]
        assert values.tolist() == flat.tolist()
        assert values.dtype == flat.dtype
        assert ak.array_equal(ak.materialize(lazy[name]), expected[name][start:], dtype_exact=True)
    assert selection.numbers(first + start, first + stop).tolist() == sorted(entries)[start:]


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("uproot-HZZ-objects.root", "events"),
        ("uproot-issue38b.root", "ntupler/tree"),
        ("uproot-vectorVectorDouble.root", "t"),
        ("uproot-Zmumu.root", "events"),
        ("uproot-issue327.root", "DstTree"),
    ],
)
def test_branches_of_all_kinds_of_listed_entries(name: str, tree: str) -> None:
    """Also what goes through uproot, entries of different baskets joined."""
    reader = Reader(data_path(name), tree)
    some = np.arange(0, reader.entries, max(2, reader.entries // 50))
    selection = Selection(reader, EntryList.from_entries(some))
    selection._stride = 1
    assert len(selection._pick(0, len(some)).ranges) > 1 or reader.entries < 10
    lazy = selection.events(0, len(some))
    compared = 0
    for branch in list(reader.columns.forms())[:60]:
        try:
            expected = reader.names[branch].array(library="ak")[some]
        except (ValueError, NotImplementedError, IndexError):
            continue
        got = ak.materialize(lazy[branch])
        assert ak.array_equal(ak.to_packed(got), ak.to_packed(expected), equal_nan=True), branch
        compared += 1
    assert compared
    reader.close()


def test_an_rntuple_of_listed_entries(tmp_path: Path) -> None:
    path = tmp_path / "rntuple.root"
    content = {"met": np.arange(100.0), "name": ak.Array(["mu", "", "electron", "x"] * 25)}
    with uproot.recreate(path) as file:
        file.mkrntuple("ntuple", {**content, "pt": ak.unflatten(np.arange(250.0), [5, 0] * 50)})
    reader = Reader(str(path), "ntuple")
    some = [0, 1, 50, 51, 98]
    selection = Selection(reader, EntryList.from_entries(some))
    lazy = selection.events(0, 5)
    expected = uproot.open(path)["ntuple"].arrays()[some]
    for name in ("met", "name", "pt"):
        assert ak.materialize(lazy[name]).tolist() == expected[name].tolist()
    assert len(selection.read(["met", "pt", "name"], 1, 4)["name"]) == 3
    reader.close()


def test_baskets_without_listed_entries_are_not_read(path: Path) -> None:
    reader = Reader(str(path), "Events")
    selection = Selection(reader, EntryList.from_entries([10, 20, 3900]), branches=["x"])
    before = reader.bytes_read
    selection.read(["x"], 0, 3)
    assert reader.bytes_read - before < 2.2 * 8 * BASKET, "two baskets of eight"
    reader.close()


def test_entries_close_to_each_other_are_read_in_one_go() -> None:
    entries = np.array([0, 5, 10, 500, 505])
    assert picked(entries, stride=100).ranges == [(0, 11), (500, 506)]
    assert [inside.tolist() for inside in picked(entries, stride=100).inside] == [[0, 5, 10], [0, 5]]
    assert picked(entries, stride=1000).ranges == [(0, 506)]
    dense = picked(np.arange(0, 3 * LARGEST_READ, 2), stride=1000)
    assert max(stop - start for start, stop in dense.ranges) <= LARGEST_READ, "memory is bounded"
    assert picked(np.arange(7, 20), stride=5).is_whole


def test_listed_entries_of_a_far_file_are_fetched_with_one_request(xrootd_server: XRootDServer) -> None:
    path = xrootd_server.folder / "listed.root"
    rng = np.random.default_rng(5)
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {"x": "f8", "y": "var * float64"})
        for _ in range(10):
            tree.extend({"x": rng.normal(size=5000), "y": ak.unflatten(rng.normal(size=10_000), [2] * 5000)})
    reader = Reader(f"{xrootd_server.url}/listed.root", "Events", timeout=10)
    some = np.array([5, 6, 12_000, 30_000, 49_999])
    selection = Selection(reader, EntryList.from_entries(some), branches=["x", "y"])
    source = reader.names["x"].file.source
    before = source.num_requests
    selection.ahead(["x", "y"], 0, 5)
    assert source.num_requests == before + 1
    columns = selection.read(["x", "y"], 0, 5)
    assert source.num_requests == before + 1
    expected = uproot.open(path)["Events"].arrays()[some]
    assert columns["x"].values.tolist() == expected.x.tolist()  # type: ignore[union-attr]
    reader.touched = {"x", "y"}
    lazy = Selection(reader, EntryList.from_entries(some + 0)).events(0, 5)
    before = source.num_requests
    assert lazy.y.tolist() == expected.y.tolist() and lazy.x.tolist() == expected.x.tolist()
    assert source.num_requests == before
    reader.close()


def test_the_layout_counts_positions(reader: Reader) -> None:
    selection = Selection(reader, EntryList([0, 10, 490, 510, 3000, 3001]))
    assert selection.layout(["x"]).clusters == (0, 20, 30, 31)
    assert selection.layout(["x"]).entries == 31
    nothing = Selection(reader, EntryList([])).layout()
    assert (nothing.entries, nothing.clusters) == (0, (0,))


# --- masks ------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12)), max_size=20),
    st.dictionaries(
        st.integers(1, 5),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)).map(lambda it: [it[0], it[0] + it[1]]), max_size=4),
    ),
)
def test_a_mask_leaves_the_events_of_good_sections(
    blocks: list[tuple[int, int, int]], sections: dict[int, list[list[int]]]
) -> None:
    """Against looking each event up; the last section of a range is good, sections may overlap."""
    run = np.array([run for run, _, length in blocks for _ in range(length)], dtype="u4")
    lumi = np.array([lumi for _, lumi, length in blocks for _ in range(length)], dtype="u4")
    mask = Mask.unpack(Mask(sections).pack())
    good = [
        any(first <= section <= last for first, last in sections.get(number, []))
        for number, section in zip(run.tolist(), lumi.tolist(), strict=True)
    ]
    assert mask.entry_list(run, lumi).entries().tolist() == np.flatnonzero(good).tolist()


def test_a_mask_of_a_file(reader: Reader, events: ak.Array) -> None:
    good = ((events.run == 1) & (events.luminosityBlock >= 2) & (events.luminosityBlock <= 3)) | (
        (events.run == 3) & ((events.luminosityBlock == 1) | (events.luminosityBlock >= 4))
    )
    expected = np.flatnonzero(good)
    assert masked(reader, Mask(MASK)).entries().tolist() == expected.tolist()
    both = listed(reader, [0, 400, 2900, 3100], Mask(MASK))
    assert both is not None
    assert both.entries().tolist() == [entry for entry in expected if entry < 400 or 2900 <= entry < 3100]


def test_a_file_that_cannot_be_masked_is_an_error_in_words(reader: Reader) -> None:
    with pytest.raises(DatasetError, match=r"a\.root has no branch lumi, which the mask needs.*mask_branches="):
        masked(reader, Mask(MASK, ("run", "lumi")))
    with pytest.raises(DatasetError, match=r"branch pt of .*a\.root is not one whole number an event"):
        masked(reader, Mask(MASK, ("run", "pt")))
    with pytest.raises(DatasetError, match="branch x of"):
        masked(reader, Mask(MASK, ("x", "run")))


def test_an_entry_list_beyond_the_end_of_the_file(reader: Reader) -> None:
    with pytest.raises(DatasetError, match=r"the entry list names entry 5000 of .*a\.root, which has 4000"):
        listed(reader, [0, 10, 5000, 5001], None)


# --- a slot -----------------------------------------------------------------------------------------------------------


def masking(mask: Any) -> list[bytes]:
    """What comes with a query that has a mask."""
    return SharedInputs(mask=Mask(mask).pack()).packed()


def numbers(events: Any) -> dict[str, Any]:
    return {"n": np.bincount(ak.to_numpy(events.n), minlength=ENTRIES), "calls": 1}


@em.kernel(seen=np.zeros(ENTRIES))
def seen_by_kernel(seen: Any, n: Any, pt: Any) -> None:
    seen[n] += 1
    if len(pt) > 1000:
        raise ValueError("no")


def lease(path: Path, start: int, stop: int, **more: Any) -> messages.Lease:
    return messages.Lease(1, "q", 0, messages.File(str(path), "Events"), start, stop, 10.0, **more)


def opened(said: list[messages.Message]) -> messages.Opened:
    return only(messages.Opened, said)


def failed(said: list[messages.Message]) -> messages.Failure:
    return only(messages.Failed, said).failure


def test_the_slot_that_opens_a_file_with_an_entry_list_speaks_of_positions(tmp_path: Path, path: Path) -> None:
    bench = Bench(tmp_path, q=numbers)
    said = bench.work(lease(path, 0, 15, opening=True, runs=[0, 10, 490, 510, 3000, 3001]))
    message = opened(said)
    assert (message.entries, message.stop, message.clusters) == (31, 15, [0, 20, 30, 31])
    assert message.listed is None and message.identity
    (finished,) = (message for message in said if isinstance(message, messages.Finished))
    assert finished.stop == 15
    assert np.flatnonzero(bench.results()["q"]["n"]).tolist() == [*range(10), *range(490, 495)]
    bench.work(lease(path, 15, 31, runs=[495, 510, 3000, 3001], identity=message.identity))
    assert np.flatnonzero(bench.results()["q"]["n"]).tolist() == [*range(495, 510), 3000]
    assert bench.results()["q"]["calls"] == 1, "one chunk, whatever the number of runs"


def test_the_first_packet_ends_at_a_cluster(tmp_path: Path, path: Path) -> None:
    bench = Bench(tmp_path, q=numbers)
    said = bench.work(lease(path, 0, 25, opening=True, runs=[0, 10, 490, 510, 3000, 3001]))
    assert opened(said).stop == 20


@pytest.mark.parametrize("analysis", [numbers, seen_by_kernel])
def test_the_slot_that_opens_a_masked_file_tells_what_the_mask_has_left(
    tmp_path: Path, path: Path, analysis: Any
) -> None:
    bench = Bench(tmp_path, shared_inputs=masking(MASK), q=analysis)
    message = opened(bench.work(lease(path, 0, 100, opening=True)))
    assert message.listed == [250, 750, 2000, 2250, 2750, 3000]
    assert (message.entries, message.stop) == (1000, 100)
    name = "n" if analysis is numbers else "seen"
    assert np.flatnonzero(bench.results()["q"][name]).tolist() == [*range(250, 350)]
    bench.work(lease(path, 450, 760, runs=[700, 750, 2000, 2250, 2750, 2760], identity=message.identity))
    assert np.flatnonzero(bench.results()["q"][name]).tolist() == [
        *range(700, 750),
        *range(2000, 2250),
        *range(2750, 2760),
    ]


@pytest.mark.parametrize(("runs", "mask"), [([], None), (None, {"77": [[1, 5]]}), ([0, 10], MASK), (None, {})])
def test_a_file_of_which_nothing_is_listed_is_like_an_empty_one(
    tmp_path: Path, path: Path, runs: list[int] | None, mask: Any
) -> None:
    bench = Bench(tmp_path, shared_inputs=[] if mask is None else masking(mask), q=numbers)
    said = bench.work(lease(path, 0, 100, opening=True, runs=runs))
    assert (opened(said).entries, opened(said).stop, opened(said).clusters) == (0, 0, [0])
    assert not any(isinstance(message, messages.Failed) for message in said)
    assert bench.results()["q"]["n"].sum() == 0


@pytest.mark.parametrize("kernel", [True, False])
def test_errors_name_entries_of_the_file(tmp_path: Path, path: Path, kernel: bool) -> None:
    @em.kernel(out=np.zeros(1))
    def compiled(out: Any, n: Any) -> None:
        if n == 3000:
            raise ValueError("three thousand")

    def columnar(events: Any) -> int:
        if ak.any(events.n == 3000):
            raise ValueError("three thousand")
        return 0

    bench = Bench(tmp_path, q=compiled if kernel else columnar)
    failure = failed(bench.work(lease(path, 100, 110, runs=[2000, 2005, 2998, 3003])))
    assert (failure.start, failure.stop) == ((3000, 3001) if kernel else (2000, 3003))
    assert failure.message == "three thousand"
    assert "in entry 3000, kernel compiled" in failure.notes or not kernel
    assert kernel or 'raise ValueError("three thousand")' in failure.traceback


def test_a_lease_that_names_entries_beyond_the_file_fails_in_words(tmp_path: Path, path: Path) -> None:
    failure = failed(Bench(tmp_path, q=numbers).work(lease(path, 0, 10, opening=True, runs=[5000, 5001])))
    assert (failure.kind, failure.error) == ("data", "DatasetError")
    assert "the entry list names entry 5000 of" in failure.message


# --- files that change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replaced", "written over", "cut off", "removed"])
def test_a_file_that_changes_while_a_query_runs_fails_the_lease_in_words(tmp_path: Path, how: str) -> None:
    """Also in the slot that has it open: what it would read is not what others read. It must not kill the slot."""
    path = write(tmp_path / "a.root")
    bench = Bench(tmp_path, q=numbers)
    identity = opened(bench.work(lease(path, 0, 100, opening=True))).identity
    if how == "replaced":
        write(tmp_path / "b.root", seed=2).replace(path)
    elif how == "written over":
        path.write_bytes(write(tmp_path / "b.root", seed=2).read_bytes())
    elif how == "cut off":
        os.truncate(path, 20_000)
    else:
        path.unlink()
    words = {
        "cut off": r"a.root cannot be opened: it has 20000 bytes of",
        "removed": "there is no file",
    }.get(how, "has changed while the query ran: when it was opened first, it had")
    for _ in range(2):
        failure = failed(bench.work(lease(path, 100, 200, identity=identity)))
        assert (failure.kind, failure.error) == ("data", "DatasetError")
        assert words in failure.message
        assert str(path) in failure.message


def growing(events: Any, file: Any) -> int:
    """An analysis during which somebody goes on writing to the file."""
    with Path(file.path).open("ab") as end:
        end.write(b"more")
    return len(events)


def test_a_file_that_grows_while_it_is_read_fails_the_lease_in_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root")
    failure = failed(Bench(tmp_path, q=growing).work(lease(path, 0, 100, opening=True)))
    assert (failure.kind, failure.error) == ("data", "DatasetError")
    assert failure.message == f"{path} was written to while it was read: submit the query again"


def test_a_file_that_is_cut_off_while_it_is_read_is_an_error_and_kills_nobody(tmp_path: Path) -> None:
    """A file mapped into memory would end the process with SIGBUS."""
    path = write(tmp_path / "a.root")
    reader = Reader(str(path), "Events")
    os.truncate(path, 20_000)
    with pytest.raises(DatasetError, match=r"a\.root cannot be read: it ends before byte"):
        reader.read(["x"], 0, ENTRIES)
    with pytest.raises(DatasetError, match=r"a\.root cannot be (read|opened)"):
        reader.array("x", 0, ENTRIES)
    reader.close()


def test_a_new_query_opens_a_file_anew_that_has_changed_since(tmp_path: Path) -> None:
    path = write(tmp_path / "a.root")
    bench = Bench(tmp_path, q=numbers)
    before = opened(bench.work(lease(path, 0, 100, opening=True)))
    first = bench.slot.readers.get(str(path), "Events")
    again = opened(bench.work(lease(path, 0, 100, opening=True)))
    assert again.identity == before.identity
    assert bench.slot.readers.get(str(path), "Events") is first, "not opened again without need"
    write(tmp_path / "b.root", seed=2).replace(path)
    changed = opened(bench.work(lease(path, 0, 100, opening=True)))
    assert changed.identity != before.identity


class Ticking(Task):
    """An analysis for which every chunk takes 0.1 s of a clock that only it moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.share(TaskContext(OwnModules({}), FilesAtHand({}, unpack_files), {}, Seed(0), SlotRows("", "")))

    def run(self, source: Any, file: Any, start: int, stop: int) -> None:
        self.now += 0.1

    def take(self) -> Partial:
        return encode(0)

    def discard(self) -> None:
        pass


@pytest.mark.parametrize(("seconds", "times"), [(1.0, 3), (8.0, 3), (24.0, 1), (100.0, 0)])
def test_slots_tell_where_they_are_a_few_times_a_packet(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    """A packet of minutes is no reason for a message every quarter of a second from each of thousands of slots."""
    task = Ticking()
    clock = SimpleNamespace(monotonic=lambda: task.now, process_time=lambda: 0.0)
    monkeypatch.setattr("eventmill.worker.slot.packet_run.time", clock)
    bench = Bench(tmp_path, q=numbers)
    bench.slot.queue.queries["q"].task = task
    bench.slot.queue.queries["q"].chunks = ChunkSizes(bounds=(100, 100))
    said = bench.work(msgspec.structs.replace(lease(path, 0, ENTRIES), seconds=seconds))
    assert sum(isinstance(message, messages.Reached) for message in said) in (times, times + 1)


# --- whole queries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("analysis", [numbers, seen_by_kernel])
def test_a_query_over_listed_entries_counts_each_once(
    session: em.Session, tmp_path: Path, events: ak.Array, analysis: Any
) -> None:
    """Bin by bin, over files with a list, with all, and with nothing."""
    paths = [write(tmp_path / f"{name}.root") for name in "abc"]
    some = np.random.default_rng(1).choice(ENTRIES, 300, replace=False)
    data = em.Dataset(
        str(tmp_path / "*.root"), "Events", entries={paths[0]: some, paths[1]: slice(None), paths[2]: range(0)}
    )
    result = session.process(data, analysis).result(SECONDS)
    expected = np.ones(ENTRIES)
    expected[some] += 1
    assert result["n" if analysis is numbers else "seen"].tolist() == expected.tolist()
    assert result.account.total == result.account.processed == ENTRIES + 300
    assert result.account.lost == []


def test_a_query_with_a_mask_and_an_entry_list(session: em.Session, path: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps(MASK))
    for entries, expected in ((None, 1000), (range(0, ENTRIES, 2), 500)):
        data = em.Dataset(path, "Events", entries=entries, mask=golden)
        result = session.process(data, numbers).result(SECONDS)
        assert result["n"].sum() == result.account.processed == result.account.total == expected
        assert set(result["n"][250:750:2]) == {1}


def test_skipped_errors_list_entries_of_the_file(session: em.Session, path: Path, tmp_path: Path) -> None:
    def picky(events: Any) -> int:
        if ak.any(events.n == 2000):
            raise ValueError("no")
        return len(events)

    lists = {write(tmp_path / "b.root"): range(5), path: [10, 20, 2000]}
    result = session.process(em.Dataset(list(lists), "Events", entries=lists), picky, on_error="skip").result(SECONDS)
    (lost,) = result.account.lost
    assert (lost.path, lost.start, lost.stop) == (str(path), 2000, 2001)
    assert (result.value, result.account.processed, result.account.failed) == (7, 7, 1)


def test_a_file_that_is_replaced_in_the_middle_of_a_query_is_told_of(session: em.Session, tmp_path: Path) -> None:
    path, other = write(tmp_path / "a.root"), write(tmp_path / "b.root", seed=2)

    def replacing(events: Any) -> int:
        import contextlib
        import time

        with contextlib.suppress(FileNotFoundError):  # a call before this one has done so
            other.replace(path)
        time.sleep(0.3)
        return len(events)

    with pytest.raises(DatasetError, match=r"a\.root has changed while the query ran: when it was opened first"):
        session.process(em.Dataset(path, "Events"), replacing).result(SECONDS)


@pytest.mark.filterwarnings("ignore")
def test_a_coffea_processor_gets_the_listed_events_only(tmp_path: Path) -> None:
    processor = pytest.importorskip("coffea.processor")
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        kinds = {"run": "u4", "luminosityBlock": "u4", "event": "u8", "Other_n": "i8"}
        tree = file.mktree("Events", {**kinds, "Thing": "var * {pt: float32}"})
        for start in range(0, ENTRIES, BASKET):
            flat = {name: np.arange(start, start + BASKET).astype(kind) for name, kind in kinds.items()}
            tree.extend({**flat, "Thing": ak.unflatten(ak.zip({"pt": np.ones(2 * BASKET, "f4")}), [2] * BASKET)})

    class Sums(processor.ProcessorABC):  # type: ignore[name-defined,misc,unused-ignore]
        def process(self, events: Any) -> dict[str, Any]:
            return {"n": int(ak.sum(events.Other.n)), "pt": float(ak.sum(events.Thing.pt)), "events": len(events)}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    bench = Bench(tmp_path, q=Sums())
    said = bench.work(lease(path, 100, 110, runs=[2000, 2005, 2998, 3003]))
    assert not any(isinstance(message, messages.Failed) for message in said), said
    assert bench.results()["q"] == {"n": 5 * 2002 + 5 * 3000, "pt": 20.0, "events": 10}


def test_what_was_lost_is_submitted_again_and_merged_with_the_first_result(session: em.Session, tmp_path: Path) -> None:
    """A first run without some files and entries, a second over what it lost: together they are the whole."""
    numbers = np.arange(10_000)
    for name, low in (("good", 0), ("late", 10_000)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["Events"] = {"x": numbers + low}
    (tmp_path / "late.root").rename(tmp_path / "hidden")
    (tmp_path / "late.root").write_bytes(b"not yet copied" * 100)
    stumble = tmp_path / "stumble"
    stumble.touch()

    def spectrum(events: Any) -> Any:
        if stumble.exists() and ak.any(events.x == 5000):
            raise ValueError("one event")
        return {"x": Hist.new.Reg(100, 0, 20_000).Double().fill(events.x + 0.5)}

    data = em.Dataset([str(tmp_path / "good.root"), str(tmp_path / "late.root")], tree="Events")
    first = session.process(data, spectrum, on_error="skip").result(timeout=60)
    assert first.account.lost
    stumble.unlink()
    (tmp_path / "hidden").replace(tmp_path / "late.root")
    rest = session.process(first.account.failed_dataset(), spectrum).result(timeout=60)
    whole = first.merged(rest)
    assert whole.account.total == whole.account.processed == 20_000
    assert not whole.account.lost
    np.testing.assert_array_equal(whole["x"].values(), np.full(100, 200.0))
    with pytest.raises(em.errors.DatasetError, match="nothing is missing"):
        whole.account.failed_dataset()
    with pytest.raises(em.errors.DatasetError, match="it is to be that of"):
        whole.merged(rest)
