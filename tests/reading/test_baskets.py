"""Damaged copies of real files: what is wrong is told with branch, basket and entries; no list is wrong in silence."""

from __future__ import annotations

import functools
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from columns import described
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import Branch
from eventmill.reading.ttree.baskets import Baskets
from eventmill.reading.ttree.streamer_parser import Tree
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from property_tests import examples
from skhep_testdata import data_path

CODECS = ("zlib", "lzma", "lz4", "zstd", "uncompressed")
COLUMNS = ["Muon_Px", "Muon_Charge", "NMuon", "MET_px"]
EDGE = 2231
"""Where the second basket of Muon_Px begins."""
every_codec = pytest.mark.parametrize("codec", CODECS)
packed_codecs = pytest.mark.parametrize("codec", CODECS[:-1])


@dataclass
class Place:
    """Where a basket is in a file, and its parts in it: key, compressed bytes, and (not compressed) values and table."""

    seek: int
    key: int
    size: int
    last: int


@functools.cache
def place(path: str, tree: str, name: str, i: int) -> Place:
    with uproot.open(path) as file:
        branch = file[tree][name]
        basket = branch.basket(i)
        key = basket.member("fKeylen")
        return Place(int(branch.member("fBasketSeek")[i]), key, basket.member("fNbytes"), basket.member("fLast"))


Damage = Callable[[bytearray, int], None]


def put(format_: str, *values: Any) -> Damage:
    """Damage that writes these values."""
    return lambda content, at: struct.pack_into(format_, content, at, *values)


@dataclass
class Copies:
    """Makes damaged copies of the HZZ file in a codec."""

    folder: Path

    def __call__(self, codec: str, at: int, damage: Damage) -> str:
        content = bytearray(Path(data_path(f"uproot-HZZ-{codec}.root")).read_bytes())
        damage(content, at)
        path = self.folder / "damaged.root"
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def damaged(tmp_path: Path) -> Copies:
    return Copies(tmp_path)


def hzz(codec: str, name: str = "Muon_Px", i: int = 1) -> Place:
    return place(data_path(f"uproot-HZZ-{codec}.root"), "events", name, i)


def said(path: str, *names: str) -> str:
    """What reading columns of a damaged file says."""
    reader = Reader(path)
    with pytest.raises(DatasetError) as caught:
        reader.read(names, 0, reader.entries)
    reader.close()
    assert not caught.value.transient, "it will be the same the next time"
    return str(caught.value)


@functools.cache
def counts() -> Any:
    """The lengths of the lists in an undamaged file."""
    with uproot.open(data_path("uproot-HZZ-uncompressed.root")) as file:
        return file["events/NMuon"].array(library="np")


# --- damaged bytes ----------------------------------------------------------------------------------------------------


@packed_codecs
def test_a_damaged_block_is_told_with_its_basket(damaged: Copies, codec: str) -> None:
    where = hzz(codec, i=0)
    path = damaged(codec, where.seek + where.key + 9, put("40s", bytes(40)))
    text = said(path, "MET_px", "Muon_Px")
    assert text.startswith(
        f"{path} cannot be read: basket 0 of branch Muon_Px (entries [0, 2231)) is damaged: its {codec} block"
    )


@packed_codecs
@pytest.mark.parametrize(
    ("at", "damage", "words"),
    [
        (0, put("2s", b"QQ"), "has no header of a compressed block at byte 0, but b'QQ"),
        (3, put("3s", b"\xff\xff\xff"), "header of its block at byte 0 speaks of 16777215 bytes"),
        (6, put("3s", b"\xff\xff\xff"), "bytes that hold 16777215, where"),
        (6, put("3s", b"\x10\x00\x00"), "block at byte 0 (is damaged|holds)|compressed blocks hold|no header"),
    ],
)
def test_a_wrong_header_of_a_block_is_told(damaged: Copies, codec: str, at: int, damage: Damage, words: str) -> None:
    where = hzz(codec, i=0)
    text = said(damaged(codec, where.seek + where.key + at, damage), "Muon_Px")
    assert "basket 0 of branch Muon_Px (entries [0, 2231)) is damaged: " in text
    assert re.search(words, text)


@every_codec
@pytest.mark.parametrize(
    ("at", "damage", "words"),
    [
        (0, put(">i", 77), "not where the tree says: what is there has another key"),
        (0, put(">i", -1), "not where the tree says"),
        (14, put(">h", -5), "not where the tree says"),
        (14, put(">h", 32_000), "not where the tree says"),
        (6, put(">i", -1), "not where the tree says"),
        (6, put(">i", 5), r"not what the tree says: its key speaks of \d+ bytes of 5"),
        (6, put(">i", 2**31 - 1), r"not what the tree says: its key speaks of \d+ bytes of 2147483647"),
        (6, put(">i", 10_000_000), "is damaged: .*, not 10000000|no header of a compressed block"),
    ],
)
def test_a_key_that_disagrees_is_told(damaged: Copies, codec: str, at: int, damage: Damage, words: str) -> None:
    """And its sizes are not believed: nothing is allocated for them."""
    path = damaged(codec, hzz(codec).seek + at, damage)
    tracemalloc.start()
    text = said(path, "Muon_Px")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "basket 1 of branch Muon_Px (entries [2231, 2421)) is " in text
    assert re.search(words, text)
    assert peak < 2**26


