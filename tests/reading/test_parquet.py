"""Parquet files as columns: what awkward and pyarrow say of the same files is the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from eventmill.dataset.dataset import Dataset
from eventmill.protocol.errors import DatasetError
from eventmill.reading.awkward_forms import type_text
from eventmill.reading.columns import Flat, Jagged, Strings
from eventmill.reading.contents import contents
from eventmill.reading.file_check import ToCheck, facts_of
from eventmill.reading.parquet.coffea_file import coffea_file
from eventmill.reading.parquet.reader import ParquetReader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.reading.schema_check import SchemaCheck
from eventmill.reading.storage.list_files import list_files
from eventmill.reading.tree_series import open_tree

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 60


def odd_columns() -> Any:
    """What Parquet can hold: numbers, texts, dictionaries, nulls, lists of lists, records, times, fixed sizes."""

    def of(some: list[Any], kind: Any = None) -> Any:
        return pa.array(some * (ROWS // len(some)), kind)

    record = pa.struct([pa.field("x", pa.float32()), pa.field("n", pa.list_(pa.int16()))])
    return pa.table(
        {
            "number": of(list(range(ROWS))),
            "nulls": of([1, None, 3]),
            "text": of(["a", "", None, "four"]),
            "sort": of(["x", "y", "x", None]).dictionary_encode(),
            "lists": of([[1.5], [], None, [2.5, None]]),
            "deep": of([[[1], []], [], [[2, 3]]], pa.list_(pa.list_(pa.int64()))),
            "texts": of([["a", "bc"], [], [None]]),
            "record": of([{"x": 1, "n": [1, 2]}, None, {"x": 2, "n": None}, {"x": None, "n": []}], record),
            "records": of([[{"x": 1, "n": [1]}], [], [None, {"x": 3, "n": []}]], pa.list_(record)),
            "time": of([0, 10**15], pa.timestamp("us")),
            "pair": of([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)),
            "flag": of([True, False, None]),
            "half": pa.array(np.arange(ROWS, dtype=np.float16)),
            "bytes": of([b"\x00\xff", b""]),
            "nothing": pa.nulls(ROWS),
        }
    )


OF_1 = pytest.param(
    1, id="groups of 1", marks=pytest.mark.long("as groups of 7, whose ends are more than their insides")
)


@pytest.fixture(params=[OF_1, pytest.param(7, id="of 7"), pytest.param(1000, id="one group")])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "odd.parquet"
    parquet.write_table(odd_columns(), path, row_group_size=request.param)
    return path


def values(array: Any) -> str:
    """Comparable, NaN and all."""
    return repr(ak.to_list(array))


def test_columns_are_what_awkward_reads(odd: Path) -> None:
    """Any range of any column, one after the other in any order, has the values of `ak.from_parquet`, and no other type than
    before anything was read: rows that are kept from one read to the next are never taken for others."""
    reader, expected = open_tree(str(odd), ""), ak.from_parquet(odd)
    random = np.random.default_rng(3)
    names = expected.fields
    assert list(reader.names) == names
    types = reader.types(names)
    events = reader.events(0, ROWS)
    for _ in range(20):
        start, stop = sorted(random.integers(0, ROWS + 1, 2).tolist())
        for name in names:
            array = reader.array(name, start, stop)
            assert values(array) == values(expected[name][start:stop]), (name, start, stop)
            assert type_text(array.layout.form) == types[name]
    assert {name: values(events[name]) for name in names} == {name: values(expected[name]) for name in names}
    assert values(events[events.number % 7 == 3].records.x) == values(expected[expected.number % 7 == 3].records.x)
    reader.close()


def test_kernels_take_numbers_lists_and_texts(odd: Path) -> None:
    reader = open_tree(str(odd), "")
    columns = reader.read(["number", "deep", "pair", "half"], 3, 20)
    number, deep, pair, half = columns.values()
    assert isinstance(number, Flat) and number.values.tolist() == list(range(3, 20))
    assert isinstance(pair, Flat) and pair.values.shape == (17, 2) and pair.values[0].tolist() == [3, 4]
    assert isinstance(half, Flat) and half.values.dtype == np.float32 and half.values[0] == 3
    assert isinstance(deep, Jagged) and isinstance(deep.content, Jagged)
    assert isinstance(reader.read(["sort"], 0, 3)["sort"], Strings), "nothing is missing in these three"
    with pytest.raises(
        DatasetError, match=r"column nulls of .*odd.parquet, of type \?int64, has values that are missing"
    ):
        reader.read(["nulls"], 0, 3)
    with pytest.raises(DatasetError, match=r"column time of .* cannot be used in a kernel"):
        reader.read(["time"], 0, 3)
    reader.close()


@pytest.fixture
def muons(tmp_path: Path) -> tuple[Path, ak.Array]:
    """Records in lists, as awkward writes them: nothing in them may be missing."""
    random = np.random.default_rng(5)
    counts = random.integers(0, 4, 100)

    def muon(kind: str) -> ak.Array:
        return ak.unflatten(random.uniform(0, 9, counts.sum()).astype(kind), counts)

    p4 = ak.zip({"px": muon("f8"), "py": muon("f8")})
    hits = ak.unflatten(np.arange(3 * counts.sum()), np.full(counts.sum(), 3))
    one = ak.zip({"name": ["muon"] * counts.sum(), "id": muon("i2").layout.content, "hits": hits}, depth_limit=1)
    records = ak.zip({"p4": p4, "more": ak.unflatten(one, counts)}, depth_limit=2)
    array = ak.zip({"run": np.arange(100), "Muon": records}, depth_limit=1)
    path = tmp_path / "muons.parquet"
    ak.to_parquet(array, path, row_group_size=30, extensionarray=False)
    return path, array


def test_a_member_of_records_is_read_without_the_others(muons: tuple[Path, ak.Array]) -> None:
    """`events.Muon.p4.px` reads the leaf of px; kernels call it Muon_p4_px; lengths of lists come of a short leaf."""
    path, array = muons
    reader = open_tree(str(path), "")
    opened, size = reader.bytes_read, reader.footer.size
    events = reader.events(0, 100)
    assert values(events.Muon.p4.px) == values(array.Muon.p4.px)
    leaf = reader.fields.find("Muon.p4.px")
    assert leaf is not None and len(leaf.leaves) == 1
    assert reader.bytes_read - opened <= 2 * reader.stored(leaf.leaves.start) + reader.stored(5) < size
    assert values(events.Muon.more.hits) == values(array.Muon.more.hits)
    assert values(ak.num(events.Muon)) == values(ak.num(array.Muon))
    assert reader.touched == {"Muon.p4.px", "Muon.more.hits", "Muon.#"}
    px = reader.read(["Muon_p4_px"], 10, 50)["Muon_p4_px"]
    assert isinstance(px, Jagged) and isinstance(px.content, Flat)
    low, high = px.offsets[[0, -1]]
    assert px.content.values[low:high].tolist() == ak.flatten(array.Muon.p4.px[10:50]).to_list()
    assert values(reader.array("Muon", 25, 35)) == values(array.Muon[25:35])
    reader.close()


def test_awkwards_own_types_are_read(muons: tuple[Path, ak.Array], tmp_path: Path) -> None:
    """`ak.to_parquet` by default writes types of its own into the schema."""
    path = tmp_path / "own.parquet"
    ak.to_parquet(muons[1], path, extensionarray=True)
    reader = open_tree(str(path), "")
    assert values(reader.events(0, 100).Muon.p4.py) == values(muons[1].Muon.p4.py)
    assert values(reader.events(40, 100).Muon.more.name) == values(muons[1].Muon.more.name[40:])
    reader.close()


def test_only_touched_columns_of_needed_row_groups_are_read(tmp_path: Path) -> None:
    """And each row group once, though chunks end within it."""
    path = tmp_path / "wide.parquet"
    table = pa.table({f"c{number}": np.random.default_rng(number).normal(size=10_000) for number in range(20)})
    parquet.write_table(table, path, row_group_size=1000, compression="none", use_dictionary=False)
    reader = open_tree(str(path), "")
    opened = reader.bytes_read
    found = [reader.read(["c3"], start, start + 300)["c3"] for start in range(2000, 5000, 300)]
    assert (
        np.concatenate([it.values for it in found if isinstance(it, Flat)]).tolist()
        == table["c3"][2000:5000].to_pylist()
    )
    assert 3 * 8000 <= reader.bytes_read - opened < 3 * 8300
    assert reader.stride() == 1000 and reader.weight(["c3"]) == pytest.approx(8, rel=0.05)
    assert reader.layout(["c3"]).clusters == tuple(range(0, 10_001, 1000))
    reader.close()


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "few.parquet"
    parquet.write_table(odd_columns().slice(0, rows), path)
    reader = open_tree(str(path), "")
    assert (reader.entries, reader.layout().clusters) == (rows, (0, 1)[: rows + 1])
    assert values(reader.events(0, rows).records) == values(odd_columns()["records"][:rows].to_pylist())
    assert len(reader.read(["number"], 0, rows)["number"]) == rows
    reader.close()


def test_what_awkward_cannot_hold_keeps_no_other_column_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "map.parquet"
    parquet.write_table(pa.table({"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "n": [7]}), path)
    reader = open_tree(str(path), "")
    assert reader.events(0, 1).fields == ["n"] and reader.events(0, 1).n.to_list() == [7]
    with pytest.raises(DatasetError, match=r"map.parquet cannot be read in its column m: .*map<string, int8"):
        reader.array("m", 0, 1)
    assert [(it.name, it.type) for it in em.branches(path)] == [("m", ""), ("n", "?int64")]
    reader.close()


def damaged(path: Path) -> Iterator[tuple[str, bytes, str]]:
    """Files that are none, or are not whole."""
    whole = path.read_bytes()
    yield "empty", b"", "it is too short for a Parquet file"
    yield "cut", whole[:-100], "it has no footer: it was not written, or not copied, to its end"
    yield "text", b"number,text\n" * 20, "it is no Parquet file"
    yield "root", b"root" + bytes(200), "it is a ROOT file, and called otherwise"
    yield "encrypted", whole[:-4] + b"PARE", "it is encrypted"
    yield "length", whole[:-8] + b"\xff\xff\xff\x7fPAR1", r"its footer is to have 2147483647 bytes, .* it is damaged"
    begin = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    yield "footer", whole[:begin] + bytes(60) + whole[begin + 60 :], "cannot be opened: "


def test_what_is_no_whole_file_is_said(odd: Path, tmp_path: Path) -> None:
    for name, content, words in damaged(odd):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"{name}\.parquet cannot be opened: .*{words}|{words}") as told:
            open_tree(str(path), "")
        assert not told.value.transient
    with pytest.raises(DatasetError, match=r"there is no file .*nowhere.parquet"):
        open_tree(str(tmp_path / "nowhere.parquet"), "")


def test_a_damaged_page_is_an_error_that_names_the_column(tmp_path: Path) -> None:
    path = tmp_path / "bits.parquet"
    parquet.write_table(pa.table({"x": np.arange(1000.0)}), path, use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    reader = open_tree(str(path), "")
    with pytest.raises(DatasetError, match=r"bits.parquet cannot be read in its columns x: .*"):
        reader.read(["x"], 0, 10)
    reader.close()


def test_rows_that_pyarrow_loses_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does, of one row whose list is in pages of one value each: all entries behind it had the values of others."""
    path = tmp_path / "few.parquet"
    parquet.write_table(pa.table({"x": np.arange(30)}), path, row_group_size=10)
    reader = open_tree(str(path), "")
    assert isinstance(reader, ParquetReader)
    whole = reader.footer.file.read_row_groups
    monkeypatch.setattr(reader.footer, "file", SimpleNamespace(read_row_groups=lambda *a, **k: whole(*a, **k)[1:]))
    with pytest.raises(DatasetError, match=r"few.parquet cannot be read in its columns x: pyarrow finds 19 rows .* 20"):
        reader.array("x", 5, 15)
    with pytest.raises(DatasetError, match="pyarrow finds 9 rows"):
        reader.read(["x"], 0, 10)
    reader.close()


