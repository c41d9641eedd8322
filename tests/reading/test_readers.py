"""Readers against uproot as the reference, on real files of many writers; and what they say of broken ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import DatasetError
from eventmill.reading.clustering import FileLayout
from eventmill.reading.columns import Column, Flat, Jagged, Strings
from eventmill.reading.read_errors import read_errors
from eventmill.reading.reader import Reader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.reading.selection import Selection
from eventmill.reading.view import View
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples
from skhep_testdata import data_path
from xrootd_server import XRootDServer

HZZ = "uproot-HZZ.root"
MUONS = ["Muon_Px", "Muon_Py", "Muon_Charge", "MET_px", "NMuon"]


def awkward(column: Column) -> Any:
    """A column as an awkward layout."""
    if isinstance(column, Flat):
        assert column.values.dtype.isnative
        return ak.Array(column.values).layout
    offsets = ak.index.Index64(column.offsets)
    if isinstance(column, Jagged):
        return ak.contents.ListOffsetArray(offsets, awkward(column.content))
    characters = ak.contents.NumpyArray(column.characters, parameters={"__array__": "char"})
    return ak.contents.ListOffsetArray(offsets, characters, parameters={"__array__": "string"})


def agree(column: Column, expected: ak.Array) -> bool:
    """Same structure, numeric type and values; fixed sizes may be lists."""
    return bool(
        ak.array_equal(
            ak.from_regular(awkward(column), axis=None), ak.from_regular(expected, axis=None), equal_nan=True
        )
    )


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of all that uproot can write: 5 baskets of 400 entries, as a TTree and as an RNTuple."""
    path = tmp_path_factory.mktemp("written") / "all.root"
    rng = np.random.default_rng(1)
    types = {"b": "bool", "i1": "i1", "u2": "u2", "i4": "i4", "u8": "u8", "f4": "f4", "f8": "f8"}
    lists = {"Muon": ak.types.from_datashape("var * {pt: float32, charge: int32}", highlevel=False)}
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("Events", {**types, "fixed": ("f4", (3,)), "matrix": ("i2", (2, 2)), **lists})
        for _ in range(5):
            counts = rng.poisson(1.5, 400)
            muons = {
                "pt": rng.exponential(20, counts.sum()).astype("f4"),
                "charge": rng.integers(-1, 2, counts.sum(), "i4"),
            }
            flat = {name: rng.integers(0, 2 if name == "b" else 100, 400).astype(kind) for name, kind in types.items()}
            arrays = {"fixed": rng.normal(size=(400, 3)).astype("f4"), "matrix": rng.integers(0, 9, (400, 2, 2), "i2")}
            tree.extend({**flat, **arrays, "Muon": ak.unflatten(ak.zip(muons), counts)})
        events = {"met": rng.normal(size=100).astype("f4"), "pt": ak.unflatten(np.arange(250.0), [5, 0] * 50)}
        file.mkrntuple("ntuple", {**events, "name": ak.Array(["mu", "", "electron", "x"] * 25)})
        file.mktree("empty", types)
    return path


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["", "-zlib", "-lzma", "-lz4", "-zstd", "-uncompressed"])
def test_every_codec(codec: str) -> None:
    path = data_path(f"uproot-HZZ{codec}.root")
    reader = Reader(path, "events")
    expected = uproot.open(path)["events"].arrays(MUONS)
    columns = reader.read(MUONS, 0, reader.entries)
    assert all(agree(columns[name], expected[name]) for name in MUONS)
    assert all(reader.columns.is_plain(name) for name in MUONS)
    reader.close()


