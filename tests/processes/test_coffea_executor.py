# mypy: allow-untyped-defs
"""coffea's `Runner` on a session gives what it gives with coffea's own executor, and says what went wrong as that does."""

from __future__ import annotations

import collections
import importlib
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import EventmillError
from hist import Hist

processor = pytest.importorskip("coffea.processor")
from coffea.nanoevents import BaseSchema, NanoAODSchema  # noqa: E402  # type: ignore[import-not-found,unused-ignore]

ENTRIES = {"a": 70, "b": 130, "empty": 0, "c": 11}


@pytest.fixture(scope="module")
def fileset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """NanoAOD-like files of two datasets, one file in both of them, and one without entries."""
    folder, random = tmp_path_factory.mktemp("nano"), np.random.default_rng(5)
    for name, entries in ENTRIES.items():
        counts = random.integers(0, 4, entries)
        pt = ak.values_astype(ak.unflatten(random.exponential(30, counts.sum()), counts), np.float32)
        muons = ak.zip({"pt": pt, "eta": pt / 50 - 1, "phi": pt / 40, "mass": pt * 0 + 0.1, "charge": pt * 0})
        ids = {branch: np.arange(entries) for branch in ("run", "luminosityBlock", "event")}
        with uproot.recreate(folder / f"{name}.root") as file:
            file.mktree("Events", {**dict.fromkeys(ids, "int64"), "Muon": muons.type})
            file["Events"].extend({**ids, "Muon": muons})
    path = {name: str(folder / f"{name}.root") for name in ENTRIES}
    metadata = {"triggers": ["IsoMu24", "Mu50"], "sf": {"id": 0.98, "iso": [1.0, 0.9]}, "xsec": 2.5}
    return {
        "data": {"treename": "Events", "files": [path["a"], path["b"], path["empty"]]},
        "mc": {"treename": "Events", "files": [path["c"], path["a"]], "metadata": metadata},
    }


@pytest.fixture(autouse=True)
def _own_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """coffea keeps what it knows of files for all runners of a process."""
    monkeypatch.setattr("coffea.processor.executor.DEFAULT_METADATA_CACHE", {})
    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)


class Everything(processor.ProcessorABC):  # type: ignore[misc]
    """Returns one of each kind that coffea adds up, keeps state, and is told everything of its events."""

    schema = NanoAODSchema

    def __init__(self):
        self.kept = Hist.new.Reg(10, 0, 100, name="pt").Double()

    def process(self, events):
        dataset, pt = events.metadata["dataset"], ak.to_numpy(ak.flatten(events.Muon.pt))
        cuts: Any = collections.defaultdict(lambda: collections.defaultdict(int))
        cuts[dataset]["all"] += len(events)
        self.kept.fill(pt=pt)
        by_name = Hist.new.Reg(10, 0, 100, name="pt").StrCat([], growth=True, name="dataset").Weight()
        by_name.fill(pt=pt, dataset=dataset, weight=1.5)
        return {
            "cuts": cuts,
            "kept": self.kept,
            "by name": by_name,
            "number": len(events),
            "small": np.float32(0.1),
            "array": np.arange(3, dtype=np.float32),
            "tuple": (dataset,),
            "flag": bool(len(events)),
            "text": dataset[0],
            "list": [len(events)],
            "told": [dict(events.metadata)],
            "set": {dataset},
            "counter": collections.Counter({dataset: 1, "zero": 0}),
            "columns": processor.column_accumulator(pt),
            "value": processor.value_accumulator(int, 3),
            "names": processor.set_accumulator({events.metadata["filename"]}),
            "by default": processor.defaultdict_accumulator(int, {dataset: 2}),
            "accumulators": processor.dict_accumulator({"one": processor.value_accumulator(float, 1.0)}),
        }

    def postprocess(self, accumulator):
        accumulator["cuts"]["made by its factory"]["all"] += 1
        return accumulator


