"""Layouts travel: they come out as they went in, small, and bytes from anywhere are a `ValueError` at worst."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import msgspec
import numpy as np
import pytest
import uproot
import zstandard
from columns import described
from eventmill.reading.columns import Column, Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import MOST_BYTES, Branch, packed, unpacked
from eventmill.reading.ttree.baskets import Baskets
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples
from skhep_testdata import data_path

COUNTER, LISTS = "nMuon", "Muon_pt"


def same(one: Branch, other: Branch) -> bool:
    def told(branch: Branch) -> tuple[Any, ...]:
        embedded = [(data, None if offsets is None else offsets.tolist()) for data, offsets in branch.embedded]
        kinds = (branch.name, branch.stored, branch.shape, branch.counter, branch.table, branch.header)
        return *kinds, branch.edges.tolist(), branch.spans, embedded

    return told(one) == told(other)


@st.composite
def branches(draw: st.DrawFn, name: str, edges: list[int], counter: str = "") -> Branch:
    """Any branch of a tree of so many entries, its last baskets embedded."""
    count = len(edges) - 1
    left = draw(st.integers(0, count))
    kind = draw(st.sampled_from(["flat", "table", "header"])) if not counter else "counted"
    starts = draw(st.lists(st.integers(0, 2**40), min_size=count - left, max_size=count - left))
    offsets = np.array(draw(st.lists(st.integers(-(2**31), 2**31), max_size=4)), dtype=np.int64)
    is_count = name == COUNTER
    return Branch(
        name=name,
        stored=np.dtype(">i4" if is_count else draw(st.sampled_from([">f4", ">f8", "|b1", "|u1", "<i2", ">u8"]))),
        shape=() if is_count else draw(st.sampled_from([(), (3,), (2, 2)])),
        counter=counter,
        table=kind in ("table", "header") and not is_count,
        header=10 if kind == "header" and not is_count else 0,
        edges=np.array(edges, dtype=np.int64),
        spans=[(start, start + draw(st.integers(1, 2**31))) for start in starts],
        embedded=tuple(
            (draw(st.binary(max_size=20)), offsets if kind in ("table", "header") and not is_count else None)
            for _ in range(left)
        ),
    )


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Branch]:
    """Branches of one tree, one of them counted by another."""
    entries = draw(st.integers(0, 2**40))

    def edges() -> list[int]:
        return [0, *sorted(draw(st.lists(st.integers(0, entries), max_size=4))), entries]

    shared = edges()
    names = [COUNTER, LISTS, *draw(st.lists(st.text(max_size=8), unique=True, max_size=3))]
    found = {name: draw(branches(name, shared, COUNTER if name == LISTS else "")) for name in names[:2]}
    return found | {name: draw(branches(name, edges())) for name in names[2:] if name not in found}


@examples(20)
@given(trees())
def test_layouts_come_out_as_they_went_in(tree: dict[str, Branch]) -> None:
    back = unpacked(packed(tree))
    assert list(back) == list(tree)
    assert all(same(back[name], branch) for name, branch in tree.items())
    assert back[COUNTER].edges is back[LISTS].edges, "edges are kept once"


def test_no_branches_are_a_layout_too() -> None:
    assert unpacked(packed({})) == {}


@examples(60)
@given(tree=trees(), data=st.data())
def test_bytes_from_anywhere_are_a_value_error_at_worst(tree: dict[str, Branch], data: st.DataObject) -> None:
    """Cut off, with bytes changed within the frame and outside of it, or no layout at all."""
    inside = bytearray(zstandard.decompress(packed(tree)))
    for at in data.draw(st.lists(st.integers(0, len(inside) - 1), max_size=4)):
        inside[at] = data.draw(st.integers(0, 255))
    outside = bytearray(zstandard.compress(inside[: data.draw(st.integers(0, len(inside)))]))
    if data.draw(st.booleans()):
        outside[data.draw(st.integers(0, len(outside) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = unpacked(data.draw(st.sampled_from([bytes(outside), bytes(inside), b""])))
    except ValueError:
        return
    for branch in back.values():
        assert (np.diff(branch.edges) >= 0).all() and branch.edges[0] == 0
        assert len(branch.spans) + len(branch.embedded) == len(branch.edges) - 1
        assert all(0 <= start < stop for start, stop in branch.spans)
        assert branch.width > 0 and (not branch.counter or back[branch.counter].is_count)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counter": "nJet"}, "no counter nJet for branch Muon_pt"),
        ({"counter": LISTS}, "no counter Muon_pt"),
        ({"counter": "", "table": False, "header": 10}, "lists of two kinds"),
        ({"table": True}, "lists of two kinds"),
        ({"stored": "O"}, "unknown type 'O'"),
        ({"stored": ">i4,>i4"}, "unknown type"),
        ({"shape": [0]}, "not a packed layout"),
        ({"edges": 5}, "no entries"),
        ({"name": COUNTER}, "a branch twice"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    fields = ["name", "stored", "shape", "counter", "table", "header", "edges", "embedded"]
    muons = {"name": LISTS, "stored": ">f4", "shape": [], "counter": COUNTER, "table": False, "header": 0, "edges": 0}
    count = {**muons, "name": COUNTER, "stored": ">i4", "counter": ""}
    told = [[{"embedded": [], **branch}[field] for field in fields] for branch in (count, {**muons, **change})]
    numbers = np.array([10, 100, 50, 200, 60], dtype="<i8").view(np.uint8).reshape(-1, 8).T.tobytes()
    with pytest.raises(ValueError, match=words):
        unpacked(zstandard.compress(msgspec.msgpack.encode([[2], told, numbers])))


def test_a_layout_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        unpacked(zstandard.compress(bytes(MOST_BYTES + 1)))


# --- of real files ----------------------------------------------------------------------------------------------------


def equal(one: Column, other: Column) -> bool:
    if isinstance(one, Jagged) and isinstance(other, Jagged):
        return np.array_equal(one.offsets, other.offsets) and equal(one.content, other.content)
    return (
        isinstance(one, Flat) and isinstance(other, Flat) and ak.array_equal(one.values, other.values, equal_nan=True)
    )


@pytest.mark.parametrize(
    ("name", "tree", "what"),
    [
        ("uproot-HZZ-lz4.root", "events", "counted lists"),
        ("uproot-issue63.root", "WtLoop_nominal", "an ATLAS ntuple of 157 branches"),
        ("uproot-issue38b.root", "ntupler/tree", "vectors of every type"),
        ("uproot-issue187.root", "fTreeV0", "baskets embedded in the tree, lists with a table"),
        ("uproot-issue327.root", "DstTree", "fixed-size arrays"),
        ("uproot-issue412.root", "test", "a million entries"),
    ],
)
def test_what_is_told_of_a_file_is_enough_to_read_it(name: str, tree: str, what: str) -> None:
    reader = Reader(data_path(name), tree)
    told = described(reader, reader.names)
    baskets = Baskets(reader.stored.directory.file.source, {}, unpacked(packed(told)))
    start, stop = reader.entries // 3, reader.entries - reader.entries // 4
    for branch in told:
        [ours], [expected] = (each.read([branch], [(start, stop)]) for each in (baskets, reader.columns.baskets))
        assert equal(ours[branch], expected[branch]), branch
    assert len(told) >= 1
    reader.close()


def test_a_basket_takes_a_few_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with uproot.recreate(tmp_path / "many.root", compression=uproot.ZSTD(1)) as file:
        tree = file.mktree("Events", {f"x{i}": "f4" for i in range(5)})
        for _ in range(100):
            tree.extend({f"x{i}": rng.normal(size=100).astype("f4") for i in range(5)})
    reader = Reader(str(tmp_path / "many.root"))
    assert len(packed(described(reader, reader.names))) < 6 * 500
    reader.close()
