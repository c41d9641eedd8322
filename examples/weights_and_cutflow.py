"""Several datasets scaled to one luminosity, with a cutflow for each.

Shows: named datasets with metadata; a columnar function that learns from its second argument which file it is working
on; a result that is a dict by dataset; weights from metadata and from a branch; a cutflow that adds up like all else.

    python weights_and_cutflow.py                                  two small files of `pip install scikit-hep-testdata`
    python weights_and_cutflow.py --hzz a.root --zmumu b.root      files of your own with the same branches
    python weights_and_cutflow.py --master default                 on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse

import awkward as ak
import eventmill as em
import numpy as np
from figure import show
from hist import Hist
from samples import sample

LUMINOSITY = 50.0  # of the data that the simulation is scaled to, in 1/pb

# What a sample stands for: its cross-section in pb, how many events were generated, and the branch of their weights.
# The cross-sections are made up, for two files as small as these to show in one histogram.
SAMPLES = {
    "hzz": {"cross_section": 20_000.0, "generated": 2421, "weight": "EventWeight"},
    "zmumu": {"cross_section": 900.0, "generated": 2304, "weight": ""},
}


def muon_pairs(events, dataset):
    """Mass in GeV and charge of the two first muons of each event; None for an event that has fewer."""
    if dataset == "zmumu":
        px, py, pz, e = (events[f"{name}1"] + events[f"{name}2"] for name in ("px", "py", "pz", "E"))
        charge = events.Q1 + events.Q2
    else:
        names = ("Muon_Px", "Muon_Py", "Muon_Pz", "Muon_E", "Muon_Charge")
        padded = [ak.pad_none(events[name], 2) for name in names]
        px, py, pz, e, charge = (column[:, 0] + column[:, 1] for column in padded)
    return np.sqrt(np.maximum(e * e - px * px - py * py - pz * pz, 0.0)), charge


def analysis(events, file):
    sample = file.metadata
    weight = np.full(len(events), LUMINOSITY * sample["cross_section"] / sample["generated"])
    if sample["weight"]:
        weight = weight * ak.to_numpy(events[sample["weight"]])

    mass, charge = muon_pairs(events, file.dataset)
    cuts = {
        "all events": np.ones(len(events), bool),
        "two muons": ~ak.is_none(mass),
        "opposite charge": ak.fill_none(charge == 0, False),
        "60 to 120 GeV": ak.fill_none((mass > 60.0) & (mass < 120.0), False),
    }
    passed = np.ones(len(events), bool)
    counts, weights = {}, {}
    for name, cut in cuts.items():
        passed = passed & ak.to_numpy(cut)
        counts[name] = int(passed.sum())
        weights[name] = float(weight[passed].sum())

    spectrum = Hist.new.Reg(30, 60, 120, name="mass", label="mass of the muon pair [GeV]").Weight()
    spectrum.fill(ak.to_numpy(mass[passed]), weight=weight[passed])
    return {file.dataset: {"mass": spectrum, "counts": counts, "weights": weights}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hzz", nargs="+", metavar="FILE", help="files with Muon_Px, ... as arrays, and EventWeight")
    parser.add_argument("--zmumu", nargs="+", metavar="FILE", help="files with px1, py1, ... px2, py2, ... as numbers")
    parser.add_argument("--tree", default="events", help="name of the tree (default: %(default)s)")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    parser.add_argument("--png", metavar="FILE", help="draw the histogram into this file (takes matplotlib)")
    options = parser.parse_args()
    files = {name: getattr(options, name) for name in SAMPLES if getattr(options, name)}
    if not files:
        files = {"hzz": [sample("uproot-HZZ.root")], "zmumu": [sample("uproot-Zmumu.root")]}

    data = em.Dataset(
        {name: {"files": paths, "metadata": SAMPLES[name]} for name, paths in files.items()}, tree=options.tree
    )
    with em.connect(options.master) as session:
        result = session.process(data, analysis).result()

    print(result)
    for name in files:
        print(f"\n{name:24} {'events':>10} {'weighted':>14}")
        for cut, count in result[name]["counts"].items():
            print(f"{cut:24} {count:10,} {result[name]['weights'][cut]:14.3f}")
    show(sum(result[name]["mass"] for name in files), options.png)


if __name__ == "__main__":
    main()
