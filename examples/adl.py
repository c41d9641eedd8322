"""The eight queries of the ADL benchmark (github.com/iris-hep/adl-benchmarks-index), as kernels and as columnar functions.

Shows: collections as parameters (`Muon[i].pt`), leptons of two flavours as one collection, momenta and distances. Each query
is written twice, event by event and array by array; both fill the same bins, and ROOT's RDataFrame does too.

    python adl.py events.root                       NanoAOD-like files: MET, Jet, Muon, Electron
    python adl.py events.root --query q8            one of them
    python adl.py events.root --master default      on a standing master instead of this machine's cores
"""

from __future__ import annotations

import argparse

import awkward as ak
import eventmill as em
import numpy as np
from hist import Hist

Z, TOP = 91.2, 172.5


def axis(low=0.0, high=200.0):
    return Hist.new.Reg(100, low, high, name="x").Int64()


# --- event by event -------------------------------------------------------------------------------------------------------


@em.kernel(met=axis())
def q1(met, MET):
    """MET of all events."""
    met.fill(MET.pt)


@em.kernel(pt=axis())
def q2(pt, Jet):
    """pt of all jets."""
    for jet in Jet:
        pt.fill(jet.pt)


@em.kernel(pt=axis())
def q3(pt, Jet):
    """pt of central jets."""
    for jet in Jet:
        if abs(jet.eta) < 1:
            pt.fill(jet.pt)


@em.kernel(met=axis())
def q4(met, Jet, MET):
    """MET of events with two jets above 40 GeV."""
    if (Jet.pt > 40).sum() >= 2:
        met.fill(MET.pt)


@em.kernel(met=axis())
def q5(met, Muon, MET):
    """MET of events with an opposite-charge muon pair between 60 and 120 GeV."""
    for a in Muon:
        for b in Muon[a.index + 1 :]:
            if a.charge != b.charge and 60 < (em.p4(a) + em.p4(b)).mass < 120:
                met.fill(MET.pt)
                return


@em.kernel(pt=axis(), tag=axis(0.0, 1.0))
def q6(pt, tag, Jet):
    """pt of the jet triple whose mass is nearest to the top quark's, and the largest b tag in it."""
    off, best, largest = np.inf, 0.0, 0.0
    for a in Jet:
        for b in Jet[a.index + 1 :]:
            pair = em.p4(a) + em.p4(b)
            for c in Jet[b.index + 1 :]:
                triple = pair + em.p4(c)
                if abs(triple.mass - TOP) < off:
                    off, best, largest = abs(triple.mass - TOP), triple.pt, max(a.btag, b.btag, c.btag)
    if off < np.inf:
        pt.fill(best)
        tag.fill(largest)


def is_far(jet, leptons):
    for lepton in leptons:  # noqa: SIM110 - compiled code has no all(...)
        if lepton.pt > 10 and em.delta_r(jet, lepton) <= 0.4:
            return False
    return True


@em.kernel(ht=axis())
def q7(ht, Jet, Muon, Electron):
    """Scalar sum of the pt of jets above 30 GeV that are farther than 0.4 from every lepton above 10 GeV."""
    total = 0.0
    for jet in Jet:
        if jet.pt > 30 and is_far(jet, Muon) and is_far(jet, Electron):
            total += jet.pt
    ht.fill(total)


@em.kernel(mt=axis())
def q8(mt, Muon, Electron, MET):
    """Transverse mass of MET and the leading lepton beside the pair of one flavour that is nearest to the Z."""
    leptons, off, first, second = em.concat(Muon, Electron), np.inf, -1, -1
    for i in range(len(leptons)):
        for j in range(i + 1, len(leptons)):
            a, b = leptons[i], leptons[j]
            if len(leptons) > 2 and a.which == b.which and a.charge != b.charge:
                distance = abs((em.p4(a) + em.p4(b)).mass - Z)
                if distance < off:
                    off, first, second = distance, i, j
    if first >= 0:
        pt = leptons.pt
        pt[first] = pt[second] = -1.0
        other = leptons[em.argmax(pt)]
        mt.fill(np.sqrt(2 * other.pt * MET.pt * (1 - np.cos(em.delta_phi(other.phi, MET.phi)))))


# --- array by array -------------------------------------------------------------------------------------------------------


