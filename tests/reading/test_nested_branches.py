"""Lists of lists and of strings in TTrees: the values that were written, at any cut, and nothing but an error of damage.

`data/write_nested.py` has written the file with ROOT; what is in it is known by its formulas.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Column, Flat, Strings, column_of
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.joined_baskets import JoinedBaskets, RawBasket
from eventmill.reading.ttree.nested_decoding import Shape, decoded
from eventmill.reading.ttree.nested_shapes import layout_as, shape_of
from hypothesis import given
from hypothesis import strategies as st
from skhep_testdata import data_path

FILE = str(Path(__file__).parents[1] / "data" / "nested.root")


# --- what was written -------------------------------------------------------------------------------------------------


def text(i: int, k: int) -> str:
    if i % 17 == 3 and k == 1:
        return chr(ord("A") + i % 26) * (250 + i)
    return chr(ord("a") + (i + k) % 26) * ((i + k) % 4)


def held(i: int) -> dict[str, Any]:
    outer = range(i % 4)
    return {
        "vv": [[i + 0.25 * k + 0.125 * n for n in range((i + k) % 3)] for k in outer],
        "vvv": [[[i * n - k] * ((i + n) % 3) for n in range((i + k) % 3)] for k in outer],
        "vs": [text(i, k) for k in outer],
        "vts": [text(i, k) for k in outer],
        "s": text(i, 1),
        "ts": text(i + 1, 1),
    }


def entry(i: int) -> dict[str, Any]:
    outer = range(40 if i == 30 else i % 4)
    whole = {name: value for name, value in held(i).items() if name != "vv"}
    split = {f"split.{name}": value for name, value in held(i + 2).items()}
    many = {f"many.{name}": [held(i + k)[name] for k in range(i % 3)] for name in held(i)}
    return {
        **whole,
        "vv": [[i + 0.5 * k] * ((i + k) % 5) for k in outer],
        "vvs": [[text(i, k + n) for n in range((i + k) % 3)] for k in outer],
        "vl": [[i - 3 * k] * ((i + k) % 3) for k in outer],
        "vset": [sorted({i, i + k}) for k in outer],
        "vb": [[k % 2 == 1] * ((i + k) % 3) for k in outer],
        "vlong": [[-i << 33] * (i * k % 3) for k in outer],
        "chars": text(i, 1),
        **split,
        **many,
    }


NAMES = sorted(entry(0))
WRITTEN = [entry(i) for i in range(40)]
TREES = {"ones": 9, "sevens": 40}


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Reader]]:
    readers = {tree: Reader(FILE, tree) for tree in TREES}
    yield readers
    for reader in readers.values():
        reader.close()


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_that_were_written(readers: dict[str, Reader], tree: str, name: str) -> None:
    """A split collection's TStrings were refused, or were one string an entry, where they are a list."""
    entries = TREES[tree]
    array = readers[tree].array(name, 0, entries)
    assert array.tolist() == [each[name] for each in WRITTEN[:entries]]
    assert readers[tree].types([name])[name] == str(ak.type(array).content)


@given(st.sampled_from(NAMES), st.tuples(*2 * [st.integers(0, 40)]).map(sorted))
def test_any_cut_has_its_entries(readers: dict[str, Reader], name: str, span: tuple[int, int]) -> None:
    start, stop = span
    written = [each[name] for each in WRITTEN[start:stop]]
    assert readers["sevens"].array(name, start, stop).tolist() == written
    assert ak.to_list(readers["sevens"].events(start, stop)[name]) == written
    column = readers["sevens"].read([name], start, stop)[name]
    assert ak.to_list(ak.Array(layout_of(column))) == written
    assert not isinstance(column, Flat)


@pytest.mark.parametrize("tree", TREES)
def test_vectors_of_vectors_are_read_without_a_model_of_the_tree(readers: dict[str, Reader], tree: str) -> None:
    """uproot made a model of every branch for the sake of one: of DUNE's files nearly all of the time of reading."""
    told = Reader(FILE, tree, layout=readers[tree].news())
    written = [each["vv"] for each in WRITTEN[: TREES[tree]]]
    assert ak.to_list(ak.Array(layout_of(told.read(["vv"], 3, 8)["vv"]))) == written[3:8]
    assert ak.to_list(told.array("vv", 0, TREES[tree])) == written
    assert told.types(["vv"]) == {"vv": "var * var * float32"}
    assert "directory" not in vars(told.stored)
    told.close()


# --- bytes ------------------------------------------------------------------------------------------------------------


def stored(shape: Shape, values: Any, depth: int = 0) -> bytes:
    """The bytes that ROOT writes for what an entry holds."""
    if depth == shape.depth:
        if shape.stored is not None:
            return np.array(values, shape.stored).tobytes()
        assert isinstance(values, bytes)
        if shape.length_bytes == "4":
            return struct.pack(">I", len(values)) + values
        return (bytes([len(values)]) if len(values) < 255 else struct.pack(">BI", 255, len(values))) + values
    content = b"".join(stored(shape, value, depth + 1) for value in values)
    if depth or not shape.is_open:
        content = struct.pack(">I", len(values)) + content
    return struct.pack(">IH", 0x40000000 | len(content) + 2, 10) + content if shape.header and not depth else content


