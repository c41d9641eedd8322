"""Writes `adl.root`, events for the queries of the ADL benchmark, and `adl.json`, what ROOT's RDataFrame answers to them.

    python write_adl.py                             with ROOT 6.40 (`pip install root`), uproot and awkward

The queries are those of `benchmarks/adl_rdataframe.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import ROOT
import uproot

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))
from adl_rdataframe import CODE, QUERIES, bins  # noqa: E402

EVENTS = 1500


def write(path: Path) -> None:
    """Events with some Z and top quarks in them, by no means physics."""
    random = np.random.default_rng(2026)

    def objects(most: float, masses: float, **more: Any) -> ak.Array:
        counts = random.poisson(most, EVENTS)
        size = counts.sum()
        fields = {
            "pt": 15 + random.exponential(30, size),
            "eta": random.normal(0, 1.2, size),
            "phi": random.uniform(-np.pi, np.pi, size),
            "mass": np.full(size, masses) if masses < 1 else random.exponential(masses, size),
        }
        arrays = {name: ak.unflatten(values.astype("f4"), counts) for name, values in fields.items()}
        return ak.zip(arrays | {name: ak.unflatten(make(size), counts) for name, make in more.items()})

    charges = {"charge": lambda size: random.choice([-1, 1], size).astype("i4")}
    tags = {"btag": lambda size: random.random(size).astype("f4")}
    events = {
        "Muon": objects(1.5, 0.1057, **charges),
        "Electron": objects(1.2, 0.0005, **charges),
        "Jet": objects(3.0, 8.0, **tags),
        "MET_pt": random.exponential(35, EVENTS).astype("f4"),
        "MET_phi": random.uniform(-np.pi, np.pi, EVENTS).astype("f4"),
    }
    with uproot.recreate(path, compression=uproot.ZSTD(9)) as file:
        tree = file.mktree("Events", {name: ak.Array(values).type.content for name, values in events.items()})
        tree.extend(events)


def answers(path: Path) -> dict[str, list[int]]:
    """The bins of each histogram of each query, underflow first."""
    ROOT.gInterpreter.Declare(CODE)
    return {f"{query} {name}": filled for query in QUERIES for name, filled in bins(query, [str(path)], "btag").items()}


if __name__ == "__main__":
    write(HERE / "adl.root")
    lines = (f"  {json.dumps(key)}: {json.dumps(bins)}" for key, bins in answers(HERE / "adl.root").items())
    (HERE / "adl.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
