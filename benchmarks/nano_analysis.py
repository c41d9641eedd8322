"""An ordinary analysis of NanoAOD, 20 branches of 1,500: leptons, jets away from them, six histograms.

It is written once as a kernel, an event at a time, and once with columns, for whatever gives awkward arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hist import Hist

MUON = ("pt", "eta", "phi", "mass", "charge", "tightId", "pfRelIso04_all")
ELECTRON = ("pt", "eta", "phi", "mass", "charge", "cutBased")
JET = ("pt", "eta", "phi", "btagDeepFlavB")
FLAT = ("MET_pt", "HLT_IsoMu24", "genWeight")
BRANCHES = (
    *(f"Muon_{name}" for name in MUON),
    *(f"Electron_{name}" for name in ELECTRON),
    *(f"Jet_{name}" for name in JET),
    *FLAT,
)

LEPTON_PT, JET_PT, LEPTON_ETA = 20.0, 30.0, 2.5
ISOLATION, MEDIUM, CONE = 0.15, 3, 0.4


def histograms() -> dict[str, Hist[Any]]:
    """Empty ones; momenta and masses are in GeV."""
    return {
        "lepton": Hist.new.Reg(100, 0, 300, label="pt of the leading lepton [GeV]").Weight(),
        "mass": Hist.new.Reg(120, 0, 240, label="mass of the two leading leptons, opposite charges [GeV]").Weight(),
        "jets": Hist.new.Reg(12, 0, 12, label="jets").Weight(),
        "ht": Hist.new.Reg(100, 0, 1000, label="sum of the jets' pt [GeV]").Weight(),
        "btag": Hist.new.Reg(100, 0, 1, label="largest b tag of a jet").Weight(),
        "met": Hist.new.Reg(100, 0, 300, label="missing transverse momentum [GeV]").Weight(),
    }


# --- with columns -----------------------------------------------------------------------------------------------------


def columnar(events: Any) -> dict[str, Hist[Any]]:
    """The analysis of an awkward array whose fields are branches, or of coffea's NanoEvents."""
    import awkward as ak

    muons, electrons, jets = (_records(events, *of) for of in (("Muon", MUON), ("Electron", ELECTRON), ("Jet", JET)))
    met, trigger, weight = (_column(events, *name.split("_")) for name in FLAT)

    muons = muons[(muons.pt > LEPTON_PT) & (abs(muons.eta) < LEPTON_ETA) & muons.tightId]
    muons = muons[muons.pfRelIso04_all < ISOLATION]
    electrons = electrons[
        (electrons.pt > LEPTON_PT) & (abs(electrons.eta) < LEPTON_ETA) & (electrons.cutBased >= MEDIUM)
    ]
    selected = ((ak.num(muons) > 0) & trigger) | (ak.num(electrons) > 0)
    muons, electrons, jets = muons[selected], electrons[selected], jets[selected]
    met, weight = met[selected], np.sign(weight[selected])

    leptons = ak.concatenate([_momenta(muons), _momenta(electrons)], axis=1)
    leptons = leptons[ak.argsort(leptons.pt, axis=1, ascending=False, stable=True)]
    jets = jets[(jets.pt > JET_PT) & (abs(jets.eta) < LEPTON_ETA)]
    near, lepton = ak.unzip(ak.cartesian([jets, leptons], nested=True))
    away = _distance_squared(_doubles(near.eta), _doubles(near.phi), lepton.eta, lepton.phi) > CONE**2
    jets = jets[ak.all(away, axis=2)]

    first, second = leptons[:, :1], leptons[:, 1:2]
    two = ak.num(second) > 0
    first, second, weights = first[two], second[two], weight[two]
    opposite = ak.flatten(first.charge * second.charge < 0)
    squared = (
        (first.e + second.e) ** 2
        - (first.px + second.px) ** 2
        - (first.py + second.py) ** 2
        - (first.pz + second.pz) ** 2
    )
    some = ak.num(jets) > 0

    filled = histograms()
    filled["lepton"].fill(leptons.pt[:, 0], weight=weight)
    filled["mass"].fill(np.sqrt(ak.flatten(squared)[opposite]), weight=weights[opposite])
    filled["jets"].fill(ak.num(jets), weight=weight)
    filled["ht"].fill(ak.sum(_doubles(jets.pt), axis=1), weight=weight)
    filled["btag"].fill(ak.max(jets.btagDeepFlavB, axis=1)[some], weight=weight[some])
    filled["met"].fill(met, weight=weight)
    return filled


def _column(events: Any, collection: str, name: str = "") -> Any:
    """A branch, from nested records where there are any."""
    if not name:
        return events[collection]
    return events[collection][name] if collection in events.fields else events[f"{collection}_{name}"]


def _records(events: Any, collection: str, names: tuple[str, ...]) -> Any:
    import awkward as ak

    return ak.zip({name: _column(events, collection, name) for name in names})


def _momenta(leptons: Any) -> Any:
    """Of electrons and muons alike, in 64-bit floating point."""
    import awkward as ak

    pt, eta, phi, mass = (_doubles(leptons[name]) for name in ("pt", "eta", "phi", "mass"))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    e = np.sqrt(px * px + py * py + pz * pz + mass * mass)
    fields = {"pt": pt, "eta": eta, "phi": phi, "charge": leptons.charge, "px": px, "py": py, "pz": pz, "e": e}
    return ak.zip(fields)


