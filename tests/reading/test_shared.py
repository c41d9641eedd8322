"""A file whose layout was told is read without a look at its metadata, and only if it still is that file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.cli.sample import write_sample
from eventmill.protocol import messages
from eventmill.protocol.errors import DatasetError
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.reading.shared_layout import SharedLayout
from eventmill.reading.stored_tree import StoredTree
from hypothesis import given
from hypothesis import strategies as st
from skhep_testdata import data_path
from xrootd_server import XRootDServer

COLUMNS = ["Muon_pt", "Muon_charge", "MET_pt"]


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    (file,) = write_sample(tmp_path_factory.mktemp("shared"), events=30_000, files=1)
    return str(file if request.param == "ttree" else rewritten(file))


def rewritten(path: Path) -> Path:
    """The same events as an RNTuple of several cluster groups; its muons also as records, which only uproot reads."""
    reader = Reader(str(path), "Events")
    with uproot.recreate(path.with_name("rntuple.root"), compression=uproot.ZSTD(1)) as file:
        ntuple = None
        for start in range(0, 30_000, 10_000):
            columns = {name: ak.Array(layout_of(c)) for name, c in reader.read(COLUMNS, start, start + 10_000).items()}
            columns["Muons"] = ak.zip({"pt": columns["Muon_pt"], "charge": columns["Muon_charge"]})
            if ntuple is None:
                ntuple = file.mkrntuple("Events", columns)
            else:
                ntuple.extend(columns)
    return path.with_name("rntuple.root")


def same(one: Reader, other: Reader, start: int, stop: int) -> bool:
    first, second = one.read(COLUMNS, start, stop), other.read(COLUMNS, start, stop)
    lists = [(first[name], second[name]) for name in COLUMNS[:2]]
    return np.array_equal(first["MET_pt"].values, second["MET_pt"].values) and all(
        np.array_equal(np.diff(a.offsets), np.diff(b.offsets))
        and np.array_equal(
            a.content.values[a.offsets[0] : a.offsets[-1]], b.content.values[b.offsets[0] : b.offsets[-1]]
        )
        for a, b in lists
    )


def test_columns_and_layout_are_the_same_and_no_metadata_are_read(path: str) -> None:
    first = Reader(path, "Events")
    told = Reader(path, "Events", layout=first.news())
    assert told.bytes_read == told.traffic.requests == 0 < first.bytes_read
    assert (told.entries, told.identity, told.tree) == (first.entries, first.identity, "Events")
    assert told.layout(COLUMNS) == first.layout(COLUMNS) and told.stride(COLUMNS) == first.stride(COLUMNS)
    assert list(told.names) == list(first.names) and same(first, told, 5_000, 25_000)
    assert told.columns.forms() == first.columns.forms() and not told.stored.tree_aliases
    assert told.events(5, 9).Muon_pt.to_list() == first.events(5, 9).Muon_pt.to_list()
    assert "directory" not in vars(told.stored), "uproot has not opened it"


def test_what_was_told_is_not_told_again_and_nothing_twice(path: str) -> None:
    first = Reader(path, "Events")
    news = first.news()
    assert news and not first.news() and not Reader(path, "Events", layout=news).news()


def test_what_is_not_plain_is_still_uproots(path: str) -> None:
    told = Reader(path, "Events", layout=Reader(path, "Events").news())
    first = Reader(path, "Events")
    name = "Muons" if first.stored.is_rntuple else "Muon_pt"
    whole = told.array(name, 10, 20) if first.stored.is_rntuple else told.names[name].array()[10:20]
    assert whole.to_list() == first.array(name, 10, 20).to_list()
    assert "directory" in vars(told.stored) and told.stored.directory.file.uuid


def test_a_file_that_was_replaced_is_opened_anew(path: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.root"
    copy.write_bytes(Path(path).read_bytes())
    news = Reader(str(copy), "Events").news()
    (other,) = write_sample(tmp_path / "other", events=20_000, files=1, seed=3)
    copy.write_bytes(other.read_bytes())
    reader = Reader(str(copy), "Events", layout=news)
    assert reader.entries == 20_000 and reader.news()


def test_what_uproot_cannot_open_later_names_the_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a read, too: when names are looked up, aliases, or how long baskets are."""
    told = Reader(path, "Events", layout=Reader(path, "Events").news())

    def damaged(*_: object) -> None:
        raise ValueError("this makes no sense")

    monkeypatch.setattr(StoredTree, "_find_tree", damaged)
    monkeypatch.setattr(told.columns.baskets, "branch", lambda name: None)
    asks: list[Callable[[], object]] = [lambda: told.names["MET_pt"]]
    for ask in asks if told.stored.is_rntuple else [*asks, told.stride]:
        with pytest.raises(DatasetError, match=r"\.root cannot be opened: this makes no sense"):
            ask()


