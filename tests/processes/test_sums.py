"""Sums of weights over trees other than that of the events: exact, of all files or of those that are named, by dataset."""

from __future__ import annotations

import math
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, DatasetError
from hist import Hist

WEIGHTS = [1e16, 0.1, -1e16, 0.3, 1e-300, 7.7e15]


def nano(path: Path, events: int, runs: list[float], scales: bool = True, with_runs: bool = True) -> str:
    """A file as NanoAOD has them; an empty list of events stands for a file in which all were rejected."""
    with uproot.recreate(path) as file:
        file.mktree("Events", {"genWeight": "float32", "run": "uint32"})
        if events:
            file["Events"].extend({"genWeight": np.full(events, 0.1, np.float32), "run": np.ones(events, np.uint32)})
        if with_runs:
            file.mktree("Runs", {"genEventSumw": "float64", "genEventCount": "int64", "LHEScaleSumw": "var * float64"})
            file["Runs"].extend({
                "genEventSumw": np.array(runs), "genEventCount": np.full(len(runs), 2**61),
                "LHEScaleSumw": ak.Array([[weight] * (3 if scales else 2) for weight in runs]),
            })  # fmt: skip
    return str(path)


def test_sums_are_exact_and_by_dataset_and_files_without_events_count(session: em.Session, tmp_path: Path) -> None:
    """Whole numbers beyond 64 bits, floats as `math.fsum` has them, however they were merged; and a file of which every
    event was rejected has a sum of weights, too."""
    files = [nano(tmp_path / f"{at}.root", 0 if at == 2 else 50, [weight]) for at, weight in enumerate(WEIGHTS)]
    data = em.Dataset({"ttbar": files[:4], "wjets": files[4:]}, tree="Events", aliases={"double": "2 * genWeight"})
    sums = session.sum(data, ["genEventSumw", "genEventCount", "LHEScaleSumw"], tree="Runs")
    assert list(sums) == ["ttbar", "wjets"]
    assert sums["ttbar"]["genEventSumw"] == math.fsum(WEIGHTS[:4]) == 0.4  # numpy's sum is 0.3
    assert sums["ttbar"]["genEventCount"] == 2**63
    assert sums["wjets"]["LHEScaleSumw"].tolist() == [math.fsum(WEIGHTS[4:])] * 3
    assert (sums.account.lost, sums.account.total) == ([], len(WEIGHTS))
    weights = [float(np.float32(0.1))] * 150
    assert session.sum(data, "double")["ttbar"] == math.fsum(2 * weight for weight in weights)


def test_a_file_that_cannot_be_summed_is_named_and_not_left_out_in_silence(session: em.Session, tmp_path: Path) -> None:
    good = nano(tmp_path / "good.root", 1, [1.5])
    bare = nano(tmp_path / "bare.root", 1, [], with_runs=False)
    missing = str(tmp_path / "missing.root")
    data = em.Dataset({"": [good, bare, missing]}, tree="Events")
    with pytest.raises(
        DatasetError, match=r"2 files cannot be summed in the tree Runs(.|\n)*bare.root: .*no tree Runs"
    ):
        session.sum(data, "genEventSumw", tree="Runs")
    sums = session.sum(data, "genEventSumw", tree="Runs", on_error="skip")
    assert sums == {"": 1.5}
    assert {lost.path for lost in sums.account.lost} == {bare, missing}
    with pytest.raises(AnalysisError, match=r"genEventSumW.*genEventSumw"):
        session.sum(good, "genEventSumW", tree="Runs")
    with pytest.raises(DatasetError, match=r"max_entries.*Runs"):
        session.sum(em.Dataset(good, tree="Events", max_entries=1), "genEventSumw", tree="Runs")
    other = nano(tmp_path / "other.root", 1, [1.0], scales=False)
    with pytest.raises(AnalysisError, match="LHEScaleSumw: its rows have different lengths"):
        session.sum([good, other], "LHEScaleSumw", tree="Runs")