def _doubles(column: Any) -> Any:
    import awkward as ak

    return ak.values_astype(column, np.float64)


def _distance_squared(eta: Any, phi: Any, other_eta: Any, other_phi: Any) -> Any:
    """Of directions, in pseudorapidity and azimuth."""
    delta_eta = eta - other_eta
    delta_phi = (phi - other_phi + math.pi) % (2 * math.pi) - math.pi
    return delta_eta * delta_eta + delta_phi * delta_phi


# --- an event at a time -----------------------------------------------------------------------------------------------


def _mass(pt: Any, eta: Any, phi: Any, mass: Any) -> float:
    """Of two particles."""
    total_px, total_py, total_pz, total_e = 0.0, 0.0, 0.0, 0.0
    for i in range(2):
        px, py, pz = pt[i] * math.cos(phi[i]), pt[i] * math.sin(phi[i]), pt[i] * math.sinh(eta[i])
        total_px, total_py, total_pz = total_px + px, total_py + py, total_pz + pz
        total_e += math.sqrt(px * px + py * py + pz * pz + mass[i] * mass[i])
    return math.sqrt(total_e**2 - total_px**2 - total_py**2 - total_pz**2)


def kernel() -> Any:
    """The analysis as an eventmill kernel."""
    import eventmill as em

    @em.kernel(**histograms())
    def leptons_and_jets(
        lepton: Any,
        mass: Any,
        jets: Any,
        ht: Any,
        btag: Any,
        met: Any,
        Muon_pt: Any,
        Muon_eta: Any,
        Muon_phi: Any,
        Muon_mass: Any,
        Muon_charge: Any,
        Muon_tightId: Any,
        Muon_pfRelIso04_all: Any,
        Electron_pt: Any,
        Electron_eta: Any,
        Electron_phi: Any,
        Electron_mass: Any,
        Electron_charge: Any,
        Electron_cutBased: Any,
        Jet_pt: Any,
        Jet_eta: Any,
        Jet_phi: Any,
        Jet_btagDeepFlavB: Any,
        MET_pt: Any,
        HLT_IsoMu24: Any,
        genWeight: Any,
    ) -> None:
        most = len(Muon_pt) + len(Electron_pt)
        kinematics = np.empty((4, most))  # pt, eta, phi, mass
        charge = np.empty(most)
        found = 0
        for i in range(len(Muon_pt)):
            isolated = Muon_tightId[i] and Muon_pfRelIso04_all[i] < ISOLATION
            if isolated and Muon_pt[i] > LEPTON_PT and abs(Muon_eta[i]) < LEPTON_ETA:
                kinematics[0, found], kinematics[1, found] = Muon_pt[i], Muon_eta[i]
                kinematics[2, found], kinematics[3, found] = Muon_phi[i], Muon_mass[i]
                charge[found] = Muon_charge[i]
                found += 1
        triggered = HLT_IsoMu24 and found > 0
        muons = found
        for i in range(len(Electron_pt)):
            identified = Electron_cutBased[i] >= MEDIUM
            if identified and Electron_pt[i] > LEPTON_PT and abs(Electron_eta[i]) < LEPTON_ETA:
                kinematics[0, found], kinematics[1, found] = Electron_pt[i], Electron_eta[i]
                kinematics[2, found], kinematics[3, found] = Electron_phi[i], Electron_mass[i]
                charge[found] = Electron_charge[i]
                found += 1
        if not (triggered or found > muons):
            return

        weight = np.sign(genWeight)
        number, total, largest = 0, 0.0, -np.inf
        for i in range(len(Jet_pt)):
            if Jet_pt[i] > JET_PT and abs(Jet_eta[i]) < LEPTON_ETA:
                away = True
                for j in range(found):
                    delta_eta = np.float64(Jet_eta[i]) - kinematics[1, j]
                    delta_phi = (np.float64(Jet_phi[i]) - kinematics[2, j] + math.pi) % (2 * math.pi) - math.pi
                    if delta_eta * delta_eta + delta_phi * delta_phi <= CONE**2:
                        away = False
                if away:
                    number += 1
                    total += np.float64(Jet_pt[i])
                    largest = max(largest, np.float64(Jet_btagDeepFlavB[i]))

        order = np.argsort(-kinematics[0, :found], kind="mergesort")
        lepton.fill(kinematics[0, order[0]], weight=weight)
        if found > 1:
            a, b = order[0], order[1]
            if charge[a] * charge[b] < 0:
                pair = kinematics[:, order[:2]]
                mass.fill(_mass(pair[0], pair[1], pair[2], pair[3]), weight=weight)
        jets.fill(number, weight=weight)
        ht.fill(total, weight=weight)
        if number > 0:
            btag.fill(largest, weight=weight)
        met.fill(MET_pt, weight=weight)

    return leptons_and_jets


def coffea_processor() -> Any:
    """The analysis as a coffea processor."""
    from coffea.processor import ProcessorABC

    class LeptonsAndJets(ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, Any]:
            return columnar(events)

        def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
            return accumulator

    return LeptonsAndJets()