@pytest.mark.parametrize(
    ("name", "tree", "what"),
    [
        ("uproot-Zmumu.root", "events", "numbers and strings"),
        ("uproot-issue63.root", "WtLoop_nominal", "an ATLAS ntuple of 157 branches"),
        ("uproot-HZZ-objects.root", "events", "vectors of numbers"),
        ("uproot-issue283.root", "sn_all", "vectors in several baskets"),
        ("uproot-issue38b.root", "ntupler/tree", "vectors of every type"),
        ("uproot-issue187.root", "fTreeV0", "lists with a table, of arrays too, and baskets embedded in the tree"),
        ("uproot-issue327.root", "DstTree", "fixed-size arrays, embedded baskets, branches shorter than the tree"),
        ("uproot-from-geant4.root", "HitStrips", "baskets embedded in the tree only"),
        ("uproot-vectorVectorDouble.root", "t", "vectors of vectors"),
    ],
)
def test_real_files_of_many_kinds(name: str, tree: str, what: str) -> None:
    """Whole, and from the middle of one basket to the middle of another."""
    reader = Reader(data_path(name), tree)
    start, stop = reader.entries // 3, reader.entries - reader.entries // 4
    compared = 0
    for branch in list(reader.names)[:90]:
        try:
            whole = reader.read([branch], 0, reader.entries)[branch]
        except DatasetError:
            continue
        expected = reader.names[branch].array(library="ak")
        assert agree(whole, expected), branch
        assert agree(reader.read([branch], start, stop)[branch], expected[start:stop]), branch
        compared += 1
    assert compared >= min(len(reader.names), 90) / 2 or compared > 20
    reader.close()


def test_all_that_uproot_writes_to_trees(written: Path) -> None:
    reader = Reader(str(written), "Events")
    expected = uproot.open(written)["Events"].arrays()
    for name in expected.fields:
        assert agree(reader.read([name], 0, 2000)[name], expected[name]), name
        assert reader.columns.is_plain(name)
    reader.close()


def test_rntuples(written: Path) -> None:
    reader = Reader(str(written), "ntuple")
    expected = uproot.open(written)["ntuple"].arrays()
    columns = reader.read(["met", "pt", "name"], 10, 90)
    assert all(agree(columns[name], expected[name][10:90]) for name in columns)
    assert isinstance(columns["name"], Strings)
    assert reader.layout().clusters == (0, 100)
    assert ak.array_equal(reader.events(10, 90).pt, expected.pt[10:90])
    assert reader.events(10, 90).name.tolist() == expected.name[10:90].tolist()
    reader.close()


@pytest.fixture(scope="session")
def whole(written: Path) -> Iterator[tuple[Reader, dict[str, Any]]]:
    reader = Reader(str(written), "Events")
    yield (
        reader,
        {name: ak.Array(awkward(column)) for name, column in reader.read(["Muon_pt", "f4", "fixed"], 0, 2000).items()},
    )
    reader.close()


@examples(20)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), min_size=1, max_size=5))
def test_any_ranges_in_any_order_are_cuts_of_the_whole(whole: Any, ranges: list[tuple[int, int]]) -> None:
    """Baskets are kept between reads: no order of ranges may mix them up."""
    reader, everything = whole
    for start, stop in map(sorted, ranges):
        columns = reader.read(list(everything), start, stop)
        for name, column in columns.items():
            assert agree(column, everything[name][start:stop]), (name, start, stop)


def test_small_chunks_read_every_basket_once(written: Path) -> None:
    reader = Reader(str(written), "Events")
    branches = [reader.names[name] for name in ("Muon_pt", "nMuon")]
    before = reader.bytes_read
    for start in range(0, 2000, 37):
        reader.read(["Muon_pt"], start, min(start + 37, 2000))
    assert reader.bytes_read - before == sum(branch.compressed_bytes for branch in branches)
    reader.close()


# --- layout -----------------------------------------------------------------------------------------------------------


