"""The mass of opposite-sign muon pairs, from files of two layouts at once.

Shows: kernels, a helper function that is compiled with them, two queries that run side by side in one session,
watching results grow, and adding them up.

    python dimuon.py                                        two small files of `pip install scikit-hep-testdata`
    python dimuon.py --jagged a.root b.root --flat z.root   files of your own with the same branches
    python dimuon.py --master default                       on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse
import math

import eventmill as em
from figure import show
from hist import Hist
from samples import sample

SPECTRUM = Hist.new.Reg(60, 0, 120, name="mass", label="mass of the muon pair [GeV]").Double()


def mass_of(px, py, pz, e):
    """Mass in GeV of a momentum. Rounding may leave a square just below 0."""
    return math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0))


@em.kernel(mass=SPECTRUM)
def jagged(mass, Muon_Px, Muon_Py, Muon_Pz, Muon_E, Muon_Charge):
    """Any number of muons an event: branches are arrays."""
    for i in range(len(Muon_E)):
        for j in range(i + 1, len(Muon_E)):
            if Muon_Charge[i] != Muon_Charge[j]:
                px, py, pz = Muon_Px[i] + Muon_Px[j], Muon_Py[i] + Muon_Py[j], Muon_Pz[i] + Muon_Pz[j]
                mass.fill(mass_of(px, py, pz, Muon_E[i] + Muon_E[j]))


@em.kernel(mass=SPECTRUM)
def flat(mass, px1, py1, pz1, E1, Q1, px2, py2, pz2, E2, Q2):
    """Two muons an event: branches are numbers."""
    if Q1 != Q2:
        mass.fill(mass_of(px1 + px2, py1 + py2, pz1 + pz2, E1 + E2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jagged", nargs="+", metavar="FILE", help="files with Muon_Px, Muon_Py, ... as arrays")
    parser.add_argument("--flat", nargs="+", metavar="FILE", help="files with px1, py1, ... px2, py2, ... as numbers")
    parser.add_argument("--tree", default="events", help="name of the tree (default: %(default)s)")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    parser.add_argument("--png", metavar="FILE", help="draw the histogram into this file (takes matplotlib)")
    options = parser.parse_args()
    if not (options.jagged or options.flat):
        options.jagged, options.flat = [sample("uproot-HZZ.root")], [sample("uproot-Zmumu.root")]

    with em.connect(options.master) as session:
        queries = [
            session.process(em.Dataset(files, tree=options.tree), kernel)
            for kernel, files in ((jagged, options.jagged), (flat, options.flat))
            if files
        ]
        for query in queries:
            for snapshot in query.stream():
                print(f"{query.name}: {snapshot.fraction:.0%} of the events")
        results = [query.result() for query in queries]

    for result in results:
        print(result)
    show(sum(result["mass"] for result in results), options.png)


if __name__ == "__main__":
    main()