@pytest.mark.parametrize("listed", [False, True])
def test_a_dictionary_in_which_nothing_may_be_missing(listed: bool, tmp_path: Path) -> None:
    """As of categories that are never none: they were read for ever, until Python had enough of it."""
    words = ["mu", "e", "mu", "", "tau", "e"]
    expected = [words[:2], [], words[2:]] if listed else words
    kind = pa.dictionary(pa.int32(), pa.string())
    kind = pa.list_(pa.field("item", kind, False)) if listed else kind
    path = tmp_path / "sort.parquet"
    table = pa.table([pa.array(expected, kind)], pa.schema([pa.field("sort", kind, False)]))
    parquet.write_table(table, path, row_group_size=6 if listed else 2)
    reader = open_tree(str(path), "")
    assert reader.types(["sort"]) == {"sort": "var * string" if listed else "string"}
    for start, stop in ((0, reader.entries), (1, 3), (0, 0)):
        assert reader.array("sort", start, stop).to_list() == expected[start:stop]
        assert ak.to_list(reader.events(start, stop).sort) == expected[start:stop]
    assert listed or isinstance(reader.read(["sort"], 0, 6)["sort"], Strings)
    reader.close()


@pytest.mark.parametrize(
    "rows",
    [[[[1, 2], []], [[], []], [[3], [4, 5, 6]]], [[[[1], [2, 3]]], [], [[[], []], [[4], []]]]],
    ids=["arrays", "lists"],
)
def test_lists_of_records_in_arrays_of_a_fixed_size(rows: list[Any], tmp_path: Path) -> None:
    """Their lengths are no lists of lengths: only kernels could read them."""
    record = pa.struct([pa.field("x", pa.int32(), False)])
    kind = pa.list_(pa.field("item", pa.list_(pa.field("item", record, False)), False), 2)
    kind = pa.list_(pa.field("item", kind, False)) if rows[1] == [] else kind

    def records(value: Any) -> Any:
        return list(map(records, value)) if isinstance(value, list) else {"x": value}

    path, expected = tmp_path / "towers.parquet", records(rows)
    parquet.write_table(pa.table([pa.array(expected, kind)], pa.schema([pa.field("tower", kind, False)])), path)
    reader = open_tree(str(path), "")
    for start, stop in ((0, 3), (1, 3), (2, 3), (1, 1)):
        assert ak.to_list(reader.events(start, stop).tower) == expected[start:stop]
        assert ak.to_list(reader.events(start, stop).tower.x) == rows[start:stop]
    reader.close()


