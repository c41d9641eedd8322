"""The AGC's ttbar analysis as ROOT has it: github.com/root-project/analysis-grand-challenge (MIT license, CERN).

    python agc_rdataframe.py FILESET.json THREADS

runs in a Python with ROOT, and prints a line of JSON: seconds to book and to run, and the contents of all histograms.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import ROOT

CODE = """
#include "Math/QuantFuncMathCore.h"
#include "Math/Vector4D.h"
ROOT::RVecF jet_pt_resolution(const ROOT::RVecF &pt) {
   ROOT::RVecF res(pt.size());
   for (std::size_t i = 0; i < pt.size(); ++i)
      res[i] = 1. + ROOT::Math::gaussian_quantile(0.001 * (static_cast<int>(pt[i] * 1000) % 1000) + 0.0005, 0.05);
   return res;
}
ROOT::RVecF btag_weight_variation(const ROOT::RVecF &pt) {
   ROOT::RVecF res;
   for (float x : Take(pt, 4)) { res.push_back(1 + .075 * x / 50); res.push_back(1 - .075 * x / 50); }
   return res;
}
ROOT::RVec<ROOT::Math::PxPyPzMVector> ConstructP4(const ROOT::RVecD &pt, const ROOT::RVecD &eta, const ROOT::RVecD &phi,
                                                  const ROOT::RVecD &m) {
   auto p4 = ROOT::VecOps::Construct<ROOT::Math::PtEtaPhiMVector>(pt, eta, phi, m);
   return ROOT::VecOps::Construct<ROOT::Math::PxPyPzMVector>(p4);
}
"""
TRIJET = """
auto J1 = Take(Jet_p4, Trijet_idx[0]); auto J2 = Take(Jet_p4, Trijet_idx[1]); auto J3 = Take(Jet_p4, Trijet_idx[2]);
auto B1 = Take(Jet_btagCSVV2_cut, Trijet_idx[0]); auto B2 = Take(Jet_btagCSVV2_cut, Trijet_idx[1]);
auto B3 = Take(Jet_btagCSVV2_cut, Trijet_idx[2]);
return (J1 + J2 + J3)[B1 > 0.5 || B2 > 0.5 || B3 > 0.5];
"""


def book(sample: dict) -> dict:
    """The histograms of a sample, by region; varied where it is a nominal one."""
    about = sample["metadata"]
    nominal = about["variation"] == "nominal"
    df = ROOT.RDataFrame("Events", list(sample["files"]))
    df = df.Define("Weights", str(about["xsec"] * 3378 / about["nevts"]))
    if nominal:
        varied = "ROOT::RVec<ROOT::RVecF>{Jet_pt * 1.03f, Jet_pt * jet_pt_resolution(Jet_pt)}"
        df = df.Vary("Jet_pt", varied, ["pt_scale_up", "pt_res_up"])
        if about["process"] == "wjets":
            df = df.Vary("Weights", "ROOT::RVecD{Weights * 1.025, Weights * 0.975}", ["scale_var_up", "scale_var_down"])
    df = (
        df.Define(
            "Electron_mask",
            "Electron_pt > 30 && abs(Electron_eta) < 2.1 && Electron_sip3d < 4 && Electron_cutBased == 4",
        )
        .Define(
            "Muon_mask",
            "Muon_pt > 30 && abs(Muon_eta) < 2.1 && Muon_sip3d < 4 && Muon_tightId && Muon_pfRelIso04_all < 0.15",
        )
        .Filter("Sum(Electron_mask) + Sum(Muon_mask) == 1")
        .Define("Jet_mask", "Jet_pt > 30 && abs(Jet_eta) < 2.4 && Jet_jetId == 6")
        .Filter("Sum(Jet_mask) >= 4")
    )
    for name in ("pt", "btagCSVV2", "eta", "phi", "mass"):
        df = df.Define(f"Jet_{name}_cut", f"Jet_{name}[Jet_mask]")
    if nominal:
        names = [f"btag_var_{jet}_{way}" for jet in range(4) for way in ("up", "down")]
        df = df.Vary("Weights", "ROOT::RVecD{Weights * btag_weight_variation(Jet_pt_cut)}", names)
    one = df.Filter("Sum(Jet_btagCSVV2_cut > 0.5) == 1").Define("observable", "Sum(Jet_pt_cut)")
    two = (
        df.Filter("Sum(Jet_btagCSVV2_cut > 0.5) > 1")
        .Define("Jet_p4", "ConstructP4(Jet_pt_cut, Jet_eta_cut, Jet_phi_cut, Jet_mass_cut)")
        .Define("Trijet_idx", "Combinations(Jet_pt_cut, 3)")
        .Define("Trijet_p4", TRIJET)
        .Define("Trijet_pt", "return Map(Trijet_p4, [](const ROOT::Math::PxPyPzMVector &v) { return v.Pt(); })")
        .Define("observable", "Trijet_p4[ArgMax(Trijet_pt)].M()")
    )
    return {
        region: some.Histo1D((f"{region}_{id(df)}", "", 25, 50.0, 550.0), "observable", "Weights")
        for region, some in (("4j1b", one), ("4j2b", two))
    }


def main() -> None:
    """Book and run all samples at once, as the implementation does."""
    fileset = json.loads(Path(sys.argv[1]).read_text())
    ROOT.EnableImplicitMT(int(sys.argv[2]))
    ROOT.gInterpreter.Declare(CODE)
    began = time.perf_counter()
    booked = {name: book(sample) for name, sample in fileset.items()}
    varied = {}
    for name, by_region in booked.items():
        if fileset[name]["metadata"]["variation"] == "nominal":
            varied[name] = {region: ROOT.RDF.Experimental.VariationsFor(h) for region, h in by_region.items()}
    ROOT.RDF.RunGraphs([h for by_region in booked.values() for h in by_region.values()])
    seconds = time.perf_counter() - began
    contents = []
    for name, by_region in booked.items():
        about = fileset[name]["metadata"]
        for region, h in by_region.items():
            if name in varied:
                found = varied[name][region]
                for key in found.GetKeys():
                    label = str(key).rpartition(":")[2]
                    contents.append(
                        [region, about["process"], label, [found[key].GetBinContent(b) for b in range(1, 26)]]
                    )
            else:
                contents.append(
                    [region, about["process"], about["variation"], [h.GetBinContent(b) for b in range(1, 26)]]
                )
    print(json.dumps({"seconds": seconds, "contents": contents, "version": ROOT.__version__}))


main()
