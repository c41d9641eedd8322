"""Trees of one file that are parts of one table: as one tree they have the entries, and the values, of all of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.tree_series import TreeSeries, fits, open_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import Standing

SIZES = {"DF_20": 7, "DF_3": 0, "DF_100": 5, "DF_1": 30}
"""In this order in the file, which is neither that of names nor of numbers; one is empty."""
ENTRIES = sum(SIZES.values())


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like ALICE's: folders with the same tables, and one tree beside them."""
    path = tmp_path_factory.mktemp("tables") / "AO2D.root"
    begin = 0
    with uproot.recreate(path) as file:
        for folder, size in SIZES.items():
            number = np.arange(begin, begin + size)
            lists = ak.unflatten(np.arange(begin, begin + 2 * size, dtype="f4"), np.full(size, 2))
            track = {"fPx": number.astype("f4"), "fCells": lists, "fCorner": np.stack([number, -number], axis=1)}
            types = {"fPx": "float32", "fCells": "var * float32", "fCorner": "2 * int64"}
            file.mktree(f"{folder}/O2track", types)
            file.mktree(f"{folder}/O2trackextra", {"fChi2": "float64"})
            file.mktree(f"{folder}/O2collision", {"fPosZ": "float32"})
            if size:
                file[f"{folder}/O2track"].extend(track)
                file[f"{folder}/O2trackextra"].extend({"fChi2": number / 2})
                file[f"{folder}/O2collision"].extend({"fPosZ": np.zeros(1, "f4")})
            begin += size
        file.mktree("metadata", {"version": "int32"})
        file["metadata"].extend({"version": np.array([3], "i4")})
    return path


@pytest.fixture(scope="module")
def expected(tables: Path) -> Any:
    with uproot.open(tables) as file:
        return ak.concatenate([file[f"{folder}/O2track"].arrays() for folder in SIZES])


def test_a_star_stands_for_one_folder_or_part_of_its_name() -> None:
    assert fits("DF_1/O2track", "DF_*/O2track") and fits("DF_1/O2track", "*/*track")
    assert not fits("DF_1/O2trackextra", "DF_*/O2track") and not fits("DF_1/more/O2track", "DF_*/O2track")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_range_of_entries_has_the_values_of_the_trees_one_after_the_other(
    tables: Path, expected: Any, data: st.DataObject
) -> None:
    series = _series(tables)
    bounds = sorted(data.draw(st.lists(st.integers(0, ENTRIES), min_size=2, max_size=6)))
    ranges = list(itertools.pairwise(bounds))
    for (start, stop), columns in zip(ranges, series.read_ranges(["fPx", "fCells", "fCorner"], ranges), strict=True):
        flat, lists, corner = columns["fPx"], columns["fCells"], columns["fCorner"]
        assert isinstance(flat, Flat) and isinstance(corner, Flat)
        assert flat.values.tolist() == expected.fPx[start:stop].to_list()
        assert corner.values.tolist() == expected.fCorner[start:stop].to_list()
        assert isinstance(lists, Jagged) and np.diff(lists.offsets).tolist() == [2] * (stop - start)
        assert ak.to_list(series.events(start, stop).fCells) == expected.fCells[start:stop].to_list()
        assert ak.to_list(series.array("fCells", start, stop)) == expected.fCells[start:stop].to_list()
    series.close()


def _series(path: Path, pattern: str = "DF_*/O2track") -> TreeSeries:
    series = open_tree(str(path), pattern)
    assert isinstance(series, TreeSeries)
    return series


def test_it_is_cut_where_its_trees_begin(tables: Path) -> None:
    series = _series(tables)
    assert series.entries == ENTRIES and series.bounds == [0, 7, 7, 12, 42]
    layout = series.layout(None)
    assert {0, 7, 12, 42} <= set(layout.clusters) and layout.tree == "DF_*/O2track"
    series.close()


def test_a_query_counts_each_entry_once_in_columns_and_kernels(standing: Standing, tables: Path, expected: Any) -> None:
    data = em.Dataset(tables, tree="DF_*/O2track")
    friends = em.Dataset(tables, tree="DF_*/O2track", friends={"extra": "{folder}/{name}:{tree}extra"})

    @em.kernel(total=np.zeros(1))
    def filled(total: Any, fPx: Any, fCells: Any) -> None:
        for i in range(len(fCells)):
            total[0] += fCells[i] * fPx

    with standing.connect() as session:
        found = session.process(data, lambda events: {"n": len(events), "pt": ak.sum(events.fPx)}).result()
        assert (found["n"], found["pt"]) == (ENTRIES, float(np.sum(expected.fPx)))
        right = float(ak.sum(ak.values_astype(expected.fCells, "f8") * ak.values_astype(expected.fPx, "f8")))
        assert session.process(data, filled).result()["total"].tolist() == [right]
        both = session.process(friends, lambda events: {"sum": ak.sum(events.fPx * events.extra.fChi2)}).result()
        assert both["sum"] == float(np.sum(np.arange(ENTRIES) ** 2) / 2)


def test_what_is_wrong_is_said(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no tree whose name fits DF_\*/O2tracks; the nearest names are DF_3/O2track,"
    ):
        TreeSeries(str(tables), "DF_*/O2tracks")
    with pytest.raises(DatasetError) as caught:
        Reader(str(tables))
    assert "tree='*/O2track' for all 4 of one table" in str(caught.value) and len(str(caught.value)) < 700
    odd = tmp_path / "odd.root"
    with uproot.recreate(odd) as file:
        for folder, kind in (("a", "f4"), ("b", "f8")):
            file.mktree(f"{folder}/t", {"x": kind})
            file[f"{folder}/t"].extend({"x": np.ones(3, kind)})
    with pytest.raises(DatasetError, match="of type float64 in its tree b/t, and of type float32 in a/t"):
        TreeSeries(str(odd), "*/t").read(["x"], 0, 6)
    assert len(TreeSeries(str(odd), "*/t").read(["x"], 0, 3)["x"]) == 3, (
        "where one tree is read, there is nothing wrong"
    )


def test_trees_of_a_friend_fit_one_by_one(tables: Path, tmp_path: Path) -> None:
    """12 entries and 30 are no friends of 30 and 12, though there are as many in all."""
    other = tmp_path / "other.root"
    with uproot.recreate(other) as file:
        for folder, size in reversed(SIZES.items()):
            file.mktree(f"{folder}/O2more", {"y": "float32"})
            file[f"{folder}/O2more"].extend({"y": np.ones(size, "f4")})
    with pytest.raises(DatasetError, match=r"has 30 entries, and DF_20/O2track in .*, whose friend more it is, has 7"):
        _series(other, "DF_*/O2more").check_befriends("more", _series(tables))
