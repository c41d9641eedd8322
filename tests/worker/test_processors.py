"""coffea processors in a slot, beside coffea's own way to hand over events."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.analysis.analysis import pack
from eventmill.protocol.messages import File, Setup
from eventmill.reading.reader_cache import ReaderCache
from eventmill.worker.slot.tasks import load

ENTRIES = 1000


@pytest.fixture
def sample(tmp_path: Path) -> str:
    random = np.random.default_rng(1)
    counts = random.integers(0, 4, ENTRIES)
    pt = ak.unflatten(random.exponential(30, counts.sum()), counts)
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        jets = ak.zip({"pt": pt, "eta": pt / 50 - 1, "phi": pt / 40, "mass": pt * 0 + 0.1})
        ids = {name: np.arange(ENTRIES) for name in ("run", "luminosityBlock", "event")}
        file.mktree("Events", {**dict.fromkeys(ids, "int64"), "Jet": jets.type})
        file["Events"].extend({**ids, "Jet": jets})
    return str(path)


def test_a_column_is_read_once_a_call_however_often_it_is_selected(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each selection of jets read and decompressed its columns anew: six times in all, and the query took twice as long."""
    processor = pytest.importorskip("coffea.processor")
    from coffea.nanoevents import NanoAODSchema  # type: ignore[import-not-found,unused-ignore]

    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)

    class Selections(processor.ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, Any]:
            several = events.Jet[ak.num(events.Jet) >= 2]
            central = events.Jet[abs(events.Jet.eta) < 0.5]
            return {"several": np.sum(ak.sum(several.pt)), "central": np.sum(ak.sum(central[central.pt > 20].pt))}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    analysis = pack(Selections())
    setup = Setup("q1", analysis.kind, analysis.digest, "sum", analysis.branches, "fail", 0.0, 0, None, "me")
    task = load(setup, analysis.blob, tmp_path)
    reads = Counter[str]()
    array = uproot.behaviors.TBranch.TBranch.array

    def counted(branch: Any, *arguments: Any, **named: Any) -> Any:
        reads[branch.name] += 1
        return array(branch, *arguments, **named)

    monkeypatch.setattr(uproot.behaviors.TBranch.TBranch, "array", counted)
    task.run(ReaderCache().get(sample, "Events"), File(sample, "Events"), 0, ENTRIES)
    assert reads["Jet_pt"] == reads["Jet_eta"] == 1
    assert not {"Jet_phi", "Jet_mass"} & reads.keys(), "nobody touches these"