def by_value(output: Any) -> Any:
    """What can be compared, without the order in which chunks came."""
    if isinstance(output, Hist):
        if len(output.axes) == 2:
            return {name: output[:, name].view(flow=True).tolist() for name in output.axes["dataset"]}
        return output.view(flow=True).tolist()
    if isinstance(output, processor.column_accumulator):
        return sorted(output.value.tolist()), output.value.dtype
    if isinstance(output, processor.value_accumulator):
        return output.value
    if isinstance(output, np.ndarray):
        return output.tolist()
    if isinstance(output, dict):
        return type(output), {key: by_value(value) for key, value in output.items()}
    if isinstance(output, list | tuple):
        return type(output), sorted(map(repr, output))
    return sorted(output) if isinstance(output, str) else output


def run(executor: Any, fileset: Any, instance: Any, **options: Any) -> Any:
    options = {"schema": NanoAODSchema, "chunksize": 50, **options}
    return processor.Runner(executor=executor, **options)(fileset, instance)


def test_everything_a_processor_returns_is_as_coffea_has_it(session: em.Session, fileset: dict[str, Any]) -> None:
    """Values, types and metadata; each chunk finds the processor as it was made, and each of its events counts once."""
    right = run(processor.IterativeExecutor(status=False, retries=0), fileset, Everything())
    found = run(em.coffea.Executor(session), fileset, Everything())
    assert found.pop("small") == pytest.approx(right.pop("small"), rel=1e-6)
    assert by_value(found) == by_value(right)
    assert found["number"] == sum(ENTRIES.values()) + ENTRIES["a"]
    assert {tuple(told["triggers"]) for told in found["told"] if told["dataset"] == "mc"} == {("IsoMu24", "Mu50")}


def test_metrics_are_those_of_coffea(session: em.Session, fileset: dict[str, Any]) -> None:
    def pt(events):
        return {"pt": float(ak.sum(events.Muon.pt))}

    options = {"savemetrics": True, "maxchunks": 2}
    (right, expected), (found, metrics) = (
        run(executor, fileset, pt, **options)
        for executor in (processor.IterativeExecutor(status=False, retries=0), em.coffea.Executor(session))
    )
    assert found["pt"] == pytest.approx(right["pt"])
    assert metrics.pop("processtime") > 0 and expected.pop("processtime") > 0
    assert sorted(metrics.pop("columns")) == sorted(expected.pop("columns"))
    assert metrics == expected


def test_an_error_of_a_processor_is_coffeas_with_its_cause(session: em.Session, fileset: dict[str, Any]) -> None:
    """coffea tells by the causes whether a chunk may be skipped; pickling drops them."""

    def broken(events):
        return {"n": events.no_such_thing}

    executor = em.coffea.Executor(session, retries=0)
    with pytest.raises(Exception, match=r"Failed processing file: WorkItem\(dataset='data'.*no_such_thing") as caught:
        run(executor, fileset, broken)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert any("events.no_such_thing" in note for note in caught.value.__notes__), "the user's line"


