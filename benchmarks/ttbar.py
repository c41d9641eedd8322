"""A ttbar analysis like the Analysis Grand Challenge's: a coffea processor, two regions, variations, many histograms a call.

Events with one lepton and four jets or more, one or two of them tagged; the mass of the jet triple with the largest pt, and
its inputs. Jets are scaled and smeared (each variation selects anew), weights vary with tags and scales. Each call returns
some 20 weighted histograms, each with an axis of processes and one of variations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np

from .collisions import write_collisions

FILES = {
    "ttbar__nominal": (120_000, 80_000, 40_000),
    "ttbar__scaledown": (50_000,),
    "ttbar__scaleup": (50_000,),
    "single_top_s_chan__nominal": (200,),
    "single_top_t_chan__nominal": (30_000,),
    "single_top_tW__nominal": (30_000,),
    "wjets__nominal": (80_000, 5_000, 1_000),
}
"""Events of each file of each dataset."""
FEATURES = ("ht", "met", "leading", "second", "third", "fourth", "lepton", "jets", "tags")
TAG = 0.5
JETS = {"nominal": 1.0, "pt_scale_up": 1.03, "pt_scale_down": 0.97, "pt_res_up": 0.0}
WEIGHTS = tuple(f"btag_var_{number}_{way}" for number in range(4) for way in ("up", "down"))


def fileset(folder: Path) -> dict[str, dict[str, Any]]:
    """The files, written if they are not there, as coffea has them."""
    found: dict[str, dict[str, Any]] = {}
    for dataset, sizes in FILES.items():
        paths = []
        for events in sizes:
            seed = 100 + len(found) * 10 + len(paths)
            paths.append(write_collisions(folder / f"{dataset}_{len(paths)}.root", events, seed))
        process, variation = dataset.split("__")
        found[dataset] = {
            "files": {str(path): "Events" for path in paths},
            "metadata": {"process": process, "variation": variation, "nevts": sum(sizes), "xsec": 1.0 + len(found)},
        }
    return found


def _empty(bins: int, low: float, high: float) -> hist.Hist[Any]:
    return (
        hist.Hist.new.Reg(bins, low, high, name="observable")
        .StrCat([], name="process", growth=True)
        .StrCat([], name="variation", growth=True)
        .Weight()
    )


def processor() -> Any:
    """The analysis."""
    from coffea.processor import ProcessorABC

    class Ttbar(ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, Any]:
            return {"nevents": {events.metadata["dataset"]: len(events)}, "hist_dict": analyse(events)}

        def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
            return accumulator

    return Ttbar()


def analyse(events: Any) -> dict[str, hist.Hist[Any]]:
    """The histograms of some events."""
    metadata = events.metadata
    filled = {region: _empty(25, 50.0, 550.0) for region in ("4j1b", "4j2b")}
    filled |= {f"{region}_{name}": _empty(25, 0.0, 500.0) for region in filled for name in FEATURES}
    scale = metadata["xsec"] * 3378.0 / metadata["nevts"]
    names = [metadata["variation"]] if metadata["variation"] != "nominal" else list(JETS)
    for name in names:
        for region, some, jets, lepton in _selected(events, JETS.get(name, 1.0)):
            weights = np.sign(ak.to_numpy(some.genWeight)).astype(np.float64) * scale
            mass = _triple_mass(jets)
            features = _features(some, jets, lepton)
            for variation, factor in _factors(name, jets):
                labels = {"process": metadata["process"], "variation": variation, "weight": weights * factor}
                filled[region].fill(observable=mass, **labels)
                for feature, values in features.items():
                    filled[f"{region}_{feature}"].fill(observable=values, **labels)
    return filled


def _selected(events: Any, factor: float) -> Iterator[tuple[str, Any, Any, Any]]:
    """Region, events, jets and lepton of those that are selected, with jets' pt scaled, or smeared where that is 0."""
    electrons = events.Electron[(events.Electron.pt > 15) & (abs(events.Electron.eta) < 2.1)]
    muons = events.Muon[(events.Muon.pt > 15) & (abs(events.Muon.eta) < 2.1)]
    changed = events.Jet.pt * factor if factor else events.Jet.pt * (1 + 0.05 * np.sin(1000 * events.Jet.phi))
    jets = ak.with_field(events.Jet, changed, "pt")
    jets = jets[(jets.pt > 25) & (abs(jets.eta) < 2.4)]
    one = (ak.num(electrons) + ak.num(muons)) == 1
    enough = (ak.num(jets) >= 4) & one
    tags = ak.sum(jets.btagCSVV2 > TAG, axis=1)
    leptons = ak.concatenate([electrons.pt, muons.pt], axis=1)
    for region, chosen in (("4j1b", enough & (tags == 1)), ("4j2b", enough & (tags >= 2))):
        yield region, events[chosen], jets[chosen], leptons[chosen][:, 0]


def _triple_mass(jets: Any) -> Any:
    """Mass of the triple with the largest pt among those with a tag."""
    triples = ak.combinations(jets, 3, fields=["a", "b", "c"])
    total = triples.a + triples.b + triples.c
    tag = np.maximum(triples.a.btagCSVV2, np.maximum(triples.b.btagCSVV2, triples.c.btagCSVV2))
    total = total[tag > TAG]
    best = ak.argmax(total.pt, axis=1, keepdims=True)
    return ak.to_numpy(ak.fill_none(ak.firsts(total[best].mass), -1.0))


def _features(events: Any, jets: Any, lepton: Any) -> dict[str, Any]:
    columns = [ak.to_numpy(jets.pt[:, number]) for number in range(4)]
    return dict(
        zip(
            FEATURES,
            [
                ak.to_numpy(ak.sum(jets.pt, axis=1)), ak.to_numpy(events.MET.pt), *columns, ak.to_numpy(lepton),
                ak.to_numpy(ak.num(jets)), ak.to_numpy(ak.sum(jets.btagCSVV2 > TAG, axis=1)),
            ],
            strict=True,
        )
    )  # fmt: skip


def _factors(name: str, jets: Any) -> Iterable[tuple[str, Any]]:
    """Variations that share a selection, with their weights."""
    if name != "nominal":
        return [(name, 1.0)]
    found: list[tuple[str, Any]] = [("nominal", 1.0)]
    for variation in WEIGHTS:
        number, way = int(variation.split("_")[2]), 1.0 if variation.endswith("up") else -1.0
        found.append((variation, 1 + way * 0.075 * ak.to_numpy(jets.pt[:, number]) / 50))
    return [*found, ("scale_var_up", 1.1), ("scale_var_down", 0.9)]
