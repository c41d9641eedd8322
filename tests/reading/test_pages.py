"""RNTuples read without uproot give what uproot gives, from no more of the file than is needed; damage is named.

`data/rntuples.root` was written by ROOT (see `data/write_rntuples.py`), which splits numbers, adds checksums, stores what
is the same once, and lets fields begin late; uproot's writer does none of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Column, Flat, Jagged, Strings
from eventmill.reading.reader import Reader
from eventmill.reading.rntuple.clusters import KEPT_BYTES, Clusters
from eventmill.reading.rntuple.fields import ColumnRecord, FieldRecord, Schema
from eventmill.reading.rntuple.page_elements import shifter, unsplitter
from eventmill.reading.rntuple.pages import Pages
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples
from xrootd_server import XRootDServer

BY_ROOT = Path(__file__).parents[1] / "data" / "rntuples.root"
LEFT_TO_UPROOT = {"vectors", "option", "pair", "half", "truncated", "quantized"}
CODECS = {"zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(1), "lzma": uproot.LZMA(1), "lz4": uproot.LZ4(1), "none": None}
ENTRIES, CLUSTERS = 3000, 4


def layout(column: Column) -> Any:
    """A column as an awkward layout."""
    if isinstance(column, Flat):
        assert column.values.dtype.isnative
        return ak.to_layout(ak.from_numpy(column.values))
    offsets = ak.index.Index64(column.offsets)
    if isinstance(column, Jagged):
        return ak.contents.ListOffsetArray(offsets, layout(column.content))
    characters = ak.contents.NumpyArray(column.characters, parameters={"__array__": "char"})
    return ak.contents.ListOffsetArray(offsets, characters, parameters={"__array__": "string"})


def agree(column: Column, expected: ak.Array) -> bool:
    """Same structure, numeric type and values; fixed sizes may be lists."""
    return bool(
        ak.array_equal(ak.from_regular(layout(column), axis=None), ak.from_regular(expected, axis=None), equal_nan=True)
    )


def pages_of(reader: Reader, name: str) -> list[tuple[int, int, bytes]]:
    """Where the pages of a field's own column are: cluster, first byte, and its bytes."""
    assert isinstance(reader.columns.baskets, Pages)
    field = reader.columns.baskets.branch(name)
    assert field is not None
    found = []
    for cluster in range(len(reader.columns.baskets.edges) - 1):
        located = reader.columns.baskets._lists.located(field.tree.column, cluster)
        assert located is not None
        for start, size in zip(located.offsets, located.sizes, strict=True):
            found.append((cluster, start, Path(reader.path).read_bytes()[start : start + size]))
    return found


