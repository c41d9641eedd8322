# mypy: allow-untyped-defs, allow-untyped-decorators
"""Rows that kernels append, in files: real processes, with slots that are killed and events that raise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from hist import Hist

SECONDS = 60
COLUMNS = {"met": "float32", "number": int, "nMuon": "int32", "Muon_pt": "var * float32"}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files, and an empty one between them."""
    random = np.random.default_rng(1)
    paths, first = [], 0
    for name, entries in (("b", 3000), ("c", 0), ("a", 4000)):
        counts = random.integers(0, 4, entries)
        path = tmp_path_factory.getbasetemp() / f"{name}.root"
        with uproot.recreate(path) as file:
            tree = file.mktree("Events", {"met": "float32", "number": "int64", "pt": "var * float32"})
            if entries:
                pt = ak.unflatten(random.exponential(30, counts.sum()).astype("f4"), counts)
                number = np.arange(first, first + entries)
                tree.extend({"met": random.exponential(40, entries).astype("f4"), "number": number, "pt": pt})
        paths.append(str(path))
        first += entries
    return paths


def expected(events: list[str], without: Any = ()) -> list[Any]:
    """The rows, by uproot and awkward alone."""
    every = ak.concatenate([uproot.open(path)["Events"].arrays() for path in (events[0], events[2])])
    kept = every[(every.met > 50) & ~np.isin(every.number, without)]
    hard = kept.pt[kept.pt > 20]
    return ak.to_list(
        ak.zip({"met": kept.met, "number": kept.number, "nMuon": ak.num(hard), "Muon_pt": hard}, depth_limit=1)
    )


def select(skim, met, number, pt):
    if met > 50:
        hard = pt[pt > 20]
        skim.append(met, number, nMuon=len(hard), Muon_pt=hard)


def rows_of(files: Any) -> list[Any]:
    names = list(COLUMNS)
    if files.spec.format == "parquet":
        return ak.to_list(ak.from_parquet(files.paths)[names])
    return ak.to_list(ak.concatenate([uproot.open(path)["Events"].arrays(names) for path in files.paths]))


@pytest.mark.parametrize("form", ["parquet", "root", "rntuple"])
def test_rows_of_a_kernel_are_those_of_plain_loops(session: em.Session, events: Any, tmp_path: Path, form: Any) -> None:
    """In the order of the input, by small packets; the skim goes on as a dataset."""
    output = em.Output(tmp_path / "out", COLUMNS, format=form, order="input", rows=500)
    query = session.process(em.Dataset(events, tree="Events", chunk=97), em.kernel(skim=output)(select))
    files = query.result(SECONDS)["skim"]
    assert rows_of(files) == expected(events)
    assert len(files) == -(-files.rows // 500) and files.rows == len(expected(events))
    if form == "root":
        tree = uproot.open(files.paths[0])["Events"]
        assert {branch.name: branch.typename for branch in tree.branches} == {
            "met": "float", "number": "int64_t", "nMuon": "int32_t", "Muon_pt": "float[]"
        }  # fmt: skip
        again = session.process(files.dataset(), lambda events: {"sum": ak.sum(events.number), "n": len(events)})
        right = [row["number"] for row in expected(events)]
        assert (again.result(SECONDS)["n"], again.result()["sum"]) == (len(right), sum(right))


def test_rows_of_killed_slots_and_of_events_that_raise(session: em.Session, events: Any, tmp_path: Path) -> None:
    """Some events append a row and a row, and raise; one appends a row and never ends, so that its slot is killed, twice.
    What is written agrees with a histogram beside it, and with the account."""
    raising, endless = np.array([17, 2999, 3000, 5555]), 2500

    @em.kernel(skim=em.Output(tmp_path / "out", COLUMNS), filled=Hist.new.Reg(10, 0, 200).Double())
    def odd(skim, filled, met, number, pt):
        is_bad = number == endless
        for bad in raising:
            is_bad |= number == bad
        if met > 50 or is_bad:
            filled.fill(met)
            hard = pt[pt > 20]
            skim.append(met, number, len(hard), hard)
            while number == endless:
                filled.fill(met)
            if is_bad:
                skim.append(met, number, len(hard), hard)
                raise ValueError("odd")

    query = session.process(em.Dataset(events, tree="Events", chunk=100), odd, on_error="skip", timeout=0.3)
    result = query.result(SECONDS)
    rows = sorted(rows_of(result["skim"]), key=lambda row: row["number"])
    assert rows == expected(events, [*raising, endless]) and result["filled"].sum(flow=True) == len(rows)
    assert result.account.failed == len(raising) + 1
    assert any("endless loop" in it.reason for it in result.account.lost)
    assert not list(tmp_path.rglob("*.piece"))


def weighted(skim, sum_w, met, number, weight):
    sum_w.fill(0.5, weight=weight)
    if met > 50:
        skim.append(met, number)


def heavy(skim, sum_w, met, number, weight):
    sum_w.fill(0.5, weight=weight)
    if met > 50:
        skim.append(met, weight)


def columnar(events: ak.Array, folder: Path) -> Any:
    chosen = events[events.met > 50]
    sum_w = Hist.new.Reg(1, 0, 1).Double().fill(np.full(len(events), 0.5), weight=events.weight)
    return {"sum_w": sum_w, "skim": em.write(chosen[["met", "number"]], folder)}


@pytest.mark.parametrize("kind", ["weighted", "heavy", "columnar"])
def test_each_variation_writes_its_rows_into_a_folder_of_its_own(
    session: em.Session, events: Any, tmp_path: Path, kind: str
) -> None:
    """Those that move selected events, and those of weights, which are all filled by one run unless they are written."""
    sum_w = Hist.new.Reg(1, 0, 1).Double()
    output = em.Output(tmp_path / "out", {"met": "float32", "number": int})
    last = em.Output(tmp_path / "out", {"met": "float32", "w": "float64"})
    analysis: Any = {
        "weighted": em.kernel(skim=output, sum_w=sum_w)(weighted),
        "heavy": em.kernel(skim=last, sum_w=sum_w)(heavy),
        "columnar": lambda events: columnar(events, tmp_path / "out"),
    }[kind]
    dataset = em.Dataset(events, tree="Events", chunk=501, aliases={"weight": "number % 4 + 1.0"})
    shifts: Any = {"up": {"met": "met * 1.5"}, "w/up": {"weight": "weight * 2"}, "none": {"pt": "pt * 2"}}
    result = session.process(dataset, em.vary(analysis, shifts)).result(SECONDS)
    every = ak.concatenate([uproot.open(path)["Events"].arrays() for path in (events[0], events[2])])
    weight = every.number % 4 + 1.0
    for name, folder, met, factor in (
        ("nominal", "nominal", every.met, 1), ("up", "up", every.met * np.float32(1.5), 1), ("w/up", "w=2Fup", every.met, 2),
        ("none", "none", every.met, 1),
    ):  # fmt: skip
        skim = result[name]["skim"]
        assert skim.folder == str(tmp_path / "out" / folder) and {Path(path).parent for path in skim.paths} == {
            tmp_path / "out" / folder
        }
        column = "w" if kind == "heavy" else "number"
        right = factor * weight if kind == "heavy" else every.number
        rows = ak.from_parquet(skim.paths)
        mine = sorted(zip(rows.met.tolist(), rows[column].tolist(), strict=True))
        assert mine == sorted(zip(met[met > 50].tolist(), right[met > 50].tolist(), strict=True)) and mine
        assert result[name]["sum_w"].sum() == factor * ak.sum(weight)
    assert sorted(path.suffix for path in (tmp_path / "out").rglob(".*")) == [".json"] * 4
