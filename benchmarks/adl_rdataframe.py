"""The eight queries of the ADL benchmark for ROOT's RDataFrame: run by a Python that has ROOT.

    python adl_rdataframe.py q5 2 3 btag FILE ...       a query, threads, runs, the name of b tags, files

ROOT computes from the branches in double precision, as kernels do. Seconds are those of each run, with just-in-time
compilation (which is done in each), without the import of ROOT, in a process that has run another query before.
`tests/data/write_adl.py` has its answers from here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import ROOT  # type: ignore[import-not-found]

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
QUERIES = ("q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8")


def bins(query: str, files: Sequence[str], tag: str) -> dict[str, list[int]]:
    """The bins of each histogram of a query, underflow first; `CODE` has been declared."""
    frame = ROOT.RDataFrame("Events", list(files))
    booked = {
        name: some.Histo1D(("", "", 100, 0.0, float(high)), column)
        for name, (some, column, high) in _wanted(query, frame, tag).items()
    }
    return {key: [round(histogram.GetBinContent(index)) for index in range(102)] for key, histogram in booked.items()}


def _wanted(query: str, frame: Any, tag: str) -> dict[str, tuple[Any, str, float]]:
    """What a query fills: of which events, which column, and the end of its axis."""
    muons, jets = (", ".join(f"{name}_{field}" for field in ("pt", "eta", "phi", "mass")) for name in ("Muon", "Jet"))
    if query == "q1":
        return {"met": (frame, "MET_pt", 200)}
    if query == "q2":
        return {"pt": (frame, "Jet_pt", 200)}
    if query == "q3":
        return {"pt": (frame.Define("central", "Jet_pt[abs(Jet_eta) < 1]"), "central", 200)}
    if query == "q4":
        return {"met": (frame.Filter("Sum(Jet_pt > 40) >= 2"), "MET_pt", 200)}
    if query == "q5":
        return {"met": (frame.Filter(f"q5({muons}, Muon_charge)"), "MET_pt", 200)}
    if query == "q6":
        triples = frame.Filter("Jet_pt.size() >= 3").Define("best", f"q6({jets}, Jet_{tag})")
        triples = triples.Define("top", "best[0]").Define("tag", "best[1]")
        return {"pt": (triples, "top", 200), "tag": (triples, "tag", 1)}
    for field in ("pt", "eta", "phi", "mass", "charge"):
        frame = frame.Define(f"L_{field}", f"Concatenate(Muon_{field}, Electron_{field})")
    if query == "q7":
        return {"ht": (frame.Define("ht", "q7(Jet_pt, Jet_eta, Jet_phi, L_pt, L_eta, L_phi)"), "ht", 200)}
    frame = frame.Define("mt", "q8(L_pt, L_eta, L_phi, L_mass, L_charge, Muon_pt.size(), MET_pt, MET_phi)")
    return {"mt": (frame.Filter("mt >= 0"), "mt", 200)}


def main() -> None:
    """Run a query several times, and say what it has filled and how long each took."""
    query, threads, runs, tag, *files = sys.argv[1:]
    ROOT.EnableImplicitMT(int(threads))
    ROOT.gInterpreter.Declare(CODE)
    bins("q1" if query != "q1" else "q4", files[:1], tag)  # the compiler's own start
    seconds = []
    for _ in range(int(runs)):
        began = time.perf_counter()
        filled = bins(query, files, tag)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "bins": filled}))


if __name__ == "__main__":
    main()