def write(path: Path, compression: Any) -> Path:
    """An RNTuple of all that uproot can write, in clusters of one page a column."""
    rng = np.random.default_rng(3)
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    with uproot.recreate(path, compression=compression) as file:
        ntuple = None
        for _ in range(CLUSTERS):
            size = ENTRIES // CLUSTERS
            counts = rng.poisson(1.5, size)
            pt, charge = rng.exponential(20, counts.sum()).astype("f4"), rng.integers(-1, 2, counts.sum(), "i4")
            inner = ak.unflatten(np.arange(counts.sum(), dtype="f8"), rng.multinomial(counts.sum(), [0.05] * 20))
            arrays = {
                **{kind: rng.integers(0, 100, size).astype(kind) for kind in kinds},
                "bool": rng.integers(0, 2, size).astype(bool),
                "pt": ak.unflatten(pt, counts),
                "charge": ak.unflatten(charge, counts),
                "text": ak.Array(["mu", "", "electron", "χ"] * (size // 4) + [""] * (size % 4)),
                "nested": ak.unflatten(inner, rng.multinomial(20, [1 / size] * size)),
                "muons": ak.zip({"pt": ak.unflatten(pt, counts), "charge": ak.unflatten(charge, counts)}),
            }
            if ntuple is None:
                ntuple = file.mkrntuple("Events", arrays)
            else:
                ntuple.extend(arrays)
    return path


@pytest.fixture(scope="session")
def by_uproot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {codec: write(folder / f"{codec}.root", compression) for codec, compression in CODECS.items()}


@pytest.fixture
def path(by_uproot: dict[str, Path], tmp_path: Path) -> Path:
    """One of uproot's, to be damaged."""
    return Path(shutil.copy(by_uproot["none"], tmp_path / "none.root"))


# --- equal to uproot --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_every_field_that_root_writes(codec: str) -> None:
    """All kinds and codings; what cannot be read here is known, and goes through uproot with the same result."""
    reader = Reader(str(BY_ROOT), codec)
    assert {name for name in reader.names if not reader.columns.is_plain(name)} == LEFT_TO_UPROOT
    for name, field in reader.names.items():
        expected = field.array()
        for start, stop in [(0, reader.entries), (17, 18), (29, 31), (35, 95), (50, 50)]:
            if name in LEFT_TO_UPROOT:
                assert ak.array_equal(reader.array(name, start, stop), expected[start:stop]), name
            else:
                assert agree(reader.read([name], start, stop)[name], expected[start:stop]), (name, start, stop)
    reader.close()


@pytest.mark.parametrize("codec", list(CODECS))
def test_every_codec_and_field_that_uproot_writes(codec: str, by_uproot: dict[str, Path]) -> None:
    reader = Reader(str(by_uproot[codec]), "Events")
    expected = uproot.open(by_uproot[codec])["Events"].arrays()
    names = [name for name in reader.names if name != "muons"]
    assert all(reader.columns.is_plain(name) for name in names)
    assert not reader.columns.is_plain("muons")
    columns = reader.read(names, 700, 2300)
    for name in names:
        assert agree(columns[name], expected[name][700:2300]), name
    reader.close()


@pytest.fixture(scope="session")
def open_readers(by_uproot: dict[str, Path]) -> Iterator[list[tuple[Reader, ak.Array]]]:
    readers = [Reader(str(BY_ROOT), "zstd"), Reader(str(by_uproot["zstd"]), "Events")]
    names = [[name for name in reader.names if reader.columns.is_plain(name)] for reader in readers]
    yield [
        (reader, {name: reader.names[name].array() for name in some})
        for reader, some in zip(readers, names, strict=True)
    ]
    for reader in readers:
        reader.close()


@examples(30)
@given(st.data())
def test_any_ranges_in_any_order_are_cuts_of_the_whole(open_readers: Any, data: st.DataObject) -> None:
    """Pages and offsets are kept between reads: no order of ranges and fields may mix them up."""
    reader, everything = data.draw(st.sampled_from(open_readers))
    names = data.draw(st.lists(st.sampled_from(list(everything)), min_size=1, max_size=5, unique=True))
    bounds = st.lists(st.integers(0, reader.entries), min_size=2, max_size=8)
    bounds = sorted(data.draw(bounds))
    ranges = list(zip(bounds[::2], bounds[1::2], strict=False))
    for columns, (start, stop) in zip(reader.read_ranges(names, ranges), ranges, strict=True):
        for name in names:
            assert agree(columns[name], everything[name][start:stop]), (name, start, stop)


def test_fields_that_begin_late_are_zero_before() -> None:
    """The first 45 entries: a cluster without any of it, and half of one."""
    reader = Reader(str(BY_ROOT), "zstd")
    columns = reader.read(["late", "late_list", "late_array", "late_text"], 20, 60)
    late, lists, array, text = columns.values()
    assert isinstance(late, Flat) and isinstance(array, Flat)
    assert isinstance(lists, Jagged) and isinstance(text, Strings)
    assert not late.values[:25].any() and late.values[25:].all()
    assert array.values.shape == (40, 3) and not array.values[:25].any() and array.values[25:].all()
    assert lists.offsets[25] == 0 < lists.offsets[-1]
    assert text.offsets[25] == 0 < text.offsets[-1]
    reader.close()


def test_arrays_that_begin_late_are_the_same_from_any_entry_on() -> None:
    """uproot gives the values of other entries when it does not begin with the first one."""
    reader = Reader(str(BY_ROOT), "zstd")
    expected = reader.read(["late_array"], 0, reader.entries)["late_array"]
    assert isinstance(expected, Flat)
    for start, stop in [(33, 75), (0, 100), (60, 61), (45, 45), (29, 90), (90, 100)]:
        assert np.array_equal(reader.array("late_array", start, stop), expected.values[start:stop]), (start, stop)
    reader.close()


def test_events_of_an_rntuple_read_lengths_only_for_lengths() -> None:
    """NanoAOD's `nMuon` serves all lists of the muons."""
    reader = Reader(str(BY_ROOT), "zstd")
    events = reader.events(10, 90)
    expected = reader.names["pt"].array()[10:90]
    assert ak.num(events.pt).tolist() == ak.num(expected).tolist()
    assert reader.touched == {"npt"}
    assert ak.array_equal(ak.materialize(events.pt), expected)
    for name in LEFT_TO_UPROOT:
        assert ak.array_equal(ak.materialize(events[name]), reader.names[name].array()[10:90]), name
    reader.close()


def test_a_page_that_no_writer_makes_is_refused_before_there_is_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of zeros it may speak of any number of bytes, and have none in the file."""
    reader = Reader(str(BY_ROOT), "zstd")
    monkeypatch.setattr("eventmill.reading.rntuple.pages.MOST_BYTES", 10)
    with pytest.raises(
        DatasetError, match=r"field i8 in cluster 0 is said to hold \d+ bytes, and no writer makes any of more"
    ):
        reader.read(["i8"], 0, 10)


def test_columns_of_several_forms_are_left_to_uproot() -> None:
    """Each cluster may store such a field in another one."""
    leaf = FieldRecord("x", "float", parent=0, role=0, flags=0, repetition=0, source=None)
    plain, split = (ColumnRecord(kind, 32, 0, i, 0) for i, kind in enumerate((0x0C, 0x18)))
    assert Schema([leaf], [plain]).field("x") is not None
    assert Schema([leaf], [plain, split]).field("x") is None


# --- no more than is needed -------------------------------------------------------------------------------------------


def test_small_chunks_read_and_decode_every_page_once(by_uproot: dict[str, Path]) -> None:
    reader = Reader(str(by_uproot["zstd"]), "Events")
    before = reader.bytes_read
    for start in range(0, ENTRIES, 37):
        reader.read(["f4", "u2"], start, min(start + 37, ENTRIES))
    pages = [size for name in ("f4", "u2") for _, _, size in pages_of(reader, name)]
    assert reader.bytes_read - before == sum(map(len, pages))
    reader.close()


def test_parts_of_what_was_read_last_are_cut_from_it() -> None:
    """The search for a bad event reads the same entries in ever smaller parts."""
    reader = Reader(str(BY_ROOT), "zstd")
    reader.read(["f8", "pt", "text", "nested"], 62, 88)
    before = reader.bytes_read
    for start, stop in [(62, 75), (75, 88), (75, 81), (78, 79)]:
        reader.read(["f8", "pt", "text", "nested"], start, stop)
    assert reader.bytes_read == before
    reader.close()


def test_only_the_pages_of_the_entries_are_read() -> None:
    """A page of `f8` holds 16 entries; of a list, about as much more as the guess has to allow for."""
    reader = Reader(str(BY_ROOT), "none")
    before = reader.bytes_read
    reader.read(["f8"], 33, 35)
    assert reader.bytes_read - before == 16 * 8 + 8, "one page and its checksum"
    before = reader.bytes_read
    reader.read(["split64"], 33, 35)
    whole = Reader(str(BY_ROOT), "none")
    begun = whole.bytes_read
    whole.read(["split64"], 30, 60)
    assert reader.bytes_read - before < 0.8 * (whole.bytes_read - begun)
    reader.close()
    whole.close()


def test_the_same_pages_are_read_once_for_all_columns_that_have_them() -> None:
    """ROOT's Snapshot gives each list ends of its own, and stores them once."""
    reader = Reader(str(BY_ROOT), "zstd")
    columns = reader.read(["pt", "charge", "tight"], 10, 90)
    pt, charge, tight = columns.values()
    assert isinstance(pt, Jagged) and isinstance(charge, Jagged) and isinstance(tight, Jagged)
    assert pt.offsets is charge.offsets is tight.offsets
    reader.close()


def test_what_only_uproot_can_read_is_kept_by_clusters(by_uproot: dict[str, Path]) -> None:
    reader = Reader(str(by_uproot["zstd"]), "Events")
    expected = reader.names["muons"].array()
    reader.array("muons", 800, 810)
    before = reader.bytes_read
    for start, stop in [(800, 801), (750, 1500), (1400, 1400), (1499, 1500)]:
        assert ak.array_equal(reader.array("muons", start, stop), expected[start:stop])
    assert reader.bytes_read == before
    assert ak.array_equal(reader.array("muons", 700, 1600), expected[700:1600]), "over clusters"
    reader.close()


def test_kept_clusters_are_bounded_in_bytes() -> None:
    large = ak.Array(np.zeros(KEPT_BYTES // 16 + 1))
    calls = []

    class Field:
        def array(self, entry_start: int, entry_stop: int, library: str) -> ak.Array:
            calls.append(entry_start)
            return large[entry_start:entry_stop]

    clusters = Clusters(np.array([0, len(large)]))
    for name in ("a", "b", "a", "b", "b"):
        clusters.array(name, Field(), 3, 5)
    assert len(calls) == 4, "only one of them can be kept"


# --- far files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def far(xrootd_server: XRootDServer) -> Iterator[Reader]:
    path = xrootd_server.folder / "pages.root"
    if not path.exists():
        rng = np.random.default_rng(4)
        with uproot.recreate(path, compression=None) as file:
            ntuple = file.mkrntuple("Events", {"x": "f8", "pt": "var * float64"})
            for _ in range(5):
                counts = rng.poisson(3, 5000)
                ntuple.extend({"x": rng.normal(size=5000), "pt": ak.unflatten(rng.normal(size=counts.sum()), counts)})
    reader = Reader(f"{xrootd_server.url}/pages.root", "Events", timeout=10)
    yield reader
    reader.close()


def test_a_far_rntuple_is_read_with_one_request(far: Reader, xrootd_server: XRootDServer) -> None:
    source = far.stored.directory.file.source
    before = source.num_requests
    columns = far.read(["x", "pt"], 100, 17_000)
    assert source.num_requests - before == 1, "one vector read for the pages of all columns"
    expected = uproot.open(xrootd_server.folder / "pages.root")["Events"].arrays(entry_start=100, entry_stop=17_000)
    assert all(agree(columns[name], expected[name]) for name in columns)


def test_what_is_asked_for_ahead_is_all_that_a_read_needs(far: Reader) -> None:
    source = far.stored.directory.file.source
    far.ahead(["x", "pt"], 6000, 9000)
    before = source.num_requests
    far.read(["x", "pt"], 6000, 9000)
    assert source.num_requests == before


# --- damage -----------------------------------------------------------------------------------------------------------


def spoil(path: Path, at: int, new: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


@pytest.mark.parametrize(("codec", "name"), [("zstd", "f8"), ("none", "u8"), ("lz4", "bool")])
def test_a_damaged_page_is_named(codec: str, name: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(BY_ROOT, tmp_path / "damaged.root"))
    reader = Reader(str(path), codec)
    pages = [(start, content) for cluster, start, content in pages_of(reader, name) if cluster == 1]
    reader.close()
    start, content = pages[-1]
    spoil(path, start + len(content) // 2, bytes([content[len(content) // 2] ^ 1]))
    reader = Reader(str(path), codec)
    with pytest.raises(
        DatasetError, match=rf"page {len(pages) - 1} of field {name} in cluster 1: the checksum is wrong"
    ):
        reader.read([name], 0, reader.entries)
    assert len(reader.read([name], 0, 30)[name]) == 30, "what is before it can be read"
    assert len(reader.read(["text"], 0, 90)["text"]) == 90
    reader.close()


@pytest.mark.parametrize("codec", ["zstd", "zlib", "lzma", "lz4"])
def test_a_page_without_checksum_that_does_not_decompress_is_named(
    codec: str, by_uproot: dict[str, Path], tmp_path: Path
) -> None:
    path = Path(shutil.copy(by_uproot[codec], tmp_path / "damaged.root"))
    reader = Reader(str(path), "Events")
    _, start, content = next(page for page in pages_of(reader, "f8") if page[0] == 2)
    reader.close()
    spoil(path, start + 9, bytes(len(content) - 9))
    reader = Reader(str(path), "Events")
    with pytest.raises(DatasetError, match=r"damaged\.root cannot be read: page 0 of field f8 in cluster 2"):
        reader.read(["f8"], 0, ENTRIES)
    reader.close()


@pytest.mark.parametrize(
    ("ends", "what"),
    [([5, 3], "lists that end before they begin"), ([-4, -2], "end before"), ([1 << 39, 1 << 40], "and lists of")],
)
def test_ends_of_lists_that_cannot_be_are_refused(path: Path, ends: list[int], what: str) -> None:
    """A kernel would run out of its arrays; nothing but the numbers themselves can tell, without a checksum."""
    reader = Reader(str(path), "Events")
    _, start, content = next(page for page in pages_of(reader, "pt") if page[0] == 1)
    reader.close()
    spoil(path, start + len(content) - 16, np.array(ends, "<i8").tobytes())
    reader = Reader(str(path), "Events")
    for first in (1, 751, 1498, 1499):
        with pytest.raises(DatasetError, match=f"field pt has .*({what}|elements in cluster 1)"):
            reader.read(["pt"], first, 1500 if first > 1 else 2000)
    assert len(reader.read(["charge"], 0, ENTRIES)["charge"]) == ENTRIES
    reader.close()


def test_a_damaged_page_list_is_told_when_the_file_is_opened(path: Path) -> None:
    ntuple = uproot.open(path)["Events"].ntuple
    start = ntuple.footer.cluster_group_records[0].page_list_link.locator.offset
    spoil(path, start + 60, b"\xff")
    with pytest.raises(DatasetError, match=r"none\.root cannot be opened: the checksum of a page list is wrong"):
        Reader(str(path), "Events")


# --- loops ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 40), st.sampled_from([2, 4, 8]), st.booleans(), st.booleans(), st.randoms())
def test_unsplitting_undoes_what_writers_do(size: int, width: int, zigzag: bool, delta: bool, random: Any) -> None:
    numbers = np.array([random.getrandbits(8 * width) for _ in range(size)], f"u{width}")
    coded = np.diff(numbers, prepend=numbers.dtype.type(0)) if delta else numbers
    if zigzag:
        signed = coded.view(f"i{width}")
        coded = (signed << 1 ^ signed >> 8 * width - 1).view(f"u{width}")
    raw = np.ascontiguousarray(coded.view(np.uint8).reshape(size, width).T).reshape(-1)
    out = np.empty(size, f"u{width}")
    unsplitter(width)(raw, out, zigzag, delta)
    assert (out == numbers).all()


@given(st.lists(st.integers(-100, 100), max_size=20), st.integers(-9, 9), st.sampled_from([4, 8]))
def test_shifting_sees_what_falls(numbers: list[int], by: int, width: int) -> None:
    out = np.empty(len(numbers), np.int64)
    assert shifter(width)(np.array(numbers, f"i{width}"), by, out) == (numbers == sorted(numbers))
    assert out.tolist() == [number + by for number in numbers]


@pytest.mark.parametrize("name", ["vectors", "option", "pair", "half", "truncated", "quantized"])
@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_a_damaged_page_of_what_only_uproot_reads_is_named(codec: str, name: str, tmp_path: Path) -> None:
    """uproot itself looks at no checksum: the byte would be another number."""
    content = bytearray(BY_ROOT.read_bytes())
    ntuple = uproot.open(BY_ROOT)[codec]
    column = next(number for number, it in enumerate(ntuple.column_records) if _is_within(ntuple, it.field_id, name))
    page = ntuple.page_link_list[2][column].pages[-1]
    assert page.has_checksum
    content[page.locator.offset + page.locator.num_bytes - 1] ^= 1
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    reader = Reader(str(path), codec)
    with pytest.raises(
        DatasetError, match=rf"branch {name}: page \d+ of field {name}\S* in cluster 2: the checksum is wrong"
    ):
        reader.array(name, 60, 90)
    first = reader.array(name, 0, 30).tolist()
    assert first == ntuple[name].array(entry_stop=30).tolist()
    reader.close()


def _is_within(ntuple: Any, number: int, name: str) -> bool:
    record = ntuple.field_records[number]
    return bool(record.field_name == name) or (
        record.parent_field_id != number and _is_within(ntuple, record.parent_field_id, name)
    )
