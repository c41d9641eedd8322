# mypy: allow-untyped-defs
"""Every schema of coffea's, over the files of its own tests: on a session as with coffea's executor, column by column."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest

from benchmarks.coffea_samples import samples_folder

processor = pytest.importorskip("coffea.processor")
from coffea import nanoevents  # noqa: E402

FCC, EDM4HEP = nanoevents.FCC, nanoevents.EDM4HEPSchema
CASES = {
    "nano_dy.root": ("Events", nanoevents.NanoAODSchema),
    "nano_dimuon.root": ("Events", nanoevents.NanoAODSchema),
    "nano_dy_rntuple.root": ("Events", nanoevents.NanoAODSchema),
    "nano_tt_v12.root": ("Events", nanoevents.NanoAODSchema),
    "nano_tt_v15.root": ("Events", nanoevents.NanoAODSchema),
    "nano_dy_empty.root": ("Events", nanoevents.NanoAODSchema),
    "nano_tree.root": ("Events", nanoevents.BaseSchema),
    "pfnano.root": ("Events", nanoevents.PFNanoAODSchema),
    "scouting_nano.root": ("Events", nanoevents.ScoutingNanoAODSchema),
    "treemaker.root": ("PreSelection", nanoevents.TreeMakerSchema),
    "treemaker_rntuple.root": ("PreSelection", nanoevents.TreeMakerSchema),
    "delphes.root": ("Delphes", nanoevents.DelphesSchema),
    "PHYSLITE_example.root": ("CollectionTree", nanoevents.PHYSLITESchema),
    "pduneana.root": ("pduneana/beamana", nanoevents.PDUNESchema),
    "edm4hep.root": ("events", EDM4HEP.version("00.99.01")),
    "edm4hep_example_v01-01_podio_v01-07.root": ("events", EDM4HEP.version("01.01")),
    "test_FCC_Spring2021.root": ("events", FCC.get_schema(version="pre-edm4hep1")),
    "p8_ee_WW_ecm240_edm4hep.root": ("events", FCC.get_schema(version="latest")),
}
FAST = ("nano_dimuon.root",)
COLUMNS = 20
"""Of each file, in the fast tests; all in the others."""


def summary(most: int | None):
    """Counts and sums of the columns of events, and what coffea raises for those that it cannot make."""

    def columns(events):
        found: dict[str, Any] = {"events": len(events)}
        for name in sorted(events.fields):  # coffea has them in any order
            try:
                array = events[name]
                members = sorted(getattr(array, "fields", [])) or [""]
            except Exception as error:  # whatever coffea cannot make of a branch, it cannot make here
                found[f"{name} fails"] = {type(error).__name__}
                continue
            for member in members:
                if len(found) == most:
                    return found
                try:
                    column = array[member] if member else array
                    values = ak.to_numpy(ak.drop_none(ak.flatten(column, axis=None)))
                    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
                    found[f"{name}.{member}"] = np.array([len(values), values.sum()])
                except Exception as error:
                    found[f"{name}.{member} fails"] = {type(error).__name__}
        return found

    return columns


def sample(name: str) -> str:
    path = samples_folder() / name
    if not path.is_file():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there are no files of coffea: make samples")
    return str(path)


@pytest.mark.parametrize("name", FAST)
def test_columns_are_coffeas_own(session: em.Session, name: str) -> None:
    check(session, name, COLUMNS)


@pytest.mark.interop
@pytest.mark.timeout(600)  # coffea itself takes half a minute for all columns of some files
@pytest.mark.parametrize("name", CASES)
def test_all_columns_are_coffeas_own(session: em.Session, name: str) -> None:
    check(session, name, None)


def check(session: em.Session, name: str, most: int | None) -> None:
    """Chunk by chunk with the runner; in packets too, but for indices of links, which begin anew with each call."""
    tree, schema = CASES[name]
    fileset = {"sample": {"treename": tree, "files": [sample(name)], "metadata": {"is": ["a", "sample"]}}}

    def run(executor, chunksize):
        runner = processor.Runner(executor=executor, schema=schema, chunksize=chunksize, metadata_cache={})
        return runner(fileset, summary(most))

    own = processor.IterativeExecutor(status=False, retries=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of schemas, about what the samples do not have
        right = run(own, 1000)
        halved = run(own, max(1, right["events"] // 2))
    assert len(right) > 3
    assert differing(run(em.coffea.Executor(session, retries=0), 1000), right) == []
    data = em.Dataset({"sample": {"files": {Path(sample(name)): tree}}})
    found = session.process(data, summary(most), schema=schema).result().value
    # uproot has these wrong: tests/interop/test_all_files.py
    mended = {key for key in right if key.endswith((".fBits", "METAssoc_MET.jetLink"))}
    assert set(differing(found, right)) - mended <= set(differing(halved, right))


def differing(found: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """The columns whose counts or sums are not the same, or that are in one of the two only."""
    return [key for key in found | right if key not in found or key not in right or not same(found[key], right[key])]


def same(one: Any, other: Any) -> bool:
    return np.allclose(one, other, rtol=1e-9) if isinstance(other, np.ndarray) else one == other