def test_what_an_entry_weighs_is_what_is_read_of_the_file() -> None:
    """By it a slot knows how many entries of a far file to ask for at a time: with the lengths of lists."""
    with uproot.open(data_path(HZZ)) as file:
        sizes = [file["events"][name].compressed_bytes for name in MUONS]
    reader = Reader(data_path(HZZ), "events")
    before = reader.bytes_read
    assert reader.weight(["Muon_Px", "NMuon"]) > reader.weight(["NMuon"]) > 0
    weighed = reader.weight(MUONS) * reader.entries
    assert reader.bytes_read == before, "nothing is read to know it"
    assert weighed == pytest.approx(sum(sizes)), "the lengths are among them"
    reader.read(MUONS, 0, reader.entries)
    assert weighed == pytest.approx(reader.bytes_read - before, rel=0.01)
    entry_list = EntryList([0, 100, 200, 300, 1000, 1100])
    assert Selection(reader, entry_list).weight(MUONS) == pytest.approx(reader.weight(MUONS) * 1100 / 300)
    assert View(reader, {}, SharedInputs()).weight(MUONS) == reader.weight(MUONS)


def test_what_an_entry_of_an_rntuple_weighs(written: Path) -> None:
    reader = Reader(str(written), "ntuple")
    before, names = reader.bytes_read, list(reader.names)
    weighed = reader.weight(names) * reader.entries
    reader.read([name for name in names if reader.columns.is_plain(name)], 0, reader.entries)
    assert weighed == pytest.approx(reader.bytes_read - before, rel=0.1)


def test_layout_gives_common_basket_boundaries(written: Path) -> None:
    reader = Reader(str(written), "Events")
    layout = reader.layout(["Muon_pt", "f4"])
    assert layout == FileLayout(2000, (0, 400, 800, 1200, 1600, 2000), "Events", layout.identity)
    assert reader.layout().clusters == layout.clusters
    other = Reader(data_path("uproot-issue187.root"), "fTreeV0")
    assert layout.identity != other.layout(None).identity
    assert other.layout(["V0s.fV0radius"]).clusters[-1] == other.entries
    reader.close()
    other.close()


def test_a_layout_is_small_enough_for_a_message() -> None:
    reader = Reader(data_path("uproot-issue412.root"), "test")
    clusters = reader.layout().clusters
    assert 2 <= len(clusters) <= 1000
    assert (clusters[0], clusters[-1]) == (0, 1_000_000)
    assert list(clusters) == sorted(set(clusters))
    reader.close()


def test_an_empty_tree_is_a_tree(written: Path) -> None:
    reader = Reader(str(written), "empty")
    assert reader.layout().clusters == (0,)
    column = reader.read(["f4"], 0, 0)["f4"]
    assert isinstance(column, Flat)
    assert column.values.dtype == np.float32
    assert len(reader.events(0, 0)) == 0
    reader.close()


# --- lazy events ------------------------------------------------------------------------------------------------------


def test_events_read_only_what_is_touched() -> None:
    reader = Reader(data_path(HZZ), "events")
    events = reader.events(100, 600)
    assert len(events) == 500
    assert len(events.fields) == 51 + 11  # branches, and groups of them
    assert reader.touched == set()
    selected = events[events.MET_px > 0]
    assert reader.touched == {"MET_px"}
    expected = uproot.open(data_path(HZZ))["events"].arrays(["MET_px", "Muon_Px", "Muon_Charge"])[100:600]
    expected = expected[expected.MET_px > 0]
    assert ak.num(selected.Muon_Px).tolist() == ak.num(expected.Muon_Px).tolist()
    assert reader.touched == {"MET_px", "NMuon"}
    assert ak.array_equal(selected["Muon_Px"], expected.Muon_Px)
    assert ak.sum(selected.Muon_Px[selected.Muon_Charge > 0]) == ak.sum(expected.Muon_Px[expected.Muon_Charge > 0])
    assert reader.touched == {"MET_px", "NMuon", "Muon_Px", "Muon_Charge"}
    reader.close()


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("uproot-Zmumu.root", "events"),
        ("uproot-vectorVectorDouble.root", "t"),
        ("uproot-issue187.root", "fTreeV0"),
        (HZZ, "events"),
    ],
)
def test_events_are_what_uproot_reads(name: str, tree: str) -> None:
    """Strings, vectors of vectors, lists of arrays and plain branches side by side."""
    reader = Reader(data_path(name), tree)
    start, stop = reader.entries // 3, reader.entries // 2 + 1
    events = reader.events(start, stop)
    for field in reader.columns.forms():
        expected = reader.names[field].array(entry_start=start, entry_stop=stop, library="ak")
        assert ak.array_equal(ak.materialize(events[field]), expected, equal_nan=True), field
    reader.close()


