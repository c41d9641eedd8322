"""Whole queries over friends, aliases, defaults and files that do not agree."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from bench import Bench, only
from eventmill.protocol import messages
from eventmill.protocol.errors import AnalysisError, DatasetError
from view_files import ENTRIES, write, write_friend


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("view") / "events.root")


@em.kernel(total=np.zeros(4))
def kernel(total: Any, ht: Any, score: Any, bdt_score: Any, Jet_btag: Any) -> None:
    total[0] += ht
    total[1] += score * bdt_score
    for tag in Jet_btag:
        total[2] += tag
    total[3] += 1


def columnar(events: ak.Array) -> dict[str, Any]:
    sums = [ak.sum(events.ht), ak.sum(events.score * events.bdt.score), ak.sum(events.Jet.btag), len(events)]
    return {"total": np.array(sums, dtype=float)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[em.Dataset, Any]:
    """Three files with friends, one of them without Jet_btag; and what the analyses are to find."""
    folder = tmp_path_factory.mktemp("dataset")
    total = np.zeros(4)
    for number in range(3):
        more: dict[str, Any] = {"Jet_btag": None} if number == 1 else {}
        events = uproot.open(write(folder / f"f{number}.root", seed=number, **more))["Events"].arrays()
        score = uproot.open(write_friend(folder / f"bdt_f{number}.root", seed=10 + number))["scores/score"].array()
        tags = ak.sum(events.Jet_btag) if number != 1 else -2.0 * ak.sum(events.nJet)
        total += [ak.sum(ak.sum(events.Jet_pt, axis=1)), ak.sum(score**2), tags, ENTRIES]
    data = em.Dataset(
        str(folder / "f*.root"), tree="Events", aliases={"ht": "ak.sum(Jet.pt, axis=1)"},
        friends={"bdt": "{folder}/bdt_{name}:scores"}, defaults={"Jet_btag": np.float32(-2)},
    )  # fmt: skip
    return data, total


@pytest.mark.parametrize("analysis", [kernel, columnar])
def test_a_query_over_friends_aliases_and_defaults(
    session: em.Session, dataset: tuple[em.Dataset, Any], analysis: Any
) -> None:
    data, total = dataset
    result = session.process(data, analysis).result()
    assert result["total"] == pytest.approx(total, rel=1e-4)
    assert result.account.notes == ["1 of 3 files have no Jet_btag: its default was taken"]


def test_draw_takes_aliases_friends_and_nested_names(session: em.Session, dataset: tuple[em.Dataset, Any]) -> None:
    histogram = session.draw(dataset[0], "sqrt(Jet.pt)", where="bdt.score > 0.5", bins=(10, 0, 100))
    assert 0 < histogram.sum() < session.draw(dataset[0], "Jet_pt", bins=(10, 0, 1e4)).sum()
    assert session.draw(dataset[0], "ht", bins=(10, 0, 1e5)).sum() == 3 * ENTRIES
    with pytest.raises(AnalysisError, match="names Jet_PT, and no column is called so; the nearest names are Jet_pt"):
        session.draw(dataset[0], "Jet_PT")


@em.kernel(total=np.zeros(1))
def sum_x(total: Any, x: Any) -> None:
    total[0] += x


def sum_x_of_events(events: ak.Array) -> Any:
    return {"total": np.array([ak.sum(events.x)])}


@pytest.mark.parametrize("analysis", [sum_x, sum_x_of_events])
def test_a_type_that_changes_between_files_ends_the_query(session: em.Session, tmp_path: Path, analysis: Any) -> None:
    files = [write(tmp_path / "a.root"), write(tmp_path / "b.root", x=np.zeros(ENTRIES, "f4"))]
    with pytest.raises(
        DatasetError, match=r"the type of x changes between files: float\d\d in .*.root, float\d\d in .*"
    ):
        session.process(em.Dataset([str(file) for file in files]), analysis).result()


def test_lists_in_the_place_of_numbers_are_what_is_wrong_with_an_analysis_that_fails_on_them(tmp_path: Path) -> None:
    """It raises in the middle of the chunk, with words on arrays that cannot be regular."""
    numbers, lists = write(tmp_path / "a.root"), tmp_path / "b.root"
    with uproot.recreate(lists) as file:
        file["Events"] = {"x": ak.Array([[1.0, 2.0], [3.0]] * 50)}
    bench = Bench(tmp_path, q=lambda events: float(np.asarray(events.x).sum()))
    leases = [
        messages.Lease(number, "q", 0, messages.File(str(path), "Events"), 0, 100, 10.0, opening=True)
        for number, path in enumerate([numbers, lists])
    ]
    said = bench.work(*leases)
    failure = only(messages.Failed, said).failure
    assert (failure.kind, failure.error) == ("data", "DatasetError")
    assert failure.message == f"the type of x changes between files: float64 in {numbers}, var * float64 in {lists}"


@pytest.mark.parametrize("analysis", [sum_x, sum_x_of_events])
def test_files_that_do_not_fit_can_be_skipped(session: em.Session, tmp_path: Path, analysis: Any) -> None:
    """Which type was first is not known beforehand; but the result is of files that agree, whatever the slots saw first."""
    ones, halves = np.ones(ENTRIES), np.full(ENTRIES, 0.5, "f4")
    files = [write(tmp_path / f"{n}.root", x=halves if n % 3 == 0 else ones) for n in range(9)]
    result = session.process(em.Dataset([str(file) for file in files]), analysis, on_error="skip").result()
    account = result.account
    assert account.processed + account.failed == account.total == 9 * ENTRIES
    assert result["total"][0] == account.processed * (1.0 if account.failed == 3 * ENTRIES else 0.5)
    assert account.failed in (3 * ENTRIES, 6 * ENTRIES)
    assert all("the type of x changes between files" in lost.reason for lost in account.lost)


def test_a_missing_friend_names_both_files(session: em.Session, path: Path) -> None:
    data = em.Dataset(str(path), friends={"bdt": "/nowhere/scores.root:scores"})
    with pytest.raises(DatasetError, match=r"events.root has no friend bdt: there is no file /nowhere/scores.root"):
        session.process(data, columnar).result()


@pytest.mark.parametrize(
    ("analysis", "told"),
    [
        (lambda events: events.Jet_btg, "the events have no Jet_btg; the nearest names are Jet_btag"),
        (lambda events: events["Jet_btg"], "the events have no Jet_btg; the nearest names are Jet_btag"),
        (lambda events: events.Jet.PT, "Jet has no PT; it has pt"),
        (lambda events: events.Jet[events.Jet.pt > 1]["ptt"], "Jet has no ptt; it has pt"),
        (lambda events: (events.x > 1).any(), r"awkward arrays have no method any: write ak.any\(...\)"),
        (lambda events: events.x.mass, "an array of float64 has no mass"),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_a_name_that_is_not_there_is_told_with_those_that_are(
    session: em.Session, path: Path, analysis: Any, told: str, files: int
) -> None:
    """What to do about a branch that some files lack helps neither in a dataset of one nor for a misspelt method."""
    data = [str(path)] if files == 1 else [str(path), str(shutil.copy(path, path.with_name("copy.root")))]
    with pytest.raises((AttributeError, ak.errors.FieldNotFoundError), match=f"^{told}") as caught:
        session.process(em.Dataset(data), analysis).result()
    notes = "\n".join(caught.value.__notes__)
    assert ("defaults={'Jet_btg': 0.0}" in notes) == (files == 2 and "Jet_btg" in told)
    assert notes.count("File ") == 1, "no more than the user's own line"


def test_a_coffea_processor_has_no_aliases(session: em.Session, path: Path) -> None:
    class Processor:
        def process(self, events: Any) -> Any: ...
        def postprocess(self, result: Any) -> Any: ...

    with pytest.raises(AnalysisError, match="a coffea processor, which reads files by itself"):
        session.process(em.Dataset(str(path), aliases={"a": "x"}), Processor())


def test_what_failed_is_submitted_again_with_the_same_columns(
    session: em.Session, dataset: tuple[em.Dataset, Any]
) -> None:
    """Files have their friends again; aliases and defaults are those of the dataset that is given."""

    def fails(events: ak.Array) -> Any:
        if ak.any((events.n == 7) & (events.ht >= 0) & (events.score >= 0)):
            raise ValueError("not now")
        return columnar(events)

    data, total = dataset
    first = session.process(data, fails, on_error="skip").result()
    assert first.account.failed == 3
    rest = session.process(first.account.failed_dataset(data), columnar).result()
    assert first.merged(rest)["total"] == pytest.approx(total, rel=1e-4)


@em.kernel(differences=np.zeros(2, np.int64))
def paired_kernel(
    differences: Any, run: Any, event: Any, bdt_run: Any, bdt_event: Any, bdt_pt: Any, bdt_n: Any
) -> None:
    differences[0] += abs(run - bdt_run) + abs(event - bdt_event) + abs(len(bdt_pt) - bdt_n)
    differences[1] += 1


def paired(events: ak.Array) -> dict[str, Any]:
    wrong = (
        abs(events.run - events.bdt.run)
        + abs(events.event - events.bdt.event)
        + abs(ak.num(events.bdt.pt) - events.bdt.n)
    )
    return {"differences": np.array([ak.sum(wrong), len(events)])}


@pytest.mark.parametrize("analysis", [paired_kernel, paired])
def test_a_query_over_a_friend_that_is_joined_by_its_index(session: em.Session, analysis: Any) -> None:
    """By their numbers, its entries would belong to other events; kernels and columnar functions alike."""
    file = str(Path(__file__).parents[1] / "data" / "indexed.root")
    data = em.Dataset(file, tree="events", friends={"bdt": f"{file}:scores"})
    assert session.process(data, analysis, chunk=(7, 30)).result(60)["differences"].tolist() == [0, 200]
    lacking = em.Dataset(file, tree="events", friends={"bdt": f"{file}:short"})
    with pytest.raises(DatasetError, match="has no entry with run 3 and event"):
        session.process(lacking, lambda events: float(ak.sum(events.bdt.score))).result(60)