def test_an_end_of_values_within_a_value_is_told(damaged: Copies) -> None:
    where = hzz("uncompressed")
    text = said(damaged("uncompressed", where.seek + where.key - 5, put(">i", where.last - 1)), "Muon_Px")
    assert "basket 1 of branch Muon_Px (entries [2231, 2421)) is not what the tree says" in text


def test_an_end_of_values_that_disagrees_is_told(damaged: Copies) -> None:
    where = hzz("uncompressed", "MET_px", 0)
    text = said(damaged("uncompressed", where.seek + where.key - 5, put(">i", where.last - 4)), "MET_px")
    assert (
        "basket 0 of branch MET_px (entries [0, 2421)) is not what the tree says: its key speaks of 9680 bytes of 9684"
        in text
    )


@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codec=st.sampled_from(CODECS), data=st.data())
def test_any_damage_is_an_error_in_words_or_harmless_to_structure(
    damaged: Copies, codec: str, data: st.DataObject
) -> None:
    """Where the codec has a checksum, damage to what it packs is always told."""
    name, i = data.draw(st.sampled_from([("Muon_Px", 0), ("Muon_Px", 1), ("NMuon", 0), ("MET_px", 0)]))
    where = hzz(codec, name, i)
    at = where.seek + data.draw(st.integers(0, where.size - 1))
    path = damaged(codec, at, put("B", data.draw(st.integers(0, 255))))
    reader = Reader(path)
    try:
        columns = reader.read(COLUMNS, 0, reader.entries)
    except DatasetError as error:
        told = str(error)
        if name != "NMuon" and f"basket {i} of branch {name} (entries" not in told:
            raise
    else:
        for column in columns.values():
            assert len(column) == 2421
            assert not isinstance(column, Jagged) or np.array_equal(np.diff(column.offsets), counts())
    finally:
        reader.close()


# --- lists and their counters -----------------------------------------------------------------------------------------


def test_a_counter_that_disagrees_with_its_arrays_is_told(damaged: Copies) -> None:
    where = hzz("uncompressed", "NMuon", 0)
    path = damaged("uncompressed", where.seek + where.key + 4 * 100, put(">i", 50))
    text = said(path, "Muon_Px")
    assert (
        "basket 0 of branch Muon_Px (entries [0, 2231)) has 3519 numbers in its lists, where its counter NMuon says 35"
        in text
    )
    assert "one of the two is damaged" in text
    reader = Reader(path)
    assert len(reader.read(["Muon_Px"], EDGE, 2421)["Muon_Px"]) == 190, "the other basket is sound"
    with pytest.raises(DatasetError, match="counter NMuon says"):
        ak.sum(reader.events(0, 2421).Muon_Px)
    reader.close()


def test_a_counter_with_the_right_sum_only_is_told_too(damaged: Copies) -> None:
    """Each basket has its own table of lists, by which uproot goes: it is compared."""
    where = hzz("uncompressed", "NMuon", 0)
    at = int(np.flatnonzero(counts()[300:-1] != counts()[301:])[0]) + 300
    swapped = put(">ii", *counts()[[at + 1, at]].tolist())
    text = said(damaged("uncompressed", where.seek + where.key + 4 * at, swapped), "Muon_Px")
    assert (
        "basket 0 of branch Muon_Px (entries [0, 2231)) has other lists than its counter NMuon says, "
        f"first in entry {at}" in text
    )


def test_a_counter_below_zero_is_told(damaged: Copies) -> None:
    where = hzz("uncompressed", "NMuon", 0)
    path = damaged("uncompressed", where.seek + where.key + 4 * 2300, put(">i", -3))
    assert "basket 0 of branch NMuon (entries [0, 2421)) is damaged: it counts -3 values in entry 2300" in said(
        path, "Muon_Px"
    )


@pytest.mark.parametrize(
    ("value", "words"), [(70_000, "ends before it begins"), (-5, "ends before it begins"), (None, "is no whole number")]
)
def test_lists_whose_offsets_run_backwards_are_told(tmp_path: Path, value: int | None, words: str) -> None:
    """In a real file of vectors: one number in the table of basket 7 is changed, and the basket compressed again."""
    path, tree = tmp_path / "backwards.root", "sn_all"
    content = bytearray(Path(data_path("uproot-issue283.root")).read_bytes())
    where = place(data_path("uproot-issue283.root"), tree, "sn_all_data/data", 7)
    at = where.seek + where.key
    packed = int.from_bytes(content[at + 3 : at + 6], "little")
    values = bytearray(zlib.decompress(content[at + 9 : at + 9 + packed]))
    table = where.last - where.key
    struct.pack_into(
        ">i", values, table + 8, struct.unpack_from(">i", values, table + 8)[0] + 1 if value is None else value
    )
    again = zlib.compress(values, 9)
    assert len(again) <= packed
    content[at + 3 : at + 6] = len(again).to_bytes(3, "little")
    content[at + 9 : at + 9 + len(again)] = again
    path.write_bytes(content)
    reader = Reader(str(path), tree)
    edges = reader.names["data"].entry_offsets
    words = rf"basket 7 of branch data \(entries \[{edges[7]}, {edges[8]}\)\) is damaged: the list of entry \d+ {words}"
    with pytest.raises(DatasetError, match=words):
        reader.read(["data"], 0, reader.entries)
    assert len(reader.read(["data"], 0, edges[7])["data"]) == edges[7], "the baskets before it are sound"
    reader.close()


