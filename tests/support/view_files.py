"""Files of jets with a friend of scores, for tests of what analyses see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

ENTRIES = 1000


def write(path: Path, seed: int = 1, kind: str = "ttree", entries: int = ENTRIES, **more: Any) -> Path:
    """A file with numbers and jets; `more` branches, or None for those it is not to have."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.5, entries)
    pt = ak.unflatten(rng.exponential(30, counts.sum()).astype("f4"), counts)
    events = {"n": np.arange(entries), "x": rng.normal(size=entries), "a-b": rng.normal(size=entries).astype("f4")}
    events |= {"MET_pt": rng.exponential(30, entries).astype("f4"), "MET_phi": rng.normal(size=entries).astype("f4")}
    events |= {"Jet_pt": pt, "Jet_eta": pt / 10, "Jet_btag": pt / 100, **more}
    events = {name: values for name, values in events.items() if values is not None}
    with uproot.recreate(path) as file:
        if kind == "rntuple":
            file.mkrntuple("Events", {name: values for name, values in events.items() if "-" not in name})
            return path
        jets = {name: events.pop(name) for name in list(events) if name.startswith("Jet_")}
        jet = {"Jet": ak.zip({name.removeprefix("Jet_"): values for name, values in jets.items()})} if jets else {}
        part = entries // 4
        whole = {**events, **jet}
        tree = file.mktree("Events", {name: ak.Array(values).type.content for name, values in whole.items()})
        for start in range(0, entries, part):
            tree.extend({name: values[start : start + part] for name, values in whole.items()})
    return path


def write_friend(path: Path, entries: int = ENTRIES, seed: int = 5, **more: Any) -> Path:
    rng = np.random.default_rng(seed)
    with uproot.recreate(path) as file:
        columns = {
            "score": rng.random(entries),
            "Jet_qgl": ak.unflatten(np.arange(2.0 * entries), [2] * entries),
            **more,
        }
        file["scores"] = columns
    return path