def filled(values, histogram):
    return histogram.fill(ak.to_numpy(ak.flatten(values, axis=None)))


def c1(events):
    return {"met": filled(events.MET.pt, axis())}


def c2(events):
    return {"pt": filled(events.Jet.pt, axis())}


def c3(events):
    return {"pt": filled(events.Jet.pt[abs(events.Jet.eta) < 1], axis())}


def c4(events):
    return {"met": filled(events.MET.pt[ak.sum(events.Jet.pt > 40, axis=1) >= 2], axis())}


def c5(events):
    a, b = ak.unzip(ak.combinations(events.Muon, 2))
    mass = (em.p4(a) + em.p4(b)).mass
    good = (a.charge != b.charge) & (mass > 60) & (mass < 120)
    return {"met": filled(events.MET.pt[ak.any(good, axis=1)], axis())}


def c6(events):
    a, b, c = ak.unzip(ak.combinations(events.Jet, 3))
    triple = em.p4(a) + em.p4(b) + em.p4(c)
    best = ak.argmin(abs(triple.mass - TOP), axis=1, keepdims=True)
    tag = np.maximum(np.maximum(a.btag, b.btag), c.btag)
    picked = (ak.drop_none(values[best], axis=1) for values in (triple.pt, tag))
    return {
        name: filled(values, axis(0.0, high))
        for name, values, high in zip(("pt", "tag"), picked, (200, 1), strict=True)
    }


def c7(events):
    jets = events.Jet[events.Jet.pt > 30]
    for leptons in (events.Muon, events.Electron):
        jet, lepton = ak.unzip(ak.cartesian([jets, leptons[leptons.pt > 10]], nested=True))
        jets = jets[ak.all(em.delta_r(jet, lepton) > 0.4, axis=2)]
    return {"ht": filled(ak.sum(ak.values_astype(jets.pt, np.float64), axis=1), axis())}


def c8(events):
    fields = ["pt", "eta", "phi", "mass", "charge"]
    flavours = [
        ak.with_field(some[fields], number, "which") for number, some in enumerate((events.Muon, events.Electron))
    ]
    leptons = ak.concatenate(flavours, axis=1)
    leptons = ak.with_field(leptons, ak.local_index(leptons), "index")
    a, b = ak.unzip(ak.combinations(leptons, 2))
    good = (a.which == b.which) & (a.charge != b.charge)
    a, b = a[good], b[good]
    best = ak.argmin(abs((em.p4(a) + em.p4(b)).mass - Z), axis=1, keepdims=True)
    a, b = ak.firsts(a[best]), ak.firsts(b[best])
    chosen = ~ak.is_none(a) & (ak.num(leptons) > 2)
    others = leptons[(leptons.index != a.index) & (leptons.index != b.index)][chosen]
    other, met = ak.firsts(others[ak.argmax(others.pt, axis=1, keepdims=True)]), events.MET[chosen]
    product = 2 * ak.values_astype(other.pt, np.float64) * met.pt
    return {"mt": filled(np.sqrt(product * (1 - np.cos(em.delta_phi(other.phi, met.phi)))), axis())}


KERNELS = {"q1": q1, "q2": q2, "q3": q3, "q4": q4, "q5": q5, "q6": q6, "q7": q7, "q8": q8}
COLUMNAR = {"q1": c1, "q2": c2, "q3": c3, "q4": c4, "q5": c5, "q6": c6, "q7": c7, "q8": c8}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="files with MET, Jet, Muon and Electron")
    parser.add_argument("--tree", default="Events", help="name of the tree (default: %(default)s)")
    parser.add_argument("--query", choices=KERNELS, help="only this one")
    parser.add_argument("--master", help="a standing master: its name, address or connection file")
    options = parser.parse_args()

    data = em.Dataset(options.files, tree=options.tree)
    with em.connect(options.master) as session:
        for name in [options.query] if options.query else KERNELS:
            by_event = session.process(data, KERNELS[name]).result()
            by_column = session.process(data, COLUMNAR[name]).result()
            for output in by_event:
                assert by_event[output] == by_column[output], f"{name}: the two ways must fill the same histogram"
                print(name, output, *by_event[output].values(flow=True).astype(int))


if __name__ == "__main__":
    main()
