"""The three analyses of the benchmark, each written once for each way of computing.

All of them compute in 64-bit floating point, with operations in the same order, so that every system fills the same
histogram bin by bin. Nothing but numpy and hist is imported here before it is needed: a child process of the benchmark
must not pay for a library that its system does without.

    met       missing transverse momentum of every event
    dimuon    missing transverse momentum of events with an opposite-sign muon pair between 60 and 120 GeV
    trijet    pt of the three jets whose mass is nearest to 172.5 GeV
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hist import Hist

JETS = ("Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass")
MUONS = ("Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge")

BINS = 100
MET_MAXIMUM, TRIJET_MAXIMUM = 200.0, 500.0  # upper edges in GeV; lower edges are 0


def met_histogram() -> Hist[Any]:
    """An empty histogram of missing transverse momentum in GeV."""
    return Hist.new.Reg(BINS, 0, MET_MAXIMUM, name="met", label="missing transverse momentum [GeV]").Double()


def trijet_histogram() -> Hist[Any]:
    """An empty histogram of the transverse momentum of three jets in GeV."""
    return Hist.new.Reg(BINS, 0, TRIJET_MAXIMUM, name="pt", label="pt of the jet triple [GeV]").Double()


# Columnar: plain uproot + awkward, and both of coffea's executors


def met_columnar(events: Any) -> dict[str, Any]:
    """`met` on an awkward array of events."""
    return {"histogram": met_histogram().fill(events.MET_pt)}


def dimuon_columnar(events: Any) -> dict[str, Any]:
    """`dimuon` on an awkward array of events."""
    import awkward as ak

    several = ak.num(events.Muon_pt) >= 2
    columns = {name: events[name][several] for name in (*MUONS, "MET_pt")}
    muons = _momenta(*(columns[name] for name in MUONS[:4]), charge=columns["Muon_charge"])
    first, second = ak.unzip(ak.combinations(muons, 2))
    mass_squared = (
        (first.e + second.e) ** 2
        - (first.px + second.px) ** 2
        - (first.py + second.py) ** 2
        - (first.pz + second.pz) ** 2
    )
    selected = ak.any((first.charge != second.charge) & (mass_squared > 3600.0) & (mass_squared < 14400.0), axis=1)
    return {"histogram": met_histogram().fill(columns["MET_pt"][selected])}


def trijet_columnar(events: Any) -> dict[str, Any]:
    """`trijet` on an awkward array of events."""
    import awkward as ak

    several = ak.num(events.Jet_pt) >= 3
    jets = _momenta(*(events[name][several] for name in JETS))
    first, second, third = ak.unzip(ak.combinations(jets, 3))
    px, py, pz, e = (first[name] + second[name] + third[name] for name in ("px", "py", "pz", "e"))
    mass = np.sqrt(e**2 - px**2 - py**2 - pz**2)
    nearest = ak.argmin(abs(mass - 172.5), axis=1, keepdims=True)
    pt = np.sqrt(px[nearest] ** 2 + py[nearest] ** 2)
    return {"histogram": trijet_histogram().fill(ak.flatten(pt, axis=None))}


def _momenta(pt: Any, eta: Any, phi: Any, mass: Any, **others: Any) -> Any:
    """Jagged records of px, py, pz, e in 64-bit floating point, and `others`."""
    import awkward as ak

    pt, eta, phi, mass = (ak.values_astype(column, np.float64) for column in (pt, eta, phi, mass))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return ak.zip({"px": px, "py": py, "pz": pz, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2), **others})


# An event at a time: compiled by eventmill and by plain numba. With no `float64`, numba would compute in 32 bits.


def has_z_candidate(pt: Any, eta: Any, phi: Any, mass: Any, charge: Any) -> bool:
    """Whether an event's muons hold a pair of opposite charge with a mass between 60 and 120 GeV."""
    for i in range(len(pt)):
        for j in range(i + 1, len(pt)):
            if charge[i] == charge[j]:
                continue
            total_px, total_py, total_pz, total_e = 0.0, 0.0, 0.0, 0.0
            for k in (i, j):
                muon_pt, muon_phi = np.float64(pt[k]), np.float64(phi[k])
                muon_mass = np.float64(mass[k])
                px, py = muon_pt * math.cos(muon_phi), muon_pt * math.sin(muon_phi)
                pz = muon_pt * math.sinh(np.float64(eta[k]))
                total_px += px
                total_py += py
                total_pz += pz
                total_e += math.sqrt(px * px + py * py + pz * pz + muon_mass * muon_mass)
            mass_squared = total_e * total_e - total_px * total_px - total_py * total_py - total_pz * total_pz
            if 3600.0 < mass_squared < 14400.0:
                return True
    return False


