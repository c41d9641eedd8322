"""Forty systematic variations: in one pass, beside forty passes, RDataFrame's VariationsFor, and coffea.

    python -m benchmarks.variations                        two million events: about ten minutes
    python -m benchmarks.variations --events 500000        a quick look
    python -m benchmarks.variations --readme               puts the table into benchmarks/README.md

24 variations of a weight, 8 of the momenta of muons and 8 of those of jets. Each analysis uses the weight when it fills, and
either muons or jets. Needs the extra `bench`, and ROOT (`pip install root`) for RDataFrame. Every measurement is a
child process of its own, and its second run counts: nothing is compiled or started in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from eventmill.cli.sample import write_sample
from hist import Hist

from .children import launch, read_once, run_json
from .options import add_names, add_sample, command_line
from .tables import heading, put, rows

TREE = "Events"
PACKAGES = ("eventmill", "awkward", "coffea", "numba", "root", "uproot")
WEIGHTS = {f"w{number}": 1 + number / 100 for number in range(1, 25)}
SCALES = {f"{sign}{number}": 1 + int(f"{sign}{number}") / 100 for number in range(1, 5) for sign in "+-"}
COLUMNS = {"dimuon": "Muon_pt", "trijet": "Jet_pt"}
ALIASES = {"weight": "1.0 + MET_phi / 100"}
PASSES = 1 + len(WEIGHTS) + 2 * len(SCALES)
TIMED_PASSES = {"passes-kernel": PASSES - 1, "passes-function": 4}


def _met() -> Hist[Any]:
    return Hist.new.Reg(100, 0, 200).Weight()


def _triple() -> Hist[Any]:
    return Hist.new.Reg(100, 0, 500).Weight()


# --- the analyses: with eventmill's kernels, with awkward, in C++ ----------------------------------------------------


def _kernels() -> dict[str, Any]:
    import eventmill as em

    @em.kernel(h=_met())
    def dimuon(h, MET_pt, Muon_pt, Muon_eta, Muon_phi, Muon_charge, weight):  # type: ignore[no-untyped-def]
        for i in range(len(Muon_pt)):
            for j in range(i):
                if Muon_charge[i] != Muon_charge[j]:
                    angles = np.cosh(Muon_eta[i] - Muon_eta[j]) - np.cos(Muon_phi[i] - Muon_phi[j])
                    mass2 = 2 * Muon_pt[i] * Muon_pt[j] * angles
                    if 3600 < mass2 < 14400:
                        h.fill(MET_pt, weight=weight)
                        return

    @em.kernel(h=_triple())
    def trijet(h, Jet_pt, Jet_eta, Jet_phi, weight):  # type: ignore[no-untyped-def]
        best, pt = 1e9, -1.0
        for i in range(len(Jet_pt)):
            for j in range(i):
                for k in range(j):
                    px = (
                        Jet_pt[i] * np.cos(Jet_phi[i]) + Jet_pt[j] * np.cos(Jet_phi[j]) + Jet_pt[k] * np.cos(Jet_phi[k])
                    )
                    py = (
                        Jet_pt[i] * np.sin(Jet_phi[i]) + Jet_pt[j] * np.sin(Jet_phi[j]) + Jet_pt[k] * np.sin(Jet_phi[k])
                    )
                    pz = (
                        Jet_pt[i] * np.sinh(Jet_eta[i])
                        + Jet_pt[j] * np.sinh(Jet_eta[j])
                        + Jet_pt[k] * np.sinh(Jet_eta[k])
                    )
                    e = (
                        Jet_pt[i] * np.cosh(Jet_eta[i])
                        + Jet_pt[j] * np.cosh(Jet_eta[j])
                        + Jet_pt[k] * np.cosh(Jet_eta[k])
                    )
                    distance = abs(np.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0)) - 172.5)
                    if distance < best:
                        best, pt = distance, np.sqrt(px * px + py * py)
        if pt >= 0:
            h.fill(pt, weight=weight)

    return {"dimuon": dimuon, "trijet": trijet}


def _dimuon(columns: Mapping[str, Any]) -> tuple[Any, Any]:
    """What is filled, and of which events."""
    import awkward as ak

    muons = ak.zip({name: _wide(columns[f"Muon_{name}"]) for name in ("pt", "eta", "phi", "charge")})
    a, b = ak.unzip(ak.combinations(muons, 2))
    mass2 = 2 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(a.phi - b.phi))
    passed = ak.any((a.charge != b.charge) & (mass2 > 3600) & (mass2 < 14400), axis=1)
    return columns["MET_pt"][passed], passed


def _trijet(columns: Mapping[str, Any]) -> tuple[Any, Any]:
    import awkward as ak

    passed = ak.num(columns["Jet_pt"]) >= 3
    pt, eta, phi = (_wide(columns[f"Jet_{name}"][passed]) for name in ("pt", "eta", "phi"))
    momenta = ak.zip({"x": pt * np.cos(phi), "y": pt * np.sin(phi), "z": pt * np.sinh(eta), "e": pt * np.cosh(eta)})
    three = ak.unzip(ak.combinations(momenta, 3))
    px, py, pz, e = (three[0][name] + three[1][name] + three[2][name] for name in ("x", "y", "z", "e"))
    mass = np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0))
    nearest = ak.argmin(abs(mass - 172.5), axis=1, keepdims=True)
    return ak.flatten(np.sqrt(px[nearest] ** 2 + py[nearest] ** 2)), passed


def _wide(column: Any) -> Any:
    import awkward as ak

    return ak.values_astype(column, "float64")


COLUMNAR: dict[str, Callable[[Mapping[str, Any]], tuple[Any, Any]]] = {"dimuon": _dimuon, "trijet": _trijet}
EMPTY = {"dimuon": _met, "trijet": _triple}
CPP = """
#include <ROOT/RVec.hxx>
#include <cmath>
using D = ROOT::RVecD;
bool dimuon(const ROOT::RVecF& ptf, const ROOT::RVecF& etaf, const ROOT::RVecF& phif, const ROOT::RVecI& charge) {
    for (size_t i = 0; i < ptf.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            if (charge[i] != charge[j]) {
                double eta = double(etaf[i]) - double(etaf[j]), phi = double(phif[i]) - double(phif[j]);
                double mass2 = 2 * double(ptf[i]) * double(ptf[j]) * (std::cosh(eta) - std::cos(phi));
                if (3600 < mass2 && mass2 < 14400) return true;
            }
    return false;
}
double trijet(const ROOT::RVecF& ptf, const ROOT::RVecF& etaf, const ROOT::RVecF& phif) {
    D pt(ptf.begin(), ptf.end()), eta(etaf.begin(), etaf.end()), phi(phif.begin(), phif.end());
    D x = pt * cos(phi), y = pt * sin(phi), z = pt * sinh(eta), e = pt * cosh(eta);
    double best = 1e9, found = -1;
    for (size_t i = 0; i < pt.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            for (size_t k = 0; k < j; ++k) {
                double px = x[i] + x[j] + x[k], py = y[i] + y[j] + y[k], pz = z[i] + z[j] + z[k], en = e[i] + e[j] + e[k];
                double distance = std::abs(std::sqrt(std::max(en * en - px * px - py * py - pz * pz, 0.)) - 172.5);
                if (distance < best) { best = distance; found = std::sqrt(px * px + py * py); }
            }
    return found;
}
"""


# --- the systems ------------------------------------------------------------------------------------------------------


def _shifts() -> dict[str, dict[str, Any]]:
    """The variations as em.vary takes them."""
    found: dict[str, dict[str, Any]] = {name: {"weight": f"weight * {factor}"} for name, factor in WEIGHTS.items()}
    for column in COLUMNS.values():
        found |= {f"{column}{name}": {column: f"{column} * np.float32({it})"} for name, it in SCALES.items()}
    return found


def _eventmill(system: str, analysis: str, files: list[str], slots: int) -> tuple[float, dict[str, list[float]]]:
    """Seconds of the second run, or of all passes, and the contents of nominal and of one variation of each kind."""
    import eventmill as em

    def function(events: Any) -> Any:
        values, passed = COLUMNAR[analysis](events)
        return {"h": EMPTY[analysis]().fill(values, weight=events.weight[passed])}

    work: Any = _kernels()[analysis] if "kernel" in system else function
    data = em.Dataset(files, tree=TREE, aliases=ALIASES)
    with em.connect(slots=slots) as session:
        if system in TIMED_PASSES:
            session.process(data, work).result()
            began = time.monotonic()
            for _ in range(TIMED_PASSES[system]):
                result = session.process(data, work).result()
            return (time.monotonic() - began) * (PASSES - 1) / TIMED_PASSES[system], {"nominal": _contents(result["h"])}
        varied = em.vary(work, _shifts())
        session.process(data, varied).result()
        began = time.monotonic()
        result = session.process(data, varied).result()
        seconds = time.monotonic() - began
    kinds = {"nominal": "nominal", "weight": "w24", "scale": f"{COLUMNS[analysis]}+4"}
    return seconds, {kind: _contents(result[name]["h"]) for kind, name in kinds.items()}


def _rdataframe(_system: str, analysis: str, files: list[str], slots: int) -> tuple[float, dict[str, list[float]]]:
    import ROOT  # type: ignore[import-not-found,unused-ignore]

    ROOT.EnableImplicitMT(slots)
    ROOT.gInterpreter.Declare(CPP)

    def run() -> dict[str, list[float]]:
        frame = ROOT.RDataFrame(TREE, files).Define("weight", "1.0 + MET_phi / 100")
        weights = ", ".join(f"weight * {factor}" for factor in WEIGHTS.values())
        frame = frame.Vary("weight", f"ROOT::RVecD{{{weights}}}", len(WEIGHTS), "w")
        for column in COLUMNS.values():
            scaled = ", ".join(f"{column} * {factor}f" for factor in SCALES.values())
            frame = frame.Vary(column, f"ROOT::RVec<ROOT::RVecF>{{{scaled}}}", len(SCALES), column)
        if analysis == "dimuon":
            chosen = frame.Filter("dimuon(Muon_pt, Muon_eta, Muon_phi, Muon_charge)")
            nominal = chosen.Histo1D(("h", "h", 100, 0, 200), "MET_pt", "weight")
        else:
            chosen = frame.Define("triple", "trijet(Jet_pt, Jet_eta, Jet_phi)").Filter("triple >= 0")
            nominal = chosen.Histo1D(("h", "h", 100, 0, 500), "triple", "weight")
        found = ROOT.RDF.Experimental.VariationsFor(nominal)
        last = {"nominal": "nominal", "weight": "w:23", "scale": f"{COLUMNS[analysis]}:{[*SCALES].index('+4')}"}
        return {kind: [found[name].GetBinContent(at) for at in range(102)] for kind, name in last.items()}

    run()
    began = time.monotonic()
    contents = run()
    return time.monotonic() - began, contents


def _coffea(_system: str, analysis: str, files: list[str], slots: int) -> tuple[float, dict[str, list[float]]]:
    """As one writes it by hand: weights when it fills, and the selection again for each shifted momentum."""
    from coffea import processor  # type: ignore[import-not-found,unused-ignore]
    from coffea.nanoevents import BaseSchema  # type: ignore[import-not-found,unused-ignore]

    runner = processor.Runner(processor.FuturesExecutor(workers=slots), schema=BaseSchema, chunksize=250_000)

    def run() -> dict[str, list[float]]:
        out: Any = runner({"events": files}, treename=TREE, processor_instance=_processor(analysis))
        kinds = {"nominal": "nominal", "weight": "w24", "scale": f"{COLUMNS[analysis]}+4"}
        return {kind: _contents(out[name]) for kind, name in kinds.items()}

    run()
    began = time.monotonic()
    contents = run()
    return time.monotonic() - began, contents


def _processor(analysis: str) -> Any:
    from coffea import processor

    class Varying(processor.ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> Any:
            columns = {name: events[name] for name in events.fields}
            weight = 1.0 + _wide(events.MET_phi) / 100
            values, passed = COLUMNAR[analysis](columns)
            out = {"nominal": EMPTY[analysis]().fill(values, weight=weight[passed])}
            for name, factor in WEIGHTS.items():
                out[name] = EMPTY[analysis]().fill(values, weight=(weight * factor)[passed])
            for column in COLUMNS.values():
                for name, factor in SCALES.items():
                    shifted = {**columns, column: columns[column] * np.float32(factor)}
                    values, passed = COLUMNAR[analysis](shifted)
                    out[f"{column}{name}"] = EMPTY[analysis]().fill(values, weight=weight[passed])
            return out

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    return Varying()


SYSTEMS: dict[str, Callable[[str, str, list[str], int], tuple[float, dict[str, list[float]]]]] = {
    "vary-kernel": _eventmill,
    "passes-kernel": _eventmill,
    "vary-function": _eventmill,
    "passes-function": _eventmill,
    "rdataframe": _rdataframe,
    "coffea": _coffea,
}
TITLES = {
    "vary-kernel": "em.vary, kernel",
    "passes-kernel": "40 passes without shifts, kernel",
    "vary-function": "em.vary, function of events",
    "passes-function": "40 passes without shifts, function (4 timed)",
    "rdataframe": "RDataFrame, VariationsFor",
    "coffea": "coffea FuturesExecutor, loops by hand",
}


def _contents(histogram: Any) -> list[float]:
    return [float(value) for value in histogram.values(flow=True)]


def measure(system: str, analysis: str, slots: str, *files: str) -> tuple[float, dict[str, list[float]]]:
    """One system with one analysis; for `run_json`."""
    return SYSTEMS[system](system, analysis, list(files), int(slots))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when histograms differ by more than roundings, else 0."""
    parser = command_line("variations", __doc__)
    add_sample(parser, events=2_000_000, files=4)
    add_names(parser, "--systems", SYSTEMS)
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    files = write_sample(options.folder / f"{options.events}-{options.files}", options.events, options.files)
    read_once(map(Path, files))
    seconds: dict[str, dict[str, float]] = {}
    differ = False
    for analysis in COLUMNS:
        first: dict[str, list[float]] = {}
        for system in options.systems:
            took, contents = run_json("benchmarks.variations", system, analysis, options.slots, *files)
            print(f"{analysis}: {system}: {took:.2f} s", flush=True)
            seconds.setdefault(system, {})[analysis] = took
            first = first or contents
            differ |= not all(np.allclose(first[kind], its, rtol=1e-6, atol=3) for kind, its in contents.items())
    lines = [[TITLES[system], *(f"{took[analysis]:.2f}" for analysis in COLUMNS)] for system, took in seconds.items()]
    text = f"{heading(PACKAGES, load)}\n{options.events:,} events in {options.files} files, {options.slots} slots, "
    text += "workers or threads each; 40 variations and nominal, seconds of the second run.\n\n"
    text += rows(["", *COLUMNS], lines)
    print(text)
    if options.readme:
        put("variations", text)
    return int(differ)


if __name__ == "__main__":
    launch(measure, main)