def test_missing_and_doubled_columns_and_trees(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"MET_pt": [1.0], "MET.phi": [2.0]}), path)
    reader = open_tree(str(path), "")
    with pytest.raises(DatasetError, match=r"a.parquet has no column MET_py; the nearest names are MET_pt") as told:
        reader.read(["MET_py"], 0, 1)
    assert told.value.missing_column == "MET_py"
    assert reader.read(["MET_phi"], 0, 1)["MET_phi"].slice(0, 1) is not None, "as kernels write MET.phi"
    reader.close()
    with pytest.raises(DatasetError, match=r"a.parquet has no tree Runs: it is of Parquet, which has none"):
        open_tree(str(path), "Runs")
    twice = tmp_path / "twice.parquet"
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]), twice)
    with pytest.raises(DatasetError, match="it has several columns 'x'"):
        open_tree(str(twice), "")


def test_types_that_differ_from_file_to_file_are_an_error(tmp_path: Path) -> None:
    check = SchemaCheck()
    for name, column in (("a", [1.0]), ("b", [[1.0]])):
        parquet.write_table(pa.table({"x": column}), tmp_path / f"{name}.parquet")
    first, second = (open_tree(str(tmp_path / f"{name}.parquet"), "") for name in "ab")
    check.check(first, {"x"})
    with pytest.raises(DatasetError, match=r"b\.parquet.*a\.parquet|a\.parquet.*b\.parquet"):
        check.check(second, {"x"})
    first.close()
    second.close()


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """By its footer, whose bytes tell of other rows also where the size is the same; and while it is read."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x": [1, 2, 3]}), path)
    readers = ReaderCache()
    reader = readers.get(str(path), "")
    other = tmp_path / "b.parquet"
    parquet.write_table(pa.table({"x": [1, 2, 4]}), other)
    assert other.stat().st_size == path.stat().st_size
    other.rename(path)
    with pytest.raises(DatasetError, match=r"has changed while the query ran: .*the hash of its footer"):
        readers.get(str(path), "", identity=reader.identity)
    again = readers.get(str(path), "")
    again.check_unchanged()
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(DatasetError, match="was written to while it was read"):
        again.check_unchanged()
    readers.close()


def test_contents_and_checks(odd: Path) -> None:
    info = contents(str(odd))
    (table,) = info.trees
    assert (info.size, table.entries, len(table.branches)) == (odd.stat().st_size, ROWS, 15)
    assert [it.type for it in table.branches if it.name in ("lists", "sort")] == [
        "dictionary<values=string, indices=int32, ordered=0>",
        "list<element: double>",
    ]
    text = repr(em.peek(odd))
    assert "row group" in text and f"Parquet of {ROWS} entries, 15 branches" in text and "tree" not in text
    facts = facts_of(ToCheck(str(odd), "", "adler32"))
    assert (facts.entries, facts.size, facts.error) == (ROWS, odd.stat().st_size, "")
    assert facts.checksum.startswith("adler32:")


def test_folders_and_filesets(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "_metadata", "notes.txt"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in list_files(str(tmp_path))] == ["a.parquet", "b.parquet"]
    (tmp_path / "c.root").touch()
    with pytest.raises(DatasetError, match=r"has files of ROOT and of Parquet: say which are meant, .*\*\.root or"):
        list_files(str(tmp_path))
    mixed = Dataset({"a.parquet": None, "b.root": "Events"})
    assert [(it.dataset, it.path, it.tree) for it in mixed.files] == [("", "a.parquet", ""), ("", "b.root", "Events")]
    with pytest.raises(DatasetError, match=r"file a.parquet: Parquet has no trees, and so no Events; .*None"):
        Dataset(["a.parquet"], tree="Events")
    with pytest.raises(DatasetError, match=r"file a.data of dataset 'A': of Parquet, and not called so"):
        Dataset({"A": {"files": {"a.data": {"format": "parquet", "object_path": None}}}})


def test_coffea_gets_the_rows_of_a_chunk_and_no_nulls(odd: Path) -> None:
    reader = ParquetReader(str(odd))
    rows = coffea_file(reader, 5, 25)
    assert rows.read(["number"], use_threads=False)["number"].to_pylist() == list(range(5, 25))
    assert rows.read(["number"])["number"].num_chunks == 1
    assert rows.schema_arrow.names == ["number", "nulls", "lists", "flag", "half"]
    with pytest.raises(ValueError, match="its column nulls has values that are missing"):
        rows.read(["nulls"])
    with pytest.raises(ValueError, match="its column lists has values that are missing"):
        rows.read(["lists"])
    reader.close()


def test_without_pyarrow_the_error_says_what_to_install(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"takes pyarrow, .*pip install 'eventmill\[parquet\]'"):
        open_tree(str(odd), "")