def test_all_that_uproot_writes_as_events(written: Path) -> None:
    reader = Reader(str(written), "Events")
    expected = uproot.open(written)["Events"].arrays(entry_start=350, entry_stop=450)
    events = reader.events(350, 450)
    for name in expected.fields:
        assert ak.array_equal(ak.materialize(events[name]), expected[name], dtype_exact=True), name
    reader.close()


# --- what can be wrong ------------------------------------------------------------------------------------------------


def test_files_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.root"
    text.write_text("not what it seems\n" * 50)
    short = tmp_path / "short.root"
    short.write_bytes(b"root")
    cut = tmp_path / "cut.root"
    cut.write_bytes(Path(data_path(HZZ)).read_bytes()[:100_000])
    for path, words in (
        (tmp_path / "none.root", r"there is no file .*none\.root"),
        (tmp_path, "it is a folder"),
        (text, r"notes\.root cannot be opened: .*not a ROOT file"),
        (short, "too short for a ROOT file"),
        (cut, r"cut\.root cannot be opened: it has 100000 bytes of 217945"),
    ):
        with pytest.raises(DatasetError, match=words):
            Reader(str(path), "events")


@pytest.mark.parametrize("kind", [RecursionError, MemoryError, OverflowError, ZeroDivisionError, UnicodeDecodeError])
def test_whatever_damaged_bytes_make_parsers_raise_names_the_file(kind: type[Exception]) -> None:
    """An object within itself in a damaged file, and the size of an array: both were taken for faults of the analysis."""
    with pytest.raises(DatasetError, match=r"a\.root cannot be read"), read_errors("a.root", "cannot be read"):
        raise kind(*("utf-8", b"", 0, 1, "no") if kind is UnicodeDecodeError else ("no",))


def test_others_take_the_same_tree_again_and_again() -> None:
    """coffea asks for it for every chunk; with 1,500 branches it takes uproot a second to describe it."""
    reader = Reader(data_path(HZZ), "events")
    assert reader.stored.keeping[reader.tree] is reader.stored.keeping[reader.tree]


@pytest.mark.parametrize("tree", ["Events", ""])
def test_a_file_whose_writer_died_is_said_to_be_not_closed(tmp_path: Path, tree: str) -> None:
    """ "has no tree Events" sends one looking for a wrong name. The bytes are those that ROOT leaves when it is killed."""
    path = tmp_path / "dead.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": "int32"}).extend({"x": np.arange(100, dtype=np.int32)})
    data = bytearray(path.read_bytes())
    with uproot.open(path) as directory:
        seek_keys, (name_bytes, begin) = directory.fSeekKeys, (directory.file.fNbytesName, directory.file.fBEGIN)
    assert int.from_bytes(data[4:8], "big") < 1_000_000  # the short header
    data[16:24] = data[37:45] = bytes(8)  # free segments, streamers
    keys = seek_keys.to_bytes(4, "big")
    listed = data.index(keys, begin + name_bytes)
    data[listed : listed + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"dead\.root was not closed: its writer died"):
        Reader(str(path), tree) if tree else Reader(str(path))