def test_weights_of_files_that_a_result_lacks_stand_apart(session: em.Session, tmp_path: Path) -> None:
    """Whoever divides by the weights of files whose events were lost gets a cross section that is too small."""
    files = [nano(tmp_path / f"{at}.root", 10, [float(2**at)]) for at in range(3)]

    def count(events: ak.Array, file: object) -> int:
        if file.path.endswith("1.root"):  # type: ignore[attr-defined]
            raise ValueError("broken")
        return len(events.genWeight)

    data = em.Dataset({"ttbar": files}, tree="Events")
    result = session.process(data, count, on_error="skip").result()
    sums = session.sum(data, "genEventSumw", tree="Runs", of=result)
    assert (result.value, sums, sums.apart) == (20, {"ttbar": 5.0}, {"ttbar": 2.0})
    gone = str(tmp_path / "gone.root")  # the rows are read at the other replica
    twice = em.Dataset({"ttbar": [files[0], (gone, files[1]), files[2]]}, tree="Events")
    again = session.process(twice, count, on_error="skip").result()
    of_replica = session.sum(twice, "genEventSumw", tree="Runs", of=again)
    assert (of_replica, of_replica.apart) == ({"ttbar": 5.0}, {"ttbar": 2.0})
    with pytest.raises(DatasetError, match="a result of 3 files, and 2 are to be summed"):
        session.sum(em.Dataset(files[:2], tree="Events"), "genEventSumw", tree="Runs", of=result)


def test_trees_are_analysed_in_one_query_each_by_its_own_part(session: em.Session, tmp_path: Path) -> None:
    """A kernel over events, a function over runs: columns that are called alike (`run`) may be of different types."""
    files = [nano(tmp_path / f"{at}.root", 0 if at == 1 else 10, [1.0, 0.5]) for at in range(3)]
    for path in files:
        with uproot.update(path) as file:
            file.mktree("Lumis", {"run": "float64", "genWeight": "int16"})
            file["Lumis"].extend({"run": np.full(4, 7.5), "genWeight": np.full(4, 3, np.int16)})

    @em.kernel(weight=Hist.new.Reg(1, 0, 1).Weight())
    def events(weight: object, genWeight: float, run: int) -> None:
        weight.fill(0.5, weight=genWeight * run)  # type: ignore[attr-defined]

    def runs(rows: ak.Array, file: em.Dataset) -> dict[str, float]:
        return {file.dataset: float(ak.sum(rows.genEventSumw))}

    def lumis(rows: ak.Array) -> float:
        return float(ak.sum(rows.run * rows.genWeight))

    data = em.Dataset({"a": files[:2], "b": files[2:]}, tree="Events")
    result = session.process(data, {"Events": events, "Runs": runs, "Lumis": lumis}).result()
    assert result["Events"]["weight"].sum().value == pytest.approx(2.0)
    assert result["Runs"] == {"a": 3.0, "b": 1.5}
    assert result["Lumis"] == 3 * 4 * 7.5 * 3
    assert (result.account.processed, result.account.files) == (20 + 6 + 12, 9)
    bare = nano(tmp_path / "bare.root", 5, [], with_runs=False)
    part = session.process([*files, bare], {"Events": events, "Runs": runs}, on_error="skip").result()
    assert part["Runs"] == {"": 4.5} and part["Events"]["weight"].sum().value == pytest.approx(2.5)
    assert [(lost.path, lost.tree) for lost in part.account.lost] == [(bare, "Runs")]
    for analysis, says in (
        ({}, "a dict of parts"),
        ({"Events": {"x": runs}}, "is a dict again"),
        ({"Runs": 3}, "no analysis"),
    ):
        with pytest.raises(AnalysisError, match=says):
            session.process(data, analysis)
    with pytest.raises(DatasetError, match="aliases, friends or defaults, which are of one tree"):
        session.process(
            em.Dataset(files, tree="Events", aliases={"w": "2 * genWeight"}), {"Events": runs, "Runs": runs}
        )