def trijet_pt(pt: Any, eta: Any, phi: Any, mass: Any) -> float:
    """pt of the three jets whose mass is nearest to 172.5 GeV; -1 for an event with fewer jets."""
    jets = len(pt)
    if jets < 3:
        return -1.0
    p = np.empty((jets, 4))
    for i in range(jets):
        jet_pt, jet_phi, jet_mass = np.float64(pt[i]), np.float64(phi[i]), np.float64(mass[i])
        px, py = jet_pt * math.cos(jet_phi), jet_pt * math.sin(jet_phi)
        pz = jet_pt * math.sinh(np.float64(eta[i]))
        p[i, 0], p[i, 1], p[i, 2] = px, py, pz
        p[i, 3] = math.sqrt(px * px + py * py + pz * pz + jet_mass * jet_mass)
    nearest, nearest_pt_squared = np.inf, 0.0
    for i in range(jets):
        for j in range(i + 1, jets):
            for k in range(j + 1, jets):
                px = p[i, 0] + p[j, 0] + p[k, 0]
                py = p[i, 1] + p[j, 1] + p[k, 1]
                pz = p[i, 2] + p[j, 2] + p[k, 2]
                e = p[i, 3] + p[j, 3] + p[k, 3]
                distance = abs(math.sqrt(e * e - px * px - py * py - pz * pz) - 172.5)
                if distance < nearest:
                    nearest, nearest_pt_squared = distance, px * px + py * py
    return math.sqrt(nearest_pt_squared)


def kernel(name: str) -> Any:
    """The analysis as an eventmill kernel."""
    import eventmill as em

    @em.kernel(histogram=met_histogram())
    def met(histogram: Any, MET_pt: Any) -> None:
        histogram.fill(MET_pt)

    @em.kernel(histogram=met_histogram())
    def dimuon(
        histogram: Any, MET_pt: Any, Muon_pt: Any, Muon_eta: Any, Muon_phi: Any, Muon_mass: Any, Muon_charge: Any
    ) -> None:
        if has_z_candidate(Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge):
            histogram.fill(MET_pt)

    @em.kernel(histogram=trijet_histogram())
    def trijet(histogram: Any, Jet_pt: Any, Jet_eta: Any, Jet_phi: Any, Jet_mass: Any) -> None:
        pt = trijet_pt(Jet_pt, Jet_eta, Jet_phi, Jet_mass)
        if pt >= 0.0:
            histogram.fill(pt)

    return {"met": met, "dimuon": dimuon, "trijet": trijet}[name]


def numba_loop(name: str) -> Any:
    """The analysis as one would write it with plain numba: `loop(counts, high, [offsets,] *columns)`.

    `counts` are the BINS + 2 contents, with underflow and overflow, of a histogram from 0 to `high`. `offsets` has one
    element more than there are events; the analysis `met` has none.
    """
    import numba

    fill: Any = numba.njit(_fill)
    selected: Any = numba.njit(has_z_candidate)
    triple: Any = numba.njit(trijet_pt)

    def met(counts: Any, high: float, met: Any) -> None:
        for value in met:
            fill(counts, high, np.float64(value))

    def dimuon(
        counts: Any, high: float, offsets: Any, pt: Any, eta: Any, phi: Any, mass: Any, charge: Any, met: Any
    ) -> None:
        for event in range(len(met)):
            a, b = offsets[event], offsets[event + 1]
            if selected(pt[a:b], eta[a:b], phi[a:b], mass[a:b], charge[a:b]):
                fill(counts, high, np.float64(met[event]))

    def trijet(counts: Any, high: float, offsets: Any, pt: Any, eta: Any, phi: Any, mass: Any) -> None:
        for event in range(len(offsets) - 1):
            a, b = offsets[event], offsets[event + 1]
            value = triple(pt[a:b], eta[a:b], phi[a:b], mass[a:b])
            if value >= 0.0:
                fill(counts, high, value)

    return numba.njit({"met": met, "dimuon": dimuon, "trijet": trijet}[name])


def _fill(counts: Any, high: float, value: float) -> None:
    """What a regular axis of boost-histogram does, from 0 to `high`."""
    z = value / high
    if z >= 1.0:
        counts[BINS + 1] += 1.0
    elif z >= 0.0:
        counts[int(z * BINS) + 1] += 1.0
    else:
        counts[0] += 1.0


def coffea_processor(name: str) -> Any:
    """The columnar analysis as a coffea processor."""
    from coffea.processor import ProcessorABC

    class BenchmarkProcessor(ProcessorABC):  # type: ignore[misc]
        def process(self, events: Any) -> dict[str, Any]:
            return ANALYSES[name].columnar(events)

        def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
            return accumulator

    return BenchmarkProcessor()


@dataclass(frozen=True)
class Analysis:
    """One analysis: what it shows, what it reads, and its columnar form. `kernel` and the others take its name."""

    title: str
    branches: tuple[str, ...]  # jagged ones first, in the order of numba_loop's columns
    columnar: Callable[[Any], dict[str, Any]]
    histogram: Callable[[], Hist[Any]]


ANALYSES = {
    "met": Analysis("MET histogram", ("MET_pt",), met_columnar, met_histogram),
    "dimuon": Analysis(
        "MET of events with an opposite-sign muon pair, 60 to 120 GeV",
        (*MUONS, "MET_pt"),
        dimuon_columnar,
        met_histogram,
    ),
    "trijet": Analysis("pt of the jet triple nearest 172.5 GeV", JETS, trijet_columnar, trijet_histogram),
}