def test_trees_that_are_not_there(written: Path) -> None:
    with pytest.raises(DatasetError, match="has no tree Event; it has Events, ntuple, empty"):
        Reader(str(written), "Event")
    with pytest.raises(DatasetError, match=r"has 3 trees \(Events, ntuple, empty\): say which with tree="):
        Reader(str(written))
    with pytest.raises(DatasetError, match="has no tree"):
        Reader(data_path("uproot-hepdata-example.root"), "nope")
    with pytest.raises(DatasetError, match=r"hpx in .* is a TH1F, not a tree"):
        Reader(data_path("uproot-hepdata-example.root"), "hpx")
    only = Reader(data_path(HZZ))
    assert (only.tree, only.entries) == ("events", 2421)
    only.close()


def test_branches_that_are_not_there() -> None:
    reader = Reader(data_path(HZZ), "events")
    with pytest.raises(
        DatasetError, match=r"has no branch Muon_PX in its tree events; the nearest names are .*Muon_Px"
    ):
        reader.read(["Muon_PX"], 0, 10)
    with pytest.raises(DatasetError, match=r"has no branch qqq in its tree events$") as caught:
        reader.layout(["qqq"])
    assert caught.value.missing_column == "qqq", "so that who has several files is told of defaults"
    with pytest.raises(DatasetError, match=r"2421 entries in events, not \[0, 3000\)"):
        reader.read(["MET_px"], 0, 3000)
    reader.close()


def test_types_that_no_kernel_can_take() -> None:
    reader = Reader(data_path("uproot-HZZ-objects.root"), "events")
    with pytest.raises(DatasetError, match=r"branch muonp4 of .*TLorentzVector.* cannot be used in a kernel"):
        reader.read(["muonp4"], 0, 10)
    assert len(reader.events(0, 10).muonp4) == 10
    reader.close()


@pytest.mark.parametrize(
    ("codec", "where"),
    [(codec, "key") for codec in ("lz4", "zlib", "lzma", "zstd", "uncompressed")]
    + [(codec, "block") for codec in ("lz4", "zlib", "lzma", "zstd")]
    + [(codec, "values") for codec in ("lz4", "zlib", "lzma")],
)
def test_a_damaged_basket_is_an_error_and_not_a_number(tmp_path: Path, codec: str, where: str) -> None:
    """Values that are not compressed, or by zstd, carry no check: there, other numbers may come out."""
    path = tmp_path / "damaged.root"
    content = bytearray(Path(data_path(f"uproot-HZZ-{codec}.root")).read_bytes())
    with uproot.open(data_path(f"uproot-HZZ-{codec}.root")) as file:
        branch = file["events/NMuon"]
        seek, key = int(branch.member("fBasketSeek")[0]), branch.basket(0).member("fKeylen")
    at = seek + {"key": 2, "block": key, "values": key + 100}[where]
    content[at : at + 30] = bytes(30)
    path.write_bytes(content)
    reader = Reader(str(path), "events")
    with pytest.raises(DatasetError, match=r"damaged\.root cannot be read"):
        reader.read(["NMuon"], 0, 2421)
    reader.close()


# --- kept open --------------------------------------------------------------------------------------------------------


def test_the_cache_keeps_the_last_files_open(tmp_path: Path) -> None:
    paths = [str(shutil.copy(data_path(HZZ), tmp_path / f"{i}.root")) for i in range(3)]
    cache = ReaderCache(most=2)
    first, second = (cache.get(path, "events") for path in paths[:2])
    assert cache.get(paths[0], "events") is first
    cache.get(paths[2], "events")
    assert cache.get(paths[0], "events") is first
    assert cache.get(paths[1], "events") is not second
    cache.drop(paths[1], "events")
    assert len(cache.get(paths[1], "events").read(["MET_px"], 0, 5)["MET_px"]) == 5
    cache.close()