def held_in(column: Column) -> list[Any]:
    """What is in a column, strings as bytes."""
    if isinstance(column, Flat):
        return list(column.values)
    content = column.characters.tobytes() if isinstance(column, Strings) else held_in(column.content)
    return [content[low:high] for low, high in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


SHAPES = st.builds(
    Shape,
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, *map(np.dtype, ("?", ">i2", ">u4", ">f4", ">i8", ">f8"))]),
    st.sampled_from(["1-5", "4"]),
)


def entries_of(shape: Shape) -> st.SearchStrategy[Any]:
    if shape.stored is None:
        values: st.SearchStrategy[Any] = st.binary(max_size=6) | st.sampled_from(
            [b"l" * size for size in (254, 255, 256, 300)]
        )
    else:
        values = st.integers(0, 1).map(shape.stored.type)
    for _ in range(shape.depth):
        values = st.lists(values, max_size=4)
    return st.lists(values, max_size=5)


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), entries_of(shape))))
def test_what_is_stored_is_what_is_read(case: tuple[Shape, list[Any]]) -> None:
    shape, entries = case
    parts = [stored(shape, each) for each in entries]
    begins = np.cumsum([0, *map(len, parts)])
    assert held_in(decoded(shape, np.frombuffer(b"".join(parts), np.uint8), begins)) == entries


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), st.lists(entries_of(shape), max_size=4))), st.data())
def test_baskets_are_joined_before_they_are_decoded(case: tuple[Shape, list[list[Any]]], data: st.DataObject) -> None:
    """Empty ones, and those with a table behind their values, are among them."""
    shape, baskets = case
    entries = [entry for basket in baskets for entry in basket]
    edges = list(accumulate(map(len, baskets), initial=0))
    raw = {}
    for number, basket in enumerate(baskets):
        parts = [stored(shape, each) for each in basket]
        behind = data.draw(st.binary(max_size=3))
        content = np.frombuffer(b"".join(parts) + behind, np.uint8)
        raw[number] = RawBasket(content, np.cumsum([0, *map(len, parts)]).astype(np.int32), f"basket {number}")
    start = data.draw(st.integers(0, len(entries)))
    stop = data.draw(st.integers(start, len(entries)))
    form = layout_of(decoded(shape, np.zeros(0, np.uint8), np.zeros(1, np.int64))).form
    joined = JoinedBaskets(lambda *bytes_: layout_as(decoded(shape, *bytes_), form), form)
    read = joined.entries(raw, start, stop, edges)
    assert held_in(column_of(read.layout, "")) == entries[start:stop]


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), entries_of(shape))), st.data())
def test_damage_is_an_error_or_another_value_that_fits(case: tuple[Shape, list[Any]], data: st.DataObject) -> None:
    """Nothing outside an entry is read, and each byte of it is: what is read is stored in the same bytes."""
    shape, entries = case
    parts = [stored(shape, each) for each in entries]
    begins = np.cumsum([0, *map(len, parts)])
    raw = bytearray(b"".join(parts))
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, max(0, len(raw) - 1)), st.integers(0, 255)), max_size=3)
    ):
        raw[at : at + 1] = bytes([byte])[: len(raw)]
    if len(begins) > 2 and data.draw(st.booleans()):
        begins[data.draw(st.integers(1, len(begins) - 2))] = data.draw(st.integers(0, len(raw)))
    try:
        read = decoded(shape, np.frombuffer(bytes(raw), np.uint8), begins)
    except (ValueError, NotImplementedError):
        return
    again = bytearray(b"".join(stored(shape, each) for each in held_in(read)))
    if shape.header:  # its version is of no matter
        for low in begins[:-1]:
            again[low + 4 : low + 6] = raw[low + 4 : low + 6]
    if shape.stored != np.dtype("?") and not (
        shape.stored is None and shape.length_bytes == "1-5"
    ):  # true is any byte,
        assert again == raw  # and short strings may have long lengths


def test_a_damaged_basket_is_named(tmp_path: Path) -> None:
    """One byte of a length: uproot went on with the bytes of other entries."""
    with uproot.open(FILE) as file:
        start = int(file["sevens"]["vs"].member("fBasketSeek")[0])
    path = tmp_path / "damaged.root"
    raw = bytearray(Path(FILE).read_bytes())
    at = raw.index(b"\x40\x00\x00\x08\x00\x0a\x00\x00\x00\x01", start)
    raw[at + 9] = 2
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"branch vs: basket 0 of branch vs \(entries \[0, 7\)\) is damaged: entry"):
        Reader(str(path), "sevens").array("vs", 0, 7)


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "tree", "nested"),
    [
        ("uproot-issue367.root", "tree", 2),
        ("uproot-issue390.root", "E", 13),
        # of 2,609 branches, for which uproot needs seconds
        pytest.param("uproot-issue403.root", "Event", 19, marks=pytest.mark.interop),
        ("uproot-issue64.root", "events/events", 5),
        ("uproot-vectorVectorDouble.root", "t", 1),
    ],
)
def test_real_branches_are_as_uproot_has_them(file: str, tree: str, nested: int) -> None:
    path = data_path(file)
    reader = Reader(path, tree)
    with uproot.open(path) as opened:
        branches = {branch.object_path: branch for branch in opened[tree].itervalues(recursive=True)}
        names = [name for name, branch in reader.names.items() if shape_of(branch.interpretation) is not None]
        assert len(names) == nested
        for name in names:
            expected = branches[reader.names[name].object_path].array()
            array = reader.array(name, 0, reader.entries)
            assert array.type == expected.type
            assert ak.array_equal(array, expected, equal_nan=True)
