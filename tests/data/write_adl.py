"""Writes `adl.root`, events for the queries of the ADL benchmark, and `adl.json`, what ROOT's RDataFrame answers to them.

    python write_adl.py                             with ROOT 6.40 (`pip install root`), uproot and awkward

ROOT computes from the branches in double precision, as kernels do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import ROOT
import uproot

HERE = Path(__file__).parent
EVENTS = 1500
CODE = r"""
using ROOT::RVecD; using ROOT::RVecF; using ROOT::RVecI; using P4 = ROOT::Math::PxPyPzEVector;
P4 p4(double pt, double eta, double phi, double m) {
  double x = pt * std::cos(phi), y = pt * std::sin(phi), z = pt * std::sinh(eta);
  return P4(x, y, z, std::sqrt(x * x + y * y + z * z + m * m));
}
double delta(double a, double b) { return TVector2::Phi_mpi_pi(a - b); }
bool q5(const RVecF &pt, const RVecF &eta, const RVecF &phi, const RVecF &m, const RVecI &charge) {
  for (size_t i = 0; i < pt.size(); ++i)
    for (size_t j = i + 1; j < pt.size(); ++j) {
      double mass = (p4(pt[i], eta[i], phi[i], m[i]) + p4(pt[j], eta[j], phi[j], m[j])).M();
      if (charge[i] != charge[j] && mass > 60 && mass < 120) return true;
    }
  return false;
}
RVecD q6(const RVecF &pt, const RVecF &eta, const RVecF &phi, const RVecF &m, const RVecF &tag) {
  double off = INFINITY, best = 0, largest = 0;
  for (size_t i = 0; i < pt.size(); ++i)
    for (size_t j = i + 1; j < pt.size(); ++j)
      for (size_t k = j + 1; k < pt.size(); ++k) {
        P4 all = p4(pt[i], eta[i], phi[i], m[i]) + p4(pt[j], eta[j], phi[j], m[j]) + p4(pt[k], eta[k], phi[k], m[k]);
        if (std::abs(all.M() - 172.5) < off) {
          off = std::abs(all.M() - 172.5); best = all.Pt(); largest = std::max({tag[i], tag[j], tag[k]});
        }
      }
  return {best, largest};
}
double q7(const RVecF &pt, const RVecF &eta, const RVecF &phi, const RVecF &lpt, const RVecF &leta, const RVecF &lphi) {
  double total = 0;
  for (size_t i = 0; i < pt.size(); ++i) {
    bool far = pt[i] > 30;
    for (size_t k = 0; k < lpt.size(); ++k)
      far = far && !(lpt[k] > 10 && std::hypot(double(eta[i]) - leta[k], delta(phi[i], lphi[k])) <= 0.4);
    if (far) total += pt[i];
  }
  return total;
}
double q8(const RVecF &pt, const RVecF &eta, const RVecF &phi, const RVecF &m, const RVecI &charge, size_t muons,
          float met, float met_phi) {
  double off = INFINITY; int first = -1, second = -1, other = -1;
  for (size_t i = 0; i < pt.size(); ++i)
    for (size_t j = i + 1; j < pt.size(); ++j) {
      if ((i < muons) != (j < muons) || charge[i] == charge[j]) continue;
      double distance = std::abs((p4(pt[i], eta[i], phi[i], m[i]) + p4(pt[j], eta[j], phi[j], m[j])).M() - 91.2);
      if (distance < off) { off = distance; first = i; second = j; }
    }
  if (first < 0 || pt.size() < 3) return -1;
  for (int k = 0; k < int(pt.size()); ++k)
    if (k != first && k != second && (other < 0 || pt[k] > pt[other])) other = k;
  return std::sqrt(2. * pt[other] * met * (1 - std::cos(delta(phi[other], met_phi))));
}
"""


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
    """The bins of each histogram, underflow first."""
    ROOT.gInterpreter.Declare(CODE)
    kinematics = {
        name: ", ".join(f"{name}_{field}" for field in ("pt", "eta", "phi", "mass")) for name in ("Muon", "Jet")
    }
    leptons = {
        field: f"Concatenate(Muon_{field}, Electron_{field})" for field in ("pt", "eta", "phi", "mass", "charge")
    }
    frame = ROOT.RDataFrame("Events", str(path))
    for field, expression in leptons.items():
        frame = frame.Define(f"L_{field}", expression)
    frame = frame.Define("best", f"q6({kinematics['Jet']}, Jet_btag)")
    frame = frame.Define("ht", "q7(Jet_pt, Jet_eta, Jet_phi, L_pt, L_eta, L_phi)")
    frame = frame.Define("mt", "q8(L_pt, L_eta, L_phi, L_mass, L_charge, Muon_pt.size(), MET_pt, MET_phi)")
    frame = frame.Define("top", "best[0]").Define("tag", "best[1]").Define("central", "Jet_pt[abs(Jet_eta) < 1]")
    triples = frame.Filter("Jet_pt.size() >= 3")
    wanted = {
        "q1 met": (frame, "MET_pt", 200),
        "q2 pt": (frame, "Jet_pt", 200),
        "q3 pt": (frame, "central", 200),
        "q4 met": (frame.Filter("Sum(Jet_pt > 40) >= 2"), "MET_pt", 200),
        "q5 met": (frame.Filter(f"q5({kinematics['Muon']}, Muon_charge)"), "MET_pt", 200),
        "q6 pt": (triples, "top", 200),
        "q6 tag": (triples, "tag", 1),
        "q7 ht": (frame, "ht", 200),
        "q8 mt": (frame.Filter("mt >= 0"), "mt", 200),
    }
    booked = {key: it.Histo1D(("", "", 100, 0.0, float(high)), name) for key, (it, name, high) in wanted.items()}
    return {key: [round(histogram.GetBinContent(index)) for index in range(102)] for key, histogram in booked.items()}


if __name__ == "__main__":
    write(HERE / "adl.root")
    lines = (f"  {json.dumps(key)}: {json.dumps(bins)}" for key, bins in answers(HERE / "adl.root").items())
    (HERE / "adl.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