def test_files_of_the_packet_in_hand_stay_open_whatever_else_is_opened(tmp_path: Path) -> None:
    """A file with many friends, or with some while those of the next packet are opened, used to be closed by them."""
    paths = [shutil.copy(data_path(HZZ), tmp_path / f"{i}.root") for i in range(9)]
    cache = ReaderCache(most=3)
    in_hand = [(str(path), "events", None) for path in paths[:4]]
    cache.take_up(in_hand)
    readers = [cache.get(*place) for place in in_hand]
    for path in paths[4:]:
        cache.adopt(cache.new(str(path), "events"), str(path), "events")
    assert all(len(reader.read(["MET_px"], 0, 10)["MET_px"]) == 10 for reader in readers)
    cache.take_up([])
    cache.get(str(paths[4]), "events")
    assert sum(not reader.stored.source.closed for reader in readers) < 3, "nothing holds them any longer"
    cache.close()


def test_the_cache_opens_a_local_file_anew_that_is_another_by_now(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    shutil.copy(data_path(HZZ), path)
    cache = ReaderCache()
    first = cache.get(str(path), "events")
    assert cache.get(str(path), "events", since=time.monotonic(), identity=first.identity) is first
    os.utime(path, (1, 1))
    second = cache.get(str(path), "events", identity=first.identity)
    assert second is not first, "written to, with the same content"
    shutil.copy(data_path("uproot-HZZ-zstd.root"), path)
    with pytest.raises(DatasetError, match=r"a\.root has changed while the query ran: .* 217945 bytes \(UUID .*submit"):
        cache.get(str(path), "events", identity=first.identity)
    assert cache.get(str(path), "events").identity != first.identity
    path.unlink()
    with pytest.raises(DatasetError, match="there is no file"):
        cache.get(str(path), "events")
    cache.close()


# --- far files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def far(xrootd_server: XRootDServer, written: Path) -> Iterator[Reader]:
    """The file `all.root` on a server, with baskets beyond the ends that are read on opening."""
    path = xrootd_server.folder / "far_columns.root"
    if not path.exists():
        rng = np.random.default_rng(2)
        with uproot.recreate(path, compression=None) as file:
            tree = file.mktree("Events", {"x": "f8", "y": "f8", "n": "i4"})
            for _ in range(10):
                tree.extend(
                    {"x": rng.normal(size=5000), "y": rng.normal(size=5000), "n": rng.integers(0, 9, 5000, "i4")}
                )
    reader = Reader(f"{xrootd_server.url}/far_columns.root", "Events", timeout=10)
    yield reader
    reader.close()


def requests(reader: Reader, branch: str = "x") -> int:
    """Requests for data that have gone to the server."""
    return int(reader.names[branch].file.source.num_requests)


def test_a_far_file_is_opened_with_one_request_and_read_with_one(far: Reader, xrootd_server: XRootDServer) -> None:
    assert requests(far) == 1
    columns = far.read(["x", "y", "n"], 100, 42_000)
    assert requests(far) == 2, "one vector read for all baskets of all branches"
    expected = uproot.open(xrootd_server.folder / "far_columns.root")["Events"].arrays(
        entry_start=100, entry_stop=42_000
    )
    assert all(agree(columns[name], expected[name]) for name in columns)


def test_a_far_file_is_looked_at_again_for_a_query_that_began_after_it_was_opened(
    xrootd_server: XRootDServer,
) -> None:
    path, url = xrootd_server.folder / "changing.root", f"{xrootd_server.url}/changing.root"
    shutil.copy(data_path(HZZ), path)
    cache = ReaderCache(timeout=10)
    first = cache.get(url, "events")
    assert cache.get(url, "events", since=time.monotonic()) is first, "the server was asked, and has the same"
    shutil.copy(data_path("uproot-HZZ-zstd.root"), xrootd_server.folder / "new.root")
    (xrootd_server.folder / "new.root").replace(path)
    assert cache.get(url, "events", since=first.opened) is first, "opened by this query: nobody asks"
    second = cache.get(url, "events", since=time.monotonic())
    assert second.identity != first.identity
    with pytest.raises(DatasetError, match="has changed while the query ran"):
        cache.get(url, "events", identity=first.identity)
    cache.close()


def test_lists_of_a_far_file_are_fetched_once_with_their_lengths(xrootd_server: XRootDServer) -> None:
    """A columnar function reads the counter by itself, and then again for each list."""
    rng = np.random.default_rng(2)
    with uproot.recreate(xrootd_server.folder / "lists.root", compression=None) as file:
        tree = file.mktree("Events", {"y": "var * float64"})
        for _ in range(10):
            tree.extend({"y": ak.unflatten(rng.normal(size=10_000), [2] * 5000)})
    reader = Reader(f"{xrootd_server.url}/lists.root", "Events", timeout=10)
    reader.touched = {"y"}
    events = reader.events(0, 50_000)
    before = requests(reader, "y")
    assert ak.sum(ak.num(events.y)) == 100_000 and len(events.y[49_999]) == 2
    assert requests(reader, "y") == before
    reader.close()


def test_what_was_asked_for_ahead_is_not_asked_for_again(far: Reader) -> None:
    far.ahead(["x", "n"], 10_000, 20_000)
    far.ahead(["x", "n"], 10_000, 20_000)
    before = requests(far), far.bytes_read
    far.read(["x", "n"], 10_000, 20_000)
    assert (requests(far), far.bytes_read) == before


def test_events_of_a_far_file_ask_for_touched_columns_together(far: Reader) -> None:
    first = far.events(0, 10_000)
    touched = ak.sum(first.x) + ak.sum(first.n)
    before = requests(far)
    second = far.events(10_000, 20_000)
    assert requests(far) == before + 1
    assert ak.sum(second.x) + ak.sum(second.n) != touched
    assert requests(far) == before + 1
    ak.sum(second.y)
    assert requests(far) == before + 2


def test_lists_and_strings_from_a_server(xrootd_server: XRootDServer) -> None:
    for name, branches in ((HZZ, MUONS), ("uproot-Zmumu.root", ["Type", "M"])):
        shutil.copy(data_path(name), xrootd_server.folder / name)
        reader = Reader(f"{xrootd_server.url}/{name}", "events", timeout=10)
        expected = uproot.open(data_path(name))["events"].arrays(branches)
        columns = reader.read(branches, 0, reader.entries)
        assert all(agree(columns[branch], expected[branch]) for branch in branches)
        reader.close()


def test_far_files_that_are_none(xrootd_server: XRootDServer) -> None:
    with pytest.raises(DatasetError, match=r"there is no file root://.*/none\.root"):
        Reader(f"{xrootd_server.url}/none.root", "events", timeout=10)
    (xrootd_server.folder / "cut.root").write_bytes(Path(data_path(HZZ)).read_bytes()[:150_000])
    with pytest.raises(DatasetError, match="it has 150000 bytes of 217945"):
        Reader(f"{xrootd_server.url}/cut.root", "events", timeout=10)
    with pytest.raises(DatasetError, match=r"127\.0\.0\.1:1 cannot be reached"):
        Reader("root://127.0.0.1:1//x.root", "events", timeout=1)


def test_files_from_a_web_server(tmp_path: Path) -> None:
    """With a real server that answers range requests, in a process of its own."""
    pytest.importorskip("aiohttp", reason="pip install eventmill[http]")
    shutil.copy(data_path(HZZ), tmp_path / "hzz.root")
    program = (
        "import sys; from aiohttp import web; app = web.Application(); app.router.add_static('/', sys.argv[1]);"
        "web.run_app(app, host='127.0.0.1', port=0, print=lambda text: print(text, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
            reader = Reader(f"{address.rstrip('/')}/hzz.root", "events", timeout=10)
            expected = uproot.open(data_path(HZZ))["events"].arrays(MUONS)
            reader.ahead(MUONS, 0, 2421)
            columns = reader.read(MUONS, 0, 2421)
            assert all(agree(columns[name], expected[name]) for name in MUONS)
            reader.close()
            with pytest.raises(DatasetError, match=r"there is no file http://.*/none\.root"):
                Reader(f"{address.rstrip('/')}/none.root", "events", timeout=10)
        finally:
            server.terminate()
