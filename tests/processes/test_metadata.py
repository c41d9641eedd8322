# mypy: allow-untyped-defs
"""What a call is told of its events is true of them: dataset, file, tree, entries, metadata of the dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
import uproot
from hist import Hist

ENTRIES = {"a": 700, "b": 1300, "c": 11}


@pytest.fixture(scope="module")
def fileset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two datasets; the values tell the file and the entry."""
    folder = tmp_path_factory.mktemp("files")
    for number, (name, entries) in enumerate(ENTRIES.items()):
        with uproot.recreate(folder / f"{name}.root") as file:
            file.mktree("Events", {"x": "int64"})
            file["Events"].extend({"x": 10_000 * number + np.arange(entries)})
    path = {name: str(folder / f"{name}.root") for name in ENTRIES}
    return {
        "data": {"files": {path["a"]: "Events", path["b"]: "Events"}, "metadata": {"era": "B"}},
        "mc": {"files": {path["c"]: "Events"}, "metadata": {"era": "C", "xsec": 2.5}},
    }


def check_entries(spans: list[tuple[str, int, int]]) -> None:
    """Each entry of each file once."""
    for number, (name, entries) in enumerate(ENTRIES.items()):
        mine = sorted((first - 10_000 * number, last - 10_000 * number) for file, first, last in spans if file == name)
        assert [entry for first, last in mine for entry in range(first, last + 1)] == list(range(entries))


def test_a_processor_is_told_where_its_events_are(session: em.Session, fileset: dict[str, Any]) -> None:
    processor = pytest.importorskip("coffea.processor")
    from coffea.nanoevents import BaseSchema

    class Tells(processor.ProcessorABC):  # type: ignore[misc, name-defined]
        schema = BaseSchema

        def process(self, events):
            x = np.asarray(events.x)
            return {"told": [(dict(events.metadata), int(x[0]), int(x[-1]), len(x))]}

        def postprocess(self, accumulator):
            return accumulator

    told = session.process(em.Dataset(fileset), Tells(), chunk=(1, 100)).result()["told"]
    uuids = {
        name: str(uproot.open(path).file.uuid)
        for files in fileset.values()
        for path in files["files"]
        for name in [Path(path).stem]
    }
    for metadata, first, last, length in told:
        name = Path(metadata["filename"]).stem
        base = 10_000 * list(ENTRIES).index(name)
        assert (metadata["entrystart"], metadata["entrystop"]) == (first - base, last - base + 1)
        assert metadata["entrystop"] - metadata["entrystart"] == length
        assert (metadata["treename"], metadata["fileuuid"]) == ("Events", uuids[name])
        expected = ("mc", "C", 2.5) if name == "c" else ("data", "B", None)
        assert (metadata["dataset"], metadata["era"], metadata.get("xsec")) == expected
    check_entries([(Path(metadata["filename"]).stem, first, last) for metadata, first, last, _ in told])


def test_lists_and_dicts_are_each_calls_own(session: em.Session, fileset: dict[str, Any]) -> None:
    """Trigger lists, scale factors; what a call does to them no other one sees. A file in two datasets is read for each."""
    path = next(iter(fileset["mc"]["files"]))
    about = {"A": {"triggers": ["IsoMu24"], "sf": {2016: [0.9, 1]}}, "B": {"triggers": [], "sf": {}}}
    data = em.Dataset({name: {"files": {path: "Events"}, "metadata": its} for name, its in about.items()})

    def tells(events, file):
        told = repr(file.metadata)
        file.metadata["triggers"].append("changed")
        file.metadata["sf"]["id"] = 0.0
        return {file.dataset: {"told": {told}, "n": len(events)}}

    result = session.process(data, tells, chunk=(1, 2)).result().value
    assert result == {name: {"told": {repr(its)}, "n": ENTRIES["c"]} for name, its in about.items()}


def test_the_first_entries_of_each_dataset(session: em.Session, fileset: dict[str, Any]) -> None:
    def tells(events, file):
        return {file.dataset: {"n": len(events), "sum": int(np.sum(np.asarray(events.x)))}}

    result = session.process(em.Dataset(fileset, max_entries={"data": 1000}), tells).result()
    assert result["data"] == {"n": 1000, "sum": sum(range(700)) + sum(range(10_000, 10_300))}
    assert result["mc"]["n"] == ENTRIES["c"]
    assert (result.account.total, result.account.processed) == (1000 + ENTRIES["c"],) * 2
    with pytest.raises(
        em.errors.DatasetError, match=r"max_entries for 'dta'.*of that name; the nearest names are data"
    ):
        em.Dataset(fileset, max_entries={"dta": 10})


def test_a_function_is_told_its_file(session: em.Session, fileset: dict[str, Any]) -> None:
    def tells(events, file):
        x = np.asarray(events.x)
        return {"told": [(file.path, file.tree, file.dataset, dict(file.metadata), int(x[0]), int(x[-1]))]}

    told = session.process(em.Dataset(fileset), tells, chunk=(1, 100)).result()["told"]
    for path, tree, dataset, metadata, first, _ in told:
        assert Path(path).stem == list(ENTRIES)[first // 10_000]
        assert (tree, dataset) == ("Events", "mc" if Path(path).stem == "c" else "data")
        assert metadata["era"] == ("C" if dataset == "mc" else "B")
    check_entries([(Path(path).stem, first, last) for path, _, _, _, first, last in told])


@em.kernel(
    of=Hist.new.StrCat(["data", "mc"], name="dataset").Weight(),
    eras=Hist.new.StrCat(["B", "C"]).Int64(),
    sums=np.zeros(2),
)
def kernel_that_asks(of, eras, sums, x, here=em.here):
    of.fill(here.dataset, weight=here.metadata["lumi"])
    eras.fill(here.metadata["era"])
    sums[0] += here.entry
    sums[1] += x - here.entry


def test_a_kernel_is_told_where_its_event_is(session: em.Session, fileset: dict[str, Any]) -> None:
    """Two datasets in one query; then other metadata in the same session, which finds its code compiled."""
    entries = sum(n * (n - 1) / 2 for n in ENTRIES.values())
    numbers = ENTRIES["b"] * 10_000 + ENTRIES["c"] * 20_000
    for lumi in (0.5, 4.0):
        data = em.Dataset(fileset, metadata={"data": {"lumi": 1.0}, "mc": {"lumi": lumi}})
        result = session.process(data, kernel_that_asks, chunk=(1, 100)).result()
        assert result["of"].values().tolist() == [2000.0, 11 * lumi]
        assert result["of"].variances().tolist() == [2000.0, 11 * lumi * lumi]
        assert result["eras"].values().tolist() == [2000, 11]
        assert result["sums"].tolist() == [entries, numbers]
    with pytest.raises(em.errors.AnalysisError, match="the dataset data has no metadata 'lumi'; it has era"):
        session.process(em.Dataset({"data": fileset["data"]}), kernel_that_asks).result()
