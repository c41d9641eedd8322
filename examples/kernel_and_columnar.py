"""The same analysis twice, event by event and array by array, with the same answer.

Shows: a kernel, which is compiled and called once an event, beside a columnar function, which gets an awkward array of
many events and reads the columns that it touches. Every bin holds the same number, however the events were cut into
packets. The branches are 32-bit numbers; both ways convert them, because otherwise each would round differently.

    python kernel_and_columnar.py                   a small file of `pip install scikit-hep-testdata`
    python kernel_and_columnar.py a.root b.root     files of your own with the same branches
    python kernel_and_columnar.py --master default  on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse
import math

import awkward as ak
import eventmill as em
import numpy as np
from figure import show
from hist import Hist
from samples import sample


def spectrum():
    return Hist.new.Reg(60, 0, 120, name="mass", label="mass of the muon pair [GeV]").Double()


@em.kernel(mass=spectrum())
def by_event(mass, Muon_Px, Muon_Py, Muon_Pz, Muon_E, Muon_Charge):
    for i in range(len(Muon_E)):
        for j in range(i + 1, len(Muon_E)):
            if Muon_Charge[i] != Muon_Charge[j]:
                px = np.float64(Muon_Px[i]) + np.float64(Muon_Px[j])
                py = np.float64(Muon_Py[i]) + np.float64(Muon_Py[j])
                pz = np.float64(Muon_Pz[i]) + np.float64(Muon_Pz[j])
                e = np.float64(Muon_E[i]) + np.float64(Muon_E[j])
                mass.fill(math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0)))


def by_column(events):
    momentum = {name: ak.values_astype(events[f"Muon_{name}"], np.float64) for name in ("Px", "Py", "Pz", "E")}
    muons = ak.zip({**momentum, "charge": events.Muon_Charge})
    first, second = ak.unzip(ak.combinations(muons, 2))
    px, py, pz, e = (first[name] + second[name] for name in momentum)
    mass = np.sqrt(np.maximum(e * e - px * px - py * py - pz * pz, 0.0))
    return {"mass": spectrum().fill(ak.flatten(mass[first.charge != second.charge]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files with Muon_Px, Muon_Py, Muon_Pz, Muon_E, Muon_Charge"
    )
    parser.add_argument("--tree", default="events", help="name of the tree (default: %(default)s)")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    parser.add_argument("--png", metavar="FILE", help="draw the histogram into this file (takes matplotlib)")
    options = parser.parse_args()
    if not options.files:
        options.files = [sample("uproot-HZZ.root")]

    data = em.Dataset(options.files, tree=options.tree)
    with em.connect(options.master) as session:
        compiled = session.process(data, by_event).result()
        columnar = session.process(data, by_column).result()

    print(compiled)
    print(columnar)
    show(compiled["mass"], options.png)
    assert compiled["mass"] == columnar["mass"], "the two ways must fill the same histogram"
    print("the same in every bin")


if __name__ == "__main__":
    main()