# --- where baskets are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", [(-5, 100), (100, 100), (100, 50), (0, 2**31), (2**62, 2**62 + 9)])
def test_a_place_that_cannot_be_is_not_asked_for(span: tuple[int, int]) -> None:
    reader = Reader(data_path("uproot-HZZ-zstd.root"))
    branches = described(reader, ["MET_px"])
    wrong = replace(branches["MET_px"], spans=[span])
    baskets = Baskets(reader.stored.directory.file.source, {}, {"MET_px": wrong})
    with pytest.raises(
        (ValueError, OSError), match=r"basket 0 of branch MET_px .* cannot be where|it ends before byte"
    ):
        list(baskets.read(["MET_px"], [(0, 2421)]))
    reader.close()


@every_codec
def test_described_branches_are_read_without_a_tree(codec: str) -> None:
    """With the counters of lists; others can be read by uproot only."""
    reader = Reader(data_path(f"uproot-HZZ-{codec}.root"))
    branches = described(reader, ["Muon_Px", "MET_px"])
    assert list(branches) == ["NMuon", "Muon_Px", "MET_px"]
    baskets = Baskets(reader.stored.directory.file.source, {}, branches)
    assert baskets.branch("Muon_Py") is None
    for start, stop in ((0, 2421), (100, 2300), (2300, 2310), (0, 0)):
        [columns] = baskets.read(["Muon_Px", "MET_px"], [(start, stop)])
        expected = reader.read(["Muon_Px", "MET_px"], start, stop)
        muons, met = columns["Muon_Px"], columns["MET_px"]
        assert isinstance(muons, Jagged) and isinstance(muons.content, Flat) and isinstance(met, Flat)
        assert isinstance(expected["Muon_Px"], Jagged) and isinstance(expected["MET_px"], Flat)
        assert np.array_equal(muons.offsets, expected["Muon_Px"].offsets)
        assert np.array_equal(met.values, expected["MET_px"].values)
    reader.close()


@pytest.mark.parametrize(
    ("name", "tree", "branches"), [("uproot-issue21", "nllscan", 7), ("uproot-issue327", "DstTree", 34)]
)
def test_baskets_in_the_description_of_the_tree_are_read_from_it(name: str, tree: str, branches: int) -> None:
    """Small ones that were never written apart: uproot had to be asked for each of them, and read the description again."""
    path = data_path(f"{name}.root")
    reader = Reader(path, tree)
    told = Reader(path, tree, layout=reader.news())
    assert isinstance(reader.stored.described, Tree)
    held = [it for it in reader.stored.described.branches.values() if isinstance(it, Branch) and it.embedded]
    assert len(held) == branches
    with uproot.open(path) as file:
        for branch in held:
            for start, stop in [(0, told.entries), (told.entries // 3, told.entries // 2)]:
                right = file[tree][branch.name].array(entry_start=start, entry_stop=stop)
                for each in (reader, told):
                    read = ak.Array(layout_of(each.read([branch.name], start, stop)[branch.name]))
                    assert ak.array_equal(read, right, equal_nan=True)
    assert "directory" not in vars(told.stored)
    reader.close(), told.close()


def test_baskets_may_be_read_by_one_thread_after_another() -> None:
    reader = Reader(data_path("uproot-HZZ-zstd.root"))
    with ThreadPoolExecutor(4) as threads:
        for start in range(0, 2400, 100):
            column = threads.submit(reader.read, ["MET_px"], start, start + 100).result()["MET_px"]
            assert len(column) == 100
    reader.close()


def test_little_is_kept_of_what_was_read_and_nothing_of_what_is_done_with(tmp_path: Path) -> None:
    """A slot keeps ten files open: each used to keep the last chunk as it was, with the compressed bytes of its counters."""
    lists = ak.unflatten(np.arange(400_000.0), np.full(100_000, 4))
    with uproot.recreate(tmp_path / "long.root", compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("events", {"x": np.float64, "y": "var * float64"})
        for start in range(0, 100_000, 1000):
            tree.extend({"x": np.arange(1000.0), "y": lists[start : start + 1000]})
    reader = Reader(str(tmp_path / "long.root"), "events")
    reader.read(["x", "y"], 0, 1000)
    tracemalloc.start()
    try:
        reader.read(["x", "y"], 0, 99_500)
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < 2_500_000, "of 4 MB: where the lists begin, and the last baskets"
        reader.forget_ahead()
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < 100_000
    finally:
        tracemalloc.stop()
    assert reader.read(["y"], 99_400, 99_600)["y"].offsets[-1] == 600 * 4
    reader.close()