def test_bad_files_are_skipped_and_named(session: em.Session, fileset: dict[str, Any], tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(b"no file of ROOT")
    files = {"mc": {"treename": "Events", "files": [*fileset["mc"]["files"], str(bad), str(tmp_path / "none.root")]}}

    def count(events):
        return {"n": len(events)}

    executor = em.coffea.Executor(session, retries=0)
    with pytest.warns(UserWarning, match=r"2 of 4 files were skipped, of .*(bad|none)\.root"):
        found = run(executor, files, count, skipbadfiles=(OSError, ValueError), metadata_cache={})
    assert found == {"n": ENTRIES["c"] + ENTRIES["a"]}
    result = run(executor, files, count, skipbadfiles=(OSError, ValueError), use_result_type=True, metadata_cache={})
    assert result.is_err() and "root" in str(result.exception)


def test_with_recoverable_an_error_has_what_was_merged(session: em.Session, fileset: dict[str, Any]) -> None:
    def late(events):
        if events.metadata["dataset"] == "mc":
            raise ArithmeticError("never of mc")
        return {"n": len(events)}

    executor = em.coffea.Executor(session, retries=0, recoverable=True)
    with pytest.raises(Exception, match="never of mc") as caught:
        run(executor, fileset, late, chunksize=10)
    assert 0 < caught.value.partial_output["n"] <= ENTRIES["a"] + ENTRIES["b"]


def test_checkpoints_and_parquet_are_coffeas_own(session: em.Session, tmp_path: Path) -> None:
    """What the runner does beside reading ROOT files goes on in slots; a second run takes all chunks from the first."""
    pytest.importorskip("pyarrow")
    ak.to_parquet(ak.zip({"x": np.arange(100)}, depth_limit=1), tmp_path / "x.parquet")
    files = {"data": {"treename": "", "files": [str(tmp_path / "x.parquet")]}}
    (tmp_path / "kept").mkdir()

    def total(events):
        return {"x": int(ak.sum(events.x)), "calls": [1]}

    options = {"schema": BaseSchema, "format": "parquet", "chunksize": 30, "metadata_cache": {}}
    keeping = processor.SimpleCheckpointer(str(tmp_path / "kept"))
    first = run(em.coffea.Executor(session), files, total, checkpointer=keeping, **options)
    assert first == {"x": 4950, "calls": [1] * 3}
    assert len(list((tmp_path / "kept").rglob("*.coffea"))) == 3
    assert run(em.coffea.Executor(session), files, total, checkpointer=keeping, **options) == first


def test_paths_may_begin_where_the_session_is(
    session: em.Session, fileset: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots are in another folder; a path that begins in theirs was not found."""
    path = Path(fileset["mc"]["files"][0])
    monkeypatch.chdir(path.parent)

    def named(events):
        return {"n": len(events), "files": {events.metadata["filename"]}}

    files = {"mc": {"treename": "Events", "files": [path.name]}}
    assert run(em.coffea.Executor(session), files, named) == {"n": ENTRIES["c"], "files": {path.name}}


def test_what_a_module_registered_by_value_holds_goes_along(
    session: em.Session, fileset: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is in the session, also what was changed after it was imported; slots have no such module."""
    (tmp_path / "registered_by_value.py").write_text("factor = 1\n\ndef times(number):\n    return factor * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("registered_by_value")
    cloudpickle.register_pickle_by_value(module)
    try:
        module.factor = 3

        def scaled(events):
            return {"n": module.times(len(events))}

        assert run(em.coffea.Executor(session), fileset, scaled) == {"n": 3 * (sum(ENTRIES.values()) + ENTRIES["a"])}
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_a_function_gets_nanoevents_of_a_schema(session: em.Session, fileset: dict[str, Any]) -> None:
    """And a processor those of the schema that is asked for; a kernel, and what is no schema, are refused at once."""

    def pt(events):
        return {events.metadata["dataset"]: [float(ak.sum(events.Muon.pt))], "state": {type(events.Muon).__name__}}

    class Base(processor.ProcessorABC):  # type: ignore[misc]
        schema = BaseSchema

        def process(self, events):
            return pt(events)

        def postprocess(self, accumulator):
            return accumulator

    right = run(processor.IterativeExecutor(status=False, retries=0), fileset, pt, chunksize=10**6)
    for analysis in (pt, Base()):
        found = session.process(em.Dataset(fileset), analysis, schema=NanoAODSchema).result()
        assert {name: pytest.approx(sum(found[name]), rel=1e-5) for name in fileset} == {
            name: sum(right[name]) for name in fileset
        }
        assert found["state"] == {"MuonArray"}

    @em.kernel(n=np.zeros(1))
    def kernel(n, run):
        n[0] += 1

    for analysis, schema, words in [
        (kernel, NanoAODSchema, "kernel is no plain function of events"),
        (pt, "NanoAODSchema", "it must be a class of coffea.nanoevents"),
        (pt, Hist, "it must be a class of coffea.nanoevents"),
        (Base, NanoAODSchema, "no function of events and no processor"),
    ]:
        with pytest.raises(em.errors.AnalysisError, match=words):
            session.process(em.Dataset(fileset), analysis, schema=schema)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda session: em.coffea.Executor("tcp://host:1"), "takes a session of em.connect"),
        (lambda session: em.coffea.Executor(session, workers=4), "no option 'workers'.*priority"),
        (lambda session: em.coffea.Executor(session, on_error="skip"), "no option 'on_error'"),
    ],
)
def test_what_is_no_option_is_said_at_once(session: em.Session, make: Any, error: str) -> None:
    with pytest.raises(EventmillError, match=error):
        make(session)