def test_what_uproot_reads_of_a_told_file_is_counted_too(path: str) -> None:
    told = Reader(path, "Events", layout=Reader(path, "Events").news())
    assert told.bytes_read == told.traffic.requests == 0
    told.array("Muon_pt", 0, 30_000)
    assert told.bytes_read == told.traffic.bytes_read > 100_000 and told.traffic.requests > 1


def test_a_file_that_was_told_is_not_mixed_with_one_that_takes_its_place(tmp_path: Path) -> None:
    """Plain branches are read from the file that was opened; uproot would open the one that is there by now."""

    def write(value: int) -> str:
        with uproot.recreate(tmp_path / "new.root") as file:
            tree = file.mktree("events", {"x": np.int64, "text": "string"})
            tree.extend({"x": np.full(100, value), "text": [str(value)] * 100})
        return str((tmp_path / "new.root").rename(tmp_path / "events.root"))

    path = write(1)
    news = Reader(path, "events").news()
    told, late = Reader(path, "events", layout=news), Reader(path, "events", layout=news)
    assert told.array("text", 0, 1).tolist() == ["1"]
    write(2)
    assert late.read(["x"], 0, 1)["x"].values.tolist() == [1]
    with pytest.raises(DatasetError, match=r"events\.root has changed since it was opened"):
        late.array("text", 0, 1)


def test_a_cache_opens_with_what_it_was_offered(path: str) -> None:
    cache = ReaderCache()
    cache.offer(path, "Events", Reader(path, "Events").news())
    assert cache.get(path, "Events").bytes_read == 0


def test_a_tree_that_only_uproot_can_describe_is_not_told() -> None:
    assert Reader(data_path("uproot-issue413.root"), "mytree").news() == b""


def test_a_layout_that_is_too_large_is_not_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventmill.reading.shared_layout.LARGEST_LAYOUT", 10)
    assert Reader(path, "Events").news() == b"" and messages.LARGEST_LAYOUT > 1_000_000


def test_a_layout_that_takes_too_much_memory_is_not_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of four million baskets, as `hadd` makes them of many small ones, used to fail its query by that."""
    for module in ("ttree.basket_layout", "rntuple.ntuples"):
        monkeypatch.setattr(f"eventmill.reading.{module}.MOST_BYTES", 10)
    assert Reader(path).news() == b""


@given(data=st.data())
def test_bytes_that_are_no_layout_do_no_harm(path: str, data: st.DataObject) -> None:
    """They come over a network: whatever they are, the file is read as it is, or they are refused in words."""
    whole = bytearray(Reader(path, "Events").news())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        tree = SharedLayout.unpacked(bytes(whole)).description()
    except ValueError:
        assert Reader(path, "Events", layout=bytes(whole)).entries == 30_000
    else:
        assert tree.entries >= 0


def test_a_far_file_costs_one_round_trip_less(xrootd_server: XRootDServer, path: str) -> None:
    Path(xrootd_server.folder, "shared.root").write_bytes(Path(path).read_bytes())
    url = f"{xrootd_server.url}/shared.root"
    first = Reader(url, "Events")
    told = Reader(url, "Events", layout=first.news())
    assert 0 < first.traffic.requests <= 2, "however many page lists an RNTuple has, they are asked for together"
    assert told.traffic.requests == told.bytes_read == 0
    assert same(first, told, 100, 29_000)
