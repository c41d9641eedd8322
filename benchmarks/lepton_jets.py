"""An ordinary analysis of NanoAOD: good muons, electrons and jets, and six histograms. It reads twenty branches.

Written once for columns (awkward arrays of any library) and once for an event (compiled by eventmill). Both compute in
64-bit floating point with operations in the same order, so that they fill the same histograms bin by bin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hist import Hist

COLLECTIONS = {
    "Muon": ("pt", "eta", "phi", "mass", "charge", "tightId", "pfRelIso04_all"),
    "Electron": ("pt", "eta", "phi", "mass", "charge", "cutBased"),
    "Jet": ("pt", "eta", "phi", "mass", "jetId", "btagDeepFlavB"),
    "MET": ("pt",),
}
BRANCHES = [f"{name}_{field}" for name, fields in COLLECTIONS.items() for field in fields]
HISTOGRAMS = ("met", "jets", "ht", "mht", "dimuon", "dielectron")
TIGHT_JET, TIGHT_ELECTRON, B_TAG = 2, 3, 0.2783


def histograms() -> dict[str, Hist[Any]]:
    """Empty ones; momenta and masses in GeV."""
    return {
        "met": Hist.new.Reg(100, 0, 200, label="MET of events with a lepton [GeV]").Double(),
        "jets": Hist.new.Reg(10, 0, 10, label="good jets without a b-tag in events with a lepton").Double(),
        "ht": Hist.new.Reg(100, 0, 1000, label="scalar sum of the good jets' pt [GeV]").Double(),
        "mht": Hist.new.Reg(100, 0, 500, label="vector sum of the good jets' pt [GeV]").Double(),
        "dimuon": Hist.new.Reg(120, 0, 120, label="mass of two good muons [GeV]").Double(),
        "dielectron": Hist.new.Reg(120, 0, 120, label="mass of two good electrons [GeV]").Double(),
    }


# --- columns --------------------------------------------------------------------------------------------------------------


def fill_columns(column: Callable[[str, str], Any]) -> dict[str, Hist[Any]]:
    """Filled histograms; `column("Muon", "pt")` gives a column of the events."""
    import awkward as ak

    def of(name: str) -> dict[str, Any]:
        return {field: column(name, field) for field in COLLECTIONS[name]}

    muon, electron, jet, met = of("Muon"), of("Electron"), of("Jet"), column("MET", "pt")
    good_muon = (muon["pt"] > 20) & (abs(muon["eta"]) < 2.4) & (muon["tightId"] != 0) & (muon["pfRelIso04_all"] < 0.15)
    good_electron = (electron["pt"] > 20) & (abs(electron["eta"]) < 2.5) & (electron["cutBased"] >= TIGHT_ELECTRON)
    good_jet = (jet["pt"] > 30) & (abs(jet["eta"]) < 2.4) & (jet["jetId"] >= TIGHT_JET) & (jet["mass"] > 0)
    untagged = good_jet & (jet["btagDeepFlavB"] < B_TAG)
    has_lepton = ak.any(good_muon, axis=1) | ak.any(good_electron, axis=1)
    pt, phi = (ak.values_astype(jet[name][good_jet], np.float64) for name in ("pt", "phi"))

    filled = histograms()
    filled["met"].fill(met[has_lepton])
    filled["jets"].fill(ak.sum(untagged, axis=1)[has_lepton])
    filled["ht"].fill(ak.sum(pt, axis=1))
    filled["mht"].fill(np.sqrt(ak.sum(pt * np.cos(phi), axis=1) ** 2 + ak.sum(pt * np.sin(phi), axis=1) ** 2))
    filled["dimuon"].fill(_pair_masses(muon, good_muon))
    filled["dielectron"].fill(_pair_masses(electron, good_electron))
    return filled


def _pair_masses(lepton: dict[str, Any], good: Any) -> Any:
    """Masses of the two good leptons of events that have just two, of opposite charge."""
    import awkward as ak

    two = ak.sum(good, axis=1) == 2
    kept = {field: lepton[field][two][good[two]] for field in ("pt", "eta", "phi", "mass", "charge")}
    opposite = kept["charge"][:, 0] != kept["charge"][:, 1]
    pt, eta, phi, mass = (ak.values_astype(kept[name][opposite], np.float64) for name in ("pt", "eta", "phi", "mass"))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    e = np.sqrt(px * px + py * py + pz * pz + mass * mass)
    total = [component[:, 0] + component[:, 1] for component in (e, px, py, pz)]
    squared = total[0] * total[0] - total[1] * total[1] - total[2] * total[2] - total[3] * total[3]
    return np.sqrt(np.maximum(squared, 0.0))


# --- an event at a time ---------------------------------------------------------------------------------------------------


def pair_mass(pt: Any, eta: Any, phi: Any, mass: Any, charge: Any, first: int, second: int) -> float:
    """Mass of two leptons of opposite charge; -1 for the same charge."""
    if charge[first] == charge[second]:
        return -1.0
    total_e, total_px, total_py, total_pz = 0.0, 0.0, 0.0, 0.0
    for k in (first, second):
        lepton_pt, lepton_phi, lepton_mass = np.float64(pt[k]), np.float64(phi[k]), np.float64(mass[k])
        px, py = lepton_pt * math.cos(lepton_phi), lepton_pt * math.sin(lepton_phi)
        pz = lepton_pt * math.sinh(np.float64(eta[k]))
        total_e += math.sqrt(px * px + py * py + pz * pz + lepton_mass * lepton_mass)
        total_px += px
        total_py += py
        total_pz += pz
    squared = total_e * total_e - total_px * total_px - total_py * total_py - total_pz * total_pz
    return math.sqrt(max(squared, 0.0))


def kernel() -> Any:
    """The analysis as an eventmill kernel."""
    import eventmill as em

    @em.kernel(**histograms())
    def lepton_jets(
        met: Any,
        jets: Any,
        ht: Any,
        mht: Any,
        dimuon: Any,
        dielectron: Any,
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
        Jet_mass: Any,
        Jet_jetId: Any,
        Jet_btagDeepFlavB: Any,
        MET_pt: Any,
    ) -> None:
        muons, first_muon, second_muon = 0, -1, -1
        for i in range(len(Muon_pt)):
            if Muon_pt[i] > 20 and abs(Muon_eta[i]) < 2.4 and Muon_tightId[i] and Muon_pfRelIso04_all[i] < 0.15:
                first_muon, second_muon = (i, -1) if muons == 0 else (first_muon, i)
                muons += 1
        electrons, first_electron, second_electron = 0, -1, -1
        for i in range(len(Electron_pt)):
            if Electron_pt[i] > 20 and abs(Electron_eta[i]) < 2.5 and Electron_cutBased[i] >= TIGHT_ELECTRON:
                first_electron, second_electron = (i, -1) if electrons == 0 else (first_electron, i)
                electrons += 1
        untagged, total, total_x, total_y = 0, 0.0, 0.0, 0.0
        for i in range(len(Jet_pt)):
            if Jet_pt[i] > 30 and abs(Jet_eta[i]) < 2.4 and Jet_jetId[i] >= TIGHT_JET and Jet_mass[i] > 0:
                if Jet_btagDeepFlavB[i] < B_TAG:
                    untagged += 1
                pt, phi = np.float64(Jet_pt[i]), np.float64(Jet_phi[i])
                total += pt
                total_x += pt * math.cos(phi)
                total_y += pt * math.sin(phi)
        ht.fill(total)
        mht.fill(math.sqrt(total_x * total_x + total_y * total_y))
        if muons + electrons > 0:
            met.fill(MET_pt)
            jets.fill(untagged)
        if muons == 2:
            mass = pair_mass(Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge, first_muon, second_muon)
            if mass >= 0.0:
                dimuon.fill(mass)
        if electrons == 2:
            mass = pair_mass(
                Electron_pt, Electron_eta, Electron_phi, Electron_mass, Electron_charge, first_electron, second_electron
            )
            if mass >= 0.0:
                dielectron.fill(mass)

    return lepton_jets


def columnar(events: Any) -> dict[str, Hist[Any]]:
    """The analysis as a columnar function of eventmill's events or of uproot's arrays."""
    return fill_columns(lambda name, field: events[f"{name}_{field}"])


def coffea_processor() -> Any:
    """The analysis as a coffea processor of events as `NanoAODSchema` makes them."""
    from coffea.processor import ProcessorABC

    class LeptonJets(ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, Any]:
            return fill_columns(lambda name, field: events[name][field])

        def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
            return accumulator

    return LeptonJets()
